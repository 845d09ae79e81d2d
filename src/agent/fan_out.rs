//! Splits a task into parts that run in parallel, and joins their results.
//!
//! An agent's file sets the fan-out. `for_each = "profile"` gives one part for each chosen or referenced profile.
//! `samples = 3` gives three answers to the same question. Each part is a task of its own. The join needs no model.
//! Its items get their numbers when the join is settled, in the order of the parts.

use serde_json::{Value, json};
use toml::Spanned;

use super::basis;
use super::definition::Agent;
use super::run::{PartOf, TaskInput};
use super::texts::keep_distinct;
use crate::domain::conditions::OnFailure;
use crate::domain::failure::Failure;
use crate::domain::outcome::NewItem;
use crate::domain::printable::counted;
use crate::domain::references::ItemId;
use crate::domain::request::is_name;
use crate::domain::task::TaskNo;
use crate::llm::Sampling;
use crate::store::{NewPart, PartOutcome};

/// The largest number of samples of a task, because each sample is paid.
const MOST_SAMPLES: u32 = 10;

/// How a task is split into parts that run in parallel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FanOut {
    /// The task is one call.
    #[default]
    No,
    /// One part for each chosen or referenced item of this type, if there are several.
    Each(String),
    /// Several answers to the same question.
    Samples {
        /// The number of answers.
        count: usize,
        /// Whether all items are kept. Otherwise equal items are merged and the list is cut to `max_results`.
        keep_all: bool,
    },
}

impl FanOut {
    /// Reads the fan-out of an agent's file. `Err` holds the byte offset of the fault and the reason.
    pub(super) fn read(
        for_each: Option<&Spanned<String>>,
        samples: Option<&Spanned<u32>>,
        keep: Option<&Spanned<String>>,
    ) -> Result<Self, (usize, String)> {
        let keep_all = match keep.map(|keep| (keep, keep.get_ref().as_str())) {
            None | Some((_, "merged")) => false,
            Some((_, "all")) => true,
            Some((keep, other)) => {
                let reason = format!("`keep` is `{other}`, expected `all` or `merged`");
                return Err((keep.span().start, reason));
            }
        };
        match (for_each, samples, keep) {
            (None, None, None) => Ok(Self::No),
            (None, None, Some(keep)) => Err((keep.span().start, "`keep` needs `samples`".to_owned())),
            (Some(kind), None, None) if is_name(kind.get_ref()) => Ok(Self::Each(kind.get_ref().clone())),
            (Some(kind), None, None) => {
                let reason = format!(
                    "`for_each` is `{}`, expected a type of items such as `profile`",
                    kind.get_ref()
                );
                Err((kind.span().start, reason))
            }
            (Some(kind), _, _) => {
                let reason = "`for_each` does not go with `samples` or `keep` (leave one out)".to_owned();
                Err((kind.span().start, reason))
            }
            (None, Some(samples), _) if (2..=MOST_SAMPLES).contains(samples.get_ref()) => Ok(Self::Samples {
                count: *samples.get_ref() as usize,
                keep_all,
            }),
            (None, Some(samples), _) => {
                let reason = format!("`samples` is {}, expected 2 to {MOST_SAMPLES}", samples.get_ref());
                Err((samples.span().start, reason))
            }
        }
    }

    /// Returns the type of the items that get one part each.
    pub fn each(&self) -> Option<&str> {
        match self {
            Self::Each(kind) => Some(kind),
            Self::No | Self::Samples { .. } => None,
        }
    }
}

/// The outcome of a join.
#[derive(Debug)]
pub struct JoinOutcome {
    /// The items of the task and the warnings about them, or the failure of the task.
    pub end: Result<(Vec<NewItem>, Vec<String>), Failure>,
    /// The failure of a part that the task continues without.
    pub flaw: Option<Failure>,
}

