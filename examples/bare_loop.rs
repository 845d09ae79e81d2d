//! The upper bound that `scripts/bench` measures beside nova3: a bare `reqwest` loop over the same lines.
//!
//! It sends the `body` of each OpenAI Batch line to a server, up to CONCURRENCY at once, and reads each answer to its
//! end. It checks only the status, and it stores nothing, retries nothing and limits nothing. The difference to nova3
//! is the cost of nova3's guarantees.
//!
//! ```text
//! bare_loop BASE_URL LINES.jsonl CONCURRENCY
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

#[tokio::main]
async fn main() -> Result<()> {
    let [url, path, concurrency] = arguments()?;
    let concurrency: usize = concurrency.parse().context("CONCURRENCY is no number")?;
    let bodies = Arc::new(bodies(Path::new(&path))?);
    let client = client(concurrency)?;
    let url: Arc<str> = format!("{url}/chat/completions").into();
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        loops.spawn(ask(
            client.clone(),
            Arc::clone(&url),
            Arc::clone(&bodies),
            Arc::clone(&next),
        ));
    }
    let mut bytes = 0;
    while let Some(ended) = loops.join_next().await {
        bytes += ended.context("a loop panicked")??;
    }
    let wall = begun.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{} answers, {bytes} bytes, {wall:.3} s",
        bodies.len()
    )?;
    Ok(())
}

fn arguments() -> Result<[String; 3]> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    given
        .try_into()
        .ok()
        .context("usage: bare_loop BASE_URL LINES.jsonl CONCURRENCY")
}

fn bodies(path: &Path) -> Result<Vec<Bytes>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let body = |line| {
        Ok(Bytes::copy_from_slice(
            serde_json::from_str::<Line<'_>>(line)?.body.get().as_bytes(),
        ))
    };
    text.lines().map(body).collect()
}

fn client(concurrency: usize) -> Result<reqwest::Client> {
    // `reqwest` needs a TLS provider, although the server speaks plain HTTP.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder()
        .pool_max_idle_per_host(concurrency)
        .tcp_nodelay(true)
        .no_proxy();
    builder.build().context("failed to set up the HTTP client")
}

/// Sends one line after the other until there are none. Returns the number of bytes received.
async fn ask(
    client: reqwest::Client,
    url: Arc<str>,
    bodies: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
) -> Result<usize> {
    let mut bytes = 0;
    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        let request = client
            .post(&*url)
            .header("content-type", "application/json")
            .body(body.clone());
        let answer = request.send().await.context("failed to send")?;
        ensure!(
            answer.status().is_success(),
            "the server said {}",
            answer.status()
        );
        bytes += answer.bytes().await.context("failed to read the answer")?.len();
    }
    Ok(bytes)
}
