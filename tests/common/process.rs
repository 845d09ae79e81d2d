//! Child processes that never outlive their test, and waiting for what can be seen.
#![allow(dead_code, reason = "each test binary that includes this uses a part of it")]

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::evidence::Log;

/// Nothing that the tests themselves do takes so long.
const DEADLINE: Duration = Duration::from_mins(2);

/// Looks until `look` finds something; a test that would wait for ever fails instead.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::of(DEADLINE);
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

/// How long something is waited for: as long as `progress` grows, and some time beyond.
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

    /// Whether there is a sense in looking again. Makes the pause between two looks, which is no wait for anything.
    pub(crate) fn is_left(&mut self, progress: usize) -> bool {
        if progress > self.progress {
            self.progress = progress;
            self.since = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(1));
        self.since.elapsed() < self.most
    }
}

/// A running nova3 with its messages in a file.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stderr: PathBuf,
}

impl Running {
    /// Whether it has ended by itself.
    pub(crate) fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stands still until it is told to go on.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after `stop`.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        // One that has just ended by itself is a zombie and takes the signal too.
        rustix::process::kill_process(id, signal).expect("the child is there");
    }

    /// `kill -9`, unless it has ended by itself; answers its code in that case.
    pub(crate) fn kill(&mut self) -> Option<i32> {
        drop(self.child.kill());
        self.child.wait().expect("a killed child ends").code()
    }

    /// Waits for its end as long as the mock's log grows; answers its code, or what is wrong with it.
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

    /// What it wrote to stderr so far.
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
