//! A folder, a mock and the program in it, with an account of the calls and of the durable answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::evidence::{Marked, outcome};
use super::form::Form;
use super::input::{self, Line};
use super::oracle;
use super::process::{self, Ended, Running, until};
use super::store::Store;
use crate::support::evidence::Call;
use crate::support::mock::Mock;

/// The concurrent calls in every scenario.
pub(crate) const CONCURRENCY: usize = 16;

/// Answers take some milliseconds, and a few take much longer, so that kills hit every stage.
const LATENCY: [&str; 4] = ["--latency", "8ms", "--tail", "0.05"];

/// The state of one scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) rng: fastrand::Rng,
    pub(crate) mock: Mock,
    pub(crate) account: Account,
    lives: usize,
    folder: tempfile::TempDir,
}

/// The evidence so far.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The markers whose answers were seen in a file or in the store.
    durable: BTreeSet<String>,
    /// Calls of the present mock that are in the account.
    seen: usize,
    /// The marker that an answer quotes.
    pub(crate) digests: oracle::Digests,
    pub(crate) calls: usize,
    pub(crate) kills: usize,
    /// Calls that kills made worthless: in total, and the most at one kill.
    pub(crate) lost: usize,
    pub(crate) most_lost: usize,
    /// The time by the mock's clock when it was at rest after each kill. No call of the killed process was alive after
    /// it.
    pub(crate) cuts: Vec<i64>,
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// The mock has received that many calls.
    Calls(usize),
    /// The result file has that length.
    Output(u64),
    /// The store's log has that length.
    Store(u64),
    /// A file is being written to replace the result file, or the result file is shorter than it was because it is
    /// being rewritten.
    Replacing(u64),
}

impl Scenario {
    pub(crate) fn new(name: &'static str, form: Form) -> Self {
        Self::with(name, form, &LATENCY)
    }

    /// Makes a scenario with its own kind of mock.
    pub(crate) fn with(name: &'static str, form: Form, mock: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // A failure costs one call, so that calls can be counted. A call that a process makes twice is its fault,
        // because there are no retries and no breaker that excuses a failure.
        let settings = "[retry]\nretries = 0\n[breaker]\nfailures = 1000000\n";
        std::fs::write(folder.path().join("nova3.toml"), settings).expect("a folder can be used");
        let mock = Mock::start(folder.path(), "mock-0", mock);
        Self {
            name,
            rng: form.rng(name),
            mock,
            account: Account::default(),
            lives: 0,
            folder,
        }
    }

    /// Replaces the present mock by another one.
    pub(crate) fn replace_mock(&mut self, args: &[&str]) {
        self.lives += 1;
        self.mock = Mock::start(self.folder.path(), &format!("mock-{}", self.lives), args);
        self.account.seen = 0;
    }

    /// Replaces the present mock by one with the usual latencies and no faults.
    pub(crate) fn heal_mock(&mut self) {
        self.replace_mock(&LATENCY);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn input(&self, lines: &[Line]) {
        input::store(&self.path("in.jsonl"), lines);
    }

    /// Starts nova3 with these arguments.
    pub(crate) fn start(&mut self, args: &[&str]) -> Running {
        self.start_with(args, Stdio::null())
    }

    /// Starts nova3 with this standard input.
    pub(crate) fn start_with(&mut self, args: &[&str], stdin: Stdio) -> Running {
        self.start_into(args, stdin, None)
    }

    /// Starts nova3 with this standard output instead of a file.
    pub(crate) fn start_into(&mut self, args: &[&str], stdin: Stdio, out: Option<Stdio>) -> Running {
        let mut command = self.command(args);
        command.stdin(stdin);
        let stdout = self.path(&format!("stdout-{}", self.lives + 1));
        self.spawn_into(command, stdout, out)
    }

    /// Starts a command with its standard output in that file.
    pub(crate) fn spawn(&mut self, command: Command, stdout: PathBuf) -> Running {
        self.spawn_into(command, stdout, None)
    }

    fn spawn_into(&mut self, mut command: Command, stdout: PathBuf, out: Option<Stdio>) -> Running {
        self.lives += 1;
        let stderr = self.path(&format!("stderr-{}", self.lives));
        let create = |path: &Path| File::create(path).expect("a file can be made");
        let caught = create(&stdout);
        let out = out.unwrap_or_else(|| caught.into());
        command.stdout(out).stderr(create(&stderr));
        Running {
            child: command.spawn().expect("nova3 starts"),
            stdout: Some(stdout),
            stderr,
        }
    }

    /// A command of nova3 with these arguments, in the scenario's folder and with its mock.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = process::nova3(args);
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("OPENAI_API_KEY", "of-the-test")
            .env("OPENAI_BASE_URL", self.mock.url())
            .env("OPENAI_MODEL", "m")
            .env("NOVA3_CONCURRENCY", CONCURRENCY.to_string())
            .stdin(Stdio::null());
        command
    }

