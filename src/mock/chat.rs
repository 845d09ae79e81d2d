//! One chat call, in either dialect: read, count, admit or refuse, wait, answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::MockAnswer;
use super::answer_request::AnswerRequest;
use super::call::{CallArrival, MockCall};
use super::chunks::{self, Chunks};
use super::config::Latency;
use super::credentials;
use super::error_object::{GARBAGE, OVERLOADED, SERVER_ERROR};
use super::events::Events;
use super::extras::Extras;
use super::faults::{Chance, MockFault};
use super::frames::{Frames, StreamFormat};
use super::messages::MessagesRequest;
use super::prompt::key_id;
use super::prompt_cache::TokenUsage;
use super::refusal;
use super::reply::{ConnectionEnd, Cut, Reply};
use super::request::ReceivedChat;
use super::response;
use super::server::ServerState;
use super::tally::CallOutcome;
use crate::clock;
use crate::config::Dialect;

/// Larger than any prompt, and small enough that a faulty client cannot fill the memory.
const LARGEST_BODY: usize = 64 << 20;

/// Answers a chat call.
pub(crate) async fn chat(
    shared: &Arc<ServerState>,
    dialect: Dialect,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<Reply>, Cut> {
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(refusal::too_large(shared, dialect, LARGEST_BODY));
        }
        Err(_) => return Err(Cut),
    };
    match admit(shared, dialect, headers, &body) {
        Ok(job) => {
            // The prompt is no longer needed. Ten thousand waiting calls must not hold ten thousand prompts.
            drop(body);
            job.perform().await
        }
        Err(refused) => Ok(*refused),
    }
}

/// An admitted call with its answer. The answer is made before the wait, because the limiter needs its tokens.
struct AdmittedCall {
    call: MockCall,
    dialect: Dialect,
    answer: MockAnswer,
    writer: Writer,
    stream: bool,
    fault: Option<MockFault>,
    rare_face: bool,
    latency: Latency,
    limits: HeaderMap,
}

/// Writes the answer of a call in its dialect.
enum Writer {
    Chat {
        /// The fields that are in every chunk of the answer.
        identity: String,
        include_usage: bool,
        usage: TokenUsage,
    },
    Messages(Events),
}

