//! The identity of a request, and the digest that shows a change.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of the compact JSON of `value`, which is never held in memory as a whole.
    #[expect(
        clippy::expect_used,
        reason = "hashing cannot fail and every value hashed here has a JSON form"
    )]
    pub(super) fn of_json(value: &impl Serialize) -> Self {
        let mut hashing = Hashing::default();
        serde_json::to_writer(&mut hashing, value).expect("a JSON value is written to a hasher");
        hashing.finish()
    }

    /// Returns the digest stored as these bytes; `None` unless there are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the digest as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The identity of a request: two lines with the same one are the same request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The line's own `custom_id`.
    Custom(String),
    /// The digest of the line's content; the store's occurrence number distinguishes equal lines.
    Content(Digest),
}

/// A digest that is being computed.
///
/// A serializer writes a few bytes at a time. They are gathered here, because SHA-256 is fast only on longer runs.
pub(super) struct Hashing {
    hasher: Sha256,
    gathered: [u8; 512],
    length: usize,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            hasher: Sha256::new(),
            gathered: [0; 512],
            length: 0,
        }
    }
}

impl Hashing {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(room) = self.gathered.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        } else {
            self.flush_gathered();
            self.hasher.update(bytes);
        }
    }

    pub(super) fn finish(mut self) -> Digest {
        self.flush_gathered();
        Digest(self.hasher.finalize().into())
    }

    fn flush_gathered(&mut self) {
        self.hasher.update(&self.gathered[..self.length]);
        self.length = 0;
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_known_one_and_survives_storage() {
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::from_slice(digest.as_bytes()), Some(digest));
        assert_eq!(Digest::from_slice(b"short"), None);
    }

    #[test]
    fn gathering_changes_nothing() {
        let bytes: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
        for step in [1, 3, 511, 512, 513, 4096] {
            let mut hashing = Hashing::default();
            bytes.chunks(step).for_each(|chunk| hashing.update(chunk));
            assert_eq!(hashing.finish(), Digest::of(&bytes), "step {step}");
        }
    }
}
