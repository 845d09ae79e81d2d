//! The keys that a line may have, and the handling of unknown keys.

use super::*;

#[test]
fn unknown_keys_are_named_with_their_place() {
    let cure = "(remove it, or use `--lenient` to move it to `metadata`)";
    for (line, named) in [
        (r#"{"query":"q","Mood":1}"#, "`Mood` at the top level"),
        (
            r#"{"request_data":{"query":"q","user_id":"u"}}"#,
            "`user_id` in `request_data`",
        ),
        (
            r#"{"request_data":{"query":"q"},"query":"q"}"#,
            "`query` at the top level",
        ),
        (
            r#"{"query":"q","background":{"mood":1}}"#,
            "`mood` in `background`",
        ),
        (
            r#"{"request_data":{"query":"q","background":{"mood":1}}}"#,
            "`mood` in `request_data.background`",
        ),
        (
            r#"{"query":"q","background":{"product":{"brand":1}}}"#,
            "`brand` in `background.product`",
        ),
        (
            r#"{"request_data":{"query":"q","background":{"product":{"brand":1}}}}"#,
            "`brand` in `request_data.background.product`",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_answer":[]}}"#,
            "`nova3_answer` in `nova3_selections`",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_facts":[{"id":"a","content":"b"},{"x\u0007":1}]}}"#,
            "`x\u{fffd}` in `nova3_selections.nova3_facts[1]`",
        ),
        (
            r#"{"query":"q","tasks":["facts",{"action":"facts","id":"t"}]}"#,
            "`id` in `tasks[1]`",
        ),
        (
            r#"{"body":{"messages":[]},"query":"q"}"#,
            "`query` at the top level",
        ),
    ] {
        assert_eq!(
            bad(line).message,
            format!("expected known keys only, got the unknown key {named} {cure}"),
            "{line}"
        );
    }
    check_messages(&[(
        r#"{"query":"q","a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}"#,
        "expected known keys only, got the unknown keys `a` at the top level, `b` at the top level, `c` at the top level, `d` at the top level, `e` at the top level and 2 more (remove them, or use `--lenient` to move them to `metadata`)",
    )]);
}

#[test]
fn lenient_moves_unknown_keys_to_metadata() {
    for (line, metadata) in [
        (r#"{"query":"q","b":{"z":1,"y":2}}"#, r#"{"b":{"y":2,"z":1}}"#),
        (r#"{"query":"q","b":1,"metadata":null}"#, r#"{"b":1}"#),
        (r#"{"query":"q","b":1,"metadata":{}}"#, r#"{"b":1}"#),
        (
            r#"{"request_data":{"query":"q","background":{"c":1}},"b":1,"metadata":{ "a": 1 }}"#,
            r#"{ "a": 1 ,"b":1,"request_data.background.c":1}"#,
        ),
        (r#"{"query":"q","metadata":{"a":{}}}"#, r#"{"a":{}}"#),
        (r#"{"query":"q","metadata":"kept"}"#, r#""kept""#),
    ] {
        let read = read_line(line.as_bytes(), LENIENT).unwrap();
        assert_eq!(read.request.metadata.unwrap().get(), metadata, "{line}");
    }
    for (line, message) in [
        (
            r#"{"query":"q","b":1,"metadata":"x"}"#,
            "expected `metadata` to be an object that can take the unknown key `b` at the top level, got a string (remove the key or make it an object)",
        ),
        (
            r#"{"query":"q","b":1,"metadata":{"b":1}}"#,
            "expected `metadata` without the key of `b` at the top level, got both (remove one)",
        ),
        (
            r#"{"request_data":{"query":"q","b":1},"request_data.b":1}"#,
            "expected `metadata` without the key of `b` in `request_data`, got both (remove one)",
        ),
    ] {
        assert_eq!(
            read_line(line.as_bytes(), LENIENT).unwrap_err().message,
            message,
            "{line}"
        );
    }
}

#[test]
fn what_lenient_moves_is_no_content() {
    let plain = accepted(r#"{"query":"q"}"#);
    let stray = read_line(br#"{"query":"q","b":1}"#, LENIENT).unwrap();
    assert_eq!(stray.content, plain.content);
    assert_ne!(stray.notes, plain.notes);
}

/// A quadratic search for keys needs a quarter of an hour for this line of four megabytes, a linear one a second.
#[test]
fn a_line_of_very_many_lists_is_read() {
    let many = 200_000;
    let lists: Vec<String> = (0..many).map(|n| format!(r#""nova3_x{n}":[]"#)).collect();
    let line = format!(r#"{{"query":"q","nova3_selections":{{{}}}}}"#, lists.join(","));
    assert_eq!(brief(&line).selections, Selections::default());
    let strays: Vec<String> = (0..many).map(|n| format!(r#""x{n}":[]"#)).collect();
    let line = format!(r#"{{"query":"q",{}}}"#, strays.join(","));
    assert!(bad(&line).message.contains(" and 199995 more "));
    let read = read_line(line.as_bytes(), LENIENT).unwrap();
    assert_eq!(read.request.metadata.unwrap().get().matches(':').count(), many);
}
