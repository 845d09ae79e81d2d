//! The pieces of a streamed answer, read one by one or all at once.
//!
//! The answer to a request with a crash mark is read after all of it has arrived. Until then the process does not read
//! any of it, so a kill from outside meets a clear mark. Every other answer is read piece by piece.

use std::collections::VecDeque;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::dialect::says_its_end;
use super::mark::Marks;
use super::transport::{LINGER, Room};

/// A piece, the end of the answer, a network error, or a timeout.
type NextPiece = Result<Result<Option<Bytes>, reqwest::Error>, Elapsed>;

/// A streamed answer.
pub(super) struct Pieces {
    pub(super) response: Response,
    /// All pieces, if they were collected. The last entry is the end or the error.
    collected: Option<VecDeque<NextPiece>>,
}

impl Pieces {
    pub(super) async fn of(
        mut response: Response,
        room: &mut Room<'_>,
        marks: Option<&dyn Marks>,
        started: Instant,
    ) -> Self {
        let collected = match marks {
            Some(marks) => {
                let all = collect(&mut response, room, started).await;
                marks.works().await;
                Some(all)
            }
            None => None,
        };
        Self { response, collected }
    }

    /// Returns the next piece. Unless it was collected, it must arrive before the deadline.
    pub(super) async fn next(&mut self, deadline: Instant) -> NextPiece {
        match &mut self.collected {
            Some(collected) => collected.pop_front().unwrap_or(Ok(Ok(None))),
            None => timeout_at(deadline, self.response.chunk()).await,
        }
    }
}

/// Collects all pieces under the same limits of time and memory, as far as they apply without reading.
async fn collect(response: &mut Response, room: &mut Room<'_>, started: Instant) -> VecDeque<NextPiece> {
    let timeouts = room.timeouts;
    let mut collected = VecDeque::new();
    let mut deadline = started + timeouts.first_token;
    let mut bytes = 0;
    // One piece above the limit is enough for the reader to refuse the answer.
    while bytes <= room.bounds.stream.stream_bytes {
        let piece = timeout_at(deadline, response.chunk()).await;
        let Ok(Ok(Some(chunk))) = &piece else {
            collected.push_back(piece);
            break;
        };
        bytes += chunk.len();
        let last = says_its_end(room.dialect, chunk);
        collected.push_back(piece);
        room.share.grow_to(bytes).await;
        deadline = Instant::now() + if last { LINGER } else { timeouts.idle };
    }
    collected
}
