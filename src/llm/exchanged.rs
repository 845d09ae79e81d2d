//! The exchange of a call with its model, for observers.

use std::sync::Arc;

use super::dialect::Call;
use super::request::ModelRequest;
use super::response::ModelResponse;
use super::selector::RouteSelector;
use crate::observe::{CallFact, Exchange, ExchangeDetail};

/// The most bytes of one text.
const MOST_BYTES: usize = 32 << 10;

impl RouteSelector<'_> {
    /// Publishes the exchanges of the attempts from this one on, if an observer asks for them. Only the last one can have
    /// an answer.
    pub(super) fn publish_exchanges(
        &self,
        first: usize,
        request: &ModelRequest<'_>,
        call: &Call<'_>,
        response: Option<&ModelResponse>,
    ) {
        let Some(events) = self
            .events
            .filter(|events| events.detail() > ExchangeDetail::None)
        else {
            return;
        };
        let detail = events.detail();
        let mut attempts = self.attempts[first..].iter().peekable();
        while let Some(attempt) = attempts.next() {
            let response = response.filter(|_| attempts.peek().is_none());
            let exchange = exchange(request, call, response, detail);
            events.call(CallFact::Exchanged {
                route: attempt.route.clone(),
                started_at: attempt.started_at,
                exchange: Arc::new(exchange),
            });
        }
    }
}

fn exchange(
    request: &ModelRequest<'_>,
    call: &Call<'_>,
    response: Option<&ModelResponse>,
    detail: ExchangeDetail,
) -> Exchange {
    let mut exchange = Exchange {
        streams: call.streams,
        ..Exchange::default()
    };
    let has_texts = detail == ExchangeDetail::Texts;
    match request {
        ModelRequest::Chat(chat) => {
            exchange.max_tokens = Some(i64::from(chat.longest));
            exchange.temperature = chat.sampling.temperature;
            exchange.top_p = chat.sampling.top_p;
            exchange.seed = chat.sampling.seed;
            if has_texts {
                let messages = chat.messages.iter();
                exchange.input = messages
                    .map(|message| (message.role.name(), bounded(&message.content)))
                    .collect();
            }
        }
        ModelRequest::Verbatim(line) if has_texts => exchange.input = vec![("user", bounded(line.body))],
        ModelRequest::Verbatim(_) => {}
    }
    match response {
        Some(ModelResponse::Answer(answer)) => {
            exchange.response_id = answer.id.as_deref().map(bounded);
            exchange.response_model = answer.model.as_deref().map(bounded);
            exchange.finish_reason = Some(bounded(&answer.finish_reason));
            exchange.output = has_texts.then(|| bounded(answer.object_text()));
        }
        Some(ModelResponse::Verbatim(whole)) => {
            exchange.response_id = whole.request_id.as_deref().map(bounded);
            exchange.output = has_texts.then(|| bounded(whole.body.get()));
        }
        None => {}
    }
    exchange
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MOST_BYTES)].to_owned()
}
