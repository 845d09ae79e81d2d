//! Clearing a session: its content does not come back, and ids are not reused.

use nova3::domain::ids::{SessionId, UserId};
use nova3::store::{Cleared, Material, RunId, TakeOver, Then, Wanted};

use crate::store::harness::{Harness, request};

fn session() -> SessionId {
    SessionId::parse("s").expect("a name")
}

async fn clear(harness: &Harness, user: &str) -> Cleared {
    let user = UserId::parse(user).expect("a name");
    harness
        .store()
        .clear_session(&user, &session())
        .await
        .expect("clears")
}

/// Gives session `s` a finished round, two paused rounds with three pending tasks together, and an item for each round.
async fn used(harness: &Harness, run: RunId) {
    let of = |id: &str| request(id).session("s").plan(&["answer", "facts", "facts"]);
    let input = [
        of("x").tasks(1),
        of("p").until("answer"),
        of("q").until("facts"),
        of("u").user("u").tasks(1),
    ];
    harness.read(run, &input).await;
    for queue in harness.claim(run, 9).await {
        harness.done(&queue).await;
    }
    harness.pause(&harness.claim_one(run).await).await;
    let queue = harness.claim_one(run).await;
    harness.make(&queue, 0, Then::GoOn).await;
    harness.make(&queue, 1, Then::Pause).await;
}

pub(crate) async fn a_cleared_session_keeps_nothing_but_its_numbers(harness: &mut Harness) {
    let run = harness.run("a").await;
    used(harness, run).await;
    let (rows, events) = (harness.names(run).await, harness.events(run, true).await);
    let expected = Cleared {
        rounds: 3,
        items: 4,
        pending: 3,
    };
    assert_eq!(clear(harness, "default").await, expected);
    harness.crash().await;
    let nothing = Cleared {
        rounds: 0,
        items: 0,
        pending: 0,
    };
    assert_eq!(clear(harness, "default").await, nothing);
    assert_eq!(harness.names(run).await, rows, "results stay");
    assert_eq!(harness.events(run, true).await, events);
    let record = harness
        .store()
        .session(&UserId::default(), &session())
        .await
        .expect("reads")
        .expect("its results are known");
    assert!(record.rounds.is_empty() && record.items.is_empty() && record.pending.is_empty());

    let next = harness.run("b").await;
    harness
        .read(
            next,
            &[request("c").session("s").unplanned(), request("d").session("s")],
        )
        .await;
    let queue = harness.claim_one(next).await;
    assert_eq!(harness.take_over(&queue).await, TakeOver::Nothing);
    let wanted = Wanted {
        queue_id: Some(queue.lease.queue_id),
        user: UserId::default(),
        session: Some(session()),
        items: vec!["answer1".to_owned(), "facts1".to_owned()],
        rounds: 9,
    };
    assert_eq!(
        harness.store().context(&wanted).await.expect("reads"),
        Material::default()
    );
    harness.read(next, &[request("d").session("s")]).await;
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
        .await
        .expect("releases");
    harness.drain(next).await;
    assert_eq!(harness.names(next).await, ["d@0 completed completed[answer4]"]);
}

pub(crate) async fn other_sessions_are_left_alone(harness: &mut Harness) {
    let run = harness.run("a").await;
    used(harness, run).await;
    let expected = Cleared {
        rounds: 1,
        items: 1,
        pending: 0,
    };
    assert_eq!(clear(harness, "u").await, expected);
    let sessions = harness.store().list_sessions(9).await.expect("reads");
    let mut sessions: Vec<_> = sessions
        .iter()
        .map(|entry| (entry.user_id.as_str(), entry.rounds, entry.items))
        .collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [("default", 3, 4), ("u", 0, 0)]);
}
