//! A cost cap across kills: the server is never paid more than the cap.

use super::evidence::Call;
use super::figures;
use super::form::Form;
use super::harness::{PRICES, RUN, Scenario};
use super::mock::Mock;
use super::process::Patience;
use super::verdict::Verdicts;
use super::work::Work;

/// Requests of a run under a cap.
const REQUESTS: usize = 40;

/// The approximate cost of a task in dollars. The caps are chosen around the cost of all tasks.
const TASK: f64 = 0.0012;

/// Failed calls cost money too, for the part of the answer that arrived.
const FAULTS: &str = "429=0.01,500=0.01,disconnect=0.01,truncate=0.01,garbage=0.01,error=0.01";

/// How processes of a run end before one may finish. The two kinds take turns: the calls in flight at a kill count as
/// spent, so kills with high concurrency would leave no budget to observe.
struct Kind {
    concurrency: &'static str,
    /// Whether it ends by `kill -9`; otherwise by SIGTERM.
    kill: bool,
    /// The most processes that are ended.
    most: usize,
    /// The most calls before each end.
    calls: usize,
}

const KINDS: [Kind; 2] = [
    // The kills come soon, so that the calls in flight are a good part of the cap.
    Kind {
        concurrency: "4",
        kill: true,
        most: 8,
        calls: 12,
    },
    // Many calls compete for the remaining budget.
    Kind {
        concurrency: "16",
        kill: false,
        most: 2,
        calls: 40,
    },
];

/// The dollars for all tokens that the server counted, cut calls included.
fn money(calls: &[Call]) -> f64 {
    let tokens = |tokens: u64| f64::from(u32::try_from(tokens).expect("few tokens"));
    let paid = calls.iter().map(|call| {
        let (input, output) = call.tokens();
        tokens(input) * PRICES.0 + tokens(output) * PRICES.1
    });
    paid.sum::<f64>() / 1e6
}

/// The end of one run under a cap.
struct Spent {
    cap: f64,
    paid: f64,
    code: Option<i32>,
    kills: usize,
}

fn run(form: Form, number: usize, faults: &mut Vec<String>) -> Spent {
    let mut rng = form.rng(&format!("cap {number}"));
    let mut scenario = Scenario::new(form);
    let seed = (form.seed + number as u64).to_string();
    let mock = [
        "--seed",
        &seed,
        "--latency",
        "30ms",
        "--tail",
        "0.05",
        "--tokens",
        "16",
        "--token-latency",
        "1ms",
        "--retry-after",
        "0s",
        "--faults",
        FAULTS,
    ];
    let mut mock = Mock::start(scenario.folder(), "mock", &mock.map(str::to_owned));
    scenario.settings(&[("mock", &mock)], "");
    let work = Work::mixed(REQUESTS, &mut rng);
    work.store(&scenario.path("in.jsonl"));
    let all = TASK * f64::from(u32::try_from(work.tasks()).expect("few tasks"));
    let cap = all * (0.15 + 0.85 * rng.f64());
    let text = format!("{cap:.4}");
    let kind = &KINDS[number % KINDS.len()];
    let args = [&RUN[..], &["--max-cost", &text, "-j", kind.concurrency]].concat();
    let cap = text.parse().expect("a number");
    let mut kills = rng.usize(1..=kind.most);
    let planned = kills;
    let ended = loop {
        let until = mock.log.count() + rng.usize(1..=kind.calls);
        let mut running = scenario.start(&args);
        let mut patience = Patience::of(form.patience);
        let code = loop {
            mock.log.read_on();
            if let Some(status) = running.poll() {
                break status.code();
            }
            if kills > 0 && mock.log.count() >= until {
                if kind.kill {
                    break running.kill();
                }
                running.terminate();
                break running.end(&mut mock.log, form.patience).unwrap_or(Some(-1));
            }
            assert!(
                patience.is_left(mock.log.lines()),
                "oracle `cost cap`: nothing happens in run {number}: {}",
                running.said()
            );
        };
        let said = running.said();
        mock.rest();
        mock.log.cut();
        let paid = money(&mock.log.calls());
        if paid > cap {
            faults.push(format!("run {number}: ${paid:.4} of ${cap:.4} were paid"));
        }
        match code {
            None | Some(143) => kills -= 1,
            Some(0 | 103) => break code,
            Some(_) => {
                faults.push(format!("run {number} ended with {code:?}: {said}"));
                break code;
            }
        }
    };
    if ended == Some(103) {
        let before = mock.log.count();
        let mut again = scenario.start(&args);
        let code = again.end(&mut mock.log, form.patience);
        mock.rest();
        let paid = money(&mock.log.calls());
        if !matches!(code, Ok(Some(0 | 103))) {
            faults.push(format!(
                "run {number}, started again, ended with {code:?}: {}",
                again.said()
            ));
        }
        if paid > cap {
            let more = mock.log.count() - before;
            faults.push(format!(
                "run {number}, started again, called {more} times: ${paid:.4} of ${cap:.4}"
            ));
        }
    }
    Spent {
        cap,
        paid: money(&mock.log.calls()),
        code: ended,
        kills: planned - kills,
    }
}

#[test]
fn a_cost_cap_holds_across_kills() {
    let form = Form::get();
    println!("chaos: cap: seed {}", form.seed);
    let mut faults = Vec::new();
    let spent: Vec<Spent> = (0..form.caps)
        .map(|number| run(form, number, &mut faults))
        .collect();
    let stopped: Vec<&Spent> = spent.iter().filter(|spent| spent.code == Some(103)).collect();
    let kills: usize = spent.iter().map(|spent| spent.kills).sum();
    let shares: Vec<f64> = spent.iter().map(|spent| 100.0 * spent.paid / spent.cap).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    if stopped.is_empty() {
        faults.push("no run came to its cap: nothing was shown".to_owned());
    }
    if spent.iter().any(|spent| spent.paid <= 0.0) {
        faults.push("a run paid nothing at all".to_owned());
    }
    let seen = format!(
        "{} runs, {kills} processes killed or stopped, {} came to their cap; at most {most:.0} % of a cap was paid",
        spent.len(),
        stopped.len()
    );
    figures::row("`cost cap`", &seen, "at most 100 %");
    let mut verdicts = Verdicts::new("cap");
    verdicts.add("cost cap", seen, faults);
    verdicts.tell();
}
