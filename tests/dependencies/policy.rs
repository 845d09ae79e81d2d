//! The rules of `deny.toml` and how packages differ from them.

use std::collections::BTreeMap;

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::metadata::{Metadata, Package};

/// The keys of `deny.toml` that are checked here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) graph: Graph,
    #[serde(rename = "advisories")]
    _advisories: toml::Table,
    licenses: Licenses,
    pub(crate) bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Licenses {
    allow: Vec<String>,
    include_dev: bool,
    #[serde(rename = "unused-allowed-license")]
    _unused_allowed_license: Unchecked,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Bans {
    pub(crate) multiple_versions: Level,
    wildcards: Level,
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
}

/// The level of a rule. Only `deny` makes a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Allow,
    Warn,
    Deny,
}

/// A rule that is switched off. Any other value is an error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unchecked {
    Allow,
}

impl Policy {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).unwrap();
        Self::parse(&text).unwrap()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let cure = "teach tests/dependencies.rs what cargo-deny does with it";
        let policy: Self = toml::from_str(text).map_err(|error| format!("deny.toml: {error} ({cure})"))?;
        if policy.licenses.include_dev {
            return Ok(policy);
        }
        Err(format!(
            "deny.toml: `[licenses] include-dev` is not `true` ({cure})"
        ))
    }

    /// Every rule that the packages break.
    pub(crate) fn faults(&self, metadata: &Metadata) -> Vec<String> {
        [
            self.licence_faults(&metadata.packages),
            self.ban_faults(&metadata.packages),
            self.source_faults(metadata),
        ]
        .concat()
    }

    fn licence_faults(&self, packages: &[Package]) -> Vec<String> {
        let allowed: Vec<Licensee> = self
            .licenses
            .allow
            .iter()
            .map(|licence| Licensee::parse(licence).unwrap())
            .collect();
        let fault = |package: &Package| {
            let said = package.said();
            let cure =
                "allow the licence under `[licenses] allow` if it is permissive, else take another crate";
            let Some(licence) = &package.license else {
                return Some(format!("{said} names no licence (take another crate)"));
            };
            match Expression::parse_mode(licence, ParseMode::LAX) {
                Err(error) => Some(format!(
                    "{said}: its licence `{licence}` is no SPDX expression: {} (take another crate)",
                    error.reason
                )),
                Ok(terms) if terms.evaluate(|term| allowed.iter().any(|one| one.satisfies(term))) => None,
                Ok(_) => Some(format!(
                    "{said}: its licence `{licence}` is not satisfied by `[licenses] allow` ({cure})"
                )),
            }
        };
        packages.iter().filter_map(fault).collect()
    }

    fn ban_faults(&self, packages: &[Package]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(&package.name).or_default().push(&package.version);
            let banned = self.bans.deny.iter().filter(|ban| ban.name == package.name);
            faults.extend(banned.map(|ban| {
                let cure =
                    "`cargo tree --invert` names its user; leave out the feature or the crate that brings it";
                format!(
                    "{} is refused by `[bans] deny`: {} ({cure})",
                    package.said(),
                    ban.reason
                )
            }));
            let open = package
                .dependencies
                .iter()
                .filter(|dependency| self.bans.wildcards == Level::Deny && dependency.req == "*");
            faults.extend(open.map(|dependency| {
                format!(
                    "{} takes any version of `{}`, which `[bans] wildcards` refuses (name a version)",
                    package.said(),
                    dependency.name
                )
            }));
        }
        let twice = versions
            .iter()
            .filter(|(_, versions)| self.bans.multiple_versions == Level::Deny && versions.len() > 1);
        faults.extend(twice.map(|(name, versions)| {
            let cure = "`cargo tree --duplicates` names their users; bring these to one version";
            format!(
                "`{name}` is there as {}, which `[bans] multiple-versions` refuses ({cure})",
                versions.join(" and ")
            )
        }));
        faults
    }

    fn source_faults(&self, metadata: &Metadata) -> Vec<String> {
        let is_own = |package: &Package| metadata.workspace_members.contains(&package.id);
        let own = metadata.packages.iter().filter(|package| is_own(package));
        let registry = own
            .flat_map(|package| &package.dependencies)
            .filter(|dependency| dependency.registry.is_none())
            .find_map(|dependency| dependency.source.as_deref())
            .unwrap();
        let fault = |package: &Package| {
            let said = package.said();
            let cure = "take a released version from the registry";
            match package.source.as_deref() {
                Some(source) if source == registry => None,
                Some(source) if source.starts_with("git+") => {
                    let refused = self.sources.unknown_git == Level::Deny;
                    refused.then(|| {
                        format!(
                            "{said} comes from `{source}`, which `[sources] unknown-git` refuses ({cure})"
                        )
                    })
                }
                Some(source) => {
                    let refused = self.sources.unknown_registry == Level::Deny;
                    refused.then(|| {
                        format!("{said} comes from `{source}`, which `[sources] unknown-registry` refuses ({cure})")
                    })
                }
                None if is_own(package) => None,
                None => Some(format!(
                    "{said} comes from a folder of this machine, which is no source of `[sources]` ({cure})"
                )),
            }
        };
        metadata.packages.iter().filter_map(fault).collect()
    }
}
