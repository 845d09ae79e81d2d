//! The details of a request: what was asked, its queue, the results, the searches and their sources.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::texts::TextBound;
use crate::domain::failure::Failure;
use crate::domain::outcome::{Finished, PartRecord, Provenance, SearchTaskRecord, TaskRecord};
use crate::domain::request::{Request, Work};
use crate::domain::result_line::task_cost;
use crate::domain::task_search::SourceRecord;
use crate::domain::usage::Cost;

/// The bounds of a request's texts, tried one after the other until its details are small enough.
const BOUNDS: [TextBound; 3] = [
    TextBound { chars: 6_000 },
    TextBound { chars: 800 },
    TextBound { chars: 100 },
];

/// The largest size of a request's details in bytes.
const LARGEST: usize = 200_000;

/// The most sources of a task that are listed.
const MOST_SOURCES: usize = 30;

/// Whether the texts of requests, answers, results and sources are on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageTexts {
    /// They are.
    Shown,
    /// They are not; figures, ids and error classes remain.
    Hidden,
}

/// Returns the details of a request.
pub(super) fn details(finished: &Finished, request: Option<&Request>, texts: PageTexts) -> Value {
    let mut made = Value::Null;
    for bound in BOUNDS {
        made = DetailWriter { bound, texts }.of(finished, request);
        if size(&made) <= LARGEST {
            return made;
        }
    }
    // Still too large: a request of thousands of items.
    made["tasks"] = Value::Null;
    made["left_out"] = "The results of this request are too large for this page.".into();
    made
}

