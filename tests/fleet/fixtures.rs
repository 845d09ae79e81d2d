//! Random plays of several owners over two runs that share their sessions: the invariants of the store hold.

use std::collections::HashMap;

use nova3::domain::failure::Class;
use nova3::store::{Claimed, ReleasedLease, Reservation, RunId, Settled};
use proptest::prelude::*;

use crate::fleet::harness::{Sql, call, claim, join, owner, reserve, tend, workers, wrongs};
use crate::store::harness::{Harness, LEASE_MS, attempt, block_on, completed, failed, request};

const NAMES: [&str; 3] = ["p", "q", "r"];

#[derive(Debug, Clone)]
enum Move {
    Claim {
        who: usize,
        run: usize,
        limit: usize,
    },
    Settle(usize),
    Fail(usize),
    /// Releases with a call that was made for the task.
    Release(usize),
    Reserve(usize),
    Renew {
        who: usize,
    },
    /// The leases of that owner run out, with or without a heartbeat, and another owner takes them away.
    Expire {
        who: usize,
        seen: bool,
    },
    Tend {
        who: usize,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let (who, run, pick) = (0usize..3, 0usize..2, 0usize..8);
    prop_oneof![
        4 => (who.clone(), run, 1usize..4).prop_map(|(who, run, limit)| Move::Claim { who, run, limit }),
        5 => pick.clone().prop_map(Move::Settle),
        2 => pick.clone().prop_map(Move::Fail),
        2 => pick.clone().prop_map(Move::Release),
        3 => pick.prop_map(Move::Reserve),
        1 => who.clone().prop_map(|who| Move::Renew { who }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, seen)| Move::Expire { who, seen }),
        1 => who.prop_map(|who| Move::Tend { who }),
    ]
}

/// A lease that an owner has or had. None is removed, so that stale settlements occur without extra code.
struct Held {
    who: usize,
    run: RunId,
    queue: Claimed,
    task: usize,
}

struct Game {
    beds: [Harness; 3],
    runs: [RunId; 2],
    sql: Sql,
    held: Vec<Held>,
    fences: HashMap<i64, i64>,
}

impl Game {
    async fn begin() -> Self {
        let (url, beds) = workers::<3>().await;
        let mut runs = Vec::new();
        for name in ["a", "b"] {
            let run = beds[0].run(name).await;
            let mut input: Vec<_> = (0..6)
                .map(|number| {
                    request(&format!("{name}{number}"))
                        .session(&format!("s{}", number % 2))
                        .tasks(2)
                })
                .collect();
            input.extend((6..9).map(|number| request(&format!("{name}{number}")).tasks(2)));
            beds[0].read(run, &input).await;
            runs.push(run);
        }
        for (harness, name) in beds.iter().zip(NAMES) {
            join(harness.store(), name, runs[0]).await;
        }
        Self {
            beds,
            runs: runs.try_into().expect("two"),
            sql: Sql::at(&url).await,
            held: Vec::new(),
            fences: HashMap::new(),
        }
    }

    async fn play(&mut self, one: &Move) {
        match *one {
            Move::Claim { who, run, limit } => {
                let run = self.runs[run];
                let queues = claim(&self.beds[who], NAMES[who], run, limit).await;
                for queue in queues {
                    let task = queue.current_task;
                    self.held.push(Held {
                        who,
                        run,
                        queue,
                        task,
                    });
                }
            }
            Move::Settle(pick) => self.settle(pick, true).await,
            Move::Fail(pick) => self.settle(pick, false).await,
            Move::Release(pick) => {
                let Some(held) = self.pick(pick) else { return };
                let left = ReleasedLease {
                    task: held.task.min(1).into(),
                    attempts: vec![attempt(None, 11)],
                    ..ReleasedLease::untouched(held.queue.lease)
                };
                self.beds[held.who]
                    .store()
                    .release(vec![left])
                    .await
                    .expect("releases");
            }
            Move::Reserve(pick) => {
                let Some(held) = self.pick(pick) else { return };
                let call = Reservation {
                    task: held.task.min(1).into(),
                    ..call(held.queue.lease, 3, 50)
                };
                reserve(self.beds[held.who].store(), held.run, &call, 400).await;
            }
            Move::Renew { who } => {
                let mine = self.held.iter().filter(|held| held.who == who);
                let leases: Vec<_> = mine.map(|held| held.queue.lease).collect();
                let store = self.beds[who].store();
                store
                    .renew(&owner(NAMES[who]), &leases, LEASE_MS)
                    .await
                    .expect("renews");
            }
            Move::Expire { who, seen } => {
                let name = NAMES[who];
                let expire = format!("UPDATE nova3_tasks SET lease_until = 0 WHERE lease_owner = '{name}'");
                self.sql.run(&expire).await;
                if !seen {
                    let silence =
                        format!("UPDATE nova3_workers SET last_seen = 0 WHERE worker_id = '{name}'");
                    self.sql.run(&silence).await;
                }
                let other = (who + 1) % 3;
                tend(self.beds[other].store(), NAMES[other]).await;
            }
            Move::Tend { who } => tend(self.beds[who].store(), NAMES[who]).await,
        }
    }

    fn pick(&self, pick: usize) -> Option<&Held> {
        // The latest leases are the most likely to be valid.
        let index = self.held.len().checked_sub(1 + pick)?;
        self.held.get(index)
    }

    async fn settle(&mut self, pick: usize, well: bool) {
        let Some(held) = self.pick(pick) else { return };
        let (lease, task) = (held.queue.lease, held.task);
        let settlement = if well {
            completed(lease, task.min(1), 1)
        } else {
            failed(lease, task.min(1), Class::Server)
        };
        let settled = self.beds[held.who].settle(settlement).await;
        if settled == Settled::Stepped {
            let index = self.held.len() - 1 - pick;
            self.held[index].task += 1;
        }
    }

    async fn check(&mut self) {
        assert_eq!(wrongs(&mut self.sql).await, Vec::<String>::new());
        for row in self.sql.rows("SELECT queue_id, fence FROM nova3_queues").await {
            let (queue, now): (i64, i64) = (row.get(0), row.get(1));
            let before = self.fences.insert(queue, now).unwrap_or(0);
            assert!(now >= before, "the fence of {queue} went from {before} to {now}");
        }
    }
}

proptest! {
    // Each case has its own tables, which take time to make.
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_play_leaves_the_store_in_order(play in prop::collection::vec(moves(), 20..50)) {
        block_on(async {
            let mut game = Game::begin().await;
            for one in &play {
                game.play(one).await;
                game.check().await;
            }
        });
    }
}
