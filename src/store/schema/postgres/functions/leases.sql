-- Leases: taking, keeping, giving back and taking away the right to work on a queue.
--
-- Each verb is one statement for its client, so that no lock waits for one that stands still or is cut off.

-- Whether a queue may be claimed at that moment. Nobody sleeps for longer than a minute: a clock was set back.
CREATE OR REPLACE FUNCTION nova3_is_awake(p_run_at bigint, p_moment bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT p_run_at <= p_moment OR p_run_at > p_moment + 60000;
$$;

-- Leases up to p_limit queues, each under a fence that it never had. A claim whose answer was lost is asked again under
-- its ticket and finds what it got.
CREATE OR REPLACE FUNCTION nova3_claim(p_run bigint, p_owner text, p_which text, p_limit bigint, p_lease_ms bigint, p_ticket bigint)
RETURNS TABLE(queue_id bigint, fence bigint, line_index bigint, current_task integer, planned boolean, request text,
  task_ids text[], actions text[], descriptions text[], inputs text[], recorded boolean, panics bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  present bigint;
  moment bigint := nova3_now();
  in_quarantine boolean := p_which = 'quarantined';
  chosen bigint[];
  free bigint[];
BEGIN
  -- It may be asked again while it is still under way, on a connection that is gone.
  PERFORM pg_advisory_xact_lock(p_ticket);
  PERFORM nova3_share_order(p_run);
  SELECT r.ingest INTO present FROM nova3_runs r WHERE r.run_id = p_run;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT array_agg(q.queue_id) INTO chosen FROM nova3_queues q
  WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'leased' AND q.lease_owner = p_owner AND q.lease_ticket = p_ticket;
  IF chosen IS NULL THEN
    -- A group of the quarantine is all that its owner holds.
    IF EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = p_run AND q.run_id > 0 AND q.state = 'leased' AND q.lease_owner = p_owner
        AND q.lease_group >= CASE WHEN in_quarantine THEN 0 ELSE 1 END) THEN
      RETURN;
    END IF;
    IF in_quarantine THEN
      -- A group is never larger than its smallest member allows.
      SELECT array_agg(c.queue_id) FILTER (WHERE c.session_id IS NULL), array_agg(c.queue_id) FILTER (WHERE c.session_id IS NOT NULL)
      INTO free, chosen
      FROM (
        SELECT w.*, row_number() OVER (ORDER BY w.quarantine DESC, w.priority, w.seq) AS place
        FROM (
          SELECT q.queue_id, q.session_id, q.quarantine, q.priority, q.seq FROM nova3_queues q
          WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = present AND q.state = 'ready' AND nova3_is_awake(q.run_at, moment)
            AND q.quarantine > 0
            AND (q.session_id IS NULL OR NOT EXISTS (
              SELECT 1 FROM nova3_session_leases l WHERE l.user_id = q.user_id AND l.session_id = q.session_id))
          ORDER BY q.quarantine DESC, q.priority, q.seq LIMIT p_limit
          FOR UPDATE SKIP LOCKED) w) c
      WHERE c.quarantine >= c.place;
    ELSIF p_which = 'unplanned' THEN
      -- A statement of its own: its condition and its order are those of an index without the planned queues.
      SELECT array_agg(c.queue_id) FILTER (WHERE c.session_id IS NULL), array_agg(c.queue_id) FILTER (WHERE c.session_id IS NOT NULL)
      INTO free, chosen
      FROM (
        SELECT q.queue_id, q.session_id FROM nova3_queues q
        WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = present AND q.state = 'ready' AND q.task_count IS NULL
          AND nova3_is_awake(q.run_at, moment) AND q.quarantine = 0
          AND (q.session_id IS NULL OR NOT EXISTS (
            SELECT 1 FROM nova3_session_leases l WHERE l.user_id = q.user_id AND l.session_id = q.session_id))
        ORDER BY q.priority + 0, q.seq LIMIT p_limit
        FOR UPDATE SKIP LOCKED) c;
    ELSE
      SELECT array_agg(c.queue_id) FILTER (WHERE c.session_id IS NULL), array_agg(c.queue_id) FILTER (WHERE c.session_id IS NOT NULL)
      INTO free, chosen
      FROM (
        SELECT q.queue_id, q.session_id FROM nova3_queues q
        WHERE q.run_id = p_run AND q.run_id > 0 AND q.ingest = present AND q.state = 'ready'
          AND nova3_is_awake(q.run_at, moment) AND q.quarantine = 0
          AND (q.session_id IS NULL OR NOT EXISTS ( -- unless failpoint sessions-of-one-run
            SELECT 1 FROM nova3_session_leases l WHERE l.user_id = q.user_id AND l.session_id = q.session_id)) -- unless failpoint sessions-of-one-run
        ORDER BY q.priority, q.seq LIMIT p_limit
        FOR UPDATE SKIP LOCKED -- unless failpoint claims-without-lock
        ) c;
    END IF;
    IF chosen IS NOT NULL THEN
      -- A session has one leased queue in the store, whatever the run.
      WITH got AS (
        INSERT INTO nova3_session_leases AS l (user_id, session_id, queue_id)
        SELECT q.user_id, q.session_id, q.queue_id FROM unnest(chosen) i(queue_id)
        JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
        ORDER BY q.user_id, q.session_id
        ON CONFLICT DO NOTHING -- unless failpoint sessions-of-one-run
        -- if failpoint sessions-of-one-run: ON CONFLICT (user_id, session_id) DO UPDATE SET queue_id = excluded.queue_id
        RETURNING l.queue_id)
      SELECT array_agg(got.queue_id) INTO chosen FROM got;
    END IF;
    chosen := array_cat(free, chosen);
    UPDATE nova3_queues q SET state = 'leased', lease_owner = p_owner, lease_until = moment + least(p_lease_ms, 1000000000000),
      lease_ms = least(p_lease_ms, 1000000000000), lease_ticket = p_ticket,
      lease_group = CASE WHEN in_quarantine THEN cardinality(chosen) ELSE 0 END,
      working = q.crashes > 0, fence = q.fence + 1, attempt = q.attempt + 1
    FROM unnest(chosen) i(queue_id)
    WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
  END IF;
  RETURN QUERY
  SELECT q.queue_id, q.fence, d.line_index, q.current_task_index, q.task_count IS NOT NULL, d.request,
    t.ids, t.actions, t.descriptions, t.inputs, q.crashes > 0, q.panics
  FROM unnest(chosen) i(queue_id)
  -- OFFSET 0 keeps each a lookup of its own, however many the planner takes them for.
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  CROSS JOIN LATERAL (SELECT d.request, d.line_index FROM nova3_requests d WHERE d.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) d
  CROSS JOIN LATERAL (
    SELECT array_agg(t.task_id ORDER BY t.task_index) ids, array_agg(t.action ORDER BY t.task_index) actions,
      array_agg(t.description ORDER BY t.task_index) descriptions, array_agg(t.input ORDER BY t.task_index) inputs
    FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id])) t
  ORDER BY q.priority, q.seq;
