//! One conversation with one route: a question, and at most one repair.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::context::{Judged, max_tokens};
use super::definition::Agent;
use super::run::Prompt;
use crate::domain::failure::{Class, Verdict};
use crate::domain::ids::shortened;
use crate::domain::outcome::CallEnd;
use crate::llm::wire::{self, Answer, CallError, ChatCall, Message, Role};
use crate::llm::{Ask, Ended, Form as AskForm, Reply, Route, Walk};

/// So many characters of a bad answer are shown to the model again: a small model copies what it is shown.
const SHOWN: usize = 300;

/// And so many of what is wrong with it.
const TOLD: usize = 600;

/// One conversation on its way.
pub(super) struct Talk<'a, 'w> {
    walk: &'a mut Walk<'w>,
    route: &'a Arc<Route>,
    agent: &'a Agent,
    prompt: Prompt,
    /// Empty while a model takes its time: then the body that was sent is the one copy that is kept.
    messages: Vec<Message>,
    sent: Bytes,
    /// How long the agent's own instructions are, without what was added for a server that knows no schema.
    system_bytes: usize,
    max_tokens: u32,
    /// What is to be said beside the answer.
    pub(super) warnings: Vec<String>,
}

impl<'a, 'w> Talk<'a, 'w> {
    pub(super) fn new(
        walk: &'a mut Walk<'w>,
        route: &'a Arc<Route>,
        agent: &'a Agent,
        mut prompt: Prompt,
    ) -> Self {
        let messages = std::mem::take(&mut prompt.messages);
        Self {
            agent,
            system_bytes: messages.first().map_or(0, |system| system.content.len()),
            messages,
            sent: Bytes::new(),
            max_tokens: max_tokens(route, agent),
            warnings: std::mem::take(&mut prompt.warnings),
            walk,
            route,
            prompt,
        }
    }

    /// Asks until there is a usable answer: one more turn in which the model is shown what is wrong, and none beyond
    /// that.
    pub(super) async fn until_usable<T>(
        &mut self,
        judge: impl Fn(&Prompt, &Answer) -> Judged<T>,
    ) -> Result<T, Ended> {
        let answer = self.ask().await?;
        let (usable, wrong) = match judge(&self.prompt, &answer) {
            Judged::Good(product) => return Ok(product),
            Judged::Refused(error) => return Err(self.refused(error)),
            Judged::Mend(product, complaints) => (Some(product), complaints.join("; ")),
            Judged::Bad(wrong) => (None, wrong),
            Judged::Cut(wrong) => {
                self.recall();
                self.max_tokens = self.longer();
                (None, wrong)
            }
        };
        let first = self.walk.attempts.len().saturating_sub(1);
        self.repair(&answer, &wrong);
        let second = match self.ask().await {
            Ok(answer) => judge(&self.prompt, &answer),
            Err(ended) => return self.without_repair(usable, first, &wrong, ended),
        };
        match (second, usable) {
            (Judged::Good(product), _) => Ok(self.replaced(first, product)),
            (Judged::Mend(product, complaints), _) => {
                self.warnings.extend(
                    complaints
                        .into_iter()
                        .map(|left| format!("{left} (after one repair)")),
                );
                Ok(self.replaced(first, product))
            }
            // The first answer was good enough to be shown, and is paid.
            (_, Some(product)) => Ok(self.kept(first, product, &wrong)),
            (Judged::Refused(error), None) => {
                self.mark(first, Class::Schema);
                Err(self.refused(error))
            }
            (Judged::Bad(again) | Judged::Cut(again), None) => {
                self.mark(first, Class::Schema);
                Err(self.refused(CallError::new(
                    Class::Schema,
                    Verdict::Elsewhere,
                    &format!("{again}; before its one repair: {wrong}"),
                )))
            }
        }
    }

    /// One call; a server that refuses how it is asked is asked in another way, at once.
    async fn ask(&mut self) -> Result<Answer, Ended> {
        loop {
            let ask = self.compose();
            self.sent = ask.body.clone();
            self.messages = Vec::new();
            match self.walk.ask(self.route, &ask).await {
                Ok(Reply::Answer(answer)) => {
                    if let Some(doubt) = &answer.doubt {
                        self.warnings.push(format!(
                            "route `{}` cannot have counted its tokens right ({doubt}): what the call cost is not known",
                            self.route.settings.name
                        ));
                    }
                    return Ok(answer);
                }
                Ok(Reply::Verbatim(_)) => {
                    let error =
                        CallError::new(Class::Internal, Verdict::Final, "an agent got a raw response");
                    return Err(error.into());
                }
                Err(Ended::Refused) => self.recall(),
                Err(ended) => return Err(ended),
            }
        }
    }

