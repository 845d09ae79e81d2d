//! Mutants: each failpoint that breaks a rule makes the law of that rule fail.
//!
//! `tests/laws.toml` lists the laws of the storms with their mutants. A plain test run takes as many mutants as fit
//! into [`SECONDS`], others each time, and prints their names. `scripts/mutants` runs all mutants, or the named ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::support::choices::number;

/// A plain test run starts no mutant after this many seconds.
const SECONDS: u64 = 10;

/// Mutants that run at once: a storm mostly waits.
const AT_ONCE: usize = 3;

/// Attempts to find one mutant, each with other random choices.
const ATTEMPTS: u64 = 3;

/// A storm that runs longer is stuck. The output of its oracles until then counts.
const STUCK: Duration = Duration::from_mins(4);

#[derive(Deserialize)]
struct Laws {
    law: Vec<Law>,
}

/// One law of `tests/laws.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Law {
    suite: String,
    oracle: String,
    promise: String,
    /// The reason why no mutant can break the law.
    #[serde(default)]
    without: Option<String>,
    #[serde(default)]
    mutants: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    failpoint: String,
    /// The test, or the module of tests, that finds the mutant.
    test: String,
    /// Parameters of the storm, if its short form reaches the rule too seldom.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// A mutant with the law that must find it.
struct Hunt {
    oracle: String,
    failpoint: String,
    test: String,
    env: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn laws() -> Vec<Law> {
    toml::from_str::<Laws>(&text("tests/laws.toml")).unwrap().law
}

fn hunts() -> Vec<Hunt> {
    let hunt = |law: &Law| {
        let of = |mutant: &Mutant| Hunt {
            oracle: law.oracle.clone(),
            failpoint: mutant.failpoint.clone(),
            test: mutant.test.clone(),
            env: mutant.env.clone(),
        };
        law.mutants.iter().map(of).collect::<Vec<_>>()
    };
    laws().iter().flat_map(hunt).collect()
}

/// The files below a folder with one of the endings.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if endings
                .iter()
                .any(|ending| path.extension().is_some_and(|found| found == *ending))
            {
                found.push(path);
            }
        }
    }
    found
}

/// The texts between each `before` and the `after` that follows it.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before)
        .skip(1)
        .filter_map(move |rest| rest.split_once(after))
        .map(|(name, _)| name)
}

/// The failpoints of the source that break a rule.
fn rules() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files("src", &["rs", "sql"]) {
        if path.ends_with("src/failpoint.rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        names.extend(
            between(&text, "failpoint!(\"", "\")")
                .filter(|name| !name.contains('"'))
                .map(str::to_owned),
        );
        let comments =
            between(&text, "-- unless failpoint ", "\n").chain(between(&text, "-- if failpoint ", ":"));
        names.extend(
            comments
                .flat_map(|list| list.split(','))
                .map(|name| name.trim().to_owned()),
        );
    }
    names
}

#[test]
fn every_rule_that_can_be_broken_has_a_law() {
    let known: BTreeSet<String> = hunts().into_iter().map(|hunt| hunt.failpoint).collect();
    assert_eq!(
        rules(),
        known,
        "failpoints of the source, and those of tests/laws.toml"
    );
}

/// The oracles that a test suite names.
fn oracles(suite: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files(&format!("tests/{suite}"), &["rs"]) {
        let text = std::fs::read_to_string(path).unwrap();
        names.extend(
            between(&text, "oracle `", "`")
                .filter(|name| !name.contains('{'))
                .map(str::to_owned),
        );
        let verdicts = text
            .split(".add(")
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"'));
        names.extend(
            verdicts
                .filter_map(|rest| rest.split_once('"'))
                .map(|(name, _)| name.to_owned()),
        );
    }
    names
}

#[test]
fn every_oracle_of_the_storms_is_a_law() {
    for suite in ["crash", "chaos", "cluster"] {
        let known: BTreeSet<String> = laws()
            .into_iter()
            .filter(|law| law.suite == suite)
            .map(|law| law.oracle)
            .collect();
        assert_eq!(
            oracles(suite),
            known,
            "oracles of tests/{suite}, and those of tests/laws.toml"
        );
    }
}

