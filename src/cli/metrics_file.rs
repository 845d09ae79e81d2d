//! `--metrics-file FILE`: the metrics for a textfile collector, written every 15 seconds and at the end.
//!
//! A thread of its own writes, so that a slow or full disk does not delay the run. A failed write is a message.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::exit::{Exit, decided};
use super::whole_file::{WholeFile, WholeFileKind};
use crate::config::Config;
use crate::engine::{Input, Output};
use crate::observe::{METRICS_BEGIN, RunMetrics, last_success, tell};

const KIND: WholeFileKind = WholeFileKind {
    flag: "--metrics-file",
    what: "metrics file",
    content: "metrics of nova3",
    begins: METRICS_BEGIN,
    prefix: ".nova3-metrics-",
    // The collector runs as another user.
    mode: Some(0o644),
};

/// The interval between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long the end of the command waits for the last write.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The most bytes that are read of an earlier file.
const LARGEST: u64 = 16 << 20;

/// Metrics that are true only while the command works, and are left out of the last write.
const OF_PRESENT: &str = "nova3_claimable_tasks";

/// A metrics file that can be written.
#[derive(Debug)]
pub(super) struct MetricsFile(WholeFile);

/// The thread that writes a metrics file.
#[derive(Debug)]
pub(super) struct MetricsWriter {
    end: mpsc::Sender<()>,
    /// Disconnects after the last write.
    ended: mpsc::Receiver<()>,
}

impl MetricsFile {
    /// Checks that the file can be written, before anything is spent. Nothing is changed.
    pub(super) fn prepare(
        path: &Path,
        config: &Config,
        input: &Input,
        written: &[Output],
        summary: Option<&Path>,
    ) -> Result<Self> {
        let file = WholeFile::prepare(KIND, path, config, input, written)?;
        if summary == Some(file.path()) {
            let message = "`--metrics-file` names the same place as `--summary-json` (give another file)";
            return Err(decided(Exit::Usage, message));
        }
        Ok(Self(file))
    }

    /// The time of the last success in the file of an earlier command, in Unix seconds.
    pub(super) fn last_success(&self) -> Option<f64> {
        let mut text = String::new();
        let file = File::open(self.0.path()).ok()?;
        file.take(LARGEST).read_to_string(&mut text).ok()?;
        last_success(&text)
    }

    /// Starts the thread that writes.
    pub(super) fn start(self, metrics: Arc<RunMetrics>, quiet: bool) -> Result<MetricsWriter> {
        let (end, ending) = mpsc::channel();
        let (alive, ended) = mpsc::channel::<()>();
        std::thread::Builder::new()
            .name("metrics-file".to_owned())
            .spawn(move || {
                self.write_until(&ending, &metrics, quiet);
                drop(alive);
            })
            .context("failed to start the thread of the metrics file")?;
        Ok(MetricsWriter { end, ended })
    }

    /// Writes in intervals, and once more at the end.
    fn write_until(&self, ending: &mpsc::Receiver<()>, metrics: &RunMetrics, quiet: bool) {
        // With `--quiet` the failures are not told.
        let mut told = quiet;
        loop {
            self.write(&metrics.render(), &mut told);
            if ending.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        self.write(&without_present(&metrics.render()), &mut told);
    }

    /// Writes the file. The first failure is told, the others are logged.
    fn write(&self, text: &str, told: &mut bool) {
        let Err(error) = self.0.write(text) else { return };
        let message = format!("{error:#} (the run goes on)");
        if std::mem::replace(told, true) {
            tracing::warn!("{message}");
        } else {
            tell(&message);
        }
    }
}

impl MetricsWriter {
    /// Ends the thread after a last write. Does not wait long for a disk that does not answer.
    pub(super) fn end(self) {
        drop(self.end);
        if self.ended.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the metrics file was not written in time");
        }
    }
}

/// The text without the metrics of the present.
fn without_present(text: &str) -> String {
    let is_kept = |line: &&str| {
        let name = line
            .strip_prefix("# HELP ")
            .or_else(|| line.strip_prefix("# TYPE "));
        !name.unwrap_or(line).starts_with(OF_PRESENT)
    };
    text.split_inclusive('\n').filter(is_kept).collect()
}
