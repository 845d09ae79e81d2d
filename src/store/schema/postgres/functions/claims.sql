-- Claims: ready tasks are leased, each under a fence of its own.
--
-- Each verb is one statement for its client, so that no lock waits for a client that is stalled or cut off.

-- Whether a task may be claimed at that moment. A wake time further away than the sleep was long means that the clock
-- was set back; the task is then awake.
CREATE OR REPLACE FUNCTION nova3_is_awake(p_wake_at bigint, p_sleep_ms bigint, p_moment bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT p_wake_at <= p_moment OR p_wake_at > p_moment + p_sleep_ms;
$$;

-- Whether tasks of that queue may be leased as far as its session is concerned. The session belongs to the queue that
-- leased tasks last: while one of its tasks is leased, and in between while it is open and its run has live workers.
-- Inside one run the order of the session decides.
CREATE OR REPLACE FUNCTION nova3_session_is_free(p_run bigint, p_queue bigint, p_user text, p_session text, p_moment bigint,
  p_lease_ms bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN NOT EXISTS (
    SELECT 1 FROM nova3_session_leases l JOIN nova3_queues h ON h.queue_id = ANY (ARRAY[l.queue_id])
    WHERE l.user_id = p_user AND l.session_id = p_session
      -- if failpoint lost-leases-hold-sessions: AND (true OR
      AND ( -- unless failpoint lost-leases-hold-sessions
      l.queue_id <> p_queue AND (h.leased > 0 OR (h.state = 'open' AND h.run_id <> p_run AND EXISTS (
        SELECT 1 FROM nova3_workers w WHERE w.run_id = h.run_id AND w.left_at IS NULL
          AND w.last_seen BETWEEN p_moment - p_lease_ms AND p_moment + p_lease_ms)))));
END $$;

-- Takes the sessions of the queues where they are free. Returns the queues, in their order, that have no session or own
-- theirs now.
CREATE OR REPLACE FUNCTION nova3_lease_sessions(p_run bigint, p_queues bigint[], p_moment bigint, p_lease_ms bigint) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
  locked bigint[];
BEGIN
  -- if failpoint sessions-of-one-run: RETURN p_queues;
  IF NOT EXISTS (SELECT 1 FROM unnest(p_queues) i(queue_id) JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
      WHERE q.session_id IS NOT NULL) THEN
    RETURN p_queues;
  END IF;
  INSERT INTO nova3_session_leases (user_id, session_id, queue_id)
  SELECT q.user_id, q.session_id, q.queue_id FROM unnest(p_queues) i(queue_id)
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
  WHERE q.session_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM nova3_session_leases l WHERE l.user_id = q.user_id AND l.session_id = q.session_id)
  ORDER BY q.user_id, q.session_id ON CONFLICT DO NOTHING;
  -- A claim locks the row of each session until the commit, so that the next statement sees its leases. Sessions that
  -- another claim has locked are skipped.
  SELECT array_agg(i.queue_id) INTO locked FROM (
    SELECT q.queue_id, q.user_id, q.session_id FROM unnest(p_queues) i(queue_id)
    JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
    WHERE q.session_id IS NOT NULL ORDER BY q.user_id, q.session_id) i
  CROSS JOIN LATERAL (SELECT 1 FROM nova3_session_leases l
    WHERE l.user_id = i.user_id AND l.session_id = i.session_id FOR UPDATE SKIP LOCKED) l;
  UPDATE nova3_session_leases l SET queue_id = q.queue_id
  FROM unnest(locked) i(queue_id) JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
  WHERE l.user_id = ANY (ARRAY[q.user_id]) AND l.session_id = q.session_id AND l.queue_id <> q.queue_id
    AND nova3_session_is_free(p_run, q.queue_id, q.user_id, q.session_id, p_moment, p_lease_ms);
  RETURN ARRAY(
    SELECT i.queue_id FROM unnest(p_queues) WITH ORDINALITY i(queue_id, place)
    JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
    WHERE q.session_id IS NULL OR (i.queue_id = ANY (locked) AND EXISTS (SELECT 1 FROM nova3_session_leases l
      WHERE l.user_id = q.user_id AND l.session_id = q.session_id AND l.queue_id = i.queue_id))
    ORDER BY i.place);
END $$;

-- Returns up to p_limit queues with tasks to lease, in their order, and locks their rows.
CREATE OR REPLACE FUNCTION nova3_choose(p_run bigint, p_present bigint, p_which text, p_limit bigint, p_moment bigint, p_lease_ms bigint)
RETURNS bigint[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  IF p_which = 'quarantined' THEN
    RETURN ARRAY(
      SELECT q.queue_id FROM nova3_queues q
      WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = p_present AND q.state = 'open'
        AND nova3_is_awake(q.wake_at, q.sleep_ms, p_moment) AND q.quarantine > 0
        AND (q.session_id IS NULL
          OR nova3_session_is_free(p_run, q.queue_id, q.user_id, q.session_id, p_moment, p_lease_ms))
      ORDER BY q.quarantine DESC, q.priority, q.seq LIMIT p_limit
      FOR UPDATE SKIP LOCKED);
  END IF;
  IF p_which = 'unplanned' THEN
    -- This is a separate statement because its condition and its order match an index without the planned queues.
    RETURN ARRAY(
      SELECT q.queue_id FROM nova3_queues q
      WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = p_present AND q.state = 'open' AND q.ready > 0
        AND q.task_count IS NULL AND nova3_is_awake(q.wake_at, q.sleep_ms, p_moment)
        AND (q.session_id IS NULL
          OR nova3_session_is_free(p_run, q.queue_id, q.user_id, q.session_id, p_moment, p_lease_ms))
      ORDER BY q.priority + 0, q.seq LIMIT p_limit
      FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN ARRAY(
    SELECT q.queue_id FROM nova3_queues q
    WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = p_present AND q.state = 'open' AND q.ready > 0
      AND nova3_is_awake(q.wake_at, q.sleep_ms, p_moment)
      AND (q.session_id IS NULL -- unless failpoint sessions-of-one-run
        OR nova3_session_is_free(p_run, q.queue_id, q.user_id, q.session_id, p_moment, p_lease_ms)) -- unless failpoint sessions-of-one-run
    ORDER BY q.priority, q.seq LIMIT p_limit
    FOR UPDATE SKIP LOCKED -- unless failpoint claims-without-lock
    );
END $$;

-- Whether the owner holds a quarantine group. A group of which it no longer holds a lease is deleted.
CREATE OR REPLACE FUNCTION nova3_holds_group(p_run bigint, p_owner text) RETURNS boolean
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  members bigint[];
BEGIN
  SELECT g.queues INTO members FROM nova3_groups g WHERE g.run_id = p_run AND g.owner = p_owner;
  IF members IS NULL THEN
    RETURN false;
  END IF;
  IF EXISTS (SELECT 1 FROM unnest(members) i(queue_id) JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id])
      WHERE t.status = 'leased' AND t.lease_owner = p_owner AND t.lease_group > 0) THEN
    RETURN true;
  END IF;
  DELETE FROM nova3_groups g WHERE g.run_id = p_run AND g.owner = p_owner AND g.queues = members;
  RETURN false;
END $$;

-- Returns the leases of the owner: those of one claim, or all. It reads all leased queues of the run, so only rare
-- calls may use it.
CREATE OR REPLACE FUNCTION nova3_leases_of(p_run bigint, p_owner text, p_ticket bigint, OUT queues bigint[], OUT tasks integer[])
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  SELECT array_agg(t.queue_id), array_agg(t.task_index) INTO queues, tasks
  FROM nova3_queues q JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[q.queue_id])
  WHERE q.run_id = p_run AND q.run_id > 0 AND q.leased > 0 AND t.status = 'leased' AND t.lease_owner = p_owner
    AND (p_ticket IS NULL OR t.lease_ticket = p_ticket);
END $$;

-- Leases up to p_limit tasks. A claim whose answer was lost is sent again under its ticket and finds its leases.
CREATE OR REPLACE FUNCTION nova3_claim(p_run bigint, p_owner text, p_which text, p_limit bigint, p_lease_ms bigint, p_ticket bigint,
  p_again boolean DEFAULT false)
RETURNS TABLE(queue_id bigint, fence bigint, task_index integer, kind text, line_index bigint, planned boolean, request text,
  task_ids text[], actions text[], descriptions text[], inputs text[], part_numbers integer[], part_subjects text[],
  part_inputs text[], recorded boolean, panics bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  present bigint;
  moment bigint := nova3_now();
  in_quarantine boolean := p_which = 'quarantined';
  chosen bigint[];
  queues bigint[];
  tasks integer[];
BEGIN
  -- The claim can be sent again while it still runs on a connection that was lost.
  PERFORM pg_advisory_xact_lock(p_ticket);
  PERFORM nova3_share_order(p_run);
  SELECT r.ingest INTO present FROM nova3_runs r WHERE r.run_id = p_run;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF p_again THEN
    SELECT l.queues, l.tasks INTO queues, tasks FROM nova3_leases_of(p_run, p_owner, p_ticket) l;
  END IF;
  IF queues IS NULL THEN
    -- The owner of a quarantine group holds no other lease.
    IF nova3_holds_group(p_run, p_owner) THEN
      RETURN;
    END IF;
    chosen := nova3_choose(p_run, present, p_which, p_limit, moment, p_lease_ms);
    IF cardinality(chosen) = 0
        OR (in_quarantine AND (SELECT l.queues IS NOT NULL FROM nova3_leases_of(p_run, p_owner, NULL) l)) THEN
      RETURN;
    END IF;
    chosen := nova3_lease_sessions(p_run, chosen, moment, p_lease_ms);
    -- A group is never larger than the smallest limit of its members.
    SELECT array_agg(c.queue_id ORDER BY c.nth), array_agg(c.task_index ORDER BY c.nth) INTO queues, tasks
    FROM (
      SELECT i.queue_id, t.task_index, t.quarantine, row_number() OVER (ORDER BY t.quarantine DESC, i.place, t.task_index) AS nth
      FROM unnest(chosen) WITH ORDINALITY i(queue_id, place)
      CROSS JOIN LATERAL (
        SELECT t.task_index, t.quarantine FROM nova3_tasks t
        WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'ready' AND (t.quarantine > 0) = in_quarantine
          AND nova3_is_awake(t.wake_at, t.sleep_ms, moment)
        ORDER BY t.quarantine DESC, t.task_index LIMIT p_limit) t) c
    WHERE c.nth <= p_limit AND (NOT in_quarantine OR c.quarantine >= c.nth);
    UPDATE nova3_tasks t SET status = 'leased', lease_owner = p_owner, lease_until = moment + least(p_lease_ms, 1000000000000),
      lease_ms = least(p_lease_ms, 1000000000000), lease_ticket = p_ticket,
      lease_group = CASE WHEN in_quarantine THEN cardinality(tasks) ELSE 0 END, working = t.crashes > 0,
      fence = c.fence + c.nth, -- unless failpoint reap-keeps-fence
      -- if failpoint reap-keeps-fence: fence = coalesce(t.fence, c.fence + c.nth),
      attempt = t.attempt + 1, wake_at = 0, sleep_ms = 0
    FROM (
      SELECT i.queue_id, i.task_index, q.fence, row_number() OVER (PARTITION BY i.queue_id ORDER BY i.place) AS nth
      FROM unnest(queues, tasks) WITH ORDINALITY i(queue_id, task_index, place)
      CROSS JOIN LATERAL (SELECT q.fence FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q) c
    WHERE t.queue_id = ANY (ARRAY[c.queue_id]) AND t.task_index = c.task_index;
    WITH counted AS (
      UPDATE nova3_queues q SET fence = q.fence + c.tasks, leased = q.leased + c.tasks,
        ready = q.ready - CASE WHEN in_quarantine THEN 0 ELSE c.tasks END
      FROM (SELECT i.queue_id, count(*)::integer AS tasks FROM unnest(queues) i(queue_id) GROUP BY i.queue_id) c
      WHERE q.queue_id = ANY (ARRAY[c.queue_id]) RETURNING q.queue_id, q.ready)
    SELECT array_agg(counted.queue_id) FILTER (WHERE in_quarantine OR counted.ready > 0) INTO chosen FROM counted;
    IF chosen IS NOT NULL THEN
      -- The remaining tasks may be asleep.
      PERFORM nova3_recount(chosen);
    END IF;
    IF in_quarantine AND queues IS NOT NULL THEN
      INSERT INTO nova3_groups (run_id, owner, queues) VALUES (p_run, p_owner, queues)
      ON CONFLICT (run_id, owner) DO UPDATE SET queues = excluded.queues;
    END IF;
  END IF;
  RETURN QUERY
  SELECT t.queue_id, t.fence, t.task_index, t.kind, d.line_index, q.task_count IS NOT NULL, d.request,
    k.ids, k.actions, k.descriptions, k.inputs, p.numbers, p.subjects, p.inputs, t.crashes > 0, t.panics
  FROM unnest(queues, tasks) i(queue_id, task_index)
  -- OFFSET 0 makes the planner look up each row separately, even when it expects few rows.
  CROSS JOIN LATERAL (SELECT t.* FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index = i.task_index OFFSET 0) t
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  CROSS JOIN LATERAL (SELECT d.request, d.line_index FROM nova3_requests d WHERE d.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) d
  CROSS JOIN LATERAL (
    -- The ordered subquery sorts once; an ORDER BY in each array_agg would sort each time.
    SELECT array_agg(k.task_id) ids, array_agg(k.action) actions, array_agg(k.description) descriptions, array_agg(k.input) inputs
    FROM (SELECT k.task_id, k.action, k.description, k.input FROM nova3_tasks k
      WHERE k.queue_id = ANY (ARRAY[i.queue_id]) AND k.task_index >= 0 AND k.task_index < 1048576 ORDER BY k.task_index) k) k
  LEFT JOIN LATERAL (
    SELECT array_agg(p.task_index ORDER BY p.task_index) numbers, array_agg(p.subject ORDER BY p.task_index) subjects,
      array_agg(p.input ORDER BY p.task_index) inputs
    FROM nova3_tasks p WHERE p.queue_id = ANY (ARRAY[i.queue_id])
      AND p.task_index >= 1048576 + (CASE WHEN i.task_index < 1048576 THEN i.task_index ELSE (i.task_index - 1048576) >> 8 END << 8)
      AND p.task_index < 1048576 + (1 + CASE WHEN i.task_index < 1048576 THEN i.task_index ELSE (i.task_index - 1048576) >> 8 END << 8))
    p ON t.kind = 'join' OR t.task_index >= 1048576
  ORDER BY q.priority, q.seq, t.task_index;
END $$;
