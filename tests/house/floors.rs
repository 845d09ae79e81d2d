//! Checks the source text against the rules of `ARCHITECTURE.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The floors, lowest first. A file may use lower floors only, and no other part of its own floor.
const FLOORS: &[&[&str]] = &[
    &["failpoint"],
    &["domain"],
    &["clock", "config"],
    &["postgres"],
    &["store", "limit", "sink", "observe"],
    &["llm", "search"],
    &["agent", "trace"],
    &["engine", "report", "mock"],
    &["serve"],
    &["cli"],
    &["main"],
];

/// The folders of the engine that each folder may use, beside itself and the files with shared types.
const ENGINE: &[(&str, &[&str])] = &[
    ("input", &[]),
    ("work", &[]),
    ("output", &[]),
    ("dispatch", &["input", "work"]),
];

/// Files of the engine that use its folders. No folder may use them.
const ENGINE_TOP: &[&str] = &["begin", "run", "worker_loop"];

/// The most lines of a file before its tests. A longer file has more than one duty.
const MOST_LINES: usize = 400;

/// File names that say nothing about the content.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "helpers", "helper", "common", "manager", "imp", "misc",
];

/// One file of the source.
struct Source {
    /// Its path below `src`.
    path: String,
    text: String,
}

impl Source {
    /// The folder or file directly below `src` that the file belongs to.
    fn part(&self) -> &str {
        self.path
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// The number of modules between the root of the crate and the content of this file.
    fn depth(&self) -> usize {
        let names = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") {
            names - 1
        } else {
            names
        }
    }

    /// The numbered lines with code, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let uncommented = |line: &'_ str| !line.trim_start().starts_with("//");
        self.text
            .lines()
            .zip(1..)
            .filter(move |(line, _)| uncommented(line))
            .map(|(line, number)| (number, line.split(" // ").next().unwrap_or_default()))
    }
}

fn sources() -> Vec<Source> {
    let root = root().join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(
        found.len() > FLOORS.len(),
        "no source found below {}",
        root.display()
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

fn floor_of(part: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&part))
}

fn assert_none(what: &str, problems: &[String]) {
    let mut list = String::new();
    for problem in problems {
        writeln!(list, "  {problem}").unwrap();
    }
    assert!(problems.is_empty(), "{what}:\n{list}");
}

/// Every use of a part of the crate, with its line.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: Vec<(usize, &str)> = source.code().collect();
    // The lines are joined, because a `use crate::{` may span several lines.
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in code {
        starts.push((text.len(), number));
        text.push_str(line);
        text.push('\n');
    }
    let line_of = |at: usize| starts[starts.partition_point(|(start, _)| *start <= at) - 1].1;
    for root in ["crate::", "nova3::"] {
        for (at, _) in text.match_indices(root) {
            let whole_word = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
            if whole_word {
                found.extend(
                    first_names(&text[at + root.len()..])
                        .into_iter()
                        .map(|name| (line_of(at), name)),
                );
            }
        }
    }
    // `super::super::` may reach the root of the crate, too.
    for (at, _) in text.match_indices("super::") {
        let chain = text[at..]
            .split("super::")
            .take_while(|between| between.is_empty())
            .count();
        let is_start = !text[..at].ends_with("super::");
        if is_start && chain >= source.depth() {
            let names = first_names(&text[at + chain * "super::".len()..]);
            let parts = names
                .into_iter()
                .filter(|name| floor_of(name).is_some() && name != source.part());
            found.extend(parts.map(|name| (line_of(at), name)));
        }
    }
    found.sort();
    found
}

/// The first name of a path, or the first names of a group of paths in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut names, mut current) = (0_u32, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut current)),
            _ => {}
        }
        if c != ',' || depth > 0 {
            current.push(c);
        }
    }
    names.push(current);
    names
        .iter()
        .map(|text| name(text.trim()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn upward_uses(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        let Some(own) = floor_of(source.part()) else {
            problems.push(format!(
                "src/{}: `{}` stands on no floor",
                source.path,
                source.part()
            ));
            continue;
        };
        for (line, used) in uses(source) {
            let at = format!("src/{}:{line}", source.path);
            match floor_of(&used) {
                _ if used == source.part() => {}
                Some(floor) if floor < own => {}
                Some(floor) if floor == own => {
                    problems.push(format!(
                        "{at}: `{}` and `{used}` stand on the same floor ({own})",
                        source.part()
                    ));
                }
                Some(floor) => problems.push(format!("{at}: floor {own} uses `{used}` of floor {floor}")),
                None => problems.push(format!("{at}: `{used}` stands on no floor")),
            }
        }
    }
    problems
}

#[test]
fn imports_point_down_the_floors() {
    assert_none("uses that do not point down", &upward_uses(&sources()));
}

/// Uses of wire formats above the floor that knows them.
fn uses_of_the_wire(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.part() != "llm") {
        for (line, code) in source.code() {
            for inner in ["llm::wire", "llm::dialect"] {
                if code.contains(inner) {
                    problems.push(format!("src/{}:{line}: uses `{inner}`", source.path));
                }
            }
        }
    }
    problems
}

