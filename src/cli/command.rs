//! Runs a command, and ends it when a signal arrives.

use std::io::{IsTerminal, Write};
use std::pin::pin;

use anyhow::{Context, Result};
use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::exit::{Exit, decided};
use crate::engine::{Listener, Signals};

/// The size of the main thread's stack, because commands build deeply nested values.
const STACK: usize = 8 << 20;

/// Runs the command on its own thread, so that a signal ends it also while it waits for a pipe, a lock or a database.
/// The thread is not joined after a signal; it ends with the process.
pub(super) fn answering_signals(
    command: impl FnOnce(Signals) -> Result<Exit> + Send + 'static,
) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let (mut listener, signals) = Listener::listen().context("failed to listen for signals")?;
        let (tell, told) = oneshot::channel();
        std::thread::Builder::new()
            .name("command".to_owned())
            .stack_size(STACK)
            // The receiver is gone when a signal has ended the command.
            .spawn(move || drop(tell.send(command(signals))))
            .context("failed to start the command")?;
        match select(told, pin!(listener.until_end())).await {
            Either::Left((Ok(end), _)) => end,
            Either::Left((Err(_), _)) => {
                let message =
                    "nova3 stopped unexpectedly (please report it; run the same command again to go on)";
                Err(decided(Exit::Internal, message))
            }
            Either::Right((signal, _)) => {
                // The terminal has echoed `^C`, and the prompt follows on a line of its own.
                if std::io::stderr().is_terminal() {
                    std::io::stderr().write_all(b"\n").unwrap_or_default();
                }
                Ok(Exit::Signal(signal))
            }
        }
    })
}
