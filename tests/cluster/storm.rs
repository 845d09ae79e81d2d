//! A series of blows while two runs are worked on, then the judgement.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures;
use super::form::{Form, LEASE};
use super::harness::{INPUTS, OUTPUTS, Scenario};
use super::judge::{self, Scene};
use super::mock::Mock;
use super::process::{Patience, until};
use super::processes::Processes;
use super::proxy::Network;
use super::verdict::Verdicts;
use super::witness;
use super::work::Work;

/// A blow to the fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blow {
    /// `kill -9` of one process.
    Kill,
    /// One process is suspended for longer than its leases last.
    Stop,
    /// The database's answers to one process are lost, all within the time of a lease.
    Break,
    /// The database ends as in a crash, and restarts.
    Outage,
    /// One process and the database cannot reach each other for longer than a lease.
    Cut(Cut),
}

/// How a network is cut: the direction that still works, and whether its connections break at the end. Otherwise the
/// held data arrives late.
pub(crate) type Cut = (Network, bool);

pub(crate) const LOST_ANSWERS: Cut = (Network::NoAnswers, true);
const CUTS: [Cut; 3] = [LOST_ANSWERS, (Network::Dead, false), (Network::NoRequests, true)];

/// The moments of the blows, as numbers of answered calls. They are not times, so that a slow machine has as many of
/// them.
fn moments(form: Form, rng: &mut fastrand::Rng, calls: usize) -> Vec<(usize, Blow)> {
    let blows = std::iter::repeat_n(Blow::Kill, form.kills)
        .chain(std::iter::repeat_n(Blow::Stop, form.stops))
        .chain(std::iter::repeat_n(Blow::Outage, form.outages))
        .chain(std::iter::repeat_n(Blow::Break, form.breaks))
        .chain(CUTS.map(Blow::Cut).into_iter().cycle().take(form.cuts));
    let mut moments: Vec<(usize, Blow)> = blows
        .map(|blow| (rng.usize(calls / 50..calls * 95 / 100), blow))
        .collect();
    moments.sort_by_key(|(answered, _)| *answered);
    moments
}

/// The blows that hit the fleet.
#[derive(Debug, Default)]
pub(crate) struct Done {
    kills: usize,
    stops: usize,
    outages: usize,
    cuts: usize,
    breaks: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `kill -9`, {} SIGSTOP for longer than a lease, {} stops of PostgreSQL, {} networks cut for longer than a lease, \
             {} connections broken",
            self.kills, self.stops, self.outages, self.cuts, self.breaks
        )
    }
}

/// Strikes. Returns whether the blow hit a process.
fn strike(
    processes: &mut Processes<'_>,
    scenario: &Scenario,
    rng: &mut fastrand::Rng,
    blow: Blow,
    done: &mut Done,
) -> bool {
    // The time is longer than a lease, so that others take over the leases. Half of the time it is only slightly
    // longer, so that they still do so when the former owner comes back.
    let more = if rng.bool() { 50..500 } else { 500..2_500 };
    let long = LEASE + Duration::from_millis(rng.u64(more));
    match blow {
        Blow::Kill => {
            let struck = processes.kill(rng);
            done.kills += usize::from(struck);
            struck
        }
        Blow::Stop => {
            let struck = processes.stop(rng, long);
            done.stops += usize::from(struck);
            struck
        }
        Blow::Cut((network, resets)) => {
            let struck = processes.cut(rng, long, network, resets);
            done.cuts += usize::from(struck);
            struck
        }
        Blow::Break => {
            let short = LEASE.mul_f64(0.05 + 0.2 * rng.f64());
            let struck = processes.cut(rng, short, Network::NoAnswers, true);
            done.breaks += usize::from(struck);
            struck
        }
        Blow::Outage => {
            scenario.server.stop_immediately();
            std::thread::sleep(Duration::from_millis(rng.u64(100..2_500)));
            scenario.server.start_again();
            done.outages += 1;
            true
        }
    }
}

