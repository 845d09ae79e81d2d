-- Dropping a run: it disappears at once, and its rows are deleted in batches.

-- Removes a run with all rows that only it has. Sessions keep their items, and item numbers continue. Returns whether
-- rows are left; the caller repeats it until none are. Refused while a task of the run has an unexpired lease.
--
-- The first call removes the run itself: after it, the run cannot be found, claimed from or settled in. Each call
-- deletes the rows of up to p_queues queues. A crash between two calls loses nothing: the next call with the same name
-- continues. A new run of that name is another run, which the call does not touch.
CREATE OR REPLACE FUNCTION nova3_drop_run(p_name text, p_queues bigint DEFAULT 1000) RETURNS boolean
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
DECLARE
  gone nova3_dropped;
  upper_queue bigint;
BEGIN
  SELECT d.* INTO gone FROM nova3_dropped d WHERE d.name = p_name ORDER BY d.run_id LIMIT 1 FOR UPDATE;
  IF NOT FOUND THEN
    gone := nova3_begin_drop(p_name);
  END IF;
  upper_queue := least(gone.next_queue + greatest(p_queues, 1), gone.last_queue + 1);
  DELETE FROM nova3_attempts a WHERE a.queue_id >= gone.next_queue AND a.queue_id < upper_queue;
  DELETE FROM nova3_events e WHERE e.queue_id >= gone.next_queue AND e.queue_id < upper_queue;
  DELETE FROM nova3_tasks t WHERE t.queue_id >= gone.next_queue AND t.queue_id < upper_queue;
  DELETE FROM nova3_task_versions v WHERE v.queue_id >= gone.next_queue AND v.queue_id < upper_queue;
  DELETE FROM nova3_redos r WHERE r.queue_id >= gone.next_queue AND r.queue_id < upper_queue;
  DELETE FROM nova3_plans p WHERE p.queue_id >= gone.next_queue AND p.queue_id < upper_queue;
  DELETE FROM nova3_requests d WHERE d.queue_id >= gone.next_queue AND d.queue_id < upper_queue;
  DELETE FROM nova3_rounds r WHERE r.queue_id >= gone.next_queue AND r.queue_id < upper_queue;
  DELETE FROM nova3_session_leases l USING (
    SELECT q.user_id, q.session_id, q.queue_id FROM nova3_queues q
    WHERE q.queue_id >= gone.next_queue AND q.queue_id < upper_queue AND q.session_id IS NOT NULL) s
  WHERE l.user_id = s.user_id AND l.session_id = s.session_id AND l.queue_id = s.queue_id;
  DELETE FROM nova3_session_heads h USING (
    SELECT DISTINCT q.user_id, q.session_id FROM nova3_queues q
    WHERE q.queue_id >= gone.next_queue AND q.queue_id < upper_queue AND q.session_id IS NOT NULL) s
  WHERE h.user_id = s.user_id AND h.session_id = s.session_id AND h.run_id = gone.run_id;
  DELETE FROM nova3_queues q WHERE q.queue_id >= gone.next_queue AND q.queue_id < upper_queue;
  IF upper_queue > gone.last_queue THEN
    DELETE FROM nova3_dropped d WHERE d.run_id = gone.run_id;
    RETURN false;
  END IF;
  UPDATE nova3_dropped d SET next_queue = upper_queue WHERE d.run_id = gone.run_id;
  RETURN true;
END $$;

-- Removes the run itself and ends its leases, so that a worker which lost one can no longer change anything.
CREATE OR REPLACE FUNCTION nova3_begin_drop(p_name text) RETURNS nova3_dropped LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off AS $$
DECLARE
  run nova3_runs;
  gone nova3_dropped;
  freed bigint[];
BEGIN
  SELECT r.* INTO run FROM nova3_runs r WHERE r.name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no run `%`', p_name;
  END IF;
  -- These locks keep other processes from adding lines or settling in the meantime.
  PERFORM nova3_lock_ingest(run.run_id);
  PERFORM nova3_change_order(run.run_id);
  -- The rows are locked in the common order.
  PERFORM 1 FROM nova3_queues q WHERE q.run_id = run.run_id AND q.run_id > 0 AND q.leased > 0
  ORDER BY q.queue_id FOR UPDATE;
  PERFORM 1 FROM nova3_tallies t WHERE t.run_id = run.run_id FOR UPDATE;
  SELECT r.* INTO run FROM nova3_runs r WHERE r.run_id = run.run_id FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no run `%`', p_name;
  END IF;
  IF EXISTS (SELECT 1 FROM nova3_queues q JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[q.queue_id])
      WHERE q.run_id = run.run_id AND q.run_id > 0 AND q.leased > 0 AND t.status = 'leased' AND t.lease_until >= nova3_now()) THEN
    RAISE EXCEPTION 'run `%` is being worked on', p_name USING HINT = 'stop its workers first';
  END IF;
  WITH ended AS (
    UPDATE nova3_tasks t SET status = 'ready', lease_owner = NULL, lease_until = NULL FROM nova3_queues q
    WHERE q.run_id = run.run_id AND q.run_id > 0 AND q.leased > 0 AND t.queue_id = ANY (ARRAY[q.queue_id]) AND t.status = 'leased'
    RETURNING t.queue_id)
  SELECT array_agg(DISTINCT ended.queue_id) INTO freed FROM ended;
  PERFORM nova3_recount(freed);
  PERFORM nova3_end_session_leases(freed);
  DELETE FROM nova3_runs r WHERE r.run_id = run.run_id;
  INSERT INTO nova3_dropped (run_id, name, next_queue, last_queue)
  VALUES (run.run_id, p_name, (run.run_id << 36) + 1, (run.run_id << 36) + run.next_queue) RETURNING * INTO gone;
  RETURN gone;
END $$;
