//! Stop conditions of a run, its lease, and its limits on memory.

use std::time::Duration;

use super::Flags;
use super::error::ConfigError;
use super::origin::Layers;
use super::raw::RawConfig;
use crate::domain::conditions::{Conditions, Deadline, MaxFailures, OnFailure, parse_bytes};
use crate::domain::usage::Cost;

pub(super) fn resolve(
    flags: &Flags,
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<Conditions, ConfigError> {
    let (run, base) = (&written.run, &default.run);
    let max_cost = layers
        .optional("run.max_cost", flags.max_cost.as_ref(), run.max_cost)
        .map(cost)
        .transpose()?;
    let max_failures = layers
        .optional(
            "run.max_failures",
            flags.max_failures.as_ref(),
            run.max_failures.clone(),
        )
        .map(|text| {
            MaxFailures::parse(&text).ok_or_else(|| {
                ConfigError::value(
                    "run.max_failures",
                    &text,
                    "a number above zero, or a share such as `5%`",
                )
            })
        })
        .transpose()?;
    let deadline = layers
        .optional("run.deadline", flags.deadline.as_ref(), None)
        .map(|text| {
            Deadline::parse(&text).ok_or_else(|| {
                let expected = "a duration such as `30m`, or a moment such as `2026-11-25T06:00:00Z`";
                ConfigError::value("run.deadline", &text, expected)
            })
        })
        .transpose()?;
    let limit = layers.optional("run.limit", flags.limit.as_ref(), None);
    if limit == Some(0) {
        return Err(ConfigError::value("run.limit", 0, "1 or more"));
    }
    Ok(Conditions {
        max_cost,
        max_failures,
        deadline,
        give_up: layers.duration(
            "run.give_up",
            flags.give_up.as_ref(),
            run.give_up.as_ref(),
            base.give_up.as_ref(),
        )?,
        limit,
    })
}

/// Returns how a request continues after a failed task.
pub(super) fn on_failure(
    flags: &Flags,
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<OnFailure, ConfigError> {
    let key = "run.on_task_failure";
    let (written, default) = (&written.run.on_task_failure, &default.run.on_task_failure);
    let name = layers.pick(
        key,
        flags.on_task_failure.as_ref(),
        written.clone(),
        default.clone(),
    )?;
    OnFailure::parse(&name).ok_or_else(|| ConfigError::value(key, &name, "`fail` or `continue`"))
}

fn cost(usd: f64) -> Result<Cost, ConfigError> {
    if !(1e-6..=1e6).contains(&usd) {
        return Err(ConfigError::value(
            "run.max_cost",
            usd,
            "0.000001 to 1000000 dollars",
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "10^6 to 10^18 by the check above"
    )]
    Ok(Cost((usd * 1e12).floor() as u64))
}

/// Returns the most queues in memory. It is at least `run.concurrency`; the default grows with it.
pub(super) fn max_queues(
    concurrency: usize,
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<usize, ConfigError> {
    let max_queues = layers.pick(
        "run.max_queues",
        None,
        written.run.max_queues,
        default.run.max_queues.map(|most| most.max(concurrency)),
    )?;
    if max_queues < concurrency {
        return Err(ConfigError::value(
            "run.max_queues",
            max_queues,
            format!("at least `run.concurrency`, which is {concurrency} (each call holds a queue in memory)"),
        ));
    }
    Ok(max_queues)
}

/// Returns the memory limit in bytes that replaces the limit of the container or machine.
pub(super) fn memory_limit(
    flags: &Flags,
    written: &RawConfig,
    layers: &mut Layers,
) -> Result<Option<u64>, ConfigError> {
    layers
        .optional(
            "run.memory_limit",
            flags.memory_limit.as_ref(),
            written.run.memory_limit.clone(),
        )
        .map(|text| {
            parse_bytes(&text)
                .filter(|bytes| *bytes >= 32 << 20)
                .ok_or_else(|| {
                    ConfigError::value(
                        "run.memory_limit",
                        &text,
                        "32MB or more, such as `512MB` or `2GB`",
                    )
                })
        })
        .transpose()
}

/// Returns the length of a lease. Below a second, a busy machine would lose its leases; above an hour, the work of a
/// crashed one would wait too long.
pub(super) fn lease(
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<Duration, ConfigError> {
    let (file, default) = (written.run.lease.as_ref(), default.run.lease.as_ref());
    let lease = layers.duration("run.lease", None, file, default)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&lease) {
        return Err(ConfigError::value("run.lease", format!("{lease:?}"), "1s to 1h"));
    }
    Ok(lease)
}
