-- A run's partitions come and go with it.

CREATE FUNCTION nova3_make_partitions(p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  parent text;
  own text;
  index text;
BEGIN
  FOREACH parent IN ARRAY ARRAY['nova3_queues','nova3_requests','nova3_tasks','nova3_plans','nova3_attempts','nova3_events'] LOOP
    -- Made apart and attached: that waits for no reader of other runs.
    own := parent || '_' || p_run;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = %s, autovacuum_vacuum_scale_factor = 0.02,'
      || ' autovacuum_analyze_scale_factor = 0.05)', own, parent,
      CASE parent WHEN 'nova3_queues' THEN 70 WHEN 'nova3_tasks' THEN 60 ELSE 100 END);
    FOREACH index IN ARRAY CASE parent
      WHEN 'nova3_queues' THEN ARRAY[
        'UNIQUE INDEX %2$I ON %1$I (queue_id)',
        'UNIQUE INDEX %2$I ON %1$I (finish_no) WHERE finish_no IS NOT NULL',
        -- A session has one live queue in a run.
        'UNIQUE INDEX %2$I ON %1$I (user_id, session_id) WHERE session_id IS NOT NULL AND state IN (''ready'',''leased'')', -- unless failpoint two-live-in-a-session
        'INDEX %2$I ON %1$I (ingest, priority, seq) WHERE state = ''ready''',
        -- Of those whose first step is planning. `+ 0` keeps the planner from taking the index above, which holds the
        -- planned ones too.
        'INDEX %2$I ON %1$I (ingest, (priority + 0), seq) WHERE state = ''ready'' AND task_count IS NULL',
        -- Of those in quarantine, in the order in which a group is formed.
        'INDEX %2$I ON %1$I (ingest, quarantine DESC, priority, seq) WHERE state = ''ready'' AND quarantine > 0',
        'INDEX %2$I ON %1$I (lease_owner, lease_group, lease_ticket) WHERE state = ''leased''',
        'INDEX %2$I ON %1$I (user_id, session_id, seq) WHERE state = ''blocked''',
        -- Holds all that is counted of them, so that no row is read.
        'INDEX %2$I ON %1$I (ingest, recipe_no, other_tasks) WHERE state = ''done''',
        'INDEX %2$I ON %1$I (ingest) WHERE other_tasks',
        'INDEX %2$I ON %1$I (ingest) WHERE state = ''continued''',
        'INDEX %2$I ON %1$I (ingest) WHERE state = ''failed''',
        'INDEX %2$I ON %1$I (ingest) WHERE state = ''paused''',
        'INDEX %2$I ON %1$I (user_id, session_id) WHERE session_id IS NOT NULL',
        -- Bad lines that have a `custom_id`.
        'INDEX %2$I ON %1$I (custom_id) WHERE notes_digest IS NULL AND custom_id IS NOT NULL']
      WHEN 'nova3_requests' THEN ARRAY[
        'UNIQUE INDEX %2$I ON %1$I (queue_id)',
        'UNIQUE INDEX %2$I ON %1$I (queue_key, content_digest)',
        'INDEX %2$I ON %1$I (line_index)']
      WHEN 'nova3_tasks' THEN ARRAY['UNIQUE INDEX %2$I ON %1$I (queue_id, task_index)']
      WHEN 'nova3_plans' THEN ARRAY[
        'UNIQUE INDEX %2$I ON %1$I (queue_id)',
        'INDEX %2$I ON %1$I (continues) WHERE continues IS NOT NULL']
      WHEN 'nova3_attempts' THEN ARRAY[
        'UNIQUE INDEX %2$I ON %1$I (queue_id, fence, task_index, ticket, attempt_no)',
        -- What a lease that was taken away may have cost.
        'INDEX %2$I ON %1$I (queue_id) WHERE attempt_no = 0']
      ELSE ARRAY[
        'UNIQUE INDEX %2$I ON %1$I (event_no)',
        'INDEX %2$I ON %1$I (queue_id, event_no)']
      END
    LOOP
      EXECUTE format('CREATE ' || index, own, own || '_' || substr(md5(index), 1, 8));
    END LOOP;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (%s)', parent, own, p_run);
  END LOOP;
