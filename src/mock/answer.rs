//! The answer to a prompt. Equal seeds and prompts give equal answers.

use fastrand::Rng;
use serde_json::json;

use super::prompt::ReceivedPrompt;
use super::request::ResponseFormat;
use super::samples;
use super::schema;
use super::tokens;
use super::topic::Topic;

/// A finished answer, cut into pieces.
#[derive(Debug)]
pub(crate) struct MockAnswer {
    text: String,
    ends: Vec<usize>,
    cut: bool,
}

impl MockAnswer {
    /// Answers `prompt` in the requested form. `target` is the approximate number of pieces of a text; 0 means its
    /// natural length. `limit` is the most pieces that the request allows.
    pub(crate) fn compose(
        prompt: &ReceivedPrompt<'_>,
        format: Option<&ResponseFormat>,
        seed: u64,
        target: usize,
        limit: usize,
    ) -> Self {
        let mut rng = Rng::with_seed(prompt.seed ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let topic = Topic::of(&prompt.user);
        let marker = format!("[mock {}]", &prompt.id[..8]);
        let text = match format {
            None | Some(ResponseFormat::Text) => essay(&topic, &marker, &mut rng, target),
            Some(ResponseFormat::JsonObject) => {
                json!({ "answer": essay(&topic, &marker, &mut rng, target) }).to_string()
            }
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                let (schema, name) = (&json_schema.schema, &json_schema.name);
                schema::instance(schema, name, &topic, &marker, rng.usize(..1000)).to_string()
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

    /// Returns the number of pieces. The answer costs as many tokens.
    pub(crate) fn pieces(&self) -> usize {
        self.ends.len()
    }

    /// Returns piece `i`, or an empty text after the last one.
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

    /// Returns whether the limit of the request cut the answer.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }
}

/// Returns an opening, a few points, a closing sentence and the marker.
fn essay(topic: &Topic<'_>, marker: &str, rng: &mut Rng, target: usize) -> String {
    let row = samples::row("plain answer", topic.language).unwrap_or_default();
    let [opening, closing, points @ ..] = &row[..] else {
        return marker.to_owned();
    };
    let mut points = points.to_vec();
    rng.shuffle(&mut points);
    let natural = rng.usize(2..=3);
    let mut text = opening.replace("%s", &topic.subject) + "\n";
    let room = target.saturating_sub(tokens::piece_ends(marker).len());
    let mut pieces = tokens::piece_ends(&text).len();
    for (i, point) in points.into_iter().cycle().enumerate() {
        let enough = if target == 0 { i >= natural } else { pieces >= room };
        if enough {
            break;
        }
        let start = text.len();
        // The word makes each point different: the client stops a text that repeats itself.
        let word: String = (0..6).map(|_| rng.lowercase()).collect();
        text.push_str(&if target == 0 {
            format!("\n- {point}")
        } else {
            format!("\n- {word}: {point}")
        });
        pieces += tokens::piece_ends(&text[start..]).len();
    }
    if target == 0 {
        text.push_str("\n\n");
        text.push_str(closing);
    } else {
        text = MockAnswer::limited(text, room).text;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(marker);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::request::ReceivedChat;

    fn answer(body: &str, seed: u64, target: usize, limit: usize) -> MockAnswer {
        let request = ReceivedChat::parse(body.as_bytes()).expect("a request");
        let request = request.checked().expect("a prompt");
        MockAnswer::compose(&request.prompt, request.format.as_ref(), seed, target, limit)
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
        assert_eq!((cut.pieces(), cut.is_cut()), (7, true));
        assert_eq!(answer(ENGLISH, 1, 40, 0).text(), "");
    }
}