#[test]
fn a_law_without_a_mutant_says_why() {
    for law in laws() {
        assert!(!law.promise.is_empty(), "{} promises nothing", law.oracle);
        assert_eq!(
            law.mutants.is_empty(),
            law.without.is_some(),
            "`{}` of {} has mutants, or says with `without` why it has none",
            law.oracle,
            law.suite
        );
    }
}

#[test]
fn the_test_of_each_mutant_is_there() {
    for hunt in hunts() {
        let mut path: Vec<&str> = hunt.test.trim_end_matches("::").split("::").collect();
        let module = |path: &[&str]| {
            let base = root().join("tests").join(path.join("/"));
            [base.with_extension("rs"), base.join("mod.rs")]
                .into_iter()
                .find(|file| file.is_file())
        };
        if module(&path).is_some() {
            continue;
        }
        let name = path.pop().unwrap_or_default();
        // A module may be defined inside a file.
        while module(&path).is_none() && path.pop().is_some() {}
        let source = module(&path)
            .map(|file| std::fs::read_to_string(file).unwrap())
            .unwrap_or_default();
        assert!(
            source.contains(&format!("fn {name}(")),
            "{}: there is no test `{}`",
            hunt.failpoint,
            hunt.test
        );
    }
}

/// The oracles of the table under this heading.
fn promised(page: &str, heading: &str) -> BTreeSet<String> {
    let table = page.split(heading).nth(1).unwrap();
    let rows = table
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

#[test]
fn the_page_on_reliability_has_the_laws_of_the_long_storms() {
    let page = text("docs/reliability.md");
    for (heading, suite) in [
        ("| oracle | what is promised |", "chaos"),
        ("| oracle of the fleet | what is promised |", "cluster"),
    ] {
        let known: BTreeSet<String> = laws()
            .into_iter()
            .filter(|law| law.suite == suite)
            .map(|law| law.oracle)
            .collect();
        assert_eq!(promised(&page, heading), known, "{suite}");
    }
}

/// Runs the tests of a mutant with its failpoint on. Returns the oracle that found it, or an error with the outcome.
fn hunt(hunt: &Hunt, attempt: u64, folder: &Path) -> Result<String, String> {
    let log = folder.join(format!("{}-{attempt}", hunt.failpoint));
    let file = File::create(&log).unwrap();
    let seed = (attempt + 1).to_string();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&hunt.test, "--nocapture"])
        .env("NOVA3_FAILPOINTS", &hunt.failpoint)
        // The short form requires no throughput. A mutant of the throughput needs this requirement.
        .env("NOVA3_CHAOS_LEAST", "20")
        // Shorter limits than a real run needs, so that a stuck run is found sooner.
        .envs([
            ("NOVA3_CHAOS_PATIENCE_S", "15"),
            ("NOVA3_CLUSTER_PATIENCE_S", "20"),
            ("NOVA3_PATIENCE_S", "30"),
        ])
        .envs(["NOVA3_CRASH_SEED", "NOVA3_CHAOS_SEED", "NOVA3_CLUSTER_SEED"].map(|name| (name, &seed)))
        .envs(&hunt.env)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > STUCK {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // The whole process group, with the processes that the tests started.
    let group = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap_or_default();
    child.wait().unwrap();
    let said = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let spoke: BTreeSet<&str> = between(&said, "oracle `", "`").collect();
    if status.is_some_and(|status| status.success()) {
        return Err("no test failed".to_owned());
    }
    if !spoke.contains(hunt.oracle.as_str()) {
        let last: Vec<&str> = said.lines().rev().take(20).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(format!(
            "oracle `{}` was silent, {spoke:?} spoke:\n{last}",
            hunt.oracle
        ));
    }
    Ok(format!(
        "found by oracle `{}`{}",
        hunt.oracle,
        if attempt > 0 { " at another attempt" } else { "" }
    ))
}

