//! The body of every response, including the bodies of faults.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::call::MockCall;
use super::frames::Frames;

/// An error that makes hyper close the connection at once. Its text is not used.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct Cut;

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The event after the last byte of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The body ends.
    Clean,
    /// The connection is cut.
    Abort,
    /// Nothing, until the client leaves or the server stops.
    Hang,
}

/// A body. It holds its call: if the client closes the connection, hyper drops both and the call ends.
pub(crate) struct Reply {
    content: ReplyContent,
    ending: ConnectionEnd,
    call: Option<MockCall>,
    /// Whether hyper was polled once more to flush the bytes before the cut.
    flushed: bool,
}

enum ReplyContent {
    Whole(Bytes),
    Paced(Box<Paced>),
    Sent,
}

/// Frames on a schedule that is counted from the first one. A late timer does not delay the later frames, and frames
/// that are due together are sent together.
struct Paced {
    frames: Frames,
    per_token: Duration,
    began: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Reply {
    /// All bytes at once.
    pub(crate) fn whole(bytes: impl Into<Bytes>, ending: ConnectionEnd, call: Option<MockCall>) -> Self {
        Self {
            content: ReplyContent::Whole(bytes.into()),
            ending,
            call,
            flushed: false,
        }
    }

    /// Frames as they become due, the first at once.
    pub(crate) fn paced(frames: Frames, per_token: Duration, ending: ConnectionEnd, call: MockCall) -> Self {
        let began = Instant::now();
        let sleep = Box::pin(tokio::time::sleep_until(began));
        let content = ReplyContent::Paced(Box::new(Paced {
            frames,
            per_token,
            began,
            sleep,
        }));
        Self {
            content,
            ending,
            call: Some(call),
            flushed: false,
        }
    }

    fn finish(&mut self) {
        if let Some(mut call) = self.call.take() {
            call.finish();
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            ReplyContent::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = ReplyContent::Sent;
                Poll::Ready((!bytes.is_empty()).then_some(bytes))
            }
            ReplyContent::Paced(paced) => {
                let bytes = std::task::ready!(paced.poll(cx));
                if let Some(call) = &mut self.call {
                    call.sent(paced.frames.pieces_sent());
                }
                if paced.frames.is_over() {
                    self.content = ReplyContent::Sent;
                }
                Poll::Ready(Some(bytes))
            }
            ReplyContent::Sent => Poll::Ready(None),
        }
    }
}

impl Paced {
    /// Returns the frames that are due, at least one. It must not be polled after the last frame.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            let elapsed = self.began.elapsed();
            let mut out = Vec::new();
            while !self.frames.is_over() && self.frames.due(self.per_token) <= elapsed {
                self.frames.render(&mut out);
            }
            if !out.is_empty() || self.frames.is_over() {
                return Poll::Ready(out.into());
            }
            self.sleep
                .as_mut()
                .reset(self.began + self.frames.due(self.per_token));
            std::task::ready!(self.sleep.as_mut().poll(cx));
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if let Some(bytes) = std::task::ready!(this.poll_content(cx)) {
            // The call ends before the client can read the last byte, so that the client's next call never overlaps
            // with this one in the statistics.
            if matches!(this.content, ReplyContent::Whole(_) | ReplyContent::Sent)
                && this.ending == ConnectionEnd::Clean
            {
                this.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match this.ending {
            ConnectionEnd::Clean => {
                this.finish();
                Poll::Ready(None)
            }
            ConnectionEnd::Hang => Poll::Pending,
            ConnectionEnd::Abort if !this.flushed => {
                this.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            ConnectionEnd::Abort => {
                this.finish();
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, ReplyContent::Sent) && self.ending == ConnectionEnd::Clean
    }
}
