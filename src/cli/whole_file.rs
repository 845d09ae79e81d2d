//! A file that is always written as a whole: beside its place, then renamed.
//!
//! A reader sees the old content or the new one. A file that holds something else is never replaced.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::exit::{Exit, decided};
use super::{outputs, setup};
use crate::config::Config;
use crate::engine::{Input, Output, Target};
use crate::sink::Existing;

/// A kind of file that is written as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeFileKind {
    /// The flag that names the file.
    pub(super) flag: &'static str,
    /// The name of this kind in messages: `summary file`.
    pub(super) what: &'static str,
    /// The content in messages: `a summary`.
    pub(super) content: &'static str,
    /// The first bytes of each file of this kind.
    pub(super) begins: &'static str,
    /// How the name of the new file begins until it is renamed.
    pub(super) prefix: &'static str,
    /// The exact permissions. `None`: those that the umask leaves.
    pub(super) mode: Option<u32>,
}

/// A file that can be written.
#[derive(Debug)]
pub(super) struct WholeFile {
    kind: WholeFileKind,
    path: PathBuf,
}

impl WholeFile {
    /// Checks that the file can be written, before anything is spent. Nothing is changed.
    pub(super) fn prepare(
        kind: WholeFileKind,
        path: &Path,
        config: &Config,
        input: &Input,
        written: &[Output],
    ) -> Result<Self> {
        let flag = kind.flag;
        if path.as_os_str() == "-" {
            let message = format!("`{flag}` needs a file, because standard output carries results");
            return Err(decided(Exit::Usage, message));
        }
        kind.refuse_other_content(path)?;
        let path = outputs::file(path, flag, config, input)?;
        let target = Target::File {
            path: path.clone(),
            existing: Existing::Refuse,
        };
        if written
            .iter()
            .any(|output| outputs::same(&output.target, &target))
        {
            let message = format!("`{flag}` names the same place as another output (give another file)");
            return Err(decided(Exit::Usage, message));
        }
        let file = Self { kind, path };
        file.beside().map_err(|error| file.unwritable(&error))?;
        Ok(file)
    }

    /// As [`Self::prepare`], for a command that writes no other file.
    pub(super) fn alone(kind: WholeFileKind, path: &Path) -> Result<Self> {
        // A link is refused before it is resolved.
        kind.refuse_other_content(path)?;
        let file = Self {
            kind,
            path: setup::result_path(path)?,
        };
        file.beside().map_err(|error| file.unwritable(&error))?;
        Ok(file)
    }

    /// The absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the text in place of an earlier one. The text begins as the kind says.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        self.kind.refuse_other_content(&self.path)?;
        self.replace(text).map_err(|error| self.unwritable(&error))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut file = self.beside()?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// A new file in the same folder. It is removed unless it is renamed.
    fn beside(&self) -> io::Result<tempfile::NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let file = tempfile::Builder::new()
            .prefix(self.kind.prefix)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        if let Some(mode) = self.kind.mode {
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(file)
    }

    fn unwritable(&self, error: &io::Error) -> anyhow::Error {
        let (what, path) = (self.kind.what, self.path.display());
        decided(
            Exit::Output,
            format!("{what} `{path}` cannot be written: {error}"),
        )
    }
}

impl WholeFileKind {
    /// Refuses a link, a folder, a device, and a file of another kind.
    fn refuse_other_content(self, path: &Path) -> Result<()> {
        let refused = |reason: &str| {
            let message = format!("{} `{}` {reason} (give another file)", self.what, path.display());
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
            let length = self.begins.len() as u64;
            file.take(length).read_to_end(&mut begin)
        });
        match read {
            Err(error) => refused(&format!("cannot be read: {error}")),
            Ok(0) => Ok(()),
            Ok(_) if begin == self.begins.as_bytes() => Ok(()),
            Ok(_) => refused(&format!("holds something else than {}", self.content)),
        }
    }
}
