//! `nova3 report`: a run as one HTML file, or two runs side by side.
//!
//! The file is written beside its place and renamed, so that a reader sees the old report or the new one. A file that
//! holds something else is never replaced.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use anyhow::Result;

use super::args::{Global, ReportArgs};
use super::exit::{Exit, decided};
use super::whole_file::{WholeFile, WholeFileKind};
use super::{print, setup, stores};
use crate::clock;
use crate::config::{Config, Flags, StoreAddress, process_env};
use crate::domain::printable::printable;
use crate::observe::tell;
use crate::report::{PageError, PageOptions, PageTexts, REPORT_BEGINS, compare_page, report_page};
use crate::store::StoredRouteLimits;

/// The file of a report.
const REPORT: WholeFileKind = WholeFileKind {
    flag: "--output",
    what: "report",
    content: "a report",
    begins: REPORT_BEGINS,
    prefix: ".nova3-report-",
    mode: None,
};

pub(super) fn main(args: &ReportArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(report(args, global))
}

async fn report(args: &ReportArgs, global: &Global) -> Result<Exit> {
    // The place is checked first: a page of a large run takes seconds.
    let place = place(args, global)?;
    let store = stores::to_read_from(&args.from, global).await?.store;
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
    path.write(&page)?;
    if !global.quiet {
        let size = page.len().div_ceil(1000);
        let path = path.path().display();
        let message = format!("report: {path} ({size} kB), to open in a browser");
        tell(&printable(&message));
    }
    Ok(Exit::Good)
}

/// The limits of the routes by the present settings; none if these cannot be read, because a report needs no settings.
fn limits(args: &ReportArgs, global: &Global) -> BTreeMap<String, StoredRouteLimits> {
    let flags = Flags {
        config: global.config.clone(),
        store: stores::given(args.from.store.as_ref()),
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
fn place(args: &ReportArgs, global: &Global) -> Result<Option<WholeFile>> {
    let Some(path) = args.output.as_deref().filter(|path| path.as_os_str() != "-") else {
        let is_asked = args.output.is_some();
        if !is_asked && io::stdout().is_terminal() {
            let message = "a report is a page for a browser: name its file with `-o report.html`";
            return Err(decided(Exit::Usage, message));
        }
        return Ok(None);
    };
    let file = WholeFile::alone(REPORT, path)?;
    if let StoreAddress::File(store) = stores::address(args.from.store.as_ref(), global)?
        && setup::result_path(&store).is_ok_and(|store| store == file.path())
    {
        let message = format!("`-o {}` is the store itself (give another file)", path.display());
        return Err(decided(Exit::Usage, message));
    }
    Ok(Some(file))
}