END $$;

-- The rows of a run have become so many that plans made for fewer are bad. A few thousand of them are looked at: plans
-- need to know how many there are, not how each differs, and whoever stores the next lines waits for it.
CREATE FUNCTION nova3_analyze(p_run bigint) RETURNS void LANGUAGE plpgsql SET default_statistics_target = 10 AS $$
BEGIN
  EXECUTE format('ANALYZE %I, %I, %I', 'nova3_queues_' || p_run, 'nova3_requests_' || p_run, 'nova3_tasks_' || p_run);
END $$;

-- Takes a run away with everything that only it has; sessions keep their items, and their numbers go on. Refused while
-- anybody works on it.
CREATE FUNCTION nova3_drop_run(p_name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  run bigint;
  parent text;
BEGIN
  SELECT r.run_id INTO run FROM nova3_runs r WHERE r.name = p_name FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no run `%`', p_name;
  END IF;
  IF EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = run AND q.state = 'leased' AND q.lease_until >= nova3_now()) THEN
    RAISE EXCEPTION 'run `%` is being worked on', p_name USING HINT = 'stop its workers first';
  END IF;
  DELETE FROM nova3_session_leases l WHERE l.queue_id >> 36 = run;
  DELETE FROM nova3_rounds r WHERE r.queue_id >> 36 = run;
  FOREACH parent IN ARRAY ARRAY['nova3_queues','nova3_requests','nova3_tasks','nova3_plans','nova3_attempts','nova3_events'] LOOP
    EXECUTE format('DROP TABLE IF EXISTS %I', parent || '_' || run);
  END LOOP;
  DELETE FROM nova3_runs r WHERE r.run_id = run;
END $$;

-- How many equal lines of a stem a reading has seen: they are numbered from 1 without a gap.
CREATE FUNCTION nova3_occurrences(p_run bigint, p_ingest bigint, p_stem text) RETURNS bigint
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  low bigint;
  high bigint := 1;
  middle bigint;
BEGIN
  WHILE EXISTS (SELECT 1 FROM nova3_requests d JOIN nova3_queues q ON q.run_id = p_run AND q.queue_id = d.queue_id
      WHERE d.run_id = p_run AND d.queue_key = p_stem || ':' || high AND q.ingest >= p_ingest) LOOP
    high := high * 2;
  END LOOP;
  low := high / 2;
  WHILE low + 1 < high LOOP
    middle := (low + high) / 2;
    IF EXISTS (SELECT 1 FROM nova3_requests d JOIN nova3_queues q ON q.run_id = p_run AND q.queue_id = d.queue_id
        WHERE d.run_id = p_run AND d.queue_key = p_stem || ':' || middle AND q.ingest >= p_ingest) THEN
      low := middle;
    ELSE
      high := middle;
    END IF;
  END LOOP;
  RETURN low;
END $$;

-- Whether a queue of the present input is neither finished nor paused, and whether one of them can be claimed now. Asked
-- again and again while others work: never by reading a table of a million finished requests.
CREATE FUNCTION nova3_is_open(p_run bigint, OUT open boolean, OUT claimable boolean) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  run nova3_runs;
BEGIN
  SELECT r.* INTO run FROM nova3_runs r WHERE r.run_id = p_run;
  claimable := EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.state = 'ready' AND q.ingest = run.ingest
    AND nova3_is_awake(q.run_at, nova3_now()));
  open := claimable
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.state = 'leased' AND q.ingest >= run.complete_ingest)
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.state = 'ready' AND q.ingest >= run.complete_ingest)
    OR EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.state = 'blocked' AND q.ingest >= run.complete_ingest);
END $$;
