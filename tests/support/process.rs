//! Child processes that never outlive their test, and waits for visible events.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::choices::number;
use super::evidence::Log;

/// The longest wait of a test on a working machine. A run of a mutant sets a shorter one.
pub(crate) fn deadline() -> Duration {
    Duration::from_secs(number("NOVA3_PATIENCE_S", 240))
}

/// Polls until `look` finds something; fails the test after [`deadline`].
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(deadline(), what, look)
}

/// The same with a deadline of its own, for work whose size is known.
pub(crate) fn until_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::of(deadline);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            patience.is_left(0),
            "oracle `finished`: waited in vain for {what}"
        );
    }
}

/// A wait that goes on while `progress` grows, and for some time beyond.
#[derive(Debug)]
pub(crate) struct Patience {
    most: Duration,
    since: Instant,
    progress: usize,
}

impl Patience {
    pub(crate) fn of(most: Duration) -> Self {
        Self {
            most,
            since: Instant::now(),
            progress: 0,
        }
    }

    /// Whether another poll makes sense. It also pauses between two polls.
    pub(crate) fn is_left(&mut self, progress: usize) -> bool {
        if progress > self.progress {
            self.progress = progress;
            self.since = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(1));
        self.since.elapsed() < self.most
    }
}

/// Failpoints of this process, which a mutant's run switches on.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
pub(crate) fn failpoints() -> Option<String> {
    std::env::var("NOVA3_FAILPOINTS").ok()
}

/// Returns the command of nova3 with these arguments, in an empty environment except for [`failpoints`].
pub(crate) fn nova3(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nova3"));
    command.args(args).env_clear();
    if let Some(failpoints) = failpoints() {
        command.env("NOVA3_FAILPOINTS", failpoints);
    }
    command
}

/// A running nova3 whose output and messages go to files.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    /// `None` if the output is not kept.
    pub(crate) stdout: Option<PathBuf>,
    pub(crate) stderr: PathBuf,
}

/// A nova3 that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` after a kill.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its standard output as text.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Running {
    /// Returns its exit status if it has ended by itself.
    pub(crate) fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGSTOP: it stands still until `go_on`.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT: it goes on after `stop`.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        // A process that has just ended by itself is a zombie and takes the signal too.
        rustix::process::kill_process(id, signal).expect("the child is there");
    }

    /// Sends SIGKILL; returns the exit code if the process had ended by itself.
    pub(crate) fn kill(&mut self) -> Option<i32> {
        drop(self.child.kill());
        self.child.wait().expect("a killed child ends").code()
    }

    /// Waits for its end while the mock's log grows; returns its code, or the failure.
    pub(crate) fn end(&mut self, log: &mut Log, most: Duration) -> Result<Option<i32>, String> {
        let mut patience = Patience::of(most);
        loop {
            log.read_on();
            if let Some(status) = self.poll() {
                return Ok(status.code());
            }
            if !patience.is_left(log.lines()) {
                return Err(format!("nothing happens any more: {}", self.said()));
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> Ended {
        self.wait_within(deadline())
    }

    /// Waits for its end, at most this long.
    pub(crate) fn wait_within(mut self, deadline: Duration) -> Ended {
        let status = until_within(deadline, "nova3 to end", || self.poll());
        let stdout = self.stdout.as_ref();
        Ended {
            code: status.code(),
            stdout: stdout.map_or_else(Vec::new, |path| std::fs::read(path).expect("stdout was caught")),
            stderr: self.said(),
        }
    }

    /// Returns its standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
