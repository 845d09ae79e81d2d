//! The documents are checked: their commands run, their flags, codes, messages and files exist, their generated
//! parts are what the code says.

mod generated;
mod page;
mod picture;
mod reader;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use self::page::{Block, PAGES, read, root, table};
use self::reader::Reader;

fn help(of: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_nova3"))
        .args(of)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{of:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// Follows a page, and compares the output that it shows with what its commands printed.
fn follow(page: &str) -> Reader {
    let mut reader = Reader::new();
    let ran = reader.follow(page);
    let mut printed = "";
    for (block, output) in &ran {
        if block.is_script() {
            printed = output;
        } else if block.file.is_none() && ["text", "json"].contains(&block.language.as_str()) {
            assert_shown(page, block, printed);
        }
    }
    reader
}

/// Each line of a `text` block, and a `json` block as one line, is a line that was printed; `…` stands for what is left
/// out, and numbers with a fraction are not compared.
fn assert_shown(page: &str, block: &Block, printed: &str) {
    let shown = match block.language.as_str() {
        "json" => vec![block.lines.iter().map(|line| line.trim()).collect::<String>()],
        _ => block
            .lines
            .iter()
            .filter(|line| !line.is_empty())
            .cloned()
            .collect(),
    };
    for line in shown {
        let pieces = fractionless(&line);
        let pieces: Vec<&str> = pieces.split('…').collect();
        let is_there = printed
            .lines()
            .any(|printed| is_shortened(&pieces, &fractionless(printed)));
        assert!(
            is_there,
            "{page}:{}: no line `{line}` in what was printed:\n{printed}",
            block.line
        );
    }
}

fn is_shortened(pieces: &[&str], line: &str) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return false;
    };
    let mut rest = line;
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    line.starts_with(first)
        && (pieces.len() == 1 && line == *first || pieces.len() > 1 && line.ends_with(last))
}

/// `#` for each number with a fraction: how long something took, and what it cost.
fn fractionless(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let number: String = from
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let is_fraction = number.trim_end_matches('.').contains('.');
        out += before;
        out += if is_fraction { "#" } else { &number };
        rest = &from[number.len()..];
    }
    out + rest
}

#[test]
fn the_first_page_is_followed() {
    let text = read("README.md");
    let lines = text.lines().count();
    assert!(
        lines <= 70,
        "README.md has {lines} lines; it is for people with five minutes"
    );
    assert!(
        text.contains("\ncargo run --release -- run fixtures/requests.jsonl --mock"),
        "the first command is gone"
    );
    follow("README.md");
}

#[test]
fn the_page_for_contributors_is_followed() {
    follow("CONTRIBUTING.md");
}

#[test]
fn the_guide_is_followed() {
    follow("docs/guide.md");
}

#[test]
fn an_agent_is_made_from_an_empty_folder() {
    follow("docs/agents.md");
}

#[test]
fn the_reference_is_followed() {
    follow("docs/reference.md");
}

#[test]
fn troubles_are_looked_into() {
    follow("docs/troubleshooting.md");
}

#[test]
fn a_fleet_is_operated() {
    follow("docs/operations.md");
}

#[test]
fn metrics_are_read() {
    follow("docs/metrics.md");
}

#[test]
fn recipes_are_followed() {
    let reader = follow("docs/recipes.md");
    for (made, fixture) in [
        ("batch.jsonl", "questions-batch.jsonl"),
        ("questions.jsonl", "questions.jsonl"),
    ] {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(
            read(&reader.path().join(made)) == read(&root().join("fixtures").join(fixture)),
            "{made} is not {fixture}"
        );
    }
    // While a run is going, the job of cron leaves without a word; when one failed, it says so.
    let said = reader.shell(
        "NOW=$PWD/mail
        mkfifo hold
        (cd answers && exec ../bin/nova3 run --run other <../hold >other.out 2>&1) &
        exec 4>hold
        until (cd answers; ../bin/nova3 status other) >/dev/null 2>&1; do sleep 0.1; done
        cron answers/nightly || echo \"mail: $(cat mail)\" >&2
        exec 4>&-
        wait
        echo wrong >answers/nova3.toml
        ! cron answers/nightly && grep -q 'nova3 ended with 2' mail || echo \"mail of a failure: $(cat mail)\" >&2",
    );
    assert_eq!(said, "");
}

/// Every word of a text that begins as told.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text
        .split(|c| !part_of_word(c))
        .filter(|word| word.starts_with(begin) && word.contains(|c: char| c.is_ascii_alphanumeric()));
    words.map(str::to_owned).collect()
}