END $$;

-- The leases are good for another p_lease_ms; answers those that are lost. Their owner lives: a crash of it that was
-- recorded is taken back.
CREATE OR REPLACE FUNCTION nova3_renew(p_run bigint, p_owner text, p_queues bigint[], p_fences bigint[], p_lease_ms bigint)
RETURNS TABLE(queue_id bigint, fence bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1 FROM (SELECT i.* FROM unnest(p_queues, p_fences) i(queue_id, fence) ORDER BY i.queue_id) i
  CROSS JOIN LATERAL (
    SELECT 1 FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.fence = i.fence AND q.state = 'leased' FOR UPDATE) q;
  UPDATE nova3_queues q SET lease_until = nova3_now() + least(p_lease_ms, 1000000000000),
    lease_ms = least(p_lease_ms, 1000000000000)
  FROM unnest(p_queues, p_fences) i(queue_id, fence)
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'leased'
    AND q.fence = i.fence -- unless failpoint renews-without-fence
  ;
  UPDATE nova3_queues q SET crashes = greatest(q.crashes - 1, 0), lost_by = NULL, quarantine = q.quarantine_before,
    lone_crashes = q.lone_crashes - CASE WHEN q.crash_owner = p_owner THEN least(q.lone_crashes, 1) ELSE 0 END,
    crash_owner = nullif(q.crash_owner, p_owner)
  FROM unnest(p_queues) i(queue_id)
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.lost_by = p_owner;
  RETURN QUERY SELECT i.queue_id, i.fence FROM unnest(p_queues, p_fences) i(queue_id, fence)
  WHERE NOT EXISTS (SELECT 1 FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id])
    AND q.fence = i.fence -- unless failpoint renews-without-fence
    AND q.state = 'leased');
END $$;

