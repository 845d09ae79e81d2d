//! One chat call: read, count, judge, wait, answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Response, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{Arrival, Call};
use super::config::Latency;
use super::error_object::{GARBAGE, SERVER_ERROR};
use super::faults::{Chance, Fault};
use super::frames::{Frames, Usage};
use super::refusal;
use super::reply::{Cut, Ending, Reply};
use super::request::{ChatRequest, key_id};
use super::response;
use super::server::Shared;
use super::tally::Outcome;
use crate::clock;

/// Larger than any prompt, small enough that a runaway client cannot fill the memory.
const LARGEST_BODY: usize = 64 << 20;

/// Answers a chat call.
pub(crate) async fn chat(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<Reply>, Cut> {
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(refusal::too_large(shared, LARGEST_BODY)),
        Err(_) => return Err(Cut),
    };
    match admit(shared, headers, &body) {
        Ok(job) => {
            // The prompt has done its work; ten thousand waiting calls must not hold ten thousand prompts.
            drop(body);
            job.perform().await
        }
        Err(refused) => Ok(*refused),
    }
}

/// An admitted call with its answer, which is known before the wait because its price is.
struct Job {
    call: Call,
    identity: String,
    answer: Answer,
    stream: bool,
    include_usage: bool,
    usage: Usage,
    fault: Option<Fault>,
    rare_face: bool,
    latency: Latency,
    limits: HeaderMap,
}

/// Counts the call, then admits it or says what is wrong with it.
fn admit(shared: &Arc<Shared>, headers: &HeaderMap, body: &[u8]) -> Result<Job, Box<Response<Reply>>> {
    let parsed = ChatRequest::parse(body).and_then(|request| Ok((request.prompt()?, request)));
    let (prompt, request) = match parsed {
        Ok((prompt, request)) => (prompt, request),
        Err(message) => return Err(Box::new(refusal::malformed(shared, headers, &message))),
    };
    let config = &shared.config;
    let answer = Answer::compose(
        &prompt,
        request.response_format.as_ref(),
        config.seed,
        config.answer_tokens,
        request.limit(),
    );
    let stream = request.stream.unwrap_or(false);
    let mut call = Call::begin(
        shared,
        &Arrival {
            prompt: Some(&prompt.id),
            custom: custom(headers, &request).as_deref(),
            model: &request.model,
            key: bearer(headers).map(key_id).as_deref(),
            user: &prompt.user,
            stream,
            input_tokens: prompt.input_tokens,
            output_tokens: answer.pieces() as u64,
        },
    );
    if !shared.knows(headers) {
        return Err(Box::new(refusal::unauthorized(call)));
    }
    let mut chance = Chance::new(config.seed, call.number());
    let (fault, rare_face) = (chance.fault(&config.faults), chance.rare_face());
    match fault {
        Some(Fault::RateLimited) => return Err(Box::new(refusal::rate_limited(shared, call, None))),
        Some(Fault::ServerError) => return Err(Box::new(refusal::server_error(call, rare_face))),
        _ => {}
    }
    let usage = Usage::new(prompt.input_tokens, answer.pieces() as u64);
    let mut limits = HeaderMap::new();
    if let Err(denial) = shared.admit(usage.total_tokens, &mut limits) {
        return Err(Box::new(refusal::rate_limited(shared, call, Some(&denial))));
    }
    call.costs(usage.prompt_tokens, 0);
    let identity = identity(&call, &request, stream);
    let latency = chance.latency(config.latency);
    let include_usage = request.include_usage();
    Ok(Job {
        call,
        identity,
        answer,
        stream,
        include_usage,
        usage,
        fault,
        rare_face,
        latency,
        limits,
    })
}

