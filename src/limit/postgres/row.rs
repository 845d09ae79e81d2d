//! The row in the database, as the functions of `store/schema/postgres/functions/limits.sql` serve it.

use std::time::Duration;

use super::super::Limits;
use crate::domain::bucket::{Charge, Charges, Correction, KEPT, TOLERANCE, WINDOW};
use crate::postgres::{Connection, Database, Fault, Param, Text, text};

/// So much of a reason is shown to others.
const REASON_CHARS: usize = 200;

/// A limit's row, and how far this process is behind in it.
#[derive(Debug)]
pub(super) struct Row {
    database: Database,
    name: String,
    /// How many calls everyone had been granted after the last grant here.
    since: Option<i64>,
}

/// What is asked in one statement.
#[derive(Debug)]
pub(super) struct Question {
    /// Tokens of each call, the first comes first.
    pub(super) calls: Vec<i64>,
    pub(super) limits: Limits,
    /// What is no longer reserved.
    pub(super) correction: Correction,
}

/// How it was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// How many of the calls are granted, the first ones.
    pub(super) taken: usize,
    /// How long the next one has to wait at least.
    pub(super) wait: Duration,
    /// How much of requests and of tokens is charged a whole window.
    units: (u64, u64),
    /// What is left of a pause, and why it is made.
    pub(super) paused: Option<(Duration, String)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    /// Whether the statement may have been carried out.
    pub(super) perhaps_done: bool,
}

/// What everyone has to know.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    pub(super) pause: Option<(Duration, String)>,
    pub(super) lower: Limits,
}

impl Answer {
    /// What a call of so many tokens is charged by it.
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

impl Row {
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

    /// Takes as many of the calls as fit and settles what is corrected, all or nothing.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Answer, Unanswered> {
        let unsent = |fault| Unanswered {
            fault,
            perhaps_done: false,
        };
        let mut connection = self.database.connect().await.map_err(unsent)?;
        let answer = self.take(&mut connection, question).await;
        let answer = answer.map_err(|fault| Unanswered {
            perhaps_done: is_unknown(&fault),
            fault,
        })?;
        Ok(answer)
    }

    async fn take(&mut self, connection: &mut Connection, question: &Question) -> Result<Answer, Fault> {
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
            Ok::<_, Fault>(
                row.try_get::<_, Option<i64>>(column)?
                    .map_or(0, i64::unsigned_abs),
            )
        };
        let paused = nanos(row.try_get(5)?);
        Ok(Answer {
            taken,
            wait: nanos(row.try_get(1)?),
            units: (units(3)?, units(4)?),
            paused: if paused.is_zero() {
                None
            } else {
                Some((paused, row.try_get::<_, Text>(6)?.0))
            },
        })
    }

    /// Tells the others. May be done twice.
    pub(super) async fn tell(&self, news: &News) -> Result<(), Fault> {
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

    /// Returns when the database answers.
    pub(super) async fn until_reachable(&self) -> Result<(), Fault> {
        self.database
            .patiently(async || self.database.connect().await?.execute("SELECT 1", &[]).await)
            .await?;
        Ok(())
    }
}

/// Whether what failed so may have been done all the same. A refusal is the end of its transaction, but not one that
/// says that the server goes down.
fn is_unknown(fault: &Fault) -> bool {
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
