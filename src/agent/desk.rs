//! What every call of an agent needs, and the conversation that ends in a usable answer.

use bytes::Bytes;
use serde::Deserialize;

use super::definition::Agent;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure, Verdict};
use crate::domain::ids::shortened;
use crate::domain::outcome::{Attempt, Making};
use crate::domain::usage::{Cost, Usage};
use crate::llm::wire::{self, Answer, CallError, ChatCall, Message, Role};
use crate::llm::{Ask, Client, Ended, Form as AskForm, Outcome, Reply, Route, Stop};

/// Of a bad answer, so much is shown to the model again.
const SHOWN: usize = 6000;

/// What an agent works with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The way to models.
    pub client: &'a Client,
    /// The route it takes.
    pub route: &'a Route,
    /// How much of earlier work may stand in a prompt.
    pub budget: &'a ContextBudget,
    /// How the run ends early.
    pub stop: &'a Stop,
}

/// What an answer is worth.
pub(super) enum Judged<T> {
    /// It will do.
    Good(T),
    /// It can be used, but there is something to mend.
    Mend(T, Vec<String>),
    /// It cannot be used; the model can be told why.
    Bad(String),
    /// It was cut at its longest length.
    Cut(String),
    /// It cannot be used, and telling the model would not help.
    Refused(CallError),
}

/// How a conversation ended.
pub(super) enum Talked<T> {
    /// With something to use; what is still to mend is told in warnings.
    Well(T),
    /// Without.
    Failed(Failure),
    /// The run is ending, or the route is dead; the task is as good as before.
    Interrupted,
}

/// A conversation and what it took.
pub(super) struct Conversation<T> {
    pub(super) end: Talked<T>,
    pub(super) making: Making,
    pub(super) attempts: Vec<Attempt>,
}

/// One conversation on its way.
struct Talk<'a> {
    desk: Desk<'a>,
    agent: &'a Agent,
    /// Empty while a model takes its time: then the body that was sent is the one copy that is kept.
    messages: Vec<Message>,
    sent: Bytes,
    /// How long the agent's own instructions are, without what was added for a server that knows no schema.
    system_bytes: usize,
    max_tokens: u32,
    attempts: Vec<Attempt>,
    duration_ms: u64,
    warnings: Vec<String>,
}

/// Asks until there is a usable answer: one more turn in which the model is shown what is wrong, and none beyond that.
pub(super) async fn converse<T>(
    desk: Desk<'_>,
    agent: &Agent,
    messages: Vec<Message>,
    warnings: Vec<String>,
    judge: impl Fn(&Answer) -> Judged<T>,
) -> Conversation<T> {
    let mut talk = Talk::new(desk, agent, messages, warnings);
    let end = talk.until_usable(judge).await;
    let used = matches!(end, Talked::Well(_));
    Conversation {
        end,
        making: talk.making(used),
        attempts: talk.attempts,
    }
}

impl<'a> Talk<'a> {
    fn new(desk: Desk<'a>, agent: &'a Agent, messages: Vec<Message>, warnings: Vec<String>) -> Self {
        Self {
            desk,
            agent,
            system_bytes: messages.first().map_or(0, |system| system.content.len()),
            messages,
            sent: Bytes::new(),
            max_tokens: max_tokens(desk.route, agent),
            attempts: Vec::new(),
            duration_ms: 0,
            warnings,
        }
    }

    async fn until_usable<T>(&mut self, judge: impl Fn(&Answer) -> Judged<T>) -> Talked<T> {
        let answer = match self.ask().await {
            Ok(answer) => answer,
            Err(ended) => return self.ended(ended),
        };
        let (usable, wrong) = match judge(&answer) {
            Judged::Good(product) => return Talked::Well(product),
            Judged::Refused(error) => return self.refused(error),
            Judged::Mend(product, complaints) => (Some(product), complaints.join("; ")),
            Judged::Bad(wrong) => (None, wrong),
            Judged::Cut(wrong) => {
                self.recall();
                self.max_tokens = self.longer();
                (None, wrong)
            }
        };
        let first = self.attempts.len().saturating_sub(1);
        self.repair(&answer, &wrong);
        let second = match self.ask().await {
            Ok(answer) => judge(&answer),
            Err(ended) => return self.without_repair(usable, first, &wrong, ended),
        };
        match (second, usable) {
            (Judged::Good(product), _) => self.replaced(first, product),
            (Judged::Mend(product, complaints), _) => {
                self.warnings.extend(
                    complaints
                        .into_iter()
                        .map(|left| format!("{left} (after one repair)")),
                );
                self.replaced(first, product)
            }
            // The first answer was good enough to be shown, and is paid.
            (_, Some(product)) => self.kept(first, product, &wrong),
            (Judged::Refused(error), None) => self.refused(error),
            (Judged::Bad(again) | Judged::Cut(again), None) => {
                self.mark(first, Class::Schema);
                self.refused(CallError::new(
                    Class::Schema,
                    Verdict::Elsewhere,
                    &format!("{again}; before its one repair: {wrong}"),
                ))
            }
        }
    }

