//! Derived values of an input: its digest, random choices, and its cut into pieces.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Returns a number that stands for a value.
pub(crate) fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns random choices that follow from the input alone: the same input always fails in the same way.
pub(crate) fn choices(input: &[u8]) -> fastrand::Rng {
    fastrand::Rng::with_seed(digest(input))
}

/// Cuts the input into pieces: byte by byte, in equal pieces, or at a few places.
pub(crate) fn pieces<'a>(input: &'a [u8], choices: &mut fastrand::Rng) -> Vec<&'a [u8]> {
    let places = match choices.u8(..4) {
        0 => return input.chunks(1).collect(),
        1 => return input.chunks(choices.usize(2..70)).collect(),
        2 => 1,
        _ => choices.usize(2..12),
    };
    let mut cuts: Vec<usize> = (0..places).map(|_| choices.usize(..=input.len())).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    // Equal cuts give an empty piece, which changes nothing either.
    cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

/// Returns the length of each piece, for a message.
pub(crate) fn lengths(pieces: &[&[u8]]) -> Vec<usize> {
    pieces.iter().map(|piece| piece.len()).collect()
}
