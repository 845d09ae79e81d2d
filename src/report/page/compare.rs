//! Two runs side by side, request by request.

use std::collections::HashMap;

use futures::future::join;
use serde_json::{Value, json};

use super::calls::CallFigures;
use super::details::PageTexts;
use super::document::document;
use super::json::script_json;
use super::pairing::{JoinKey, RequestPair, SameBy, pairs};
use super::quality::{Quality, name_of};
use super::spread::Spread;
use super::texts::TextBound;
use super::{NAME, PageError, PageOptions, run_head, shown_counts, shown_sums};
use crate::domain::outcome::Finished;
use crate::domain::request::{Digest, Request};
use crate::domain::result_text;
use crate::domain::state::{Status, TaskStatus};
use crate::store::{Order, Run, Store, StoreError};

const PAGE: usize = 1_000;

/// Requests whose texts are read at once.
const AT_ONCE: usize = 200;

/// The most pairs that a page lists.
const MOST_PAIRS: usize = 20_000;

/// The most bytes of texts on a page.
const TEXT_BYTES: usize = 9_000_000;

const OUTPUT: TextBound = TextBound { chars: 6_000 };

/// A finished request of one run.
#[derive(Debug)]
struct ComparedRequest {
    queue_id: i64,
    key: JoinKey,
    name: String,
    status: Status,
    class: Option<&'static str>,
    busy_ms: u64,
    cost: Option<f64>,
    findings: u32,
    score: Option<f64>,
    output: Digest,
}

/// One run of a comparison.
#[derive(Debug)]
struct ComparedRun {
    requests: Vec<ComparedRequest>,
    spread: Spread,
    span: Option<(i64, i64)>,
}

/// Returns the comparison of two runs of one store as an HTML page.
pub async fn compare_page(
    store: &dyn Store,
    runs: [&Run; 2],
    options: &PageOptions,
) -> Result<String, PageError> {
    let first = ComparedRun::read(store, runs[0]).await?;
    let second = ComparedRun::read(store, runs[1]).await?;
    let pairs = pairs(&first.keys(), &second.keys());
    let both = RunComparison {
        first: &first,
        second: &second,
    };
    let order = both.order(&pairs);
    let texts = match options.texts {
        PageTexts::Shown => both.texts(store, runs, &order).await?,
        PageTexts::Hidden => Vec::new(),
    };
    let rows: Vec<Value> = order
        .iter()
        .enumerate()
        .map(|(place, pair)| both.row(*pair, place < texts.len()))
        .collect();
    let count = |by| pairs.iter().filter(|pair| pair.by == by).count();
    let data = json!({
        "kind": "compare",
        "version": env!("CARGO_PKG_VERSION"),
        "made_at": options.made_at,
        "hides_texts": options.texts == PageTexts::Hidden,
        "runs": [side(store, runs[0], &first).await?, side(store, runs[1], &second).await?],
        "joined": { "id": count(SameBy::Id), "content": count(SameBy::Content), "place": count(SameBy::Place),
            "alone": count(SameBy::Nothing) },
        "changed": pairs.iter().filter(|pair| both.is_changed(**pair)).count(),
        "pairs": pairs.len(),
        "rows": rows,
    });
    let title = format!(
        "{} and {} · nova3 comparison",
        NAME.text(&runs[0].name),
        NAME.text(&runs[1].name)
    );
    Ok(document(&title, &script_json(&data)?, &texts))
}

