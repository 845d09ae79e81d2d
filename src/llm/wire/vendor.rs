//! The words of servers for errors, refused parts of a request, and ends of answers. Each word is one row with its
//! source.
//!
//! A new word of a provider is one more row. The first matching row decides, so a row for one provider's use of a
//! shared word comes before the shared row. Words are written in lower case and match in any case. Numeric codes
//! belong to one provider each. If the numbers of two providers collide, the row also names the member that holds the
//! code (`base_resp.1002` of `MiniMax`, `error_code.18` of Baidu).

mod words;

use self::words::{ENDS, ERRORS, REFUSALS};
use super::error_body::Detail;
use crate::domain::failure::{Class, Verdict};

/// The meaning of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The account is empty, or the limit of its owner is used up.
    Balance,
    /// The key is refused for every request.
    Key,
    /// The rate of requests or tokens is too high, although the word or the status says otherwise.
    Rate,
    /// A budget for the calls in flight is used up. It frees itself as they end.
    InFlight,
    /// The request is too long for the model.
    Length,
    /// A filter refused the request or its answer.
    Filter,
    /// The model is unknown or closed to this account.
    Model,
    /// The server has no room, or failed.
    Overload,
    /// The model's answer did not have the form that the server enforces. Another sample may have it.
    Sample,
    /// The request is wrong.
    Request,
    /// The error has the meaning of this HTTP status, for any status of the answer.
    Status(u16),
    /// The error has the meaning of this HTTP status, if it is inside a success.
    InSuccess(u16),
}

impl Meaning {
    /// Returns the class and the verdict of the error; `None` for a status.
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

/// The sign by which an error is recognized.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// The code or the type is this word.
    Is(&'static str),
    /// The code or the type contains this part.
    Has(&'static str),
    /// The message contains this phrase.
    Says(&'static str),
    /// The message begins with this phrase. Further in it, the phrase could be a quotation of the prompt.
    Begins(&'static str),
    /// The code or the type is this word, and the message contains this phrase.
    IsAndSays(&'static str, &'static str),
    /// The code or the type is this word, and this member is beside the error object.
    IsBeside(&'static str, &'static str),
}

/// The statuses for which a row applies.
#[derive(Debug, Clone, Copy)]
enum With {
    Any,
    Only(&'static [u16]),
    Not(&'static [u16]),
}

/// A row of the table of errors.
struct ErrorRow {
    sign: Sign,
    with: With,
    meaning: Meaning,
    /// The place where the word is documented or was seen, for people and for a test.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people and by a test"))]
    source: &'static str,
}

impl ErrorRow {
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

const fn row(sign: Sign, meaning: Meaning, source: &'static str) -> ErrorRow {
    ErrorRow {
        sign,
        with: With::Any,
        meaning,
        source,
    }
}

const fn is(word: &'static str, meaning: Meaning, source: &'static str) -> ErrorRow {
    row(Sign::Is(word), meaning, source)
}

const fn has(part: &'static str, meaning: Meaning, source: &'static str) -> ErrorRow {
    row(Sign::Has(part), meaning, source)
}

const fn says(phrase: &'static str, meaning: Meaning, source: &'static str) -> ErrorRow {
    row(Sign::Says(phrase), meaning, source)
}

const fn begins(phrase: &'static str, meaning: Meaning, source: &'static str) -> ErrorRow {
    row(Sign::Begins(phrase), meaning, source)
}

/// Returns the status that a word stands for, with any status of the answer.
pub(super) fn status_of(detail: &Detail, status: u16) -> Option<u16> {
    first(detail, status, |meaning| match meaning {
        Meaning::Status(meant) => Some(meant),
        _ => None,
    })
}

/// Returns the status that a word stands for inside a success.
pub(super) fn status_in_success(detail: &Detail) -> Option<u16> {
    first(detail, 200, |meaning| match meaning {
        Meaning::InSuccess(meant) => Some(meant),
        _ => None,
    })
}

/// Returns the meaning of a word or of a clear message, which overrides the status.
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
    /// The token limit of the answer.
    Longest,
    /// The window of prompt and answer together.
    Window,
    /// A field that the server does not know; the message names it.
    UnknownField,
}

/// Returns the words that servers use for this part, in lower case.
pub fn words_about(about: About) -> impl Iterator<Item = &'static str> {
    REFUSALS
        .iter()
        .filter(move |(_, other, _)| *other == about)
        .map(|(words, ..)| *words)
}

/// Whether a message in lower case is about this part.
pub fn speaks_of(message: &str, about: About) -> bool {
    words_about(about).any(|words| message.contains(words))
}

/// The end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishKind {
    /// The model finished the answer.
    Whole,
    /// The answer reached its token limit.
    Cut,
    /// The model called a tool.
    Tools,
    /// A filter stopped it.
    Filtered,
    /// The server broke off the answer.
    Broken,
    /// The server sent no reason. Old `Ollama` builds send a blank one with every chunk.
    Unnamed,
    /// The reason is in no row.
    Unknown,
}

impl FinishKind {
    /// Returns the meaning of a finish reason.
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
