//! A model with scripted answers, and the calls that it received.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, setup};
use crate::cli::provider::{Say, Scripted};

/// All actions that a plan can name, in the order in which the planner's prompt lists them.
pub(crate) const ACTIONS: [&str; 8] = [
    "insight",
    "profile",
    "hitpoint",
    "facts",
    "xhs_writing",
    "tiktok_script",
    "wechat_article",
    "answer",
];

/// One call, as the model sees it.
pub(crate) struct Call(Value);

impl Call {
    pub(crate) fn of(body: &str) -> Self {
        Self(serde_json::from_str(body).unwrap())
    }

    pub(crate) fn body(&self) -> &Value {
        &self.0
    }

    /// The action of the agent that calls. A call without a schema is of `answer`.
    pub(crate) fn action(&self) -> &str {
        self.0["response_format"]["json_schema"]["name"]
            .as_str()
            .unwrap_or("answer")
    }

    /// The text of the nth message.
    pub(crate) fn message(&self, nth: usize) -> &str {
        self.0["messages"][nth]["content"].as_str().unwrap_or_default()
    }

    /// The system message, which is the same for every request.
    pub(crate) fn system(&self) -> &str {
        self.message(0)
    }

    /// The user message, which belongs to this request.
    pub(crate) fn user(&self) -> &str {
        self.message(1)
    }

    /// Whether the call repairs an earlier answer.
    pub(crate) fn is_repair(&self) -> bool {
        self.0["messages"].as_array().unwrap().len() > 2
    }
}

/// A folder, and a provider with scripted answers.
pub(crate) fn setup_saying(script: impl Fn(&Call) -> Say + Send + 'static) -> (Harness, Scripted) {
    let model = Scripted::start(move |body| script(&Call::of(body)));
    let harness = setup()
        .with("OPENAI_BASE_URL", &model.base_url())
        .with("OPENAI_MODEL", "m");
    (harness, model)
}

/// All calls so far.
pub(crate) fn calls(model: &Scripted) -> Vec<Call> {
    model.bodies().iter().map(|body| Call::of(body)).collect()
}

/// The action of each call.
pub(crate) fn actions(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(Call::action).collect()
}

/// A finished answer.
pub(crate) fn says(text: impl Into<String>) -> Say {
    ended("stop", &text.into())
}

/// An answer that was cut at its longest length.
pub(crate) fn cut(text: impl Into<String>) -> Say {
    ended("length", &text.into())
}

fn ended(reason: &str, text: &str) -> Say {
    let body = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    });
    Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: body.to_string(),
    }
}

/// An answer of this status with an error message.
pub(crate) fn refuses(status: u16, message: &str) -> Say {
    let body = json!({"error": {"message": message, "type": "invalid_request_error"}});
    Say {
        status,
        headers: "content-type: application/json\r\n",
        body: body.to_string(),
    }
}

/// A good answer: one item that fits the schema, with the content `<action> of <task>`.
pub(crate) fn good(call: &Call) -> Say {
    says(good_text(call))
}

/// The text of a good answer.
pub(crate) fn good_text(call: &Call) -> String {
    let content = format!("{} of {}", call.action(), task_of(call.user()));
    let schema = &call.0["response_format"]["json_schema"]["schema"];
    if schema.is_null() {
        return content;
    }
    json!({"items": [item(schema, &content)]}).to_string()
}

/// The task in a prompt.
pub(crate) fn task_of(user: &str) -> &str {
    let name = if user.contains("<<<任务\n") {
        "任务"
    } else {
        "Question"
    };
    let (_, after) = user.rsplit_once(&format!("<<<{name}\n")).unwrap();
    after.rsplit_once(&format!("\n{name}>>>")).unwrap().0
}

/// An item that fits the schema.
pub(crate) fn item(schema: &Value, content: &str) -> Value {
    let properties = schema["properties"]["items"]["items"]["properties"].as_object();
    let filled = properties.unwrap().iter().map(|(name, property)| {
        let value = match (name.as_str(), &property["enum"][0]) {
            ("content", _) => json!(content),
            ("basis", _) => json!([]),
            (_, first @ Value::String(_)) => first.clone(),
            _ if property["type"] == "array" => json!(["t1", "t2", "t3"]),
            _ if property["type"] == "string" => json!(format!("a {name}")),
            _ => Value::Null,
        };
        (name.clone(), value)
    });
    Value::Object(filled.collect())
}
