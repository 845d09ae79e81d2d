//! Extra fields of a route's request bodies, such as `service_tier`.

use serde_json::{Map, Number, Value};

use super::error::ConfigError;
use super::origin::Layers;
use super::raw::RawRoute;

/// Fields that nova3 writes itself, each with the setting to use instead.
const OWN_FIELDS: &[(&str, &str)] = &[
    ("model", "set `model` of the route"),
    ("messages", "the agents' prompts make them; remove the line"),
    ("system", "the agents' prompts make it; remove the line"),
    ("stream", "set `stream` of the route"),
    ("stream_options", "set `stream_usage` of the route"),
    ("max_tokens", LONGEST),
    ("max_completion_tokens", LONGEST),
    ("response_format", STRUCTURED),
    ("output_config", STRUCTURED),
    ("tools", STRUCTURED),
    ("tool_choice", STRUCTURED),
    ("temperature", SAMPLING),
    ("top_p", SAMPLING),
    ("seed", SAMPLING),
    ("n", "a call has one answer; remove the line"),
];

const LONGEST: &str = "set `max_tokens` of the route, and `token_field` for the field's name";
const STRUCTURED: &str = "set `structured` of the route";
const SAMPLING: &str = "set it in the agent's file";

/// Returns the extra fields of a route.
pub(super) fn extra(
    name: &str,
    raw: &RawRoute,
    token_field: &str,
    layers: &mut Layers,
) -> Result<Map<String, Value>, ConfigError> {
    let mut body = Map::new();
    for (field, written) in &raw.body {
        let key = format!("routes.{name}.body.{field}");
        let own = OWN_FIELDS.iter().find(|(own, _)| own == field);
        let own = own.map(|(_, cure)| *cure);
        if let Some(cure) = own.or((field == token_field).then_some(LONGEST)) {
            return Err(ConfigError::refused(key, "nova3 writes this field itself", cure));
        }
        let value = json(written).ok_or_else(|| {
            let expected = "text, a whole number, a finite number, true, false, a list or a table";
            ConfigError::value(&key, written, expected)
        })?;
        layers.note(&key, &value, layers.file_source());
        body.insert(field.clone(), value);
    }
    Ok(body)
}

/// Converts a TOML value to JSON. Times, `inf` and `nan` have no JSON form.
fn json(written: &toml::Value) -> Option<Value> {
    Some(match written {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::Number(Number::from_f64(*number)?),
        toml::Value::Boolean(value) => Value::from(*value),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(list) => Value::Array(list.iter().map(json).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            let fields = table
                .iter()
                .map(|(name, value)| Some((name.clone(), json(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}
