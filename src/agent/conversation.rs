//! One conversation with one route: a question and at most one repair.

use std::sync::Arc;

use super::context::{Validation, max_tokens};
use super::definition::Agent;
use super::language::Language;
use super::run::Prompt;
use crate::domain::failure::{Class, Verdict};
use crate::domain::ids::shortened;
use crate::domain::outcome::CallEnd;
use crate::llm::{
    Answer, CallError, ChatRequest, Message, ModelRequest, ModelResponse, Role, Route, RouteError,
    RouteSelector, estimate_messages, strip_think,
};

/// Characters of a bad answer that a repair shows to the model. A small model copies the text that it is shown.
const SHOWN: usize = 300;

/// Characters of the complaints that a repair shows to the model.
const TOLD: usize = 600;

/// A conversation in progress.
pub(super) struct Conversation<'a, 'w> {
    selector: &'a mut RouteSelector<'w>,
    route: &'a Arc<Route>,
    agent: &'a Agent,
    prompt: Prompt,
    /// The only copy of the messages that is kept while a model works.
    messages: Vec<Message>,
    max_tokens: u32,
    /// Warnings beside the answer.
    pub(super) warnings: Vec<String>,
}

impl<'a, 'w> Conversation<'a, 'w> {
    pub(super) fn new(
        selector: &'a mut RouteSelector<'w>,
        route: &'a Arc<Route>,
        agent: &'a Agent,
        mut prompt: Prompt,
    ) -> Self {
        Self {
            agent,
            messages: std::mem::take(&mut prompt.messages),
            max_tokens: max_tokens(route, agent),
            warnings: std::mem::take(&mut prompt.warnings),
            selector,
            route,
            prompt,
        }
    }

    /// Asks until there is a usable answer. One repair shows the model its complaints; there is no second repair.
    pub(super) async fn until_usable<T>(
        &mut self,
        validate: impl Fn(&Prompt, &Answer) -> Validation<T>,
    ) -> Result<T, RouteError> {
        let answer = self.ask().await?;
        let (usable, wrong) = match validate(&self.prompt, &answer) {
            Validation::Good(product) => {
                self.uses(self.last());
                return Ok(product);
            }
            Validation::Refused(error) => return Err(self.refused(error)),
            Validation::Mend(product, complaints) => (Some(product), complaints.join("; ")),
            Validation::Bad(wrong) => (None, wrong),
            Validation::Cut(wrong) => {
                self.max_tokens = self.longer();
                (None, wrong)
            }
        };
        let first = self.last();
        self.repair(&answer, &wrong);
        let second = match self.ask().await {
            Ok(answer) => validate(&self.prompt, &answer),
            Err(ended) => return self.without_repair(usable, first, &wrong, ended),
        };
        match (second, usable) {
            (Validation::Good(product), _) => Ok(self.replaced(first, product)),
            (Validation::Mend(product, complaints), _) => {
                self.warnings.extend(
                    complaints
                        .into_iter()
                        .map(|left| format!("{left} (after one repair)")),
                );
                Ok(self.replaced(first, product))
            }
            // The first answer was good enough to show, and it is paid.
            (_, Some(product)) => Ok(self.kept(first, product, &wrong)),
            (Validation::Refused(error), None) => {
                self.mark(first, Class::Schema);
                Err(self.refused(error))
            }
            (Validation::Bad(again) | Validation::Cut(again), None) => {
                self.mark(first, Class::Schema);
                Err(self.refused(CallError::new(
                    Class::Schema,
                    Verdict::Elsewhere,
                    &format!("{again}; before its one repair: {wrong}"),
                )))
            }
        }
    }

    /// Sends one call.
    async fn ask(&mut self) -> Result<Answer, RouteError> {
        let name = self.agent.action.as_str();
        let request = ModelRequest::Chat(ChatRequest {
            messages: &self.messages,
            schema: self.agent.form.output_schema(name, self.prompt.language),
            longest: self.max_tokens,
            sampling: self.agent.sampling,
            tools: &[],
        });
        match self.selector.ask(self.route, &request).await? {
            ModelResponse::Answer(answer) => {
                if let Some(doubt) = &answer.doubt {
                    self.warnings.push(format!(
                        "route `{}` cannot have counted its tokens right ({doubt}): what the call cost is not known",
                        self.route.settings.name
                    ));
                }
                Ok(answer)
            }
            ModelResponse::Verbatim(_) => {
                let message = "an agent got the response to a Batch line";
                Err(CallError::new(Class::Internal, Verdict::Final, message).into())
            }
        }
    }

    /// Adds the answer and its complaints to the messages.
    fn repair(&mut self, answer: &Answer, wrong: &str) {
        tracing::info!(
            agent.action = self.agent.action.as_str(),
            llm.route = self.route.settings.name,
            "the answer is asked again: {wrong}"
        );
        let said = strip_think(&answer.text);
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

    /// Returns twice the token limit, as far as the route's window and `max_tokens` allow.
    fn longer(&self) -> u32 {
        let prompt = estimate_messages(&self.messages);
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

    /// Records the failure class of an unusable answer in the ledger. Its call is paid all the same.
    fn mark(&mut self, attempt: usize, class: Class) {
        if let Some(attempt) = self.selector.attempts.get_mut(attempt)
            && attempt.end.is_good()
        {
            attempt.end = CallEnd::Failed(class);
        }
    }

    /// Returns the index of the last call.
    fn last(&self) -> usize {
        self.selector.attempts.len().saturating_sub(1)
    }

    /// Marks the answer of this call as the result.
    fn uses(&mut self, attempt: usize) {
        if let Some(attempt) = self.selector.attempts.get_mut(attempt) {
            attempt.used = true;
        }
    }

    fn replaced<T>(&mut self, first: usize, product: T) -> T {
        self.mark(first, Class::Schema);
        self.uses(self.last());
        product
    }

    /// Uses the first answer although it has complaints.
    fn kept<T>(&mut self, first: usize, product: T, wrong: &str) -> T {
        let last = self.last();
        if last != first {
            self.mark(last, Class::Schema);
        }
        self.uses(first);
        self.warnings.push(format!("{wrong} (a repair was of no use)"));
        product
    }

    /// Ends a conversation whose repair got no answer. A usable first answer is kept: it is paid, and another call
    /// would pay twice.
    fn without_repair<T>(
        &mut self,
        usable: Option<T>,
        first: usize,
        wrong: &str,
        ended: RouteError,
    ) -> Result<T, RouteError> {
        if let Some(product) = usable {
            return Ok(self.kept(first, product, wrong));
        }
        self.mark(first, Class::Schema);
        Err(ended)
    }

    fn refused(&mut self, error: CallError) -> RouteError {
        self.mark(self.last(), error.class);
        error.into()
    }
}

/// Returns the longest messages that a repair can add to a conversation.
pub(super) fn longest_repair(language: Language) -> [Message; 2] {
    // The widest character of UTF-8.
    let text = |chars: usize| "\u{20000}".repeat(chars + 1);
    [
        (Role::Assistant, text(SHOWN)),
        (Role::User, language.repair(&text(TOLD))),
    ]
    .map(|(role, content)| Message { role, content })
}

fn shortened_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => shortened(text, usize::MAX),
    }
}
