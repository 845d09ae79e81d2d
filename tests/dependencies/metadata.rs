//! The output of `cargo metadata`.

use std::process::Command;

use serde::Deserialize;

/// The packages of a build.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for a package of this machine.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) req: String,
    pub(crate) source: Option<String>,
    /// `None` for cargo's default registry.
    pub(crate) registry: Option<String>,
}

impl Package {
    pub(crate) fn said(&self) -> String {
        format!("`{} {}`", self.name, self.version)
    }
}

impl Metadata {
    /// The packages of a build for this target, tests included.
    pub(crate) fn of(target: &str) -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--offline", "--format-version", "1"])
            .args(["--filter-platform", target])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let cure = format!("`cargo fetch --locked --target {target}` brings what is missing");
        assert!(output.status.success(), "{target}: {error}({cure})");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