    fn compose(&self) -> Ask {
        let settings = &self.route.settings;
        let structured = self.route.structured();
        let mut messages = self.messages.clone();
        if let (Some(instruction), Some(system)) = (
            self.agent.form.instruction(structured, self.prompt.language),
            messages.first_mut(),
        ) {
            system.content += &format!("\n\n{instruction}");
        }
        let format = self
            .agent
            .form
            .response_format(self.agent.action.as_str(), structured);
        let prompt_tokens = wire::estimate_messages(&messages);
        let mut manner = self
            .route
            .manner(self.max_tokens, prompt_tokens, format.is_some());
        if format.is_some() {
            // The prompt was made for this form. The route may have learned another in between.
            manner.structured = structured;
        }
        let sends = |name: &str| !manner.left_out.contains(&name);
        let sampling = &self.agent.sampling;
        let model = settings.model.clone().unwrap_or_default();
        let call = ChatCall {
            model: &model,
            messages: &messages,
            stream: true,
            include_usage: settings.stream_usage && sends("stream_options"),
            max_tokens: Some(manner.longest),
            max_tokens_field: &manner.longest_field,
            temperature: sampling.temperature.filter(|_| sends("temperature")),
            top_p: sampling.top_p.filter(|_| sends("top_p")),
            seed: sampling.seed.filter(|_| sends("seed")),
            response_format: format.as_deref(),
        };
        let (body, sent) = (Bytes::from(call.to_body()), call.optional_fields());
        manner.sent = sent;
        Ask {
            body,
            form: AskForm::Agent,
            tokens: prompt_tokens + u64::from(manner.longest),
            longest: Some(u64::from(manner.longest)),
            model,
            manner: Some(manner),
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
            llm.route = self.route.settings.name,
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
            content: self.prompt.language.repair(&shortened(wrong, TOLD)),
        });
    }

    /// Twice the length, as far as the route's window allows.
    fn longer(&self) -> u32 {
        let prompt = wire::estimate_messages(&self.messages);
        let window = self
            .route
            .settings
            .context_window
            .saturating_sub(prompt + u64::from(self.max_tokens));
        let room = u32::try_from(window).unwrap_or(u32::MAX).max(self.max_tokens);
        let most = self
            .route
            .settings
            .max_tokens
            .unwrap_or(u32::MAX)
            .max(self.max_tokens);
        self.max_tokens.saturating_mul(2).min(room).min(most)
    }

    /// The call was paid, its answer is of no use: the ledger calls it what it is.
    fn mark(&mut self, attempt: usize, class: Class) {
        if let Some(attempt) = self.walk.attempts.get_mut(attempt)
            && attempt.end.is_good()
        {
            attempt.end = CallEnd::Failed(class);
        }
    }

    fn replaced<T>(&mut self, first: usize, product: T) -> T {
        self.mark(first, Class::Schema);
        product
    }

    /// The first answer is used after all; its call goes last, where the ledger looks for the one that was used.
    fn kept<T>(&mut self, first: usize, product: T, wrong: &str) -> T {
        let last = self.walk.attempts.len().saturating_sub(1);
        if last != first {
            self.mark(last, Class::Schema);
            let used = self.walk.attempts.remove(first);
            self.walk.attempts.push(used);
        }
        self.warnings.push(format!("{wrong} (a repair was of no use)"));
        product
    }

    /// The second turn was not answered. What is usable is kept: it is paid, and asking again would pay twice.
    fn without_repair<T>(
        &mut self,
        usable: Option<T>,
        first: usize,
        wrong: &str,
        ended: Ended,
    ) -> Result<T, Ended> {
        if let Some(product) = usable {
            return Ok(self.kept(first, product, wrong));
        }
        self.mark(first, Class::Schema);
        Err(ended)
    }

    fn refused(&mut self, error: CallError) -> Ended {
        let last = self.walk.attempts.len().saturating_sub(1);
        self.mark(last, error.class);
        error.into()
    }
}

fn shortened_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => shortened(text, usize::MAX),
    }
}