/// Runs until the runs are finished and written. An error means that the fleet makes no progress, or makes more than
/// `most` calls.
pub(crate) fn pass(
    form: Form,
    scenario: &Scenario,
    processes: &mut Processes<'_>,
    mock: &mut Mock,
    moments: Vec<(usize, Blow)>,
    most: usize,
) -> (Done, Result<(), String>) {
    let mut rng = form.rng("blows");
    let mut moments = moments.into_iter().peekable();
    let mut done = Done::default();
    let mut patience = Patience::of(form.patience);
    loop {
        mock.log.read_on();
        if processes.tend() {
            return (done, Ok(()));
        }
        while let Some((_, blow)) = moments.next_if(|(answered, _)| mock.log.good() >= *answered) {
            strike(processes, scenario, &mut rng, blow, &mut done);
        }
        if !patience.is_left(mock.log.lines()) {
            let stuck = format!("nothing happens any more after {} calls", mock.log.count());
            return (done, Err(stuck));
        }
        if mock.log.count() > most {
            let endless = format!("{} calls and no end", mock.log.count());
            return (done, Err(endless));
        }
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// Returns the complete lines of a result file.
fn lines(scenario: &Scenario, run: usize) -> Vec<Value> {
    let bytes = std::fs::read(scenario.path(OUTPUTS[run])).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_default())
        .collect()
}

#[test]
fn a_fleet_in_a_storm_does_each_thing_once() {
    let form = Form::get();
    println!("cluster: seed {}", form.seed);
    let work = Work::mixed(form, &mut form.rng("work"));
    let scenario = Scenario::new();
    let mut mock = scenario.mock(form.seed);
    scenario.settings(form, &mock);
    (0..INPUTS.len()).for_each(|run| work.store(run, &scenario.path(INPUTS[run])));

    // The workers start first: all at once they make the tables, and then wait for work.
    let mut processes = Processes::new(&scenario);
    (1..=form.workers).for_each(|number| processes.add_worker(number));
    until("the tables", || {
        witness::has_tables(scenario.server.url()).then_some(())
    });
    witness::begin(scenario.server.url());
    let began = Instant::now();
    (0..INPUTS.len()).for_each(|run| processes.add_loader(run));

    let moments = moments(form, &mut form.rng("moments"), 2 * work.requests());
    let (done, passed) = pass(
        form,
        &scenario,
        &mut processes,
        &mut mock,
        moments,
        6 * work.requests(),
    );
    let seconds = began.elapsed().as_secs_f64();
    if passed.is_ok() {
        processes.dismiss();
    }
    let (lives, faults) = (
        std::mem::take(&mut processes.lives),
        std::mem::take(&mut processes.faults),
    );
    drop(processes);
    mock.rest();

    let calls = mock.log.every_call();
    let testimony = witness::hear(scenario.server.url(), INPUTS);
    let scene = Scene {
        form,
        work: &work,
        calls: &calls,
        lives: &lives,
        faults: &faults,
        stuck: passed.as_ref().err().map(String::as_str),
        testimony: &testimony,
        lines: [lines(&scenario, 0), lines(&scenario, 1)],
        status: [scenario.status(0), scenario.status(1)],
        verified: [0, 1].map(|run| scenario.nova3(&["verify", INPUTS[run], "-o", OUTPUTS[run]])),
    };
    let mut verdicts = Verdicts::new("storm");
    judge::all(&scene, &mut verdicts);

    let what = format!("{} requests in two runs, {} calls", work.requests(), calls.len());
    println!("cluster: {what}, {seconds:.1} s; {done}");
    figures::row(&what, &done.to_string(), "–");
    for verdict in verdicts.iter() {
        let promise = judge::PROMISES.iter().find(|(name, _)| *name == verdict.oracle);
        figures::row(
            &format!("`{}`", verdict.oracle),
            &verdict.seen,
            promise.map_or("–", |(_, promise)| promise),
        );
    }
    for (what, seen, promised) in judge::measured(&scene, seconds) {
        println!("cluster: {what}: {seen}");
        figures::row(&what, &seen, &promised);
    }
    verdicts.tell();
}
