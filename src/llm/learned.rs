//! The lessons from a route's refusals: how the route can be called.
//!
//! A server may refuse a part of a call: the form of the answer, the token limit, or a field name. The call is then
//! made again without that part, and so is every later call of the route. Each lesson leaves fewer parts to refuse, so
//! the repetition ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refusal::RefusedPart;
use super::wire::CallError;
use crate::config::{self, Dialect, Structured};

/// The smallest useful token limit of an answer. A refusal below it teaches nothing.
pub(super) const SHORTEST: u32 = 256;

/// The two names of the field for the token limit.
const LONGEST_FIELDS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// The manner of an agent's call: the parts that a lesson may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manner {
    /// How the call enforces the form of the answer; `Prompt` if only the prompt describes it.
    pub(super) structured: Structured,
    /// The token limit of the answer.
    pub(super) longest: u32,
    /// The field that holds the token limit.
    pub(super) longest_field: String,
    /// The largest number of tokens of the prompt.
    pub(super) prompt_tokens: u64,
    /// The names of optional fields that were left out.
    pub(super) left_out: Vec<&'static str>,
    /// The names of optional fields that were sent.
    pub(super) sent: Vec<&'static str>,
}

/// The lesson of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// A new lesson, with a message for people.
    New(String),
    /// An earlier refusal has taught it already.
    Known,
}

