//! Properties of any line.

use std::fmt::Write as _;

use super::*;
use proptest::prelude::*;
use serde_json::Map;

/// Any JSON value, with keys that the rules know among the others.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::String),
        prop::sample::select(vec!["@insight1", "insight", "POST", "nova3_select"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            any_object(inner),
        ]
    })
}

fn any_object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let known = prop::sample::select(vec![
        "custom_id",
        "user_id",
        "session_id",
        "tasks",
        "model",
        "until",
        "priority",
        "metadata",
        "request_data",
        "method",
        "url",
        "body",
        "messages",
        "query",
        "interaction_type",
        "background",
        "interaction_context",
        "nova3_selections",
        "references",
        "auto",
        "file_ids",
        "nova3_insight",
        "nova3_xhs_post",
        "id",
        "content",
        "action",
        "input",
        "$serde_json::private::RawValue",
    ]);
    let key = prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,4}"];
    prop::collection::btree_map(key, value, 0..6)
        .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>()))
}

/// A line that every rule accepts.
fn good_line() -> impl Strategy<Value = Value> {
    (any_json(), ".{0,20}", any::<Option<bool>>(), 0..3_u8).prop_map(|(free, text, auto, form)| {
        let brief = json!({
            "query": format!("q{}", text.replace('\0', "")),
            "auto": auto,
            "background": {"industry": "i", "platform": "p", "previous_content": ["a", "b"],
                "product": {"name": "n", "points": ["p"], "must_say": ["m"]}},
            "interaction_context": {"free": free},
            "nova3_selections": {"nova3_facts": [{"id": "fact1", "content": "c", "selected": true}]},
        });
        match form {
            0 => brief,
            1 => json!({"user_id": "u", "session_id": "s", "request_data": brief}),
            _ => json!({"custom_id": "c", "url": "/v1/chat/completions",
                        "body": {"messages": [{"role": "user", "content": text}], "free": free}}),
        }
    })
}

/// Writes the same value with other whitespace and other orders of keys.
fn rewritten(value: &Value, random: &mut fastrand::Rng, out: &mut String) {
    let space = |random: &mut fastrand::Rng, out: &mut String| {
        out.push_str(["", " ", "\t", " \r "][random.usize(..4)]);
    };
    space(random, out);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                rewritten(item, random, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            random.shuffle(&mut entries);
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                rewritten(&Value::from(key.as_str()), random, out);
                out.push(':');
                rewritten(item, random, out);
            }
            out.push('}');
        }
        Value::String(text) if random.bool() => {
            out.push('"');
            for unit in text.encode_utf16() {
                write!(out, "\\u{unit:04x}").unwrap();
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    space(random, out);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_line(&bytes, STRICT);
        let _ = read_line(&[b"{\"custom_id\":\"", &bytes[..]].concat(), LENIENT);
    }

    #[test]
    fn no_json_makes_it_panic_and_what_it_accepts_survives_storage(
        line in any_object(any_json()),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = line.to_string();
        let _ = read_line(&text.as_bytes()[..cut.index(text.len())], STRICT);
        for rules in [STRICT, LENIENT] {
            if let Ok(read) = read_line(text.as_bytes(), rules) {
                let stored = read.request.to_stored();
                prop_assert_eq!(Request::from_stored(&stored).unwrap().to_stored(), stored);
            }
        }
    }

    #[test]
    fn spelling_does_not_change_the_content(line in good_line(), seed in any::<u64>()) {
        let mut other = String::new();
        rewritten(&line, &mut fastrand::Rng::with_seed(seed), &mut other);
        let (plain, other) = (accepted(&line.to_string()), accepted(&other));
        prop_assert_eq!(plain.content, other.content);
        prop_assert_eq!(plain.notes, other.notes);
        prop_assert_eq!(plain.identity, other.identity);
    }

    #[test]
    fn metadata_and_priority_are_notes_and_no_content(
        line in good_line(),
        metadata in any_json().prop_filter("null is absence", |value| !value.is_null()),
        priority in any::<i32>().prop_filter("the default", |number| *number != 0),
    ) {
        let plain = accepted(&line.to_string());
        for (key, note) in [("metadata", metadata), ("priority", Value::from(priority))] {
            let mut noted = line.clone();
            noted[key] = note;
            let noted = accepted(&noted.to_string());
            prop_assert_eq!(noted.content, plain.content);
            prop_assert_eq!(&noted.identity, &plain.identity);
            prop_assert_ne!(noted.notes, plain.notes);
        }
    }

    #[test]
    fn a_changed_query_is_changed_content(one in "[a-z]{1,5}", other in "[a-z]{1,5}") {
        let read = |query: &str| accepted(&json!({"query": query}).to_string());
        prop_assert_eq!(read(&one).content == read(&other).content, one == other);
    }
}
