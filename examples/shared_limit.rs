//! Grants per second of four workers that share one limit, for `scripts/bench`.
//!
//! Each worker has its own connections and 64 callers. Each caller asks for its next grant when it has the last one.
//! The database must be empty.
//!
//! ```text
//! shared_limit DATABASE_URL REQUESTS_A_MINUTE SECONDS
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nova3::config::{Source, StoreAddress};
use nova3::limit::{InPostgres, Limiter, Limits};
use nova3::postgres::Database;

const WORKERS: usize = 4;
const CALLERS: usize = 64;

/// The tokens that a call reserves. The limit of tokens is this many times the limit of requests.
const TOKENS: u64 = 1_000;

const SCHEMA: &str = concat!(
    include_str!("../src/store/schema/postgres/tables/002_limits.sql"),
    include_str!("../src/store/schema/postgres/functions/limits.sql"),
);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, rpm, seconds] = arguments.as_slice() else {
        bail!("usage: shared_limit DATABASE_URL REQUESTS_A_MINUTE SECONDS");
    };
    let rpm: u32 = rpm.parse().context("REQUESTS_A_MINUTE is no number")?;
    let seconds: f64 = seconds.parse().context("SECONDS is no number")?;
    database(url)?.connect().await?.batch(SCHEMA).await?;

    let limits = Limits {
        rpm: Some(rpm),
        tpm: Some(u64::from(rpm) * TOKENS),
    };
    let granted = Arc::new(AtomicU64::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let limiter: Arc<dyn Limiter> = Arc::new(InPostgres::new(database(url)?, "route", limits));
        for _ in 0..CALLERS {
            callers.spawn(take(Arc::clone(&limiter), Arc::clone(&granted)));
        }
    }
    // The limit starts empty, and the workers need time to connect.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (granted.load(Ordering::Relaxed), tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let grants = granted.load(Ordering::Relaxed) - before;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = grants as f64 / begun.elapsed().as_secs_f64();
    let share = rate * 6_000.0 / f64::from(rpm);
    writeln!(
        std::io::stdout(),
        "{rate:.0} grants a second, {share:.2} % of the limit"
    )?;
    Ok(())
}

async fn take(limiter: Arc<dyn Limiter>, granted: Arc<AtomicU64>) -> Result<()> {
    loop {
        let grant = limiter.take(TOKENS).await?;
        granted.fetch_add(1, Ordering::Relaxed);
        limiter.settle(grant, TOKENS);
    }
}

fn database(url: &str) -> Result<Database> {
    let source = Source::Env("NOVA3_STORE".to_owned());
    match StoreAddress::read(Path::new(url), &source, &|_| None)? {
        StoreAddress::Postgres(address) => Database::new(&address).map_err(anyhow::Error::msg),
        StoreAddress::File(path) => bail!("`{}` is no database", path.display()),
    }
}
