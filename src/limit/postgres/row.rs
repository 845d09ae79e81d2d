//! The row in the database, used through the functions of `store/schema/postgres/functions/limits.sql`.

use std::time::Duration;

use super::super::Limits;
use crate::domain::bucket::{Charge, Charges, Correction, KEPT, TOLERANCE, WINDOW};
use crate::postgres::{Connection, Database, DatabaseFault, Param, PgText, text};

/// How many characters of a reason are stored for other processes.
const REASON_CHARS: usize = 200;

/// The row of a limit, and the last grant of this process in it.
#[derive(Debug)]
pub(super) struct LimitRow {
    database: Database,
    name: String,
    /// How many calls all processes had been granted after the last grant here.
    since: Option<i64>,
}

/// The input of one statement.
#[derive(Debug)]
pub(super) struct Question {
    /// Tokens of each call, in the order of the callers.
    pub(super) calls: Vec<i64>,
    pub(super) limits: Limits,
    /// The change of the reservation.
    pub(super) correction: Correction,
}

/// The answer of one statement.
#[derive(Debug)]
pub(super) struct LimitAnswer {
    /// How many of the calls are granted, from the first one on.
    pub(super) taken: usize,
    /// The least wait of the next call.
    pub(super) wait: Duration,
    /// The numbers of requests and of tokens that are charged a whole window.
    units: (u64, u64),
    /// The rest of a pause, and its reason.
    pub(super) paused: Option<(Duration, String)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct LimitFailure {
    pub(super) fault: DatabaseFault,
    /// Whether the server may have carried out the statement.
    pub(super) perhaps_done: bool,
}

/// News for all processes.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    pub(super) pause: Option<(Duration, String)>,
    pub(super) lower: Limits,
}

impl LimitAnswer {
    /// Returns the charges of a call of this many tokens.
    pub(super) const fn charges(&self, tokens: u64) -> Charges {
        let (requests, units) = self.units;
        Charges {
            request: Charge {
                amount: 1,
                units: requests,
            },
            tokens: Charge {
                amount: tokens,
                units,
            },
        }
    }
}

impl LimitRow {
    pub(super) fn new(database: Database, name: &str) -> Self {
        Self {
            database,
            name: text(name),
            since: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes as many of the calls as fit and applies the correction, all or nothing.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<LimitAnswer, LimitFailure> {
        let unsent = |fault| LimitFailure {
            fault,
            perhaps_done: false,
        };
        let mut connection = self.database.connect().await.map_err(unsent)?;
        let answer = self.take(&mut connection, question).await;
        let answer = answer.map_err(|fault| LimitFailure {
            perhaps_done: is_unknown(&fault),
            fault,
        })?;
        Ok(answer)
    }

    async fn take(
        &mut self,
        connection: &mut Connection,
        question: &Question,
    ) -> Result<LimitAnswer, DatabaseFault> {
        let Question {
            calls,
            limits,
            correction,
        } = question;
        let row = connection
            .row(
                "SELECT taken, wait, since, request_units, token_units, paused, reason \
                 FROM nova3_take($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    self.name.sent(),
                    calls.sent(),
                    limits.rpm.map(i64::from).sent(),
                    limits.tpm.map(signed).sent(),
                    self.since.sent(),
                    correction.requests.sent(),
                    correction.tokens.sent(),
                    TOLERANCE.sent(),
                    WINDOW.sent(),
                    KEPT.sent(),
                ],
            )
            .await?;
        let taken = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0);
        if taken > 0 {
            self.since = Some(row.try_get(2)?);
        }
        let units = |column| {
            Ok::<_, DatabaseFault>(
                row.try_get::<_, Option<i64>>(column)?
                    .map_or(0, i64::unsigned_abs),
            )
        };
        let paused = nanos(row.try_get(5)?);
        Ok(LimitAnswer {
            taken,
            wait: nanos(row.try_get(1)?),
            units: (units(3)?, units(4)?),
            paused: if paused.is_zero() {
                None
            } else {
                Some((paused, row.try_get::<_, PgText>(6)?.0))
            },
        })
    }

    /// Reports news to all processes. It is safe to do twice.
    pub(super) async fn tell(&self, news: &News) -> Result<(), DatabaseFault> {
        let (pause, reason) = news
            .pause
            .as_ref()
            .map_or((None, String::new()), |(lasting, reason)| {
                (
                    Some(signed_ns(*lasting)),
                    text(&reason.chars().take(REASON_CHARS).collect::<String>()),
                )
            });
        let mut connection = self.database.connect().await?;
        connection
            .rows(
                "SELECT nova3_limit_tell($1, $2, $3, $4, $5, $6, $7, $8)::text",
                &[
                    self.name.sent(),
                    pause.sent(),
                    reason.sent(),
                    news.lower.rpm.map(i64::from).sent(),
                    news.lower.tpm.map(signed).sent(),
                    KEPT.sent(),
                    TOLERANCE.sent(),
                    WINDOW.sent(),
                ],
            )
            .await?;
        Ok(())
    }

    /// Waits until the database answers.
    pub(super) async fn until_reachable(&self) -> Result<(), DatabaseFault> {
        self.database
            .patiently(async || self.database.connect().await?.execute("SELECT 1", &[]).await)
            .await?;
        Ok(())
    }
}

/// Whether the server may have carried out the statement in spite of the failure. A refusal undoes its transaction,
/// except one that announces the end of the server.
fn is_unknown(fault: &DatabaseFault) -> bool {
    fault
        .code
        .as_ref()
        .is_none_or(|code| code.code().starts_with("57P"))
}

pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn signed_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn nanos(ns: i64) -> Duration {
    Duration::from_nanos(ns.max(0).unsigned_abs())
}
