//! Signals as facts, from the first moment of a command to its last.
//!
//! One listener hears the system's signals for the whole command. Until the engine takes them over, the first signal ends
//! the command at once: nothing was sent yet, and the store is consistent at every moment. From then on the engine answers
//! them; the listener only makes sure that a third one ends the process, whatever the engine waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock;

/// How long the engine has after a third signal to book what was sent.
const LAST: Duration = Duration::from_secs(3);

/// The signals of a command, as the engine gets them.
#[derive(Debug)]
pub struct Signals {
    /// Unbounded: people and supervisors send a handful.
    numbers: mpsc::UnboundedReceiver<i32>,
    taken: Arc<AtomicBool>,
}

impl Signals {
    /// From now on whoever has this answers the signals.
    pub fn take(&self) {
        self.taken.store(true, Ordering::SeqCst);
    }

    /// From now on the next signal ends the command again.
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

/// Hears the signals that end a command: from a person, a supervisor, or a closed terminal.
#[derive(Debug)]
pub struct Listener {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started the command had it ignored, as `nohup` does.
    hangup: Option<Signal>,
    forward: mpsc::UnboundedSender<i32>,
    taken: Arc<AtomicBool>,
    first: Option<i32>,
    heard: u32,
    /// When the process ends at the latest.
    ends: Option<Instant>,
}

impl Listener {
    /// Listens from now on.
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

    /// Hands signals on until one of them ends the process; answers the number of the first.
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
            // An engine that is gone has ended, and the command ends after it.
            self.forward.send(number).unwrap_or_default();
            if self.heard == 3 {
                self.ends = Some(Instant::now() + LAST);
            }
        }
    }
}

/// The next hangup; never, where it is ignored.
async fn hung_up(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started with this signal ignored: to listen would undo that. Where there is no `/proc`, it
/// counts as not ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
