//! The answer to a prompt: made from its own words, and the same for the same seed and prompt.

use fastrand::Rng;
use serde_json::json;

use super::keywords::Theme;
use super::request::{Prompt, ResponseFormat};
use super::schema;
use super::tokens;

/// A finished answer, cut into pieces.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
    ends: Vec<usize>,
    /// Whether the limit of the request cut it.
    cut: bool,
}

impl Answer {
    /// Answers `prompt` in the form asked for. `target` is about how many pieces a text has, 0 for its
    /// natural length; `limit` is the most pieces the request allows.
    pub(crate) fn compose(
        prompt: &Prompt<'_>,
        format: Option<&ResponseFormat>,
        seed: u64,
        target: usize,
        limit: usize,
    ) -> Self {
        let mut rng = Rng::with_seed(prompt.seed ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let theme = Theme::of(&prompt.user);
        let marker = format!("[mock {}]", &prompt.id[..8]);
        let text = match format {
            None | Some(ResponseFormat::Text) => essay(&theme, &marker, &mut rng, target),
            Some(ResponseFormat::JsonObject) => {
                json!({ "answer": essay(&theme, &marker, &mut rng, target) }).to_string()
            }
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                schema::instance(&json_schema.schema, &theme, &marker, rng).to_string()
            }
        };
        Self::limited(text, limit)
    }

    fn limited(mut text: String, limit: usize) -> Self {
        let mut ends = tokens::piece_ends(&text);
        let cut = ends.len() > limit;
        if cut {
            ends.truncate(limit);
            text.truncate(ends.last().copied().unwrap_or(0));
        }
        Self { text, ends, cut }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many pieces the answer has, which is also its price in tokens.
    pub(crate) fn pieces(&self) -> usize {
        self.ends.len()
    }

    /// Piece `i`, or nothing behind the last.
    pub(crate) fn piece(&self, i: usize) -> &str {
        let start = if i == 0 {
            Some(0)
        } else {
            self.ends.get(i - 1).copied()
        };
        match (start, self.ends.get(i)) {
            (Some(start), Some(&end)) => &self.text[start..end],
            _ => "",
        }
    }

    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.cut { "length" } else { "stop" }
    }
}

/// An opening, a few points, a closing sentence and the marker.
fn essay(theme: &Theme<'_>, marker: &str, rng: &mut Rng, target: usize) -> String {
    let phrases = theme.language.phrases();
    let mut text = String::with_capacity(1024);
    fill(&mut text, phrases.opening, theme, rng);
    if target == 0 {
        for _ in 0..rng.usize(2..=4) {
            point(&mut text, theme, rng);
        }
        fill(&mut text, phrases.closing, theme, rng);
    } else {
        let room = target.saturating_sub(tokens::piece_ends(marker).len());
        let mut pieces = tokens::piece_ends(&text).len();
        while pieces < room {
            let start = text.len();
            point(&mut text, theme, rng);
            pieces += tokens::piece_ends(&text[start..]).len();
        }
        text = Answer::limited(text, room).text;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(marker);
    text
}

fn point(text: &mut String, theme: &Theme<'_>, rng: &mut Rng) {
    text.push_str("\n- ");
    sentence(text, theme, rng);
}

/// One sentence about two keywords of the prompt.
pub(crate) fn sentence(text: &mut String, theme: &Theme<'_>, rng: &mut Rng) {
    let points = theme.language.phrases().points;
    fill(text, points[rng.usize(..points.len())], theme, rng);
}

/// A few words that name two keywords of the prompt.
pub(crate) fn title(theme: &Theme<'_>, rng: &mut Rng) -> String {
    let titles = theme.language.phrases().titles;
    let mut text = String::new();
    fill(&mut text, titles[rng.usize(..titles.len())], theme, rng);
    text
}

/// Two different keywords; a theme has at least two.
pub(crate) fn two_keywords<'t>(theme: &'t Theme<'_>, rng: &mut Rng) -> (&'t str, &'t str) {
    let count = theme.keywords.len();
    let first = rng.usize(..count);
    let second = (first + rng.usize(1..count)) % count;
    (&theme.keywords[first], &theme.keywords[second])
}

fn fill(text: &mut String, template: &str, theme: &Theme<'_>, rng: &mut Rng) {
    let keywords = two_keywords(theme, rng);
    fill_with(text, template, &theme.subject, keywords);
}

/// Adds `template` with the subject and two keywords in its slots.
pub(crate) fn fill_with(text: &mut String, template: &str, subject: &str, (a, b): (&str, &str)) {
    let mut parts = template.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (slot, rest) = part.split_at(1);
        text.push_str(match slot {
            "a" => a,
            "b" => b,
            _ => subject,
        });
        text.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::request::ChatRequest;

    fn answer(body: &str, seed: u64, target: usize, limit: usize) -> Answer {
        let request = ChatRequest::parse(body.as_bytes()).expect("a request");
        let prompt = request.prompt().expect("a prompt");
        Answer::compose(&prompt, request.response_format.as_ref(), seed, target, limit)
    }

    const ENGLISH: &str = r#"{"messages":[{"role":"user","content":"Compare heat pumps with gas boilers"}]}"#;
    const CHINESE: &str = r#"{"messages":[{"role":"user","content":"比较热泵与燃气锅炉"}]}"#;

    #[test]
    fn the_same_seed_and_prompt_give_the_same_text() {
        let first = answer(ENGLISH, 1, 0, usize::MAX);
        assert_eq!(first.text(), answer(ENGLISH, 1, 0, usize::MAX).text());
        assert_ne!(first.text(), answer(ENGLISH, 2, 0, usize::MAX).text());
        assert!(
            first.text().contains("Compare heat pumps with gas boilers") && first.text().contains("boilers")
        );
        assert!(first.text().ends_with(']') && first.text().contains(" [mock "));
    }

    #[test]
    fn the_answer_speaks_the_language_of_the_question() {
        let text = answer(CHINESE, 1, 0, usize::MAX).text().to_owned();
        assert!(text.starts_with("关于“比较热泵与燃气锅炉”"), "{text}");
    }

    #[test]
    fn pieces_are_the_text() {
        for body in [ENGLISH, CHINESE] {
            let answer = answer(body, 1, 0, usize::MAX);
            let joined: String = (0..answer.pieces()).map(|i| answer.piece(i)).collect();
            assert_eq!(joined, answer.text());
        }
    }

    #[test]
    fn a_json_object_holds_the_same_answer_under_one_name() {
        let object = CHINESE.replacen('{', r#"{"response_format":{"type":"json_object"},"#, 1);
        let value: serde_json::Value =
            serde_json::from_str(answer(&object, 1, 0, usize::MAX).text()).expect("JSON");
        assert_eq!(value, json!({"answer": answer(CHINESE, 1, 0, usize::MAX).text()}));
    }

    #[test]
    fn length_can_be_asked_for_and_limited() {
        for target in [1, 5, 40, 1000] {
            let answer = answer(ENGLISH, 1, target, usize::MAX);
            assert!(
                answer.pieces().abs_diff(target) <= 3,
                "expected {target}, got {}",
                answer.pieces()
            );
            assert!(answer.text().ends_with(']'));
        }
        let cut = answer(ENGLISH, 1, 40, 7);
        assert_eq!((cut.pieces(), cut.finish_reason()), (7, "length"));
        assert_eq!(answer(ENGLISH, 1, 40, 0).text(), "");
    }
}
