//! Changes by other programs to a file that standard output is redirected to.

use std::io::{Error, Result, stdout};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, tell};

/// Fails if standard output is a file that another program cut: the next line would stand behind a hole of zeros.
///
/// A file that was opened for appending gets no such hole, and the program that cuts it may have made a copy.
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
        "its file was cut by another program: it has {length} bytes, but {written} were written (run the same command \
         again: nothing finished is lost)"
    )))
}
