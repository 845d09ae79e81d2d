//! The grounding of texts, measured on `grounding.jsonl`.
//!
//! The half `before` was written before any rule and is never used to change one: it says how the rules do on sentences
//! that they do not know. The half `after` was written with the rules, and has a floor.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use nova3::domain::grounding::Grounds;
use serde_json::Value;

/// The tuned half may not fall below these figures, in tenths of a percent.
const FLOOR: Figures = Figures {
    precision: 970,
    recall: 970,
    exact: 960,
};

const HALVES: [(&str, &str); 2] = [
    ("before", "held out: written before the rules"),
    ("after", "tuned: written with the rules"),
];

/// A labelled sentence.
struct Sentence {
    id: String,
    half: String,
    language: String,
    material: Vec<String>,
    text: String,
    /// The words that must be reported.
    missing: Vec<String>,
}

/// Counts over the sentences of a half.
#[derive(Default)]
struct Counts {
    sentences: usize,
    with_findings: usize,
    right: usize,
    wrong: usize,
    missed: usize,
    exact: usize,
}

/// Shares in tenths of a percent.
#[derive(Debug)]
struct Figures {
    precision: usize,
    recall: usize,
    exact: usize,
}

impl Counts {
    fn add(&mut self, sentence: &Sentence) {
        let (wrong, missed) = judge(sentence);
        self.sentences += 1;
        self.with_findings += usize::from(!sentence.missing.is_empty());
        self.wrong += wrong.len();
        self.missed += missed.len();
        self.right += sentence.missing.len() - missed.len();
        self.exact += usize::from(wrong.is_empty() && missed.is_empty());
    }

    fn figures(&self) -> Figures {
        Figures {
            precision: share(self.right, self.right + self.wrong),
            recall: share(self.right, self.right + self.missed),
            exact: share(self.exact, self.sentences),
        }
    }

    /// The harmonic mean of precision and recall.
    fn f1(&self) -> usize {
        share(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

/// Returns the share in tenths of a percent, rounded.
fn share(part: usize, whole: usize) -> usize {
    (part * 2000 + whole) / (2 * whole.max(1))
}

fn percent(tenths: usize) -> String {
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sentences() -> Vec<Sentence> {
    let text = std::fs::read_to_string(root().join("tests/quality/grounding.jsonl")).unwrap();
    let strings = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap();
        list.iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            Sentence {
                id: text("id"),
                half: text("half"),
                language: text("language"),
                material: strings(&value["material"]),
                text: text("text"),
                missing: strings(&value["missing"]),
            }
        })
        .collect()
}

/// Returns the findings that are no label, and the labels without a finding. A finding meets one label, if one of both
/// words holds the other.
fn judge(sentence: &Sentence) -> (Vec<String>, Vec<String>) {
    let grounds = Grounds::of(sentence.material.iter().map(String::as_str));
    let mut missed = sentence.missing.clone();
    let mut wrong = Vec::new();
    for finding in grounds.missing_from(&sentence.text) {
        let meets = |label: &String| label.contains(&finding.word) || finding.word.contains(label);
        match missed.iter().position(meets) {
            Some(index) => {
                missed.remove(index);
            }
            None => wrong.push(finding.word),
        }
    }
    (wrong, missed)
}

fn counts(half: &str) -> Counts {
    let mut counts = Counts::default();
    for sentence in sentences().iter().filter(|sentence| sentence.half == half) {
        counts.add(sentence);
    }
    counts
}

#[test]
fn the_sentences_are_labelled_well() {
    let sentences = sentences();
    let ids: HashSet<&str> = sentences.iter().map(|sentence| sentence.id.as_str()).collect();
    assert_eq!(ids.len(), sentences.len(), "two sentences have one id");
    let texts: HashSet<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(texts.len(), sentences.len(), "a sentence stands twice");
    for sentence in &sentences {
        let id = &sentence.id;
        assert!(["zh", "en"].contains(&sentence.language.as_str()), "{id}");
        assert!(HALVES.iter().any(|(half, _)| *half == sentence.half), "{id}");
        for word in &sentence.missing {
            assert!(sentence.text.contains(word), "{id}: `{word}` is not in the text");
        }
    }
    for (half, _) in HALVES {
        let counts = counts(half);
        assert!(counts.sentences >= 160, "{half}: {}", counts.sentences);
        let share = share(counts.with_findings, counts.sentences);
        assert!(
            (400..=600).contains(&share),
            "{half}: {} have findings",
            percent(share)
        );
    }
}

#[test]
fn the_tuned_half_keeps_its_floor() {
    let figures = counts("after").figures();
    let mut failures = String::new();
    for sentence in sentences().iter().filter(|sentence| sentence.half == "after") {
        let (wrong, missed) = judge(sentence);
        if !(wrong.is_empty() && missed.is_empty()) {
            let id = &sentence.id;
            writeln!(
                failures,
                "{id} {}: wrong {wrong:?}, missed {missed:?}",
                sentence.text
            )
            .unwrap();
        }
    }
    assert!(
        figures.precision >= FLOOR.precision
            && figures.recall >= FLOOR.recall
            && figures.exact >= FLOOR.exact,
        "{figures:?} is below {FLOOR:?}:\n{failures}"
    );
}

/// The table of `docs/quality.md`.
fn table() -> String {
    let mut table =
        "| half | sentences | with findings | precision | recall | F1 | exactly right |\n".to_owned();
    table += "|---|---|---|---|---|---|---|\n";
    for (half, name) in HALVES {
        let counts = counts(half);
        let figures = counts.figures();
        writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            counts.sentences,
            counts.with_findings,
            percent(figures.precision),
            percent(figures.recall),
            percent(counts.f1()),
            percent(figures.exact),
        )
        .unwrap();
    }
    table
}

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
fn is_update() -> bool {
    std::env::var("NOVA3_UPDATE_DOCS").is_ok_and(|value| value == "1")
}

#[test]
fn the_page_has_the_measured_figures() {
    const BEGIN: &str = "<!-- generated: grounding -->\n";
    const END: &str = "<!-- end of grounding -->";
    let page = root().join("docs/quality.md");
    let written = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let table = table();
    let made = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    if is_update() {
        println!("{table}");
        std::fs::write(page, made).unwrap();
        return;
    }
    assert!(
        written == made,
        "docs/quality.md has other figures (scripts/grounding writes them):\n{table}"
    );
}
