-- The order inside a session: one queue of a session in a run is ready or leased, the earliest that waits is next.

-- The server's clock: hosts need not agree on the time.
CREATE OR REPLACE FUNCTION nova3_now() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Sees to it that the earliest waiting queue of each session is its ready one, unless one is leased. A ready one steps
-- back for an earlier one that came back: after a retry, or when an edit was undone.
CREATE OR REPLACE FUNCTION nova3_promote(p_run bigint, p_users text[], p_sessions text[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  heads bigint[];
  later bigint[];
BEGIN
  SELECT array_agg(h.queue_id ORDER BY h.queue_id), array_agg(l.queue_id ORDER BY l.queue_id) FILTER (WHERE l.queue_id IS NOT NULL)
  INTO heads, later
  FROM (SELECT DISTINCT s.u, s.s FROM unnest(p_users, p_sessions) s(u, s)) s
  CROSS JOIN LATERAL (
    SELECT b.queue_id, b.seq FROM nova3_queues b
    WHERE b.run_id = p_run AND b.run_id > 0 AND b.user_id = s.u AND b.session_id = s.s AND b.state = 'blocked'
      AND b.ingest = (SELECT r.ingest FROM nova3_runs r WHERE r.run_id = p_run)
    ORDER BY b.seq LIMIT 1) h
  LEFT JOIN LATERAL (
    SELECT q.queue_id, q.seq, q.state FROM nova3_queues q
    WHERE q.run_id = p_run AND q.run_id > 0 AND q.user_id = s.u AND q.session_id = s.s AND q.session_id IS NOT NULL
      AND q.state IN ('ready','leased') LIMIT 1) l ON true
  WHERE l.queue_id IS NULL OR (l.state = 'ready' AND l.seq > h.seq) -- unless failpoint two-live-in-a-session
  ;
  IF later IS NOT NULL THEN
    UPDATE nova3_queues q SET state = 'blocked' FROM unnest(later) i(queue_id)
    WHERE q.queue_id = i.queue_id AND q.state = 'ready';
  END IF;
  IF heads IS NOT NULL THEN
    UPDATE nova3_queues q SET state = 'ready' FROM unnest(heads) i(queue_id)
    WHERE q.queue_id = i.queue_id AND q.state = 'blocked';
  END IF;
END $$;

-- Promotes the head of every session that waits for nothing: a promotion is missed where a queue is added while the
-- one before it finishes, since neither transaction sees the other. So is a line that leaves the input while its queue
-- is given back, which would hold up its session for ever.
CREATE OR REPLACE FUNCTION nova3_sweep(p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  users text[];
  sessions text[];
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('nova3 sweep', p_run)) THEN
    RETURN;
  END IF;
  UPDATE nova3_queues q SET state = 'blocked' FROM nova3_runs r
  WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'ready' AND r.run_id = p_run AND q.ingest < r.complete_ingest;
  SELECT array_agg(s.user_id), array_agg(s.session_id) INTO users, sessions FROM (
    SELECT DISTINCT b.user_id, b.session_id FROM nova3_queues b JOIN nova3_runs r ON r.run_id = b.run_id
    WHERE b.run_id = p_run AND b.run_id > 0 AND b.state = 'blocked' AND b.ingest + 0 = r.ingest AND b.session_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM nova3_queues l WHERE l.run_id = p_run AND l.run_id > 0 AND l.user_id = b.user_id
        AND l.session_id = b.session_id AND l.session_id IS NOT NULL AND l.state IN ('ready','leased'))) s;
  IF users IS NOT NULL THEN
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;
END $$;

-- Queues that were leased stand in their sessions' order again: held back if their line left the input meanwhile, since
-- they would hold up the others for ever, or if an earlier one came back.
CREATE OR REPLACE FUNCTION nova3_put_back(p_run bigint, p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  users text[];
  sessions text[];
BEGIN
  DELETE FROM nova3_session_leases l USING unnest(p_queues) i(queue_id), nova3_queues q
  WHERE q.queue_id = i.queue_id AND q.session_id IS NOT NULL AND l.user_id = q.user_id
    AND l.session_id = q.session_id AND l.queue_id = q.queue_id
    -- if failpoint lost-leases-hold-sessions: AND false
  ;
  UPDATE nova3_queues q SET state = 'blocked' FROM unnest(p_queues) i(queue_id), nova3_runs r
  WHERE q.queue_id = i.queue_id AND r.run_id = p_run AND q.ingest < r.complete_ingest
    AND q.state = 'ready';
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions
  FROM unnest(p_queues) i(queue_id) JOIN nova3_queues q ON q.queue_id = i.queue_id
  WHERE q.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;
END $$;
