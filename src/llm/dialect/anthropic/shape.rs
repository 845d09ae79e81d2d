//! The JSON shapes of events and whole messages, borrowed from the source text.
//!
//! Each field is read as loosely as its use allows. A wrong type in a field that is only reported must not fail the
//! answer.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::llm::wire::loose;
use crate::llm::wire::text::{Text, is_blank};

/// An event of a stream, or a whole message. Their members have different names.
#[derive(Deserialize)]
pub(super) struct MessageEvent<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    /// Of `message_start`.
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    /// Of `content_block_start`.
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    /// Of `content_block_delta` and `message_delta`.
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    /// Of `message_delta`, and of a whole message.
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

impl<'a> MessageEvent<'a> {
    /// Reads an object. serde alone would also accept an array as a struct without names.
    pub(super) fn parse(json: &'a str) -> serde_json::Result<Self> {
        if json.starts_with('{') {
            serde_json::from_str(json)
        } else {
            Err(serde::de::Error::custom("expected a JSON object"))
        }
    }

    /// Returns the type of the object, or an empty text if it has none.
    pub(super) fn kind(&self) -> &str {
        self.kind.as_ref().map_or("", |Text(kind)| kind)
    }

    /// Whether it reports an error.
    pub(super) fn is_error(&self) -> bool {
        self.kind() == "error" || self.error.is_some_and(|error| !is_blank(error))
    }

    /// Reads the members that extend a stream.
    pub(super) fn parts(&self) -> serde_json::Result<EventParts<'a>> {
        Ok(EventParts {
            message: read(self.message)?,
            block: read(self.content_block)?,
            delta: read(self.delta)?,
        })
    }

    /// Returns the blocks of a whole message; `None` if it has no content.
    pub(super) fn blocks(&self) -> serde_json::Result<Option<Vec<Block<'a>>>> {
        let Some(content) = self.content.filter(|content| content.get() != "null") else {
            return Ok(None);
        };
        if content.get().starts_with('[') {
            let blocks: Vec<&'a RawValue> = serde_json::from_str(content.get())?;
            return blocks
                .into_iter()
                .map(|block| read(Some(block)))
                .collect::<Result<_, _>>()
                .map(Some);
        }
        // Some gateways send the text alone.
        Ok(Some(vec![Block {
            kind: Some(Text("text".into())),
            text: serde_json::from_str(content.get())?,
            ..Block::default()
        }]))
    }
}

/// The members that extend a stream: the new message without its content, a new block, or a piece.
pub(super) struct EventParts<'a> {
    pub(super) message: MessageHead<'a>,
    pub(super) block: Block<'a>,
    pub(super) delta: Delta<'a>,
}

/// A whole message.
pub(super) struct WholeMessage<'a> {
    pub(super) event: MessageEvent<'a>,
    pub(super) message: MessageHead<'a>,
    pub(super) blocks: Option<Vec<Block<'a>>>,
}

impl<'a> WholeMessage<'a> {
    pub(super) fn parse(json: &'a str) -> serde_json::Result<Self> {
        let event = MessageEvent::parse(json)?;
        Ok(Self {
            message: MessageHead::of(json)?,
            blocks: event.blocks()?,
            event,
        })
    }
}

/// Reads a member that is an object. Any other value counts as missing.
fn read<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> serde_json::Result<T> {
    match raw.filter(|raw| raw.get().starts_with('{')) {
        Some(raw) => serde_json::from_str(raw.get()),
        None => Ok(T::default()),
    }
}

/// The fields of a message beside its content.
#[derive(Default, Deserialize)]
pub(super) struct MessageHead<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Text<'a>>,
}

impl<'a> MessageHead<'a> {
    /// Reads a whole message.
    pub(super) fn of(json: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }
}

/// A block of content.
#[derive(Default, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    /// The name of the called tool.
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    /// The arguments of the tool call. In a stream they are empty and follow in pieces.
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

/// An addition to a block or to the message.
#[derive(Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    /// A piece of the JSON arguments of a tool call.
    #[serde(borrow, default)]
    pub(super) partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Text<'a>>,
}

/// The token counts.
#[derive(Default, Deserialize)]
pub(super) struct UsageFields<'a> {
    #[serde(borrow, default)]
    pub(super) input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) service_tier: Option<Text<'a>>,
}

impl<'a> UsageFields<'a> {
    /// Reads the counts. Unreadable counts must not fail the answer.
    pub(super) fn of(raw: Option<&'a RawValue>) -> Self {
        read(raw).unwrap_or_default()
    }
}

/// Returns the object that a malformed JSON text stands for.
pub(super) fn mend(json: &str) -> Option<String> {
    let value = loose::read(json).filter(Value::is_object)?;
    Some(value.to_string())
}