#[test]
fn only_the_models_floor_knows_wire_formats() {
    assert_none("wire formats outside of `llm`", &uses_of_the_wire(&sources()));
    let used = uses_of_the_wire(&[Source {
        path: "agent/run.rs".to_owned(),
        text: "use crate::llm::dialect::plain;".to_owned(),
    }]);
    assert_eq!(used.len(), 1);
}

/// Uses of an engine folder by another folder that may not use it.
fn circles_of_the_engine(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let mut names = source.path.split('/');
        let (Some("engine"), Some(folder)) = (names.next(), names.next()) else {
            continue;
        };
        let Some((_, allowed)) = ENGINE.iter().find(|(name, _)| *name == folder) else {
            continue;
        };
        for (number, line) in source.code() {
            for (at, root) in line.match_indices("crate::engine::") {
                for used in first_names(&line[at + root.len()..]) {
                    let is_folder = ENGINE.iter().any(|(name, _)| *name == used);
                    let is_other = is_folder && used != folder && !allowed.contains(&used.as_str());
                    if is_other || ENGINE_TOP.contains(&used.as_str()) {
                        problems.push(format!("src/{}:{number}: `{folder}` uses `{used}`", source.path));
                    }
                }
            }
        }
    }
    problems
}

#[test]
fn folders_of_the_engine_import_in_no_circle() {
    let sources = sources();
    assert_none("circles in the engine", &circles_of_the_engine(&sources));
    for (folder, _) in ENGINE {
        let path = format!("engine/{folder}/mod.rs");
        assert!(
            sources.iter().any(|source| source.path == path),
            "{path} is missing"
        );
    }
    let found = |path: &str, text: &str| {
        circles_of_the_engine(&[Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .len()
    };
    assert_eq!(
        found("engine/work/a.rs", "use crate::engine::dispatch::slots::Slots;"),
        1
    );
    assert_eq!(found("engine/input/a.rs", "use crate::engine::run::owner;"), 1);
    assert_eq!(
        found("engine/dispatch/a.rs", "use crate::engine::{work, job::Job};"),
        0
    );
}

#[test]
fn upward_uses_are_found_however_they_are_written() {
    let problems = |path: &str, text: &str| {
        upward_uses(&[Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .len()
    };
    assert_eq!(
        problems("store/mod.rs", "use crate::domain::ids;\nuse crate::store::x;"),
        0
    );
    assert_eq!(problems("store/mod.rs", "use crate::engine::run_batch;"), 1);
    assert_eq!(
        problems(
            "store/sqlite/open.rs",
            "use crate::{\n    domain::{a, b},\n    sink::Mark,\n    cli,\n};"
        ),
        2
    );
    assert_eq!(
        problems("store/mod.rs", "fn f() { crate::llm::call() } // crate::cli::x"),
        1
    );
    assert_eq!(problems("store/mod.rs", "//! Used by [`crate::cli`]."), 0);
    assert_eq!(problems("domain/a.rs", "use super::super::engine::Job;"), 1);
    assert_eq!(problems("domain/a.rs", "use super::usage::Cost;"), 0);
    assert_eq!(problems("clock.rs", "use super::config::Config;"), 1);
    assert_eq!(problems("attic/mod.rs", ""), 1);
}

#[test]
fn tasks_are_spawned_by_the_engine_and_the_mock_only() {
    let mut problems = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !["engine", "mock"].contains(&source.part()))
        // `close` of the store and of the exporter of traces await these tasks.
        .filter(|source| !["store/postgres/batch.rs", "trace/exporter.rs"].contains(&source.path.as_str()))
    {
        for (line, code) in source.code() {
            if ["tokio::spawn", "task::spawn(", "task::spawn_local"]
                .iter()
                .any(|spawn| code.contains(spawn))
            {
                problems.push(format!("src/{}:{line}", source.path));
            }
        }
    }
    assert_none("tasks that are never awaited", &problems);
}

#[test]
fn the_environment_is_read_in_config_only() {
    let mut problems = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !["config", "failpoint"].contains(&source.part()))
    {
        for (line, code) in source.code() {
            if ["env::var", "env::set_var", "env::{var"]
                .iter()
                .any(|read| code.contains(read))
            {
                problems.push(format!("src/{}:{line}", source.path));
            }
        }
    }
    assert_none("readers of the environment beside `config`", &problems);
}

#[test]
fn the_ground_floor_is_pure() {
    let waits = [
        "tokio::",
        "rusqlite",
        "reqwest",
        "std::fs",
        "std::net",
        "SystemTime",
        "Instant::now",
        "async fn",
    ];
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| source.part() == "domain") {
        for (line, code) in source.code() {
            problems.extend(
                waits
                    .iter()
                    .filter(|wait| code.contains(*wait))
                    .map(|wait| format!("src/{}:{line}: {wait}", source.path)),
            );
        }
    }
    assert_none("things that wait, on the ground floor", &problems);
}

#[test]
fn files_are_short_and_named_after_what_is_inside() {
    let mut problems = Vec::new();
    for Source { path, text } in &sources() {
        let lines = text
            .lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .count();
        if lines > MOST_LINES {
            problems.push(format!(
                "src/{path}: {lines} lines before its tests, expected at most {MOST_LINES}"
            ));
        }
        let mut names = path.trim_end_matches(".rs").split('/');
        if let Some(name) = names.find(|name| EMPTY_NAMES.contains(name)) {
            problems.push(format!("src/{path}: `{name}` says nothing about what is inside"));
        }
    }
    assert_none("files to split or rename", &problems);
}

/// The setting that each flag overrides.
const SETTINGS: &[(&str, &str)] = &[
    ("store", "run.store"),
    ("concurrency", "run.concurrency"),
    ("grace", "run.grace"),
    ("wait_lock", "run.wait_lock"),
    ("first_token_timeout", "timeouts.first_token"),
    ("idle_timeout", "timeouts.idle"),
    ("timeout", "timeouts.total"),
];

#[test]
fn documented_defaults_are_the_real_ones() {
    let defaults: toml::Table = nova3::config::DEFAULT.parse().unwrap();
    let real: BTreeMap<&str, String> = SETTINGS
        .iter()
        .map(|(flag, key)| (*flag, setting(&defaults, key)))
        .collect();
    let text = std::fs::read_to_string(root().join("src/cli/args/mod.rs")).unwrap();
    let documented = documented_defaults(&text);
    let mut problems = Vec::new();
    for (flag, documented) in &documented {
        match real.get(flag.as_str()) {
            Some(real) if real == documented => {}
            Some(real) => problems.push(format!(
                "`{flag}`: --help says `{documented}`, the default is `{real}`"
            )),
            None => problems.push(format!(
                "`{flag}`: --help says `{documented}`, and no setting is known for it"
            )),
        }
    }
    for flag in real
        .keys()
        .filter(|flag| !documented.iter().any(|(documented, _)| documented == *flag))
    {
        problems.push(format!("`{flag}`: --help does not say its default"));
    }
    assert_none("defaults", &problems);
}

fn setting(defaults: &toml::Table, key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap();
    match &defaults[section][name] {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Each `[default: …]` with its field. A default with a space inside describes a rule and is no value.
fn documented_defaults(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut default = None;
    for line in text.lines().map(str::trim) {
        if let Some((_, rest)) = line
            .strip_prefix("///")
            .and_then(|doc| doc.split_once("[default: "))
        {
            default = rest.split_once(']').map(|(value, _)| value.to_owned());
        } else if let Some((field, _)) = line
            .strip_prefix("pub(in crate::cli) ")
            .and_then(|field| field.split_once(':'))
            && let Some(default) = default.take()
            && !default.contains(' ')
        {
            found.push((field.to_owned(), default));
        }
    }
    found
}

/// The names of the dependencies and development dependencies in `Cargo.toml`.
fn dependencies() -> Vec<String> {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let names = |section: &str| {
        manifest[section]
            .as_table()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    [names("dependencies"), names("dev-dependencies")].concat()
}

#[test]
fn every_dependency_has_its_reason() {
    let page = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        line.strip_prefix("| `")?
            .split_once('`')
            .map(|(name, _)| name.to_owned())
    });
    let (mut explained, mut real): (Vec<String>, Vec<String>) = (rows.collect(), dependencies());
    explained.sort();
    real.sort();
    let missing = real
        .iter()
        .filter(|name| !explained.contains(name))
        .map(|name| format!("`{name}` has no line"));
    let stale = explained
        .iter()
        .filter(|name| !real.contains(name))
        .map(|name| format!("`{name}` is no dependency"));
    let twice = explained
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| format!("`{}` has two lines", pair[0]));
    assert_none(
        "docs/dependencies.md",
        &missing.chain(stale).chain(twice).collect::<Vec<_>>(),
    );
}