/// Hunts these mutants, several at once, until the time is over. Fails if one was not found. Prints the hunted ones.
fn hunt_all(hunts: &[Hunt], at_once: usize, most: Duration) {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let next = Mutex::new(hunts.iter());
    let missed = Mutex::new(Vec::new());
    let done = Mutex::new(0_usize);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while begun.elapsed() < most {
                    let Some(one) = next.lock().unwrap().next() else {
                        return;
                    };
                    let start = Instant::now();
                    let mut said = hunt(one, 0, folder.path());
                    for attempt in 1..ATTEMPTS {
                        said = said.or_else(|_| hunt(one, attempt, folder.path()));
                    }
                    let found = said.is_ok();
                    let (Ok(said) | Err(said)) = said;
                    let word = if found { "red" } else { "NOT FOUND" };
                    println!(
                        "mutant {}: {word}: {said} ({:.0} s)",
                        one.failpoint,
                        start.elapsed().as_secs_f64()
                    );
                    if !found {
                        missed.lock().unwrap().push(one.failpoint.clone());
                    }
                    *done.lock().unwrap() += 1;
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    let done = done.into_inner().unwrap();
    println!(
        "mutants: {done} of {} in {:.0} s",
        hunts.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(missed.is_empty(), "mutants that no law found: {missed:?}");
}

/// The choice is random, so that every mutant is hunted in some run.
#[test]
fn some_mutants_turn_their_law_red() {
    let seed = number("NOVA3_MUTANT_SEED", fastrand::u64(..100_000));
    let mut hunts = hunts();
    // Mutants with a storm of their own size take minutes.
    hunts.retain(|hunt| hunt.env.is_empty());
    fastrand::Rng::with_seed(seed).shuffle(&mut hunts);
    println!("mutants: seed {seed}");
    // Only two at once, because all other tests run at the same time.
    let seconds = number("NOVA3_MUTANT_SECONDS", SECONDS);
    hunt_all(&hunts, 2, Duration::from_secs(seconds));
}

#[test]
#[ignore = "minutes long: scripts/mutants"]
fn all_mutants_turn_their_law_red() {
    let wanted: String = number("NOVA3_MUTANTS", String::new());
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let mut hunts = hunts();
    hunts.retain(|hunt| wanted.is_empty() || wanted.contains(&hunt.failpoint.as_str()));
    for name in &wanted {
        assert!(
            hunts.iter().any(|hunt| hunt.failpoint == *name),
            "there is no mutant `{name}`"
        );
    }
    for law in laws().iter().filter(|law| law.mutants.is_empty()) {
        let why = law.without.as_deref().unwrap_or_default();
        println!("law `{}` of {} has no mutant: {why}", law.oracle, law.suite);
    }
    hunt_all(&hunts, AT_ONCE, Duration::from_hours(12));
}

/// A release build contains neither the failpoints' variable nor their names, so no failpoint can be switched on.
#[test]
fn a_release_build_has_no_failpoints() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("main.rs");
    let module = root().join("src/failpoint.rs");
    let program = format!(
        "#[macro_use]\n#[path = {:?}]\nmod failpoint;\nfn main() {{\n    failpoint!(\"some-place\", \"\");\n    \
         print!(\"{{}} {{}}\", failpoint!(\"some-rule\"), failpoint::sql(\"sql\"));\n}}\n",
        module.display().to_string()
    );
    std::fs::write(&source, program).unwrap();
    for (assertions, prints, has_names) in [("off", "false sql", false), ("on", "true sql", true)] {
        let built = folder.path().join(assertions);
        let rustc = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "-O",
                "-C",
                &format!("debug-assertions={assertions}"),
                "-o",
            ])
            .arg(&built)
            .arg(&source)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(rustc.success());
        let ran = Command::new(&built)
            .env("NOVA3_FAILPOINTS", "some-rule")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), prints);
        let binary = std::fs::read(&built).unwrap();
        let binary = String::from_utf8_lossy(&binary);
        let found = ["NOVA3_FAILPOINTS", "some-rule", "some-place"]
            .iter()
            .filter(|name| binary.contains(**name));
        assert_eq!(found.count() > 0, has_names, "debug assertions are {assertions}");
    }
}
