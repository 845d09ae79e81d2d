//! Random sequences of readings, claims, plans, settlements, pauses, retries and crashes, compared to a model in plain
//! collections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nova3::domain::failure::Class;
use nova3::domain::tally::Counts;
use nova3::store::{AddOutcome, Claimable, CrashMark, Lease, RunId, Settled, Then};
use proptest::prelude::*;

use crate::store::harness::{
    Draft, Harness, block_on, completed, failed, id, made, planless, planned, request,
};

const NAMES: u8 = 7;

/// An operation on the store.
#[derive(Debug, Clone)]
enum Step {
    /// A reading of these requests in this order, each in one of its versions. It has no end if it is not `whole`.
    Read {
        lines: Vec<(u8, u8)>,
        whole: bool,
    },
    Claim(usize),
    ClaimQuarantined,
    /// The process waits for an answer of the picked queue.
    Wait(usize),
    Plan {
        pick: usize,
        well: bool,
    },
    Complete(usize),
    Pause(usize),
    Fail(usize),
    Release(usize),
    Retry,
    /// The process crashes that many times, each time with all tasks leased that it can claim.
    Crash(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let order = Just((0..NAMES).collect::<Vec<_>>()).prop_shuffle();
    let versions = prop::collection::vec(prop_oneof![6 => Just(0u8), 1 => Just(1u8)], usize::from(NAMES));
    let read = (order, versions, 0..=usize::from(NAMES), prop::bool::weighted(0.8)).prop_map(
        |(order, versions, length, whole)| {
            let lines = order.into_iter().zip(versions).take(length).collect();
            Step::Read { lines, whole }
        },
    );
    let pick = 0usize..8;
    prop_oneof![
        2 => read,
        4 => (1usize..5).prop_map(Step::Claim),
        3 => (pick.clone(), prop::bool::weighted(0.8)).prop_map(|(pick, well)| Step::Plan { pick, well }),
        5 => pick.clone().prop_map(Step::Complete),
        2 => pick.clone().prop_map(Step::Pause),
        2 => pick.clone().prop_map(Step::Fail),
        1 => pick.prop_map(Step::Release),
        1 => Just(Step::Retry),
        2 => Just(Step::ClaimQuarantined),
        2 => (0usize..8).prop_map(Step::Wait),
        1 => (1u8..4).prop_map(Step::Crash),
    ]
}

/// Two requests have no session, the others belong to two sessions.
fn session(name: u8) -> Option<u8> {
    (name >= 2).then_some(name % 2)
}

/// Some lines come without tasks.
fn gives_tasks(name: u8) -> bool {
    !name.is_multiple_of(3)
}

/// Some lines ask for a pause. The others continue when they are read again.
fn pauses(name: u8) -> bool {
    name.is_multiple_of(4)
}

fn draft((name, version): (u8, u8)) -> Draft {
    let draft = request(&format!("r{name}"))
        .query(&format!("q{version}"))
        .tasks(if gives_tasks(name) { 2 } else { 0 });
    let draft = if pauses(name) {
        draft.until("answer")
    } else {
        draft
    };
    match session(name) {
        Some(number) => draft.session(&format!("s{number}")),
        None => draft,
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    Open,
    Paused,
    Done,
    Failed,
}

impl Stand {
    fn status(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Paused => "paused",
            Self::Done => "completed",
            Self::Failed => "failed",
        }
    }
}

/// One content of one request.
#[derive(Debug, Clone, Copy)]
struct Version {
    stand: Stand,
    planned: bool,
    task: usize,
    /// The last reading that saw it.
    seen: i64,
    /// The crashes while it was leased, and those while it ran alone and was worked on, since its last settlement.
    crashes: u8,
    lone_crashes: u8,
    /// The largest group that it may run in. 0: it is not in quarantine.
    room: usize,
}

impl Version {
    const fn clear(&mut self) {
        (self.crashes, self.lone_crashes, self.room) = (0, 0, 0);
    }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    lease: Lease,
    name: u8,
    version: u8,
    alive: bool,
    /// Whether its crash mark is set.
    works: bool,
    /// The size of its quarantine group.
    group: usize,
}

#[derive(Debug, Default)]
struct Model {
    versions: BTreeMap<(u8, u8), Version>,
    current: BTreeMap<u8, u8>,
    arrival: Vec<u8>,
    held: Vec<Held>,
    fences: HashMap<i64, i64>,
    reading: i64,
    complete: i64,
    /// How often the store was opened.
    lives: u32,
    /// The events of the run so far.
    told: Vec<String>,
}

impl Model {
    fn see(&mut self, name: u8, version: u8) -> &'static str {
        let reading = self.reading;
        let fresh = Version {
            stand: Stand::Open,
            planned: gives_tasks(name),
            task: 0,
            seen: reading,
            crashes: 0,
            lone_crashes: 0,
            room: 0,
        };
        let before = self.current.insert(name, version);
        if before.is_none() {
            self.arrival.push(name);
        }
        if before.is_some_and(|old| old != version) {
            for held in self.held.iter_mut().filter(|held| held.name == name) {
                held.alive = false;
            }
        }
        let known = self.versions.contains_key(&(name, version));
        let stored = self.versions.entry((name, version)).or_insert(fresh);
        stored.seen = reading;
        if stored.stand == Stand::Paused && !pauses(name) {
            stored.stand = Stand::Open;
        }
        match (known, before, stored.stand) {
            (true, _, Stand::Open) => "waiting",
            (true, _, _) => "finished",
            (false, None, _) => "queued",
            (false, Some(_), _) => "changed",
        }
    }

