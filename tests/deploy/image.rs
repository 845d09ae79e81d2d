//! The image: its source files exist and are copied, and it runs as the right user.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::harness::{Found, Tree, root};

const FILE: &str = "deploy/Dockerfile";

/// The instructions of a Dockerfile, continued lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut continues = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        if continues && let Some((_, rest)) = found.last_mut() {
            rest.push_str(part);
        } else {
            let (name, rest) = part.split_once(' ').unwrap_or((part, ""));
            found.push((name.to_owned(), rest.trim().to_owned()));
        }
        continues = goes_on;
    }
    found
}

/// The user and the group of the image, by number.
pub(crate) fn user(tree: &Tree) -> Result<(u64, u64), String> {
    let instructions = instructions(&tree.text(FILE)?);
    let user = instructions.iter().rev().find(|(name, _)| name == "USER");
    let ids = user
        .and_then(|(_, user)| user.split_once(':'))
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    match ids {
        Some((user, group)) if user > 0 && group > 0 => Ok((user, group)),
        _ => Err(format!(
            "{FILE}: USER is not the numbers of a user and a group other than root"
        )),
    }
}

pub(crate) fn faults(tree: &Tree) -> Found {
    let instructions = instructions(&tree.text(FILE)?);
    let mut faults = Vec::new();
    faults.extend(user(tree).err());
    faults.extend(stages(&instructions));
    faults.extend(start(&instructions));
    let copied = sources(&instructions);
    faults.extend(
        copied
            .iter()
            .filter(|path| !root().join(path).exists())
            .map(|path| format!("{FILE}: COPY of `{path}`, which is not there")),
    );
    faults.extend(let_in(&tree.text(".dockerignore")?, &copied));
    faults.extend(embedded()?.difference(&copied).filter_map(|path| {
        let inside = copied.iter().any(|copied| Path::new(path).starts_with(copied));
        (!inside).then(|| format!("{FILE}: `{path}` is built in and not copied"))
    }));
    Ok(faults)
}

/// Faults of the stages: the last one contains only files of a known stage, and the first one has the toolchain of
/// `Cargo.toml`.
fn stages(instructions: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, rest) in instructions {
        if name == "FROM" {
            names.push(rest.split_once(" AS ").map_or("", |(_, stage)| stage.trim()));
        }
        let from = rest
            .split_whitespace()
            .find_map(|word| word.strip_prefix("--from="));
        if let Some(from) = from.filter(|from| name == "COPY" && !names.contains(from)) {
            faults.push(format!("{FILE}: COPY from `{from}`, which is no stage"));
        }
        if name == "RUN" && rest.contains("cargo build") && !rest.contains(" --locked") {
            faults.push(format!("{FILE}: a build without --locked"));
        }
    }
    let mut bases = instructions.iter().filter(|(name, _)| name == "FROM");
    let toolchain = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    if !bases.next().is_some_and(|(_, base)| base.starts_with(&toolchain)) {
        faults.push(format!(
            "{FILE}: not built by `{toolchain}…`, the version of Cargo.toml"
        ));
    }
    if bases.next_back().is_none_or(|(_, base)| base != "scratch") {
        faults.push(format!("{FILE}: the final image is not an empty one"));
    }
    faults
}

/// Faults of the start: nova3 itself runs as process 1, and is found on the image's PATH.
fn start(instructions: &[(String, String)]) -> Vec<String> {
    let has = |name: &str, rest: &str| instructions.iter().any(|(n, r)| n == name && r == rest);
    let mut faults = Vec::new();
    if !has("ENTRYPOINT", r#"["nova3"]"#) {
        faults.push(format!("{FILE}: the entry point is not nova3 in exec form"));
    }
    let installed = instructions
        .iter()
        .any(|(name, rest)| name == "RUN" && rest.contains("/image/usr/local/bin/nova3"));
    if !installed || !has("ENV", "PATH=/usr/local/bin") || !has("COPY", "--from=build /image /") {
        faults.push(format!("{FILE}: nova3 is not on the path of the image"));
    }
    if has("CMD", "")
        || instructions
            .iter()
            .any(|(name, _)| name == "CMD" || name == "HEALTHCHECK")
    {
        faults.push(format!("{FILE}: a CMD or HEALTHCHECK"));
    }
    faults
}

/// The paths that are copied from the repository.
fn sources(instructions: &[(String, String)]) -> BTreeSet<String> {
    let copies = instructions
        .iter()
        .filter(|(name, rest)| name == "COPY" && !rest.contains("--from="));
    copies
        .flat_map(|(_, rest)| {
            let mut paths: Vec<&str> = rest
                .split_whitespace()
                .filter(|word| !word.starts_with("--"))
                .collect();
            paths.pop();
            paths
        })
        .map(str::to_owned)
        .collect()
}

/// Faults of `.dockerignore`: it excludes everything except the copied paths.
fn let_in(ignore: &str, copied: &BTreeSet<String>) -> Vec<String> {
    let mut lines = ignore
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.next() != Some("*") {
        return vec![".dockerignore: does not begin with `*`".to_owned()];
    }
    let let_in: BTreeSet<String> = lines
        .map(|line| line.trim_start_matches('!').to_owned())
        .collect();
    let differing = let_in.symmetric_difference(copied);
    differing
        .map(|path| format!(".dockerignore: `{path}` is let in and not copied, or copied and kept out"))
        .collect()
}

/// The files that the source code embeds.
fn embedded() -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root().join(&folder)).map_err(|error| error.to_string())?;
        for entry in entries {
            let path = folder.join(entry.map_err(|error| error.to_string())?.file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
            for named in ["include_str!(", "include_bytes!("]
                .iter()
                .flat_map(|call| text.split(call).skip(1))
            {
                let name = named
                    .trim_start()
                    .trim_start_matches('"')
                    .split('"')
                    .next()
                    .unwrap_or_default();
                found.insert(resolved(&folder.join(name)));
            }
        }
    }
    Ok(found)
}

/// A path without `..`.
fn resolved(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            other => parts.push(other.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}
