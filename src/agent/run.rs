//! One task through one model: compose, ask, judge.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::definition::Agent;
use crate::domain::failure::{Class, Failure, Verdict};
use crate::domain::outcome::{Attempt, Making, NewItem, Product};
use crate::domain::request::{Brief, Completion};
use crate::domain::usage::{Cost, Usage};
use crate::llm::wire::{self, Answer, CallError, ChatCall, Message};
use crate::llm::{Ask, Client, Ended, Form, Outcome, Reply, Route, Stop, Verbatim};

/// What a Batch line without a bound is taken to use at most, for the limit of tokens a minute.
const UNBOUNDED_ANSWER: u64 = 4096;

/// A task that came to its end.
#[derive(Debug)]
pub struct Done {
    /// Its end.
    pub end: TaskEnd,
    /// How it was made.
    pub making: Making,
    /// Every call.
    pub attempts: Vec<Attempt>,
}

/// Where a task ends.
#[derive(Debug)]
pub enum TaskEnd {
    /// With a result.
    Completed(Product),
    /// With a failure; a Batch line may still have a response.
    Failed(Failure, Option<Product>),
    /// Nowhere: the run is ending, or no route is left. The task is as good as before.
    Interrupted,
}

/// Lets the agent do its task.
pub async fn run_agent(
    client: &Client,
    route: &Route,
    agent: &Agent,
    brief: &Brief,
    input: &str,
    stop: &Stop,
) -> Done {
    let ask = match compose(route, agent, brief, input) {
        Ok(ask) => ask,
        Err(failure) => return unasked(route, failure),
    };
    let outcome = client.call(route, &ask, stop).await;
    finish(route, &ask, outcome, |reply| match reply {
        Reply::Answer(answer) => judge(agent, &answer),
        Reply::Verbatim(_) => Err(CallError::new(
            Class::Internal,
            Verdict::Final,
            "an agent got a raw response",
        )),
    })
}

/// Sends an OpenAI Batch line as it stands.
pub async fn run_completion(client: &Client, route: &Route, completion: &Completion, stop: &Stop) -> Done {
    let body = completion.body.get();
    let fields = wire::batch_fields(body);
    let ask = Ask {
        body: Bytes::copy_from_slice(body.as_bytes()),
        form: Form::Verbatim {
            streams: completion.streams,
        },
        model: fields.model.unwrap_or_default(),
        tokens: fields.prompt_tokens + fields.max_tokens.unwrap_or(UNBOUNDED_ANSWER),
    };
    let outcome = client.call(route, &ask, stop).await;
    finish(route, &ask, outcome, |reply| match reply {
        Reply::Verbatim(verbatim) => Ok(Product::Response(response(&verbatim))),
        Reply::Answer(_) => Err(CallError::new(
            Class::Internal,
            Verdict::Final,
            "a Batch line got a parsed answer",
        )),
    })
}

fn compose(route: &Route, agent: &Agent, brief: &Brief, input: &str) -> Result<Ask, Failure> {
    let Some(model) = &route.settings.model else {
        let message = format!(
            "route `{}` names no model (set `OPENAI_MODEL`, `-m`, or `model` of the route)",
            route.settings.name
        );
        return Err(Failure::new(Class::BadRequest, message));
    };
    let messages: Vec<Message> = agent
        .messages(brief, input)
        .map_err(|error| Failure::new(Class::Internal, format!("the prompt cannot be made: {error:#}")))?;
    let max_tokens = route
        .settings
        .max_tokens
        .map_or(agent.max_tokens, |most| most.min(agent.max_tokens));
    let call = ChatCall {
        model,
        messages: &messages,
        stream: true,
        include_usage: route.settings.stream_usage,
        max_tokens: Some(max_tokens),
        max_tokens_field: &route.settings.max_tokens_field,
        temperature: None,
        top_p: None,
        seed: None,
        response_format: None,
    };
    Ok(Ask {
        body: Bytes::from(call.to_body()),
        form: Form::Agent,
        model: model.clone(),
        tokens: wire::estimate_messages(&messages) + u64::from(max_tokens),
    })
}

