//! Numbers inside the bounds of a JSON schema.

use serde_json::{Value, json};

/// Returns a number that fits `schema`, a small whole one if `schema` allows it. Equal draws give equal numbers.
pub(crate) fn number(schema: &Value, whole: bool, draw: usize) -> Value {
    // A double holds these whole numbers exactly.
    let at = |key: &str| schema[key].as_f64().map(|bound| bound.clamp(-9e15, 9e15));
    let (above, below) = (at("exclusiveMinimum"), at("exclusiveMaximum"));
    let step = at("multipleOf").filter(|&step| if whole { step >= 1.0 } else { step > 0.0 });
    let Some(step) = step.or(whole.then_some(1.0)) else {
        let low = at("minimum").or(above);
        let high = at("maximum").or(below);
        let low = low.or(high.map(|high| high - 10.0)).unwrap_or(0.0);
        let high = high.unwrap_or(low + 10.0);
        // Quarters of the range, never its ends, because an exclusive bound forbids them.
        return json!(low + (high - low) * small(draw % 3 + 1) / 4.0);
    };
    let low = at("minimum").map(|low| (low / step).ceil());
    let low = low.or(above.map(|above| (above / step).floor() + 1.0));
    let high = at("maximum").map(|high| (high / step).floor());
    let high = high.or(below.map(|below| (below / step).ceil() - 1.0));
    let low = low.or(high.map(|high| high.min(1.0))).unwrap_or(1.0);
    let room = (high.unwrap_or(low + 9.0) - low).clamp(0.0, 9.0);
    let number = (low + small(draw) % (room + 1.0)) * step;
    if whole {
        json!(as_integer(number))
    } else {
        json!(number)
    }
}

fn small(number: usize) -> f64 {
    f64::from(u16::try_from(number).unwrap_or(u16::MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the bounds were clamped to what a double holds exactly"
)]
fn as_integer(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_steps_hold_for_all_draws() {
        for draw in 0..50 {
            let made = |schema: Value, whole| number(&schema, whole, draw).as_f64().expect("a number");
            for (schema, whole, low, high) in [
                (json!({"minimum": 3, "maximum": 5}), true, 3.0, 5.0),
                (
                    json!({"exclusiveMinimum": 3, "exclusiveMaximum": 5}),
                    true,
                    4.0,
                    4.0,
                ),
                (json!({"minimum": -2.5, "maximum": -0.5}), true, -2.0, -1.0),
                (json!({"maximum": -7}), true, -16.0, -7.0),
                (json!({}), true, 1.0, 10.0),
                (json!({"minimum": 1, "maximum": 1}), false, 1.0, 1.0),
                (json!({"exclusiveMaximum": 0}), false, -9.9, -0.1),
            ] {
                let number = made(schema.clone(), whole);
                assert!((low..=high).contains(&number), "{number} for {schema}");
            }
            let step = made(json!({"multipleOf": 7, "minimum": 10, "maximum": 30}), true);
            assert!([14.0, 21.0, 28.0].contains(&step), "{step}");
            let step = made(
                json!({"multipleOf": 0.5, "exclusiveMinimum": 1, "maximum": 2}),
                false,
            );
            assert!([1.5, 2.0].contains(&step), "{step}");
            let open = made(json!({"exclusiveMinimum": 0, "exclusiveMaximum": 0.1}), false);
            assert!(open > 0.0 && open < 0.1, "{open}");
        }
        assert_ne!(number(&json!({}), true, 1), number(&json!({}), true, 2));
    }
}
