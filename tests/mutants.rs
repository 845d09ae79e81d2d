//! Each mutant of `scripts/mutants` and `scripts/chaos-mutants` still fits the source: one that does not would show
//! nothing, and nobody would notice before someone runs them.

use std::collections::BTreeSet;
use std::path::Path;

/// The mutants of `scripts/crash-test` and of `scripts/chaos`.
const FOLDERS: [&str; 2] = ["scripts/mutants", "scripts/chaos-mutants"];

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

#[test]
fn every_oracle_of_the_chaos_runs_has_a_mutant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let table = page.split("| oracle | what is promised |").nth(1).unwrap();
    let rows = table
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('|'));
    let promised: BTreeSet<String> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let name = |path: &Path| {
        let patch = std::fs::read_to_string(path).unwrap();
        let first = patch
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("Oracle: "));
        first
            .expect("the first line of a mutant names its oracle")
            .to_owned()
    };
    let mutants = std::fs::read_dir(root.join("scripts/chaos-mutants")).unwrap();
    let caught: BTreeSet<String> = mutants.map(|entry| name(&entry.unwrap().path())).collect();
    assert_eq!(caught, promised);
}
