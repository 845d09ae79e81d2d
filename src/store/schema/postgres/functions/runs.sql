-- Functions over a whole run.

-- Updates the planner's statistics once the tables have grown so much that older plans are bad. It reads a sample of a
-- few thousand rows, because plans depend on the number of rows and not on their values. It reads only tables that have
-- grown, and skips tables that another session analyzes or vacuums at the moment, so that it never waits.
CREATE OR REPLACE FUNCTION nova3_analyze() RETURNS void LANGUAGE plpgsql SET default_statistics_target = 10 AS $$
DECLARE
  grown text;
BEGIN
  FOR grown IN SELECT c.relname FROM pg_class c
    WHERE c.oid IN ('nova3_queues'::regclass, 'nova3_requests'::regclass, 'nova3_tasks'::regclass,
        'nova3_plans'::regclass, 'nova3_attempts'::regclass, 'nova3_events'::regclass, 'nova3_session_heads'::regclass)
      AND pg_relation_size(c.oid) > 2 * greatest(c.relpages, 8) * current_setting('block_size')::bigint
  LOOP
    EXECUTE format('ANALYZE (SKIP_LOCKED) %I', grown);
  END LOOP;
END $$;

-- Returns how many equal lines of a stem a reading has seen. They are numbered from 1 without a gap, so a binary search
-- finds the last one.
CREATE OR REPLACE FUNCTION nova3_occurrences(p_run bigint, p_ingest bigint, p_stem text) RETURNS bigint
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_indexonlyscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  low bigint;
  high bigint := 1;
  middle bigint;
BEGIN
  WHILE EXISTS (SELECT 1 FROM nova3_requests d JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[d.queue_id])
      WHERE d.run_id = p_run AND d.queue_key = p_stem || ':' || high AND q.ingest >= p_ingest) LOOP
    high := high * 2;
  END LOOP;
  low := high / 2;
  WHILE low + 1 < high LOOP
    middle := (low + high) / 2;
    IF EXISTS (SELECT 1 FROM nova3_requests d JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[d.queue_id])
        WHERE d.run_id = p_run AND d.queue_key = p_stem || ':' || middle AND q.ingest >= p_ingest) THEN
      low := middle;
    ELSE
      high := middle;
    END IF;
  END LOOP;
  RETURN low;
END $$;

-- Whether a queue of the present input is neither finished nor paused, and whether a task of one can be claimed now.
-- Waiting workers call it repeatedly, so it must not read a table of a million finished requests.
CREATE OR REPLACE FUNCTION nova3_is_open(p_run bigint, OUT open boolean, OUT claimable boolean) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off AS $$
DECLARE
  run nova3_runs;
BEGIN
  SELECT r.* INTO run FROM nova3_runs r WHERE r.run_id = p_run;
  claimable := EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'open' AND q.ready > 0
      AND q.ingest = run.ingest AND nova3_is_awake(q.wake_at, q.sleep_ms, nova3_now()))
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'open' AND q.quarantine > 0
      AND q.ingest = run.ingest AND nova3_is_awake(q.wake_at, q.sleep_ms, nova3_now()));
  open := claimable
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id + 0 = p_run AND q.run_id > 0 AND q.state = 'open' AND q.ingest >= run.complete_ingest)
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'blocked' AND q.ingest + 0 >= run.complete_ingest);
END $$;

-- How many tasks of all runs can be claimed now. At most p_most queues are read of each kind: those with ready tasks, and
-- those with tasks in quarantine. Each run's queues are read by their index, because the other joins read all of them.
CREATE OR REPLACE FUNCTION nova3_claimable_tasks(p_most bigint) RETURNS bigint LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
BEGIN
  RETURN (SELECT coalesce(sum(w.tasks), 0) FROM (
    (SELECT q.ready AS tasks, q.wake_at, q.sleep_ms FROM nova3_runs r JOIN nova3_queues q ON q.run_id = r.run_id AND q.ingest = r.ingest
      WHERE q.run_id > 0 AND q.state = 'open' AND q.ready > 0 LIMIT p_most)
    UNION ALL
    (SELECT 1, q.wake_at, q.sleep_ms FROM nova3_runs r JOIN nova3_queues q ON q.run_id = r.run_id AND q.ingest = r.ingest
      WHERE q.run_id > 0 AND q.state = 'open' AND q.quarantine > 0 LIMIT p_most)) w
    WHERE nova3_is_awake(w.wake_at, w.sleep_ms, nova3_now()));
END $$;
