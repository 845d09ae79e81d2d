//! Faults of every kind, while the process is killed and stopped repeatedly: the results are the same as in calm
//! weather, and not much later.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::evidence::Fate;
use super::figures;
use super::form::Form;
use super::harness::{RUN, Scenario};
use super::judge::{self, Life, Scene};
use super::mock::Mock;
use super::output::Output;
use super::process::{Patience, Running};
use super::verdict::Verdicts;
use super::work::Work;

/// The faults, as shares of calls.
const FAULTS: &str = "429=0.03,500=0.05,disconnect=0.02,truncate=0.02,garbage=0.02,error=0.02,stall=0.003";

/// How a process is ended.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// `kill -9`.
    Kill,
    /// `kill -9` while a result line is being written, or right after.
    KillAtLine,
    /// SIGTERM.
    Stop,
}

/// When and how a process is ended: once `answered` tasks have an answer.
#[derive(Debug, Clone, Copy)]
struct Moment {
    answered: usize,
    blow: Blow,
}

/// Returns `kills` moments, spread over the whole work.
fn moments(rng: &mut fastrand::Rng, tasks: usize, kills: usize) -> Vec<Moment> {
    let mut moments: Vec<usize> = (0..kills).map(|_| rng.usize(1..tasks * 97 / 100)).collect();
    moments.sort_unstable();
    let blow = |answered| {
        let blow = match rng.u8(..6) {
            0 | 1 => Blow::Stop,
            2 => Blow::KillAtLine,
            _ => Blow::Kill,
        };
        Moment { answered, blow }
    };
    moments.into_iter().map(blow).collect()
}

/// A run through all its processes.
struct Weather {
    scenario: Scenario,
    mock: Mock,
    output: Output,
    lives: Vec<Life>,
    /// The time of the test's own checks, while no process ran.
    looking: Duration,
    patience: Duration,
}

/// The outcome of a run.
struct Report {
    seconds: f64,
    /// How long the breaker kept the route closed while there was work.
    breaker_seconds: f64,
    requests: usize,
}

impl Weather {
    fn new(form: Form, work: &Work, faults: &str) -> Self {
        let scenario = Scenario::new(form);
        let latency = format!("{}ms", form.latency.as_millis());
        let seed = form.seed.to_string();
        let mock = [
            "--seed",
            &seed,
            "--latency",
            &latency,
            "--tail",
            "0.02",
            "--tokens",
            "16",
            "--retry-after",
            "0s",
            "--faults",
            faults,
        ];
        let mock = Mock::start(scenario.folder(), "mock", &mock.map(str::to_owned));
        scenario.settings(&[("mock", &mock)], "");
        work.store(&scenario.path("in.jsonl"));
        let output = Output::new(scenario.path("out.jsonl"));
        Self {
            scenario,
            mock,
            output,
            lives: Vec::new(),
            looking: Duration::ZERO,
            patience: form.patience,
        }
    }

    /// Runs one process until the moment comes or no work is left. An error is an exit that is never allowed.
    fn live(&mut self, moment: Option<Moment>) -> Result<(), String> {
        let mut running = self.scenario.start(&RUN);
        let life = match moment {
            None => running
                .end(&mut self.mock.log, self.patience)
                .and_then(|code| by_itself(code, &running)),
            Some(moment) => match self.wait(&mut running, moment) {
                Ok(None) => self.strike(&mut running, moment.blow),
                Ok(Some(status)) => by_itself(status.code(), &running),
                Err(fault) => Err(fault),
            },
        };
        drop(running);
        self.mock.rest();
        let began = Instant::now();
        let number = self.lives.len();
        let clean = life.as_ref().is_ok_and(|life| *life != Life::Killed);
        self.output.look(number, clean);
        if clean {
            let verified = self.scenario.nova3(&["verify", "-o", "out.jsonl"]);
            if verified.code != Some(0) {
                let said = verified.text();
                let said = said.trim();
                let fault = format!("after life {number}, which was not killed, `verify` says: {said}");
                self.output.faults.push(fault);
            }
        }
        self.looking += began.elapsed();
        self.mock.log.cut();
        self.lives.push(*life.as_ref().unwrap_or(&Life::Killed));
        life.map(drop).map_err(|fault| format!("life {number}: {fault}"))
    }

    /// Waits for the moment. Returns the exit of a process that ended before it.
    fn wait(&mut self, running: &mut Running, moment: Moment) -> Result<Option<ExitStatus>, String> {
        let calls = self.mock.log.count();
        let mut patience = Patience::of(self.patience);
        loop {
            let log = &mut self.mock.log;
            log.read_on();
            if let Some(status) = running.poll() {
                return Ok(Some(status));
            }
            // A process that has not called yet has no call in flight.
            if log.answered() >= moment.answered && log.count() > calls {
                return Ok(None);
            }
            if !patience.is_left(log.lines()) {
                return Err(format!("nothing happens any more: {}", running.said()));
            }
        }
    }

    fn strike(&mut self, running: &mut Running, blow: Blow) -> Result<Life, String> {
        if matches!(blow, Blow::KillAtLine) {
            let length = self.output.length();
            let mut patience = Patience::of(self.patience);
            while self.output.length() == length && running.poll().is_none() {
                self.mock.log.read_on();
                if !patience.is_left(self.mock.log.lines()) {
                    return Err(format!("no line is written any more: {}", running.said()));
                }
            }
        }
        if matches!(blow, Blow::Stop) {
            running.terminate();
            return match running.end(&mut self.mock.log, self.patience)? {
                Some(143) => Ok(Life::Stopped),
                code => by_itself(code, running),
            };
        }
        match running.kill() {
            None => Ok(Life::Killed),
            code => by_itself(code, running),
        }
    }

