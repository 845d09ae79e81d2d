//! The body of a Chat Completions call; see OpenAI's API reference, "Create chat completion".

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::{self, Structured};
use crate::llm::dialect::{instructed, names_of_sent, optional};
use crate::llm::learned::Manner;
use crate::llm::request::{ChatRequest, Message, OutputSchema, Role, Tool};

/// A Chat Completions request.
///
/// Fields that are `None` are left out rather than sent as null, because reasoning models refuse some sampling fields
/// even as null.
#[derive(Debug)]
pub(in crate::llm) struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    /// The form of the answer that the system message must describe.
    described: Option<OutputSchema<'a>>,
    stream: bool,
    include_usage: bool,
    longest: u32,
    longest_field: &'a str,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    format: Option<Format<'a>>,
    tools: &'a [Tool],
    extra: &'a Map<String, Value>,
}

impl<'a> Body<'a> {
    /// Makes the body of a call on a route, in the manner that the route has learned.
    pub(in crate::llm) fn new(
        chat: &ChatRequest<'a>,
        settings: &'a config::RouteSettings,
        manner: &'a Manner,
    ) -> Self {
        let sends = |name: &str| !manner.left_out.contains(&name);
        let sampling = &chat.sampling;
        Self {
            model: settings.model.as_deref().unwrap_or_default(),
            messages: chat.messages,
            described: chat
                .schema
                .filter(|_| manner.structured != Structured::JsonSchema),
            stream: settings.stream,
            include_usage: settings.stream && settings.stream_usage && sends("stream_options"),
            longest: manner.longest,
            longest_field: &manner.longest_field,
            temperature: sampling.temperature.filter(|_| sends("temperature")),
            top_p: sampling.top_p.filter(|_| sends("top_p")),
            seed: sampling.seed.filter(|_| sends("seed")),
            format: chat
                .schema
                .and_then(|schema| Format::of(schema, manner.structured)),
            tools: chat.tools,
            extra: &settings.body,
        }
    }

    /// Returns the optional fields that the body sends.
    pub(in crate::llm) fn optional_fields(&self) -> Vec<&'static str> {
        names_of_sent(&[
            ("stream_options", self.include_usage),
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("seed", self.seed.is_some()),
        ])
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("messages", &Messages(self))?;
        if self.stream {
            map.serialize_entry("stream", &true)?;
            if self.include_usage {
                map.serialize_entry("stream_options", &StreamOptions { include_usage: true })?;
            }
        }
        map.serialize_entry(self.longest_field, &self.longest)?;
        optional(&mut map, "temperature", self.temperature)?;
        optional(&mut map, "top_p", self.top_p)?;
        optional(&mut map, "seed", self.seed)?;
        optional(&mut map, "response_format", self.format.as_ref())?;
        if !self.tools.is_empty() {
            let tools: Vec<Function<'_>> = self.tools.iter().map(Function::of).collect();
            map.serialize_entry("tools", &tools)?;
        }
        for (name, value) in self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The conversation. Its first message may also describe the form of the answer.
struct Messages<'b, 'a>(&'b Body<'a>);

impl Serialize for Messages<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(body) = self;
        let Some(schema) = &body.described else {
            return body.messages.serialize(serializer);
        };
        let system = system(body.messages);
        let content = instructed(system.unwrap_or_default(), schema);
        let first = Spoken {
            role: Role::System,
            content: &content,
        };
        let rest = body.messages.iter().map(|message| Spoken {
            role: message.role,
            content: &message.content,
        });
        // The form is a separate message if the conversation begins without instructions.
        let replaced = usize::from(system.is_some());
        serializer.collect_seq(std::iter::once(first).chain(rest.skip(replaced)))
    }
}

/// Returns the instructions at the beginning of the conversation.
fn system(messages: &[Message]) -> Option<&str> {
    let first = messages.first().filter(|first| first.role == Role::System);
    first.map(|first| first.content.as_str())
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: Role,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The `response_format` of a call.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { json_schema: NamedSchema<'a> },
    JsonObject,
}

#[derive(Debug, Serialize)]
struct NamedSchema<'a> {
    name: &'a str,
    strict: bool,
    schema: &'a RawValue,
}

impl<'a> Format<'a> {
    fn of(schema: OutputSchema<'a>, structured: Structured) -> Option<Self> {
        match structured {
            Structured::JsonSchema => Some(Self::JsonSchema {
                json_schema: NamedSchema {
                    name: schema.name,
                    strict: true,
                    schema: schema.schema,
                },
            }),
            Structured::JsonObject => Some(Self::JsonObject),
            Structured::Prompt => None,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Function<'a> {
    Function { function: Declared<'a> },
}

#[derive(Serialize)]
struct Declared<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
}

impl<'a> Function<'a> {
    fn of(tool: &'a Tool) -> Self {
        Self::Function {
            function: Declared {
                name: &tool.name,
                description: &tool.description,
                parameters: &tool.parameters,
            },
        }
    }
}
