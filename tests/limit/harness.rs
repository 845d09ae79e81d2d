//! A limiter under test, and ways to simulate minutes.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nova3::config::{Source, StoreAddress};
use nova3::domain::bucket::{Charge, KEPT, TOLERANCE, WINDOW};
use nova3::limit::{Grant, InPostgres, InProcess, Limiter, Limits, TooLarge};
use nova3::postgres::{Connection, Database, Param};
use tokio::time::{Instant, timeout};

use crate::limit::memory::Memory;
use crate::limit::server::{Server, fresh_schema, psql, shared};

/// A call that is to be granted is granted within this time; any other call has to wait much longer.
const SOON: Duration = Duration::from_secs(10);

/// How long a test watches that something does not happen. A shorter time would only find fewer faults.
const QUIET: Duration = Duration::from_millis(300);

const SCHEMA: &str = concat!(
    include_str!("../../src/store/schema/postgres/tables/002_limits.sql"),
    include_str!("../../src/store/schema/postgres/functions/limits.sql"),
);

pub(crate) const NAME: &str = "route";

pub(crate) const fn rpm(rpm: u32) -> Limits {
    Limits {
        rpm: Some(rpm),
        tpm: None,
    }
}

pub(crate) const fn tpm(tpm: u64) -> Limits {
    Limits {
        rpm: None,
        tpm: Some(tpm),
    }
}

pub(crate) const NONE: Limits = Limits { rpm: None, tpm: None };

/// An engine that has granted nothing yet.
pub(crate) enum Harness {
    InProcess,
    /// In a process whose limits outlive it.
    Stored(Arc<Memory>),
    Postgres(String),
}

impl Harness {
    pub(crate) const fn in_process() -> Self {
        Self::InProcess
    }

    pub(crate) fn stored() -> Self {
        Self::Stored(Arc::default())
    }

    pub(crate) fn postgres() -> Self {
        Self::at(fresh_schema(shared()))
    }

    /// Creates a harness on a server of its own.
    pub(crate) fn on(server: &Server) -> Self {
        Self::at(server.url().to_owned())
    }

    fn at(url: String) -> Self {
        psql(&url, SCHEMA);
        Self::Postgres(url)
    }

    /// Tests the law.
    pub(crate) fn run(self, law: impl AsyncFnOnce(&Self)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all();
        runtime.start_paused(!matches!(self, Self::Postgres(_)));
        runtime.build().expect("a runtime").block_on(law(&self));
    }

    /// Creates a limiter as another process would have it.
    pub(crate) fn limiter(&self, limits: Limits) -> Arc<dyn Limiter> {
        self.named(NAME, limits)
    }

    pub(crate) fn named(&self, name: &str, limits: Limits) -> Arc<dyn Limiter> {
        match self {
            Self::InProcess => Arc::new(InProcess::new(limits)),
            Self::Stored(memory) => {
                let state = memory.state(name);
                Arc::new(InProcess::stored(limits, state.as_ref(), memory.of(name)))
            }
            Self::Postgres(url) => Arc::new(InPostgres::new(database(url), name, limits)),
        }
    }

    pub(crate) fn database(&self) -> Database {
        database(self.url())
    }

    /// Returns a transaction that holds the row of the limit.
    pub(crate) async fn locked(&self) -> Connection {
        let mut connection = self.database().connect().await.expect("connects");
        connection.begin().await.expect("begins");
        let row = connection.row("SELECT 1 FROM nova3_limits FOR UPDATE", &[]).await;
        row.expect("the row");
        connection
    }

    /// Returns the database's answer to the SQL.
    pub(crate) fn sql(&self, sql: &str) -> String {
        psql(self.url(), sql)
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Postgres(url) => url,
            _ => panic!("it has no database"),
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        match self {
            Self::Stored(memory) => memory,
            _ => panic!("it has no store of its own"),
        }
    }

