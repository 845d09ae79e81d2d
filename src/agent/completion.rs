//! An OpenAI Batch line: one raw completion, without a prompt of ours.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::context::{AgentContext, failure, making};
use super::run::{Done, TaskEnd};
use crate::domain::failure::{Class, Failure};
use crate::domain::outcome::{Making, Product};
use crate::domain::request::{Completion, Endpoint};
use crate::llm::wire;
use crate::llm::{Ask, Form, Over, Reply, Route, Verbatim};

/// What a Batch line without a bound is taken to use at most, for the limit of tokens a minute.
const UNBOUNDED_ANSWER: u64 = 4096;

/// Sends an OpenAI Batch line: as it stands to the first route of the chain. A further route is asked for its own
/// model, since the line's is a name of the first one's.
pub async fn run_completion(context: AgentContext<'_>, completion: &Completion) -> Done {
    let mut walk = context.walk();
    let first = Arc::clone(walk.first());
    let mut route = Arc::clone(&first);
    let mut asked = None;
    let end = loop {
        route = match walk.route() {
            Ok(route) => route,
            Err(over) => break Err(over),
        };
        let is_first = route.settings.name == first.settings.name;
        let ask = ask(&route, completion, is_first, walk.is_capped());
        asked = Some(ask.model.clone());
        match walk.ask(&route, &ask).await {
            Ok(reply) => break Ok(reply),
            Err(ended) => {
                if let Some(over) = walk.leave(&route, ended).await {
                    break Err(over);
                }
            }
        }
    };
    let making = making(&walk, &route, end.is_ok());
    let model = walk.attempts.last().map(|attempt| attempt.model.clone());
    Done {
        making: Making {
            model: model.or(asked).unwrap_or_default(),
            ..making
        },
        end: closed(&route, end),
        attempts: walk.attempts,
    }
}

fn ask(route: &Route, completion: &Completion, is_first: bool, capped: bool) -> Ask {
    let settings = &route.settings;
    let body = completion.body.get();
    let fields = wire::batch_fields(body);
    // Under a cost cap nothing is sent whose end is open.
    let bound = settings
        .max_tokens
        .filter(|_| capped && fields.max_tokens.is_none() && completion.endpoint == Endpoint::Chat)
        .map(u64::from);
    let model = settings.model.as_deref().filter(|_| !is_first);
    let longest = match completion.endpoint {
        // Nothing is written.
        Endpoint::Embeddings => Some(0),
        _ => fields.max_tokens.or(bound),
    };
    let is_chat = completion.endpoint == Endpoint::Chat;
    // Only the stream of a chat can be put together again.
    let unstreamed = (completion.streams && !is_chat)
        .then(|| wire::unstreamed(body))
        .flatten();
    let body = unstreamed.as_deref().unwrap_or(body);
    let bytes = wire::with_fields(
        body,
        model,
        bound.map(|tokens| (settings.max_tokens_field.as_str(), tokens)),
    );
    Ask {
        body: bytes.map_or_else(|| Bytes::copy_from_slice(body.as_bytes()), Bytes::from),
        form: Form::Verbatim {
            streams: completion.streams && is_chat,
            endpoint: completion.endpoint,
        },
        model: model.map(str::to_owned).or(fields.model).unwrap_or_default(),
        tokens: longest
            .unwrap_or(UNBOUNDED_ANSWER)
            .saturating_mul(fields.answers)
            .saturating_add(fields.prompt_tokens),
        longest: longest
            .filter(|_| fields.only_text)
            .map(|tokens| tokens.saturating_mul(fields.answers)),
        manner: None,
    }
}

fn closed(route: &Route, end: Result<Reply, Over>) -> TaskEnd {
    match end {
        Ok(Reply::Verbatim(verbatim)) => TaskEnd::Completed(Product::Response(response(verbatim))),
        Ok(Reply::Answer(_)) => TaskEnd::Failed(
            Failure::new(Class::Internal, "a Batch line got a parsed answer"),
            None,
        ),
        Err(Over::Failed(mut with)) => {
            let verbatim = with.response.take();
            let product = verbatim.map(|verbatim| Product::Response(response(verbatim)));
            TaskEnd::Failed(failure(route, *with), product)
        }
        Err(Over::Stopped(why)) => TaskEnd::Interrupted(why),
    }
}

/// `{status_code, request_id, body}`: the `response` of a Batch output line.
fn response(verbatim: Verbatim) -> Box<RawValue> {
    let id = serde_json::to_string(&verbatim.request_id).unwrap_or_else(|_| "null".to_owned());
    let head = format!(
        "{{\"status_code\":{},\"request_id\":{id},\"body\":",
        verbatim.status
    );
    let body = verbatim.body.get();
    // A body may be large: the text must not be copied when it grows or is done.
    let mut text = String::with_capacity(head.len() + body.len() + 1);
    text.extend([&head, body, "}"]);
    drop(verbatim);
    // All three parts are JSON already; without them there is nothing to show.
    RawValue::from_string(text).unwrap_or_default()
}
