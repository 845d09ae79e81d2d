//! Each mutant still fits the source: one that does not would show nothing, and nobody would notice before someone runs
//! them. And each oracle of the chaos runs has one.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a check that cannot read the tree has to stop"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// The mutants of `scripts/crash-test`, `scripts/chaos` and `scripts/chaos-cluster`.
const FOLDERS: [&str; 3] = [
    "scripts/mutants",
    "scripts/chaos-mutants",
    "scripts/cluster-mutants",
];

/// Where `docs/reliability.md` lists oracles, and the folder with a mutant for each of them.
const ORACLES: [(&str, &str); 2] = [
    ("| oracle | what is promised |", "scripts/chaos-mutants"),
    (
        "| oracle of the fleet | what is promised |",
        "scripts/cluster-mutants",
    ),
];

/// The old text of each hunk of a patch, with the file that it belongs to.
fn hunks(patch: &str) -> Vec<(String, String)> {
    let mut hunks: Vec<(String, String)> = Vec::new();
    let mut file = String::new();
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            path.clone_into(&mut file);
        } else if line.starts_with("@@") {
            hunks.push((file.clone(), String::new()));
        } else if line.starts_with("--- a/") || line.starts_with('+') {
            // The old name, and what the mutant adds.
        } else if let Some((_, old)) = hunks.last_mut() {
            old.push_str(line.get(1..).unwrap_or_default());
            old.push('\n');
        }
    }
    hunks
}

#[test]
fn every_mutant_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut misfits = Vec::new();
    for folder in FOLDERS {
        let mut seen = 0;
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let patch = std::fs::read_to_string(&path).unwrap();
            let hunks = hunks(&patch);
            assert!(!hunks.is_empty(), "{} changes nothing", path.display());
            for (file, old) in hunks {
                seen += 1;
                let source = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
                if !source.contains(&old) {
                    misfits.push(format!("{} does not fit {file}", path.display()));
                }
            }
        }
        assert!(seen > 0, "there are no mutants in {folder}");
    }
    assert_eq!(misfits, Vec::<String>::new());
}

/// The oracles of the table that begins so.
fn promised(page: &str, heading: &str) -> BTreeSet<String> {
    let table = page.split(heading).nth(1).unwrap();
    let rows = table
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect()
}

/// The oracle that a mutant has to turn red.
fn oracle(path: &Path) -> String {
    let patch = std::fs::read_to_string(path).unwrap();
    let first = patch
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("Oracle: "));
    first
        .expect("the first line of a mutant names its oracle")
        .to_owned()
}

#[test]
fn every_oracle_of_the_chaos_runs_has_a_mutant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    for (heading, folder) in ORACLES {
        let mutants = std::fs::read_dir(root.join(folder)).unwrap();
        let caught: BTreeSet<String> = mutants.map(|entry| oracle(&entry.unwrap().path())).collect();
        assert_eq!(caught, promised(&page, heading), "{folder}");
    }
}
