//! An answer with an error status: its body is read as far as it tells something, and judged.

use futures::StreamExt;
use reqwest::Response;
use tokio::time::timeout;

use super::dialect::{self, Call, secrets};
use super::fault::{Failed, Reached, address};
use super::mark::Marks;
use super::response::Verbatim;
use super::transport::{answered_at, looked_at, rate_headers, request_id};
use super::verbatim::one_line;
use crate::config::{self, Timeouts};

/// Of an error's body, more than this tells nothing; the rest is not read.
const MAX_ERROR_BODY: usize = 256 << 10;

/// No key is longer.
const LONGEST_SECRET: usize = 8 << 10;

/// An HTTP error: judged, and kept as it came for a Batch line.
pub(super) async fn refused(
    response: Response,
    call: &Call<'_>,
    marks: Option<&dyn Marks>,
    route: &config::Route,
) -> Failed {
    let secrets = secrets(route);
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = read_beginning(response, &route.timeouts).await;
    looked_at(marks).await;
    let request_id = request_id(&headers, &secrets);
    let body = secrets.mask_body(&body);
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let now = answered_at(&headers);
    let mut error = dialect::classify(route.dialect, status, &header, &body, now);
    if is_about_the_address(status) {
        error.message += &format!(" (asked: `{}`)", address(&route.endpoint));
    }
    let response = call.is_line().then(|| Verbatim {
        status,
        request_id,
        body: one_line(body.into_owned()),
    });
    Failed {
        error,
        response,
        // A gateway that ran out of time says nothing of what the server behind it did.
        reached: if matches!(status, 408 | 504 | 524) {
            Reached::Server
        } else {
            Reached::Refusal
        },
        rate: rate_headers(&headers),
    }
}

/// Whether such a status may mean that the base URL is wrong.
const fn is_about_the_address(status: u16) -> bool {
    matches!(status, 300..400 | 404 | 405 | 410)
}

/// The beginning of an error's body, as far as it comes.
async fn read_beginning(response: Response, timeouts: &Timeouts) -> Vec<u8> {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Ok(Some(Ok(chunk))) = timeout(timeouts.idle, chunks.next()).await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            // What was cut may be a secret, of which the rest would not be known again.
            body.truncate(MAX_ERROR_BODY - LONGEST_SECRET);
            break;
        }
    }
    body
}
