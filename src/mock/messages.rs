//! The part of a Messages request that decides its answer.
//!
//! The prompt is the same as that of a Chat Completions request with the same texts: `system` is its first message, and
//! the text blocks of a message are one text.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer_request::AnswerRequest;
use super::prompt::ReceivedPrompt;
use super::prompt_cache::CachedPrefix;
use super::request::{ReceivedSchema, ResponseFormat};
use super::samples;
use super::tokens;

/// A Messages request in the form of the body.
#[derive(Deserialize)]
pub(crate) struct MessagesRequest<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(default)]
    system: Value,
    messages: Option<Vec<Value>>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    #[serde(default)]
    tools: Vec<ReceivedTool>,
    tool_choice: Option<ToolChoice>,
    output_config: Option<ReceivedOutputConfig>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    // Fields of Chat Completions, which are refused.
    seed: Option<IgnoredAny>,
    response_format: Option<IgnoredAny>,
    stream_options: Option<IgnoredAny>,
    max_completion_tokens: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ReceivedTool {
    name: String,
    #[serde(default)]
    input_schema: Value,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice {
    Auto,
    Any,
    None,
    Tool { name: String },
}

#[derive(Deserialize)]
struct ReceivedOutputConfig {
    format: Option<OutputFormat>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputFormat {
    JsonSchema { schema: Value },
}

impl<'a> MessagesRequest<'a> {
    /// Reads a body. The error is the message that a provider would send.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("The request body is not valid: {error}"))
    }

    /// Checks the request. The error is the message that a provider would send.
    pub(crate) fn checked(mut self) -> Result<AnswerRequest<'a>, String> {
        self.refuse_foreign_fields()?;
        let limit = self.max_tokens.ok_or("max_tokens: Field required")?;
        let messages = self.messages.take().ok_or("messages: Field required")?;
        if messages.is_empty() {
            return Err("messages: at least one message is required".to_owned());
        }
        let wrong = messages
            .iter()
            .position(|message| message["role"] != "user" && message["role"] != "assistant");
        if let Some(place) = wrong {
            return Err(format!(
                "messages.{place}.role: Input should be 'user' or 'assistant'"
            ));
        }
        let prefix = prefix(&self.system, &messages);
        let prompt = ReceivedPrompt::from_values(&canonical(&self.system, &messages))
            .map_err(|error| format!("messages: {error}"))?
            .ok_or("messages: at least one message is required")?;
        let tool = self.forced_tool()?;
        let schema = match (&tool, self.output_config.and_then(|config| config.format)) {
            (Some(tool), _) => Some(tool.input_schema.clone()),
            (None, Some(OutputFormat::JsonSchema { schema })) => Some(schema),
            (None, None) => None,
        };
        let name = samples::action_of(&text_of(&self.system)).unwrap_or_default();
        let format = schema.map(|schema| named(name, schema));
        Ok(AnswerRequest {
            prompt,
            model: self.model,
            stream: self.stream.unwrap_or(false),
            include_usage: true,
            format,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            tool: tool.map(|tool| tool.name),
            prefix,
            metadata: self.metadata,
        })
    }

    /// Refuses fields of Chat Completions, because the API refuses unknown fields.
    fn refuse_foreign_fields(&self) -> Result<(), String> {
        let fields = [
            ("seed", &self.seed),
            ("response_format", &self.response_format),
            ("stream_options", &self.stream_options),
            ("max_completion_tokens", &self.max_completion_tokens),
        ];
        match fields.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(format!("{name}: Extra inputs are not permitted")),
            None => Ok(()),
        }
    }

    /// Returns the tool that the answer must call.
    fn forced_tool(&mut self) -> Result<Option<ReceivedTool>, String> {
        let place = match &self.tool_choice {
            None | Some(ToolChoice::Auto | ToolChoice::None) => return Ok(None),
            Some(ToolChoice::Any) => (!self.tools.is_empty()).then_some(0),
            Some(ToolChoice::Tool { name }) => self.tools.iter().position(|tool| tool.name == *name),
        };
        let place = place.ok_or("tool_choice: Tool not found in provided tools")?;
        Ok(Some(self.tools.swap_remove(place)))
    }
}

fn named(name: &str, schema: Value) -> ResponseFormat {
    let name = name.to_owned();
    ResponseFormat::JsonSchema {
        json_schema: ReceivedSchema { name, schema },
    }
}

