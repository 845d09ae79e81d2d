//! Builds the traces of requests that have ended, and hands them to the senders.
//!
//! ```text
//! worker ── RequestEnded ─▶ tap ─▶ bounded queue ─▶ builder ── reads the store ─▶ bounded batches ─▶ sender ─▶ server
//! ```
//!
//! The queue holds numbers of requests. When it is full, the trace of the next request is dropped and counted. A server that
//! does not answer stops its sender, then its builder, so that no more traces are built for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::captured::{CapturedCall, CapturedCalls};
use super::encode::EncodedTrace;
use super::ids::QueueIds;
use super::routes::RouteNames;
use super::sender::{Deliveries, Sender};
use super::texts::TextRules;
use super::{tree, vendor};
use crate::config::TraceDestination;
use crate::llm::{ClientError, observer_client};
use crate::observe::{CallFact, DroppedTraces, Event, EventTap, ExchangeDetail, TaskEvent, TaskFact, tell};
use crate::store::{RunId, Store};

/// Requests whose traces wait to be built. With texts, one of them holds some hundred kilobytes.
const QUEUE: usize = 256;

/// Batches that wait to be sent, beside the one that is on its way.
const BATCHES: usize = 1;

/// The most bytes of a batch before compression. Langfuse takes 5 MB.
const BATCH_BYTES: usize = 1 << 20;

/// The most spans of a batch.
const BATCH_SPANS: usize = 512;

/// A batch is sent at the latest so long after its first trace.
const FLUSH: Duration = Duration::from_secs(2);

/// The longest wait for traces to be built when the store is about to close.
const DRAIN: Duration = Duration::from_secs(3);

/// A request that has ended.
struct EndedRequest {
    run: RunId,
    queue: i64,
    /// Its calls in this process.
    calls: Arc<Vec<CapturedCall>>,
}

/// Sends the traces of requests to the destinations. Its methods never block the run.
pub struct TraceExporter {
    pipelines: Vec<Pipeline>,
    captured: Mutex<CapturedCalls>,
    detail: ExchangeDetail,
}

/// The way of traces to one destination.
struct Pipeline {
    destination: TraceDestination,
    queue: Mutex<Option<mpsc::Sender<EndedRequest>>>,
    /// Requests that were offered.
    offered: AtomicU64,
    deliveries: Arc<Deliveries>,
    /// Counts dropped traces of all destinations.
    dropped: DroppedTraces,
    builder: Mutex<Option<JoinHandle<()>>>,
    sender: Mutex<Option<JoinHandle<()>>>,
}

impl TraceExporter {
    /// Starts the exporter. It reads the histories of requests from the store. Must be called inside a runtime.
    pub fn start(
        destinations: Vec<TraceDestination>,
        store: &Arc<dyn Store>,
        routes: &RouteNames,
        dropped: &DroppedTraces,
    ) -> Result<Self, ClientError> {
        let with_texts = destinations
            .iter()
            .any(|destination| destination.content.is_any());
        let pipelines: Result<Vec<Pipeline>, ClientError> = destinations
            .into_iter()
            .map(|destination| Pipeline::start(destination, store, routes, dropped))
            .collect();
        Ok(Self {
            pipelines: pipelines?,
            captured: Mutex::default(),
            detail: if with_texts {
                ExchangeDetail::Texts
            } else {
                ExchangeDetail::Figures
            },
        })
    }

    /// Takes no more requests, and waits until their traces are built, for at most three seconds. Call it before the store
    /// is closed.
    pub async fn drain(&self) {
        futures::future::join_all(self.pipelines.iter().map(Pipeline::drain)).await;
    }

    /// Waits until all traces are delivered, for at most the time of one request to their destination, which is ten
    /// seconds by default. Says how many were not.
    pub async fn close(&self) {
        self.drain().await;
        let began = Instant::now();
        let closing = self.pipelines.iter();
        let closing = closing.map(|pipeline| pipeline.close(began + pipeline.destination.timeout));
        futures::future::join_all(closing).await;
    }

    fn task(&self, event: &TaskEvent) {
        let task = &event.task;
        match &event.fact {
            TaskFact::Call(CallFact::Exchanged {
                route,
                started_at,
                exchange,
            }) => {
                let call = CapturedCall {
                    task: task.task_id.clone(),
                    route: route.clone(),
                    started_at: *started_at,
                    exchange: Arc::clone(exchange),
                };
                self.captured().add(task.queue_id, call);
            }
            TaskFact::RequestEnded { .. } => {
                let calls = Arc::new(self.captured().take(task.queue_id));
                for pipeline in &self.pipelines {
                    pipeline.offer(EndedRequest {
                        run: RunId(task.run_id),
                        queue: task.queue_id,
                        calls: Arc::clone(&calls),
                    });
                }
            }
            _ => {}
        }
    }

    fn captured(&self) -> std::sync::MutexGuard<'_, CapturedCalls> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventTap for TraceExporter {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn detail(&self) -> ExchangeDetail {
        // While no trace can be taken, no text is copied for one.
        if self.pipelines.iter().all(Pipeline::is_full) {
            return ExchangeDetail::None;
        }
        self.detail
    }

    fn missed(&self, _: &'static str, _: u64) {}

    fn observe(&self, event: &Event) {
        if let Event::Task(event) = event {
            self.task(event);
        }
    }
}

