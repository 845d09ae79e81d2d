//! A request to a model, independent of the dialect, and an estimate of its size.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::request::Endpoint;

/// A request to a model. The conversation is borrowed: a dialect writes the body when the call is sent, and drops it
/// after that.
#[derive(Debug, Clone, Copy)]
pub enum ModelRequest<'a> {
    /// A chat, which every dialect can write.
    Chat(ChatRequest<'a>),
    /// A Batch line, whose body is sent unchanged where possible.
    Verbatim(VerbatimRequest<'a>),
}

/// A chat.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// The form of the answer; `None` for free text.
    pub schema: Option<OutputSchema<'a>>,
    /// The token limit of the answer.
    pub longest: u32,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Tools that the model may call.
    pub tools: &'a [Tool],
}

/// The form that an answer must have. The route decides how to enforce it, by its settings and by its server's
/// refusals.
#[derive(Debug, Clone, Copy)]
pub struct OutputSchema<'a> {
    /// Its name: letters, digits, `_` and `-`.
    pub name: &'a str,
    /// The JSON schema in its written form.
    pub schema: &'a RawValue,
    /// The prompt text in front of the schema, for a server that does not get the schema as a field.
    pub instruction: &'a str,
}

/// A tool that a model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// The description of the tool.
    pub description: String,
    /// The JSON schema of its arguments.
    pub parameters: Box<RawValue>,
}

/// Sampling parameters of a model. An absent parameter is not sent, because some models refuse its mere presence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Seed.
    pub seed: Option<i64>,
}

/// A Batch line.
#[derive(Debug, Clone, Copy)]
pub struct VerbatimRequest<'a> {
    /// The body, in OpenAI's dialect.
    pub body: &'a str,
    /// The endpoint of the call.
    pub endpoint: Endpoint,
    /// Whether the body requests a stream.
    pub streams: bool,
    /// Whether the route's model replaces the model of the body.
    pub to_model_of_route: bool,
}

/// The role of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Returns the name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The role of its author.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// Estimates the tokens of a text, on the high side: 1.1 for each character beyond ASCII, and one for three ASCII
/// characters.
///
/// Current tokenizers make one token of four English characters, and less than one token of a Chinese character. A
/// limiter that reserves too much gives the rest back; one that reserves too little gets a 429.
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    // Each character has one byte that is not a continuation byte.
    let chars = text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64;
    let wide = chars - ascii;
    (33 * wide + 10 * ascii).div_ceil(30)
}

/// Estimates the tokens of a conversation as a prompt, including the framing of each message in the chat format.
pub fn estimate_messages(messages: &[Message]) -> u64 {
    const PER_MESSAGE: u64 = 4;
    const REPLY_PRIMING: u64 = 3;
    let texts: u64 = messages
        .iter()
        .map(|message| estimate_tokens(&message.content) + PER_MESSAGE)
        .sum();
    texts + REPLY_PRIMING
}
