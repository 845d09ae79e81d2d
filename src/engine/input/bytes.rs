//! The bytes of an input: counted and hashed as they are stored, then decompressed.

use std::cell::RefCell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

/// The first bytes of a gzip stream.
const GZIP: &[u8] = b"\x1f\x8b";

/// The first bytes of a zstd stream.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The first bytes of a ZIP archive, which an Excel workbook is.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// The digest and the number of the stored bytes.
pub(super) struct ByteTally {
    pub(super) hasher: blake3::Hasher,
    pub(super) bytes: u64,
}

/// The decompressed bytes of an input.
pub(super) struct ByteSource {
    plain: Box<dyn Read>,
    tally: Rc<RefCell<ByteTally>>,
}

/// Counts and hashes the bytes that are read.
struct CountingReader {
    inner: Box<dyn Read + Send>,
    tally: Rc<RefCell<ByteTally>>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut tally = self.tally.borrow_mut();
        tally.hasher.update(buffer.get(..read).unwrap_or_default());
        tally.bytes += read as u64;
        Ok(read)
    }
}

impl ByteSource {
    /// Reads the first bytes and prepares the decompression that they ask for.
    pub(super) fn open(inner: Box<dyn Read + Send>, hasher: blake3::Hasher) -> io::Result<Self> {
        let tally = Rc::new(RefCell::new(ByteTally { hasher, bytes: 0 }));
        let mut counted = CountingReader {
            inner,
            tally: Rc::clone(&tally),
        };
        let head = head(&mut counted)?;
        let begins = |magic: &[u8]| head.starts_with(magic);
        let (is_gzip, is_zstd) = (begins(GZIP), begins(ZSTD));
        if begins(ARCHIVE) {
            return Err(io::Error::other(
                "it is a ZIP archive or an Excel workbook (save the sheet as CSV)",
            ));
        }
        let whole = Cursor::new(head).chain(counted);
        let plain: Box<dyn Read> = if is_gzip {
            Box::new(MultiGzDecoder::new(whole))
        } else if is_zstd {
            Box::new(zstd::Decoder::new(whole)?)
        } else {
            Box::new(whole)
        };
        Ok(Self { plain, tally })
    }

    /// Returns the digest and the number of the stored bytes that were read so far.
    pub(super) fn mark(&self) -> ([u8; 32], u64) {
        let tally = self.tally.borrow();
        (*tally.hasher.finalize().as_bytes(), tally.bytes)
    }
}

impl ByteSource {
    /// Returns the number of the stored bytes that were read so far.
    pub(super) fn position(&self) -> u64 {
        self.tally.borrow().bytes
    }
}

impl Read for ByteSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain.read(buffer)
    }
}

/// Reads until the first bytes show whether the stream is compressed. A slow pipe is not waited for without need.
fn head(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4];
    loop {
        let is_open = [GZIP, ZSTD, ARCHIVE]
            .iter()
            .any(|magic| head.len() < magic.len() && magic.starts_with(&head));
        if !is_open {
            return Ok(head);
        }
        let room = buffer.len() - head.len();
        match source.read(&mut buffer[..room]) {
            Ok(0) => return Ok(head),
            Ok(read) => head.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
