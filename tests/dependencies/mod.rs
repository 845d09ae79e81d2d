//! Checks nova3's dependencies against `deny.toml`: licences, bans and sources, from the output of `cargo metadata`.
//!
//! cargo-deny reads the same file, and adds the advisories, which have to be downloaded. A key of `deny.toml` that is
//! not checked here is an error, so that both checks agree. Two rules on dependencies are elsewhere: the compiler finds
//! a dependency that product code does not use (`unused_crate_dependencies` in `src/lib.rs`), and
//! `tests/house/floors.rs` requires a reason for each in `docs/dependencies.md`.

#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot read its subject has to stop"
)]

mod metadata;
mod policy;
mod rules;

use metadata::Metadata;
use policy::Policy;

fn assert_kept(target: &str) {
    let metadata = Metadata::of(target);
    assert!(metadata.packages.len() > 1, "{target}: no dependency is listed");
    let faults = Policy::read().faults(&metadata);
    assert!(
        faults.is_empty(),
        "deny.toml is not kept for {target}:\n  {}",
        faults.join("\n  ")
    );
}

#[test]
fn crates_of_this_machine_keep_to_the_policy() {
    assert_kept("host-tuple");
}

#[test]
#[ignore = "a build here does not fetch the crates of other targets; scripts/test fetches them and runs this"]
fn crates_of_every_target_keep_to_the_policy() {
    let targets = Policy::read().graph.targets;
    assert!(!targets.is_empty(), "deny.toml names no target");
    for target in targets {
        assert_kept(&target);
    }
}
