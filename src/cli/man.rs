//! `nova3 man`.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use clap_mangen::Man;

use super::args::ManArgs;
use super::exit::{Exit, decided};
use super::{description, print};
use crate::observe::tell;

/// A manual page of section 1.
struct Page {
    /// `nova3-run`.
    name: String,
    text: String,
}

pub(super) fn main(args: &ManArgs) -> Result<Exit> {
    let pages = pages()?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        for page in &pages {
            write(folder, page)?;
        }
        tell(&format!(
            "wrote {} pages into `{}`",
            pages.len(),
            folder.display()
        ));
        return Ok(Exit::Good);
    }
    let command = args.command.join(" ");
    let name = format!("nova3 {command}").trim_end().replace(' ', "-");
    let page = pages.iter().find(|page| page.name == name).ok_or_else(|| {
        decided(
            Exit::Usage,
            format!("there is no command `{command}` (`nova3 --help` lists them)"),
        )
    })?;
    print(page.text.as_bytes())?;
    Ok(Exit::Good)
}

/// The page of nova3 and of each command, the commands of commands among them.
fn pages() -> Result<Vec<Page>> {
    let mut command = description().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages).context("failed to write a manual page")?;
    Ok(pages)
}

fn add(command: &clap::Command, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = Man::new(command.clone())
        .title(name)
        .source(concat!("nova3 ", env!("CARGO_PKG_VERSION")))
        .manual("nova3");
    let mut rendered = Vec::new();
    page.render(&mut rendered)?;
    let mut text = String::from_utf8_lossy(&rendered).replace(".SH EXTRA\n", ".SH NOTES\n");
    if ["nova3", "nova3-run"].contains(&name) {
        text += &exit_status();
    }
    pages.push(Page {
        name: name.to_owned(),
        text,
    });
    for command in command.get_subcommands() {
        add(command, pages)?;
    }
    Ok(())
}

/// The exit codes as a section of a page.
fn exit_status() -> String {
    let codes = Exit::ALL.map(|exit| {
        let meaning = exit.meaning().replace('`', "").replace('-', "\\-");
        format!(".TP\n\\fB{}\\fR\n{meaning}\n", exit.code())
    });
    format!(".SH \"EXIT STATUS\"\n{}", codes.concat())
}

/// Replaces a page as a whole: a reader never sees half of one, and a link is replaced, not followed.
fn write(folder: &Path, page: &Page) -> Result<()> {
    let path = folder.join(format!("{}.1", page.name));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(page.text.as_bytes())?;
        file.persist(&path)?;
        Ok(())
    };
    written().with_context(|| format!("failed to write `{}`", path.display()))
}