    /// Makes calls that reserve and use these amounts, one after another for this many seconds, as fast as the limiter
    /// lets them. Returns for each call the time of its grant in nanoseconds, and its use.
    pub(crate) async fn rush(&self, limits: Limits, calls: &[(u64, u64)], seconds: u32) -> Vec<(i64, u64)> {
        let end = i64::from(seconds) * 1_000_000_000;
        match self {
            Self::InProcess | Self::Stored(_) => {
                let limiter = self.limiter(limits);
                let origin = Instant::now();
                let mut granted = Vec::new();
                for &(reserved, used) in calls.iter().cycle() {
                    let grant = limiter.take(reserved).await.expect("not too large");
                    let now = i64::try_from(origin.elapsed().as_nanos()).expect("a short time");
                    if now > end {
                        break;
                    }
                    granted.push((now, used));
                    limiter.settle(grant, used);
                    if used < reserved {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                granted
            }
            Self::Postgres(_) => self.rush_in_database(limits, calls, end).await,
        }
    }

    async fn rush_in_database(&self, limits: Limits, calls: &[(u64, u64)], end: i64) -> Vec<(i64, u64)> {
        /// How many calls wait at once; more would only make the test longer.
        const MANY: usize = 64;
        let mut teller = Teller::new(self, limits);
        let mut calls = calls.iter().cycle();
        let mut waiting: Vec<(u64, u64)> = Vec::new();
        let (mut granted, mut correction) = (Vec::new(), 0);
        while teller.now <= end {
            waiting.extend(calls.by_ref().take(MANY - waiting.len()));
            let tokens: Vec<u64> = waiting.iter().map(|(reserved, _)| *reserved).collect();
            let told = teller.take(&tokens, (0, correction)).await;
            correction = 0;
            for (reserved, used) in waiting.drain(..told.taken) {
                granted.push((teller.now, used));
                if let Some(units) = told.token_units {
                    let charge = Charge {
                        amount: reserved,
                        units,
                    };
                    correction += charge.correction(used);
                }
            }
            teller.now += told.wait.max(20_000_000);
        }
        granted
    }
}

/// A client of the granting function that also passes the time.
pub(crate) struct Teller {
    database: Database,
    limits: Limits,
    pub(crate) now: i64,
    /// How many calls all clients had been granted after the last one of this client.
    pub(crate) since: Option<i64>,
}

pub(crate) struct Told {
    pub(crate) taken: usize,
    pub(crate) wait: i64,
    pub(crate) since: i64,
    pub(crate) request_units: Option<u64>,
    pub(crate) token_units: Option<u64>,
}

impl Teller {
    pub(crate) fn new(harness: &Harness, limits: Limits) -> Self {
        Self {
            database: harness.database(),
            limits,
            now: 0,
            since: None,
        }
    }

    pub(crate) async fn take(&mut self, tokens: &[u64], correction: (i64, i64)) -> Told {
        let calls: Vec<i64> = tokens.iter().map(|n| i64::try_from(*n).expect("small")).collect();
        let mut connection = self.database.connect().await.expect("connects");
        let row = connection
            .row(
                "SELECT taken, wait, request_units, token_units, since FROM nova3_take($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                &[
                    NAME.sent(),
                    calls.sent(),
                    self.limits.rpm.map(i64::from).sent(),
                    self.limits.tpm.map(|tpm| i64::try_from(tpm).expect("small")).sent(),
                    self.since.sent(),
                    correction.0.sent(),
                    correction.1.sent(),
                    TOLERANCE.sent(),
                    WINDOW.sent(),
                    KEPT.sent(),
                    self.now.sent(),
                ],
            )
            .await
            .expect("answers");
        let units = |column| row.get::<_, Option<i64>>(column).map(i64::unsigned_abs);
        Told {
            taken: usize::try_from(row.get::<_, i32>(0)).expect("no negative number"),
            wait: row.get(1),
            since: row.get(4),
            request_units: units(2),
            token_units: units(3),
        }
    }
}

pub(crate) fn database(url: &str) -> Database {
    let address = StoreAddress::read(Path::new(url), &Source::Env("NOVA3_STORE".to_owned()), &|_| None);
    match address.expect("an address") {
        StoreAddress::Postgres(address) => Database::new(&address).expect("a database"),
        StoreAddress::File(path) => panic!("{} is no database", path.display()),
    }
}

/// Returns the grant, which has to come soon.
pub(crate) async fn granted(limiter: &dyn Limiter, tokens: u64) -> Grant {
    let taken = timeout(SOON, limiter.take(tokens)).await;
    taken.expect("it is granted").expect("it is not too large")
}

/// Checks that nothing is granted for a while.
pub(crate) async fn waits(limiter: &dyn Limiter, tokens: u64) {
    let taken: Result<Result<Grant, TooLarge>, _> = timeout(QUIET, limiter.take(tokens)).await;
    assert!(taken.is_err(), "it did not wait: {taken:?}");
}

/// Waits for an event that has to come soon.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Runs work side by side and joins it.
pub(crate) async fn together<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for work in work {
        tasks.spawn(work);
    }
    tasks.join_all().await
}
