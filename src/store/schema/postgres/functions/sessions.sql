-- The order inside a session: in each run one queue of a session is open, and the earliest waiting one is next.
--
-- A transaction that adds a queue to a session, ends one or puts one back first locks the session's row in
-- nova3_session_heads, and promotes at its end. The second of two such transactions waits for the first and sees its
-- changes. So no promotion is missed, and no search for missed ones is needed.
--
-- Locks are taken in this order: the advisory lock of the run's order, session heads by user and session, queues by
-- number, their tasks, the run's tallies.

-- The time by the server's clock, because the clocks of hosts can differ.
CREATE OR REPLACE FUNCTION nova3_now() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- The key of a run's advisory lock. Advisory locks belong to the whole database, so the key contains an id of this
-- store.
CREATE OR REPLACE FUNCTION nova3_order_key(p_run bigint) RETURNS bigint LANGUAGE sql STABLE AS
  $$ SELECT hashtextextended('nova3 order of ' || 'nova3_runs'::regclass::oid, p_run) $$;

-- Keeps the numbers of the run's present and last complete reading unchanged until the commit. They change, and the run
-- is dropped, only under the same lock taken exclusively (nova3_change_order), in a short transaction.
CREATE OR REPLACE FUNCTION nova3_share_order(p_run bigint) RETURNS void LANGUAGE sql VOLATILE AS
  $$ SELECT pg_advisory_xact_lock_shared(nova3_order_key(p_run)) $$;

CREATE OR REPLACE FUNCTION nova3_change_order(p_run bigint) RETURNS void LANGUAGE sql VOLATILE AS
  $$ SELECT pg_advisory_xact_lock(nova3_order_key(p_run)) $$;

-- Takes the lock under which one reading of a run at a time adds lines or ends.
CREATE OR REPLACE FUNCTION nova3_lock_ingest(p_run bigint) RETURNS void LANGUAGE sql VOLATILE AS
  $$ SELECT pg_advisory_xact_lock(hashtextextended('nova3 ingest of ' || 'nova3_runs'::regclass::oid, p_run)) $$;

