//! The memory of answers in flight: the bound of one answer, and the share of all answers.
//!
//! The bound of one answer follows from the tokens that its request allows ([`Bounds`]). A longer answer fails its
//! request and harms no other. All answers together may use a share of the memory limit ([`AnswerMemory`]). When the
//! share has no room for an answer, its call stops reading until there is room; its server sees a slow reader. One
//! such call at a time continues without room, up to its own bound. So calls that wait for each other always make
//! progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard};

use super::wire::StreamLimits;

/// The largest size of any answer, in bytes. No reader needs a longer one.
const LONGEST: u64 = 64 << 20;

/// Bytes of text that one token may have. This is ten times the usual size, and covers a token that is a run of
/// spaces.
const TEXT_OF_TOKEN: u64 = 32;

/// Bytes that one token may have in a JSON body, with its characters escaped. A token with its probabilities has far
/// more.
const BODY_OF_TOKEN: u64 = 128;
const BODY_OF_TOKEN_WITH_PROBABILITIES: u64 = 8 << 10;

/// Bytes that one token may have in a stream: one event for each token, with its probabilities.
const STREAM_OF_TOKEN: u64 = 8 << 10;

/// Bytes that any answer may have beside its tokens: framing, and reasoning that some servers do not count.
const FLOOR: u64 = 1 << 20;
const STREAM_FLOOR: u64 = 8 << 20;

/// Copies of an answer on its way to the store, including the growth of its buffer.
const COPIES: u64 = 4;

/// The step in which the reserved memory grows, in bytes.
const STEP: u64 = 64 << 10;

/// The size bounds of one answer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The text of a stream.
    pub(super) text: usize,
    /// The body of an answer that is not streamed.
    pub(super) body: usize,
    /// The stream itself.
    pub(super) stream: StreamLimits,
}

impl Bounds {
    /// Returns the bounds of an answer of `longest` tokens, with their probabilities or without. `most` is the room in
    /// memory.
    fn of(longest: Option<u64>, probabilities: bool, most: u64) -> Self {
        let most = most.clamp(FLOOR, LONGEST);
        let bound = |each: u64, floor: u64, most: u64| {
            let asked = longest.map(|tokens| tokens.saturating_mul(each).saturating_add(floor));
            usize::try_from(asked.unwrap_or(most).min(most)).unwrap_or(usize::MAX)
        };
        let each = if probabilities {
            BODY_OF_TOKEN_WITH_PROBABILITIES
        } else {
            BODY_OF_TOKEN
        };
        let body = bound(each, FLOOR, most);
        Self {
            text: bound(TEXT_OF_TOKEN, FLOOR, most),
            body,
            stream: StreamLimits {
                event_bytes: body.min(StreamLimits::default().event_bytes),
                // Only the text of a stream is kept in memory.
                stream_bytes: bound(STREAM_OF_TOKEN, STREAM_FLOOR, LONGEST),
            },
        }
    }
}

/// The memory of all answers in flight.
#[derive(Debug)]
pub(super) struct AnswerMemory {
    most: AtomicU64,
    used: Mutex<u64>,
    freed: Notify,
    /// Held by the one call that continues without room.
    without_room: Arc<tokio::sync::Mutex<()>>,
}

impl Default for AnswerMemory {
    fn default() -> Self {
        Self {
            most: AtomicU64::new(u64::MAX),
            used: Mutex::default(),
            freed: Notify::new(),
            without_room: Arc::default(),
        }
    }
}

impl AnswerMemory {
    /// Keeps the process below `limit` bytes. A quarter of them is for the answers that find room, and another quarter
    /// for the one answer that finds none.
    pub(super) fn keep_below(&self, limit: u64) {
        self.most.store(limit / 4, Ordering::Relaxed);
    }

    /// Returns the bounds of an answer of at most `longest` tokens, with their probabilities or without.
    pub(super) fn bounds(&self, longest: Option<u64>, probabilities: bool) -> Bounds {
        Bounds::of(longest, probabilities, self.most.load(Ordering::Relaxed) / COPIES)
    }

    /// Returns the memory of one answer, still empty.
    pub(super) fn share(&self) -> Share<'_> {
        Share {
            memory: self,
            held: 0,
            without_room: None,
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = used.saturating_add(bytes) <= self.most.load(Ordering::Relaxed);
        if fits {
            *used += bytes;
        }
        fits
    }
}

/// The memory of one answer. It is given back on drop.
#[derive(Debug)]
pub(super) struct Share<'m> {
    memory: &'m AnswerMemory,
    held: u64,
    without_room: Option<OwnedMutexGuard<()>>,
}

impl Share<'_> {
    /// Grows the reserved memory to `bytes` of the answer. Waits until there is room, or until this is the one answer
    /// that continues without room. Returns whether it waited. Cancel-safe.
    pub(super) async fn grow_to(&mut self, bytes: usize) -> bool {
        let bytes = (bytes as u64).div_ceil(STEP).saturating_mul(STEP * COPIES);
        let more = bytes.saturating_sub(self.held);
        if more == 0 || self.without_room.is_some() {
            return false;
        }
        if self.memory.take(more) {
            self.held = bytes;
            return false;
        }
        loop {
            // Subscribe before asking, or a release in between is lost.
            let freed = self.memory.freed.notified();
            if self.memory.take(more) {
                self.held = bytes;
                return true;
            }
            tokio::select! {
                alone = Arc::clone(&self.memory.without_room).lock_owned() => {
                    self.without_room = Some(alone);
                    return true;
                }
                () = freed => {}
            }
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut used = self.memory.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.held);
        drop(used);
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_request_allows_and_its_memory_has_room_for() {
        let memory = AnswerMemory::default();
        let of = |longest| memory.bounds(longest, false);
        let short = of(Some(16));
        assert_eq!(short.text, (16 * 32) + (1 << 20));
        assert_eq!(short.body, (16 * 128) + (1 << 20));
        assert!(short.stream.stream_bytes < 9 << 20);
        assert!(memory.bounds(Some(4096), true).body > 32 << 20);
        assert_eq!(of(None).body, 64 << 20);
        assert_eq!(of(Some(u64::MAX)).text, 64 << 20);
        memory.keep_below(256 << 20);
        let (none, long) = (of(None), of(Some(10_000_000)));
        assert_eq!((none.body, long.body, long.text), (16 << 20, 16 << 20, 16 << 20));
        assert_eq!(none.stream.event_bytes, 8 << 20);
    }

    #[tokio::test]
    async fn one_call_at_a_time_goes_on_without_room() {
        let memory = AnswerMemory::default();
        memory.keep_below(16 << 20);
        let (mut first, mut second, mut third) = (memory.share(), memory.share(), memory.share());
        assert!(!first.grow_to(600_000).await, "there is room");
        assert!(second.grow_to(600_000).await, "it has none and is alone in that");
        assert!(!second.grow_to(60_000_000).await, "it goes on");
        assert!(
            third.grow_to(600_000).now_or_never().is_none(),
            "the next one waits"
        );
        drop(second);
        assert!(third.grow_to(600_000).await);
        drop(third);
        let mut fourth = memory.share();
        {
            let _alone = memory.without_room.lock().await;
            let waits = fourth.grow_to(600_000);
            tokio::pin!(waits);
            assert!(waits.as_mut().now_or_never().is_none());
            drop(first);
            assert!(waits.await, "there is room again");
        }
        drop(fourth);
        assert_eq!(*memory.used.lock().unwrap(), 0);
    }
}
