//! Which file a written path means.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// So many links in a row are followed, as the kernel does (`path_resolution(7)`).
const LINKS: usize = 40;

/// The file that a path means: absolute, every link followed, also one that leads to a file that is still to be made.
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
        return Err(Error::new(ErrorKind::InvalidInput, "it is no file name"));
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| Error::new(error.kind(), format!("its folder cannot be used: {error}")))?;
    Ok(folder.join(name))
}
