//! Lines that cannot be read at all.

use super::*;

#[test]
fn what_is_no_json_object_is_said_clearly() {
    let whole = "(each line must be one whole object)";
    for (line, message) in [
        (&b"[]"[..], format!("expected a JSON object, got a list {whole}")),
        (b"\"x\"", format!("expected a JSON object, got a string {whole}")),
        (b"12", format!("expected a JSON object, got a number {whole}")),
        (b"null", format!("expected a JSON object, got null {whole}")),
        (b"", format!("expected a JSON object, got nothing {whole}")),
        (b"hello\x07 you", format!("expected a JSON object, got `hello\u{fffd} you` {whole}")),
        (b"{\"query\":\"x", "expected a whole JSON object, got the end of the line at column 11 (is the line cut off?)".to_owned()),
        (b"{'query':1}", "failed to read JSON: key must be a string at column 2, near `'query':1}`".to_owned()),
        (b"{\"query\":\"q\"} {}", "failed to read JSON: trailing characters at column 15, near `{}`".to_owned()),
        (b"{\"query\":\"a\tb\"}", "failed to read JSON: control character (\\u0000-\\u001F) found while parsing a string at column 12, near `\u{fffd}b\"}`".to_owned()),
        (b"{\"query\":\"a\xff\"}", "expected UTF-8, got byte `0xff` at column 12 (save the file as UTF-8)".to_owned()),
        (b"{\"query\":\"a\0\"}", "expected JSON text, got a NUL byte at column 12 (is the file UTF-16 or damaged?)".to_owned()),
        (b"\xef\xbb\xbf{}", "expected JSON text, got a byte order mark at column 1 (remove it; only the first line may begin with one)".to_owned()),
        (b"{\"query\":\"q\"}\xef\xbb\xbf", "expected JSON text, got a byte order mark at column 14 (remove it; only the first line may begin with one)".to_owned()),
        (b"{\"query\":\"\\ud800\"}", "failed to read JSON: unexpected end of hex escape at column 17, near `\"}`".to_owned()),
    ] {
        assert_eq!(bad(line).message, message, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn deep_nesting_is_refused_before_it_can_hurt() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let deep = "expected at most 127 levels of nesting, got more (flatten the value)";
    check_messages(&[
        (&format!(r#"{{"query":{}}}"#, nested(100_000)), deep),
        (
            &format!(r#"{{"body":{}}}"#, nested(100_000)),
            &format!("in `body`: {deep}"),
        ),
        (
            &format!(r#"{{"query":"q","metadata":{}}}"#, nested(200)),
            &format!("in `metadata`: {deep}"),
        ),
        (
            &format!(r#"{{"query":"q","interaction_context":{{"a":{}}}}}"#, nested(100)),
            "expected `interaction_context` to have at most 100 levels of nesting, got more (flatten the value)",
        ),
    ]);
    let deepest = format!(r#"{{"query":"q","interaction_context":{{"a":{}}}}}"#, nested(99));
    let stored = accepted(&deepest).request.to_stored();
    assert_eq!(Request::from_stored(&stored).unwrap().to_stored(), stored);
}

#[test]
fn a_key_twice_is_an_error() {
    check_messages(&[
        (
            r#"{"query":"a","query":"a"}"#,
            "expected each key once, got `query` twice at the top level (remove one)",
        ),
        (
            r#"{"body":{},"body":{}}"#,
            "expected each key once, got `body` twice at the top level (remove one)",
        ),
        (
            r#"{"request_data":{"query":"a","\u0071uery":"b"}}"#,
            "expected each key once, got `query` twice in `request_data` (remove one)",
        ),
        (
            r#"{"query":"q","tasks":[{"action":"facts","action":"facts"}]}"#,
            "expected each key once, got `action` twice in `tasks[0]` (remove one)",
        ),
    ]);
    let metadata = r#"{"a":1,"a":2}"#;
    let line = format!(r#"{{"query":"q","metadata":{metadata}}}"#);
    assert_eq!(accepted(&line).request.metadata.unwrap().get(), metadata);
}

#[test]
fn a_bad_line_keeps_its_claim_and_its_digest() {
    for (line, claim) in [
        (&br#"{"custom_id":"a"}"#[..], Some("a")),
        (br#"{"custom_id":7,"query":1}"#, Some("7")),
        (br#"{"custom_id":["a"]}"#, None),
        (br#"{"x":[{}],"custom_id":"a","query":"cut"#, Some("a")),
        (b"{\"custom_id\":\"a\",\"query\":\"\xff\"}", Some("a")),
        (b"\xef\xbb\xbf{\"custom_id\":\"a\"}", Some("a")),
        (b"{\"custom_id\":\"a\\u0007\"}", Some("a\u{7}")),
        (br#"{"custom_id":"a"#, None),
        (br#"[{"custom_id":"a"}]"#, None),
        (b"", None),
    ] {
        let bad = bad(line);
        assert_eq!(
            bad.claim.custom_id.as_deref(),
            claim,
            "{}",
            String::from_utf8_lossy(line)
        );
        assert_eq!(bad.digest, Digest::of(line));
    }
}

#[test]
fn a_line_over_the_limit_is_bad_wherever_it_is_met() {
    let long = vec![b' '; MAX_LINE + 1];
    let bad = bad(&long);
    assert_eq!(
        bad,
        BadLine::too_long(10_000_001, Digest::of(&long), Claim::default())
    );
    assert_eq!(
        bad.message,
        "expected a line of at most 10000000 bytes, got 10000001 (split the request)"
    );
}

#[test]
fn a_bad_batch_line_is_known_as_one() {
    for (line, is_batch) in [
        (r#"{"custom_id":"a","body":7}"#, true),
        (
            r#"{"custom_id":"a","url":"/v1/chat/completions","body":{"messages":[{"ro"#,
            true,
        ),
        (
            r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
            true,
        ),
        (r#"{"custom_id":"a","url":"u","query":1}"#, false),
        (r#"{"request_data":{},"body":{}}"#, false),
        (r#"{"query":1}"#, false),
        ("body", false),
    ] {
        assert_eq!(bad(line).claim.is_batch, is_batch, "{line}");
    }
    let long = format!(r#"{{"custom_id":"a","body":{{"x":"{}"}}}}"#, "y".repeat(MAX_LINE));
    let claim = Claim {
        custom_id: Some("a".to_owned()),
        is_batch: true,
    };
    assert_eq!(bad(&long).claim, claim);
    let mut splitter = LineSplitter::new();
    splitter.push(long.as_bytes(), &mut |_| {});
    splitter
        .finish(&mut |line| assert!(matches!(line, RawLine::TooLong { claim: said, .. } if *said == claim)));
}
