//! The workflows of the forge: files, commands and variables of their steps exist, and versions are those of this
//! repository. Only a run on the forge shows whether they pass.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::command::{Variables, unknown};
use super::harness::{Found, Memo, Tree, differences, root, texts};

const FOLDER: &str = ".github/workflows";

/// The page that explains the jobs to contributors.
const PAGE: &str = "CONTRIBUTING.md";

/// The supported versions of PostgreSQL.
const POSTGRES: [u64; 5] = [14, 15, 16, 17, 18];

/// The built-in subcommands of cargo that need `--locked` to take the versions of Cargo.lock.
const LOCKED: [&str; 6] = ["build", "check", "doc", "install", "run", "test"];

pub(crate) fn faults(tree: &Tree) -> Found {
    let mut faults = Vec::new();
    let page = tree.text(PAGE)?;
    for file in tree.entries(FOLDER)? {
        let workflow = tree.yaml(&format!("{FOLDER}/{file}"))?;
        let differing = differences(include_str!("workflow.schema.json"), None, &workflow, &file)?;
        if differing.is_empty() {
            for job in jobs(&workflow, &file) {
                faults.extend(job.faults()?);
                faults.extend(job.unexplained(&page));
            }
        }
        faults.extend(differing);
    }
    if faults.is_empty() {
        faults.extend(coverage(&tree.yaml(&format!("{FOLDER}/ci.yml"))?));
        faults.extend(release(&tree.yaml(&format!("{FOLDER}/release.yml"))?)?);
    }
    Ok(faults)
}

/// One job of a workflow.
struct Job<'a> {
    name: &'a str,
    place: String,
    workflow: &'a Value,
    value: &'a Value,
}

fn jobs<'a>(workflow: &'a Value, file: &str) -> Vec<Job<'a>> {
    let jobs = workflow["jobs"].as_object().into_iter().flatten();
    jobs.map(|(name, value)| Job {
        name,
        place: format!("{FOLDER}/{file}: {name}"),
        workflow,
        value,
    })
    .collect()
}

impl<'a> Job<'a> {
    fn faults(&self) -> Found {
        let place = &self.place;
        let known = &self.workflow["jobs"];
        let mut faults: Vec<String> = self
            .needs()
            .iter()
            .filter(|name| known[**name].is_null())
            .map(|name| format!("{place}: needs `{name}`, which is no job"))
            .collect();
        faults.extend(self.toolchain());
        let mut strings = Vec::new();
        collect(self.value, &mut strings);
        for expression in strings.iter().flat_map(|text| expressions(text)) {
            faults.extend(self.unknown_reference(expression));
        }
        for (step, script) in self.scripts() {
            let place = format!("{place}: {}", step["name"]);
            faults.extend(syntax(script, &place)?);
            faults.extend(self.unknown_variables(step, script, &place));
            faults.extend(missing_files(script, &place));
            faults.extend(self.commands(script, &place));
        }
        Ok(faults)
    }

    /// A fault if the job has no line on the page for contributors.
    fn unexplained(&self, page: &str) -> Option<String> {
        let is_told = page.contains(&format!("\n| `{}` | ", self.name));
        (!is_told).then(|| format!("{}: {PAGE} has no line for it", self.place))
    }

