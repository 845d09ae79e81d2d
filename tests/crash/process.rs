//! Child processes that never outlive their test, and waiting for what can be seen.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes so long on a machine that works.
pub(crate) const DEADLINE: Duration = Duration::from_mins(4);

/// Looks until `look` finds something; a test that would wait for ever fails instead.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

/// The same with a deadline of its own, for work whose size is known.
pub(crate) fn until_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < deadline,
            "oracle `deadline`: waited in vain for {what}"
        );
        // The pause between two looks, not a wait for anything.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A running nova3 with its output in files.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
}

/// A nova3 that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Running {
    /// Whether it has ended by itself.
    pub(crate) fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a pid");
        rustix::process::kill_process(id, signal).expect("the child is there");
    }

    /// `kill -9`, unless it has ended by itself; answers whether it was killed.
    pub(crate) fn kill(&mut self) -> bool {
        drop(self.child.kill());
        let status = self.child.wait().expect("a killed child ends");
        status.code().is_none()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> Ended {
        self.wait_within(DEADLINE)
    }

    /// Waits for its end at most so long.
    pub(crate) fn wait_within(mut self, deadline: Duration) -> Ended {
        let status = until_within(deadline, "nova3 to end", || self.poll());
        Ended {
            code: status.code(),
            stdout: std::fs::read(&self.stdout).expect("stdout was caught"),
            stderr: self.said(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