    fn present(&self, since: i64) -> impl Iterator<Item = (u8, &Version)> {
        self.current
            .iter()
            .map(|(name, version)| (*name, &self.versions[&(*name, *version)]))
            .filter(move |(_, version)| version.seen >= since)
    }

    fn is_held(&self, name: u8) -> bool {
        self.held.iter().any(|held| held.alive && held.name == name)
    }

    fn at_work(&self, wanted: u8) -> bool {
        self.held
            .iter()
            .any(|held| held.alive && session(held.name) == Some(wanted))
    }

    /// The requests that can be claimed now, if no session waits for a line that the reading has not reached. They are
    /// those in quarantine, or the others.
    fn claimable(&self, quarantined: bool) -> BTreeSet<u8> {
        let open: BTreeSet<u8> = self
            .present(self.reading)
            .filter(|(name, version)| version.stand == Stand::Open && !self.is_held(*name))
            .map(|(name, _)| name)
            .collect();
        let first = |wanted| {
            self.arrival
                .iter()
                .copied()
                .find(|name| session(*name) == Some(wanted) && open.contains(name))
        };
        let alone = open.iter().copied().filter(|name| session(*name).is_none());
        let heads = [0, 1]
            .into_iter()
            .filter(|wanted| !self.at_work(*wanted))
            .filter_map(first);
        let wanted = |name: &u8| (self.room(*name) > 0) == quarantined;
        alone.chain(heads).filter(wanted).collect()
    }

    fn room(&self, name: u8) -> usize {
        self.versions[&(name, self.current[&name])].room
    }

    /// The size of the largest group of these.
    fn group(&self, names: &BTreeSet<u8>) -> usize {
        let mut rooms: Vec<usize> = names.iter().map(|name| self.room(*name)).collect();
        rooms.sort_unstable_by(|a, b| b.cmp(a));
        (1..).zip(rooms).take_while(|(place, room)| place <= room).count()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (name, version) in self.present(self.complete) {
            counts.total += 1;
            counts.done += u64::from(version.stand == Stand::Done);
            counts.paused += u64::from(version.stand == Stand::Paused);
            counts.failed += u64::from(version.stand == Stand::Failed);
            counts.running += u64::from(self.is_held(name));
        }
        counts
    }

    fn finished(&self) -> BTreeSet<(String, &'static str)> {
        self.present(self.complete)
            .filter(|(_, version)| version.stand != Stand::Open)
            .map(|(name, version)| (format!("r{name}"), version.stand.status()))
            .collect()
    }
}

async fn read(harness: &Harness, run: RunId, model: &mut Model, given: &[(u8, u8)], whole: bool) {
    let epoch = harness.begin(run).await;
    assert!(epoch.0 > model.reading);
    model.reading = epoch.0;
    let drafts: Vec<Draft> = given.iter().copied().map(draft).collect();
    let outcomes = harness.add(run, epoch, &drafts).await;
    for ((name, version), outcome) in given.iter().zip(outcomes) {
        let shown = match outcome {
            AddOutcome::Queued => "queued",
            AddOutcome::Waiting(_) => "waiting",
            AddOutcome::Finished(_) => "finished",
            AddOutcome::Changed => "changed",
            AddOutcome::Bad(_) | AddOutcome::Duplicate(_) => "bad",
        };
        assert_eq!(shown, model.see(*name, *version), "r{name} version {version}");
    }
    if whole {
        harness.end(run, epoch, given.len()).await;
        model.complete = epoch.0;
    }
}