    /// One call; a server that refuses how the form is asked for is asked in the next simpler way, at once.
    async fn ask(&mut self) -> Result<Answer, Ended> {
        loop {
            let structured = self.desk.route.structured();
            let ask = self.compose(structured);
            self.sent = ask.body.clone();
            self.messages = Vec::new();
            let Outcome {
                end,
                attempts,
                duration_ms,
            } = self.desk.client.call(self.desk.route, &ask, self.desk.stop).await;
            self.attempts.extend(attempts);
            self.duration_ms = self.duration_ms.saturating_add(duration_ms);
            match end {
                Ok(Reply::Answer(answer)) => return Ok(answer),
                Ok(Reply::Verbatim(_)) => {
                    let error =
                        CallError::new(Class::Internal, Verdict::Final, "an agent got a raw response");
                    return Err(failed(error));
                }
                Err(Ended::Failed { error, .. })
                    if error.refuses_form() && self.desk.route.downgrade(structured) =>
                {
                    self.recall();
                    tracing::warn!(
                        llm.route = self.desk.route.settings.name,
                        "the route refuses `response_format`, it is asked in a simpler way from now on: {}",
                        error.message
                    );
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    fn compose(&self, structured: crate::config::Structured) -> Ask {
        let settings = &self.desk.route.settings;
        let mut messages = self.messages.clone();
        if let (Some(instruction), Some(system)) =
            (self.agent.form.instruction(structured), messages.first_mut())
        {
            system.content += &format!("\n\n{instruction}");
        }
        let format = self
            .agent
            .form
            .response_format(self.agent.action.as_str(), structured);
        let model = settings.model.clone().unwrap_or_default();
        let call = ChatCall {
            model: &model,
            messages: &messages,
            stream: true,
            include_usage: settings.stream_usage,
            max_tokens: Some(self.max_tokens),
            max_tokens_field: &settings.max_tokens_field,
            temperature: self.agent.sampling.temperature,
            top_p: self.agent.sampling.top_p,
            seed: self.agent.sampling.seed,
            response_format: format.as_deref(),
        };
        Ask {
            body: Bytes::from(call.to_body()),
            form: AskForm::Agent,
            tokens: wire::estimate_messages(&messages) + u64::from(self.max_tokens),
            model,
        }
    }

    /// The conversation again, from the body that was sent.
    fn recall(&mut self) {
        #[derive(Deserialize)]
        struct Sent {
            messages: Vec<Message>,
        }
        if self.messages.is_empty() {
            // We wrote it ourselves; what could not be read would be asked as a conversation without a beginning.
            let sent: Option<Sent> = serde_json::from_slice(&self.sent).ok();
            self.messages = sent.map(|sent| sent.messages).unwrap_or_default();
            if let Some(system) = self.messages.first_mut() {
                system.content.truncate(self.system_bytes);
            }
        }
    }

    /// The model is shown what it said and what is wrong with it.
    fn repair(&mut self, answer: &Answer, wrong: &str) {
        tracing::info!(
            agent.action = self.agent.action.as_str(),
            llm.route = self.desk.route.settings.name,
            "the answer is asked again: {wrong}"
        );
        self.recall();
        let said = wire::strip_think(&answer.text);
        self.messages.push(Message {
            role: Role::Assistant,
            content: if said.trim().is_empty() {
                "…".to_owned()
            } else {
                shortened_text(said)
            },
        });
        self.messages.push(Message {
            role: Role::User,
            content: format!(
                "上面的回答不能使用：{wrong}\n请改正后重新给出完整的回答，形式和语言要求不变，不要解释。"
            ),
        });
    }

    /// Twice the length, as far as the route's window allows.
    fn longer(&self) -> u32 {
        let prompt = wire::estimate_messages(&self.messages);
        let window = self
            .desk
            .route
            .settings
            .context_window
            .saturating_sub(prompt + u64::from(self.max_tokens));
        let room = u32::try_from(window).unwrap_or(u32::MAX).max(self.max_tokens);
        let most = self
            .desk
            .route
            .settings
            .max_tokens
            .unwrap_or(u32::MAX)
            .max(self.max_tokens);
        self.max_tokens.saturating_mul(2).min(room).min(most)
    }

    /// The call was paid, its answer is of no use: the ledger calls it what it is.
    fn mark(&mut self, attempt: usize, class: Class) {
        if let Some(attempt) = self
            .attempts
            .get_mut(attempt)
            .filter(|attempt| attempt.class.is_none())
        {
            attempt.class = Some(class);
        }
    }

    fn replaced<T>(&mut self, first: usize, product: T) -> Talked<T> {
        self.mark(first, Class::Schema);
        Talked::Well(product)
    }

    /// The first answer is used after all; its call goes last, where the ledger looks for the one that was used.
    fn kept<T>(&mut self, first: usize, product: T, wrong: &str) -> Talked<T> {
        let last = self.attempts.len().saturating_sub(1);
        if last != first {
            self.mark(last, Class::Schema);
            let used = self.attempts.remove(first);
            self.attempts.push(used);
        }
        self.warnings.push(format!("{wrong} (a repair was of no use)"));
        Talked::Well(product)
    }

    /// The second turn was not answered. What is usable is kept: it is paid, and asking again would pay twice.
    fn without_repair<T>(&mut self, usable: Option<T>, first: usize, wrong: &str, ended: Ended) -> Talked<T> {
        if let Some(product) = usable {
            return self.kept(first, product, wrong);
        }
        self.mark(first, Class::Schema);
        self.ended(ended)
    }

    fn refused<T>(&mut self, error: CallError) -> Talked<T> {
        let last = self.attempts.len().saturating_sub(1);
        self.mark(last, error.class);
        self.ended(failed(error))
    }

    fn ended<T>(&self, ended: Ended) -> Talked<T> {
        match ended {
            Ended::Failed { error, causes, .. } => Talked::Failed(Failure {
                route: Some(self.desk.route.settings.name.clone()),
                status_code: error.status.filter(|status| *status != 200),
                causes,
                ..Failure::new(error.class, error.message)
            }),
            Ended::Latched | Ended::Interrupted => Talked::Interrupted,
        }
    }

    fn making(&self, used: bool) -> Making {
        let mut making = making(self.desk.route, &self.attempts, used, self.duration_ms);
        making.warnings.clone_from(&self.warnings);
        making
    }
}

fn failed(error: CallError) -> Ended {
    Ended::Failed {
        error,
        response: None,
        causes: Vec::new(),
    }
}

fn shortened_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => shortened(text, usize::MAX),
    }
}

/// The longest answer of an agent on a route.
pub(super) fn max_tokens(route: &Route, agent: &Agent) -> u32 {
    let settings = &route.settings;
    // At least half of the window is for the prompt.
    let half = u32::try_from(settings.context_window / 2).unwrap_or(u32::MAX);
    let most = settings.max_tokens.unwrap_or(u32::MAX);
    agent.max_tokens.min(most).min(half)
}

/// The bookkeeping of a task: what its good answer used, and what the other calls cost for nothing.
pub(super) fn making(route: &Route, attempts: &[Attempt], used: bool, duration_ms: u64) -> Making {
    let used = attempts.last().filter(|attempt| used && attempt.class.is_none());
    let cost = attempts
        .iter()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    let good = used.and_then(|attempt| attempt.cost).unwrap_or(Cost::ZERO);
    let model = attempts.last().map(|attempt| attempt.model.clone());
    Making {
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        usage: used.map_or_else(Usage::default, |attempt| attempt.usage),
        cost: route.settings.price.map(|_| good),
        wasted: Cost(cost.0.saturating_sub(good.0)),
        duration_ms,
        first_token_ms: used.and_then(|attempt| attempt.first_token_ms),
        ..Making::without_calls(
            route.settings.name.clone(),
            model.or_else(|| route.settings.model.clone()).unwrap_or_default(),
        )
    }
}
