//! Reads a `usage` object, in whichever of the four dialects it was written.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::usage::Usage;

/// Every field that counts, by the name each dialect gives it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    // OpenAI Chat Completions.
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Option<Value>,
    // OpenAI Responses; Anthropic uses the first two as well.
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Option<Value>,
    // DeepSeek.
    prompt_cache_hit_tokens: Count,
    prompt_cache_miss_tokens: Count,
    // Anthropic.
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    // Moonshot.
    cached_tokens: Count,
}

/// A count that may be null, missing, or no count at all, which is all the same here.
#[derive(Clone, Copy, Default)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(number(&value)))
    }
}

/// The usage, or `None` where the object names no tokens at all.
///
/// Anything unreadable in it is passed over: the answer is paid for, whatever its bill looks like.
pub(super) fn read(json: &str) -> Option<Usage> {
    // serde would take an array for a struct whose names were left out.
    let raw: Raw = json.starts_with('{').then(|| serde_json::from_str(json).ok())??;
    let input = raw.input()?;
    let cached = raw.cached().unwrap_or(0);
    let output = raw.completion_tokens.0.or(raw.output_tokens.0).unwrap_or(0);
    // Where the total exceeds its parts, the rest is reasoning that the server left out of them.
    let rest = raw.total_tokens.0.unwrap_or(0).saturating_sub(input);
    Some(Usage {
        input_tokens: input,
        cached_input_tokens: cached.min(input),
        output_tokens: output.max(rest),
    })
}

impl Raw {
    fn input(&self) -> Option<u64> {
        self.prompt_tokens
            .0
            .or_else(|| self.native_input())
            .or_else(|| {
                let hit = self.prompt_cache_hit_tokens.0;
                let miss = self.prompt_cache_miss_tokens.0;
                (hit.is_some() || miss.is_some()).then(|| sum([hit, miss]))
            })
            .or_else(|| {
                let output = self.completion_tokens.0?;
                Some(self.total_tokens.0.unwrap_or(0).saturating_sub(output))
            })
    }

    /// `input_tokens` includes the cached ones at `OpenAI` and leaves them out at `Anthropic`, whose own
    /// field names tell the two apart.
    fn native_input(&self) -> Option<u64> {
        let input = self.input_tokens.0?;
        if self.input_tokens_details.is_some() {
            return Some(input);
        }
        Some(sum([
            Some(input),
            self.cache_read_input_tokens.0,
            self.cache_creation_input_tokens.0,
        ]))
    }

    fn cached(&self) -> Option<u64> {
        let detail = |details: Option<&Value>| number(details?.get("cached_tokens")?);
        detail(self.prompt_tokens_details.as_ref())
            .or_else(|| detail(self.input_tokens_details.as_ref()))
            .or(self.prompt_cache_hit_tokens.0)
            .or(self.cache_read_input_tokens.0)
            .or(self.cached_tokens.0)
    }
}

fn sum<const N: usize>(parts: [Option<u64>; N]) -> u64 {
    parts.into_iter().flatten().fold(0, u64::saturating_add)
}

/// A count; some gateways write `12.0`, and a negative count is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be finite and not negative; the cast saturates"
)]
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| number.is_finite() && *number >= 0.0)
            .map(|number| number as u64)
    })
}
