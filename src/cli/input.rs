//! The form of an input, from flags, settings and agents.

use std::sync::Arc;

use anyhow::Result;
use clap::ArgMatches;
use encoding_rs::Encoding;

use super::args::{GivenFormat, InputArgs};
use super::exit::{Exit, decided};
use super::own_work::OwnWork;
use super::setup::given;
use crate::agent::RowColumns;
use crate::config::{Flags, Given, InputSettings, Source};
use crate::domain::ids::shortened;
use crate::domain::request::Rules;
use crate::engine::{InputForm, InputFormat, Mapping};

/// Adds the flags of an input to those of a command.
pub(super) fn with_flags(flags: Flags, args: &InputArgs, matches: &ArgMatches) -> Flags {
    let text = |id: &str, flag: &'static str, env: &str, value: &Option<String>| {
        given(matches, id, flag, env, value.as_ref())
    };
    let map: Vec<Given<String>> = args
        .map
        .iter()
        .filter_map(|value| given(matches, "map", "--map", "NOVA3_MAP", Some(value)))
        .flat_map(pairs)
        .collect();
    Flags {
        query: text("query", "--query", "NOVA3_QUERY", &args.query),
        id_column: text("id_column", "--id-column", "NOVA3_ID_COLUMN", &args.id_column),
        session_column: text(
            "session_column",
            "--session-column",
            "NOVA3_SESSION_COLUMN",
            &args.session_column,
        ),
        encoding: text(
            "input_encoding",
            "--input-encoding",
            "NOVA3_INPUT_ENCODING",
            &args.input_encoding,
        ),
        map,
        ..flags
    }
}

/// The pairs of one value. A variable can be set only once, so it holds several pairs between commas.
fn pairs(value: Given<String>) -> Vec<Given<String>> {
    if !matches!(value.source, Source::Env(_)) {
        return vec![value];
    }
    let pair = |text: &str| Given {
        value: text.trim().to_owned(),
        source: value.source.clone(),
    };
    value.value.split(',').map(pair).collect()
}

/// The form of the input of a command.
pub(super) fn form(
    args: &InputArgs,
    settings: &InputSettings,
    work: &OwnWork,
    lenient: bool,
) -> Result<InputForm> {
    let agents = &*work.agents;
    let usage = |message: String| decided(Exit::Usage, message);
    let mut stored = RowColumns::default();
    for agent in agents.all().iter().chain([agents.supervisor()]) {
        stored.add(&agent.row);
    }
    let mapping = Mapping::new(
        settings.query.as_deref(),
        &settings.map,
        stored.clone(),
        needed(work).unwrap_or(stored),
    )
    .map_err(usage)?;
    let encoding = settings.encoding.as_deref();
    let encoding = encoding.map(|name| {
        Encoding::for_label(name.as_bytes()).ok_or_else(|| {
            usage(format!(
                "`--input-encoding`: expected an encoding such as `utf-8`, `gb18030` or `utf-16le`, got `{}`",
                shortened(name, 60)
            ))
        })
    });
    Ok(InputForm {
        rules: Rules {
            lenient,
            without_query: work.is_without_query(),
        },
        format: args.input_format.map(|format| match format {
            GivenFormat::Csv => InputFormat::Csv,
            GivenFormat::Tsv => InputFormat::Tsv,
            GivenFormat::Json => InputFormat::Json,
            GivenFormat::Jsonl => InputFormat::Jsonl,
        }),
        encoding: encoding.transpose()?,
        mapping: Arc::new(mapping),
        maps_lines: settings.from_flags || work.is_own(),
    })
}

/// The columns that the agents of the tasks name. Without known tasks any agent may be used.
fn needed(work: &OwnWork) -> Option<RowColumns> {
    let mut needed = RowColumns::default();
    for agent in work.of_tasks()? {
        needed.add(&agent.row);
    }
    Some(needed)
}
