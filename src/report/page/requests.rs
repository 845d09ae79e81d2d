//! The figures of a run's finished requests, from one pass over them, and the details of those that the page lists.

use std::collections::{BTreeMap, HashMap};

use futures::future::join;
use serde::Serialize;

use super::PageError;
use super::calls::CallFigures;
use super::details::{PageTexts, details};
use super::json::script_json;
use super::quality::{Quality, name_of};
use super::rows::{ListedRow, RequestRow, UserNumbers, chosen};
use super::spread::Spread;
use super::texts::TextBound;
use crate::domain::failure::{Class, Failure, kind_of};
use crate::domain::outcome::Finished;
use crate::domain::request::Request;
use crate::domain::state::Status;
use crate::store::{Order, Run, Store, StoreError};

/// Requests in one page of the store.
const PAGE: usize = 1_000;

/// Requests whose details are read at once.
const AT_ONCE: usize = 200;

/// The most examples of an error class.
const EXAMPLES: usize = 3;

const MESSAGE: TextBound = TextBound { chars: 600 };

/// The figures of all finished requests.
#[derive(Debug)]
pub(super) struct RequestFigures {
    pub(super) rows: Vec<RequestRow>,
    pub(super) names: UserNumbers,
    pub(super) quality: Quality,
    /// How long the requests were worked on.
    pub(super) spread: Spread,
    failures: BTreeMap<Class, FailureCount>,
    texts: PageTexts,
}

#[derive(Debug, Default)]
struct FailureCount {
    requests: u64,
    examples: Vec<FailureExample>,
    kinds: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct FailureExample {
    id: String,
    task: Option<String>,
    route: Option<String>,
    status: Option<u16>,
    /// `None` on a page without texts.
    message: Option<String>,
}

/// The failures of one class.
#[derive(Debug, Serialize)]
pub(super) struct FailureRow<'a> {
    class: &'static str,
    requests: u64,
    advice: &'static str,
    examples: &'a [FailureExample],
}

impl RequestFigures {
    /// Reads all finished requests of the present input, and adds their ends to the timeline of the calls.
    pub(super) async fn read(
        store: &dyn Store,
        run: &Run,
        calls: &mut CallFigures,
        texts: PageTexts,
    ) -> Result<Self, StoreError> {
        let mut figures = Self {
            rows: Vec::new(),
            names: UserNumbers::default(),
            quality: Quality::new(texts == PageTexts::Hidden),
            spread: Spread::default(),
            failures: BTreeMap::new(),
            texts,
        };
        let read = |after| store.finished(run.id, Order::Completion, None, after, PAGE);
        let mut page = read(0).await?;
        while !page.rows.is_empty() {
            // The store reads the next page while this one is counted.
            let (next, ()) = join(read(page.after), async {
                for finished in &page.rows {
                    figures.add(finished, calls);
                }
            })
            .await;
            page = next?;
        }
        figures.rows.sort_by_key(|row| row.index);
        Ok(figures)
    }

    fn add(&mut self, finished: &Finished, calls: &mut CallFigures) {
        let slot = calls.timeline.at(finished.completed_at);
        match finished.status {
            Status::Completed => slot.done += 1,
            Status::Partial | Status::Failed => slot.failed += 1,
            Status::Paused | Status::Continued => slot.paused += 1,
        }
        let sums = calls.queues.get(&finished.queue_id).copied().unwrap_or_default();
        if sums.sums.calls > 0 {
            self.spread.add(sums.busy_ms);
        }
        let marks = self.quality.add(finished);
        if let Some(failure) = &finished.failure {
            self.add_failure(finished, failure);
        }
        self.rows
            .push(RequestRow::new(finished, marks, sums, &mut self.names));
    }

    /// Counts a failure, and keeps it as an example if its kind is new.
    fn add_failure(&mut self, finished: &Finished, failure: &Failure) {
        let count = self.failures.entry(failure.class).or_default();
        count.requests += 1;
        if count.examples.len() >= EXAMPLES {
            return;
        }
        let kind = kind_of(&failure.message);
        if count.kinds.contains(&kind) {
            return;
        }
        count.kinds.push(kind);
        count.examples.push(FailureExample {
            id: name_of(finished),
            task: failure.task_id.clone(),
            route: failure.route.clone(),
            status: failure.status_code,
            message: (self.texts == PageTexts::Shown).then(|| MESSAGE.text(&failure.message)),
        });
    }

    /// Returns the failures by class, the most frequent class first.
    pub(super) fn failures(&self) -> Vec<FailureRow<'_>> {
        let rows = self.failures.iter().map(|(class, count)| FailureRow {
            class: class.as_str(),
            requests: count.requests,
            advice: class.advice(),
            examples: &count.examples,
        });
        let mut rows: Vec<FailureRow<'_>> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
        rows
    }

    /// Reads details in the order of the choice until they have `budget` bytes. Returns the listed rows in the order of
    /// the input, and the details as JSON.
    pub(super) async fn listed(
        &self,
        store: &dyn Store,
        run: &Run,
        budget: usize,
    ) -> Result<(Vec<ListedRow<'_>>, Vec<String>), PageError> {
        let order = chosen(&self.rows);
        let mut found: Vec<String> = Vec::new();
        let mut places: HashMap<i64, usize> = HashMap::new();
        let mut bytes = 0;
        for chunk in order.chunks(AT_ONCE) {
            if bytes >= budget {
                break;
            }
            let queues: Vec<i64> = chunk.iter().map(|&place| self.rows[place].queue_id).collect();
            for (queue_id, text) in read_details(store, run, queues, self.texts).await? {
                bytes += text.len();
                if bytes > budget {
                    break;
                }
                places.insert(queue_id, found.len());
                found.push(text);
            }
        }
        let mut order = order;
        order.sort_unstable();
        let rows = order
            .into_iter()
            .map(|place| &self.rows[place])
            .map(|row| ListedRow {
                row,
                detail: places.get(&row.queue_id).copied(),
            });
        Ok((rows.collect(), found))
    }
}

/// Returns the details of these requests as JSON.
async fn read_details(
    store: &dyn Store,
    run: &Run,
    mut queues: Vec<i64>,
    texts: PageTexts,
) -> Result<Vec<(i64, String)>, PageError> {
    let requests: HashMap<i64, Request> = match texts {
        PageTexts::Shown => store
            .requests(run.id, queues.clone())
            .await?
            .into_iter()
            .collect(),
        PageTexts::Hidden => HashMap::new(),
    };
    let mut read = Vec::new();
    while !queues.is_empty() {
        let page = store.finished_by_id(run.id, queues.clone()).await?;
        for finished in &page.rows {
            let request = requests.get(&finished.queue_id);
            read.push((
                finished.queue_id,
                script_json(&details(finished, request, texts))?,
            ));
        }
        let covered = usize::try_from(page.after)
            .unwrap_or_default()
            .clamp(1, queues.len());
        queues.drain(..covered);
    }
    Ok(read)
}
