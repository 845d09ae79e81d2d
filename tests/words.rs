//! How nova3 speaks: plain sentences, and one name for one thing.
//!
//! The rules are mechanical parts of a larger one: a sentence names its subject first, states one fact, and uses the
//! field's own word. A reader whose English is a second language understands it on the first reading.
#![expect(clippy::unwrap_used, reason = "a check that cannot read the tree has to stop")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The files that are read: source, tests, documents, scripts.
const ROOTS: &[&str] = &[
    "src",
    "tests",
    "examples",
    "docs",
    "deploy",
    "scripts",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Files whose sentences are not ours, or are quoted.
const QUOTED: &[&str] = &["tests/words.rs"];

/// Words that begin a question, and no other sentence.
const QUESTION_WORDS: &[&str] = &["What", "Who", "Whoever", "Whatever", "Nobody", "Whose"];

/// Home-made words, and the field's word in their place.
const HOME_MADE: &[(&str, &str)] = &[
    ("accuse", "count a crash against"),
    ("accuses", "counts a crash against"),
    ("beat", "heartbeat"),
    ("convict", "quarantine"),
    ("convicted", "quarantined"),
    ("crew", "workers"),
    ("died", "crashed"),
    ("dies", "crashes"),
    ("errand", "background write"),
    ("errands", "background writes"),
    ("nobody", "no worker, no process"),
    ("purse", "reservation"),
    ("remember", "store, keep"),
    ("remembers", "stores, keeps"),
    ("suspect", "quarantined"),
    ("suspicion", "quarantine"),
    ("whoever", "the process that"),
];

/// Folders whose types are counterparts of each other and may share names: the two engines, the two dialects.
const COUNTERPARTS: [[&str; 2]; 2] = [
    ["store/sqlite/", "store/postgres/"],
    ["llm/dialect/openai/", "llm/dialect/anthropic/"],
];

/// A passage of prose: a comment, a paragraph, or the text of a message.
struct Passage {
    file: String,
    line: usize,
    text: String,
}

#[test]
fn a_sentence_names_its_subject_first() {
    let begins = |sentence: &str| {
        let first = sentence
            .split(|c: char| !c.is_alphabetic())
            .next()
            .unwrap_or_default();
        QUESTION_WORDS.contains(&first)
            && !sentence
                .trim_end_matches(['`', '*', '|', ' ', '"'])
                .ends_with('?')
    };
    let found = sentences(begins);
    assert_none(
        "sentences that begin with a question word and are no question",
        &found,
    );
}

#[test]
fn the_fields_words_are_used() {
    let found = sentences(|sentence| home_made(sentence).is_some());
    let explained: Vec<String> = found
        .into_iter()
        .map(|line| match home_made(&line) {
            Some((word, better)) => format!("`{word}` (say: {better}) in {line}"),
            None => line,
        })
        .collect();
    assert_none("home-made words", &explained);
}

#[test]
fn a_type_name_means_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in files(&["src"]) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for name in code.lines().filter_map(defined_type) {
            let file = file.trim_start_matches("src/").to_owned();
            places.entry(name.to_owned()).or_default().push(file);
        }
    }
    assert!(
        places.len() > 300,
        "the source was not read: {} types",
        places.len()
    );
    let twice: Vec<String> = places
        .iter()
        .filter(|(_, files)| files.len() > 1 && !are_counterparts(files))
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert_none("type names that are defined twice", &twice);
}

#[test]
fn the_rules_find_what_they_are_to_find() {
    let text = "/// What is left waits.\n/// A worker that dies is no crash. What is left?\nfn f() {}\n";
    let passages = prose("src/x.rs", text);
    let all: Vec<&str> = passages.iter().flat_map(|passage| split(&passage.text)).collect();
    assert_eq!(
        all,
        [
            "What is left waits.",
            "A worker that dies is no crash.",
            "What is left?"
        ]
    );
    assert_eq!(home_made(all[1]), Some(("dies", "crashes")));
    assert_eq!(defined_type("pub(super) struct Held<'a> {"), Some("Held"));
    assert_eq!(defined_type("    type Error = Infallible;"), None);
}

/// The sentences of which this is so, each with its place.
fn sentences(is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut read = 0;
    for (file, text) in files(ROOTS) {
        for Passage { file, line, text } in prose(&file, &text) {
            for sentence in split(&text) {
                read += 1;
                if is_wrong(sentence) {
                    found.push(format!("{file}:{line}: {sentence}"));
                }
            }
        }
    }
    assert!(read > 5000, "the tree was not read: {read} sentences");
    found
}

