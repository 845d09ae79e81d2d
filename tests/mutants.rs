//! Each mutant of `scripts/mutants` still fits the source: one that does not would show nothing, and nobody
//! would notice before the long form of `scripts/crash-test`.

use std::path::Path;

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
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("scripts/mutants")).unwrap() {
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
    assert!(seen > 0, "there are no mutants");
    assert_eq!(misfits, Vec::<String>::new());
}