/// An answer becomes an item, or the reason why it cannot.
fn judge(agent: &Agent, answer: &Answer) -> Result<Product, CallError> {
    answer.verdict_of_finish()?;
    let text = wire::strip_think(&answer.text).trim();
    if text.is_empty() {
        return Err(CallError::new(
            Class::Schema,
            Verdict::Final,
            "the model gave an empty answer",
        ));
    }
    let mut body = serde_json::Map::new();
    body.insert("content".to_owned(), Value::from(text));
    if answer.finish_reason == "length" {
        body.insert("truncated".to_owned(), Value::Bool(true));
    }
    Ok(Product::Items(vec![NewItem {
        kind: agent.action.item_type(),
        body,
    }]))
}

/// `{status_code, request_id, body}`: the `response` of a Batch output line.
fn response(verbatim: &Verbatim) -> Box<RawValue> {
    let id = serde_json::to_string(&verbatim.request_id).unwrap_or_else(|_| "null".to_owned());
    let text = format!(
        "{{\"status_code\":{},\"request_id\":{id},\"body\":{}}}",
        verbatim.status,
        verbatim.body.get()
    );
    // All three parts are JSON already; without them there is nothing to show.
    RawValue::from_string(text).unwrap_or_default()
}

fn finish(
    route: &Route,
    ask: &Ask,
    outcome: Outcome,
    judge: impl FnOnce(Reply) -> Result<Product, CallError>,
) -> Done {
    let Outcome {
        end,
        mut attempts,
        duration_ms,
    } = outcome;
    let end = match end {
        Ok(reply) => judge(reply).map_err(|error| {
            // The call was paid, its answer is of no use: the ledger calls it what it is.
            if let Some(last) = attempts.last_mut() {
                last.class = Some(error.class);
            }
            Ended::Failed {
                error,
                response: None,
                causes: Vec::new(),
            }
        }),
        Err(ended) => Err(ended),
    };
    let making = making(route, ask, &attempts, duration_ms);
    let end = match end {
        Ok(product) => TaskEnd::Completed(product),
        Err(Ended::Failed {
            error,
            response: verbatim,
            causes,
        }) => {
            let failure = Failure {
                route: Some(route.settings.name.clone()),
                status_code: error.status.filter(|status| *status != 200),
                causes,
                ..Failure::new(error.class, error.message)
            };
            TaskEnd::Failed(
                failure,
                verbatim
                    .as_ref()
                    .map(|verbatim| Product::Response(response(verbatim))),
            )
        }
        Err(Ended::Latched | Ended::Interrupted) => TaskEnd::Interrupted,
    };
    Done {
        end,
        making,
        attempts,
    }
}

/// The bookkeeping of the task: what its good answer used, and what the other calls cost for nothing.
fn making(route: &Route, ask: &Ask, attempts: &[Attempt], duration_ms: u64) -> Making {
    let used = attempts.last().filter(|attempt| attempt.class.is_none());
    let cost = attempts
        .iter()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    let good = used.and_then(|attempt| attempt.cost).unwrap_or(Cost::ZERO);
    Making {
        route: route.settings.name.clone(),
        model: attempts
            .last()
            .map_or_else(|| ask.model.clone(), |attempt| attempt.model.clone()),
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        usage: used.map_or_else(Usage::default, |attempt| attempt.usage),
        cost: route.settings.price.map(|_| good),
        wasted: Cost(cost.0.saturating_sub(good.0)),
        duration_ms,
        first_token_ms: used.and_then(|attempt| attempt.first_token_ms),
    }
}

/// A task that failed before anything was sent.
fn unasked(route: &Route, failure: Failure) -> Done {
    let making = Making {
        route: route.settings.name.clone(),
        model: route.settings.model.clone().unwrap_or_default(),
        attempts: 0,
        usage: Usage::default(),
        cost: route.settings.price.map(|_| Cost::ZERO),
        wasted: Cost::ZERO,
        duration_ms: 0,
        first_token_ms: None,
    };
    Done {
        end: TaskEnd::Failed(failure, None),
        making,
        attempts: Vec::new(),
    }
}
