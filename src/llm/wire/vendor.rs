//! What servers call their errors, which part of a request they refuse, and why they say that an answer ended: one row for
//! each word, with its source.
//!
//! A new word of a provider is one more row. The first row that fits decides, so a row for one provider's use of a
//! shared word stands before the shared row. Words are written in lower case and found in any case. Codes of digits
//! belong to one provider each; the members that hold them are named where the numbers of two providers collide
//! (`base_resp.1002` of `MiniMax`, `error_code.18` of Baidu).

mod words;

use self::words::{ENDS, ERRORS, REFUSALS};
use super::error_body::Detail;
use crate::domain::failure::{Class, Verdict};

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The account is empty, or its owner's limit is used up.
    Balance,
    /// The key is refused, whatever the request.
    Key,
    /// The rate of requests or tokens is too high, though the word or the status says otherwise.
    Rate,
    /// A budget of the calls in flight, which frees itself as they end.
    InFlight,
    /// The request is too long for the model.
    Length,
    /// A filter refused the request or its answer.
    Filter,
    /// The model is unknown or closed to this account.
    Model,
    /// The server has no room, or failed.
    Overload,
    /// The model's answer did not have the form that the server enforces: another sample may have it.
    Sample,
    /// The request is wrong.
    Request,
    /// This HTTP status, whichever one the answer has.
    Status(u16),
    /// This HTTP status, inside a success.
    InSuccess(u16),
}

impl Meaning {
    /// The class of the error and what to do; `None` for a status.
    pub(super) const fn judgement(self) -> Option<(Class, Verdict)> {
        Some(match self {
            Self::Balance => (Class::Quota, Verdict::Latch),
            Self::Key => (Class::Auth, Verdict::Latch),
            Self::Rate => (Class::RateLimited, Verdict::Pause),
            Self::InFlight => (Class::RateLimited, Verdict::RetryQuietly),
            Self::Length => (Class::ContextLength, Verdict::Elsewhere),
            Self::Filter => (Class::ContentFilter, Verdict::Elsewhere),
            Self::Model => (Class::BadRequest, Verdict::Latch),
            Self::Overload => (Class::Server, Verdict::Retry),
            Self::Sample => (Class::Schema, Verdict::RetryQuietly),
            Self::Request => (Class::BadRequest, Verdict::Final),
            Self::Status(_) | Self::InSuccess(_) => return None,
        })
    }
}

