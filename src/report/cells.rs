//! The cells of tables that people open: plain text, harmless in a spreadsheet and in a Markdown page.
//!
//! The texts come from models and from input files. Each goes through [`harmless`] after [`printable`], because a
//! removed control character could stand before a formula.

use csv::{Terminator, WriterBuilder};
use serde_json::value::RawValue;

use crate::domain::printable::printable;
use crate::domain::raw_json::{elements, text};

/// Returns a JSON value as the text of a cell. A list of plain values is joined with a space, or with `、` if a value
/// holds white space. An object and a nested list stay JSON, and `null` is empty.
pub(super) fn cell_text(value: &RawValue) -> String {
    if value.get() == "null" {
        return String::new();
    }
    let list = elements(value);
    if list.is_empty() || list.iter().any(|value| value.get().starts_with(['{', '['])) {
        return match value.get() {
            "[]" => String::new(),
            raw => text(value).unwrap_or_else(|| raw.to_owned()),
        };
    }
    let list: Vec<String> = list.into_iter().map(cell_text).collect();
    let has_spaces = |text: &String| text.contains(char::is_whitespace);
    list.join(if list.iter().any(has_spaces) { "、" } else { " " })
}

/// Returns a text without control characters, and with an apostrophe in front if a spreadsheet would take it for a
/// formula (OWASP, "CSV Injection"). White space before the formula makes no difference. A negative number stays a
/// number.
pub(super) fn harmless(text: &str) -> String {
    let text = printable(text);
    let begin = text.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let is_formula = begin.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if text.starts_with(['\t', '\n']) || is_formula && !is_negative_number(&text) {
        format!("'{text}")
    } else {
        text
    }
}

/// Whether the character is shown as nothing: a zero-width space or joiner, a direction mark, or a byte order mark.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Whether the text is a negative number as JSON writes one, and nothing else.
fn is_negative_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = text.strip_prefix('-') else {
        return false;
    };
    let (number, exponent) = number
        .split_once(['e', 'E'])
        .map_or((number, None), |(number, exponent)| (number, Some(exponent)));
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Adds a record of CSV (RFC 4180), which ends with CR LF.
pub(super) fn add_csv(cells: &[String], out: &mut Vec<u8>) -> Result<(), csv::Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .buffer_capacity(512)
        .from_writer(out);
    writer.write_record(cells.iter().map(|cell| harmless(cell)))?;
    Ok(writer.flush()?)
}

/// Adds a line of tab-separated values. A tab, a line end and a backslash in a cell become `\t`, `\n` and `\\`, as jq's
/// `@tsv` writes them.
pub(super) fn add_tsv(cells: &[String], out: &mut Vec<u8>) {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| {
            harmless(cell)
                .replace('\\', "\\\\")
                .replace('\t', "\\t")
                .replace('\n', "\\n")
        })
        .collect();
    out.extend_from_slice(cells.join("\t").as_bytes());
    out.push(b'\n');
}

/// Adds a row of a Markdown table.
pub(super) fn add_markdown(cells: &[String], out: &mut Vec<u8>) {
    for cell in cells {
        out.extend_from_slice(b"| ");
        out.extend_from_slice(in_markdown(&harmless(cell)).as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(b"|\n");
}

/// Adds the line between the head of a Markdown table and its rows.
pub(super) fn add_markdown_rule(columns: usize, out: &mut Vec<u8>) {
    out.extend_from_slice("|---".repeat(columns).as_bytes());
    out.extend_from_slice(b"|\n");
}

/// Returns a text as it stands in Markdown: on one line, without HTML, links, images or emphasis of its own.
fn in_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out += "<br>",
            '\t' => out.push(' '),
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\\' | '|' | '`' | '*' | '[' | ']' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(json: &str) -> String {
        cell_text(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn a_value_becomes_one_text() {
        for (json, text) in [
            ("null", ""),
            ("[]", ""),
            ("true", "true"),
            ("-3.50", "-3.50"),
            (r#""a\nb""#, "a\nb"),
            (r#"["a","b",3,null]"#, "a b 3 "),
            (r#"["two words","b"]"#, "two words、b"),
            (r#"{"b":1,"a":[2]}"#, r#"{"b":1,"a":[2]}"#),
            (r#"[{"b":1}]"#, r#"[{"b":1}]"#),
            ("[[1]]", "[[1]]"),
            (r#""\ud800""#, r#""\ud800""#),
        ] {
            assert_eq!(cell(json), text, "{json}");
        }
    }

    #[test]
    fn a_cell_is_no_formula() {
        for text in [
            "=1+1",
            "+1",
            "-1+1",
            "-",
            "-a",
            "--1",
            "@SUM(A1)",
            "\t=1",
            "\ta",
            "\na",
            " =1",
            "\u{feff}=1",
            "\u{200e}+1",
            "＝1",
            "-1e",
            "-1.",
            "-.5",
            "-1 ",
            "-１",
        ] {
            assert_eq!(harmless(text), format!("'{text}"), "{text:?}");
        }
        for text in [
            "", "a", "1-2", "'=1", "-3.5", "-1", "-1.5e-7", "-2E+3", "a\n=1", "a\tb", "·", "——",
        ] {
            assert_eq!(harmless(text), text, "{text:?}");
        }
        assert_eq!(harmless("\r=1"), "'=1");
        assert_eq!(harmless("\u{0}\u{202e}@x\u{2069}\u{1b}[2J"), "'@x[2J");
    }

    #[test]
    fn each_form_keeps_a_cell_in_its_place() {
        let cells = [
            "=a|b\\c".to_owned(),
            "x\ty\nz \"q\",<b>&[l](u)".to_owned(),
            String::new(),
        ];
        let written = |add: fn(&[String], &mut Vec<u8>)| {
            let mut out = Vec::new();
            add(&cells, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(add_tsv), "'=a|b\\\\c\tx\\ty\\nz \"q\",<b>&[l](u)\t\n");
        assert_eq!(
            written(add_markdown),
            "| '=a\\|b\\\\c | x y<br>z \"q\",&lt;b&gt;&amp;\\[l\\](u) |  |\n"
        );
        assert_eq!(
            written(|cells, out| add_csv(cells, out).unwrap()),
            "'=a|b\\c,\"x\ty\nz \"\"q\"\",<b>&[l](u)\",\r\n"
        );
    }
}
