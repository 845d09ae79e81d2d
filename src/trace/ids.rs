//! The ids of traces and spans.
//!
//! An id is a digest of the seed of the run and of the numbers of a queue, a task or a call in the store. So it is kept
//! with them: a queue that a later process or another host continues has the same trace, and a span that is sent twice has
//! the same id.

use crate::domain::task::TaskNo;

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TraceId(pub(super) [u8; 16]);

/// The id of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SpanId(pub(super) [u8; 8]);

/// Makes the ids of one queue.
#[derive(Debug, Clone)]
pub(super) struct QueueIds {
    seed: Vec<u8>,
    queue: i64,
}

impl QueueIds {
    pub(super) fn new(seed: &[u8], queue: i64) -> Self {
        Self {
            seed: seed.to_vec(),
            queue,
        }
    }

    /// The id of the trace of the queue.
    pub(super) fn trace(&self) -> TraceId {
        let digest = self.digest(b"trace", &[]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        // An id of zeros is invalid.
        id[15] |= u8::from(id == [0; 16]);
        TraceId(id)
    }

    /// The id of the span of the whole request.
    pub(super) fn request(&self) -> SpanId {
        self.span(b"request", &[])
    }

    /// The id of the span of a version of a task.
    pub(super) fn task(&self, task: TaskNo, version: i64) -> SpanId {
        self.span(b"task", &[i64::from(task.0), version])
    }

    /// The id of the span of a call. `same` counts earlier calls of the same version on the same route that started in
    /// the same millisecond.
    pub(super) fn call(&self, task: TaskNo, version: i64, route: &str, started_at: i64, same: i64) -> SpanId {
        let numbers = [i64::from(task.0), version, started_at, same];
        self.span(route.as_bytes(), &numbers)
    }

    fn span(&self, kind: &[u8], numbers: &[i64]) -> SpanId {
        let digest = self.digest(kind, numbers);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        id[7] |= u8::from(id == [0; 8]);
        SpanId(id)
    }

    fn digest(&self, kind: &[u8], numbers: &[i64]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed);
        hasher.update(&self.queue.to_be_bytes());
        for number in numbers {
            hasher.update(&number.to_be_bytes());
        }
        // The kind comes last: it is the only part of any length.
        hasher.update(kind);
        *hasher.finalize().as_bytes()
    }
}

impl TraceId {
    /// Whether a sampler that takes this share of all traces takes this one. The decision depends on the id alone, so that
    /// every process decides alike (`TraceIdRatioBased` of OpenTelemetry).
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the numbers below 2^63"
    )]
    pub(super) fn is_sampled(self, ratio: f64) -> bool {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[8..]);
        ratio >= 1.0 || (u64::from_be_bytes(low) >> 1) < (ratio * (1_u64 << 63) as f64) as u64
    }
}

/// Writes bytes as a UUID of version 7: the time in its first 48 bits, then bits of the digest. LangSmith orders runs by
/// the time in their ids.
pub(super) fn uuid(digest: &[u8], unix_ms: i64) -> String {
    let mut bytes = [0; 16];
    for (place, byte) in bytes[6..].iter_mut().zip(digest.iter().cycle()) {
        *place = *byte;
    }
    bytes[..6].copy_from_slice(&unix_ms.max(0).to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_the_store_alone() {
        let ids = QueueIds::new(&[7; 16], 5);
        assert_eq!(ids.trace(), QueueIds::new(&[7; 16], 5).trace());
        assert_ne!(ids.trace(), QueueIds::new(&[7; 16], 6).trace());
        assert_ne!(ids.trace(), QueueIds::new(&[8; 16], 5).trace());
        let task = TaskNo::planned(0);
        let spans = [
            ids.request(),
            ids.task(task, 1),
            ids.task(task, 2),
            ids.task(TaskNo::PLAN, 1),
            ids.call(task, 1, "a", 9, 0),
            ids.call(task, 1, "a", 9, 1),
            ids.call(task, 1, "b", 9, 0),
        ];
        for (place, span) in spans.iter().enumerate() {
            assert!(!spans[place + 1..].contains(span), "{place}");
        }
    }

    #[test]
    fn a_share_of_the_traces_is_sampled() {
        let taken = |ratio: f64| {
            let sampled = |queue: &i64| QueueIds::new(&[1; 16], *queue).trace().is_sampled(ratio);
            (0..2000).filter(sampled).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 2000));
        assert!((400..600).contains(&taken(0.25)), "{}", taken(0.25));
    }

    #[test]
    fn a_uuid_has_its_time_and_version() {
        let text = uuid(&[0xff; 8], 0x0001_0203_0405);
        assert_eq!(text, "00010203-0405-7fff-bfff-ffffffffffff");
    }
}