async fn side(store: &dyn Store, run: &Run, compared: &ComparedRun) -> Result<Value, StoreError> {
    let scores: Vec<f64> = compared
        .requests
        .iter()
        .filter_map(|request| request.score)
        .collect();
    Ok(json!({
        "run": serde_json::to_value(run_head(run)).unwrap_or_default(),
        "counts": serde_json::to_value(shown_counts(&store.counts(run.id).await?)).unwrap_or_default(),
        "sums": serde_json::to_value(shown_sums(&store.summary(run.id).await?)).unwrap_or_default(),
        "span": compared.span,
        "request_ms": compared.spread.percentiles(),
        "findings": compared.requests.iter().map(|request| u64::from(request.findings)).sum::<u64>(),
        "score": mean(&scores),
        "scored": scores.len(),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a mean for people")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl ComparedRun {
    async fn read(store: &dyn Store, run: &Run) -> Result<Self, StoreError> {
        let calls = CallFigures::read(store, run).await?;
        let mut quality = Quality::new(true);
        let mut compared = Self {
            requests: Vec::new(),
            spread: Spread::default(),
            span: calls.span,
        };
        let read = |after| store.finished(run.id, Order::Completion, None, after, PAGE);
        let mut page = read(0).await?;
        while !page.rows.is_empty() {
            let (next, ()) = join(read(page.after), async {
                compared.add(&page.rows, &calls, &mut quality);
            })
            .await;
            page = next?;
        }
        compared.requests.sort_by_key(|request| request.key.index);
        compared.read_contents(store, run).await?;
        Ok(compared)
    }

    fn add(&mut self, page: &[Finished], calls: &CallFigures, quality: &mut Quality) {
        for finished in page {
            let sums = calls.queues.get(&finished.queue_id).copied().unwrap_or_default();
            if sums.sums.calls > 0 {
                self.spread.add(sums.busy_ms);
            }
            self.requests.push(ComparedRequest {
                queue_id: finished.queue_id,
                key: JoinKey {
                    custom_id: finished.custom_id.clone(),
                    content: None,
                    index: finished.index,
                },
                name: name_of(finished),
                status: finished.status,
                class: finished.failure.as_ref().map(|failure| failure.class.as_str()),
                busy_ms: sums.busy_ms,
                cost: sums.sums.usd(),
                findings: quality.add(finished).findings,
                score: score(finished),
                output: Digest::of(output(finished).as_bytes()),
            });
        }
    }

    /// Reads the digests of the requests that have no `custom_id`.
    async fn read_contents(&mut self, store: &dyn Store, run: &Run) -> Result<(), StoreError> {
        let nameless = self
            .requests
            .iter()
            .filter(|request| request.key.custom_id.is_none());
        let queues: Vec<i64> = nameless.map(|request| request.queue_id).collect();
        let mut found = HashMap::new();
        for chunk in queues.chunks(PAGE) {
            for (queue_id, request) in store.requests(run.id, chunk.to_vec()).await? {
                let same = Request {
                    metadata: None,
                    priority: 0,
                    ..request
                };
                found.insert(queue_id, Digest::of(same.to_stored().as_bytes()));
            }
        }
        for request in &mut self.requests {
            request.key.content = found.get(&request.queue_id).copied();
        }
        Ok(())
    }

    fn keys(&self) -> Vec<JoinKey> {
        self.requests.iter().map(|request| request.key.clone()).collect()
    }
}

/// Returns the text of a request's result, without its name.
fn output(finished: &Finished) -> String {
    let text = result_text::render(finished);
    let text = text.split_once('\n').map_or("", |(_, text)| text);
    text.trim().to_owned()
}

/// Returns the mean `score` of the items of the last completed task, else the `score` of the metadata.
fn score(finished: &Finished) -> Option<f64> {
    let mut completed = finished.tasks.iter().rev();
    let last = completed.find(|task| task.status == TaskStatus::Completed);
    let items = last
        .and_then(|task| task.result.as_ref())
        .filter(|raw| raw.get().contains("\"score\""));
    let items = items.and_then(|raw| serde_json::from_str::<Vec<Value>>(raw.get()).ok());
    let scores: Vec<f64> = items
        .into_iter()
        .flatten()
        .filter_map(|item| item.get("score")?.as_f64())
        .collect();
    mean(&scores).or_else(|| {
        let raw = finished
            .metadata
            .as_ref()
            .filter(|raw| raw.get().contains("\"score\""))?;
        let metadata: Value = serde_json::from_str(raw.get()).ok()?;
        metadata.get("score")?.as_f64()
    })
}

struct RunComparison<'a> {
    first: &'a ComparedRun,
    second: &'a ComparedRun,
}

impl<'a> RunComparison<'a> {
    fn of(&self, pair: RequestPair) -> (Option<&'a ComparedRequest>, Option<&'a ComparedRequest>) {
        (
            pair.first.and_then(|place| self.first.requests.get(place)),
            pair.second.and_then(|place| self.second.requests.get(place)),
        )
    }

    /// Whether status or text differ.
    fn is_changed(&self, pair: RequestPair) -> bool {
        match self.of(pair) {
            (Some(one), Some(other)) => one.status != other.status || one.output != other.output,
            _ => true,
        }
    }

    /// Returns the listed pairs, changed ones first.
    fn order(&self, pairs: &[RequestPair]) -> Vec<RequestPair> {
        let (changed, equal): (Vec<RequestPair>, Vec<RequestPair>) =
            pairs.iter().partition(|pair| self.is_changed(**pair));
        changed.into_iter().chain(equal).take(MOST_PAIRS).collect()
    }

    fn row(&self, pair: RequestPair, has_texts: bool) -> Value {
        let (one, other) = self.of(pair);
        let side = |request: Option<&ComparedRequest>| {
            request.map(|request| {
                json!([
                    request.status.as_str(),
                    request.class,
                    request.busy_ms,
                    request.cost,
                    request.findings,
                    request.score
                ])
            })
        };
        let name = one.or(other).map_or("", |request| &request.name);
        let by = match pair.by {
            SameBy::Id => "id",
            SameBy::Content => "content",
            SameBy::Place => "place",
            SameBy::Nothing => "alone",
        };
        json!([name, by, self.is_changed(pair), side(one), side(other), has_texts])
    }

    /// Reads the texts of the first pairs until they have [`TEXT_BYTES`], each as JSON.
    async fn texts(
        &self,
        store: &dyn Store,
        runs: [&Run; 2],
        order: &[RequestPair],
    ) -> Result<Vec<String>, PageError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for chunk in order.chunks(AT_ONCE) {
            let both = chunk.iter().map(|pair| self.of(*pair));
            let queues = |request: Option<&ComparedRequest>| request.map(|request| request.queue_id);
            let (one, other): (Vec<Option<i64>>, Vec<Option<i64>>) =
                both.map(|(one, other)| (queues(one), queues(other))).unzip();
            let ones = outputs(store, runs[0], &one).await?;
            let others = outputs(store, runs[1], &other).await?;
            for (one, other) in one.iter().zip(&other) {
                let text = |queue: &Option<i64>, texts: &HashMap<i64, String>| {
                    queue.and_then(|queue| texts.get(&queue).cloned())
                };
                let entry = script_json(&[text(one, &ones), text(other, &others)])?;
                bytes += entry.len();
                if bytes > TEXT_BYTES {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }
}

async fn outputs(
    store: &dyn Store,
    run: &Run,
    queues: &[Option<i64>],
) -> Result<HashMap<i64, String>, StoreError> {
    let mut queues: Vec<i64> = queues.iter().copied().flatten().collect();
    let mut found = HashMap::new();
    while !queues.is_empty() {
        let page = store.finished_by_id(run.id, queues.clone()).await?;
        let texts = page
            .rows
            .iter()
            .map(|finished| (finished.queue_id, OUTPUT.text(&output(finished))));
        found.extend(texts);
        let covered = usize::try_from(page.after)
            .unwrap_or_default()
            .clamp(1, queues.len());
        queues.drain(..covered);
    }
    Ok(found)
}
