//! The result line of an OpenAI Batch line.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::outcome::{Fallback, Finished, TaskRecord};
use super::result_line::usage;
use super::usage::{Cost, Usage};

/// The result of an OpenAI Batch line, in the form of a Batch output file. Readers of such files leave the field `nova3`
/// out.
#[derive(Serialize)]
pub(super) struct BatchLine<'a> {
    id: String,
    custom_id: Option<&'a str>,
    response: Option<&'a RawValue>,
    error: Option<BatchError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nova3: Option<BatchAccount<'a>>,
}

/// How the answer to a Batch line was made, and what it cost.
#[derive(Serialize)]
struct BatchAccount<'a> {
    route: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'a Fallback>,
    attempts: u32,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    wasted_usd: Option<f64>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

impl<'a> BatchAccount<'a> {
    fn of(task: &'a TaskRecord) -> Option<Self> {
        let making = task.making.as_ref()?;
        Some(Self {
            route: &making.route,
            model: &making.model,
            fallback: making.fallback.as_ref(),
            attempts: making.attempts,
            usage: usage(task.status, Some(making)),
            cost_usd: making.cost.map(Cost::usd),
            wasted_usd: making.cost.map(|_| making.wasted.usd()),
            duration_ms: making.duration_ms,
            warnings: &making.warnings,
        })
    }
}

#[derive(Serialize)]
struct BatchError<'a> {
    code: &'static str,
    message: Cow<'a, str>,
}

impl<'a> BatchLine<'a> {
    pub(super) fn of(finished: &'a Finished) -> Self {
        let response = finished.tasks.first().and_then(|task| task.result.as_deref());
        let error = match (&finished.failure, response) {
            (Some(failure), None) => Some(BatchError {
                code: failure.class.as_str(),
                // A Batch error has no other field for the number of a bad line.
                message: match failure.line {
                    Some(_) => format!("line {}: {}", finished.line, failure.message).into(),
                    None => failure.message.as_str().into(),
                },
            }),
            _ => None,
        };
        Self {
            id: format!("batch_req_nova3_{}", finished.queue_id),
            custom_id: finished.custom_id.as_deref(),
            response,
            error,
            nova3: finished.tasks.first().and_then(BatchAccount::of),
        }
    }
}
