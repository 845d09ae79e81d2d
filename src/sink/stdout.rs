//! Standard output that leads into a file: what others do to that file.

use std::io::{Error, Result, stdout};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, tell};

/// Fails if standard output is a file that somebody cut: the next line would stand behind a hole of zeros.
///
/// A file that was opened to append to has no such hole, and whoever cuts it may have a copy.
pub fn check_stdout() -> Result<()> {
    let data = fstat(stdout())?;
    if !FileType::from_raw_mode(data.st_mode).is_file() || fcntl_getfl(stdout())?.contains(OFlags::APPEND) {
        return Ok(());
    }
    let (written, length) = (tell(stdout())?, u64::try_from(data.st_size).unwrap_or_default());
    if length >= written {
        return Ok(());
    }
    Err(Error::other(format!(
        "the file that it leads to was cut by somebody else: it has {length} bytes where {written} were written (run the \
         same command again: nothing finished is lost)"
    )))
}
