//! The exchanges of calls of this process, kept until the trace of their request is built. The store has none of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::observe::Exchange;

/// The most bytes that are kept. The exchanges of the oldest requests are dropped first.
const MOST_BYTES: usize = 32 << 20;

/// One call of a request.
#[derive(Debug, Clone)]
pub(super) struct CapturedCall {
    /// Its task, such as `task001`.
    pub(super) task: String,
    pub(super) route: String,
    /// Unix milliseconds of its start, as in the ledger.
    pub(super) started_at: i64,
    pub(super) exchange: Arc<Exchange>,
}

/// The calls of requests that have not ended.
#[derive(Debug, Default)]
pub(super) struct CapturedCalls {
    of_queue: HashMap<i64, Vec<CapturedCall>>,
    /// The requests in the order of their first call. A request that has ended may still be listed.
    order: VecDeque<i64>,
    bytes: usize,
}

impl CapturedCalls {
    pub(super) fn add(&mut self, queue: i64, call: CapturedCall) {
        self.bytes += weight(&call);
        let known = self.of_queue.entry(queue).or_default();
        if known.is_empty() {
            self.order.push_back(queue);
        }
        known.push(call);
        while self.bytes > MOST_BYTES || self.order.len() > 2 * self.of_queue.len() + 64 {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if self.bytes > MOST_BYTES {
                self.take(oldest);
            } else if self.of_queue.contains_key(&oldest) {
                self.order.push_back(oldest);
            }
        }
    }

    /// Removes and returns the calls of a request.
    pub(super) fn take(&mut self, queue: i64) -> Vec<CapturedCall> {
        let calls = self.of_queue.remove(&queue).unwrap_or_default();
        self.bytes -= calls.iter().map(weight).sum::<usize>();
        calls
    }
}

fn weight(call: &CapturedCall) -> usize {
    let texts: usize = call.exchange.input.iter().map(|(_, text)| text.len()).sum();
    let output = call.exchange.output.as_ref().map_or(0, String::len);
    call.task.len() + call.route.len() + texts + output + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(bytes: usize) -> CapturedCall {
        CapturedCall {
            task: "task001".to_owned(),
            route: "r".to_owned(),
            started_at: 1,
            exchange: Arc::new(Exchange {
                output: Some("x".repeat(bytes)),
                ..Exchange::default()
            }),
        }
    }

    #[test]
    fn the_oldest_requests_are_dropped_first() {
        let mut calls = CapturedCalls::default();
        for queue in 0..40 {
            calls.add(queue, call(1 << 20));
        }
        assert!(calls.bytes <= MOST_BYTES);
        assert!(calls.take(0).is_empty());
        assert_eq!(calls.take(39).len(), 1);
    }

    #[test]
    fn the_order_does_not_grow_with_ended_requests() {
        let mut calls = CapturedCalls::default();
        for queue in 0..10_000 {
            calls.add(queue, call(1));
            calls.take(queue);
        }
        assert_eq!(calls.bytes, 0);
        assert!(calls.order.len() <= 128, "{}", calls.order.len());
    }
}
