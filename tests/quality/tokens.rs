//! The error of the estimates of tokens, measured against the vocabulary of a model (`scripts/tokens`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nova3::agent::{Agents, TaskInput, prompt};
use nova3::config::{Config, Flags};
use nova3::domain::request::{Rules, Work, read_line};
use nova3::llm::{Client, TokenCounter, estimate_tokens, likely_tokens};
use nova3::store::Material;
use serde_json::Value;

/// A kind of texts.
struct Sample {
    name: &'static str,
    texts: Vec<String>,
}

/// Tokens of all texts of a sample.
#[derive(Default)]
struct TokenSums {
    real: u64,
    likely: u64,
    high: u64,
    /// The largest error of the likely number in one text, in percent.
    largest: f64,
}

#[test]
fn estimates_are_compared_with_a_vocabulary() {
    let Some(path) = vocabulary() else {
        // The prompts alone are checked: the two estimates keep their order.
        for sample in samples() {
            assert!(!sample.texts.is_empty(), "{}", sample.name);
            let is_high = |text: &String| estimate_tokens(text) >= likely_tokens(text);
            assert!(sample.texts.iter().all(is_high), "{}", sample.name);
        }
        return;
    };
    let counter = TokenCounter::load(&path).unwrap();
    let mut table = String::from(
        "| texts | tokens | estimate | largest error of one text | estimate of limits and caps |\n|---|---|---|---|---|\n",
    );
    for Sample { name, texts } in samples() {
        let mut sums = TokenSums::default();
        for text in &texts {
            let (real, likely) = (counter.count(text), likely_tokens(text));
            sums.real += real;
            sums.likely += likely;
            sums.high += estimate_tokens(text);
            sums.largest = sums.largest.max(error(likely, real).abs());
        }
        writeln!(
            table,
            "| {name} | {} | {:+.0} % | {:.0} % | {:+.0} % |",
            sums.real,
            error(sums.likely, sums.real),
            sums.largest,
            error(sums.high, sums.real),
        )
        .unwrap();
    }
    report(&table);
}

#[expect(clippy::print_stdout, reason = "the figures of a measurement")]
fn report(table: &str) {
    println!("\n{table}");
}

#[expect(clippy::disallowed_methods, reason = "scripts/tokens names the file")]
fn vocabulary() -> Option<PathBuf> {
    std::env::var_os("NOVA3_TEST_VOCABULARY").map(PathBuf::from)
}

#[expect(clippy::cast_precision_loss, reason = "tokens of a few texts")]
fn error(estimate: u64, real: u64) -> f64 {
    (estimate as f64 / real as f64 - 1.0) * 100.0
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn samples() -> Vec<Sample> {
    let bench = read("fixtures/vicuna_bench.jsonl");
    let questions = bench.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["turns"][0].as_str().unwrap().to_owned()
    });
    let sentences = read("tests/quality/grounding.jsonl");
    let sentences: Vec<Value> = sentences
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let chinese = sentences.iter().filter(|line| line["language"] == "zh");
    let chinese = chinese.map(|line| line["text"].as_str().unwrap().to_owned());
    vec![
        Sample {
            name: "prompts of the built-in agents for `fixtures/requests.jsonl`",
            texts: prompts(),
        },
        Sample {
            name: "English questions (`fixtures/vicuna_bench.jsonl`)",
            texts: questions.collect(),
        },
        Sample {
            name: "English prose (paragraphs of `ARCHITECTURE.md`)",
            texts: read("ARCHITECTURE.md")
                .split("\n\n")
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned)
                .collect(),
        },
        Sample {
            name: "Chinese sentences (`tests/quality/grounding.jsonl`)",
            texts: chinese.collect(),
        },
    ]
}

/// The prompts of every built-in agent for each request of the fixture.
fn prompts() -> Vec<String> {
    let env = |name: &str| match name {
        "OPENAI_API_KEY" => Some("sk-none-of-the-tests".to_owned()),
        "OPENAI_MODEL" => Some("m".to_owned()),
        _ => None,
    };
    let config = Config::load(&Flags::default(), &env).unwrap();
    let agents = Agents::load(&config.agents).unwrap();
    let client = Client::new(&config).unwrap();
    let route = client.chain(None).unwrap().first();
    let material = Material::default();
    let mut prompts = Vec::new();
    for line in read("fixtures/requests.jsonl").lines() {
        let request = read_line(line.as_bytes(), Rules::default()).unwrap().request;
        let Work::Brief(brief) = &request.work else {
            continue;
        };
        for agent in agents.all().iter().chain([agents.supervisor()]) {
            let task = TaskInput {
                metadata: None,
                brief,
                input: brief.query.as_deref().unwrap_or_default(),
                material: &material,
                search: None,
                part: None,
            };
            let made = prompt(agent, route, &config.context, task).unwrap();
            let texts: Vec<&str> = made
                .messages
                .iter()
                .map(|message| message.content.as_str())
                .collect();
            prompts.push(texts.join("\n"));
        }
    }
    prompts
}