-- Locks the heads of these sessions until the commit.
CREATE OR REPLACE FUNCTION nova3_lock_sessions(p_run bigint, p_users text[], p_sessions text[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  -- The lateral join looks up each row in the given order. Rows of a subquery with FOR UPDATE are locked as they are
  -- read.
  PERFORM 1 FROM (SELECT DISTINCT s.u, s.s FROM unnest(p_users, p_sessions) s(u, s) ORDER BY s.u, s.s) s
  CROSS JOIN LATERAL (
    SELECT 1 FROM nova3_session_heads h WHERE h.user_id = s.u AND h.session_id = s.s AND h.run_id = p_run FOR UPDATE) h;
END $$;

-- Locks the heads of sessions that may be new in the run, and adds missing heads.
CREATE OR REPLACE FUNCTION nova3_add_sessions(p_run bigint, p_users text[], p_sessions text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO nova3_session_heads (user_id, session_id, run_id)
  SELECT DISTINCT s.u, s.s, p_run FROM unnest(p_users, p_sessions) s(u, s) ORDER BY s.u, s.s ON CONFLICT DO NOTHING;
  PERFORM nova3_lock_sessions(p_run, p_users, p_sessions);
END $$;

-- Ends the hold of these queues on their sessions.
CREATE OR REPLACE FUNCTION nova3_end_session_leases(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  DELETE FROM nova3_session_leases l USING unnest(p_queues) i(queue_id), nova3_queues q
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.session_id IS NOT NULL AND l.user_id = ANY (ARRAY[q.user_id])
    AND l.session_id = q.session_id AND l.queue_id = q.queue_id;
END $$;

-- Opens the earliest waiting queue of each session, unless one is open. An open queue without leases gives way to an
-- earlier one that came back after a retry or after an undone edit. The caller has locked the heads of the sessions.
CREATE OR REPLACE FUNCTION nova3_promote(p_run bigint, p_users text[], p_sessions text[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  first bigint[];
  later bigint[];
  stepped bigint[];
BEGIN
  SELECT array_agg(h.queue_id ORDER BY h.queue_id), array_agg(l.queue_id ORDER BY h.queue_id)
  INTO first, later
  FROM (SELECT DISTINCT s.u, s.s FROM unnest(p_users, p_sessions) s(u, s)) s
  CROSS JOIN LATERAL (
    SELECT b.queue_id, b.seq FROM nova3_queues b
    WHERE b.run_id = p_run AND b.run_id > 0 AND b.user_id = s.u AND b.session_id = s.s AND b.state = 'blocked'
      AND b.ingest = (SELECT r.ingest FROM nova3_runs r WHERE r.run_id = p_run)
    ORDER BY b.seq LIMIT 1) h
  LEFT JOIN LATERAL (
    SELECT q.queue_id, q.seq, q.leased + q.submitted > 0 AS is_held FROM nova3_queues q
    WHERE q.run_id = p_run AND q.run_id > 0 AND q.user_id = s.u AND q.session_id = s.s AND q.session_id IS NOT NULL
      AND q.state = 'open' LIMIT 1) l ON true
  WHERE l.queue_id IS NULL OR (NOT l.is_held AND l.seq > h.seq) -- unless failpoint two-live-in-a-session
  ;
  IF first IS NULL THEN
    RETURN;
  END IF;
  IF cardinality(array_remove(later, NULL)) > 0 THEN
    -- A queue that a claim leases at the moment stays open.
    WITH back AS (
      UPDATE nova3_queues q SET state = 'blocked' FROM unnest(later) i(queue_id)
      WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'open' AND q.leased = 0 AND q.submitted = 0
      RETURNING q.queue_id)
    SELECT array_agg(back.queue_id) INTO stepped FROM back;
    PERFORM nova3_end_session_leases(stepped);
  END IF;
  UPDATE nova3_queues q SET state = 'open' FROM unnest(first, later) i(queue_id, later)
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'blocked'
    AND (i.later IS NULL OR i.later = ANY (stepped)) -- unless failpoint two-live-in-a-session
  ;
END $$;

-- Holds back up to p_rows open queues without leases that an ended reading has not seen, and promotes the next queues
-- of their sessions. Returns how many. The caller repeats it until it returns 0.
CREATE OR REPLACE FUNCTION nova3_hold_back(p_run bigint, p_ingest bigint, p_rows bigint) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  unseen bigint[];
  users text[];
  sessions text[];
BEGIN
  -- The lock keeps the rows that another reading has looked up unchanged until it has written.
  PERFORM nova3_lock_ingest(p_run);
  PERFORM nova3_share_order(p_run);
  SELECT array_agg(u.queue_id), array_agg(u.user_id) FILTER (WHERE u.session_id IS NOT NULL),
    array_agg(u.session_id) FILTER (WHERE u.session_id IS NOT NULL)
  INTO unseen, users, sessions FROM (
    SELECT q.queue_id, q.user_id, q.session_id FROM nova3_queues q
    WHERE q.run_id + 0 = p_run AND q.run_id > 0 AND q.state = 'open' AND q.ingest < p_ingest AND q.leased = 0
      AND q.submitted = 0 LIMIT p_rows) u;
  IF unseen IS NULL THEN
    RETURN 0;
  END IF;
  PERFORM nova3_lock_sessions(p_run, users, sessions);
  PERFORM 1 FROM (SELECT i.queue_id FROM unnest(unseen) i(queue_id) ORDER BY i.queue_id) i
  CROSS JOIN LATERAL (SELECT 1 FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) FOR UPDATE) q;
  WITH back AS (
    UPDATE nova3_queues q SET state = 'blocked' FROM unnest(unseen) i(queue_id)
    WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'open' AND q.ingest < p_ingest AND q.leased = 0
      AND q.submitted = 0 RETURNING q.queue_id, q.session_id)
  SELECT array_agg(back.queue_id) INTO unseen FROM back;
  PERFORM nova3_end_session_leases(unseen);
  PERFORM nova3_promote(p_run, users, sessions);
  -- Queues that were leased in the meantime are not counted, so that the caller's loop ends.
  RETURN coalesce(cardinality(unseen), 0);
END $$;

-- Puts queues that lost a lease back into the order of their sessions. A queue whose line left the input in the
-- meantime is held back, because it would block the others for ever. A queue gives way to an earlier one that came
-- back. A queue that a worker or an outside job still works on stays open. The session stays with its last holder. The
-- caller shares the run's order and has locked the heads of the sessions.
CREATE OR REPLACE FUNCTION nova3_put_back(p_run bigint, p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  back bigint[];
  users text[];
  sessions text[];
BEGIN
  WITH held AS (
    UPDATE nova3_queues q SET state = 'blocked' FROM unnest(p_queues) i(queue_id), nova3_runs r
    WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND r.run_id = p_run AND q.ingest < r.complete_ingest
      AND q.state = 'open' AND q.leased = 0 AND q.submitted = 0 RETURNING q.queue_id)
  SELECT array_agg(held.queue_id) INTO back FROM held;
  IF back IS NOT NULL THEN
    PERFORM nova3_end_session_leases(back);
  END IF;
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions
  FROM unnest(p_queues) i(queue_id) JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
  WHERE q.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;
END $$;
