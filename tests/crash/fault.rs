//! Disk faults, made by a small library between nova3 and the system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A fault: the calls that fail, the file, and the moment from which they fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// `write`, `sync`, `truncate`, `open`, `rename`, separated by commas.
    pub(crate) calls: &'static str,
    /// The ending of the path.
    pub(crate) path: &'static str,
    pub(crate) error: rustix::io::Errno,
    /// How many bytes of writes, or calls of the other kinds, still work.
    pub(crate) after: u64,
    /// How many calls fail before the fault ends. 0: the fault stays.
    pub(crate) times: u64,
}

/// The built library. It is removed with the test.
struct Library {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();

/// Whether there is a C compiler. These tests need one.
pub(crate) fn can_be_made() -> bool {
    let there = library().is_some();
    if !there {
        println!("skipped: there is no `cc` to build tests/crash/fault.c with");
    }
    there
}

fn library() -> Option<&'static Path> {
    let library = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("fault.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&path)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/fault.c"))
            .args(["-ldl", "-lpthread"])
            .status();
        match built {
            Ok(status) => assert!(status.success(), "tests/crash/fault.c does not compile"),
            Err(_) => return None,
        }
        Some(Library {
            _folder: folder,
            path,
        })
    });
    library.as_ref().map(|library| &*library.path)
}

impl Fault {
    /// Runs the command under the fault. `mark` is made when the fault first occurs.
    pub(crate) fn befall(&self, command: &mut Command, mark: &Path) {
        command
            .env("LD_PRELOAD", library().expect("it was asked for before"))
            .env("FAULT_CALLS", self.calls)
            .env("FAULT_PATH", self.path)
            .env("FAULT_ERRNO", self.error.raw_os_error().to_string())
            .env("FAULT_AFTER", self.after.to_string())
            .env("FAULT_TIMES", self.times.to_string())
            .env("FAULT_MARK", mark);
    }
}
