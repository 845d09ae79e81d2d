//! Each check can fail: one thing is broken in a copy of the files, and its fault is found.

#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot break its copy has to stop"
)]

use std::collections::BTreeMap;
use std::path::Path;

use super::harness::{Tree, root};

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
}

/// Replaces one text in `file`. Returns a message if the check does not find the fault.
fn unnoticed(file: &str, [from, to, words]: &[String; 3]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        "deploy",
        "docs/operations.md",
        ".dockerignore",
        ".github",
        "CONTRIBUTING.md",
    ] {
        copy(&root().join(path), &folder.path().join(path));
    }
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    if !text.contains(from) {
        return Some(format!("{file}: `{from}` is not there to be broken"));
    }
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let tree = Tree {
        folder: folder.path().to_path_buf(),
    };
    let faults = tree.faults();
    let found = faults.iter().any(|fault| fault.contains(words));
    (!found).then(|| format!("{file}: `{from}` → `{to}`: no `{words}` in {faults:#?}"))
}

#[test]
fn what_is_broken_is_found() {
    let breaks: BTreeMap<String, Vec<[String; 3]>> = toml::from_str(include_str!("breaks.toml")).unwrap();
    let all = breaks
        .iter()
        .flat_map(|(file, breaks)| breaks.iter().map(move |one| (file, one)));
    let unnoticed: Vec<String> = all.filter_map(|(file, one)| unnoticed(file, one)).collect();
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
