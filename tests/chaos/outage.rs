//! Routes that fail completely: the next one takes over, and without a next one the run waits.

use std::time::Instant;

use super::evidence::{Call, Fate};
use super::figures;
use super::form::Form;
use super::harness::{RUN, Scenario};
use super::judge::{self, Life, Scene};
use super::mock::Mock;
use super::output::Output;
use super::process::{Patience, Running};
use super::verdict::Verdicts;
use super::work::Work;

/// A run whose mock is killed in the middle.
struct Loss {
    scenario: Scenario,
    work: Work,
    /// How many tasks had an answer when the mock was killed.
    answered: usize,
}

fn faultless(form: Form) -> Vec<String> {
    let latency = format!("{}ms", form.latency.as_millis());
    [
        "--latency",
        &latency,
        "--tail",
        "0.02",
        "--tokens",
        "16",
        "--token-latency",
        "2ms",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The settings. In the short form the breaker tries a dead route again after a second, so that no test waits a minute.
fn settings(form: Form, chain: &str) -> String {
    let open = if form.long { "60s" } else { "1s" };
    format!("[chains]\ndefault = [{chain}]\n[breaker]\nopen = \"{open}\"")
}

/// Starts a run and kills the mock at a random moment.
fn lose(form: Form, name: &'static str, mut scenario: Scenario, mock: &mut Mock) -> (Loss, Running) {
    println!("chaos: {name}: seed {}", form.seed);
    let mut rng = form.rng(name);
    let work = Work::mixed((form.requests / 5).max(60), &mut rng);
    work.store(&scenario.path("in.jsonl"));
    let moment = rng.usize(work.tasks() / 4..work.tasks() * 3 / 4);
    let mut running = scenario.start(&RUN);
    let mut patience = Patience::of(form.patience);
    while mock.log.answered() < moment {
        mock.log.read_on();
        let ended = running.poll();
        assert!(
            ended.is_none(),
            "oracle `finished`: it ended before its route did: {}",
            running.said()
        );
        assert!(
            patience.is_left(mock.log.lines()),
            "oracle `finished`: nothing happens: {}",
            running.said()
        );
    }
    mock.kill();
    let answered = mock.log.answered();
    (
        Loss {
            scenario,
            work,
            answered,
        },
        running,
    )
}

/// Checks what holds after any outage: every request is finished and right. An answer that arrived is not asked again,
/// except for calls that were in flight when the mock was killed.
fn judged(
    loss: &Loss,
    form: Form,
    ended: &Result<Option<i32>, String>,
    said: &str,
    before: &[Call],
    after: &[Call],
    verdicts: &mut Verdicts,
) {
    let calls: Vec<Call> = before.iter().chain(after).cloned().collect();
    let mut output = Output::new(loss.scenario.path("out.jsonl"));
    output.look(0, true);
    let status = loss.scenario.status();
    let scene = Scene {
        work: &loss.work,
        calls: &calls,
        unmarked: 0,
        lives: &[Life::Finished],
        output: &output,
        lines: output.lines(),
        status: &status,
        concurrency: form.concurrency,
        stuck: None,
    };
    judge::finished(&scene, verdicts);
    judge::none_lost(&scene, verdicts);
    judge::right_answer(&scene, verdicts);
    judge::item_numbers(&scene, verdicts);
    let mut faults = Vec::new();
    if *ended != Ok(Some(0)) {
        faults.push(format!("it ended with {ended:?}: {said}"));
    }
    let answered: Vec<&Call> = calls
        .iter()
        .filter(|call| call.fate() == Fate::Answered)
        .collect();
    let again = answered.len().saturating_sub(loss.work.tasks());
    if again > form.concurrency {
        let most = form.concurrency;
        faults.push(format!("{again} answers were paid twice, at most {most} may be"));
    }
    verdicts.add(
        "outlived",
        format!("exit {ended:?}, {again} answers paid twice"),
        faults,
    );
}

#[test]
fn a_primary_that_dies_is_followed_by_its_fallback() {
    let form = Form::get();
    let scenario = Scenario::new(form);
    let mut primary = Mock::start(scenario.folder(), "primary", &faultless(form));
    let mut fallback = Mock::start(scenario.folder(), "fallback", &faultless(form));
    let more = settings(form, r#""primary", "fallback""#);
    scenario.settings(&[("primary", &primary), ("fallback", &fallback)], &more);
    let (loss, mut running) = lose(form, "primary fails", scenario, &mut primary);
    let ended = running.end(&mut fallback.log, form.patience);
    fallback.rest();

    let mut verdicts = Verdicts::new("primary fails");
    let calls = fallback.log.calls();
    judged(
        &loss,
        form,
        &ended,
        &running.said(),
        &primary.log.calls(),
        &calls,
        &mut verdicts,
    );
    let mut faults = Vec::new();
    let left = loss.work.tasks() - loss.answered;
    let most = left + form.concurrency;
    if calls.len() < left || calls.len() > most {
        faults.push(format!(
            "it was called {} times, expected {left} to {most}: what was left and on its way",
            calls.len()
        ));
    }
    let seen = format!(
        "{} of {} tasks on the fallback, exit {ended:?}",
        calls.len(),
        loss.work.tasks(),
    );
    figures::row(
        "`fallback`: the primary fails in the middle",
        &seen,
        "no request failed",
    );
    verdicts.add("fallback", seen, faults);
    verdicts.tell();
}

#[test]
fn a_run_waits_while_every_route_is_down() {
    let form = Form::get();
    let scenario = Scenario::new(form);
    let mut mock = Mock::start(scenario.folder(), "before", &faultless(form));
    scenario.settings(&[("primary", &mock)], &settings(form, r#""primary""#));
    let (loss, mut running) = lose(form, "all down", scenario, &mut mock);
    let began = Instant::now();
    let mut patience = Patience::of(form.patience);
    let mut faults = Vec::new();
    // The outage lasts for its whole time, and the run must not end in it.
    while began.elapsed() < form.outage {
        if running.poll().is_some() {
            faults.push(format!("it ended while every route was down: {}", running.said()));
            break;
        }
        // This is only the pause between two checks, because no progress is expected now.
        patience.is_left(0);
    }
    let said = running.said();
    if !(said.contains("`primary`") && said.contains("wait")) {
        faults.push(format!("it does not say what it waits for: {said}"));
    }
    let mut healed = Mock::listen(&mock.address, loss.scenario.folder(), "after", &faultless(form));
    let recovered = Instant::now();
    let ended = running.end(&mut healed.log, form.patience);
    healed.rest();

    let mut verdicts = Verdicts::new("all down");
    judged(
        &loss,
        form,
        &ended,
        &running.said(),
        &mock.log.calls(),
        &healed.log.calls(),
        &mut verdicts,
    );
    let seen = format!(
        "{} s down after {} of {} tasks, over {:.0} s after the return, exit {ended:?}",
        form.outage.as_secs(),
        loss.answered,
        loss.work.tasks(),
        recovered.elapsed().as_secs_f64(),
    );
    figures::row("`waits`: every route is down", &seen, "no request failed");
    verdicts.add("waits", seen, faults);
    verdicts.tell();
}
