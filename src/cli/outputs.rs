//! The outputs of a run, and the files that it must not write to.

use std::fs::Metadata;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::{Emit, RunArgs};
use super::exit::{Exit, decided};
use super::setup;
use crate::config::{Config, Source, StoreAddress, process_env};
use crate::engine::{Input, Output, Target};
use crate::sink::Existing;
use crate::store::Feed;

/// The outputs: results or events to standard output or a file, and with `--events` a second output of events.
pub(super) fn outputs(args: &RunArgs, config: &Config, input: &Input) -> Result<Vec<Output>> {
    let feed = match args.emit {
        Some(Emit::Events) => Feed::Events,
        Some(Emit::Results) | None => Feed::Results,
    };
    let existing = match (args.append, args.overwrite) {
        (true, _) => Existing::Append,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let written = |path: Option<&Path>| path.filter(|path| path.as_os_str() != "-").map(Path::to_path_buf);
    let target = |path: Option<PathBuf>, flag: &str| -> Result<Target> {
        if let Some(path) = path {
            let path = file(&path, flag, config, input)?;
            return Ok(Target::File { path, existing });
        }
        refuse_needed_stdout(config, input)?;
        if std::io::stdout().is_terminal() {
            return Ok(Target::Terminal);
        }
        Ok(Target::Stdout)
    };
    if feed == Feed::Events && args.keep_order {
        let message =
            "`--keep-order` orders results, but `--emit events` writes no results (remove one of the two)";
        return Err(decided(Exit::Usage, message));
    }
    let main = Output {
        feed,
        target: target(written(args.output.as_deref()), "-o")?,
    };
    let Some(events) = &args.events else {
        return Ok(vec![main]);
    };
    let beside = Output {
        feed: Feed::Events,
        target: target(written(Some(events)), "--events")?,
    };
    if feed == Feed::Events {
        let message = "`--events` writes events as well as results, but `--emit events` writes no results (remove one of the two)";
        return Err(decided(Exit::Usage, message));
    }
    if same(&beside.target, &main.target) {
        let message = "`--events` names the same place as the results (give another file)";
        return Err(decided(Exit::Usage, message));
    }
    Ok(vec![main, beside])
}

/// Whether two outputs go to the same place, also when their names differ.
pub(super) fn same(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::File { path: one, .. }, Target::File { path: other, .. }) => {
            one == other || inode_at(one).is_some_and(|inode| inode_at(other) == Some(inode))
        }
        (one, other) => one == other,
    }
}

/// The path of an output file. Refuses a file that the run needs.
pub(super) fn file(path: &Path, flag: &str, config: &Config, input: &Input) -> Result<PathBuf> {
    let path = setup::result_path(path)?;
    if path.to_str().is_none() {
        let message = format!(
            "result file `{}` has a name that is not UTF-8, so the store cannot keep it (give another name)",
            path.display()
        );
        return Err(decided(Exit::Usage, message));
    }
    if let Ok(data) = std::fs::metadata(&path)
        && !data.is_file()
    {
        let message = format!(
            "result file `{}` is a folder or a device (write to standard output and redirect it)",
            path.display()
        );
        return Err(decided(Exit::Output, message));
    }
    let place = OutputPlace {
        inode: inode_at(&path),
        path: Some(&path),
    };
    match place.needed(config, input) {
        None => Ok(path),
        Some(what) => Err(decided(
            Exit::Usage,
            format!("`{flag} {}` is {what} (give another file)", path.display()),
        )),
    }
}

/// Refuses standard output that is redirected into a file that the run needs, such as `>> in.jsonl`.
fn refuse_needed_stdout(config: &Config, input: &Input) -> Result<()> {
    let place = OutputPlace {
        inode: inode_of_file(Path::new("/dev/stdout")),
        path: None,
    };
    match place.needed(config, input) {
        None => Ok(()),
        Some(what) => Err(decided(
            Exit::Usage,
            format!("standard output is {what} (redirect it to another file)"),
        )),
    }
}

