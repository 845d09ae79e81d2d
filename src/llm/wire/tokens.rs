//! Reads a `usage` object of any known dialect, and rejects impossible counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::usage::Usage;

/// The largest possible number of tokens of one call. The largest window on offer has ten million.
const MOST_TOKENS: f64 = 20e6;

/// The result of reading a server's token counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::llm) enum TokenCount {
    /// The counts.
    Tokens(Usage),
    /// An impossible count, with its name and value.
    Absurd(String),
}

/// All fields with counts, by the names of each dialect.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTokens<'a> {
    // OpenAI Chat Completions.
    #[serde(borrow)]
    prompt_tokens: Field<'a>,
    #[serde(borrow)]
    completion_tokens: Field<'a>,
    #[serde(borrow)]
    total_tokens: Field<'a>,
    #[serde(borrow)]
    prompt_tokens_details: Field<'a>,
    // OpenAI Responses; Anthropic uses the first two as well.
    #[serde(borrow)]
    input_tokens: Field<'a>,
    #[serde(borrow)]
    output_tokens: Field<'a>,
    #[serde(borrow)]
    input_tokens_details: Field<'a>,
    // DeepSeek.
    #[serde(borrow)]
    prompt_cache_hit_tokens: Field<'a>,
    #[serde(borrow)]
    prompt_cache_miss_tokens: Field<'a>,
    // Anthropic.
    #[serde(borrow)]
    cache_read_input_tokens: Field<'a>,
    #[serde(borrow)]
    cache_creation_input_tokens: Field<'a>,
    // Moonshot.
    #[serde(borrow)]
    cached_tokens: Field<'a>,
}

/// OpenAI's details of the prompt's tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawDetails<'a> {
    #[serde(borrow)]
    cached_tokens: Field<'a>,
    #[serde(borrow)]
    cache_write_tokens: Field<'a>,
}

/// A member in its written form. Null counts as missing.
type Field<'a> = Option<&'a RawValue>;

/// The same counts, checked to be possible.
struct ValidCounts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    hit: Option<u64>,
    miss: Option<u64>,
    native_read: Option<u64>,
    native_written: Option<u64>,
    cached: Option<u64>,
    detailed: Details,
    has_input_details: bool,
}

/// The counts of `RawDetails`.
#[derive(Default)]
struct Details {
    cached: Option<u64>,
    written: Option<u64>,
}

/// Reads the usage; `None` if the object has no token counts.
///
/// A value that is not a number is ignored, because the answer is paid for in any case. An impossible number makes all
/// counts implausible, at any place.
pub(in crate::llm) fn read(json: &str) -> Option<TokenCount> {
    // serde would accept an array as a struct without names.
    let raw: RawTokens<'_> = json.starts_with('{').then(|| serde_json::from_str(json).ok())??;
    match raw.counts() {
        Ok(counts) => counts.usage().map(TokenCount::Tokens),
        Err(absurd) => Some(TokenCount::Absurd(absurd)),
    }
}

impl RawTokens<'_> {
    fn counts(&self) -> Result<ValidCounts, String> {
        let prompt_details = details(self.prompt_tokens_details)?;
        let input_details = details(self.input_tokens_details)?;
        Ok(ValidCounts {
            prompt: count("prompt_tokens", self.prompt_tokens)?,
            completion: count("completion_tokens", self.completion_tokens)?,
            total: count("total_tokens", self.total_tokens)?,
            input: count("input_tokens", self.input_tokens)?,
            output: count("output_tokens", self.output_tokens)?,
            hit: count("prompt_cache_hit_tokens", self.prompt_cache_hit_tokens)?,
            miss: count("prompt_cache_miss_tokens", self.prompt_cache_miss_tokens)?,
            native_read: count("cache_read_input_tokens", self.cache_read_input_tokens)?,
            native_written: count("cache_creation_input_tokens", self.cache_creation_input_tokens)?,
            cached: count("cached_tokens", self.cached_tokens)?,
            detailed: Details {
                cached: prompt_details.cached.or(input_details.cached),
                written: prompt_details.written.or(input_details.written),
            },
            has_input_details: self.input_tokens_details.is_some(),
        })
    }
}

impl ValidCounts {
    fn usage(&self) -> Option<Usage> {
        let input = self.input()?;
        let cached = self
            .detailed
            .cached
            .or(self.hit)
            .or(self.native_read)
            .or(self.cached);
        let cached = cached.unwrap_or(0).min(input);
        let written = self.detailed.written.or(self.native_written).unwrap_or(0);
        let output = self.completion.or(self.output).unwrap_or(0);
        // If the total exceeds the sum of its parts, the rest is reasoning that the server did not count in them.
        let rest = self.total.unwrap_or(0).saturating_sub(input);
        Some(Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written.min(input - cached),
            output_tokens: output.max(rest),
        })
    }

    fn input(&self) -> Option<u64> {
        self.prompt
            .or_else(|| self.native_input())
            .or_else(|| (self.hit.is_some() || self.miss.is_some()).then(|| sum([self.hit, self.miss])))
            .or_else(|| Some(self.total.unwrap_or(0).saturating_sub(self.completion?)))
    }

    /// Returns the input tokens. `OpenAI` includes the cached tokens in `input_tokens`, and `Anthropic` excludes them.
    /// The field names show which of the two it is.
    fn native_input(&self) -> Option<u64> {
        let input = self.input?;
        if self.has_input_details {
            return Some(input);
        }
        Some(sum([Some(input), self.native_read, self.native_written]))
    }
}

fn details(field: Field<'_>) -> Result<Details, String> {
    let object = field.filter(|details| details.get().starts_with('{'));
    let raw: RawDetails<'_> = object
        .and_then(|details| serde_json::from_str(details.get()).ok())
        .unwrap_or_default();
    Ok(Details {
        cached: count("cached_tokens", raw.cached_tokens)?,
        written: count("cache_write_tokens", raw.cache_write_tokens)?,
    })
}

fn sum<const N: usize>(parts: [Option<u64>; N]) -> u64 {
    parts.into_iter().flatten().fold(0, u64::saturating_add)
}

/// Reads a count. Some gateways write `12.0`. A negative number, or one above any window, is impossible and means that
/// the server's counts are wrong.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be between zero and the most tokens"
)]
fn count(name: &str, field: Field<'_>) -> Result<Option<u64>, String> {
    // The number is read as text, because JSON has numbers of any size, and one beyond a double must not become a read
    // error. Some gateways write it in quotes.
    let Some(number) = field.and_then(|raw| raw.get().trim_matches('"').parse::<f64>().ok()) else {
        return Ok(None);
    };
    if (0.0..=MOST_TOKENS).contains(&number) {
        Ok(Some(number as u64))
    } else {
        Err(format!("`{name}` is {number:e}"))
    }
}
