//! A command and the signals that end it.

use std::pin::pin;

use anyhow::{Context, Result};
use futures::future::{Either, select};
use tokio::sync::oneshot;

use super::exit::{Exit, decided};
use crate::engine::{Listener, Signals};

/// As much as the main thread has: commands build deep values.
const STACK: usize = 8 << 20;

/// Does the command on a thread of its own, so that a signal is answered whatever the command waits for: a pipe, a lock, a
/// database. A command that is ended is left where it stands, and goes with the process.
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
            // Nobody listens any more to a command that was ended.
            .spawn(move || drop(tell.send(command(signals))))
            .context("failed to start the command")?;
        match select(told, pin!(listener.until_end())).await {
            Either::Left((Ok(end), _)) => end,
            Either::Left((Err(_), _)) => {
                let message =
                    "nova3 stopped unexpectedly (please report it; run the same command again to go on)";
                Err(decided(Exit::Internal, message))
            }
            Either::Right((signal, _)) => Ok(Exit::Signal(signal)),
        }
    })
}
