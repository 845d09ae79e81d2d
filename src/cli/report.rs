//! `nova3 report`: a run as one HTML file, or two runs side by side.
//!
//! The file is written beside its place and renamed, so that a reader sees the old report or the new one. A file that
//! holds something else is never replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::{Global, ReportArgs};
use super::exit::{Exit, decided};
use super::{print, setup, stores};
use crate::clock;
use crate::config::{Config, Flags, StoreAddress, process_env};
use crate::domain::printable::printable;
use crate::observe::tell;
use crate::report::{PageError, PageOptions, PageTexts, REPORT_BEGINS, compare_page, report_page};
use crate::store::StoredRouteLimits;

pub(super) fn main(args: &ReportArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(report(args, global))
}

async fn report(args: &ReportArgs, global: &Global) -> Result<Exit> {
    // The place is checked first: a page of a large run takes seconds.
    let place = place(args, global)?;
    let store = stores::to_read(args.store.as_ref(), global).await?;
    let options = PageOptions {
        limits: limits(args, global),
        texts: if args.no_text {
            PageTexts::Hidden
        } else {
            PageTexts::Shown
        },
        made_at: clock::now_ms(),
    };
    let page = if let [first, second] = args.compare.as_slice() {
        let first = setup::find_run(&*store, Some(first)).await?;
        let second = setup::find_run(&*store, Some(second)).await?;
        compare_page(&*store, [&first, &second], &options).await
    } else {
        let run = setup::find_run(&*store, args.run.as_deref()).await?;
        report_page(&*store, &run, &options).await
    };
    // The exit code depends on the error of the store.
    let page = page.map_err(|error| match error {
        PageError::Store(error) => anyhow::Error::from(error),
        other @ PageError::Json(_) => other.into(),
    })?;
    let Some(path) = place else {
        print(page.as_bytes())?;
        return Ok(Exit::Good);
    };
    replace(&path, &page).map_err(|error| unwritable(&path, &error))?;
    if !global.quiet {
        let size = page.len().div_ceil(1000);
        let message = format!("report: {} ({size} kB), to open in a browser", path.display());
        tell(&printable(&message));
    }
    Ok(Exit::Good)
}

/// The limits of the routes by the present settings; none if these cannot be read, because a report needs no settings.
fn limits(args: &ReportArgs, global: &Global) -> BTreeMap<String, StoredRouteLimits> {
    let flags = Flags {
        config: global.config.clone(),
        store: stores::given(args.store.as_ref()),
        ..Flags::default()
    };
    let Ok(config) = Config::load_without_keys(&flags, &process_env) else {
        return BTreeMap::new();
    };
    let limits = config.routes.iter().map(|route| {
        let limits = StoredRouteLimits {
            rpm: route.rpm,
            tpm: route.tpm,
        };
        (route.name.clone(), limits)
    });
    limits
        .filter(|(_, limits)| *limits != StoredRouteLimits::default())
        .collect()
}

/// The file to write; `None` for standard output.
fn place(args: &ReportArgs, global: &Global) -> Result<Option<PathBuf>> {
    let Some(path) = args.output.as_deref().filter(|path| path.as_os_str() != "-") else {
        let is_asked = args.output.is_some();
        if !is_asked && io::stdout().is_terminal() {
            let message = "a report is a page for a browser: name its file with `-o report.html`";
            return Err(decided(Exit::Usage, message));
        }
        return Ok(None);
    };
    // A link is refused before it is resolved.
    refuse_other_content(path)?;
    let path = setup::result_path(path)?;
    if let StoreAddress::File(store) = stores::address(args.store.as_ref(), global)?
        && setup::result_path(&store).is_ok_and(|store| store == path)
    {
        let message = format!("`-o {}` is the store itself (give another file)", path.display());
        return Err(decided(Exit::Usage, message));
    }
    beside(&path).map_err(|error| unwritable(&path, &error))?;
    Ok(Some(path))
}

fn replace(path: &Path, page: &str) -> io::Result<()> {
    let mut file = beside(path)?;
    file.write_all(page.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A new file in the same folder. It is removed unless it is renamed.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    tempfile::Builder::new()
        .prefix(".nova3-report-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
}

fn unwritable(path: &Path, error: &io::Error) -> anyhow::Error {
    decided(
        Exit::Output,
        format!("report `{}` cannot be written: {error}", path.display()),
    )
}

/// Refuses a link, a folder, a device, and a file that is no report.
fn refuse_other_content(path: &Path) -> Result<()> {
    let refused = |what: &str| {
        let message = format!("`{}` {what} (give another file)", path.display());
        Err(decided(Exit::Output, message))
    };
    // A file that cannot be looked at is reported when the new one is made beside it.
    let Ok(data) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if data.is_symlink() {
        return refused("is a link");
    }
    if !data.is_file() {
        return refused("is a folder or a device");
    }
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| {
        let length = REPORT_BEGINS.len() as u64;
        file.take(length).read_to_end(&mut begin)
    });
    match read {
        Err(error) => refused(&format!("cannot be read: {error}")),
        Ok(0) => Ok(()),
        Ok(_) if begin == REPORT_BEGINS.as_bytes() => Ok(()),
        Ok(_) => refused("holds something else than a report"),
    }
}
