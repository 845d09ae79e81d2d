//! A prompt without its scaffolding: what its parts say, line by line.
//!
//! A prompt may consist of parts under headings, each text between two fences, `<<<name` before it and
//! `name>>>` behind it; the last part is the task. Headings and fences are instructions to a reader, not
//! a theme, and so are the markers of answers that the prompt quotes: none of them is told here.

/// What the parts of a prompt say.
#[derive(Debug)]
pub(crate) struct Material<'a> {
    /// The first one begins before the first heading.
    parts: Vec<Vec<&'a str>>,
    /// The first id of an item between fences.
    item: Option<&'a str>,
}

impl<'a> Material<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let (mut fenced, mut item) = (false, None);
        for line in text.lines().map(str::trim) {
            if is_fence(line) {
                fenced = line.starts_with(OPENING) && !line.ends_with(CLOSING);
            } else if is_heading(line) {
                // A quoted text may have headings of its own; they begin no part of the prompt.
                if !fenced {
                    parts.push(std::mem::take(&mut part));
                }
            } else {
                let start = part.len();
                let line = if fenced { unnamed(line) } else { line };
                part.extend(unmarked(line).filter(|piece| !piece.is_empty()));
                let told = if fenced { &part[start..] } else { &[] };
                item = item.or_else(|| told.iter().find_map(|piece| item_id(piece)));
            }
        }
        parts.push(part);
        parts.retain(|part| !part.is_empty());
        Self { parts, item }
    }

    /// The lines of each part that has any; the last of them is what is asked.
    pub(crate) fn parts(&self) -> &[Vec<&'a str>] {
        &self.parts
    }

    /// The first id of an item, as in `insight1`, that stands between fences.
    pub(crate) fn item(&self) -> Option<&'a str> {
        self.item
    }
}

const OPENING: &str = "<<<";
const CLOSING: &str = ">>>";

fn is_fence(line: &str) -> bool {
    line.starts_with(OPENING) || line.ends_with(CLOSING)
}

/// Whether `line` is a heading: `#防晒` is a hashtag, which says something.
fn is_heading(line: &str) -> bool {
    let title = line.trim_start_matches('#');
    title.len() < line.len() && (title.is_empty() || title.starts_with(char::is_whitespace))
}

/// A line of an item without the name of its field: `basis: …` says only what follows.
fn unnamed(line: &str) -> &str {
    match line.split_once(": ") {
        Some((name, value))
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
        {
            value
        }
        _ => line,
    }
}

/// What stands around the markers in `line`.
fn unmarked(line: &str) -> impl Iterator<Item = &str> {
    line.split("[mock ").enumerate().map(|(i, piece)| {
        // Eight digits of the prompt's id and the closing bracket.
        let marked = i > 0 && piece.as_bytes().get(8) == Some(&b']');
        if marked { &piece[9..] } else { piece }.trim()
    })
}

/// The first word of `line` that is the id of an item.
fn item_id(line: &str) -> Option<&str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .find(|word| is_item_id(word))
}

/// Whether `word` is formed like the id of an item: letters of a type, then a number, as in `xhs_post2`.
pub(crate) fn is_item_id(word: &str) -> bool {
    // Shorter ones are rarely types of items, and often products: `mp3`, `ps5`, `top10`.
    const SHORTEST_TYPE: usize = 4;
    let kind = word.trim_end_matches(|c: char| c.is_ascii_digit());
    kind.len() < word.len()
        && kind.len() >= SHORTEST_TYPE
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "Be brief.\n# 背景\n<<<background\n母婴\n# 旧标题\n新锐品牌 [mock 1234abcd]\nbackground>>>\n\
        ## 结果\n<<<results\ntop10 与 xhs_post2 和 insight1\nresults>>>\n# 任务\n<<<task\n#防晒 #通勤\ntask>>>\n";

    #[test]
    fn fences_headings_and_markers_are_not_told() {
        let material = Material::read(PROMPT);
        let expected: &[&[&str]] = &[
            &["Be brief."],
            &["母婴", "新锐品牌"],
            &["top10 与 xhs_post2 和 insight1"],
            &["#防晒 #通勤"],
        ];
        assert_eq!(material.parts(), expected);
        assert_eq!(Material::read("<<<a>>>\n# b\nc").parts(), [["c"]]);
    }

    #[test]
    fn an_item_is_found_between_fences_only() {
        assert_eq!(Material::read(PROMPT).item(), Some("xhs_post2"));
        for text in [
            "insight1",
            "<<<a\nnone\na>>>\ninsight1",
            "<<<a\nspf50 mp3 Insight1 insight1x [mock abcdef12]\na>>>",
        ] {
            assert_eq!(Material::read(text).item(), None, "{text}");
        }
    }
}
