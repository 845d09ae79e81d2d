//! Reservations per second of four workers below one cost cap, for `scripts/bench`.
//!
//! Each worker has its own store and 128 leases. Each lease makes its next reservation when the last one is answered.
//! The database must be empty.
//!
//! ```text
//! reservations DATABASE_URL SECONDS
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nova3::config::{Source, StoreAddress};
use nova3::domain::request::{Rules, Stops, read_line};
use nova3::domain::usage::Cost;
use nova3::postgres::Database;
use nova3::store::postgres::PostgresStore;
use nova3::store::{
    Budget, Changes, Claimable, ConfigFingerprint, Hold, Ingest, Lease, Leases, NewLine, NewRequest, Owner,
    Planned, Reservation, RunConstraints, RunId, RunOpening, Runs,
};

const WORKERS: u64 = 4;
const LEASES: usize = 128;
const CAP: Cost = Cost(1_000_000_000_000);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, seconds] = arguments.as_slice() else {
        bail!("usage: reservations DATABASE_URL SECONDS");
    };
    let seconds: f64 = seconds.parse().context("SECONDS is no number")?;
    let first = store(url).await?;
    let run = requests(&first).await?;
    let held = Arc::new(AtomicU64::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let store = Arc::new(store(url).await?);
        let owner = Owner(format!("worker {worker}"));
        let claims = store
            .claim(run, &owner, Claimable::All, LEASES, 3_600_000)
            .await?;
        for queue in claims.queues {
            callers.spawn(reserve(Arc::clone(&store), run, queue.lease, Arc::clone(&held)));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (held.load(Ordering::Relaxed), tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let reservations = held.load(Ordering::Relaxed) - before;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = reservations as f64 / begun.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{rate:.0} reservations a second")?;
    Ok(())
}

async fn store(url: &str) -> Result<PostgresStore> {
    let source = Source::Env("NOVA3_STORE".to_owned());
    match StoreAddress::read(Path::new(url), &source, &|_| None)? {
        StoreAddress::Postgres(address) => {
            let database = Database::new(&address).map_err(anyhow::Error::msg)?;
            Ok(PostgresStore::open(database, Duration::ZERO).await?)
        }
        StoreAddress::File(path) => bail!("`{}` is no database", path.display()),
    }
}

/// A run with as many requests as there are leases.
async fn requests(store: &PostgresStore) -> Result<RunId> {
    let opening = RunOpening {
        name: "reservations".to_owned(),
        input: None,
        named: true,
        rehearsal: true,
        recipe: ConfigFingerprint::default(),
        terms: RunConstraints::default(),
        accept_drift: false,
    };
    let run = store.open_run(&opening).await?.id;
    let epoch = store.begin_ingest(run).await?;
    let mut lines = Vec::new();
    for index in 0..WORKERS * LEASES as u64 {
        let text = format!(r#"{{"query":"question {index}"}}"#);
        let known =
            read_line(text.as_bytes(), Rules::default()).map_err(|_| anyhow::anyhow!("a bad line"))?;
        lines.push(NewLine {
            line: index + 1,
            index,
            content: NewRequest::Good {
                request: Box::new(known.request),
                identity: known.identity,
                content: known.content,
                notes: known.notes,
                plan: vec![Planned {
                    action: "answer".to_owned(),
                    description: String::new(),
                    input: String::new(),
                    needs: None,
                }],
                stops: Stops::default(),
            },
        });
    }
    store.add(run, epoch, lines, Changes::Replace).await?;
    Ok(run)
}

async fn reserve(store: Arc<PostgresStore>, run: RunId, lease: Lease, held: Arc<AtomicU64>) -> Result<()> {
    let reservation = Reservation {
        lease,
        task: nova3::domain::task::TaskNo::planned(0),
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: nova3::domain::lane::Lane::live(),
        spent: Cost::ZERO,
        worst: Cost(1_000),
    };
    loop {
        if store.reserve(run, &reservation, CAP).await? != Hold::Held {
            bail!("the cap has no room");
        }
        held.fetch_add(1, Ordering::Relaxed);
    }
}
