//! `nova3 mock`.

use anyhow::Result;

use super::args::MockArgs;
use super::exit::{Exit, decided};
use super::{print, setup};
use crate::config::process_env;
use crate::engine::Signals;
use crate::mock::{self, Faults, Latency, MockConfig};

pub(super) fn main(args: &MockArgs, mut signals: Signals) -> Result<Exit> {
    let config = settings(args)?;
    super::runtime()?.block_on(async {
        signals.take();
        let server = mock::start(config).await?;
        // Scripts read the address from stdout to find the port.
        print(format!("{}\n", server.base_url()).as_bytes())?;
        signals.next().await;
        server.stop().await;
        Ok(Exit::Good)
    })
}

fn settings(args: &MockArgs) -> Result<MockConfig> {
    let key = args.key_env.as_ref().map(|variable| {
        process_env(variable).ok_or_else(|| {
            decided(
                Exit::Usage,
                format!("`--key-env`: variable `{variable}` is not set"),
            )
        })
    });
    Ok(MockConfig {
        listen: args.listen,
        seed: args.seed,
        latency: Latency {
            first_token: setup::duration("--latency", &args.latency)?,
            per_token: setup::duration("--token-latency", &args.token_latency)?,
            tail: share("--tail", args.tail)?,
        },
        faults: faults(&args.faults)?,
        rpm: args.rpm,
        tpm: args.tpm,
        retry_after: args
            .retry_after
            .as_deref()
            .map(|text| setup::duration("--retry-after", text))
            .transpose()?,
        log: args.log.clone(),
        answer_tokens: args.tokens,
        api_key: key.transpose()?,
    })
}

fn share(what: &str, value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(decided(
        Exit::Usage,
        format!("`{what}` is `{value}`: expected a share between 0 and 1"),
    ))
}

fn faults(list: &str) -> Result<Faults> {
    let mut faults = Faults::default();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let value: f64 = value
            .trim()
            .parse()
            .map_err(|_| decided(Exit::Usage, format!("`--faults`: `{entry}`: expected NAME=SHARE")))?;
        let value = share("--faults", value)?;
        match name.trim() {
            "429" => faults.rate_limited = value,
            "500" => faults.server_error = value,
            "disconnect" => faults.disconnect = value,
            "truncate" => faults.truncate = value,
            "stall" => faults.stall = value,
            "garbage" => faults.garbage = value,
            "error" => faults.error_in_stream = value,
            "529" => faults.overloaded = value,
            other => {
                let known = "429, 500, disconnect, truncate, stall, garbage, error, 529";
                return Err(decided(
                    Exit::Usage,
                    format!("`--faults`: `{other}` is none of {known}"),
                ));
            }
        }
    }
    Ok(faults)
}
