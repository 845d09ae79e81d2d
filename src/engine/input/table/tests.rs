//! Whole tables, cut and mapped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::cutter::{InputRow, RowCutter};
use super::mapping::Mapping;
use crate::agent::RowColumns;
use crate::domain::request::RawLine;
use crate::engine::input::encoding::TextDecoder;
use crate::engine::input::form::InputForm;
use crate::engine::job::Input;

fn form(query: Option<&str>, map: &[(&str, &str)], row: &[&str]) -> InputForm {
    let map: BTreeMap<String, String> = map
        .iter()
        .map(|(field, column)| ((*field).to_owned(), (*column).to_owned()))
        .collect();
    let stored = RowColumns {
        whole: false,
        names: row.iter().map(|name| (*name).to_owned()).collect(),
    };
    InputForm {
        mapping: Arc::new(Mapping::new(query, &map, stored.clone(), stored).unwrap()),
        ..InputForm::default()
    }
}

/// The requests of a table with this file name. An error of the table is the last entry.
fn read(name: &str, form: &InputForm, bytes: &[u8], step: usize) -> Vec<String> {
    let input = Input::File(PathBuf::from(name));
    let mut cutter = RowCutter::new(&input, form);
    let mut decoder = TextDecoder::new(None);
    let mut found = Vec::new();
    let mut take = |row: InputRow<'_>| {
        found.push(match row {
            InputRow::Line(RawLine::Line { number, bytes }) | InputRow::Made { number, bytes, .. } => {
                format!("{number} {}", String::from_utf8_lossy(bytes))
            }
            InputRow::Line(RawLine::TooLong { number, .. }) => format!("{number} too long"),
            InputRow::Bad { number, problem } => format!("{number} bad: {}", problem.message),
        });
    };
    let mut cut = Ok(());
    for chunk in bytes.chunks(step) {
        cut = cut.and_then(|()| cutter.push(decoder.push(chunk, false), &mut take));
    }
    let cut = cut
        .and_then(|()| cutter.push(decoder.push(&[], true), &mut take))
        .and_then(|()| cutter.finish(&mut take));
    if let Err(error) = cut {
        found.push(format!("error: {}", error.0));
    }
    found
}

#[test]
fn columns_become_fields() {
    let mapped = form(
        Some("写{{ row.标题 }}，{{ row.price }}元"),
        &[
            ("custom_id", "sku"),
            ("background.product.name", "标题"),
            ("model", ""),
        ],
        &["note"],
    );
    let csv = "sku;标题;price;note;model;priority;background.platform\nA1;面霜;39;好;iPhone;2;小红书\n\nA2;\"防;晒\";;;;;\nA3;x\n";
    let expected = [
        r#"2 {"query":"写面霜，39元","custom_id":"A1","priority":2,"background":{"platform":"小红书","product":{"name":"面霜"}},"row":{"note":"好"}}"#,
        r#"4 {"query":"写防;晒，元","custom_id":"A2","background":{"product":{"name":"防;晒"}},"row":{"note":""}}"#,
        "5 bad: row 5: expected 7 cells as in the header, got 2",
    ];
    assert_eq!(read("a.csv", &mapped, csv.as_bytes(), 7), expected);

    let json =
        r#" [{"sku":7,"标题":"面霜","price":39.5,"note":null,"x":{}},{"sku":8,"标题":"x","price":1},3]"#;
    let expected = [
        r#"1 {"query":"写面霜，39.5元","custom_id":"7","background":{"product":{"name":"面霜"}},"row":{"note":""}}"#,
        "2 bad: row 2: expected a column `note` (for the template of an agent), got `sku`, `标题`, `price`",
        "3 3",
    ];
    assert_eq!(read("a.json", &mapped, json.as_bytes(), 7), expected);
    let lines = InputForm {
        maps_lines: true,
        ..mapped
    };
    let jsonl = "\n{\"sku\":\"7\",\"标题\":\"y\",\"price\":5,\"note\":[1]}\n";
    let expected =
        r#"2 {"query":"写y，5元","custom_id":"7","background":{"product":{"name":"y"}},"row":{"note":[1]}}"#;
    assert_eq!(read("a.jsonl", &lines, jsonl.as_bytes(), 100), [expected]);
}

