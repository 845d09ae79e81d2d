//! Signals of the system, as facts for the engine.
//!
//! One listener receives the signals of the whole command. Before the engine takes them over, the first signal ends the
//! command at once: no call was sent yet, and the store is always consistent. After that the engine handles them. The
//! listener then makes sure that a third signal ends the process, even if the engine is blocked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock;

/// How long the engine has after a third signal to record the calls that were sent.
const LAST: Duration = Duration::from_secs(3);

/// The signals of a command, as the engine receives them.
#[derive(Debug)]
pub struct Signals {
    /// Unbounded, because people and supervisors send only a few.
    numbers: mpsc::UnboundedReceiver<i32>,
    taken: Arc<AtomicBool>,
}

impl Signals {
    /// From now on the owner of this value handles the signals.
    pub fn take(&self) {
        self.taken.store(true, Ordering::SeqCst);
    }

    /// From now on the next signal ends the command at once again.
    pub fn give_back(&self) {
        self.taken.store(false, Ordering::SeqCst);
    }

    /// The number of the next signal; a hangup counts as a request to terminate. Cancel-safe.
    pub async fn next(&mut self) -> i32 {
        match self.numbers.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Receives the signals that end a command: from a person, a supervisor or a closed terminal.
#[derive(Debug)]
pub struct Listener {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the command was started with this signal ignored, as `nohup` does.
    hangup: Option<Signal>,
    forward: mpsc::UnboundedSender<i32>,
    taken: Arc<AtomicBool>,
    first: Option<i32>,
    heard: u32,
    /// The latest time at which the process ends.
    ends: Option<Instant>,
}

impl Listener {
    /// Starts to listen.
    pub fn listen() -> std::io::Result<(Self, Signals)> {
        let (forward, numbers) = mpsc::unbounded_channel();
        let taken = Arc::new(AtomicBool::new(false));
        let signals = Signals {
            numbers,
            taken: Arc::clone(&taken),
        };
        let listener = Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_ignored(SignalKind::hangup()) {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
            forward,
            taken,
            first: None,
            heard: 0,
            ends: None,
        };
        Ok((listener, signals))
    }

    /// Forwards signals until one of them ends the process. Returns the number of the first one.
    pub async fn until_end(&mut self) -> i32 {
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                () = hung_up(self.hangup.as_mut()) => SignalKind::terminate(),
                () = clock::sleep_until(self.ends) => return self.first.unwrap_or_default(),
            };
            let number = signal.as_raw_value();
            let first = *self.first.get_or_insert(number);
            if !self.taken.load(Ordering::SeqCst) {
                return first;
            }
            self.heard += 1;
            // A send fails only after the engine has ended. The command ends then, too.
            self.forward.send(number).unwrap_or_default();
            if self.heard == 3 {
                self.ends = Some(Instant::now() + LAST);
            }
        }
    }
}

/// Waits for the next hangup. Never returns if hangups are ignored.
async fn hung_up(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started with this signal ignored. A listener would undo that. Without `/proc` the signal
/// counts as not ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