    fn needs(&self) -> Vec<&'a str> {
        let needs = &self.value["needs"];
        needs.as_str().map_or_else(|| texts(needs), |name| vec![name])
    }

    fn steps(&self) -> impl Iterator<Item = &'a Value> {
        self.value["steps"].as_array().into_iter().flatten()
    }

    /// The steps that run a script, each with its script.
    fn scripts(&self) -> impl Iterator<Item = (&'a Value, &'a str)> {
        self.steps()
            .filter_map(|step| Some((step, step["run"].as_str()?)))
    }

    /// A variable of the job, or else of the workflow.
    fn variable(&self, name: &str) -> Option<&'a str> {
        let given = self.value["env"][name].as_str();
        given.or_else(|| self.workflow["env"][name].as_str())
    }

    /// The values of a key of the matrix, in the order of its jobs. `None` if a job lacks the key.
    fn matrix(&self, key: &str) -> Option<Vec<&'a Value>> {
        let matrix = &self.value["strategy"]["matrix"];
        if let Some(values) = matrix[key].as_array() {
            return Some(values.iter().collect());
        }
        let included = matrix["include"].as_array()?;
        included.iter().map(|one| one.get(key)).collect()
    }

    fn matrix_texts(&self, key: &str) -> Vec<&'a str> {
        let values = self.matrix(key).unwrap_or_default();
        values.into_iter().filter_map(Value::as_str).collect()
    }

    /// A fault if the toolchain is neither the newest nor the oldest supported one.
    fn toolchain(&self) -> Option<String> {
        let toolchain = self.variable("RUSTUP_TOOLCHAIN").unwrap_or_default();
        let known = ["stable", env!("CARGO_PKG_RUST_VERSION")].contains(&toolchain);
        (!known).then(|| {
            let place = &self.place;
            format!("{place}: Rust `{toolchain}` is neither `stable` nor the `rust-version` of Cargo.toml")
        })
    }

    /// References of an expression that no matrix, `env` or step defines.
    fn unknown_reference(&self, expression: &str) -> Vec<String> {
        let is_name = |c: char| c.is_alphanumeric() || "._-".contains(c);
        let references = expression.split(|c: char| !is_name(c));
        references
            .filter(|reference| {
                let parts: Vec<&str> = reference.split('.').collect();
                match parts.as_slice() {
                    ["matrix", key] => self.matrix(key).is_none(),
                    ["env", name] => self.variable(name).is_none(),
                    ["steps", id, "outputs", name] => !self.writes(id, name),
                    ["matrix" | "env" | "steps" | "needs" | "secrets" | "inputs", ..] => true,
                    _ => false,
                }
            })
            .map(|reference| format!("{}: nothing defines `{reference}`", self.place))
            .collect()
    }

    /// Whether the step of this id writes this output.
    fn writes(&self, id: &str, output: &str) -> bool {
        let mut named = self.scripts().filter(|(step, _)| step["id"] == id);
        named.any(|(_, script)| {
            script.lines().any(|line| {
                line.contains(&format!("echo \"{output}=")) && line.ends_with(r#">>"$GITHUB_OUTPUT""#)
            })
        })
    }

    /// Variables that the script reads and no `env` defines.
    fn unknown_variables(&self, step: &Value, script: &str, place: &str) -> Vec<String> {
        let names = script.split('$').skip(1).map(|rest| {
            let rest = rest.trim_start_matches('{');
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        let is_given = |name: &str| {
            ["GITHUB_", "RUNNER_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || self.variable(name).is_some()
                || step["env"][name].is_string()
        };
        names
            .filter(|name| !name.is_empty() && !is_given(name))
            .map(|name| format!("{place}: no `env` defines `{name}`"))
            .collect()
    }

    /// Subcommands of cargo that no step installs, builds without `--locked`, and unknown flags of nova3.
    fn commands(&self, script: &str, place: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for line in script.lines().map(|line| words(line).collect::<Vec<_>>()) {
            let ["cargo", subcommand, ..] = line.as_slice() else {
                continue;
            };
            if !LOCKED.contains(subcommand) && !self.installs(subcommand) {
                faults.push(format!("{place}: no step installs `cargo {subcommand}`"));
            }
            if LOCKED.contains(subcommand) && !line.contains(&"--locked") {
                faults.push(format!("{place}: `cargo {subcommand}` without --locked"));
            }
            if let Some(at) = line.iter().position(|word| *word == "--") {
                faults.extend(unknown(&line[at + 1..], &Variables::new(), place));
            }
        }
        faults
    }

    fn installs(&self, subcommand: &str) -> bool {
        let installed = format!("cargo install --locked cargo-{subcommand}@");
        self.scripts().any(|(_, script)| script.starts_with(&installed))
    }

    fn runs(&self, command: &str) -> bool {
        self.scripts().any(|(_, script)| script.contains(command))
    }
}

/// Collects all texts inside a value.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => map.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The expressions between `${{` and `}}`.
fn expressions(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.split("${{").skip(1);
    inside.map(|rest| rest.split("}}").next().unwrap_or_default())
}

/// The words of a line without their quotes.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
        .map(|word| word.trim_matches(|c| "\"'();|".contains(c)))
}

/// Faults of the shell's syntax in a script.
fn syntax(script: &str, place: &str) -> Found {
    static KNOWN: Memo<Found> = Memo::new();
    KNOWN.of(format!("{place} {script}"), || read_by_the_shell(script, place))
}

fn read_by_the_shell(script: &str, place: &str) -> Found {
    let said = |error: std::io::Error| format!("bash: {error}");
    let mut shell = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(said)?;
    if let Some(mut stdin) = shell.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(said)?;
    }
    let output = shell.wait_with_output().map_err(said)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_sound = output.status.success() && error.is_empty();
    Ok(if is_sound {
        Vec::new()
    } else {
        vec![format!("{place}: the shell cannot read it: {error}")]
    })
}

/// Files of the repository that the script names and that do not exist. A workflow creates `dist` itself.
fn missing_files(script: &str, place: &str) -> Vec<String> {
    let plain = |word: &&str| {
        word.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
            && !word.starts_with(['/', '-'])
            && !word.starts_with("dist/")
    };
    let is_file = |word: &&str| {
        let starts = ["LICENSE", "Cargo.", "README.", "CHANGELOG."];
        word.contains('/') || starts.iter().any(|start| word.starts_with(start))
    };
    let named = script.lines().flat_map(words).filter(plain).filter(is_file);
    named
        .filter(|path| !root().join(path).exists())
        .map(|path| format!("{place}: names `{path}`, which is not there"))
        .collect()
}

/// The jobs of `ci.yml` cover each platform, the oldest Rust and each PostgreSQL.
fn coverage(workflow: &Value) -> Vec<String> {
    let jobs = jobs(workflow, "ci.yml");
    let mut faults = Vec::new();
    let runners: BTreeSet<&str> = jobs
        .iter()
        .flat_map(|job| {
            [
                job.matrix_texts("runner"),
                job.value["runs-on"].as_str().into_iter().collect(),
            ]
            .concat()
        })
        .collect();
    let missing = ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15"];
    let missing = missing.iter().filter(|runner| !runners.contains(*runner));
    faults.extend(missing.map(|runner| format!("{FOLDER}/ci.yml: nothing runs on `{runner}`")));
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    if !jobs
        .iter()
        .any(|job| job.variable("RUSTUP_TOOLCHAIN") == Some(oldest))
    {
        faults.push(format!(
            "{FOLDER}/ci.yml: nothing runs with Rust {oldest}, the oldest that is supported"
        ));
    }
    let versions = jobs
        .iter()
        .find_map(|job| job.matrix("postgres"))
        .unwrap_or_default();
    if versions
        .iter()
        .map(|version| version.as_u64())
        .ne(POSTGRES.map(Some))
    {
        faults.push(format!(
            "{FOLDER}/ci.yml: the versions of PostgreSQL are not {POSTGRES:?}"
        ));
    }
    faults
}

/// `release.yml` checks each binary, lists its crates, and publishes last.
fn release(workflow: &Value) -> Found {
    let jobs = jobs(workflow, "release.yml");
    let mut faults = Vec::new();
    let targets = |name: &str| {
        let job = jobs.iter().find(|job| job.name == name);
        job.map(|job| job.matrix_texts("target")).unwrap_or_default()
    };
    let policy = std::fs::read_to_string(root().join("deny.toml")).map_err(|error| error.to_string())?;
    let policy: toml::Table = policy.parse().map_err(|error| format!("deny.toml: {error}"))?;
    let checked = policy["graph"]["targets"].as_array();
    let unchecked = targets("binary").into_iter().filter(|target| {
        checked.is_none_or(|checked| !checked.contains(&toml::Value::String((*target).to_owned())))
    });
    faults
        .extend(unchecked.map(|target| {
            format!("{FOLDER}/release.yml: deny.toml does not check the crates of `{target}`")
        }));
    if targets("binary").is_empty() || targets("binary") != targets("sbom") {
        faults.push(format!(
            "{FOLDER}/release.yml: the targets of `binary` and `sbom` differ"
        ));
    }
    for job in &jobs {
        let builds = ["cargo build", "cargo install --path", "docker build "];
        if builds.iter().any(|build| job.runs(build)) && !job.runs("scripts/release check ") {
            faults.push(format!(
                "{}: what it builds is not checked for failpoints",
                job.place
            ));
        }
        if job.variable("RUSTUP_TOOLCHAIN") != Some(env!("CARGO_PKG_RUST_VERSION")) {
            faults.push(format!("{}: not built by the Rust of the image", job.place));
        }
        let needs = jobs
            .iter()
            .find(|job| job.name == "publish")
            .map(Job::needs)
            .unwrap_or_default();
        let is_between = needs.contains(&job.name) && job.needs().contains(&"verify");
        if !is_between && !["verify", "publish"].contains(&job.name) {
            faults.push(format!("{}: not between `verify` and `publish`", job.place));
        }
    }
    Ok(faults)
}