/// Returns the messages in the form of Chat Completions.
fn canonical(system: &Value, messages: &[Value]) -> Vec<Value> {
    let system = text_of(system);
    let system = (!system.is_empty()).then(|| json!({"role": "system", "content": system}));
    let messages = messages
        .iter()
        .map(|message| json!({"role": message["role"], "content": text_of(&message["content"])}));
    system.into_iter().chain(messages).collect()
}

/// Returns the text of a content: a string, or the joined texts of its blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(text_of_block).collect(),
        _ => String::new(),
    }
}

fn text_of_block(block: &Value) -> String {
    match block["type"].as_str() {
        Some("text") => block["text"].as_str().unwrap_or_default().to_owned(),
        Some("tool_use") => block["input"].to_string(),
        Some("tool_result") => text_of(&block["content"]),
        _ => String::new(),
    }
}

/// Returns the beginning of the prompt up to the last block that has `cache_control`.
fn prefix(system: &Value, messages: &[Value]) -> Option<CachedPrefix> {
    let contents = std::iter::once(system).chain(messages.iter().map(|message| &message["content"]));
    let (mut hash, mut tokens, mut found) = (Sha256::new(), 0, None);
    for content in contents {
        let blocks = content
            .as_array()
            .map_or(std::slice::from_ref(content), Vec::as_slice);
        for block in blocks {
            let text = block.as_str().map_or_else(|| text_of_block(block), str::to_owned);
            hash.update(&text);
            tokens += tokens::count(&text);
            if block.get("cache_control").is_some_and(Value::is_object) {
                let digest: [u8; 32] = hash.clone().finalize().into();
                let digest = digest
                    .iter()
                    .take(8)
                    .fold(0, |digest, &byte| digest << 8 | u64::from(byte));
                found = Some(CachedPrefix { digest, tokens });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::request::ReceivedChat;
    use super::*;

    fn checked(body: &Value) -> Result<(String, u64), String> {
        let body = body.to_string();
        let request = MessagesRequest::parse(body.as_bytes())?.checked()?;
        Ok((request.prompt.id, request.prompt.input_tokens))
    }

    #[test]
    fn the_same_texts_are_the_same_prompt_in_both_dialects() {
        let chat =
            json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "ab"}]});
        let chat = chat.to_string();
        let chat = ReceivedChat::parse(chat.as_bytes()).expect("a request");
        let chat = chat.checked().expect("a prompt").prompt;
        let blocks = json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "b"}]);
        for (system, user) in [
            (json!("s"), json!("ab")),
            (json!([{"type": "text", "text": "s"}]), blocks),
        ] {
            let body =
                json!({"max_tokens": 1, "system": system, "messages": [{"role": "user", "content": user}]});
            assert_eq!(checked(&body), Ok((chat.id.clone(), chat.input_tokens)));
        }
    }

    #[test]
    fn wrong_requests_are_refused() {
        let user = json!([{"role": "user", "content": "hi"}]);
        for (body, message) in [
            (json!({"messages": user}), "max_tokens: Field required"),
            (json!({"max_tokens": 1}), "messages: Field required"),
            (
                json!({"max_tokens": 1, "messages": []}),
                "messages: at least one message is required",
            ),
            (
                json!({"max_tokens": 1, "messages": [{"role": "system", "content": "s"}]}),
                "messages.0.role: Input should be 'user' or 'assistant'",
            ),
            (
                json!({"max_tokens": 1, "messages": user, "seed": 1}),
                "seed: Extra inputs are not permitted",
            ),
            (
                json!({"max_tokens": 1, "messages": user, "tool_choice": {"type": "tool", "name": "x"}}),
                "tool_choice: Tool not found in provided tools",
            ),
        ] {
            assert_eq!(checked(&body), Err(message.to_owned()));
        }
    }

    #[test]
    fn the_cached_beginning_ends_at_the_last_mark() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let mut marked = text("four");
        marked["cache_control"] = json!({"type": "ephemeral"});
        let of = |system: Value, user: Value| prefix(&system, &[json!({"role": "user", "content": user})]);
        assert_eq!(of(json!("four"), json!("four")), None);
        let one = of(json!([marked]), json!("one"));
        assert_eq!(one.map(|prefix| prefix.tokens), Some(1));
        assert_eq!(one, of(json!([marked]), json!("two")));
        let both = of(json!([marked]), json!([marked, text("more")]));
        assert_eq!(both.map(|prefix| prefix.tokens), Some(2));
    }
}