async fn claim(harness: &Harness, run: RunId, model: &mut Model, which: Claimable, limit: usize) {
    let quarantined = which == Claimable::Quarantined;
    // No other task is claimed while a group is held. A store for many processes refuses such a claim.
    if !quarantined && model.held.iter().any(|held| held.alive && held.group > 0) {
        return;
    }
    let mut claimable = model.claimable(quarantined);
    let expected = match which {
        Claimable::Quarantined if model.held.iter().any(|held| held.alive) => 0,
        Claimable::Quarantined => model.group(&claimable).min(limit),
        Claimable::All | Claimable::Unplanned => claimable.len().min(limit),
    };
    // Each opening has an owner of its own.
    let owner = model.lives.to_string();
    let claimed = harness.claim_as(&owner, run, which, limit).await;
    if model.complete == model.reading {
        assert_eq!(claimed.len(), expected, "of {claimable:?}");
    }
    assert!(claimed.len() <= limit);
    let group = if quarantined { claimed.len() } else { 0 };
    for queue in claimed {
        let name: u8 = id(&queue)[1..].parse().expect("a number");
        assert!(claimable.remove(&name), "r{name} is claimed out of turn");
        let version = model.current[&name];
        let stored = model.versions[&(name, version)];
        assert_eq!(
            (queue.current_task, queue.planned, queue.tasks.len()),
            (stored.task, stored.planned, if stored.planned { 2 } else { 0 })
        );
        assert_eq!(queue.is_recorded, stored.crashes > 0, "r{name}");
        let fence = model.fences.entry(queue.lease.queue_id).or_default();
        assert!(queue.lease.fence > *fence, "a fence it had before");
        *fence = queue.lease.fence;
        model.held.push(Held {
            lease: queue.lease,
            name,
            version,
            alive: true,
            works: stored.crashes > 0,
            group,
        });
    }
}

async fn plan(harness: &Harness, model: &mut Model, pick: usize, well: bool) {
    let Some(index) = pick.checked_rem(model.held.len()) else {
        return;
    };
    let held = model.held[index];
    let key = (held.name, held.version);
    let stored = model.versions.get_mut(&key).expect("it is known");
    let settlement = if well {
        planned(held.lease, &["answer", "answer"])
    } else {
        planless(held.lease, Class::Schema)
    };
    let expected = match (held.alive && !stored.planned, well) {
        (false, _) => Settled::LostLease,
        (true, true) => Settled::Stepped,
        (true, false) => Settled::Finished { ok: false },
    };
    assert_eq!(harness.settle_plan(settlement).await, expected, "r{}", held.name);
    stored.planned |= expected == Settled::Stepped;
    if expected != Settled::LostLease {
        stored.clear();
        model.held[index].works = false;
    }
    if let Settled::Finished { .. } = expected {
        stored.stand = Stand::Failed;
        model.held[index].alive = false;
    }
}

async fn settle(harness: &Harness, model: &mut Model, pick: usize, becomes: Stand) {
    let Some(index) = pick.checked_rem(model.held.len()) else {
        return;
    };
    let Held {
        lease,
        name,
        version,
        alive,
        ..
    } = model.held[index];
    let stored = model.versions.get_mut(&(name, version)).expect("it is known");
    if !stored.planned {
        return;
    }
    let task = stored.task.min(1);
    let well = becomes != Stand::Failed;
    let settlement = match becomes {
        Stand::Failed => failed(lease, task, Class::Server),
        Stand::Paused => made(lease, task, "answer", Then::Pause),
        Stand::Open | Stand::Done => completed(lease, task, 1),
    };
    let expected = match (alive, becomes, task) {
        (false, ..) => Settled::LostLease,
        (true, Stand::Open | Stand::Done, 0) => Settled::Stepped,
        (true, ..) => Settled::Finished { ok: well },
    };
    assert_eq!(harness.settle(settlement).await, expected, "r{name} task {task}");
    if alive && well {
        stored.task += 1;
    }
    if alive {
        stored.clear();
        model.held[index].works = false;
    }
    if let Settled::Finished { .. } = expected {
        stored.stand = if well && task == 1 { Stand::Done } else { becomes };
        model.held[index].alive = false;
    }
}