/// Device and inode: the identity of a file under any name.
type Inode = (u64, u64);

fn inode_at(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().map(|data| inode(&data))
}

fn inode(data: &Metadata) -> Inode {
    (data.dev(), data.ino())
}

/// The inode of a stream that is a file. A terminal or `/dev/null` may be input and output at once.
fn inode_of_file(stream: &Path) -> Option<Inode> {
    let data = std::fs::metadata(stream).ok()?;
    data.is_file().then(|| inode(&data))
}

/// The place that an output goes to.
struct OutputPlace<'a> {
    /// The file there, if there is one.
    inode: Option<Inode>,
    /// Its resolved path, if it was given by one.
    path: Option<&'a Path>,
}

impl OutputPlace<'_> {
    /// The role of this place in the run, if the run needs it.
    fn needed(&self, config: &Config, input: &Input) -> Option<&'static str> {
        if self.is_input(input) {
            return Some("the input itself");
        }
        if config.store.file().is_some_and(|store| self.is_of_store(store)) {
            return Some("the store itself, or a file beside it that it needs");
        }
        if config.file.as_deref().is_some_and(|file| self.is(file)) {
            return Some("the settings file in force");
        }
        if config
            .agents
            .folder
            .as_deref()
            .is_some_and(|folder| self.is_in(folder))
        {
            return Some("an agent file in the agents folder");
        }
        if config
            .search
            .folder
            .as_deref()
            .is_some_and(|folder| self.is_in(folder))
        {
            return Some("a provider of the folder of searches");
        }
        if secrets(config).iter().any(|file| self.is(file)) {
            return Some("a file of keys or certificates that the settings name");
        }
        None
    }

    fn is(&self, file: &Path) -> bool {
        self.path == Some(file) || self.inode.is_some() && inode_at(file) == self.inode
    }

    fn is_input(&self, input: &Input) -> bool {
        match input {
            Input::File(file) | Input::Spooled(file) => self.is(file),
            Input::Stdin => {
                let stdin = inode_of_file(Path::new("/dev/stdin"));
                stdin.is_some() && stdin == self.inode
            }
        }
    }

    /// Whether this is the path of the store's data, log or lock. The files need not exist yet.
    fn is_of_store(&self, store: &Path) -> bool {
        // A store in an unusable folder is reported elsewhere.
        let Ok(store) = setup::result_path(store) else {
            return false;
        };
        ["", "-wal", "-shm", "-journal", ".lock"].iter().any(|ending| {
            let mut name = store.clone().into_os_string();
            name.push(ending);
            self.is(Path::new(&name))
        })
    }

    /// Whether this is an agent file in the folder, or would be read as one.
    fn is_in(&self, folder: &Path) -> bool {
        let is_agent = |path: &Path| path.extension().is_some_and(|kind| kind == "toml");
        let there = |parent: &Path| inode_at(parent).is_some_and(|inode| inode_at(folder) == Some(inode));
        if self
            .path
            .is_some_and(|path| is_agent(path) && path.parent().is_some_and(there))
        {
            return true;
        }
        let mut files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.any(|file| is_agent(&file.path()) && self.is(&file.path()))
    }
}

/// The files of keys, passwords and certificates that the settings use.
fn secrets(config: &Config) -> Vec<PathBuf> {
    let named = config.origins.iter().filter_map(|origin| match &origin.source {
        Source::File(path) => Some(path.clone()),
        Source::Flag(_) | Source::Env(_) | Source::Default | Source::Prices(_) => None,
    });
    let database = match &config.store {
        StoreAddress::File(_) => None,
        StoreAddress::Postgres(address) => address.root_certificates.clone(),
    };
    named
        .chain(config.ca_file.clone())
        .chain(database)
        .chain(process_env("PGPASSFILE").map(PathBuf::from))
        .collect()
}