#[test]
fn json_without_a_mapping_holds_other_forms_too() {
    let plain = InputForm::default();
    let batch = r#"{"body":{"messages":[]},"url":"/v1/chat/completions"}"#;
    let text = format!(r#"[{batch},{{"query":"q","body_text":"b"}}]"#);
    let expected = [format!("1 {batch}"), r#"2 {"query":"q"}"#.to_owned()];
    assert_eq!(read("a.json", &plain, text.as_bytes(), 5), expected);
    assert_eq!(
        read("a.json", &plain, b"{\"query\":\"q\"}\n", 5),
        [r#"1 {"query":"q"}"#]
    );
    let told = read("a.json", &plain, b"query", 5);
    assert!(
        told[0].starts_with("error: expected a JSON array of objects"),
        "{told:?}"
    );
}

#[test]
fn a_header_that_does_not_fit_is_an_error() {
    let mapped = form(
        Some("{{ row.title }}{{ row.b }}"),
        &[("custom_id", "sku")],
        &["note"],
    );
    for (csv, expected) in [
        (
            "a,b\n1,2\n",
            "error: the header: expected a column `sku` (for `custom_id`) and `title` (for `--query`) and `note` (for the \
             template of an agent), got `a`, `b`",
        ),
        (
            "sku,title,b,note,title\n",
            "error: the header: expected each column once, got `title` as column 2 and as column 5 (rename one)",
        ),
        (
            "sku,title,b,note,background,background.platform\n",
            "error: the header: expected a column for `background` or for its parts, got both: `background.platform` too \
             (turn one off: `--map background=`)",
        ),
        (
            "sku,caf\u{fffd}",
            "error: the header: expected a column `title` (for `--query`) and `b` (for `--query`) and `note` (for the \
             template of an agent), got `sku`, `caf\u{fffd}`",
        ),
    ] {
        let mut found = read("a.csv", &mapped, csv.as_bytes(), 100);
        found.sort();
        assert_eq!(
            found,
            [expected.replace(
                "`title` (for `--query`) and `b` (for `--query`)",
                "`b` (for `--query`) and `title` (for `--query`)"
            )],
            "{csv}"
        );
    }
    assert_eq!(read("a.csv", &mapped, b"", 1), [""; 0]);
    let unused = form(None, &[], &[]);
    assert_eq!(
        read("a.tsv", &unused, b"query\tx\tx\t\na\t1\t2\t3\n", 3),
        [r#"2 {"query":"a"}"#]
    );
}

#[test]
fn a_mapping_names_known_fields_and_columns() {
    let none = RowColumns::default;
    let map = BTreeMap::from([("title".to_owned(), "x".to_owned())]);
    let told = Mapping::new(None, &map, none(), none()).unwrap_err();
    assert!(
        told.starts_with("`--map`: expected a field of a request, got `title` (known: `custom_id`"),
        "{told}"
    );
    let told = Mapping::new(Some("{{ title }}"), &BTreeMap::new(), none(), none()).unwrap_err();
    assert_eq!(
        told,
        "`--query`: it names `title`, expected a column such as `row.title`"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in r#"[a;,\t"\r\n\[\]{}:é\x00]{0,80}"#,
        step in 1..70_usize,
    ) {
        let mapped = form(Some("{{ row }}"), &[], &[]);
        let lines = InputForm { maps_lines: true, ..mapped.clone() };
        for bytes in [&bytes[..], text.as_bytes(), &[b"[", text.as_bytes()].concat(), &[b"query,b\n", &bytes[..]].concat()] {
            for name in ["a.csv", "a.tsv", "a.json", "a.jsonl"] {
                for form in [&mapped, &lines, &InputForm::default()] {
                    read(name, form, bytes, step);
                }
            }
        }
        for name in ["a.csv", "a.tsv", "a.json", "a.jsonl"] {
            let whole = read(name, &lines, text.as_bytes(), 1000);
            prop_assert_eq!(read(name, &lines, text.as_bytes(), step), whole);
        }
    }
}
