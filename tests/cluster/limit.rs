//! A per-minute limit that binds: the fleet together keeps it, through all failures of its processes and their
//! networks.
//!
//! It is separate from the storm, because no calls are granted for a minute after the database ends, and the short form
//! does not have that minute.

use super::figures;
use super::form::Form;
use super::harness::{INPUTS, Scenario};
use super::judge;
use super::processes::Processes;
use super::storm::{self, Blow};
use super::verdict::Verdicts;
use super::witness;
use super::work::Work;

/// The moments of the blows. There are more than in a storm of this size, because each blow may lose the count of
/// granted calls. The broken connections come first, while every process still has many waiting calls that may begin. A
/// restarted process has no calls waiting, and a process that is cut off for longer than a lease begins none.
fn moments(form: Form, rng: &mut fastrand::Rng) -> Vec<(usize, Blow)> {
    let others = [Blow::Kill, Blow::Cut(storm::LOST_ANSWERS), Blow::Stop, Blow::Kill];
    let mut moments: Vec<(usize, Blow)> = std::iter::repeat_n(Blow::Break, form.breaks.max(16))
        .chain(others)
        .map(|blow| {
            let when = match blow {
                Blow::Break => 1..form.limited / 3,
                _ => form.limited / 3..form.limited * 3 / 4,
            };
            (rng.usize(when), blow)
        })
        .collect();
    moments.sort_by_key(|(answered, _)| *answered);
    moments
}

#[test]
fn a_limit_holds_for_the_whole_fleet() {
    let form = Form::get();
    // The requests are shared evenly, so that each process that is hit has waiting calls.
    let form = Form {
        concurrency: (form.limited / (form.workers + 1)).clamp(1, form.concurrency),
        ..form
    };
    println!("cluster: limit: seed {}", form.seed);
    let work = Work::limited(form.limited);
    let scenario = Scenario::new();
    let mut mock = scenario.mock(form.seed);
    scenario.settings(form, &mock);
    work.store(0, &scenario.path(INPUTS[0]));

    let mut processes = Processes::new(&scenario);
    (1..=form.workers).for_each(|number| processes.add_worker(number));
    processes.add_loader(0);
    let moments = moments(form, &mut form.rng("limit"));
    let (done, passed) = storm::pass(
        form,
        &scenario,
        &mut processes,
        &mut mock,
        moments,
        3 * form.limited,
    );
    if passed.is_ok() {
        processes.dismiss();
    }
    let mut faults = std::mem::take(&mut processes.faults);
    drop(processes);
    mock.rest();
    faults.extend(passed.err());

    let calls = mock.log.every_call();
    let mut verdicts = Verdicts::new("limit");
    let finished = witness::finished(scenario.server.url());
    if finished != form.limited {
        faults.push(format!("{finished} of {} requests are done", form.limited));
    }
    verdicts.add(
        "unfinished",
        format!("{} of {}", form.limited - finished, form.limited),
        faults,
    );
    judge::limits(&calls, form, &mut verdicts);
    println!("cluster: limit: {} calls; {done}", calls.len());
    for verdict in verdicts.iter().filter(|verdict| verdict.oracle == "limits") {
        figures::row(
            "`limits`, apart from the storm",
            &verdict.seen,
            "0 above the limit",
        );
    }
    verdicts.tell();
}
