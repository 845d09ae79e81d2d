//! A request, prepared for one route.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use reqwest::Url;

use super::{anthropic, openai};
use crate::config::{self, Dialect, Structured};
use crate::domain::request::Endpoint;
use crate::llm::learned::Manner;
use crate::llm::request::{ChatRequest, ModelRequest, VerbatimRequest, estimate_messages, estimate_tokens};
use crate::llm::route::Route;
use crate::llm::wire::CallError;

/// A request for one route. Its body is written only when the call is sent.
#[derive(Debug)]
pub(in crate::llm) struct Call<'a> {
    settings: &'a config::RouteSettings,
    content: CallContent<'a>,
    /// The model of the call, for the ledger.
    pub(in crate::llm) model: String,
    /// The tokens of the prompt and the longest answer, for the limit of tokens a minute.
    pub(in crate::llm) tokens: u64,
    /// The largest number of tokens of the answer, for a cost cap; `None` if there is no bound.
    pub(in crate::llm) longest: Option<u64>,
    /// Whether the answer is streamed.
    pub(in crate::llm) streams: bool,
}

#[derive(Debug)]
enum CallContent<'a> {
    Chat(ChatRequest<'a>, Manner),
    Line(VerbatimRequest<'a>, openai::RoutedLine<'a>),
}

impl<'a> Call<'a> {
    /// Prepares the request for this route in its present manner. With `capped`, every answer needs a bound.
    pub(in crate::llm) fn new(
        route: &'a Route,
        request: &ModelRequest<'a>,
        capped: bool,
    ) -> Result<Self, CallError> {
        match *request {
            ModelRequest::Chat(chat) => Ok(Self::chat(route, chat)),
            ModelRequest::Verbatim(line) => match route.settings.dialect {
                Dialect::OpenAi => Ok(Self::line(&route.settings, line, capped)),
                Dialect::Anthropic => Err(anthropic::batch_line(&route.settings.name)),
            },
        }
    }

    fn chat(route: &'a Route, chat: ChatRequest<'a>) -> Self {
        let settings = &route.settings;
        let structured = chat.schema.map_or(Structured::Prompt, |_| route.structured());
        let prompt_tokens = prompt_tokens(&chat, structured);
        let mut manner = route.manner(chat.longest, prompt_tokens, structured);
        manner.sent = match settings.dialect {
            Dialect::OpenAi => openai::Body::new(&chat, settings, &manner).optional_fields(),
            Dialect::Anthropic => anthropic::Body::new(&chat, settings, &manner).optional_fields(),
        };
        Self {
            settings,
            model: settings.model.clone().unwrap_or_default(),
            tokens: prompt_tokens.saturating_add(u64::from(manner.longest)),
            longest: Some(u64::from(manner.longest)),
            streams: settings.stream,
            content: CallContent::Chat(chat, manner),
        }
    }

    fn line(settings: &'a config::RouteSettings, line: VerbatimRequest<'a>, capped: bool) -> Self {
        let content = openai::RoutedLine::new(&line, settings, capped);
        Self {
            settings,
            model: content.model(),
            tokens: content.tokens(),
            longest: content.longest(),
            streams: content.streams(),
            content: CallContent::Line(line, content),
        }
    }

    /// Returns the manner of a chat, which a refusal may change. A Batch line has none.
    pub(in crate::llm) const fn manner(&self) -> Option<&Manner> {
        match &self.content {
            CallContent::Chat(_, manner) => Some(manner),
            CallContent::Line(..) => None,
        }
    }

    /// Whether it is a Batch line, whose response is passed on unchanged.
    pub(in crate::llm) const fn is_line(&self) -> bool {
        matches!(self.content, CallContent::Line(..))
    }

    /// Whether the answer must have choices.
    pub(in crate::llm) fn is_chat(&self) -> bool {
        match &self.content {
            CallContent::Chat(..) => true,
            CallContent::Line(line, _) => line.endpoint == Endpoint::Chat,
        }
    }

    /// Whether the answer holds the probabilities of its tokens, which are far larger than the text.
    pub(in crate::llm) fn has_probabilities(&self) -> bool {
        match &self.content {
            CallContent::Chat(..) => self.settings.body.contains_key("logprobs"),
            CallContent::Line(line, _) => line.body.contains("logprobs\""),
        }
    }

    /// Returns the URL of the call.
    pub(in crate::llm) fn address(&self) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let CallContent::Line(line, _) = &self.content
            && line.endpoint != Endpoint::Chat
        {
            let base = url
                .path()
                .strip_suffix(Endpoint::Chat.path())
                .unwrap_or(url.path());
            let path = format!("{base}{}", line.endpoint.path());
            url.set_path(&path);
        }
        url
    }

    /// Writes the JSON body, anew for each call.
    pub(in crate::llm) fn body(&self) -> Bytes {
        match &self.content {
            CallContent::Chat(chat, _) => {
                let texts: usize = chat.messages.iter().map(|message| message.content.len()).sum();
                let schema = chat.schema.map_or(0, |schema| schema.schema.get().len());
                // Escapes rarely add more than an eighth to a text.
                let mut body = Vec::with_capacity(texts + texts / 8 + schema + 1024);
                self.write(&mut body);
                Bytes::from(body)
            }
            CallContent::Line(_, line) => match line.body() {
                Cow::Borrowed(body) => Bytes::copy_from_slice(body),
                Cow::Owned(body) => Bytes::from(body),
            },
        }
    }

    /// Returns the size of the body. A chat is counted without being written to memory.
    pub(in crate::llm) fn body_bytes(&self) -> u64 {
        match &self.content {
            CallContent::Chat(..) => {
                let mut counted = ByteCounter(0);
                self.write(&mut counted);
                counted.0
            }
            CallContent::Line(_, line) => line.body().len() as u64,
        }
    }

    /// Writes the body. Strings, numbers and raw JSON always serialize, so an error is impossible.
    fn write(&self, to: impl io::Write) {
        if let CallContent::Chat(chat, manner) = &self.content {
            let written = match self.settings.dialect {
                Dialect::OpenAi => serde_json::to_writer(to, &openai::Body::new(chat, self.settings, manner)),
                Dialect::Anthropic => {
                    serde_json::to_writer(to, &anthropic::Body::new(chat, self.settings, manner))
                }
            };
            written.unwrap_or_default();
        }
    }
}

/// Estimates the tokens of a chat's prompt, including a schema that is sent outside of `response_format`.
fn prompt_tokens(chat: &ChatRequest<'_>, structured: Structured) -> u64 {
    let schema = chat.schema.filter(|_| structured != Structured::JsonSchema);
    let schema = schema.map_or(0, |schema| {
        estimate_tokens(schema.instruction) + estimate_tokens(schema.schema.get())
    });
    let tools: u64 = chat
        .tools
        .iter()
        .map(|tool| estimate_tokens(&tool.description) + estimate_tokens(tool.parameters.get()))
        .sum();
    estimate_messages(chat.messages) + schema + tools
}

/// Counts the written bytes.
struct ByteCounter(u64);

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
