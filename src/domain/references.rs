//! Ids of a session's items, and references to them in free text.

use std::fmt;

/// More references than a prompt can carry as context; the rest of the text is not searched.
const MOST_REFERENCES: usize = 100;

/// The most digits of a number; no item has a longer one.
const MOST_DIGITS: usize = 9;

/// The id of an item of a session: `insight1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId {
    /// The type that the id begins with: ASCII letters and underscores, a letter first.
    pub kind: String,
    /// The item's number among those of its type, from 1.
    pub number: u64,
}

impl ItemId {
    /// Reads the whole of `text` as an id.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = text.get(kind.len()..)?;
        let named = kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        if !named || digits.starts_with('0') || digits.len() > MOST_DIGITS {
            return None;
        }
        Some(Self {
            kind: kind.to_owned(),
            number: digits.parse().ok()?,
        })
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.number)
    }
}

/// Returns the ids that `text` refers to as `@insight1`, without the `@`, in order, each once.
///
/// A word that goes on with ASCII letters, digits or underscores after the number is no reference. An `@` behind an
/// ASCII letter or digit belongs to an e-mail address, unless a reference ends there: `@insight1@profile2` are two
/// references.
pub fn references_in(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut last_end = 0;
    for (at, _) in text.match_indices('@') {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        let in_address = at != last_end && before.ends_with(|c: char| c.is_ascii_alphanumeric());
        let word = leading_word(behind);
        if in_address || ItemId::parse(word).is_none() {
            continue;
        }
        last_end = at + 1 + word.len();
        if !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
        if found.len() == MOST_REFERENCES {
            break;
        }
    }
    found
}

/// The ASCII letters, digits and underscores that `text` begins with.
fn leading_word(text: &str) -> &str {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !goes_on(c)).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_found_beside_any_script() {
        for (text, expected) in [
            ("结合@insight1和@profile2，写一篇", &["insight1", "profile2"][..]),
            ("@xhs_post12", &["xhs_post12"]),
            (
                "（@fact3）@fact1、@fact3。\n@fact2!",
                &["fact3", "fact1", "fact2"],
            ),
            ("@insight1@profile2", &["insight1", "profile2"]),
            ("@@insight1", &["insight1"]),
            (
                "@Insight1 @insight1 @INSIGHT1",
                &["Insight1", "insight1", "INSIGHT1"],
            ),
            ("@insight999999999", &["insight999999999"]),
            ("", &[]),
        ] {
            assert_eq!(references_in(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_is_none() {
        for text in [
            "a@insight1",
            "mail 9@insight1.com",
            "x@insight1@profile2",
            "@insight",
            "@1",
            "@insight0",
            "@insight01",
            "@insight1234567890",
            "@_insight1",
            "@in1sight2",
            "@insight1a",
            "@insight1_b",
            "@ insight1",
            "@洞察1",
            "@insight１",
            "＠insight1",
            "insight1@",
        ] {
            assert_eq!(references_in(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let ids: Vec<_> = (1..=500).map(|number| format!("fact{number}")).collect();
        let text = format!("@{}", ids.join("，@"));
        assert_eq!(references_in(&text), ids[..MOST_REFERENCES]);
    }

    #[test]
    fn ids_are_read_and_shown() {
        let id = ItemId {
            kind: "xhs_post".to_owned(),
            number: 4,
        };
        assert_eq!(id.to_string(), "xhs_post4");
        assert_eq!(ItemId::parse("xhs_post4"), Some(id));
        for text in [
            "",
            "4",
            "fact",
            "fact0",
            "fact04",
            "fact4 ",
            "@fact4",
            "_f4",
            "事4",
            "fact1234567890",
        ] {
            assert_eq!(ItemId::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_reference_is_an_id(text in any::<String>(), pieces in pieces()) {
            for text in [text, pieces] {
                for id in references_in(&text) {
                    prop_assert_eq!(ItemId::parse(&id).map(|read| read.to_string()), Some(id));
                }
            }
        }

        #[test]
        fn an_id_reads_back(kind in "[A-Za-z][A-Za-z_]{0,9}", number in 1..1_000_000_000_u64) {
            let id = ItemId { kind, number };
            prop_assert_eq!(references_in(&format!("见@{id}。")), [id.to_string()]);
            prop_assert_eq!(ItemId::parse(&id.to_string()), Some(id));
        }
    }

    /// Texts with many references and near-references.
    fn pieces() -> impl Strategy<Value = String> {
        let pieces = ["@", "fact", "1", "0", "_", "和", " ", "999999999", "é"];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
    }
}
