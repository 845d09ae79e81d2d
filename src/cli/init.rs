//! `nova3 init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::args::InitArgs;
use super::exit::{Exit, decided};
use crate::config;
use crate::observe::tell;

const EXAMPLE: &str = include_str!("../../fixtures/example.jsonl");

pub(super) fn main(args: &InitArgs) -> Result<Exit> {
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("failed to create `{}`", args.folder.display()))?;
    let files = [("nova3.toml", config::DEFAULT), ("requests.jsonl", EXAMPLE)]
        .map(|(name, text)| (args.folder.join(name), text));
    // Both files or none: one file alone would make the next `init` fail.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(there_already(path));
    }
    for (count, (path, text)) in files.iter().enumerate() {
        if let Err(error) = write_new(path, text) {
            for (made, _) in &files[..count] {
                drop(std::fs::remove_file(made));
            }
            return Err(error);
        }
    }
    tell("wrote nova3.toml and requests.jsonl; try `nova3 run requests.jsonl --mock`");
    Ok(Exit::Good)
}

/// Creates a file. An existing file is never replaced.
pub(super) fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(there_already(path)),
        Err(error) => return Err(error).with_context(|| format!("failed to create `{}`", path.display())),
    };
    if let Err(error) = file.write_all(text.as_bytes()) {
        drop(std::fs::remove_file(path));
        return Err(error).with_context(|| format!("failed to write `{}`", path.display()));
    }
    Ok(())
}

fn there_already(path: &Path) -> anyhow::Error {
    decided(
        Exit::Usage,
        format!(
            "`{}` already exists (remove it, or give another folder)",
            path.display()
        ),
    )
}
