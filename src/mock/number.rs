//! Numbers inside the bounds of a JSON schema.

use fastrand::Rng;
use serde_json::{Value, json};

/// A whole number that fits `schema`; small ones if it leaves the choice.
pub(crate) fn integer(schema: &Value, rng: &mut Rng) -> Value {
    let whole = |key: &str| schema[key].as_f64().map(|bound| bound.clamp(-9e15, 9e15));
    let low = whole("minimum")
        .map(f64::ceil)
        .or(whole("exclusiveMinimum").map(|bound| bound.floor() + 1.0));
    let high = whole("maximum")
        .map(f64::floor)
        .or(whole("exclusiveMaximum").map(|bound| bound.ceil() - 1.0));
    let low = low.or(high.map(|high| high.min(1.0))).unwrap_or(1.0);
    let high = high.unwrap_or(low + 9.0).max(low);
    let step = schema["multipleOf"]
        .as_f64()
        .filter(|&step| step >= 1.0)
        .unwrap_or(1.0);
    json!(as_integer(drawn(low, high, step, rng)))
}

/// A multiple of `step` in `low..=high`, or the first one above `low` if the range has none.
fn drawn(low: f64, high: f64, step: f64, rng: &mut Rng) -> f64 {
    let first = (low / step).ceil();
    let count = ((high / step).floor() - first).clamp(0.0, 1000.0);
    (first + (rng.f64() * (count + 1.0)).floor().min(count)) * step
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the bounds were clamped to what a double holds exactly"
)]
fn as_integer(number: f64) -> i64 {
    number as i64
}

/// A number that fits `schema`.
pub(crate) fn number(schema: &Value, rng: &mut Rng) -> Value {
    let low = schema["minimum"].as_f64().or(schema["exclusiveMinimum"].as_f64());
    let high = schema["maximum"].as_f64().or(schema["exclusiveMaximum"].as_f64());
    let low = low.or(high.map(|high| high.min(0.0) - 1.0)).unwrap_or(0.0);
    let high = high.unwrap_or(low + 10.0);
    if let Some(step) = schema["multipleOf"].as_f64().filter(|&step| step > 0.0) {
        return json!(drawn(low, high, step, rng));
    }
    // Quarters of the range, never its ends, which an exclusive bound would forbid.
    json!(low + (high - low) * f64::from(rng.u8(1..=3)) / 4.0)
}