async fn wait(harness: &Harness, model: &mut Model, pick: usize) {
    let Some(index) = pick.checked_rem(model.held.len()) else {
        return;
    };
    let held = &mut model.held[index];
    let marked = harness.store().mark(held.lease, CrashMark::Waiting).await;
    assert_eq!(marked.expect("marks"), held.alive);
    held.works = false;
}

async fn release(harness: &Harness, model: &mut Model, pick: usize) {
    let Some(index) = pick.checked_rem(model.held.len()) else {
        return;
    };
    harness
        .store()
        .release(vec![nova3::store::ReleasedLease::untouched(
            model.held[index].lease,
        )])
        .await
        .expect("releases");
    model.held[index].alive = false;
}

async fn retry(harness: &Harness, run: RunId, model: &mut Model) {
    let failed: Vec<u8> = model
        .present(model.complete)
        .filter(|(_, version)| version.stand == Stand::Failed)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(harness.retry(run).await, failed.len() as u64);
    for name in failed {
        let key = (name, model.current[&name]);
        let stored = model.versions.get_mut(&key).expect("it is known");
        stored.stand = Stand::Open;
        stored.clear();
    }
}

async fn crash(harness: &mut Harness, run: RunId, model: &mut Model) {
    if !harness.crash().await {
        return;
    }
    assert_eq!(harness.run("a").await, run);
    model.lives += 1;
    for held in model.held.iter_mut().filter(|held| held.alive) {
        held.alive = false;
        let key = (held.name, held.version);
        let stored = model.versions.get_mut(&key).expect("it is known");
        stored.crashes += 1;
        if !held.works {
            continue;
        }
        stored.room = if held.group == 0 {
            usize::MAX
        } else {
            held.group.div_ceil(2)
        };
        stored.lone_crashes += u8::from(held.group == 1);
        if stored.lone_crashes == 2 {
            stored.stand = Stand::Failed;
        }
    }
}

async fn check(harness: &Harness, run: RunId, model: &mut Model) {
    let counts = harness.store().counts(run).await.expect("counts");
    assert_eq!(Counts { blocked: 0, ..counts }, model.counts());
    assert!(counts.blocked + counts.running <= counts.unfinished());
    assert_eq!(
        harness.store().has_unfinished(run).await.expect("reads"),
        counts.unfinished() > 0
    );
    let rows = harness.finished(run).await;
    let shown: BTreeSet<(String, &str)> = rows
        .iter()
        .map(|row| (row.custom_id.clone().unwrap_or_default(), row.status.as_str()))
        .collect();
    assert_eq!(shown.len(), rows.len(), "each request once");
    assert_eq!(shown, model.finished());
    let told = harness.events(run, false).await;
    assert!(told.starts_with(&model.told), "what was told stays told");
    model.told = told;
}

async fn play(harness: &mut Harness, steps: &[Step]) {
    let run = harness.run("a").await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Read { lines, whole } => read(harness, run, &mut model, lines, *whole).await,
            Step::Claim(limit) => claim(harness, run, &mut model, Claimable::All, *limit).await,
            Step::ClaimQuarantined => claim(harness, run, &mut model, Claimable::Quarantined, 9).await,
            Step::Wait(pick) => wait(harness, &mut model, *pick).await,
            Step::Plan { pick, well } => plan(harness, &mut model, *pick, *well).await,
            Step::Complete(pick) => settle(harness, &mut model, *pick, Stand::Done).await,
            Step::Pause(pick) => settle(harness, &mut model, *pick, Stand::Paused).await,
            Step::Fail(pick) => settle(harness, &mut model, *pick, Stand::Failed).await,
            Step::Release(pick) => release(harness, &mut model, *pick).await,
            Step::Retry => retry(harness, run, &mut model).await,
            Step::Crash(times) => {
                crash(harness, run, &mut model).await;
                for _ in 1..*times {
                    claim(harness, run, &mut model, Claimable::All, 9).await;
                    claim(harness, run, &mut model, Claimable::Quarantined, 9).await;
                    crash(harness, run, &mut model).await;
                }
            }
        }
        check(harness, run, &mut model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_in_memory(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async { play(&mut Harness::memory().await, &steps).await });
    }
}

proptest! {
    // Each crash opens a file anew, which takes time on a disk.
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_in_a_file(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async { play(&mut Harness::file().await, &steps).await });
    }
}

proptest! {
    // Each case has its own tables, and each step is a round trip to a server.
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_in_postgres(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async { play(&mut Harness::postgres().await, &steps).await });
    }
}
