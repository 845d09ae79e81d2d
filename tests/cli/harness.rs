//! The parts that every test needs: a folder, an environment, a provider, and the program under test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nova3::mock::{self, Mock, MockConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::process;

/// No program under test runs longer, unless it hangs.
const HUNG: Duration = Duration::from_mins(1);

/// Retries without long waits. Other tests check how long the waits are.
const QUICK: &str = "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[breaker]\nopen = \"50ms\"\n";

/// A folder to work in, and the environment of the program.
pub(crate) struct Harness {
    folder: TempDir,
    env: Vec<(String, String)>,
}

/// The outcome of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// The exit code; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error, with the folder as `DIR` and durations as `TIME`.
    pub(crate) err: String,
}

/// A folder with settings that make retries quick.
pub(crate) fn setup() -> Harness {
    let harness = Harness {
        folder: TempDir::new().unwrap(),
        env: Vec::new(),
    };
    harness.write("nova3.toml", QUICK);
    harness
}

/// A folder, and a mock provider with this configuration.
pub(crate) fn setup_with(config: MockConfig) -> (Harness, Provider) {
    let provider = Provider::start(config);
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    (harness, provider)
}

impl Harness {
    /// Sets a variable of the program's environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a variable of the program's environment.
    pub(crate) fn variable(&self, name: &str) -> String {
        let known = self.env.iter().find(|(known, _)| known == name);
        known.map_or_else(String::new, |(_, value)| value.clone())
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Writes `count` requests with the ids `q1`, `q2`, …
    pub(crate) fn write_questions(&self, name: &str, count: usize) {
        self.write(name, questions(count));
    }

    /// The lines of a result file.
    pub(crate) fn results(&self, name: &str) -> Vec<Value> {
        lines(&self.read(name))
    }

    /// The program with these arguments, in this folder and environment, with piped streams.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nova3"));
        command.args(args);
        self.prepare(&mut command);
        command
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the shells of these tests are looked for where ours is"
    )]
    fn prepare(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(process::failpoints().map(|list| ("NOVA3_FAILPOINTS", list)))
            .envs(
                self.env
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn nova3(&self, args: &[&str]) -> Ran {
        self.output(self.command(args), Vec::new())
    }

    pub(crate) fn nova3_reading(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        self.output(self.command(args), input.into())
    }

    /// Runs a shell line in which `nova3` is the program under test.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args([
            "-o",
            "pipefail",
            "-c",
            &format!("nova3() {{ '{}' \"$@\"; }}\n{line}", env!("CARGO_BIN_EXE_nova3")),
        ]);
        self.prepare(&mut command);
        self.output(command, Vec::new())
    }

    fn output(&self, command: Command, input: Vec<u8>) -> Ran {
        let output = assert_cmd::Command::from_std(command)
            .timeout(HUNG)
            .write_stdin(input)
            .output()
            .unwrap();
        self.ran(&output)
    }

    /// The outcome of a child of this harness, with the same replacements.
    pub(crate) fn ran(&self, output: &std::process::Output) -> Ran {
        let err = String::from_utf8(output.stderr.clone()).unwrap();
        let folder = self.path("");
        let err = err.replace(folder.to_str().unwrap().trim_end_matches('/'), "DIR");
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: timeless(&without_page(&err, output.status.code())),
        }
    }

    /// `status --json` of the latest run.
    pub(crate) fn status(&self, args: &[&str]) -> Value {
        let ran = self.nova3(&[&["status", "--json"], args].concat());
        serde_json::from_str(&ran.out).unwrap_or(Value::Null)
    }
}

/// Requests in nova3's own form.
pub(crate) fn questions(count: usize) -> String {
    (1..=count).fold(String::new(), |text, n| {
        text + &question(&format!("q{n}"), &format!("question {n}"))
    })
}

/// One request.
pub(crate) fn question(id: &str, query: &str) -> String {
    format!(
        "{}\n",
        serde_json::json!({"custom_id": id, "query": query, "tasks": ["answer"]})
    )
}

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The `custom_id`s of result lines.
pub(crate) fn ids(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["custom_id"].as_str().unwrap_or("-"))
        .collect()
}

/// The sorted `custom_id`s, so that two sets of them can be compared.
pub(crate) fn sorted_ids(lines: &[Value]) -> Vec<&str> {
    let mut ids = ids(lines);
    ids.sort_unstable();
    ids
}

/// The class and message of each line's error.
pub(crate) fn errors(lines: &[Value]) -> Vec<(&str, &str)> {
    let error = |line: &'_ Value| line["error"].is_object().then_some(());
    lines
        .iter()
        .filter(|line| error(line).is_some())
        .map(|line| {
            let error = &line["error"];
            // A Batch line has its class under the name that the Batch form gives it.
            let class = error.get("class").unwrap_or(&error["code"]);
            (class.as_str().unwrap(), error["message"].as_str().unwrap())
        })
        .collect()
}

/// Removes the last line that names the page of an exit code. Only `cli::explain` looks at it.
fn without_page(text: &str, code: Option<i32>) -> String {
    let line = format!("more: nova3 explain {}\n", code.unwrap_or_default());
    text.strip_suffix(&line).unwrap_or(text).to_owned()
}

/// Replaces durations, which differ from run to run: `calls in 0.3 s` becomes `calls in TIME`.
fn timeless(text: &str) -> String {
    let mut parts = text.split(" in ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(" in ");
        let after = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        match after.strip_prefix(" s").filter(|_| after.len() < part.len()) {
            Some(rest) => out.extend(["TIME", rest]),
            None => out.push_str(part),
        }
    }
    out
}

/// Polls until the condition holds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    process::until(what, || is_so().then_some(()));
}

/// A process that is killed when its test ends.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn output(mut self) -> std::process::Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap_or_default();
            child.wait().ok();
        }
    }
}

/// A mock provider in this process.
pub(crate) struct Provider {
    mock: Option<Mock>,
    runtime: Runtime,
}

impl Provider {
    pub(crate) fn start(config: MockConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mock = runtime.block_on(mock::start(config)).unwrap();
        Self {
            mock: Some(mock),
            runtime,
        }
    }

    pub(crate) fn base_url(&self) -> String {
        self.mock.as_ref().unwrap().base_url()
    }

    pub(crate) fn stats(&self) -> nova3::mock::Stats {
        self.mock.as_ref().unwrap().stats()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.mock.as_ref().unwrap().calls()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(mock) = self.mock.take() {
            self.runtime.block_on(mock.stop());
        }
    }
}

/// A provider that never ends its answer.
pub(crate) fn slow() -> MockConfig {
    let latency = mock::Latency {
        first_token: Duration::from_hours(1),
        ..mock::Latency::default()
    };
    MockConfig {
        latency,
        ..MockConfig::default()
    }
}