/// The lessons of a route.
#[derive(Debug)]
pub(super) struct LearnedManner(Mutex<Lessons>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Lessons {
    structured: Structured,
    longest: Option<u32>,
    /// The window of prompt and answer together, in tokens.
    window: Option<u64>,
    field: String,
    has_other_field: bool,
    left_out: Vec<&'static str>,
}

impl LearnedManner {
    pub(super) fn new(settings: &config::RouteSettings) -> Self {
        Self(Mutex::new(Lessons {
            structured: settings.structured,
            longest: None,
            window: None,
            field: settings.token_field.clone(),
            // Anthropic's API has one name for the field.
            has_other_field: settings.dialect == Dialect::Anthropic,
            left_out: Vec::new(),
        }))
    }

    /// Returns the manner for a call with this token limit, this prompt size and this way to enforce the form.
    pub(super) fn manner(&self, longest: u32, prompt_tokens: u64, structured: Structured) -> Manner {
        let lessons = self.lessons();
        let room = lessons
            .window
            .map_or(u64::MAX, |window| window.saturating_sub(prompt_tokens));
        let room = u32::try_from(room).unwrap_or(u32::MAX).max(SHORTEST);
        Manner {
            structured,
            longest: longest.min(lessons.longest.unwrap_or(u32::MAX)).min(room),
            longest_field: lessons.field.clone(),
            prompt_tokens,
            left_out: lessons.left_out.clone(),
            sent: Vec::new(),
        }
    }

    /// Returns how the route enforces the form of an answer now.
    pub(super) fn structured(&self) -> Structured {
        self.lessons().structured
    }

    /// Learns from a refusal. Returns the lesson if the call must be made again in another manner. Calls that were
    /// refused at the same time learn the same lesson.
    pub(super) fn learn(&self, error: &CallError, asked: &Manner) -> Option<Lesson> {
        let refused = RefusedPart::refused_by(error, asked)?;
        let mut lessons = self.lessons();
        let before = lessons.clone();
        let what = lessons.take(refused, asked)?;
        Some(if *lessons == before {
            Lesson::Known
        } else {
            Lesson::New(what)
        })
    }

    fn lessons(&self) -> MutexGuard<'_, Lessons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lessons {
    /// Applies a lesson. Returns its message; `None` if no other manner is left.
    fn take(&mut self, refused: RefusedPart, asked: &Manner) -> Option<String> {
        match refused {
            RefusedPart::Form => {
                let below = match asked.structured {
                    Structured::JsonSchema => Structured::JsonObject,
                    Structured::JsonObject => Structured::Prompt,
                    Structured::Prompt => return None,
                };
                self.structured = self.structured.max(below);
                Some(
                    "refuses the form of the answer, it is asked for in a simpler way from now on".to_owned(),
                )
            }
            RefusedPart::LongestField => {
                if self.field == asked.longest_field {
                    if self.has_other_field {
                        return None;
                    }
                    let other = LONGEST_FIELDS.iter().find(|name| **name != asked.longest_field)?;
                    (*other).clone_into(&mut self.field);
                    self.has_other_field = true;
                }
                Some(format!(
                    "refuses `{}`, it is asked with `{}` from now on (`token_field`)",
                    asked.longest_field, self.field
                ))
            }
            RefusedPart::Longest(most) => {
                let most = most.unwrap_or(asked.longest / 2);
                if most < SHORTEST || most >= asked.longest {
                    return None;
                }
                self.longest = Some(self.longest.map_or(most, |longest| longest.min(most)));
                Some(format!(
                    "refuses an answer of {} tokens, it is asked for at most {most} from now on (`max_tokens`)",
                    asked.longest
                ))
            }
            RefusedPart::Window { window, prompt } => {
                let room = window.saturating_sub(prompt.unwrap_or(asked.prompt_tokens));
                if room < u64::from(SHORTEST) || room >= u64::from(asked.longest) {
                    return None;
                }
                // The server counts the prompt in its own way. Tokens beyond our estimate are subtracted from the
                // window.
                let more = prompt.unwrap_or(0).saturating_sub(asked.prompt_tokens);
                let window = window.saturating_sub(more);
                self.window = Some(self.window.map_or(window, |known| known.min(window)));
                Some(format!(
                    "has a window of {window} tokens, it is asked for answers that fit it from now on (`context_window`)"
                ))
            }
            RefusedPart::Optional(name) => {
                if asked.left_out.contains(&name) {
                    return None;
                }
                if !self.left_out.contains(&name) {
                    self.left_out.push(name);
                }
                Some(format!("refuses `{name}`, it is asked without it from now on"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{Class, Verdict};

    fn learned() -> LearnedManner {
        LearnedManner(Mutex::new(Lessons {
            structured: Structured::JsonSchema,
            longest: None,
            window: None,
            field: "max_completion_tokens".to_owned(),
            has_other_field: false,
            left_out: Vec::new(),
        }))
    }

    fn refused(status: u16, message: &str) -> CallError {
        let mut error = CallError::new(Class::BadRequest, Verdict::Final, message);
        error.status = Some(status);
        error
    }

    #[test]
    fn the_longest_answer_comes_down_to_what_the_server_names() {
        for (said, most) in [
            (
                "max_tokens is too large: 12000. This model supports at most 4096 completion tokens, whereas you provided 12000.",
                4096,
            ),
            (
                "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
                8192,
            ),
            ("Range of max_tokens should be [1, 8192]", 8192),
            (
                "max_tokens: 12000 > 8192, which is the maximum allowed number of output tokens",
                8192,
            ),
            (
                "max_output_tokens: the supported range is from 1 (inclusive) to 8193 (exclusive)",
                8192,
            ),
            (
                "`max_completion_tokens` must be less than or equal to `8,192`",
                8192,
            ),
            ("max_tokens 参数非法", 6000),
        ] {
            let learned = learned();
            let asked = learned.manner(12_000, 100, Structured::Prompt);
            assert!(
                matches!(learned.learn(&refused(400, said), &asked), Some(Lesson::New(_))),
                "{said}"
            );
            assert_eq!(
                learned.manner(12_000, 100, Structured::Prompt).longest,
                most,
                "{said}"
            );
            assert_eq!(
                learned.manner(1000, 100, Structured::Prompt).longest,
                1000,
                "{said}"
            );
            // A call that was sent before the lesson is made again, and no message is repeated.
            assert_eq!(
                learned.learn(&refused(400, said), &asked),
                Some(Lesson::Known),
                "{said}"
            );
        }
    }

    #[test]
    fn a_window_leaves_room_for_the_prompt_of_each_call() {
        for said in [
            "This model's maximum context length is 8192 tokens. However, you requested 12100 tokens (100 in the messages, 12000 in the completion).",
            "input length and `max_tokens` exceed context limit: 120 + 12000 > 8192, decrease input length or `max_tokens` and try again",
            "'max_tokens' is too large: 12000. This model's maximum context length is 8192 tokens and your request has 100 input tokens (12000 > 8192 - 100).",
        ] {
            let learned = learned();
            let asked = learned.manner(12_000, 120, Structured::Prompt);
            assert!(learned.learn(&refused(400, said), &asked).is_some(), "{said}");
            assert_eq!(
                learned.manner(12_000, 120, Structured::Prompt).longest,
                8072,
                "{said}"
            );
            assert_eq!(
                learned.manner(12_000, 4096, Structured::Prompt).longest,
                4096,
                "{said}"
            );
        }
        let learned = learned();
        let asked = learned.manner(2000, 8500, Structured::Prompt);
        let said = "This model's maximum context length is 8192 tokens. However, you requested 10500 tokens (8500 in the messages, 2000 in the completion).";
        assert_eq!(
            learned.learn(&refused(400, said), &asked),
            None,
            "the prompt is too long by itself"
        );
    }

    #[test]
    fn a_field_is_swapped_once() {
        let learned = learned();
        let said = |field: &str| {
            refused(
                422,
                &format!(
                    r#"[{{"type":"extra_forbidden","loc":["body","{field}"],"msg":"Extra inputs are not permitted"}}]"#
                ),
            )
        };
        let asked = learned.manner(2000, 100, Structured::Prompt);
        assert!(learned.learn(&said("max_completion_tokens"), &asked).is_some());
        let asked = learned.manner(2000, 100, Structured::Prompt);
        assert_eq!(asked.longest_field, "max_tokens");
        assert_eq!(learned.learn(&said("max_tokens"), &asked), None);
    }

    #[test]
    fn an_optional_field_is_left_out() {
        let learned = learned();
        let said = refused(400, "Unrecognized request argument supplied: stream_options");
        let mut asked = learned.manner(2000, 100, Structured::Prompt);
        assert_eq!(learned.learn(&said, &asked), None, "it was not sent");
        asked.sent = vec!["stream_options"];
        assert!(learned.learn(&said, &asked).is_some());
        let asked = learned.manner(2000, 100, Structured::Prompt);
        assert_eq!(asked.left_out, ["stream_options"]);
        assert_eq!(learned.learn(&said, &asked), None);
    }

    #[test]
    fn a_form_is_refused_in_many_words_and_with_any_status() {
        for (status, said) in [
            (
                400,
                "The provided JSON schema contains features not supported by xgrammar.",
            ),
            (500, "Failed to initialize samplers: failed to parse grammar"),
            (400, "Grammar error: Unimplemented keys: [\"minItems\"]"),
            (404, "No endpoints found that support structured outputs"),
            (400, "Json mode is not supported for this model."),
            (501, "guided decoding is off"),
            (422, "response_format.type: Input should be 'text'"),
            (400, "output_config: Extra inputs are not permitted"),
            (400, "'claude-3-haiku' does not support output format."),
            (
                400,
                "output_config.format.schema: For 'array' type, property 'minItems' is not supported",
            ),
            (
                400,
                "Thinking may not be enabled when tool_choice forces tool use.",
            ),
            (400, "tools.0.custom.input_schema.type: Field required"),
        ] {
            let learned = learned();
            let asked = learned.manner(2000, 100, learned.structured());
            assert!(learned.learn(&refused(status, said), &asked).is_some(), "{said}");
            let asked = learned.manner(2000, 100, learned.structured());
            assert_eq!(asked.structured, Structured::JsonObject, "{said}");
            assert!(learned.learn(&refused(status, said), &asked).is_some(), "{said}");
            let asked = learned.manner(2000, 100, learned.structured());
            assert_eq!(asked.structured, Structured::Prompt, "{said}");
            assert_eq!(learned.learn(&refused(status, said), &asked), None, "{said}");
        }
        let learned = learned();
        let asked = learned.manner(2000, 100, learned.structured());
        for (status, said) in [
            (401, "the key has no access to response_format"),
            (429, "too many requests with a json_schema"),
            (400, "Model Not Exist"),
        ] {
            assert_eq!(learned.learn(&refused(status, said), &asked), None, "{said}");
        }
        // A sample that does not fit the form is not a refusal of the form.
        let mut failed = refused(400, "Failed to generate JSON that fits the json_schema");
        failed.class = Class::Schema;
        assert_eq!(learned.learn(&failed, &asked), None);
    }
}
