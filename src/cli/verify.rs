//! `nova3 verify`.

use std::path::Path;

use anyhow::Result;

use super::args::{Global, VerifyArgs};
use super::exit::{Exit, decided};
use super::{print, setup, stores};
use crate::domain::printable::printable;
use crate::engine::{FileContent, FileProof, verify};
use crate::store::{Feed, Run, Store};

pub(super) fn main(args: &VerifyArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        let store = stores::to_read(args.which.store.as_ref(), global).await?;
        if args.store_check {
            store.check().await?;
            print(b"the store is whole\n")?;
        }
        let run = setup::find_run(&*store, args.which.run.as_deref()).await?;
        let wanted = args.output.as_deref().map(setup::result_path).transpose()?;
        let host = setup::host();
        let files: Vec<_> = store
            .cursors(run.id)
            .await?
            .into_iter()
            .filter(|(key, _)| key.host == host)
            .filter(|(key, _)| wanted.as_deref().is_none_or(|path| path == Path::new(&key.path)))
            .collect();
        if files.is_empty() {
            return Err(unknown(&*store, &run, wanted.as_deref(), &host).await?);
        }
        let mut exit = Exit::Good;
        for (key, cursor) in files {
            let before = match cursor.base {
                0 => String::new(),
                bytes => format!(", after {bytes} bytes that this run did not write"),
            };
            let each = match cursor.feed {
                Feed::Results => "finished request",
                Feed::Events => "settled step",
            };
            let found = match verify(&*store, &run, &key).await? {
                FileProof::Proven(FileContent { lines, newer }) => {
                    let newer = match newer {
                        0 => String::new(),
                        count => format!(
                            "; newer in the store: {count} (continued, or pending again; the next run writes them)"
                        ),
                    };
                    format!("{lines} lines, each {each} exactly once{before}{newer}")
                }
                FileProof::BeingWritten {
                    process,
                    lines: Some(lines),
                } => format!(
                    "being written by process {process}; {lines} lines so far, each {each} exactly once{before}"
                ),
                FileProof::BeingWritten { process, lines: None } => {
                    format!("being written by process {process}, which replaces changed lines")
                }
                FileProof::Wrong(problem) => {
                    exit = Exit::Output;
                    format!("NOT as the store says: {problem}")
                }
            };
            print(printable(&format!("{}: {found}\n", key.path)).as_bytes())?;
        }
        Ok(exit)
    })
}

/// The error for a file that the run has not written on this host. It names the files that the run has written.
async fn unknown(store: &dyn Store, run: &Run, wanted: Option<&Path>, host: &str) -> Result<anyhow::Error> {
    let file = wanted.map_or_else(
        || "no file".to_owned(),
        |path| format!("no file `{}`", path.display()),
    );
    let known: Vec<String> = store
        .cursors(run.id)
        .await?
        .into_iter()
        .map(|(key, _)| {
            if key.host == host {
                format!("`{}`", key.path)
            } else {
                format!("`{}` on host `{}`", key.path, key.host)
            }
        })
        .collect();
    let known = match known.as_slice() {
        [] => "nothing: write one with `nova3 run -o FILE`".to_owned(),
        files => files.join(", "),
    };
    let message = format!(
        "run `{}` has written {file} on host `{host}` (it has written {known})",
        run.name
    );
    Ok(decided(Exit::Nothing, message))
}
