//! Finds the part of a call that a refusal is about, by the words of [`About`].

use super::learned::{Manner, SHORTEST};
use super::wire::{About, CallError, speaks_of, words_about};
use crate::config::Structured;
use crate::domain::failure::Class;

/// A part of a call that a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedPart {
    /// The form of the answer.
    Form,
    /// The name of the field that holds the token limit.
    LongestField,
    /// The token limit, with the largest value that the server allows, if it says so.
    Longest(Option<u32>),
    /// The token limit, because it does not fit the window together with the prompt.
    Window {
        window: u64,
        /// The server's token count of the prompt, if it says so.
        prompt: Option<u64>,
    },
    /// A field that can be left out.
    Optional(&'static str),
}

impl RefusedPart {
    /// Returns the part that the error refuses; `None` if the error is about something else.
    pub(super) fn refused_by(error: &CallError, asked: &Manner) -> Option<Self> {
        let status = error.status?;
        if matches!(status, 401..=403 | 407 | 429)
            || matches!(error.class, Class::ContentFilter | Class::Quota | Class::Schema)
        {
            return None;
        }
        let text = error.message.to_lowercase();
        // The status is also a number, but not a bound.
        let told = text
            .strip_prefix("http ")
            .and_then(|rest| rest.split_once(": "))
            .map_or(text.as_str(), |(_, told)| told);
        let says = |about| speaks_of(&text, about);
        let is_bad_request = matches!(error.class, Class::BadRequest | Class::ContextLength);
        // A message that names a lower number refuses the number, not the field.
        let is_bounded = most(told, asked.longest).is_some_and(|most| most >= SHORTEST);
        let is_unknown = |name: &str| is_bad_request && says(About::UnknownField) && names(&text, name);
        Some(if is_unknown(&asked.longest_field) && !is_bounded {
            Self::LongestField
        } else if is_bad_request && says(About::Window) {
            window(told)?
        } else if is_bad_request && says(About::Longest) && (is_bounded || !says(About::UnknownField)) {
            Self::Longest(most(told, asked.longest))
        } else if let Some(name) = asked.sent.iter().find(|name| is_unknown(name)) {
            Self::Optional(name)
        } else if asked.structured != Structured::Prompt && says(About::Form) {
            Self::Form
        } else {
            return None;
        })
    }
}

/// Whether the text names the field itself, and not a longer name that contains it.
fn names(text: &str, field: &str) -> bool {
    let is_part = |sign: Option<char>| sign.is_some_and(|sign| sign.is_alphanumeric() || sign == '_');
    text.match_indices(field).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + field.len()..].chars().next())
    })
}

/// Returns the largest number below the requested one. An exclusive bound counts as one less.
fn most(text: &str, asked: u32) -> Option<u32> {
    let most = numbers(text)
        .into_iter()
        .filter(|(number, _)| (2..u64::from(asked)).contains(number))
        .max()?;
    let (number, rest) = most;
    let number = u32::try_from(number).ok()?;
    Some(number - u32::from(rest.trim_start().starts_with("(exclusive)")))
}

/// Reads the window and the prompt size. The window is the first number after its name. The prompt size is the number
/// in front of "in the messages" or a similar phrase.
fn window(text: &str) -> Option<RefusedPart> {
    let at = words_about(About::Window)
        .filter_map(|words| text.find(words))
        .min()?;
    let told = numbers(&text[at..]);
    let &(window, rest) = told.first()?;
    // Anthropic writes "context limit: 188240 + 21333 > 200000", with the prompt first.
    if rest.starts_with(" + ")
        && let Some(&(limit, _)) = told.get(2)
    {
        return Some(RefusedPart::Window {
            window: limit,
            prompt: Some(window),
        });
    }
    let of_prompt = [
        "in the messages",
        "in your prompt",
        "input tokens",
        "of text input",
        "in the prompt",
    ];
    let prompt = numbers(text).into_iter().find_map(|(number, rest)| {
        let rest = rest.trim_start();
        of_prompt
            .iter()
            .any(|words| rest.starts_with(words))
            .then_some(number)
    });
    Some(RefusedPart::Window { window, prompt })
}

/// Returns every whole number of the text with the text after it. `8,192` is one number.
fn numbers(text: &str) -> Vec<(u64, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|sign: char| sign.is_ascii_digit()) {
        let run = &rest[start..];
        let bytes = run.as_bytes();
        let mut end = 0;
        while bytes.get(end).is_some_and(u8::is_ascii_digit)
            || (bytes.get(end) == Some(&b',')
                && bytes[end + 1..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count()
                    == 3)
        {
            end += 1;
        }
        if let Ok(number) = run[..end].replace(',', "").parse() {
            found.push((number, &run[end..]));
        }
        rest = &run[end..];
    }
    found
}
