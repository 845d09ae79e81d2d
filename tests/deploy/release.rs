//! `scripts/release` accepts a good tag and a good binary, and refuses bad ones.

#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot make its files has to stop"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::harness::root;

/// Runs the script. Returns its standard output, or its standard error if it fails.
fn run(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(folder.join("scripts/release"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// A repository of version 1.2.3 with this changelog.
fn repository(changelog: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("scripts")).unwrap();
    std::fs::copy(
        root().join("scripts/release"),
        folder.path().join("scripts/release"),
    )
    .unwrap();
    let manifest = "[package]\nversion = \"1.2.3\"\n\n[dependencies]\nserde = { version = \"1\" }\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.path().join("CHANGELOG.md"), changelog).unwrap();
    folder
}

/// A program that prints this line.
fn program(folder: &Path, line: &str) -> String {
    let path = folder.join("program");
    std::fs::write(&path, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn notes_are_the_section_of_the_tag() {
    let changelog = "# Changelog\n\n## [Unreleased]\n\n- More.\n\n## [1.2.3] - 2026-01-01\n\n### Added\n\n- This.\n\n## [1.2.2]\n\n- That.\n";
    let folder = repository(changelog);
    let notes = |tag: &str| run(folder.path(), &["notes", tag]);
    assert_eq!(notes("v1.2.3").unwrap(), "### Added\n\n- This.");
    for tag in ["v1.2.2", "1.2.3", "v1.2.3-rc.1"] {
        assert!(notes(tag).unwrap_err().contains("expected `v1.2.3`"), "{tag}");
    }
}

#[test]
fn a_version_without_notes_is_no_release() {
    for changelog in [
        "## [Unreleased]\n\n- This.\n",
        "## [1.2.3]\n\n \n## [1.2.2]\n\n- That.\n",
    ] {
        let folder = repository(changelog);
        let error = run(folder.path(), &["notes", "v1.2.3"]).unwrap_err();
        assert!(error.contains("no text under `## [1.2.3]`"), "{error}");
    }
}

#[test]
fn a_binary_has_the_version_and_no_failpoints() {
    let folder = repository("");
    let check = |line: &str| {
        let program = program(folder.path(), line);
        run(folder.path(), &["check", &program])
    };
    assert_eq!(check("nova3 1.2.3").unwrap(), "nova3 1.2.3, without failpoints");
    assert!(
        check("nova3 1.2.2")
            .unwrap_err()
            .contains("expected `nova3 1.2.3`")
    );
    let with_failpoints = "nova3 1.2.3' # NOVA3_FAILPOINTS '";
    assert!(check(with_failpoints).unwrap_err().contains("has failpoints"));
}

/// Checks that a debug build contains the name that the script searches for.
#[test]
#[cfg(debug_assertions)]
fn a_debug_build_is_no_release() {
    let error = run(root(), &["check", env!("CARGO_BIN_EXE_nova3")]).unwrap_err();
    assert!(error.contains("has failpoints"), "{error}");
}