    /// Oracle `sound`: the store and the files beside it are intact, also after work was given up.
    pub(crate) fn sound(&mut self) {
        let verified = self.nova3(&["verify", "--store", "nova3.db"]);
        assert_eq!(verified.code, Some(0), "oracle `verify`: {}", verified.text());
        for file in ["out.jsonl", "events.jsonl"] {
            oracle::whole_lines(&self.bytes(file));
        }
        let damage = self.store().expect("there is a store").damage();
        assert_eq!(damage, ["ok"], "oracle `integrity`");
    }

    /// Runs nova3 to its end.
    pub(crate) fn nova3(&mut self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Opens the store, once it has content.
    pub(crate) fn store(&self) -> Option<Store> {
        Store::open(&self.path("nova3.db"))
    }

    pub(crate) fn length(&self, name: &str) -> u64 {
        std::fs::metadata(self.path(name)).map_or(0, |data| data.len())
    }

    /// A random moment, before about `calls` more calls were made.
    pub(crate) fn moment(&mut self, calls: usize) -> Moment {
        let share = self.rng.u64(1..=calls.max(1) as u64);
        match self.rng.u8(..8) {
            0 | 1 => Moment::Output(self.length("out.jsonl") + share * 300),
            2 => Moment::Store(self.length("nova3.db-wal") + share * 500),
            3 => Moment::Store(1 + self.rng.u64(..200_000)),
            _ => Moment::Calls(self.mock.count() + usize::try_from(share).expect("few calls")),
        }
    }

    /// Starts nova3 and kills it at the moment, or after `most` calls if these come first. Returns whether it was
    /// killed before its end.
    pub(crate) fn life(&mut self, args: &[&str], moment: Moment, most: usize) -> bool {
        let running = self.start(args);
        self.kill_at(running, moment, most).is_none()
    }

    /// Kills it at the moment. Returns its end if that came first.
    pub(crate) fn kill_at(&mut self, mut running: Running, moment: Moment, most: usize) -> Option<Ended> {
        let limit = self.mock.count() + most.max(1);
        let folder = self.path("");
        let is_replacement = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".nova3-new"))
        };
        let replacing = || std::fs::read_dir(&folder).is_ok_and(|mut all| all.any(is_replacement));
        until("a moment to kill", || {
            let due = match moment {
                Moment::Calls(calls) => self.mock.count() >= calls,
                Moment::Output(length) => self.length("out.jsonl") >= length,
                Moment::Store(length) => self.length("nova3.db-wal") >= length,
                Moment::Replacing(length) => replacing() || self.length("out.jsonl") < length,
            };
            (due || running.poll().is_some() || self.mock.count() >= limit).then_some(())
        });
        self.cut(running)
    }

    /// Kills it with `kill -9` at once. Returns its end if that came first.
    pub(crate) fn cut(&mut self, mut running: Running) -> Option<Ended> {
        if running.kill().is_none() {
            self.settle(&["out.jsonl"], true);
            // The time is taken now, because calls that the process sent last may reach the mock after the kill.
            self.account.cuts.push(now_ms());
            return None;
        }
        let ended = running.wait();
        self.settle(&["out.jsonl"], false);
        Some(ended)
    }

    /// Adds the calls since the last time to the account, and judges them.
    pub(crate) fn settle(&mut self, files: &[&str], killed: bool) -> Vec<Call> {
        let calls = self.mock.calls();
        self.account.digests.extend(oracle::digests(&calls));
        let new = calls[self.account.seen..].to_vec();
        self.account.seen = calls.len();
        self.account.calls += new.len();
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for call in &new {
            let durable = self.account.durable.contains(&call.marker());
            assert!(
                !durable,
                "oracle `never paid twice`: {} was durable and was called again",
                call.marker()
            );
            let times = times.entry(call.marker()).or_default();
            *times += 1;
            assert!(
                *times == 1,
                "oracle `one call`: one process called {} again",
                call.marker()
            );
        }
        for file in files {
            self.account
                .durable
                .extend(oracle::answers(&self.bytes(file), &self.account.digests));
        }
        let store = self.nova3(&["results", "--store", "nova3.db"]);
        self.account
            .durable
            .extend(oracle::answers(&store.stdout, &self.account.digests));
        // The settled tasks of a queue are durable too, long before the queue has a result.
        if let Some(store) = self.store() {
            let digests = &self.account.digests;
            let known = store.answers().into_iter();
            self.account
                .durable
                .extend(known.filter_map(|digest| digests.get(&digest).cloned()));
        }
        let good = new
            .iter()
            .filter(|call| !matches!(outcome(call), "server_error" | "garbage"));
        let lost = good
            .filter(|call| !self.account.durable.contains(&call.marker()))
            .count();
        let most = if killed { 2 * CONCURRENCY } else { 0 };
        assert!(
            lost <= most,
            "oracle `in flight`: {lost} calls were not durable, at most {most} may be"
        );
        self.account.kills += usize::from(killed);
        self.account.lost += lost;
        self.account.most_lost = self.account.most_lost.max(lost);
        new
    }

    /// Returns how many answers were seen to be durable.
    pub(crate) fn durable(&self) -> usize {
        self.account.durable.len()
    }

    /// Kills the same command at `kills` random moments.
    pub(crate) fn grind(&mut self, args: &[&str], requests: usize, kills: usize) {
        for kill in 0..kills {
            let left = requests.saturating_sub(self.account.durable.len());
            let share = (2 * left / (kills - kill + 1)).max(1);
            let moment = self.moment(share);
            if !self.life(args, moment, share) {
                return;
            }
        }
    }

    /// Runs the command to its end: exit code 0, all oracles hold, and a second run does nothing.
    pub(crate) fn finish(&mut self, args: &[&str], file: &str, lines: &[Line], in_order: bool) {
        self.complete(args, file, lines, in_order, 0);
    }

    /// Like [`Self::finish`], for a file that begins with that many foreign bytes.
    pub(crate) fn complete(
        &mut self,
        args: &[&str],
        file: &str,
        lines: &[Line],
        in_order: bool,
        base: usize,
    ) {
        let ended = self.nova3(args);
        assert!(
            ended.code == Some(0),
            "oracle `exit`: {:?}: {}",
            ended.code,
            ended.stderr
        );
        self.settle(&[file], false);
        let bytes = self.bytes(file);
        oracle::once(&bytes[base..], lines, &self.account.digests, in_order);
        let verified = self.nova3(&["verify", "--store", "nova3.db", "-o", file]);
        let said = verified.text();
        assert!(
            verified.code == Some(0),
            "oracle `verify`: {:?}: {said}{}",
            verified.code,
            verified.stderr
        );
        let again = self.nova3(args);
        assert!(
            again.code == Some(0),
            "oracle `exit`: {:?}: {}",
            again.code,
            again.stderr
        );
        assert!(
            self.settle(&[file], false).is_empty(),
            "oracle `free`: a finished run called again"
        );
        assert!(
            self.bytes(file) == bytes,
            "oracle `free`: a finished run changed its file"
        );
    }

    /// Prints one line of figures.
    pub(crate) fn report(&self, requests: usize) {
        let Account {
            calls,
            kills,
            lost,
            most_lost,
            ..
        } = &self.account;
        println!(
            "crash-test: {}: {requests} requests, {kills} kills, {calls} calls, {} repeated, {lost} in flight at kills ({most_lost} at most, allowed {})",
            self.name,
            calls.saturating_sub(requests),
            2 * CONCURRENCY,
        );
        assert!(
            calls.saturating_sub(requests) <= *lost,
            "oracle `total`: more calls than requests and losses"
        );
    }
}

/// The wall clock, which the mock's log uses too.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of a kill is compared with the mock's log"
)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the end of time")
}