/// Returns the parts of a task; the list is empty if the task is one call.
pub fn split(agent: &Agent, task: TaskInput<'_>) -> Vec<NewPart> {
    let part = |subject: Option<String>, description: String| NewPart {
        subject,
        description,
        input: task.input.to_owned(),
    };
    let mut parts: Vec<NewPart> = match &agent.fan_out {
        FanOut::No => Vec::new(),
        FanOut::Samples { count, .. } => (1..=*count)
            .map(|number| part(None, format!("sample {number} of {count}")))
            .collect(),
        FanOut::Each(kind) => subjects(agent, kind, task)
            .into_iter()
            .map(|(id, title)| part(Some(id), title))
            .collect(),
    };
    parts.truncate(TaskNo::MOST_PARTS);
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// Returns the chosen items of a type, then the referenced ones, each with its title and without repetition. In a pipeline
/// the results of earlier tasks follow.
fn subjects(agent: &Agent, kind: &str, task: TaskInput<'_>) -> Vec<(String, String)> {
    let is_of_kind = |id: &str| ItemId::parse(id).is_some_and(|parsed| parsed.kind == kind);
    let chosen = task.brief.selections.chosen();
    let chosen = chosen.map(|item| (item.id.clone(), item.title.clone().unwrap_or_default()));
    let referenced = task.material.items.iter();
    let referenced = referenced.map(|item| (item.id.clone(), title_of(item.body.get("title"))));
    let earlier = task.material.earlier.iter().filter(|_| agent.sees.is_some());
    let earlier = earlier.flat_map(|task| &task.items);
    let earlier = earlier.map(|item| (item.id.clone(), title_of(item.body.get("title"))));
    let mut subjects: Vec<(String, String)> = chosen
        .chain(referenced)
        .chain(earlier)
        .filter(|(id, _)| is_of_kind(id))
        .collect();
    keep_distinct(&mut subjects, |(id, _)| json!(id));
    subjects
}

fn title_of(title: Option<&Value>) -> String {
    title.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns the agent for one part: with its share of `max_results`, or with its own seed.
pub fn of_part(agent: &Agent, part: PartOf<'_>) -> Agent {
    let mut own = agent.clone();
    if part.subject.is_some() {
        own.max_results = agent.max_results.map(|most| share(most, part));
    } else {
        let seed = agent.sampling.seed.map(|seed| seed.saturating_add(index(part)));
        own.sampling = Sampling {
            seed,
            ..agent.sampling
        };
    }
    own
}

fn index(part: PartOf<'_>) -> i64 {
    i64::try_from(part.number.saturating_sub(1)).unwrap_or(0)
}

/// Returns the item limit of one part: an equal share of `most`, and at least one.
fn share(most: usize, part: PartOf<'_>) -> usize {
    let of = part.of.max(1);
    (most / of + usize::from(part.number <= most % of)).max(1)
}

/// Adds the subject of a part to each item: for the kind `profile`, the id as `profile` and the title as
/// `profile_title`.
pub(super) fn name_subject(agent: &Agent, task: TaskInput<'_>, subject: &str, items: &mut [NewItem]) {
    let Some(kind) = agent.fan_out.each() else { return };
    let subjects = subjects(agent, kind, task);
    let title = subjects
        .into_iter()
        .find(|(id, _)| id == subject)
        .map(|(_, title)| title);
    let title = title.filter(|title| !title.is_empty());
    for item in items {
        item.body.insert(kind.to_owned(), Value::from(subject));
        if let Some(title) = &title {
            item.body
                .insert(format!("{kind}_title"), Value::from(title.as_str()));
        }
    }
}

/// Joins the settled parts of a task. A failed part fails the task, with two exceptions. One good sample is enough,
/// and a run with `OnFailure::Continue` uses the parts that succeeded.
pub fn join(agent: Option<&Agent>, outcomes: Vec<PartOutcome>, on_failure: OnFailure) -> JoinOutcome {
    let fan_out = agent.map_or(&FanOut::No, |agent| &agent.fan_out);
    let are_samples = outcomes.iter().all(|outcome| outcome.part.subject.is_none());
    let mut items = Vec::new();
    let (mut failures, mut good) = (Vec::new(), 0);
    for PartOutcome { part, end } in outcomes {
        match end {
            Ok(made) => {
                good += 1;
                items.extend(made);
            }
            Err(failure) => failures.push((part, failure)),
        }
    }
    let mut warnings = Vec::new();
    if let FanOut::Samples { keep_all: false, .. } = fan_out {
        let same = keep_distinct(&mut items, |item| basis::without(&item.body)) as u64;
        if same > 0 {
            warnings.push(format!("the samples had {} alike, merged", counted(same, "item")));
        }
        let most = agent.and_then(|agent| agent.max_results).unwrap_or(usize::MAX);
        if items.len() > most {
            warnings.push(format!(
                "the samples had {} items together, the first {most} were kept (`agents.max_results`)",
                items.len()
            ));
            items.truncate(most);
        }
    }
    let told: Vec<String> = failures
        .iter()
        .map(|(part, failure)| match &part.subject {
            Some(subject) => format!("{} ({subject}): {}", part.no, failure.message),
            None => format!("{}: {}", part.no, failure.message),
        })
        .collect();
    let count = failures.len();
    let Some((_, first)) = failures.into_iter().next() else {
        return JoinOutcome {
            end: Ok((items, warnings)),
            flaw: None,
        };
    };
    let failed = counted(count as u64, "part");
    let goes_on = good > 0 && (are_samples || on_failure == OnFailure::Continue);
    let failure = Failure {
        message: format!("{failed} of {} failed: {}", count + good, told[0]),
        causes: told.clone(),
        task_id: None,
        ..first
    };
    if !goes_on {
        return JoinOutcome {
            end: Err(failure),
            flaw: None,
        };
    }
    warnings.extend(
        told.into_iter()
            .map(|told| format!("a part failed and is left out: {told}")),
    );
    JoinOutcome {
        end: Ok((items, warnings)),
        flaw: (!are_samples).then_some(failure),
    }
}