impl Pipeline {
    fn start(
        destination: TraceDestination,
        store: &Arc<dyn Store>,
        routes: &RouteNames,
        dropped: &DroppedTraces,
    ) -> Result<Self, ClientError> {
        let client = observer_client(
            &destination.url,
            destination.is_here(),
            destination.ca_file.as_deref(),
        )?;
        // Numbers of requests are small; the texts of their calls are bounded by `captured`.
        let (queue, ended) = mpsc::channel(QUEUE);
        let (batches, sent) = mpsc::channel(BATCHES);
        let deliveries = Arc::new(Deliveries::default());
        let builder = Builder {
            store: Arc::clone(store),
            destination: destination.clone(),
            routes: routes.clone(),
            deliveries: Arc::clone(&deliveries),
            dropped: dropped.clone(),
            batches,
            batch: Vec::new(),
            bytes: 0,
            spans: 0,
        };
        let sender = Sender::new(
            destination.clone(),
            client,
            Arc::clone(&deliveries),
            dropped.clone(),
        );
        Ok(Self {
            destination,
            queue: Mutex::new(Some(queue)),
            offered: AtomicU64::new(0),
            deliveries,
            dropped: dropped.clone(),
            builder: Mutex::new(Some(tokio::spawn(builder.run(ended)))),
            sender: Mutex::new(Some(tokio::spawn(sender.run(sent)))),
        })
    }

    /// Whether the next request would be dropped.
    fn is_full(&self) -> bool {
        let queue = lock(&self.queue);
        queue.as_ref().is_none_or(|queue| queue.capacity() == 0)
    }

    /// Takes a request, or counts its trace as dropped.
    fn offer(&self, request: EndedRequest) {
        self.offered.fetch_add(1, Ordering::Relaxed);
        let queue = lock(&self.queue);
        let sent = queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(request).is_ok());
        drop(queue);
        if !sent {
            self.deliveries.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped.add(1);
        }
    }

    async fn drain(&self) {
        lock(&self.queue).take();
        let builder = lock(&self.builder).take();
        let longest = DRAIN.min(self.destination.timeout);
        if let Some(mut builder) = builder
            && tokio::time::timeout(longest, &mut builder).await.is_err()
        {
            builder.abort();
        }
    }

    async fn close(&self, until: Instant) {
        let sender = lock(&self.sender).take();
        if let Some(mut sender) = sender
            && tokio::time::timeout_at(until, &mut sender).await.is_err()
        {
            sender.abort();
        }
        let offered = self.offered.load(Ordering::Relaxed);
        let missing = offered.saturating_sub(self.deliveries.sent.load(Ordering::Relaxed));
        let told = self.deliveries.dropped.load(Ordering::Relaxed);
        self.dropped.add(missing.saturating_sub(told));
        if missing > 0 {
            tell(&format!(
                "traces of {missing} of {offered} requests were not delivered to {} `{}`; the store has all results",
                self.destination.server.name(),
                self.destination.host(),
            ));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds traces, and collects them in batches.
struct Builder {
    store: Arc<dyn Store>,
    destination: TraceDestination,
    routes: RouteNames,
    deliveries: Arc<Deliveries>,
    dropped: DroppedTraces,
    batches: mpsc::Sender<Vec<EncodedTrace>>,
    batch: Vec<EncodedTrace>,
    bytes: usize,
    spans: usize,
}

impl Builder {
    async fn run(mut self, mut ended: mpsc::Receiver<EndedRequest>) {
        let mut flush_at: Option<Instant> = None;
        loop {
            tokio::select! {
                request = ended.recv() => match request {
                    Some(request) => self.add(&request).await,
                    None => break,
                },
                () = crate::clock::sleep_until(flush_at) => self.flush().await,
            }
            flush_at = (!self.batch.is_empty()).then(|| flush_at.unwrap_or_else(|| Instant::now() + FLUSH));
        }
        self.flush().await;
    }

    async fn add(&mut self, request: &EndedRequest) {
        if self.deliveries.rests() {
            return self.drop_traces(1);
        }
        match self.built(request).await {
            Some(Some(trace)) => {
                self.bytes += trace.bytes;
                self.spans += trace.spans.len();
                self.batch.push(trace);
                if self.bytes >= BATCH_BYTES || self.spans >= BATCH_SPANS {
                    self.flush().await;
                }
            }
            // The sampler leaves it out on purpose.
            Some(None) => {
                self.deliveries.sent.fetch_add(1, Ordering::Relaxed);
            }
            None => self.drop_traces(1),
        }
    }

    /// Builds the trace of a request. The inner `None`: the sampler leaves it out. The outer one: it cannot be read.
    async fn built(&self, request: &EndedRequest) -> Option<Option<EncodedTrace>> {
        let content = self.destination.content;
        let history = self
            .store
            .history(request.run, request.queue, content.is_any())
            .await;
        let history = match history {
            Ok(history) => history?,
            Err(error) => {
                tracing::warn!(
                    queue.id = request.queue,
                    "the trace of a request cannot be read: {error}"
                );
                return None;
            }
        };
        let trace = QueueIds::new(&history.seed, history.queue_id).trace();
        if !trace.is_sampled(self.destination.ratio) {
            return Some(None);
        }
        let texts = TextRules {
            content,
            most: self.destination.text_bytes,
        };
        let mut tree = tree::tree(&history, &request.calls, &self.routes, texts);
        vendor::complete(&mut tree, &self.destination);
        Some(Some(EncodedTrace::of(&tree)))
    }

    /// Hands the batch to the sender, and waits until it has room.
    async fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        (self.bytes, self.spans) = (0, 0);
        let traces = batch.len();
        if traces == 0 {
            return;
        }
        // A sender that is gone has panicked.
        if self.batches.send(batch).await.is_err() {
            self.drop_traces(traces);
        }
    }

    fn drop_traces(&self, traces: usize) {
        let traces = traces as u64;
        self.deliveries.dropped.fetch_add(traces, Ordering::Relaxed);
        self.dropped.add(traces);
    }
}
