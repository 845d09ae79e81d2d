//! Fallbacks, searches, warnings and facts, counted over all finished requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::findings::WarningKind;
use super::texts::TextBound;
use crate::domain::failure::kind_of;
use crate::domain::outcome::{Finished, Provenance, TaskRecord};
use crate::domain::task_search::QueryRecord;

/// The most examples of each kind.
const EXAMPLES: usize = 3;

/// The most distinct reasons that are counted. Later ones count as one.
const MOST_REASONS: usize = 100;

/// The most reasons of each kind that the page lists.
const SHOWN_REASONS: usize = 5;

const EXAMPLE: TextBound = TextBound { chars: 300 };

/// Reasons with their counts.
#[derive(Debug, Default)]
struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    fn add(&mut self, reason: &str) {
        let kind = EXAMPLE.text(&kind_of(reason));
        if self.0.len() < MOST_REASONS || self.0.contains_key(&kind) {
            *self.0.entry(kind).or_default() += 1;
        } else {
            *self.0.entry("other reasons".to_owned()).or_default() += 1;
        }
    }

    fn shown(&self) -> Vec<(&str, u64)> {
        let mut list: Vec<(&str, u64)> = self
            .0
            .iter()
            .map(|(text, count)| (text.as_str(), *count))
            .collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list.truncate(SHOWN_REASONS);
        list
    }
}

/// Warnings of one kind.
#[derive(Debug, Default)]
struct FindingCount {
    warnings: u64,
    requests: u64,
    examples: Vec<FindingExample>,
}

#[derive(Debug, Clone, Serialize)]
struct FindingExample {
    /// The `custom_id` of the request, or its line.
    id: String,
    /// The warning; `None` on a page without texts.
    text: Option<String>,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Quality {
    hides_texts: bool,
    fallbacks: BTreeMap<(String, String), (u64, Reasons)>,
    degraded: u64,
    queries: u64,
    cached: u64,
    unanswered: u64,
    providers: BTreeMap<String, u64>,
    failures: BTreeMap<(String, String), (u64, Option<String>)>,
    findings: BTreeMap<WarningKind, FindingCount>,
    sourced: u64,
    unsourced: u64,
    unproven: Reasons,
    made: BTreeMap<String, u64>,
}

/// The properties of one request that the table filters by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RequestMarks {
    pub(super) fallback: bool,
    pub(super) degraded: bool,
    /// Warnings and facts that a person should look at.
    pub(super) findings: u32,
    pub(super) warnings: bool,
}

impl RequestMarks {
    /// Whether the request needs a look.
    pub(super) const fn is_notable(self) -> bool {
        self.fallback || self.degraded || self.findings > 0
    }

    pub(super) const fn bits(self) -> u32 {
        (self.fallback as u32)
            | (self.degraded as u32) << 1
            | ((self.findings > 0) as u32) << 2
            | (self.warnings as u32) << 3
    }
}

impl Quality {
    pub(super) fn new(hides_texts: bool) -> Self {
        Self {
            hides_texts,
            ..Self::default()
        }
    }

    /// Counts a request.
    pub(super) fn add(&mut self, finished: &Finished) -> RequestMarks {
        let mut marks = RequestMarks::default();
        for task in &finished.tasks {
            self.add_task(task, &mut marks);
        }
        self.add_warnings(finished, &mut marks);
        self.degraded += u64::from(marks.degraded);
        marks
    }

    fn add_task(&mut self, task: &TaskRecord, marks: &mut RequestMarks) {
        let search = task.search.as_ref();
        let of_search = search.and_then(|search| search.making.as_ref());
        for making in task.making.iter().chain(of_search) {
            marks.degraded |= making.degraded;
            if let Some(fallback) = &making.fallback {
                marks.fallback = true;
                let key = (fallback.from.clone(), making.route.clone());
                let (tasks, reasons) = self.fallbacks.entry(key).or_default();
                *tasks += 1;
                reasons.add(&fallback.reason);
            }
        }
        let found = search.and_then(|search| search.found.as_ref());
        for query in found.iter().flat_map(|found| &found.queries) {
            self.add_query(query);
        }
        self.add_items(task, marks);
    }

    fn add_query(&mut self, query: &QueryRecord) {
        self.queries += 1;
        self.cached += u64::from(query.age_s.is_some());
        self.unanswered += u64::from(!query.looked_up);
        let by = query.found_by.as_ref().or(query.provider.as_ref());
        let by = by.map_or("no provider", String::as_str);
        *self.providers.entry(by.to_owned()).or_default() += 1;
        for failure in &query.failures {
            let key = (failure.link.clone(), failure.kind.clone());
            let (count, example) = self.failures.entry(key).or_default();
            *count += 1;
            if example.is_none() && !self.hides_texts {
                *example = Some(EXAMPLE.text(&failure.message));
            }
        }
    }

