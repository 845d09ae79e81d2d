//! Resolves a path of the settings or flags to a file.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The most links that are followed in a row, as in the kernel (`path_resolution(7)`).
const LINKS: usize = 40;

/// Returns the absolute path of a file with every link followed. The file may be missing, also at the end of a link.
pub fn resolved(path: &Path) -> Result<PathBuf> {
    let mut absolute = std::path::absolute(path)?;
    if let Ok(known) = absolute.canonicalize() {
        return Ok(known);
    }
    for _ in 0..LINKS {
        let Ok(target) = std::fs::read_link(&absolute) else {
            break;
        };
        absolute.pop();
        absolute.push(target);
    }
    let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a file name"));
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| Error::new(error.kind(), format!("its folder cannot be used: {error}")))?;
    Ok(folder.join(name))
}
