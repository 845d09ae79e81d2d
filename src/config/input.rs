//! Settings of the input: how the columns of a table become a request.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ConfigError;
use super::flags::Flags;
use super::origin::{Given, Layers};
use super::raw::RawConfig;

/// How the columns of a table become a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputSettings {
    /// The template of the query.
    pub query: Option<String>,
    /// The column of each field that is not taken from the column of its own name. An empty column turns the field
    /// off.
    pub map: BTreeMap<String, String>,
    /// The character encoding; without it the encoding is recognised.
    pub encoding: Option<String>,
    /// Whether the command line maps columns, so that lines of JSON are rows of a table too.
    pub from_flags: bool,
}

pub(super) fn input(
    flags: &Flags,
    written: &RawConfig,
    layers: &mut Layers,
) -> Result<InputSettings, ConfigError> {
    let raw = &written.input;
    let mut map = raw.map.clone();
    for (field, column) in &raw.map {
        layers.note(&format!("input.map.{field}"), column, layers.file_source());
    }
    let mut flagged = BTreeSet::new();
    for given in &flags.map {
        let Some((field, column)) = given.value.split_once('=') else {
            return Err(ConfigError::value(
                "--map",
                &given.value,
                "a field and a column such as `query=title`",
            ));
        };
        let (field, column) = (field.trim(), column.trim());
        layers.note(&format!("input.map.{field}"), column, given.source.clone());
        map.insert(field.to_owned(), column.to_owned());
        flagged.insert(field);
    }
    let columns = [
        ("id_column", "custom_id", &flags.id_column, &raw.id_column),
        (
            "session_column",
            "session_id",
            &flags.session_column,
            &raw.session_column,
        ),
    ];
    for (key, field, flag, file) in columns {
        let key = format!("input.{key}");
        // A flag `--map` replaces the setting.
        if flag.is_none() && flagged.contains(field) {
            continue;
        }
        if let Some(column) = layers.optional(&key, flag.as_ref(), file.clone()) {
            map.insert(field.to_owned(), column);
        }
    }
    let from_flags = !flagged.is_empty()
        || [&flags.query, &flags.id_column, &flags.session_column]
            .iter()
            .any(|flag| flag.is_some());
    let query = query(flags, raw.query.as_ref(), &mut map, layers)?;
    Ok(InputSettings {
        query,
        map,
        encoding: layers.optional("input.encoding", flags.encoding.as_ref(), raw.encoding.clone()),
        from_flags,
    })
}

/// Returns the template of the query. Template and column of the query exclude each other; a flag replaces either.
fn query(
    flags: &Flags,
    file: Option<&String>,
    map: &mut BTreeMap<String, String>,
    layers: &mut Layers,
) -> Result<Option<String>, ConfigError> {
    let is_query = |given: &Given<String>| given.value.split('=').next().map(str::trim) == Some("query");
    let is_mapped = flags.map.iter().any(is_query);
    match &flags.query {
        Some(given) if is_mapped => Err(ConfigError::value(
            "--query",
            &given.value,
            "no `--map query=…` beside it",
        )),
        Some(_) => {
            map.remove("query");
            Ok(layers.optional("input.query", flags.query.as_ref(), None))
        }
        None if is_mapped => Ok(None),
        None => match file {
            Some(text) if map.contains_key("query") => Err(ConfigError::value(
                "input.query",
                text,
                "no `query` in `[input.map]` beside it",
            )),
            file => Ok(layers.optional("input.query", None, file.cloned())),
        },
    }
}
