//! Finds the delimiter of CSV text in its first row that is not blank.

use super::TableError;

/// The longest header row.
const LONGEST_HEADER: usize = 1 << 20;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The beginning of a table until its delimiter is known.
#[derive(Default)]
pub(super) struct DelimiterSearch {
    beginning: Vec<u8>,
}

/// A delimiter, and the text that was read to find it.
pub(super) struct FoundDelimiter {
    pub(super) delimiter: u8,
    pub(super) beginning: Vec<u8>,
}

impl DelimiterSearch {
    /// Takes the next bytes. `is_end` says that no more bytes follow.
    pub(super) fn push(&mut self, chunk: &[u8], is_end: bool) -> Result<Option<FoundDelimiter>, TableError> {
        self.beginning.extend_from_slice(chunk);
        let text = self.beginning.strip_prefix(MARK).unwrap_or(&self.beginning);
        let Some((head, length)) = head(text, is_end) else {
            if self.beginning.len() > LONGEST_HEADER {
                return Err(TableError(format!(
                    "expected a header row of at most {LONGEST_HEADER} bytes, got more (is a quote in it not closed?)"
                )));
            }
            return Ok(None);
        };
        // Excel writes this row to name the delimiter. It shows no such row.
        let named = head.trim_ascii().strip_prefix(b"sep=");
        let found = match named {
            Some(&[delimiter]) => FoundDelimiter {
                delimiter,
                beginning: text.get(length..).unwrap_or_default().to_vec(),
            },
            _ => FoundDelimiter {
                delimiter: most_frequent(head),
                beginning: text.to_vec(),
            },
        };
        Ok(Some(found))
    }
}

/// Returns the first row that is not blank, and the length of the text up to its end.
fn head(text: &[u8], is_end: bool) -> Option<(&[u8], usize)> {
    let (mut begin, mut is_quoted) = (0, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => {
                let row = text.get(begin..at).unwrap_or_default();
                if !row.trim_ascii().is_empty() {
                    return Some((row, at + 1));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    is_end.then(|| (text.get(begin..).unwrap_or_default(), text.len()))
}

/// Returns the delimiter that a row has most often outside quotes.
fn most_frequent(row: &[u8]) -> u8 {
    let mut counts = [(b'\t', 0_usize), (b';', 0), (b',', 0)];
    let mut is_quoted = false;
    for byte in row {
        is_quoted ^= *byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!is_quoted && byte == delimiter);
        }
    }
    // Of equal counts the last one wins: the comma.
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(delimiter, _)| delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, step: usize) -> (char, String) {
        let mut search = DelimiterSearch::default();
        for chunk in text.as_bytes().chunks(step) {
            if let Some(found) = search.push(chunk, false).unwrap() {
                return (
                    char::from(found.delimiter),
                    String::from_utf8(found.beginning).unwrap(),
                );
            }
        }
        let found = search.push(&[], true).unwrap().unwrap();
        (
            char::from(found.delimiter),
            String::from_utf8(found.beginning).unwrap(),
        )
    }

    #[test]
    fn the_header_shows_the_delimiter() {
        for (text, delimiter) in [
            ("a,b\n", ','),
            ("a;b;c\n1,2,3,4,5;2;3\n", ';'),
            ("\n\u{feff}", ','),
            ("\r\na\tb", '\t'),
            ("\"a;b;c;\",\"d\ne\"\n", ','),
            ("a\n", ','),
            ("", ','),
        ] {
            for step in [1, 100] {
                assert_eq!(found(text, step).0, delimiter, "{text:?}");
            }
        }
        assert_eq!(found("\u{feff}sep=|\r\na|b\n", 1), ('|', String::new()));
        assert_eq!(found("sep=;\na;b\n", 100), (';', "a;b\n".to_owned()));
    }

    #[test]
    fn a_header_without_end_is_an_error() {
        let mut search = DelimiterSearch::default();
        assert!(search.push(b"\"", false).unwrap().is_none());
        assert!(search.push(&vec![b'a'; LONGEST_HEADER], false).is_err());
    }
}