/// Estimates the bytes of a value as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(list) => list.iter().map(size).sum::<usize>() + 2,
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| name.len() + 4 + size(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

struct DetailWriter {
    bound: TextBound,
    texts: PageTexts,
}

impl DetailWriter {
    fn of(&self, finished: &Finished, request: Option<&Request>) -> Value {
        let tasks: Vec<Value> = finished
            .tasks
            .iter()
            .map(|task| self.task(finished, task))
            .collect();
        let plan = finished.plan.as_ref().map(|plan| {
            json!({
                "origin": plan.origin, "attempts": plan.making.attempts, "ms": plan.making.duration_ms,
                "route": plan.making.route, "cost": plan.making.cost.map(Cost::usd),
            })
        });
        let metadata = finished.metadata.as_deref().map(|raw| self.raw(raw));
        json!({
            "request": request.map(|request| self.request(request)),
            "metadata": metadata,
            "plan": plan,
            "tasks": tasks,
            "failure": finished.failure.as_ref().map(|failure| self.failure(finished, failure)),
            "warnings": self.warnings(&finished.warnings),
            "redone": finished.is_redone,
        })
    }

    const fn hides(&self) -> bool {
        matches!(self.texts, PageTexts::Hidden)
    }

    fn text(&self, text: &str) -> Value {
        if self.hides() {
            return Value::Null;
        }
        self.bound.text(text).into()
    }

    fn warnings(&self, warnings: &[String]) -> Value {
        if self.hides() {
            return Value::Null;
        }
        warnings
            .iter()
            .take(50)
            .map(|warning| self.bound.text(warning))
            .collect()
    }

    fn raw(&self, raw: &RawValue) -> Value {
        if self.hides() {
            return Value::Null;
        }
        match serde_json::from_str::<Value>(raw.get()) {
            Ok(value) => self.bound.value(&value),
            // A number outside of the range of a double, or nesting that is too deep.
            Err(_) => self.bound.text(raw.get()).into(),
        }
    }

    fn request(&self, request: &Request) -> Value {
        if self.hides() {
            return json!({ "hidden": true, "model": request.model });
        }
        let mut fields = match &request.work {
            Work::Completion(completion) => {
                let body = self.raw(&completion.body);
                Map::from_iter([("body".to_owned(), body)])
            }
            Work::Brief(brief) => match serde_json::to_value(brief) {
                Ok(Value::Object(fields)) => match self.bound.value(&Value::Object(fields)) {
                    Value::Object(fields) => fields,
                    _ => Map::new(),
                },
                _ => Map::new(),
            },
        };
        fields.retain(|_, value| !is_empty(value));
        if let Some(model) = &request.model {
            fields.insert("model".to_owned(), self.bound.text(model).into());
        }
        Value::Object(fields)
    }

    fn failure(&self, finished: &Finished, failure: &Failure) -> Value {
        let causes: Vec<Value> = failure
            .causes
            .iter()
            .take(20)
            .map(|cause| self.text(cause))
            .collect();
        json!({
            "class": failure.class.as_str(),
            "message": self.text(&failure.message),
            "line": failure.line.map(|_| finished.line),
            "task": failure.task_id,
            "route": failure.route,
            "status": failure.status_code,
            "retryable": failure.retryable,
            "causes": if self.hides() { Vec::new() } else { causes },
            "advice": failure.class.advice(),
        })
    }

    fn task(&self, finished: &Finished, task: &TaskRecord) -> Value {
        let making: Option<&Provenance> = task.making.as_ref();
        let mut shown = json!({
            "id": task.task_id,
            "action": task.action,
            "input": self.text(&task.input),
            "needs": task.needs.iter().map(|index| index + 1).collect::<Vec<_>>(),
            "status": task.status.shown(),
            "cost": task_cost(task).map(Cost::usd),
            "search": task.search.as_ref().map(|search| self.search(search)),
            "parts": task.parts.iter().map(|part| self.part(part)).collect::<Vec<_>>(),
        });
        if let (Some(making), Value::Object(fields)) = (making, &mut shown) {
            let bookkeeping = json!({
                "route": making.route, "model": self.bound.text(&making.model), "attempts": making.attempts,
                "input_tokens": making.usage.input_tokens, "cached": making.usage.cached_input_tokens,
                "output_tokens": making.usage.output_tokens,
                "ms": making.duration_ms, "first_ms": making.first_token_ms, "degraded": making.degraded,
                "fallback": making.fallback.as_ref().map(|fallback| json!({
                    "from": fallback.from, "reason": self.text(&fallback.reason),
                })),
                "warnings": self.warnings(&making.warnings),
            });
            if let Value::Object(bookkeeping) = bookkeeping {
                fields.extend(bookkeeping);
            }
        }
        if let Some(result) = &task.result {
            let (name, value) = self.result(finished, result);
            shown[name] = value;
        }
        shown
    }

    fn result(&self, finished: &Finished, result: &RawValue) -> (&'static str, Value) {
        if finished.is_completion {
            return ("response", self.response(result));
        }
        if self.hides() {
            let items: Vec<Value> = serde_json::from_str(result.get()).unwrap_or_default();
            let ids = items.iter().filter_map(|item| item.get("id")?.as_str());
            return ("ids", ids.map(|id| self.bound.text(id)).collect());
        }
        ("items", self.raw(result))
    }

    /// The text of the answer to a Batch line, or the whole body if it has no such text.
    fn response(&self, result: &RawValue) -> Value {
        if self.hides() {
            return Value::Null;
        }
        let value: Value = serde_json::from_str(result.get()).unwrap_or_default();
        let text = value.pointer("/body/choices/0/message/content");
        let text = text.or_else(|| value.pointer("/body/choices/0/text"));
        match text.and_then(Value::as_str) {
            Some(text) => self.bound.text(text).into(),
            None => self.raw(result),
        }
    }

    fn part(&self, part: &PartRecord) -> Value {
        let making = part.making.as_ref();
        json!({
            "id": part.task_id, "subject": part.subject, "status": part.status.shown(),
            "route": making.map(|making| making.route.as_str()),
            "attempts": making.map(|making| making.attempts),
            "ms": making.map(|making| making.duration_ms),
            "cost": making.and_then(|making| making.cost).map(Cost::usd),
            "class": part.failure.as_ref().map(|failure| failure.class.as_str()),
            "message": part.failure.as_ref().map(|failure| self.text(&failure.message)),
        })
    }

    fn search(&self, search: &SearchTaskRecord) -> Value {
        let found = search.found.as_ref();
        let queries = found.iter().flat_map(|found| &found.queries).map(|query| {
            let failures = query.failures.iter().map(|failure| {
                json!({ "link": failure.link, "kind": failure.kind, "message": self.text(&failure.message) })
            });
            json!({
                "query": self.text(&query.query), "provider": query.provider, "found_by": query.found_by,
                "looked_up": query.looked_up, "degraded": query.degraded, "age_s": query.age_s,
                "failures": failures.collect::<Vec<_>>(),
            })
        });
        let sources = found.map_or(&[][..], |found| &found.sources);
        json!({
            "status": search.status.shown(),
            "degraded": search.making.as_ref().is_none_or(|making| making.degraded),
            "ms": search.making.as_ref().map(|making| making.duration_ms),
            "queries": queries.collect::<Vec<_>>(),
            "sources": sources.iter().take(MOST_SOURCES).map(|source| self.source(source)).collect::<Vec<_>>(),
            "more_sources": sources.len().saturating_sub(MOST_SOURCES),
            "error": search.failure.as_ref().map(|failure| self.text(&failure.message)),
        })
    }

    fn source(&self, source: &SourceRecord) -> Value {
        json!({
            "id": source.id, "provider": source.provider, "looked_up": source.looked_up,
            "title": self.text(&source.title),
            "url": source.url.as_deref().map(|url| self.text(url)),
            "published": source.published_at.as_deref().map(|date| self.text(date)),
        })
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
