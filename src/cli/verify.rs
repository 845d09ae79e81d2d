//! `nova3 verify`.

use std::path::Path;

use anyhow::Result;

use super::args::{Global, VerifyArgs};
use super::exit::{Exit, decided};
use super::{print, stores, world};
use crate::domain::printable::printable;
use crate::engine::{Proof, verify};
use crate::store::Feed;

pub(super) fn main(args: &VerifyArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        let store = stores::to_read(args.which.store.as_ref(), global).await?;
        let run = world::find_run(&*store, &args.which).await?;
        let wanted = args.output.as_deref().map(world::result_path).transpose()?;
        let host = world::host();
        let files: Vec<_> = store
            .cursors(run.id)
            .await?
            .into_iter()
            .filter(|(key, _)| key.host == host)
            .filter(|(key, _)| wanted.as_deref().is_none_or(|path| path == Path::new(&key.path)))
            .collect();
        if files.is_empty() {
            let message = format!("run `{}` has written no such file on this host", run.name);
            return Err(decided(Exit::Nothing, message));
        }
        let mut exit = Exit::Good;
        for (key, cursor) in files {
            let line = match verify(&*store, &run, &key, &cursor).await? {
                Ok(Proof { lines, newer }) => {
                    let before = match cursor.base {
                        0 => String::new(),
                        bytes => format!(", behind {bytes} bytes that are not this run's"),
                    };
                    let each = match cursor.feed {
                        Feed::Results => "finished request",
                        Feed::Events => "settled step",
                    };
                    let newer = match newer {
                        0 => String::new(),
                        count => format!(
                            "; {count} of them newer in the store: continued, or pending again (the next run writes them)"
                        ),
                    };
                    format!(
                        "{}: {lines} lines, each {each} exactly once{before}{newer}\n",
                        key.path
                    )
                }
                Err(problem) => {
                    exit = Exit::Output;
                    format!("{}: NOT as the store says: {problem}\n", key.path)
                }
            };
            print(printable(&line).as_bytes())?;
        }
        Ok(exit)
    })
}