/// Counts the call, then admits it or returns its refusal.
fn admit(
    shared: &Arc<ServerState>,
    dialect: Dialect,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<AdmittedCall, Box<Response<Reply>>> {
    let read = match dialect {
        Dialect::OpenAi => ReceivedChat::parse(body).and_then(ReceivedChat::checked),
        Dialect::Anthropic => MessagesRequest::parse(body).and_then(MessagesRequest::checked),
    };
    let request = match read {
        Ok(request) => request,
        Err(message) => return Err(Box::new(refusal::malformed(shared, dialect, headers, &message))),
    };
    let config = &shared.config;
    let answer = MockAnswer::compose(
        &request.prompt,
        request.format.as_ref(),
        config.seed,
        config.answer_tokens,
        request.limit,
    );
    let (input_tokens, output_tokens) = (request.prompt.input_tokens, answer.pieces() as u64);
    let extras = shared
        .log
        .as_ref()
        .map_or_else(Extras::default, |_| Extras::of(headers, body));
    let mut call = MockCall::begin(
        shared,
        &CallArrival {
            prompt: Some(&request.prompt.id),
            custom: custom(headers, &request).as_deref(),
            model: &request.model,
            key: credentials::key(dialect, headers).map(key_id).as_deref(),
            user: &request.prompt.user,
            stream: request.stream,
            input_tokens,
            output_tokens,
            extras: &extras,
        },
    );
    if !shared.knows(dialect, headers) {
        return Err(Box::new(refusal::unauthorized(dialect, call)));
    }
    if config.api_key.is_some() && !credentials::names_version(dialect, headers) {
        let message = "anthropic-version: header is required";
        return Err(Box::new(refusal::bad_request(dialect, call, message)));
    }
    let mut chance = Chance::new(config.seed, call.number());
    let (fault, rare_face) = (chance.fault(&config.faults), chance.rare_face());
    let refused = |call, fault| match fault {
        MockFault::RateLimited => Ok(refusal::rate_limited(shared, dialect, call, None)),
        MockFault::ServerError => Ok(refusal::server_error(dialect, call, rare_face)),
        MockFault::Overloaded => Ok(refusal::overloaded(dialect, call)),
        _ => Err(call),
    };
    if let Some(fault) = fault {
        match refused(call, fault) {
            Ok(response) => return Err(Box::new(response)),
            Err(admitted) => call = admitted,
        }
    }
    let mut limits = HeaderMap::new();
    if let Err(denial) = shared.admit(dialect, input_tokens + output_tokens, &mut limits) {
        return Err(Box::new(refusal::rate_limited(
            shared,
            dialect,
            call,
            Some(&denial),
        )));
    }
    call.costs(input_tokens, 0);
    let usage = shared
        .prompt_cache
        .usage(input_tokens, output_tokens, request.prefix);
    let latency = chance.latency(config.latency);
    let stream = request.stream;
    Ok(AdmittedCall {
        writer: Writer::new(dialect, &call, request, usage),
        call,
        dialect,
        answer,
        stream,
        fault,
        rare_face,
        latency,
        limits,
    })
}

impl Writer {
    fn new(dialect: Dialect, call: &MockCall, request: AnswerRequest<'_>, usage: TokenUsage) -> Self {
        match dialect {
            Dialect::OpenAi => Self::Chat {
                identity: identity(call, &request.model, request.stream),
                include_usage: request.include_usage,
                usage,
            },
            Dialect::Anthropic => {
                Self::Messages(Events::new(call.number(), &request.model, request.tool, usage))
            }
        }
    }

    /// Returns the approximate bytes of a frame of a stream.
    fn frame_size(&self) -> usize {
        match self {
            Self::Chat { identity, .. } => identity.len() + 120,
            Self::Messages(_) => 160,
        }
    }

    fn stream_format(self) -> StreamFormat {
        match self {
            Self::Chat {
                identity,
                include_usage,
                usage,
            } => StreamFormat::Chat(Chunks::new(&identity, include_usage.then_some(usage))),
            Self::Messages(events) => StreamFormat::Messages(events),
        }
    }

    /// Returns the JSON of an answer that is not streamed.
    fn whole(&self, answer: &MockAnswer) -> String {
        match self {
            Self::Chat { identity, usage, .. } => chunks::whole(identity, answer, *usage),
            Self::Messages(events) => events.whole(answer),
        }
    }
}

impl AdmittedCall {
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
        self.call.heads_for(CallOutcome::planned(self.fault));
        if self.fault == Some(MockFault::Disconnect) && self.rare_face {
            self.call.finish();
            return Err(Cut);
        }
        let (dialect, number) = (self.dialect, self.call.number());
        let limits = std::mem::take(&mut self.limits);
        let mut response = if self.stream {
            self.streamed()
        } else {
            self.unstreamed()
        };
        response.headers_mut().extend(limits);
        response::name_request(response.headers_mut(), dialect, number);
        Ok(response)
    }

    fn streamed(mut self) -> Response<Reply> {
        let ending = ending(self.fault);
        let size = (self.answer.pieces() + 4) * self.writer.frame_size();
        let mut frames = Frames::new(self.writer.stream_format(), self.answer, self.fault);
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
        let whole = Bytes::from(self.writer.whole(&self.answer));
        let (length, half) = (whole.len(), whole.slice(..whole.len() / 2));
        let (body, length, pieces) = match self.fault {
            Some(MockFault::Disconnect | MockFault::Stall) => (half, length, self.answer.pieces() / 2),
            Some(MockFault::Truncate) => (half.clone(), half.len(), self.answer.pieces() / 2),
            Some(MockFault::Garbage) => (Bytes::from_static(GARBAGE.as_bytes()), GARBAGE.len(), 0),
            Some(MockFault::ErrorInStream) => {
                let error = match self.dialect {
                    Dialect::OpenAi => SERVER_ERROR.json(self.dialect),
                    Dialect::Anthropic => OVERLOADED.json(self.dialect),
                };
                (error.clone(), error.len(), 0)
            }
            _ => (whole, length, self.answer.pieces()),
        };
        self.call.sent(pieces as u64);
        let reply = Reply::whole(body, ending(self.fault), Some(self.call));
        response::sized(StatusCode::OK, "application/json", length, reply)
    }
}

/// Returns the ending of a body with this fault.
fn ending(fault: Option<MockFault>) -> ConnectionEnd {
    match fault {
        Some(MockFault::Disconnect) => ConnectionEnd::Abort,
        Some(MockFault::Stall) => ConnectionEnd::Hang,
        _ => ConnectionEnd::Clean,
    }
}

/// Returns the fields that are in every chunk of an answer.
fn identity(call: &MockCall, model: &str, stream: bool) -> String {
    let created = clock::now_ms() / 1000;
    let object = if stream {
        "chat.completion.chunk"
    } else {
        "chat.completion"
    };
    let model = Value::from(model);
    let n = call.number();
    format!(
        "\"id\":\"chatcmpl-{created:x}{n:012x}\",\"object\":\"{object}\",\"created\":{created},\"model\":{model},\
         \"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\""
    )
}

/// Returns the client's note on the call for the log: the header `x-nova3-id`, or the metadata of the request.
fn custom<'a>(headers: &HeaderMap, request: &AnswerRequest<'a>) -> Option<Cow<'a, RawValue>> {
    if let Some(id) = headers.get("x-nova3-id") {
        let id = String::from_utf8_lossy(id.as_bytes());
        return serde_json::value::to_raw_value(&id).ok().map(Cow::Owned);
    }
    let metadata = request.metadata?;
    if !metadata.get().contains(['\n', '\r']) {
        return Some(Cow::Borrowed(metadata));
    }
    // The log has one line for each event, so line breaks inside the client's JSON are removed.
    let value: Value = serde_json::from_str(metadata.get()).ok()?;
    serde_json::value::to_raw_value(&value).ok().map(Cow::Owned)
}