impl Job {
    async fn perform(mut self) -> Result<Response<Reply>, Cut> {
        let mut wait = self.latency.first_token;
        if !self.stream {
            wait += self
                .latency
                .per_token
                .saturating_mul(u32::try_from(self.answer.pieces()).unwrap_or(u32::MAX));
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.call.heads_for(outcome(self.fault));
        if self.fault == Some(Fault::Disconnect) && self.rare_face {
            self.call.finish();
            return Err(Cut);
        }
        let (number, limits) = (self.call.number(), std::mem::take(&mut self.limits));
        let mut response = if self.stream {
            self.streamed()
        } else {
            self.unstreamed()
        };
        response.headers_mut().extend(limits);
        response::name_request(response.headers_mut(), number);
        Ok(response)
    }

    fn streamed(mut self) -> Response<Reply> {
        let usage = self.include_usage.then_some(self.usage);
        let ending = ending(self.fault);
        let size = (self.answer.pieces() + 4) * (self.identity.len() + 120);
        let mut frames = Frames::new(&self.identity, self.answer, usage, self.fault);
        if !self.latency.per_token.is_zero() {
            return response::stream(Reply::paced(frames, self.latency.per_token, ending, self.call));
        }
        let mut all = Vec::with_capacity(size);
        while !frames.is_over() {
            frames.render(&mut all);
        }
        self.call.sent(frames.pieces_sent());
        response::stream(Reply::whole(all, ending, Some(self.call)))
    }

    fn unstreamed(mut self) -> Response<Reply> {
        let whole = Bytes::from(self.completion());
        let (length, half) = (whole.len(), whole.slice(..whole.len() / 2));
        let (body, length, pieces) = match self.fault {
            Some(Fault::Disconnect | Fault::Stall) => (half, length, self.answer.pieces() / 2),
            Some(Fault::Truncate) => (half.clone(), half.len(), self.answer.pieces() / 2),
            Some(Fault::Garbage) => (Bytes::from_static(GARBAGE.as_bytes()), GARBAGE.len(), 0),
            Some(Fault::ErrorInStream) => {
                let error = SERVER_ERROR.json();
                (error.clone(), error.len(), 0)
            }
            _ => (whole, length, self.answer.pieces()),
        };
        self.call.sent(pieces as u64);
        let reply = Reply::whole(body, ending(self.fault), Some(self.call));
        response::sized(StatusCode::OK, "application/json", length, reply)
    }

    /// The JSON of an answer that is not streamed.
    fn completion(&self) -> String {
        let message = json!({ "role": "assistant", "content": self.answer.text(), "refusal": null });
        let finish_reason = self.answer.finish_reason();
        let choice =
            json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason });
        format!(
            "{{{},\"choices\":[{choice}],\"usage\":{}}}",
            self.identity,
            json!(self.usage)
        )
    }
}

/// What a fault does to the end of the body.
fn ending(fault: Option<Fault>) -> Ending {
    match fault {
        Some(Fault::Disconnect) => Ending::Abort,
        Some(Fault::Stall) => Ending::Hang,
        _ => Ending::Clean,
    }
}

fn outcome(fault: Option<Fault>) -> Outcome {
    match fault {
        None => Outcome::Ok,
        Some(Fault::RateLimited) => Outcome::RateLimited,
        Some(Fault::ServerError) => Outcome::ServerError,
        Some(Fault::Disconnect) => Outcome::Disconnect,
        Some(Fault::Truncate) => Outcome::Truncate,
        Some(Fault::Stall) => Outcome::Stall,
        Some(Fault::Garbage) => Outcome::Garbage,
        Some(Fault::ErrorInStream) => Outcome::ErrorInStream,
    }
}

/// The fields that every chunk of an answer repeats.
fn identity(call: &Call, request: &ChatRequest<'_>, stream: bool) -> String {
    let created = clock::now_ms() / 1000;
    let object = if stream {
        "chat.completion.chunk"
    } else {
        "chat.completion"
    };
    let model = Value::from(request.model.as_ref());
    let n = call.number();
    format!(
        "\"id\":\"chatcmpl-{created:x}{n:012x}\",\"object\":\"{object}\",\"created\":{created},\"model\":{model},\
         \"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\""
    )
}

/// What the client says about the call for the log: a header, or the metadata of the request.
fn custom<'a>(headers: &HeaderMap, request: &ChatRequest<'a>) -> Option<Cow<'a, RawValue>> {
    if let Some(id) = headers.get("x-nova3-id") {
        let id = String::from_utf8_lossy(id.as_bytes());
        return serde_json::value::to_raw_value(&id).ok().map(Cow::Owned);
    }
    let metadata = request.metadata?;
    if !metadata.get().contains(['\n', '\r']) {
        return Some(Cow::Borrowed(metadata));
    }
    // A line of the log must stay one line, however the client lays out its JSON.
    let value: Value = serde_json::from_str(metadata.get()).ok()?;
    serde_json::value::to_raw_value(&value).ok().map(Cow::Owned)
}

/// Whether the bearer key of a request is the expected one.
pub(crate) fn bears(headers: &HeaderMap, key: &str) -> bool {
    bearer(headers) == Some(key)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
