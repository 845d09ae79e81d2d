//! The templates of a provider's request. The templates are trusted; the values in them are not.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

/// The most steps of a template. A request is small, so a template that needs more steps is a mistake.
const FUEL: u64 = 100_000;

/// The values that a template may name.
pub(super) struct Variables<'a> {
    pub(super) query: &'a str,
    pub(super) limit: usize,
    pub(super) key: Option<&'a str>,
}

impl Variables<'_> {
    fn context(&self) -> Value {
        let (query, limit) = (self.query, self.limit);
        // Without a key the name `key` is undefined, so that a template that uses it is reported.
        self.key.map_or_else(
            || minijinja::context! { query, limit },
            |key| minijinja::context! { query, limit, key },
        )
    }

    /// The same values without the key.
    pub(super) fn without_key(&self) -> Self {
        Self { key: None, ..*self }
    }
}

/// Renders a template as text.
pub(super) fn text(template: &str, variables: &Variables<'_>) -> Result<String, String> {
    render(template, variables.context())
}

/// Renders a JSON value whose texts are templates. A text that is exactly one expression keeps the type of its value:
/// `"{{ limit }}"` becomes a number.
pub(super) fn json(template: &toml::Value, variables: &Variables<'_>) -> Result<Json, String> {
    json_of(template, &variables.context())
}

/// Renders an address. Each value is percent-encoded.
pub(super) fn address(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let encoded = values.iter().map(|(name, value)| (*name, percent_encoded(value)));
    let context = Value::from(Serde(encoded.collect::<BTreeMap<_, _>>()));
    render(template, context)
}

/// Encodes text for one part of an address. Letters, digits and `-._~` stay; all other bytes are encoded.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(byte));
            } else {
                out += &format!("%{byte:02X}");
            }
            out
        })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

fn render(template: &str, context: Value) -> Result<String, String> {
    environment()
        .render_str(template, context)
        .map_err(|error| reason(&error))
}

fn json_of(template: &toml::Value, context: &Value) -> Result<Json, String> {
    Ok(match template {
        toml::Value::String(text) => match only_expression(text) {
            Some(expression) => evaluated(expression, context)?,
            None => Json::String(render(text, context.clone())?),
        },
        toml::Value::Integer(number) => Json::from(*number),
        toml::Value::Float(number) => Json::from(*number),
        toml::Value::Boolean(flag) => Json::from(*flag),
        toml::Value::Datetime(moment) => Json::from(moment.to_string()),
        toml::Value::Array(parts) => {
            let parts: Result<_, _> = parts.iter().map(|part| json_of(part, context)).collect();
            Json::Array(parts?)
        }
        toml::Value::Table(table) => {
            let mut object = Map::new();
            for (name, value) in table {
                object.insert(name.clone(), json_of(value, context)?);
            }
            Json::Object(object)
        }
    })
}

/// Returns the expression of a text that is exactly one expression.
fn only_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let is_one = !["{{", "}}", "{%"].iter().any(|mark| inner.contains(mark));
    is_one.then_some(inner)
}

fn evaluated(expression: &str, context: &Value) -> Result<Json, String> {
    let environment = environment();
    let value = environment
        .compile_expression(expression)
        .and_then(|expression| expression.eval(context.clone()))
        .map_err(|error| reason(&error))?;
    if value.is_undefined() {
        return Err(format!("`{}` is undefined here", expression.trim()));
    }
    serde_json::to_value(&value).map_err(|error| error.to_string())
}

/// Returns the message without the excerpt of the template.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VARIABLES: Variables<'static> = Variables {
        query: "燕麦 \"奶\"}}{{ key }}",
        limit: 5,
        key: Some("secret"),
    };

    #[test]
    fn values_are_never_templates() {
        let template: toml::Value = toml::from_str(
            r#"q = "{{ query }}"
n = "{{ limit }}"
least = "{{ [limit, 3] | min }}"
text = "top {{ limit }}"
list = ["{{ query }}", 1, true, 0.5]
[inner]
q = "about {{ query }}""#,
        )
        .unwrap();
        assert_eq!(
            json(&template, &VARIABLES).unwrap(),
            json!({
                "q": VARIABLES.query, "n": 5, "least": 3, "text": "top 5",
                "list": [VARIABLES.query, 1, true, 0.5], "inner": {"q": format!("about {}", VARIABLES.query)},
            })
        );
    }

    #[test]
    fn unknown_names_are_mistakes() {
        let unknown = toml::Value::from("{{ nothing }}");
        assert!(json(&unknown, &VARIABLES).is_err());
        assert!(text("a {{ nothing }}", &VARIABLES).is_err());
        assert!(text("{{ key }}", &VARIABLES.without_key()).is_err());
        assert_eq!(text("Bearer {{ key }}", &VARIABLES).unwrap(), "Bearer secret");
    }

    #[test]
    fn values_in_addresses_are_encoded() {
        assert_eq!(
            address("https://h/note/{{ id }}?x", &[("id", "a/../b?c=燕")]).unwrap(),
            "https://h/note/a%2F..%2Fb%3Fc%3D%E7%87%95?x"
        );
    }
}
