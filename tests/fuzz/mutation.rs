//! New inputs from known ones.

/// Bytes with a meaning in at least one of the formats.
const BYTES: &[u8] = b"\0\n\r\t \"'\\/:,.{}[]<>-09ae@\x7f\x80\xbf\xc3\xe4\xf0\xff";

/// The longest mutated input: as long as a real line or event, and short enough for thousands a second.
const LONGEST: usize = 8 << 10;

/// Mutates inputs with the words of a dictionary and pieces of other inputs.
pub(crate) struct Mutator {
    choices: fastrand::Rng,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, dictionary: &str) -> Self {
        Self {
            choices: fastrand::Rng::with_seed(seed),
            words: dictionary.lines().filter_map(word).collect(),
        }
    }

    /// Returns an input of the pool after one to eight mutations. Recent additions are taken more often.
    pub(crate) fn input(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let recent = pool.len().saturating_sub(64);
        let from = if self.choices.u8(..3) == 0 { recent } else { 0 };
        let mut input = pool[self.choices.usize(from..pool.len())].clone();
        let mut count = 1;
        while count < 8 && self.choices.bool() {
            count += 1;
        }
        for _ in 0..count {
            let other = &pool[self.choices.usize(..pool.len())];
            self.mutate(&mut input, other);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let choices = &mut self.choices;
        let (from, to) = range(input.len(), choices);
        match choices.u8(..12) {
            0 if from < input.len() => input[from] ^= 1 << choices.u8(..8),
            1 if from < input.len() => input[from] = BYTES[choices.usize(..BYTES.len())],
            2 => input.insert(from, BYTES[choices.usize(..BYTES.len())]),
            3 => drop(input.drain(from..to)),
            4 => input.truncate(from),
            5 => drop(input.drain(..from)),
            6 => repeat(input, from, to, choices),
            // The beginning of one, the end of the other.
            7 => {
                let (cut, _) = range(other.len(), choices);
                input.truncate(from);
                input.extend_from_slice(&other[cut..]);
            }
            8 => {
                let (start, end) = range(other.len(), choices);
                drop(input.splice(from..from, other[start..end].iter().copied()));
            }
            9 => {
                let (start, end) = range(other.len(), choices);
                drop(input.splice(from..to, other[start..end].iter().copied()));
            }
            _ if self.words.is_empty() => {}
            kind => {
                let word = self.words[choices.usize(..self.words.len())].iter().copied();
                let until = if kind == 10 { from } else { to };
                drop(input.splice(from..until, word));
            }
        }
    }
}

/// Returns a range of a text of this length; short ranges are more frequent.
fn range(length: usize, choices: &mut fastrand::Rng) -> (usize, usize) {
    let from = choices.usize(..=length);
    let most = (length - from).min(1 << choices.u32(..12));
    (from, from + choices.usize(..=most))
}

/// Repeats a part a few times; sometimes as often as there is room.
fn repeat(input: &mut Vec<u8>, from: usize, to: usize, choices: &mut fastrand::Rng) {
    let part = input[from..to].to_vec();
    let most = LONGEST.saturating_sub(input.len()) / part.len().max(1);
    let times = if choices.u8(..8) == 0 { most } else { most.min(4) };
    drop(input.splice(to..to, part.repeat(choices.usize(..=times))));
}

/// Returns the word in a dictionary's line: `"…"` with `\\`, `\"` and `\xNN`, as libFuzzer reads it.
fn word(line: &str) -> Option<Vec<u8>> {
    let quoted = line.strip_prefix('"')?.strip_suffix('"')?;
    let mut word = Vec::new();
    let mut rest = quoted.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            word.push(byte);
            continue;
        }
        match rest.next()? {
            b'x' => {
                let digits = [rest.next()?, rest.next()?];
                word.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            escaped => word.push(escaped),
        }
    }
    Some(word)
}

#[test]
fn words_are_read_as_libfuzzer_reads_them() {
    assert_eq!(word(r#""data: \x0a\"\\""#), Some(b"data: \n\"\\".to_vec()));
    assert_eq!(word("# a comment"), None);
    assert_eq!(word(""), None);
}
