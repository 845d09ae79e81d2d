//! What is asked of a model, in no dialect, and a guess at its size.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::request::Endpoint;

/// What is asked of a model. The conversation is borrowed: a dialect writes the body when the call is sent, and the
/// body is gone when it is sent.
#[derive(Debug, Clone, Copy)]
pub enum ModelRequest<'a> {
    /// A chat, which every dialect can write.
    Chat(ChatRequest<'a>),
    /// A Batch line, which is sent as it stands.
    Verbatim(VerbatimRequest<'a>),
}

/// A chat.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// The conversation, oldest first.
    pub messages: &'a [Message],
    /// The form of the answer; `None` for free text.
    pub schema: Option<OutputSchema<'a>>,
    /// Tokens that the answer may have at most.
    pub longest: u32,
    /// How words are drawn.
    pub sampling: Sampling,
    /// Tools that the model may call.
    pub tools: &'a [Tool],
}

/// The form that an answer must have. The route decides how it is asked for, by its settings and by what its server
/// refused.
#[derive(Debug, Clone, Copy)]
pub struct OutputSchema<'a> {
    /// Its name: letters, digits, `_` and `-`.
    pub name: &'a str,
    /// The JSON schema, as it was written.
    pub schema: &'a RawValue,
    /// What the prompt says before the schema, where the server is not given the schema.
    pub instruction: &'a str,
}

/// A tool that a model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of what it is called with.
    pub parameters: Box<RawValue>,
}

/// How a model is to draw its words. What is absent is not sent: some models refuse its mere presence.
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
    /// Where it goes.
    pub endpoint: Endpoint,
    /// Whether the body asks for a stream.
    pub streams: bool,
    /// Whether the model of the route is asked, and not the one that the body names.
    pub to_model_of_route: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Tokens a text may have, on the upper side: 1.1 for a character beyond ASCII, one for three in it.
///
/// English runs at four characters a token and Chinese below one token a character in the tokenizers in
/// use; a limiter that borrows too much gives back, one that borrows too little meets a 429.
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    // A byte that does not continue a character begins one.
    let chars = text.bytes().filter(|byte| byte & 0xc0 != 0x80).count() as u64;
    let wide = chars - ascii;
    (33 * wide + 10 * ascii).div_ceil(30)
}

/// Tokens a conversation may have as a prompt, with what the chat format wraps around each message.
pub fn estimate_messages(messages: &[Message]) -> u64 {
    const PER_MESSAGE: u64 = 4;
    const REPLY_PRIMING: u64 = 3;
    let texts: u64 = messages
        .iter()
        .map(|message| estimate_tokens(&message.content) + PER_MESSAGE)
        .sum();
    texts + REPLY_PRIMING
}