/// What an error is known by.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// Its code or type is this word.
    Is(&'static str),
    /// Its code or type has this part.
    Has(&'static str),
    /// Its message has this phrase.
    Says(&'static str),
    /// Its message begins with this phrase; further in it could be a quotation of the prompt.
    Begins(&'static str),
    /// Both: the code or type, and the phrase.
    IsAndSays(&'static str, &'static str),
    /// Both: the code or type, and a member beside the error object.
    IsBeside(&'static str, &'static str),
}

/// The statuses with which a row holds.
#[derive(Debug, Clone, Copy)]
enum With {
    Any,
    Only(&'static [u16]),
    Not(&'static [u16]),
}

/// A row of the table of errors.
struct Row {
    sign: Sign,
    with: With,
    meaning: Meaning,
    /// Where the word is documented or was seen; read by people and by a test.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people and by a test"))]
    source: &'static str,
}

impl Row {
    const fn with(self, with: With) -> Self {
        Self { with, ..self }
    }

    fn fits(&self, detail: &Detail, status: u16) -> bool {
        let with = match self.with {
            With::Any => true,
            With::Only(statuses) => statuses.contains(&status),
            With::Not(statuses) => !statuses.contains(&status),
        };
        with && match self.sign {
            Sign::Is(word) => detail.is_called(|name| name == word),
            Sign::Has(part) => detail.is_called(|name| name.contains(part)),
            Sign::Says(phrase) => detail.said().contains(phrase),
            Sign::Begins(phrase) => detail.said().starts_with(phrase),
            Sign::IsAndSays(word, phrase) => {
                detail.is_called(|name| name == word) && detail.said().contains(phrase)
            }
            Sign::IsBeside(word, member) => {
                detail.is_called(|name| name == word) && detail.members.iter().any(|name| name == member)
            }
        }
    }
}

const fn row(sign: Sign, meaning: Meaning, source: &'static str) -> Row {
    Row {
        sign,
        with: With::Any,
        meaning,
        source,
    }
}

const fn is(word: &'static str, meaning: Meaning, source: &'static str) -> Row {
    row(Sign::Is(word), meaning, source)
}

const fn has(part: &'static str, meaning: Meaning, source: &'static str) -> Row {
    row(Sign::Has(part), meaning, source)
}

const fn says(phrase: &'static str, meaning: Meaning, source: &'static str) -> Row {
    row(Sign::Says(phrase), meaning, source)
}

const fn begins(phrase: &'static str, meaning: Meaning, source: &'static str) -> Row {
    row(Sign::Begins(phrase), meaning, source)
}

/// The status that a word stands for whatever status it came with.
pub(super) fn status_of(detail: &Detail, status: u16) -> Option<u16> {
    first(detail, status, |meaning| match meaning {
        Meaning::Status(meant) => Some(meant),
        _ => None,
    })
}

/// The status that a word stands for inside a success.
pub(super) fn status_in_success(detail: &Detail) -> Option<u16> {
    first(detail, 200, |meaning| match meaning {
        Meaning::InSuccess(meant) => Some(meant),
        _ => None,
    })
}

/// What a word or an unmistakable message decides whatever the status.
pub(super) fn meaning_of(detail: &Detail, status: u16) -> Option<Meaning> {
    first(detail, status, |meaning| meaning.judgement().map(|_| meaning))
        .or_else(|| detail.filtered.then_some(Meaning::Filter))
}

fn first<T>(detail: &Detail, status: u16, wanted: impl Fn(Meaning) -> Option<T>) -> Option<T> {
    ERRORS
        .iter()
        .filter_map(|row| Some((row, wanted(row.meaning)?)))
        .find(|(row, _)| row.fits(detail, status))
        .map(|(_, found)| found)
}

/// A part of a request that a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The form of the answer.
    Form,
    /// The longest answer.
    Longest,
    /// The window of prompt and answer together.
    Window,
    /// A field that the server does not know; the message names it.
    UnknownField,
}

/// The words by which servers speak of such a part, in lower case.
pub fn words_about(about: About) -> impl Iterator<Item = &'static str> {
    REFUSALS
        .iter()
        .filter(move |(_, other, _)| *other == about)
        .map(|(words, ..)| *words)
}

/// Whether a message in lower case speaks of such a part.
pub fn speaks_of(message: &str, about: About) -> bool {
    words_about(about).any(|words| message.contains(words))
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model had said all.
    Whole,
    /// The answer reached its longest length.
    Cut,
    /// The model called a tool.
    Tools,
    /// A filter stopped it.
    Filtered,
    /// The server gave the answer up.
    Broken,
    /// The server names no reason: old `Ollama` builds send a blank one with every chunk.
    Unnamed,
    /// A reason that no row names.
    Unknown,
}

impl End {
    /// What this finish reason means.
    pub fn of(reason: &str) -> Self {
        ENDS.iter()
            .find(|(word, ..)| reason.eq_ignore_ascii_case(word))
            .map_or(Self::Unknown, |(_, end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_lower_case_and_has_a_source() {
        for row in ERRORS {
            let words = match row.sign {
                Sign::Is(word) | Sign::Has(word) | Sign::Says(word) | Sign::Begins(word) => [word, ""],
                Sign::IsAndSays(word, phrase) | Sign::IsBeside(word, phrase) => [word, phrase],
            };
            assert!(row.source.starts_with("https://"), "{words:?}");
            assert!(words.iter().all(|word| *word == word.to_lowercase()), "{words:?}");
        }
        assert!(ENDS.iter().all(|(.., source)| source.starts_with("https://")));
        for (words, _, source) in REFUSALS {
            assert!(
                source.starts_with("https://") && *words == words.to_lowercase(),
                "{words}"
            );
        }
    }
}