    /// Counts the items of a task by type, and its facts by whether they have a source.
    fn add_items(&mut self, task: &TaskRecord, marks: &mut RequestMarks) {
        let Some(result) = &task.result else { return };
        // A Batch response is an object and has no items.
        let Ok(items) = serde_json::from_str::<Vec<ItemHead<'_>>>(result.get()) else {
            return;
        };
        for item in items {
            let id = item.id.map_or("", |id| id.get().trim_matches('"'));
            let kind = id.trim_end_matches(|c: char| c.is_ascii_digit());
            if !kind.is_empty() && kind.len() <= 60 {
                match self.made.get_mut(kind) {
                    Some(count) => *count += 1,
                    None => drop(self.made.insert(kind.to_owned(), 1)),
                }
            }
            match item.sourced.map(RawValue::get) {
                Some("true") => self.sourced += 1,
                Some("false") => {
                    self.unsourced += 1;
                    marks.findings = marks.findings.saturating_add(1);
                    let reason: Option<String> =
                        item.unproven.and_then(|raw| serde_json::from_str(raw.get()).ok());
                    // A reason can quote the text in back quotes.
                    let reason = reason.unwrap_or_default();
                    let reason = reason
                        .split('`')
                        .next()
                        .unwrap_or_default()
                        .trim()
                        .trim_end_matches(':');
                    self.unproven.add(if reason.is_empty() {
                        "no reason given"
                    } else {
                        reason
                    });
                }
                _ => {}
            }
        }
    }

    fn add_warnings(&mut self, finished: &Finished, marks: &mut RequestMarks) {
        let makings: Vec<&Provenance> = makings(finished).collect();
        let mut warnings: Vec<&str> = finished.warnings.iter().map(String::as_str).collect();
        warnings.extend(
            makings
                .iter()
                .flat_map(|making| &making.warnings)
                .map(String::as_str),
        );
        let mut known: Vec<WarningKind> = Vec::new();
        for warning in warnings {
            let kind = WarningKind::of(warning);
            marks.warnings = true;
            marks.findings = marks.findings.saturating_add(u32::from(kind.is_compliance()));
            let count = self.findings.entry(kind).or_default();
            count.warnings += 1;
            if known.contains(&kind) {
                continue;
            }
            known.push(kind);
            count.requests += 1;
            if count.examples.len() < EXAMPLES {
                count.examples.push(FindingExample {
                    id: name_of(finished),
                    text: (!self.hides_texts).then(|| EXAMPLE.text(warning)),
                });
            }
        }
    }

    /// Returns the counts as the page shows them.
    pub(super) fn shown(&self) -> ShownQuality<'_> {
        let reasons = |reasons: &'_ Reasons| -> Vec<(String, u64)> {
            if self.hides_texts {
                return Vec::new();
            }
            let shown = reasons.shown().into_iter();
            shown.map(|(text, count)| (text.to_owned(), count)).collect()
        };
        let fallbacks = self
            .fallbacks
            .iter()
            .map(|((from, to), (tasks, why))| ShownFallback {
                from,
                to,
                tasks: *tasks,
                reasons: reasons(why),
            });
        let failures = self
            .failures
            .iter()
            .map(|((link, kind), (count, example))| ShownLinkFailure {
                link,
                kind,
                count: *count,
                example: example.as_deref(),
            });
        let findings = self.findings.iter().map(|(kind, count)| ShownFinding {
            label: kind.label(),
            compliance: kind.is_compliance(),
            warnings: count.warnings,
            requests: count.requests,
            examples: &count.examples,
        });
        let mut findings: Vec<ShownFinding<'_>> = findings.collect();
        findings.sort_by_key(|finding| (!finding.compliance, std::cmp::Reverse(finding.requests)));
        ShownQuality {
            fallbacks: fallbacks.collect(),
            degraded: self.degraded,
            queries: self.queries,
            cached: self.cached,
            unanswered: self.unanswered,
            providers: self.providers.iter().collect(),
            failures: failures.collect(),
            findings,
            sourced: self.sourced,
            unsourced: self.unsourced,
            unproven: reasons(&self.unproven),
            made: self.made.iter().collect(),
        }
    }
}

/// The parts of an item that are counted, without reading its texts.
#[derive(Deserialize)]
struct ItemHead<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    sourced: Option<&'a RawValue>,
    #[serde(default, borrow)]
    unproven: Option<&'a RawValue>,
}

/// Returns the bookkeeping of a request: of its plan, its tasks and their searches.
pub(super) fn makings(finished: &Finished) -> impl Iterator<Item = &Provenance> {
    let plan = finished.plan.as_ref().map(|plan| &plan.making);
    let of_tasks = finished.tasks.iter().flat_map(|task| {
        let search = task.search.as_ref().and_then(|search| search.making.as_ref());
        search.into_iter().chain(task.making.as_ref())
    });
    plan.into_iter().chain(of_tasks)
}

/// Returns the `custom_id` of a request, or its line.
pub(super) fn name_of(finished: &Finished) -> String {
    let id = finished.custom_id.as_deref();
    id.map_or_else(
        || format!("line {}", finished.line),
        |id| TextBound { chars: 200 }.text(id),
    )
}

/// The counts as the page shows them.
#[derive(Debug, Serialize)]
pub(super) struct ShownQuality<'a> {
    fallbacks: Vec<ShownFallback<'a>>,
    degraded: u64,
    queries: u64,
    cached: u64,
    unanswered: u64,
    providers: Vec<(&'a String, &'a u64)>,
    failures: Vec<ShownLinkFailure<'a>>,
    findings: Vec<ShownFinding<'a>>,
    sourced: u64,
    unsourced: u64,
    unproven: Vec<(String, u64)>,
    made: Vec<(&'a String, &'a u64)>,
}

#[derive(Debug, Serialize)]
struct ShownFallback<'a> {
    from: &'a str,
    to: &'a str,
    tasks: u64,
    reasons: Vec<(String, u64)>,
}

#[derive(Debug, Serialize)]
struct ShownLinkFailure<'a> {
    link: &'a str,
    kind: &'a str,
    count: u64,
    example: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ShownFinding<'a> {
    label: &'static str,
    compliance: bool,
    warnings: u64,
    requests: u64,
    examples: &'a [FindingExample],
}
