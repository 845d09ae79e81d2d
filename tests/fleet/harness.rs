//! Several workers over one schema, and access to the tables below the ports.

use std::time::{Duration, Instant};

use nova3::domain::usage::Cost;
use nova3::postgres::Connection;
use nova3::store::{Claimable, Claimed, Hold, Lease, Owner, Reservation, RunId, Store, WorkerProgress};
use tokio_postgres::Row;

use crate::fleet::server;
use crate::store::harness::{Harness, LEASE_MS, database};

/// A limit that no wait here reaches, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Several stores over one new schema.
pub(crate) async fn workers<const N: usize>() -> (String, [Harness; N]) {
    let url = server::fresh_schema(server::shared());
    let mut beds = Vec::new();
    for _ in 0..N {
        beds.push(Harness::at(&url).await);
    }
    let beds = beds.try_into().map_err(drop).expect("as many");
    (url, beds)
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A session of the test with the database.
pub(crate) struct Sql {
    connection: Connection,
}

impl Sql {
    pub(crate) async fn at(url: &str) -> Self {
        let connection = database(url).connect().await.expect("connects");
        Self { connection }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        self.connection.batch(sql).await.expect("runs");
    }

    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Row> {
        self.connection.rows(sql, &[]).await.expect("reads")
    }

    /// Returns the number that a query answers.
    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let row = self.connection.row(sql, &[]).await.expect("reads");
        row.get(0)
    }

    /// Returns the text that a query answers.
    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let row = self.connection.row(sql, &[]).await.expect("reads");
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Makes the leases of these queues expire, as if their time had passed.
    pub(crate) async fn expire(&mut self, queues: &[Lease]) {
        let queues: Vec<String> = queues.iter().map(|lease| lease.queue_id.to_string()).collect();
        let list = queues.join(",");
        self.run(&format!(
            "UPDATE nova3_tasks SET lease_until = 0 WHERE status = 'leased' AND queue_id IN ({list})"
        ))
        .await;
    }
}

/// A transaction of the test that keeps its changes and locks open.
pub(crate) struct Lock {
    sql: Sql,
}

impl Lock {
    pub(crate) async fn of(url: &str, sql: &str) -> Self {
        let mut hold = Sql::at(url).await;
        hold.connection.begin().await.expect("begins");
        hold.rows(sql).await;
        Self { sql: hold }
    }

    pub(crate) async fn and(&mut self, sql: &str) -> Vec<Row> {
        self.sql.rows(sql).await
    }

    /// Returns how many sessions wait for it now.
    pub(crate) async fn waiting(&mut self) -> i64 {
        self.sql
            .number(
                "SELECT count(DISTINCT l.pid) FROM pg_locks l
                 WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid))",
            )
            .await
    }

    /// Returns how many sessions wait for those that wait for it.
    pub(crate) async fn waiting_behind(&mut self) -> i64 {
        self.sql
            .number(
                "SELECT count(*) FROM pg_locks l JOIN pg_locks m ON m.pid = ANY (pg_blocking_pids(l.pid))
                 WHERE NOT l.granted AND NOT m.granted AND pg_backend_pid() = ANY (pg_blocking_pids(m.pid))",
            )
            .await
    }

    /// Waits until that many sessions wait for it.
    pub(crate) async fn until_waited_for(&mut self, by: i64) {
        until("somebody who waits for the lock", async || {
            self.waiting().await >= by
        })
        .await;
    }

    pub(crate) async fn commit(mut self) {
        self.sql.connection.commit().await.expect("commits");
    }
}

/// The owner of that name.
pub(crate) fn owner(name: &str) -> Owner {
    Owner(name.to_owned())
}

/// Claims up to `limit` tasks under that name.
pub(crate) async fn claim(harness: &Harness, name: &str, run: RunId, limit: usize) -> Vec<Claimed> {
    harness.claim_as(name, run, Claimable::All, limit).await
}

pub(crate) fn leases(queues: &[Claimed]) -> Vec<Lease> {
    queues.iter().map(|queue| queue.lease).collect()
}

/// Sends the worker's heartbeat, which also takes away expired leases.
pub(crate) async fn tend(store: &dyn Store, name: &str) {
    store
        .heartbeat(&owner(name), WorkerProgress::default(), LEASE_MS)
        .await
        .expect("tends");
}

/// A reservation for the next call of a first task: the cost of its earlier calls, and the worst cost of this one.
pub(crate) fn call(lease: Lease, spent: u64, worst: u64) -> Reservation {
    Reservation {
        lease,
        task: nova3::domain::task::TaskNo::planned(0),
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: nova3::domain::lane::Lane::live(),
        spent: Cost(spent),
        worst: Cost(worst),
    }
}

/// Reserves and returns whether the money is held.
pub(crate) async fn reserve(store: &dyn Store, run: RunId, call: &Reservation, cap: u64) -> bool {
    let hold = store.reserve(run, call, Cost(cap)).await;
    hold.expect("reserves") == Hold::Held
}

/// Registers the worker on the run.
pub(crate) async fn join(store: &dyn Store, name: &str, run: RunId) {
    let worker = nova3::store::Worker {
        owner: owner(name),
        host: "here".to_owned(),
        pid: 1,
        version: "0".to_owned(),
    };
    store.register_worker(run, &worker).await.expect("joins");
}

