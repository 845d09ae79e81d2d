//! The body of a Messages call; see Anthropic's API reference, "Create a Message".

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::{self, Structured};
use crate::llm::dialect::{instructed, names_of_sent, optional};
use crate::llm::learned::Manner;
use crate::llm::request::{ChatRequest, Message, OutputSchema, Role, Tool};

/// The tool whose input is the answer, if a tool enforces the form of the answer.
pub(super) const ANSWER_TOOL: &str = "nova3_answer";

/// The highest temperature of Anthropic's API.
const HOTTEST: f64 = 1.0;

/// A Messages request. Fields that are `None` are left out.
#[derive(Debug)]
pub(in crate::llm) struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    /// The form of the answer that the instructions must describe. A tool carries the schema itself.
    described: Option<OutputSchema<'a>>,
    stream: bool,
    longest: u32,
    temperature: Option<f64>,
    top_p: Option<f64>,
    schema: Option<OutputSchema<'a>>,
    structured: Structured,
    tools: &'a [Tool],
    extra: &'a Map<String, Value>,
}

impl<'a> Body<'a> {
    /// Makes the body of a call on a route, in the manner that the route has learned.
    pub(in crate::llm) fn new(
        chat: &ChatRequest<'a>,
        settings: &'a config::RouteSettings,
        manner: &Manner,
    ) -> Self {
        let sends = |name: &str| !manner.left_out.contains(&name);
        let sampling = &chat.sampling;
        Self {
            model: settings.model.as_deref().unwrap_or_default(),
            messages: chat.messages,
            described: chat.schema.filter(|_| manner.structured == Structured::Prompt),
            stream: settings.stream,
            longest: manner.longest,
            temperature: sampling
                .temperature
                .filter(|_| sends("temperature"))
                .map(|temperature| temperature.min(HOTTEST)),
            top_p: sampling.top_p.filter(|_| sends("top_p")),
            schema: chat.schema,
            structured: manner.structured,
            tools: chat.tools,
            extra: &settings.body,
        }
    }

    /// Returns the optional fields that the body sends.
    pub(in crate::llm) fn optional_fields(&self) -> Vec<&'static str> {
        names_of_sent(&[
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
        ])
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("max_tokens", &self.longest)?;
        let system = system(self.messages);
        let system = match &self.described {
            Some(schema) => Cow::Owned(instructed(&system, schema)),
            None => system,
        };
        optional(
            &mut map,
            "system",
            Some(system).filter(|system| !system.is_empty()),
        )?;
        map.serialize_entry("messages", &Spoken(self.messages))?;
        if self.stream {
            map.serialize_entry("stream", &true)?;
        }
        optional(&mut map, "temperature", self.temperature)?;
        optional(&mut map, "top_p", self.top_p)?;
        let mut tools: Vec<Declared<'_>> = self.tools.iter().map(Declared::of).collect();
        let mut choice = None;
        match (self.schema, self.structured) {
            (Some(schema), Structured::JsonSchema) => {
                map.serialize_entry("output_config", &OutputConfig::of(schema.schema))?;
            }
            (Some(schema), Structured::JsonObject) => {
                tools.push(Declared::answer(schema.schema));
                choice = Some(ForcedTool::Tool { name: ANSWER_TOOL });
            }
            _ => {}
        }
        if !tools.is_empty() {
            map.serialize_entry("tools", &tools)?;
        }
        optional(&mut map, "tool_choice", choice)?;
        for (name, value) in self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Returns the instructions of a conversation. They are not messages in this dialect.
fn system(messages: &[Message]) -> Cow<'_, str> {
    let systems = messages.iter().filter(|message| message.role == Role::System);
    let texts: Vec<&str> = systems.map(|message| message.content.as_str()).collect();
    match texts[..] {
        [] => Cow::Borrowed(""),
        [only] => Cow::Borrowed(only),
        _ => Cow::Owned(texts.join("\n\n")),
    }
}

/// The messages except the instructions.
struct Spoken<'a>(&'a [Message]);

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spoken = self.0.iter().filter(|message| message.role != Role::System);
        serializer.collect_seq(spoken)
    }
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { schema: &'a RawValue },
}

impl<'a> OutputConfig<'a> {
    const fn of(schema: &'a RawValue) -> Self {
        Self {
            format: Format::JsonSchema { schema },
        }
    }
}

#[derive(Serialize)]
struct Declared<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
}

impl<'a> Declared<'a> {
    fn of(tool: &'a Tool) -> Self {
        Self {
            name: &tool.name,
            description: &tool.description,
            input_schema: &tool.parameters,
        }
    }

    const fn answer(schema: &'a RawValue) -> Self {
        Self {
            name: ANSWER_TOOL,
            description: "Takes the answer to the request.",
            input_schema: schema,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ForcedTool {
    Tool { name: &'static str },
}
