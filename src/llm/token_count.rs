//! Counts tokens of prompts for an estimate: from the text alone, or with the vocabulary of a model.
//!
//! `request.rs` estimates on the high side, for limits and caps. The numbers here are meant to be right on average.
//! `docs/performance.md` shows the error of both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kitoken::Kitoken;

use super::request::{Message, Role};

/// Tokens of the chat format for each message.
const PER_MESSAGE: u64 = 4;

/// The counts of this many system prompts are kept. They are the same for all requests.
const KEPT: usize = 64;

/// A vocabulary cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("tokenizer `{}`: {reason} (expected a `tokenizer.json`, or a file of token ranks such as `o200k_base.tiktoken`)", path.display())]
pub struct TokenizerError {
    /// Its file.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub reason: String,
}

/// Returns the likely number of tokens of a text: 0.23 for each ASCII character and 0.8 for each other one.
pub fn likely_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    // Each character has one byte that is not a continuation byte.
    let chars = text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64;
    (23 * ascii + 80 * (chars - ascii)).div_ceil(100)
}

/// Returns the likely number of tokens of a conversation as a prompt.
pub fn likely_messages(messages: &[Message]) -> u64 {
    messages
        .iter()
        .map(|message| likely_tokens(&message.content) + PER_MESSAGE)
        .sum()
}

/// Counts tokens with the vocabulary of a model.
pub struct TokenCounter {
    vocabulary: Kitoken,
    /// The counts of system prompts.
    known: Mutex<HashMap<String, u64>>,
}

impl std::fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenCounter")
    }
}

impl TokenCounter {
    /// Reads the vocabulary of a file: the `tokenizer.json` of a model, or a list of token ranks (tiktoken).
    pub fn load(path: &Path) -> Result<Self, TokenizerError> {
        let refused = |reason: String| TokenizerError {
            path: path.to_path_buf(),
            reason,
        };
        let data = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        let is_json = data.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let vocabulary = if is_json {
            Kitoken::from_tokenizers_slice(&data)
        } else {
            Kitoken::from_tiktoken_slice(&data)
        };
        Ok(Self {
            vocabulary: vocabulary.map_err(|error| refused(error.to_string()))?,
            known: Mutex::default(),
        })
    }

    /// Returns the number of tokens of a text. A text that the vocabulary cannot encode is estimated.
    pub fn count(&self, text: &str) -> u64 {
        self.vocabulary
            .encode(text, false)
            .map_or_else(|_| likely_tokens(text), |tokens| tokens.len() as u64)
    }

    /// Returns the number of tokens of a conversation as a prompt.
    pub fn count_messages(&self, messages: &[Message]) -> u64 {
        let one = |message: &Message| match message.role {
            Role::System => self.count_once(&message.content),
            Role::User | Role::Assistant => self.count(&message.content),
        };
        messages.iter().map(|message| one(message) + PER_MESSAGE).sum()
    }

    /// Returns the count of a text, from the known ones if it is there.
    fn count_once(&self, text: &str) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get(text) {
            return *count;
        }
        let count = self.count(text);
        if known.len() < KEPT {
            known.insert(text.to_owned(), count);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_estimated_by_its_characters() {
        assert_eq!(
            [likely_tokens(""), likely_tokens("abcd"), likely_tokens("中文")],
            [0, 1, 2]
        );
        let hundred = "字".repeat(100);
        assert_eq!(likely_tokens(&hundred), 80);
    }

    #[test]
    fn a_file_that_is_no_vocabulary_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.txt");
        for (content, reason) in [
            (Some("no vocabulary"), "words.txt`: "),
            (Some("{}"), "words.txt`: "),
            (None, "No such file"),
        ] {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let told = TokenCounter::load(&path).unwrap_err().to_string();
            assert!(
                told.contains(reason) && told.contains("expected a `tokenizer.json`"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_vocabulary_counts_its_own_tokens() {
        // The ranks of all bytes, and of one longer token.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes.tiktoken");
        let ranks = (0..=255_u8).map(|byte| format!("{} {byte}\n", base64(byte)));
        std::fs::write(&path, ranks.collect::<String>() + "YWI= 256\n").unwrap();
        let counter = TokenCounter::load(&path).unwrap();
        assert_eq!([counter.count("abc"), counter.count("中")], [2, 3]);
        let message = |role| Message {
            role,
            content: "abc".to_owned(),
        };
        let messages = [message(Role::System), message(Role::User), message(Role::System)];
        assert_eq!(counter.count_messages(&messages), 3 * (2 + PER_MESSAGE));
    }

    /// One byte in base64.
    fn base64(byte: u8) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |six: u8| char::from(DIGITS[usize::from(six)]);
        format!("{}{}==", digit(byte >> 2), digit((byte & 3) << 4))
    }
}