/// The first home-made word of a sentence, and the field's word. Code in backticks is quoted.
fn home_made(sentence: &str) -> Option<(&'static str, &'static str)> {
    let prose: String = sentence.split('`').step_by(2).collect();
    let words = prose.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    HOME_MADE
        .iter()
        .find(|(word, _)| words.iter().any(|written| written == word))
        .copied()
}

/// The sentences of a passage. A colon or a semicolon ends one: behind it stands another statement.
fn split(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(end) = rest
        .char_indices()
        .find(|(at, c)| matches!(c, '.' | ':' | ';' | '!' | '?') && rest[at + 1..].starts_with(' '))
        .map(|(at, _)| at + 1)
    {
        found.push(rest[..end].trim_matches(['*', '-', '|', ' ']));
        rest = &rest[end..];
    }
    found.push(rest.trim_matches(['*', '-', '|', ' ']));
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// The prose of a file.
fn prose(file: &str, text: &str) -> Vec<Passage> {
    match Path::new(file)
        .extension()
        .and_then(|extension| extension.to_str())
    {
        Some("rs") => {
            let mut found = commented(file, text, &["///", "//!", "//"]);
            found.extend(messages(file, text));
            found
        }
        Some("sql") => commented(file, text, &["--"]),
        Some("toml" | "sh") | None => commented(file, text, &["#"]),
        Some("md") => paragraphs(file, text),
        _ => Vec::new(),
    }
}

/// The comments, each run of commented lines as one passage.
fn commented(file: &str, text: &str, marks: &[&str]) -> Vec<Passage> {
    let comment = |line: &str| {
        let line = line.trim_start();
        let body = marks.iter().find_map(|mark| line.strip_prefix(mark))?;
        Some(body.trim().to_owned()).filter(|body| !body.is_empty() && !body.starts_with("```"))
    };
    joined(file, text.lines().map(comment))
}

/// The paragraphs, list items and rows of a document; not its blocks of code.
fn paragraphs(file: &str, text: &str) -> Vec<Passage> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        if is_fence || in_code || line.starts_with("    ") || line.trim().is_empty() {
            continue;
        }
        found.push(Passage {
            file: file.to_owned(),
            line: number,
            text: line.trim_start_matches(['#', '>', ' ', '*', '-', '|']).to_owned(),
        });
    }
    found
}

/// The texts in string literals that are long enough to be sentences.
fn messages(file: &str, text: &str) -> Vec<Passage> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for literal in line
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.contains(' '))
        {
            found.push(Passage {
                file: file.to_owned(),
                line: number,
                text: literal.to_owned(),
            });
        }
    }
    found
}

/// Lines that follow each other, as one passage each.
fn joined(file: &str, lines: impl Iterator<Item = Option<String>>) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    let mut continues = false;
    for (number, line) in (1..).zip(lines) {
        match (line, found.last_mut()) {
            (Some(line), Some(last)) if continues => {
                write!(last.text, " {line}").unwrap();
            }
            (Some(line), _) => {
                found.push(Passage {
                    file: file.to_owned(),
                    line: number,
                    text: line,
                });
                continues = true;
            }
            (None, _) => continues = false,
        }
    }
    found
}

/// The type that the line defines; an associated type defines none.
fn defined_type(line: &str) -> Option<&str> {
    let is_inside = line.starts_with(' ');
    let line = line.trim_start();
    let line = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let keyword = words.next()?;
    let name = words.next()?;
    let defines =
        matches!(keyword, "struct" | "enum" | "trait" | "union") || (keyword == "type" && !is_inside);
    (defines && name.starts_with(|c: char| c.is_uppercase())).then_some(name)
}

/// Whether one of them is in one folder of a pair, and the other in the other.
fn are_counterparts(files: &[String]) -> bool {
    let of = |folder: &str| files.iter().filter(|file| file.starts_with(folder)).count();
    let is_pair = |pair: &[&str; 2]| pair.iter().all(|folder| of(folder) == 1);
    files.len() == 2 && COUNTERPARTS.iter().any(is_pair)
}

/// The texts below these roots, by their path.
fn files(roots: &[&str]) -> Vec<(String, String)> {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for root in roots {
        collect(&top, &top.join(root), &mut found);
    }
    found.sort();
    found
}

fn collect(top: &Path, path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(top, &entry.unwrap().path(), found);
        }
        return;
    }
    let name = path
        .strip_prefix(top)
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/");
    if QUOTED.contains(&name.as_str()) {
        return;
    }
    if let Ok(text) = std::fs::read_to_string(path) {
        found.push((name, text));
    }
}

fn assert_none(title: &str, problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} {title}:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
