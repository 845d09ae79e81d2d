//! An OpenAI Batch line: one raw completion, without a prompt of nova3.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::context::{AgentContext, failure, making};
use super::forecast;
use super::run::{TaskEnd, TaskOutcome};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Product, Provenance};
use crate::domain::request::Completion;
use crate::domain::usage::TextSizes;
use crate::llm::{ChainError, ModelRequest, ModelResponse, Route, Verbatim, VerbatimRequest};

/// Sends an OpenAI Batch line along the chain. The first route gets the model that the line names. Each further route
/// gets its own model, because the line's model belongs to the first route.
pub async fn run_completion(context: AgentContext<'_>, completion: &Completion) -> TaskOutcome {
    let mut selector = context.selector();
    let first = Arc::clone(selector.first());
    let mut route = Arc::clone(&first);
    let end = loop {
        route = match selector.route() {
            Ok(route) => route,
            Err(over) => break Err(over),
        };
        let is_first = route.settings.name == first.settings.name;
        let request = ModelRequest::Verbatim(VerbatimRequest {
            body: completion.body.get(),
            endpoint: completion.endpoint,
            streams: completion.streams,
            to_model_of_route: !is_first,
        });
        match selector.ask(&route, &request).await {
            Ok(response) => {
                if let Some(answered) = selector.attempts.last_mut() {
                    answered.used = true;
                }
                break Ok(response);
            }
            Err(ended) => {
                if let Some(over) = selector.leave(&route, ended).await {
                    break Err(over);
                }
            }
        }
    };
    let making = making(&selector, &route);
    let model = selector.attempts.last().map(|attempt| attempt.model.clone());
    TaskOutcome {
        making: Provenance {
            model: model.or(selector.asked).unwrap_or_default(),
            sizes: TextSizes {
                prompt: Some(forecast::line_tokens(completion)),
                result: None,
            },
            ..making
        },
        end: closed(&route, end),
        attempts: selector.attempts,
    }
}

fn closed(route: &Route, end: Result<ModelResponse, ChainError>) -> TaskEnd {
    match end {
        Ok(ModelResponse::Verbatim(verbatim)) => TaskEnd::Completed(Product::Response(response(verbatim))),
        Ok(ModelResponse::Answer(_)) => TaskEnd::Failed(
            Failure::new(Class::Internal, "a Batch line got a parsed answer"),
            None,
        ),
        Err(ChainError::Failed(mut with)) => {
            let verbatim = with.response.take();
            let product = verbatim.map(|verbatim| Product::Response(response(verbatim)));
            TaskEnd::Failed(failure(route, *with), product)
        }
        Err(ChainError::Stopped(why)) => TaskEnd::Interrupted(why),
    }
}

/// Builds `{status_code, request_id, body}`, the `response` of a Batch output line.
fn response(verbatim: Verbatim) -> Box<RawValue> {
    let id = serde_json::to_string(&verbatim.request_id).unwrap_or_else(|_| "null".to_owned());
    let head = format!(
        "{{\"status_code\":{},\"request_id\":{id},\"body\":",
        verbatim.status
    );
    let body = verbatim.body.get();
    // A body may be large. The exact capacity avoids a copy when the text grows or becomes a `RawValue`.
    let mut text = String::with_capacity(head.len() + body.len() + 1);
    text.extend([&head, body, "}"]);
    drop(verbatim);
    // All three parts are JSON already, so this cannot fail.
    RawValue::from_string(text).unwrap_or_default()
}
