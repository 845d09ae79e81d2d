//! Each rule can fail: an invented crate breaks it, and the fault is found.

use serde_json::json;

use super::policy::{Level, Policy};

/// The faults of nova3 with one dependency. The dependency breaks no rule, except by the fields of the JSON.
fn judged(policy: &Policy, other: &serde_json::Value) -> Vec<String> {
    let mut package = json!({
        "id": "other", "name": "other", "version": "1.0.0", "license": "MIT", "source": "registry+home",
        "dependencies": [],
    });
    for (key, value) in other.as_object().unwrap() {
        package[key] = value.clone();
    }
    let own = json!({
        "id": "own", "name": "own", "version": "0.1.0", "license": "MIT OR Apache-2.0", "source": null,
        "dependencies": [
            {"name": "inner", "req": "^1", "source": null, "registry": null},
            {"name": "far", "req": "^1", "source": "registry+far", "registry": "far"},
            {"name": "other", "req": "^1", "source": "registry+home", "registry": null},
        ],
    });
    let metadata = json!({"packages": [own, package], "workspace_members": ["own"]});
    policy.faults(&serde_json::from_value(metadata).unwrap())
}

/// A policy with every rule set to `deny`.
fn strict() -> Policy {
    let text = r#"
        advisories = {}
        graph = { targets = [] }
        licenses = { allow = ["MIT", "Zlib"], include-dev = true, unused-allowed-license = "allow" }
        sources = { unknown-registry = "deny", unknown-git = "deny" }
        bans.multiple-versions = "deny"
        bans.wildcards = "deny"
        bans.deny = [{ name = "heavy", reason = "too large" }]
    "#;
    Policy::parse(text).unwrap()
}

#[test]
fn licences_are_read_as_expressions() {
    let satisfied = |licence: &str| judged(&strict(), &json!({"license": licence})).is_empty();
    for licence in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR ISC) AND Zlib",
    ] {
        assert!(satisfied(licence), "{licence}");
    }
    for licence in [
        "MIT-0",
        "MIT AND ISC",
        "(MIT AND ISC) OR GPL-3.0-only",
        "Zlib WITH LLVM-exception",
    ] {
        assert!(!satisfied(licence), "{licence}");
    }
}

#[test]
fn each_fault_names_package_key_and_cure() {
    let faults = [
        (
            json!({"license": "ISC"}),
            "licence `ISC` is not satisfied by `[licenses] allow` (allow",
        ),
        (json!({"license": null}), "names no licence (take another crate"),
        (
            json!({"license": "free"}),
            "licence `free` is no SPDX expression: unknown term (take another",
        ),
        (
            json!({"name": "heavy"}),
            "`heavy 1.0.0` is refused by `[bans] deny`: too large (`cargo tree --invert`",
        ),
        (
            json!({"dependencies": [{"name": "any", "req": "*", "source": null, "registry": null}]}),
            "`other 1.0.0` takes any version of `any`, which `[bans] wildcards` refuses (name a version)",
        ),
        (
            json!({"name": "own"}),
            "`own` is there as 0.1.0 and 1.0.0, which `[bans] multiple-versions` refuses (`cargo tree --dup",
        ),
        (
            json!({"source": "git+far"}),
            "comes from `git+far`, which `[sources] unknown-git` refuses (take",
        ),
        (
            json!({"source": "registry+far"}),
            "comes from `registry+far`, which `[sources] unknown-registry` refuses (take",
        ),
        (
            json!({"source": null}),
            "comes from a folder of this machine, which is no source of `[sources]` (take",
        ),
    ];
    for (other, words) in faults {
        let found = judged(&strict(), &other);
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{other}: {found:#?}"
        );
    }
    assert_eq!(judged(&strict(), &json!({})), Vec::<String>::new());
}

#[test]
fn a_warning_is_no_fault() {
    let mut policy = strict();
    policy.bans.multiple_versions = Level::Warn;
    assert_eq!(judged(&policy, &json!({"name": "own"})), Vec::<String>::new());
}

#[test]
fn a_key_that_is_not_checked_is_an_error() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).unwrap();
    let with = |from: &str, to: &str| Policy::parse(&text.replacen(from, to, 1));
    assert!(with("", "").is_ok());
    assert!(with("[licenses]", "[licenses]\nclarify = []").is_err());
    assert!(with("include-dev = true", "include-dev = false").is_err());
    assert!(
        with(
            "unused-allowed-license = \"allow\"",
            "unused-allowed-license = \"deny\""
        )
        .is_err()
    );
}
