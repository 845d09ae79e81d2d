//! `nova3 completions`.

use anyhow::Result;
use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::exit::Exit;
use super::print;

pub(super) fn main(args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nova3", &mut script);
    print(&script)?;
    Ok(Exit::Good)
}
