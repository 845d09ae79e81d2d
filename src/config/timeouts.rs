//! Timeouts of the run, and timeouts of a route that replace them.

use std::time::Duration;

use super::Flags;
use super::error::ConfigError;
use super::origin::{Given, Layers};
use super::raw::{RawConfig, RawRoute};

/// The most time for each part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// To the first data event of a stream.
    pub first_token: Duration,
    /// Between two data events.
    pub idle: Duration,
    /// For one call as a whole.
    pub total: Duration,
}

/// Returns the timeouts of the run. None may be zero.
pub(super) fn of_run(
    flags: &Flags,
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<Timeouts, ConfigError> {
    let (written, default) = (&written.timeouts, &default.timeouts);
    let mut part = |field: &str, flag: Option<&Given<String>>, file, default| {
        let key = format!("timeouts.{field}");
        let value = layers.duration(&key, flag, file, default)?;
        above_zero(&key, value)
    };
    Ok(Timeouts {
        connect: part(
            "connect",
            None,
            written.connect.as_ref(),
            default.connect.as_ref(),
        )?,
        first_token: part(
            "first_token",
            flags.first_token.as_ref(),
            written.first_token.as_ref(),
            default.first_token.as_ref(),
        )?,
        idle: part(
            "idle",
            flags.idle.as_ref(),
            written.idle.as_ref(),
            default.idle.as_ref(),
        )?,
        total: part(
            "total",
            flags.total.as_ref(),
            written.total.as_ref(),
            default.total.as_ref(),
        )?,
    })
}

/// Returns the timeouts of a route: its own, else those of the run. A flag overrides both.
pub(super) fn of_route(
    name: &str,
    raw: &RawRoute,
    of_run: Timeouts,
    flags: &Flags,
    layers: &mut Layers,
) -> Result<Timeouts, ConfigError> {
    let own = &raw.timeouts;
    let key = |field: &str| format!("routes.{name}.timeouts.{field}");
    if raw.stream == Some(false) && own.first_token.is_some() {
        return Err(ConfigError::refused(
            key("first_token"),
            "`stream = false` leaves no first piece of a stream to wait for",
            "set `total`",
        ));
    }
    let mut part = |field: &str, flag: Option<&Given<String>>, file: Option<&String>, of_run: Duration| {
        if file.is_none() {
            return Ok(of_run);
        }
        let key = key(field);
        let value = layers.duration(&key, flag, file, None)?;
        above_zero(&key, value)
    };
    let timeouts = Timeouts {
        connect: part("connect", None, own.connect.as_ref(), of_run.connect)?,
        first_token: part(
            "first_token",
            flags.first_token.as_ref(),
            own.first_token.as_ref(),
            of_run.first_token,
        )?,
        idle: part("idle", flags.idle.as_ref(), own.idle.as_ref(), of_run.idle)?,
        total: part("total", flags.total.as_ref(), own.total.as_ref(), of_run.total)?,
    };
    // With a flag the comparison is skipped: a short `--timeout` may be below a written `first_token`.
    let written = flags.first_token.is_none() && flags.total.is_none();
    match &own.first_token {
        Some(first) if written && timeouts.first_token > timeouts.total => Err(ConfigError::value(
            key("first_token"),
            first,
            format!("no more than `total`, which is {:?}", timeouts.total),
        )),
        _ => Ok(timeouts),
    }
}

fn above_zero(key: &str, value: Duration) -> Result<Duration, ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::value(key, "0s", "a time above zero"));
    }
    Ok(value)
}
