//! An answer with an error status. Its body is read up to a limit and classified.

use futures::StreamExt;
use reqwest::Response;
use tokio::time::timeout;

use super::dialect::{self, Call, secrets};
use super::fault::{FailedExchange, Reached, address};
use super::mark::Marks;
use super::response::Verbatim;
use super::transport::{answered_at, looked_at, rate_headers, request_id};
use super::verbatim::one_line;
use crate::config::{self, Timeouts};

/// Bytes of an error body that are read. The rest has no further information.
const MAX_ERROR_BODY: usize = 256 << 10;

/// The size limit of a key, in bytes.
const LONGEST_SECRET: usize = 8 << 10;

/// Reads and classifies an HTTP error. For a Batch line the response is kept unchanged.
pub(super) async fn refused(
    response: Response,
    call: &Call<'_>,
    marks: Option<&dyn Marks>,
    route: &config::RouteSettings,
) -> FailedExchange {
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
    FailedExchange {
        error,
        response,
        // A timeout of a gateway does not show whether the server behind it did any work.
        reached: if matches!(status, 408 | 504 | 524) {
            Reached::Server
        } else {
            Reached::Refusal
        },
        rate: rate_headers(&headers),
    }
}

/// Whether the status may mean that the base URL is wrong.
const fn is_about_the_address(status: u16) -> bool {
    matches!(status, 300..400 | 404 | 405 | 410)
}

/// Returns the beginning of an error body, as far as it arrives.
async fn read_beginning(response: Response, timeouts: &Timeouts) -> Vec<u8> {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Ok(Some(Ok(chunk))) = timeout(timeouts.idle, chunks.next()).await {
        let room = MAX_ERROR_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            // The cut may split a secret, and the first part of it would not be recognized.
            body.truncate(MAX_ERROR_BODY - LONGEST_SECRET);
            break;
        }
    }
    body
}
