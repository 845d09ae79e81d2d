//! The HTML of a page: the shell with its style and its script, and the data between them as JSON.
//!
//! The data is never HTML. The script makes elements of it and sets their texts. The policy of the page allows the
//! page's own script and style, by their digests, and nothing else: no request, no form, no frame.

use minijinja::HtmlEscape;
use sha2::{Digest, Sha256};

/// The beginning of every report. A file that begins differently is not replaced by a report.
pub const REPORT_BEGINS: &str = "<!doctype html>\n<!-- nova3 report -->\n";

const SHELL: &str = include_str!("report.html");

const STYLE: &str = include_str!("report.css");

/// The parts of the script, which share one scope.
const SCRIPT: &str = concat!(
    "'use strict';\n(function () {\n",
    include_str!("script/elements.js"),
    include_str!("script/formats.js"),
    include_str!("script/charts.js"),
    include_str!("script/figures.js"),
    include_str!("script/values.js"),
    include_str!("script/request.js"),
    include_str!("script/table.js"),
    include_str!("script/compare.js"),
    include_str!("script/page.js"),
    "}());\n",
);

/// Returns the page with this title. `data` and `details` are JSON that can stand in a `script` element; the details are
/// the entries of a list.
pub(super) fn document(title: &str, data: &str, details: &[String]) -> String {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    let title = HtmlEscape(title).to_string();
    let length = details.iter().map(|text| text.len() + 1).sum::<usize>();
    let mut page = String::with_capacity(length + data.len() + SCRIPT.len() + STYLE.len() + SHELL.len());
    page.push_str(REPORT_BEGINS);
    let mut rest = SHELL;
    for (mark, value) in [
        ("%POLICY%", policy.as_str()),
        ("%TITLE%", title.as_str()),
        ("%STYLE%", STYLE),
        ("%DATA%", data),
    ] {
        rest = put(&mut page, rest, mark, value);
    }
    rest = put(&mut page, rest, "%DETAILS%", "");
    page.push('[');
    for (place, text) in details.iter().enumerate() {
        if place > 0 {
            page.push(',');
        }
        page.push_str(text);
    }
    page.push(']');
    rest = put(&mut page, rest, "%SCRIPT%", SCRIPT);
    page.push_str(rest);
    page
}

/// Adds the shell up to the mark, and the value in place of the mark. Returns the rest of the shell.
fn put<'s>(page: &mut String, shell: &'s str, mark: &str, value: &str) -> &'s str {
    let (before, after) = shell.split_once(mark).unwrap_or((shell, ""));
    page.push_str(before);
    page.push_str(value);
    after
}

/// Returns the SHA-256 of a text in Base64, as a policy names it.
fn digest(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut encoded = String::new();
    for three in digest.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = (bits >> (18 - 6 * place)) as usize & 63;
            encoded.push(if place > three.len() {
                '='
            } else {
                char::from(LETTERS[letter])
            });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_other_programs() {
        // printf %s "alert('Hello, world.');" | openssl dgst -sha256 -binary | base64
        assert_eq!(
            digest("alert('Hello, world.');"),
            "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
        );
    }

    #[test]
    fn the_script_never_makes_html_of_a_text() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        for end in ["</script", "<!--"] {
            assert!(!SCRIPT.contains(end) && !STYLE.contains(end), "{end}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</style"));
    }

    #[test]
    fn the_title_is_text() {
        let page = document("</title><script>", "{}", &["1".to_owned(), "2".to_owned()]);
        assert!(page.starts_with(REPORT_BEGINS));
        assert!(page.contains("&lt;script&gt;") && !page.contains("</title><script>"));
        assert!(page.contains(">[1,2]</script>"));
        assert!(!page.contains("%DATA%") && !page.contains("%DETAILS%"));
    }
}