/// Checks the invariants of every store by SQL. Returns one text for each violation.
pub(crate) async fn wrongs(sql: &mut Sql) -> Vec<String> {
    let rows = sql.rows(WRONGS).await;
    rows.iter()
        .map(|row| format!("{}: {}", row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect()
}

const WRONGS: &str = "
SELECT 'two open queues of a session in a run', min(q.user_id || '/' || q.session_id) FROM nova3_queues q
  WHERE q.session_id IS NOT NULL AND q.state = 'open' GROUP BY q.run_id, q.user_id, q.session_id HAVING count(*) > 1
UNION ALL SELECT 'two leased queues of a session', min(q.user_id || '/' || q.session_id) FROM nova3_queues q
  WHERE q.session_id IS NOT NULL AND q.leased > 0 GROUP BY q.user_id, q.session_id HAVING count(*) > 1
UNION ALL SELECT 'a leased queue without its session', q.queue_id::text FROM nova3_queues q
  WHERE q.leased > 0 AND q.session_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM nova3_session_leases l
    WHERE l.user_id = q.user_id AND l.session_id = q.session_id AND l.queue_id = q.queue_id)
UNION ALL SELECT 'a session kept by a queue that is not open', l.queue_id::text FROM nova3_session_leases l
  WHERE NOT EXISTS (SELECT 1 FROM nova3_queues q WHERE q.queue_id = l.queue_id AND q.state = 'open'
    AND q.user_id = l.user_id AND q.session_id = l.session_id)
UNION ALL SELECT 'the counts of a queue', q.queue_id::text FROM nova3_queues q CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE t.status = 'ready' AND t.quarantine = 0) AS ready,
      coalesce(max(t.quarantine) FILTER (WHERE t.status = 'ready'), 0) AS quarantine,
      count(*) FILTER (WHERE t.status = 'leased') AS leased, count(*) FILTER (WHERE t.status = 'submitted') AS submitted
    FROM nova3_tasks t WHERE t.queue_id = q.queue_id) t
  WHERE q.state IN ('open','blocked','paused')
    AND (q.ready, q.quarantine, q.leased, q.submitted) <> (t.ready, t.quarantine, t.leased, t.submitted)
UNION ALL SELECT 'a task with unmet needs', t.queue_id || ' ' || t.task_index FROM nova3_tasks t
  WHERE t.status IN ('pending','ready','leased') AND t.unmet <> (SELECT count(*) FROM nova3_tasks k WHERE k.queue_id = t.queue_id
    AND k.task_index = ANY (t.needs) AND k.status NOT IN ('completed','failed'))
UNION ALL SELECT 'finish numbers ' || min(e.finish_no) || ' to ' || max(e.finish_no) || ', next ' || min(t.next_finish_no),
    count(*)::text
  FROM nova3_tallies t LEFT JOIN nova3_queues e ON e.run_id = t.run_id AND e.finish_no IS NOT NULL GROUP BY t.run_id
  HAVING count(DISTINCT e.finish_no) <> min(t.next_finish_no) OR coalesce(max(e.finish_no), 0) <> min(t.next_finish_no)
UNION ALL SELECT 'event numbers up to ' || min(t.next_event_no), count(*)::text
  FROM nova3_tallies t LEFT JOIN nova3_events e USING (run_id) GROUP BY t.run_id
  HAVING count(e.event_no) <> min(t.next_event_no) OR coalesce(max(e.event_no), 0) <> min(t.next_event_no)
UNION ALL SELECT 'numbers of ' || i.user_id || '/' || i.session_id || '/' || i.kind, count(*)::text FROM nova3_items i
  JOIN nova3_counters c USING (user_id, session_id, kind) GROUP BY i.user_id, i.session_id, i.kind
  HAVING count(*) <> max(i.number) OR min(i.number) <> 1 OR max(c.last) <> max(i.number)
UNION ALL SELECT 'the sums of run ' || t.run_id, to_json(t)::text || ' but ' || to_json(s)::text
  FROM nova3_tallies t CROSS JOIN LATERAL (
    SELECT count(*) AS attempts, count(*) FILTER (WHERE a.error_class IS NOT NULL) AS failed,
      count(*) FILTER (WHERE a.cost IS NULL) AS unpriced, coalesce(sum(a.input_tokens), 0) AS input,
      coalesce(sum(a.cached_input_tokens), 0) AS cached,
      coalesce(sum(a.cache_write_tokens), 0) AS written, coalesce(sum(a.output_tokens), 0) AS output,
      coalesce(sum(a.cost), 0) AS cost, coalesce(sum(a.cost) FILTER (WHERE NOT a.used), 0) AS wasted,
      coalesce(sum(a.uncertain), 0) AS uncertain,
      (SELECT coalesce(sum(r.spent + r.in_flight), 0) FROM nova3_reservations r WHERE r.run_id = t.run_id) AS reserved
    FROM nova3_attempts a WHERE a.run_id = t.run_id) s
  WHERE (t.attempts, t.failed_attempts, t.unpriced_attempts, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.cost,
      t.wasted, t.uncertain, t.reserved)
    <> (s.attempts, s.failed, s.unpriced, s.input, s.cached, s.written, s.output, s.cost, s.wasted, s.uncertain, s.reserved)
UNION ALL SELECT 'the waste of run ' || run_id, route || ' ' || cause
  FROM (SELECT a.run_id, a.route, coalesce(a.error_class, 'repeated') AS cause, count(*) AS calls,
      sum(a.input_tokens) AS input, sum(a.output_tokens) AS output, sum(coalesce(a.cost, 0)) AS cost, sum(a.uncertain) AS uncertain
    FROM nova3_attempts a WHERE NOT a.used GROUP BY 1, 2, 3) s
  FULL JOIN nova3_waste w USING (run_id, route, cause)
  WHERE (s.calls, s.input, s.output, s.cost, s.uncertain)
    IS DISTINCT FROM (w.calls::bigint, w.input_tokens::numeric, w.output_tokens::numeric, w.cost::numeric, w.uncertain::numeric)
";
