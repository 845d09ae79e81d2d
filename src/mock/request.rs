//! The part of a Chat Completions request that decides its answer. Parsing borrows from the body if possible.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer_request::AnswerRequest;
use super::prompt::ReceivedPrompt;

/// A chat request in the form of the body.
#[derive(Deserialize)]
pub(crate) struct ReceivedChat<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<ReceivedStreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    response_format: Option<ResponseFormat>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReceivedStreamOptions {
    include_usage: Option<bool>,
}

/// The form of the answer.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: ReceivedSchema },
}

#[derive(Deserialize)]
pub(crate) struct ReceivedSchema {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) schema: Value,
}

impl<'a> ReceivedChat<'a> {
    /// Reads a body. The error is the message that a provider would send.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body)
            .map_err(|error| format!("We could not parse the JSON body of your request: {error}."))
    }

    /// Checks the request. The error is the message that a provider would send.
    pub(crate) fn checked(self) -> Result<AnswerRequest<'a>, String> {
        let prompt = self.prompt()?;
        let include_usage = self.include_usage();
        let limit = self.max_completion_tokens.or(self.max_tokens);
        Ok(AnswerRequest {
            prompt,
            model: self.model,
            stream: self.stream.unwrap_or(false),
            include_usage,
            limit: limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            format: self.response_format,
            tool: None,
            prefix: None,
            metadata: self.metadata,
        })
    }

    fn prompt(&self) -> Result<ReceivedPrompt<'a>, String> {
        let messages = self.messages.ok_or("Missing required parameter: 'messages'.")?;
        let prompt = ReceivedPrompt::read(messages)
            .map_err(|error| format!("Invalid type for 'messages': {error}."))?;
        prompt
            .ok_or_else(|| "Invalid 'messages': empty array. Expected an array with minimum length 1.".into())
    }

    fn include_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::prompt::prompt_id;
    use super::*;
    use serde_json::json;

    fn prompt_of(body: &str) -> (String, String, u64) {
        let request = ReceivedChat::parse(body.as_bytes()).expect("a request");
        let prompt = request.checked().expect("a prompt").prompt;
        (prompt.id, prompt.user.into_owned(), prompt.input_tokens)
    }

    #[test]
    fn one_id_for_all_ways_to_write_a_prompt() {
        let id = prompt_id(&json!([{"role": "user", "content": "a\nb/é"}]));
        for body in [
            r#"{"messages":[{"role":"user","content":"a\nb/é"}]}"#,
            r#"{"messages":[ {"content":"a\nb\/\u00e9", "role":"user"} ]}"#,
            r#"{"model":"m","messages":[{"content":"a\nb/é","role":"\u0075ser"}]}"#,
        ] {
            assert_eq!(prompt_of(body), (id.clone(), "a\nb/é".to_owned(), 6), "{body}");
        }
    }

    #[test]
    fn the_id_is_the_hash_of_the_sorted_compact_messages() {
        // printf '%s' '[{"content":"hi","role":"user"}]' | sha256sum
        let (id, ..) = prompt_of(r#"{"messages":[{"role":"user","content":"hi"}]}"#);
        assert_eq!(id, "4e79873118cd9be7");
    }

    #[test]
    fn the_last_user_message_is_the_question() {
        let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"one"},
            {"role":"user","content":[{"type":"text","text":"two"},{"type":"image_url"}]},
            {"role":"assistant","content":null,"tool_calls":[]}]}"#;
        assert_eq!(prompt_of(body).1, "two");
    }

    #[test]
    fn wrong_requests_are_told_apart() {
        assert!(ReceivedChat::parse(b"{").is_err());
        for body in [r#"{"model":"m"}"#, r#"{"messages":[]}"#, r#"{"messages":"hi"}"#] {
            assert!(
                ReceivedChat::parse(body.as_bytes())
                    .expect("JSON")
                    .checked()
                    .is_err(),
                "{body}"
            );
        }
    }
}