#[test]
fn every_flag_exists() {
    let described = nova3::cli::description();
    let commands = described.get_subcommands().map(clap::Command::get_name);
    let mut flags: BTreeSet<String> = commands
        .flat_map(|command| words(&help(&[command]), "--"))
        .collect();
    for (command, inner) in [
        ("agents", "list"),
        ("agents", "test"),
        ("session", "show"),
        ("session", "export"),
    ] {
        flags.extend(words(&help(&[command, inner]), "--"));
    }
    // Those of cargo and of other programs.
    flags.extend(
        [
            "--version",
            "--release",
            "--path",
            "--open",
            "--test",
            "--locked",
            "--install-missing",
            "--all-targets",
        ]
        .map(str::to_owned),
    );
    for page in PAGES {
        let unknown: Vec<_> = words(&read(page), "--")
            .into_iter()
            .filter(|flag| !flags.contains(flag))
            .collect();
        assert!(unknown.is_empty(), "{page}: no such flags: {unknown:?}");
    }
}

fn code_in(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

/// All source files as one text, with literals that go over several lines in one piece.
fn source() -> String {
    fn add(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                *text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut text = String::new();
    add(&root().join("src"), &mut text);
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

#[test]
fn troubleshooting_quotes_real_messages() {
    let (page, source) = (read("docs/troubleshooting.md"), source());
    let mut quoted = 0;
    for tail in page.split("| message |").skip(1) {
        let rows = tail.lines().skip(2).take_while(|line| line.starts_with('|'));
        for message in rows.filter_map(|row| code_in(row.split('|').nth(1)?)) {
            quoted += 1;
            for piece in message.split('…') {
                assert!(source.contains(piece.trim()), "no message says `{message}`");
            }
        }
    }
    assert!(quoted > 20, "only {quoted} messages were found");
}

#[test]
fn the_table_of_agents_is_complete() {
    let output = Command::new(env!("CARGO_BIN_EXE_nova3"))
        .args(["agents", "list", "--json"])
        .current_dir(root().join("fixtures"))
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<(String, String)> = listed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|agent| !["supervisor", "search_queries"].contains(&agent["action"].as_str().unwrap()))
        .map(|agent| {
            let item = agent["item"].as_str().unwrap();
            (agent["action"].as_str().unwrap().to_owned(), format!("{item}1"))
        })
        .collect();
    let rows = table(&read("docs/reference.md"), "| action | makes | ids |");
    let named: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            (
                code_in(&row[0]).unwrap().to_owned(),
                code_in(&row[2]).unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(named, listed);
}

#[test]
fn every_form_of_input_is_accepted() {
    let rows = table(&read("docs/reference.md"), "| form | decided by | example |");
    let examples: Vec<String> = rows
        .iter()
        .filter_map(|row| code_in(&row[2]))
        .map(|example| {
            example.replace(
                "{…}",
                r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#,
            )
        })
        .collect();
    assert_eq!(examples.len(), 3);
    let reader = Reader::new();
    std::fs::write(reader.path().join("examples.jsonl"), examples.join("\n")).unwrap();
    assert_eq!(
        reader.shell("OPENAI_API_KEY=k bin/nova3 check examples.jsonl -m m || exit"),
        ""
    );
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let anchor = |heading: &str| -> String {
        heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    for page in PAGES {
        let text = read(page);
        let folder = root().join(page).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(page)
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{page}: the link `{link}` leads nowhere");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.map(anchor).any(|anchor| anchor == heading),
                    "{page}: the link `{link}` leads to no heading"
                );
            }
        }
    }
}

#[test]
fn every_file_that_the_pages_name_is_there() {
    let places = [root().join("src"), root()];
    let pages = ["ARCHITECTURE.md", "docs/performance.md", "docs/dependencies.md"];
    for page in PAGES.iter().chain(&pages) {
        // These files are the reader's own.
        if ["docs/agents.md", "docs/recipes.md"].contains(page) {
            continue;
        }
        let text = read(page);
        let prose: String = text
            .lines()
            .filter(|line| !line.starts_with("pub mod"))
            .collect::<Vec<_>>()
            .join("\n");
        for name in prose.split('`').skip(1).step_by(2) {
            let is_path = name.contains('/')
                && !name.contains(['*', ' ', '|', ':', '=', '$'])
                && !name.starts_with('/');
            let is_file = is_path
                && [
                    "rs",
                    "toml",
                    "md",
                    "jsonl",
                    "sql",
                    "test",
                    "bench",
                    "yaml",
                    "Dockerfile",
                ]
                .iter()
                .any(|end| name.ends_with(end));
            let is_there = places.iter().any(|place| place.join(name).exists());
            assert!(!is_file || is_there, "{page} names `{name}`, which is not there");
        }
    }
}
