//! `nova3 config`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ArgMatches;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::args::{ConfigArgs, Global};
use super::exit::Exit;
use super::{print, setup};
use crate::config::{Config, Flags, Given, Origin, Source, process_env, trace_settings};
use crate::observe::tell;

pub(super) fn main(args: &ConfigArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let flags = Flags {
        store: variable("NOVA3_STORE").map(|given| Given {
            value: PathBuf::from(given.value),
            source: given.source,
        }),
        grace: variable("NOVA3_GRACE"),
        wait_lock: variable("NOVA3_WAIT_LOCK"),
        metrics_addr: variable("NOVA3_METRICS_ADDR"),
        metrics_file: variable("NOVA3_METRICS_FILE").map(|given| Given {
            value: PathBuf::from(given.value),
            source: given.source,
        }),
        ..setup::flags(global, &args.model, matches)
    };
    let config = Config::load(&flags, &process_env)?;
    let traces = trace_settings(&process_env);
    for warning in &traces.warnings {
        tell(warning);
    }
    // The host alone: the rest of a URL can hold a key.
    let of_traces = traces.destinations.iter().map(|destination| Origin {
        key: format!("traces.{}", destination.server.key()),
        value: destination.host(),
        source: Source::Env(destination.source.clone()),
    });
    let origins: Vec<Origin> = config.origins.iter().cloned().chain(of_traces).collect();
    let text = if args.json {
        let settings: serde_json::Map<String, serde_json::Value> = origins
            .iter()
            .map(|origin| {
                let shown = serde_json::json!({"value": origin.value, "source": origin.source.to_string()});
                (origin.key.clone(), shown)
            })
            .collect();
        format!(
            "{}\n",
            serde_json::to_string(&settings).context("failed to write JSON")?
        )
    } else {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["setting", "value", "from"]);
        for origin in &origins {
            table.add_row([
                origin.key.clone(),
                origin.value.clone(),
                origin.source.to_string(),
            ]);
        }
        format!("{}\n", table.trim_fmt())
    };
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

/// A variable of `run` for which `config` has no flag.
fn variable(name: &str) -> Option<Given<String>> {
    process_env(name).map(|value| Given {
        value,
        source: Source::Env(name.to_owned()),
    })
}