    /// Runs all processes, then judges.
    fn pass(mut self, name: &'static str, form: Form, work: &Work, moments: &[Moment]) -> Report {
        let began = Instant::now();
        let mut stuck = None;
        for moment in moments.iter().copied().map(Some).chain([None]) {
            stuck = self.live(moment).err();
            if stuck.is_some() || self.lives.last() == Some(&Life::Finished) {
                break;
            }
        }
        let seconds = began.elapsed().saturating_sub(self.looking).as_secs_f64();
        let status = self.scenario.status();
        let calls = self.mock.log.calls();
        let scene = Scene {
            work,
            calls: &calls,
            unmarked: self.mock.log.unmarked(),
            lives: &self.lives,
            output: &self.output,
            lines: self.output.lines(),
            status: &status,
            concurrency: form.concurrency,
            stuck: stuck.as_deref(),
        };
        let mut verdicts = Verdicts::new(name);
        judge::all(&scene, &mut verdicts);
        if stuck.is_none() {
            self.free(&mut verdicts);
        }
        let count = |life| self.lives.iter().filter(|found| **found == life).count();
        let faults = calls.iter().filter(|call| call.fate() == Fate::Fault).count();
        println!(
            "chaos: {name}: {} requests, {} calls, {faults} faults, {} kills, {} stops, {seconds:.1} s and {:.1} s of looking",
            work.requests(),
            calls.len(),
            count(Life::Killed),
            count(Life::Stopped),
            self.looking.as_secs_f64(),
        );
        if !moments.is_empty() {
            let what = format!(
                "{} requests of {} tasks, {} calls",
                work.requests(),
                super::work::TASKS,
                calls.len()
            );
            let figure = format!(
                "{} `kill -9`, {} SIGTERM, {faults} faults",
                count(Life::Killed),
                count(Life::Stopped)
            );
            figures::row(&what, &figure, "–");
            for verdict in verdicts.iter() {
                figures::row(
                    &format!("`{}`", verdict.oracle),
                    &verdict.seen,
                    promise(verdict.oracle),
                );
            }
        }
        verdicts.tell();
        Report {
            seconds,
            breaker_seconds: breaker_seconds(&status),
            requests: work.requests(),
        }
    }

    /// Oracle `free`: a finished run that is started again makes no call and leaves its file unchanged.
    fn free(&mut self, verdicts: &mut Verdicts) {
        let before = std::fs::read(self.output.path()).unwrap_or_default();
        let calls = self.mock.log.count();
        let mut again = self.scenario.start(&RUN);
        let code = again.end(&mut self.mock.log, self.patience);
        self.mock.rest();
        let more = self.mock.log.count() - calls;
        let mut faults = Vec::new();
        if code != Ok(Some(0)) {
            faults.push(format!("it ended with {code:?}: {}", again.said()));
        }
        if more > 0 {
            faults.push(format!("{more} calls"));
        }
        if std::fs::read(self.output.path()).unwrap_or_default() != before {
            faults.push("its file has changed".to_owned());
        }
        verdicts.add("free", format!("{more} calls of a finished run"), faults);
    }
}

/// A process that ended by itself has done all its work.
fn by_itself(code: Option<i32>, running: &Running) -> Result<Life, String> {
    if code == Some(0) {
        Ok(Life::Finished)
    } else {
        Err(format!("it ended by itself with {code:?}: {}", running.said()))
    }
}

/// The allowed value of an oracle, for the table.
fn promise(oracle: &str) -> &'static str {
    judge::PROMISES
        .iter()
        .find(|(name, _)| *name == oracle)
        .map_or("–", |(_, promise)| promise)
}

/// Returns the total seconds for which the breaker of the only route was open.
fn breaker_seconds(status: &Value) -> f64 {
    let routes = status["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let open = routes.iter().filter_map(|route| route["open_ms"].as_f64());
    open.sum::<f64>() / 1e3
}

#[test]
fn a_storm_costs_time_and_nothing_else() {
    let form = Form::get();
    println!("chaos: seed {}", form.seed);
    let mut rng = form.rng("storm");
    let work = Work::mixed(form.requests, &mut rng);
    let moments = moments(&mut rng, work.tasks(), form.kills);
    let calm = Weather::new(form, &work, "").pass("calm", form, &work, &[]);
    let storm = Weather::new(form, &work, FAULTS).pass("storm", form, &work, &moments);

    let rate = |report: &Report, seconds: f64| {
        f64::from(u32::try_from(report.requests).expect("few requests")) / seconds
    };
    let (calm_rate, storm_rate) = (
        rate(&calm, calm.seconds),
        rate(&storm, storm.seconds - storm.breaker_seconds),
    );
    let share = 100.0 * storm_rate / calm_rate;
    figures::row(
        "throughput in calm weather",
        &format!("{calm_rate:.1} requests a second, {:.0} s", calm.seconds),
        "–",
    );
    figures::row(
        "throughput in the storm, restarts included",
        &format!("{share:.0} % of it, {:.0} s", storm.seconds),
        &format!(
            "at least {:.0} %; {:.0} s of an open breaker are left out",
            form.least, storm.breaker_seconds
        ),
    );
    println!(
        "chaos: throughput: {calm_rate:.1} requests a second in calm weather, {share:.0} % of it in the storm"
    );
    assert!(
        share >= form.least,
        "oracle `throughput`: {share:.1} % of the calm throughput, expected {:.0} % at least",
        form.least
    );
}