-- Those of the queues whose run's order can be shared and whose session's head can be locked now, without waiting.
CREATE OR REPLACE FUNCTION nova3_try_order(p_queues bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  run bigint;
  shared bigint[] := '{}';
  own bigint[];
BEGIN
  FOR run IN SELECT DISTINCT i.queue_id >> 36 FROM unnest(p_queues) i(queue_id) ORDER BY 1 LOOP
    IF pg_try_advisory_xact_lock_shared(nova3_order_key(run)) THEN
      shared := shared || run;
    END IF;
  END LOOP;
  SELECT array_agg(q.queue_id) INTO own
  FROM unnest(p_queues) i(queue_id)
  CROSS JOIN LATERAL (
    SELECT q.queue_id, q.run_id, q.user_id, q.session_id FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  LEFT JOIN LATERAL (
    SELECT true AS locked FROM nova3_session_heads h
    WHERE h.user_id = q.user_id AND h.session_id = q.session_id AND h.run_id = q.run_id FOR UPDATE SKIP LOCKED) h ON true
  WHERE q.run_id = ANY (shared) AND (q.session_id IS NULL OR h.locked);
  RETURN own;
END $$;

-- Takes away leases that have run out, of every run: an idle one would hold up the sessions that it shares with others.
-- An owner that has not been seen since has crashed; a lost lease alone is no crash. A queue with its crash mark set goes
-- into quarantine, or into half of its group; one that was alone twice at that, under different owners, fails as `poison`.
-- The rules are explained in `store/sqlite/quarantine.rs`. At most p_rows leases at once.
--
-- A lease that ends later than its own length from now was written before the clock was set back. It is clamped: its owner
-- renews it, or it runs out as any other.
CREATE OR REPLACE FUNCTION nova3_reap(p_lease_ms bigint, p_rows bigint) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  moment bigint := nova3_now();
  lost record;
  crashed boolean;
  alone boolean;
  poison boolean;
  room bigint;
  reaped bigint := 0;
  held record;
  late bigint[];
  own bigint[];
BEGIN
  UPDATE nova3_queues q SET lease_until = moment + q.lease_ms
  FROM (SELECT f.run_id, f.queue_id FROM nova3_queues f WHERE f.run_id > 0 AND f.state = 'leased' AND f.lease_until > moment + f.lease_ms + 1000
    ORDER BY f.run_id, f.queue_id LIMIT p_rows FOR UPDATE SKIP LOCKED) i
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
  SELECT array_agg(o.queue_id ORDER BY o.queue_id) INTO late FROM (
    SELECT q.queue_id FROM nova3_queues q WHERE q.run_id > 0 AND q.state = 'leased'
      AND q.lease_until < moment -- unless failpoint reaps-good-leases
    ORDER BY q.run_id, q.queue_id LIMIT p_rows) o;
  own := nova3_try_order(late);
  FOR lost IN
    SELECT q.run_id, q.queue_id, q.lease_owner, q.working, q.quarantine, q.lease_group, q.lone_crashes, q.crash_owner, q.crashes, q.fence
    FROM (SELECT i.queue_id FROM unnest(own) i(queue_id) ORDER BY i.queue_id) i
    CROSS JOIN LATERAL (
      SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'leased'
        AND q.lease_until < moment -- unless failpoint reaps-good-leases
      FOR UPDATE SKIP LOCKED) q
  LOOP
    crashed := NOT EXISTS (SELECT 1 FROM nova3_workers w WHERE w.worker_id = lost.lease_owner
      AND (w.left_at IS NOT NULL OR w.last_seen BETWEEN moment - p_lease_ms AND moment + p_lease_ms));
    alone := crashed AND lost.working AND lost.lease_group = 1 AND lost.lease_owner IS DISTINCT FROM lost.crash_owner;
    room := CASE WHEN NOT crashed OR NOT lost.working THEN lost.quarantine
      WHEN lost.lease_group = 0 THEN 1048576 ELSE (lost.lease_group + 1) / 2 END;
    poison := alone AND lost.lone_crashes + 1 >= 2;
    -- A poisoned queue fails under its lease: a queue that is ready cannot fail.
    UPDATE nova3_queues q SET state = CASE WHEN poison THEN q.state ELSE 'ready' END, attempt = q.attempt - 1, lease_group = 0,
      working = false, lease_owner = CASE WHEN poison THEN q.lease_owner END,
      lease_until = CASE WHEN poison THEN q.lease_until END,
      fence = q.fence + 1, -- unless failpoint reap-keeps-fence
      crashes = q.crashes + crashed::int, quarantine = room, lone_crashes = q.lone_crashes + alone::int,
      crash_owner = CASE WHEN alone THEN lost.lease_owner ELSE q.crash_owner END,
      lost_by = CASE WHEN crashed THEN lost.lease_owner ELSE q.lost_by END,
      quarantine_before = CASE WHEN crashed THEN lost.quarantine ELSE q.quarantine_before END
    WHERE q.queue_id = ANY (ARRAY[lost.queue_id]) AND q.state = 'leased'
      AND q.lease_until < moment -- unless failpoint reaps-good-leases
    ;
    CONTINUE WHEN NOT FOUND;
    reaped := reaped + 1;
    PERFORM nova3_count_orphan(lost.run_id, lost.queue_id, moment);
    IF poison THEN
      PERFORM nova3_fail_as_poison(lost.run_id, lost.queue_id, lost.crashes + 1, moment);
    ELSE
      PERFORM nova3_put_back(lost.run_id, ARRAY[lost.queue_id]);
    END IF;
  END LOOP;
  -- What was held back for a version that was replaced, by a worker that has not told since what it came to.
  FOR held IN
    SELECT r.run_id, r.queue_id FROM nova3_reservations r
    WHERE r.created_at NOT BETWEEN moment - p_lease_ms AND moment + p_lease_ms AND NOT EXISTS (SELECT 1 FROM nova3_queues q
      WHERE q.queue_id = ANY (ARRAY[r.queue_id]) AND q.fence = r.fence AND q.state = 'leased')
    ORDER BY r.run_id, r.queue_id LIMIT p_rows FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM nova3_count_orphan(held.run_id, held.queue_id, moment);
  END LOOP;
  RETURN reaped;
END $$;
