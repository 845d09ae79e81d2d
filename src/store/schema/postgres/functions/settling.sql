-- Settling: a task's result, its items' numbers, the ledger, the queue's progress and the session's next queue change
-- together or not at all, for many queues in one statement.

-- A sum of money as the columns hold it: it stops at two million dollars, as `Cost::MOST` does.
CREATE OR REPLACE FUNCTION nova3_money(p_sum numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT least(greatest(p_sum, 0), 2000000000000000000)::bigint
$$;

-- Writes calls down, of any use or none, and the sums of the run; answers the last numbers given. What a lease held
-- back for them is known now. The run's row is locked by this, so that it comes last.
CREATE OR REPLACE FUNCTION nova3_ledger(p_run bigint, p_queues bigint[], p_fences bigint[], p_tasks integer[], p_tickets bigint[],
  p_used integer[],
  a_of integer[], a_route text[], a_model text[], a_cause text[], a_status integer[], a_input bigint[],
  a_cached bigint[], a_written bigint[], a_output bigint[], a_cost bigint[], a_uncertain bigint[], a_started bigint[], a_duration bigint[],
  a_first bigint[], p_finishes bigint, p_events bigint, OUT finish_no bigint, OUT event_no bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  added nova3_attempts[];
  early nova3_attempts[];
  freed bigint;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM nova3_tallies t WHERE t.run_id = p_run) THEN
    -- The run was dropped, and its ledger with it.
    RETURN;
  END IF;
  IF cardinality(a_of) > 0 THEN
    -- p_used holds the settlements whose last call's answer, if it is a good one, is the result.
    WITH put AS (
      INSERT INTO nova3_attempts AS n (run_id, queue_id, fence, task_index, ticket, attempt_no, route, model, error_class,
        used, status_code, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, cost, uncertain, started_at, duration_ms, first_token_ms)
      SELECT p_run, p_queues[a.of], p_fences[a.of], p_tasks[a.of], p_tickets[a.of], row_number() OVER w, a.route, a.model, a.cause,
        a.cause IS NULL AND a.of = ANY (coalesce(p_used, '{}')) AND lead(a.of) OVER w IS NULL,
        a.status, a.input, a.cached, a.written, a.output, a.cost, a.uncertain, a.started, a.duration, a.first
      FROM unnest(a_of, a_route, a_model, a_cause, a_status, a_input, a_cached, a_written, a_output, a_cost, a_uncertain, a_started,
          a_duration, a_first) WITH ORDINALITY
        a(of, route, model, cause, status, input, cached, written, output, cost, uncertain, started, duration, first, place)
      -- if failpoint lost-answers-unbooked: WHERE EXISTS (SELECT 1 FROM nova3_queues q WHERE q.queue_id = p_queues[a.of] AND q.fence = p_fences[a.of])
      WINDOW w AS (PARTITION BY a.of ORDER BY a.place)
      ON CONFLICT DO NOTHING RETURNING n.*)
    SELECT array_agg(put::nova3_attempts) INTO added FROM put;
  END IF;
  IF EXISTS (SELECT 1 FROM nova3_attempts o JOIN unnest(p_queues, p_fences, p_tasks) i(queue_id, fence, task)
      ON o.queue_id = ANY (ARRAY[i.queue_id]) AND o.fence = i.fence AND o.task_index = i.task
      WHERE o.ticket = 0 AND o.attempt_no = 0) THEN
    -- Its lease was taken away, and it was counted as what it may have cost; now it is known.
    WITH gone AS (
      DELETE FROM nova3_attempts o USING unnest(p_queues, p_fences, p_tasks) i(queue_id, fence, task)
      WHERE o.queue_id = ANY (ARRAY[i.queue_id]) AND o.fence = i.fence AND o.task_index = i.task
        AND o.ticket = 0 AND o.attempt_no = 0 RETURNING o.*)
    SELECT array_agg(gone::nova3_attempts) INTO early FROM gone;
  END IF;
  WITH gone AS (
    DELETE FROM nova3_reservations r USING unnest(p_queues, p_fences) i(queue_id, fence)
    WHERE r.queue_id = ANY (ARRAY[i.queue_id]) AND r.fence = i.fence RETURNING r.spent + r.in_flight AS held)
  SELECT coalesce(sum(gone.held), 0) INTO freed FROM gone;
  UPDATE nova3_tallies t SET attempts = t.attempts + s.calls, failed_attempts = t.failed_attempts + s.failed,
    unpriced_attempts = t.unpriced_attempts + s.unpriced, input_tokens = t.input_tokens + s.input,
    cached_input_tokens = t.cached_input_tokens + s.cached, cache_write_tokens = t.cache_write_tokens + s.written,
    output_tokens = t.output_tokens + s.output, cost = nova3_money(t.cost + s.cost),
    wasted = nova3_money(t.wasted + s.wasted), uncertain = nova3_money(t.uncertain + s.uncertain),
    reserved = nova3_money(t.reserved - freed), next_finish_no = t.next_finish_no + p_finishes,
    next_event_no = t.next_event_no + p_events
  FROM (
    SELECT coalesce(sum(n.sign), 0) calls, coalesce(sum(n.sign) FILTER (WHERE n.error_class IS NOT NULL), 0) failed,
      coalesce(sum(n.sign) FILTER (WHERE n.cost IS NULL), 0) unpriced, coalesce(sum(n.sign * n.input_tokens), 0) input,
      coalesce(sum(n.sign * n.cached_input_tokens), 0) cached,
      coalesce(sum(n.sign * n.cache_write_tokens), 0) written, coalesce(sum(n.sign * n.output_tokens), 0) output,
      coalesce(sum(n.sign * n.cost), 0) cost, coalesce(sum(n.sign * n.cost) FILTER (WHERE NOT n.used), 0) wasted,
      coalesce(sum(n.sign * n.uncertain), 0) uncertain
    FROM (SELECT 1 AS sign, x.* FROM unnest(added) x UNION ALL SELECT -1, x.* FROM unnest(early) x) n) s
  WHERE t.run_id = p_run
  RETURNING t.next_finish_no, t.next_event_no INTO finish_no, event_no;
  IF early IS NOT NULL OR EXISTS (SELECT 1 FROM unnest(added) x WHERE NOT x.used) THEN
    INSERT INTO nova3_waste AS w (run_id, route, cause, calls, input_tokens, output_tokens, cost, uncertain)
    SELECT p_run, n.route, coalesce(n.error_class, 'repeated'), sum(n.sign), sum(n.sign * n.input_tokens),
      sum(n.sign * n.output_tokens), sum(n.sign * coalesce(n.cost, 0)), sum(n.sign * n.uncertain)
    FROM (SELECT 1 AS sign, x.* FROM unnest(added) x WHERE NOT x.used UNION ALL SELECT -1, x.* FROM unnest(early) x) n
    GROUP BY n.route, coalesce(n.error_class, 'repeated')
    ON CONFLICT (run_id, route, cause) DO UPDATE SET calls = w.calls + excluded.calls,
      input_tokens = w.input_tokens + excluded.input_tokens, output_tokens = w.output_tokens + excluded.output_tokens,
      cost = nova3_money(w.cost::numeric + excluded.cost), uncertain = nova3_money(w.uncertain::numeric + excluded.uncertain);
    IF early IS NOT NULL THEN
      DELETE FROM nova3_waste w WHERE w.run_id = p_run AND w.calls = 0;
    END IF;
  END IF;
END $$;

-- A text of ours as JSON. What stands for a zero in it is left out: PostgreSQL has no text with one.
CREATE OR REPLACE FUNCTION nova3_json(p_text text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN strpos(p_text, '\u0000') = 0 THEN p_text
    ELSE regexp_replace(p_text, '(\\([^u]|u(?!0000)))|\\u0000', '\1', 'g') END::jsonb
$$;

-- How an earlier failure of a task was made, and how it was made now: what that cost is waste of this.
CREATE OR REPLACE FUNCTION nova3_together(p_earlier text, p_latest text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT (l.making || jsonb_build_object(
    'attempts', (e.making->>'attempts')::bigint + (l.making->>'attempts')::bigint,
    'wasted', nova3_money(coalesce((e.making->>'cost')::numeric, 0) + (e.making->>'wasted')::numeric
      + (l.making->>'wasted')::numeric)))::text
  FROM (SELECT nova3_json(p_earlier) AS making) e, (SELECT nova3_json(p_latest) AS making) l
$$;

-- The outcome of each settlement: `stepped`, `good`, `bad`, or `lost` if the lease was and only the calls were written
-- down. One whose answer was lost is offered again under its ticket, and finds what it did.
CREATE OR REPLACE FUNCTION nova3_settle(p_run bigint, p_queues bigint[], p_fences bigint[], p_tasks integer[], p_tickets bigint[],
  p_ends text[],
  p_responses text[], p_makings text[], p_errors text[], p_classes text[], i_of integer[], i_kind text[], i_body text[],
  a_of integer[], a_route text[], a_model text[], a_cause text[], a_status integer[], a_input bigint[],
  a_cached bigint[], a_written bigint[], a_output bigint[], a_cost bigint[], a_uncertain bigint[], a_started bigint[], a_duration bigint[],
  a_first bigint[])
RETURNS TABLE(ord integer, outcome text)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment bigint := nova3_now();
  held nova3_held[];
  given record;
  ended bigint;
  -- if failpoint numbers-before-the-lock: early bigint[];
  good integer[];
  users text[];
  sessions text[];
BEGIN
  -- Those that end let the next of their session go on.
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions
  FROM unnest(p_queues, p_tasks, p_ends) i(queue_id, task, how)
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  WHERE q.session_id IS NOT NULL AND (i.how <> 'go_on' OR i.task + 1 >= q.task_count);
  IF users IS NOT NULL THEN
    PERFORM nova3_share_order(p_run);
    PERFORM nova3_lock_sessions(p_run, users, sessions);
  END IF;
  SELECT array_agg(ROW(h.ord, h.queue_id, h.fence, h.task, h.user_id, h.session_id, h.ends, h.told, h.first)::nova3_held ORDER BY h.ord)
  INTO held FROM (
    SELECT i.ord::integer, q.queue_id, q.fence, i.task, q.user_id, q.session_id,
      CASE WHEN i.how = 'fail' THEN 'failed' WHEN i.task + 1 >= q.task_count THEN 'completed'
        WHEN i.how = 'pause' THEN 'paused' END AS ends,
      t.action <> 'completion' AS told,
      i.task = 0 AND t.making IS NULL AND NOT EXISTS (
        SELECT 1 FROM nova3_plans p WHERE p.queue_id = ANY (ARRAY[q.queue_id]) AND p.origin IS NOT NULL) AS first
    FROM (SELECT i.* FROM unnest(p_queues, p_fences, p_tasks, p_ends) WITH ORDINALITY i(queue_id, fence, task, how, ord)
      ORDER BY i.queue_id) i
    -- A subquery that locks is a lookup of its own for each, in this order.
    CROSS JOIN LATERAL (
      SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'leased'
        AND q.fence = i.fence -- unless failpoint settles-without-fence
        AND q.current_task_index = i.task -- unless failpoint settled-again
      FOR UPDATE) q
    JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index = i.task
      AND t.status = 'pending' -- unless failpoint settled-again
    ) h;

  IF cardinality(i_of) > 0 THEN
    WITH item AS (
      SELECT h.ord, h.queue_id, h.task, h.user_id, h.session_id, i.kind, i.body, i.place,
        row_number() OVER (PARTITION BY h.ord, i.kind ORDER BY i.place) AS nth
      FROM unnest(i_of, i_kind, i_body) WITH ORDINALITY i(of, kind, body, place) JOIN unnest(held) h ON h.ord = i.of),
    session AS (
      INSERT INTO nova3_sessions AS s (user_id, session_id, created_at, last_accessed)
      SELECT DISTINCT item.user_id, item.session_id, moment, moment FROM item WHERE item.session_id IS NOT NULL
      ORDER BY item.user_id, item.session_id
      ON CONFLICT (user_id, session_id) DO UPDATE SET last_accessed = excluded.last_accessed),
    counter AS (
      INSERT INTO nova3_counters AS c (user_id, session_id, kind, last)
      SELECT item.user_id, item.session_id, item.kind, count(*) FROM item WHERE item.session_id IS NOT NULL
      GROUP BY item.user_id, item.session_id, item.kind ORDER BY item.user_id, item.session_id, item.kind
      ON CONFLICT (user_id, session_id, kind) DO UPDATE SET last = c.last + excluded.last
      RETURNING c.user_id, c.session_id, c.kind, c.last),
    numbered AS (
      SELECT item.*, item.nth + CASE WHEN item.session_id IS NULL THEN nova3_last_alone(p_run, item.queue_id, item.task, item.kind)
        ELSE (SELECT c.last FROM counter c WHERE c.user_id = item.user_id AND c.session_id = item.session_id AND c.kind = item.kind)
          - count(*) OVER (PARTITION BY item.ord, item.kind) END AS number
      FROM item),
    kept AS (
      INSERT INTO nova3_items (user_id, session_id, kind, number, body, queue_id, task_index, created_at)
      SELECT n.user_id, n.session_id, n.kind, n.number, n.body, n.queue_id, n.task, moment
      FROM numbered n WHERE n.session_id IS NOT NULL),
    result AS (
      SELECT n.ord, '[' || string_agg('{"id":"' || n.kind || n.number || '"'
        || CASE WHEN n.body = '{}' THEN '}' ELSE ',' || substr(n.body, 2) END, ',' ORDER BY n.place) || ']' AS array
      FROM numbered n GROUP BY n.ord)
    SELECT array_agg(coalesce(r.array, p_responses[o.ord]) ORDER BY o.ord) INTO p_responses
    FROM generate_subscripts(p_queues, 1) o(ord) LEFT JOIN result r ON r.ord = o.ord;
  END IF;

  UPDATE nova3_tasks t SET status = CASE WHEN p_ends[h.ord] = 'fail' THEN 'failed' ELSE 'completed' END,
    result = p_responses[h.ord], making = CASE WHEN t.making IS NULL THEN p_makings[h.ord] ELSE nova3_together(t.making, p_makings[h.ord]) END, fence = h.fence,
    ticket = p_tickets[h.ord], completed_at = moment
  FROM unnest(held) h WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index = h.task;

  SELECT array_agg(h.ord) FILTER (WHERE p_ends[h.ord] <> 'fail'), count(h.ends) INTO good, ended FROM unnest(held) h;
  -- if failpoint numbers-before-the-lock: SELECT array_agg(nextval('nova3_finishes')) INTO early FROM generate_series(1, ended);
  SELECT l.finish_no, l.event_no INTO given FROM nova3_ledger(p_run, p_queues, p_fences, p_tasks, p_tickets, good, a_of, a_route,
    a_model, a_cause, a_status, a_input, a_cached, a_written, a_output, a_cost, a_uncertain, a_started, a_duration, a_first, ended,
    coalesce(cardinality(held), 0)) l;

  -- From here on the run's row is locked: numbers become visible in their order.
  WITH placed AS (
    SELECT h.*, given.event_no - coalesce(cardinality(held), 0) + row_number() OVER (ORDER BY h.ord) AS event_no,
      -- if failpoint numbers-before-the-lock: CASE WHEN h.ends IS NOT NULL THEN early[count(h.ends) OVER (ORDER BY h.ord)] END AS finish_no
      CASE WHEN h.ends IS NOT NULL THEN given.finish_no - ended + count(h.ends) OVER (ORDER BY h.ord) END AS finish_no -- unless failpoint numbers-before-the-lock
    FROM unnest(held) h),
  moved AS (
    UPDATE nova3_queues q SET last_accessed = moment, crashes = 0, working = false, quarantine = 0, lone_crashes = 0,
      crash_owner = NULL, lost_by = NULL, panics = 0,
      current_task_index = p.task + (p.ends IS DISTINCT FROM 'failed')::integer,
      state = CASE p.ends WHEN 'completed' THEN 'done' WHEN 'failed' THEN 'failed' WHEN 'paused' THEN 'paused' ELSE q.state END,
      status = p.ends, finish_no = p.finish_no,
      error = p_errors[p.ord], error_class = p_classes[p.ord],
      completed_at = CASE WHEN p.ends IS NOT NULL THEN moment END,
      recipe_no = CASE WHEN p.ends IS NOT NULL AND p.told THEN (SELECT r.recipe_no FROM nova3_runs r WHERE r.run_id = p_run) END,
      lease_group = CASE WHEN p.ends IS NULL THEN q.lease_group ELSE 0 END,
      lease_owner = CASE WHEN p.ends IS NULL THEN q.lease_owner END,
      lease_until = CASE WHEN p.ends IS NULL THEN q.lease_until END
    FROM placed p WHERE q.queue_id = ANY (ARRAY[p.queue_id]))
  INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, planned, body, status, created_at)
  SELECT p_run, p.event_no, p.queue_id, p.task, p.first, p_errors[p.ord], p.ends, moment
  FROM placed p WHERE p.told;

  IF EXISTS (SELECT 1 FROM unnest(held) h WHERE h.ends = 'failed') THEN
    UPDATE nova3_tasks t SET status = 'skipped' FROM unnest(held) h
    WHERE h.ends = 'failed' AND t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index > h.task AND t.status = 'pending';
  END IF;
  SELECT array_agg(h.user_id), array_agg(h.session_id) INTO users, sessions
  FROM unnest(held) h WHERE h.ends IS NOT NULL AND h.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    INSERT INTO nova3_rounds (user_id, session_id, round, queue_id)
    SELECT h.user_id, h.session_id, 1 + coalesce((SELECT max(r.round) FROM nova3_rounds r
      WHERE r.user_id = h.user_id AND r.session_id = h.session_id), 0), h.queue_id
    FROM unnest(held) h WHERE h.ends IN ('completed','paused') AND h.session_id IS NOT NULL;
    DELETE FROM nova3_session_leases l USING unnest(held) h
    WHERE h.ends IS NOT NULL AND l.user_id = ANY (ARRAY[h.user_id]) AND l.session_id = h.session_id AND l.queue_id = h.queue_id;
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;

  IF cardinality(held) = cardinality(p_queues) THEN
    RETURN QUERY SELECT h.ord, CASE WHEN h.ends IS NULL THEN 'stepped' WHEN h.ends = 'failed' THEN 'bad' ELSE 'good' END
    FROM unnest(held) h ORDER BY h.ord;
    RETURN;
  END IF;
  RETURN QUERY SELECT o.ord, CASE
    WHEN h.ord IS NOT NULL THEN CASE WHEN h.ends IS NULL THEN 'stepped' WHEN h.ends = 'failed' THEN 'bad' ELSE 'good' END
    WHEN t.status = 'failed' THEN 'bad'
    WHEN t.status = 'completed' THEN CASE WHEN p_ends[o.ord] = 'pause' OR t.task_index + 1 >= q.task_count THEN 'good' ELSE 'stepped' END
    ELSE 'lost' END
  FROM generate_subscripts(p_queues, 1) o(ord)
  LEFT JOIN unnest(held) h ON h.ord = o.ord
  LEFT JOIN nova3_tasks t ON h.ord IS NULL AND t.queue_id = p_queues[o.ord]
    AND t.task_index = p_tasks[o.ord] AND t.ticket = p_tickets[o.ord] AND t.status <> 'pending'
  LEFT JOIN nova3_queues q ON t.task_id IS NOT NULL AND q.queue_id = p_queues[o.ord]
  ORDER BY o.ord;
END $$;

-- The last number of a kind among the earlier results of a request that is alone.
CREATE OR REPLACE FUNCTION nova3_last_alone(p_run bigint, p_queue bigint, p_task integer, p_kind text) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT coalesce(max(substr(i.item->>'id', length(p_kind) + 1)::bigint), 0)
  FROM nova3_tasks t, jsonb_array_elements(nova3_json(t.result)) i(item)
  WHERE p_task > 0 AND t.queue_id = p_queue AND t.task_index < p_task AND t.result IS NOT NULL
    AND i.item->>'id' ~ ('^' || p_kind || '[0-9]+$')
$$;

-- Gives queues back as if never claimed; what was called for them is in the ledger.
CREATE OR REPLACE FUNCTION nova3_release(p_run bigint, p_queues bigint[], p_fences bigint[], p_tasks integer[], p_snoozes bigint[],
  p_tickets bigint[],
  a_of integer[], a_route text[], a_model text[], a_cause text[], a_status integer[], a_input bigint[],
  a_cached bigint[], a_written bigint[], a_output bigint[], a_cost bigint[], a_uncertain bigint[], a_started bigint[], a_duration bigint[],
  a_first bigint[])
RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  freed bigint[];
  users text[];
  sessions text[];
BEGIN
  PERFORM nova3_share_order(p_run);
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions FROM unnest(p_queues) i(queue_id)
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  WHERE q.session_id IS NOT NULL;
  PERFORM nova3_lock_sessions(p_run, users, sessions);
  PERFORM 1 FROM (SELECT i.* FROM unnest(p_queues, p_fences) i(queue_id, fence) ORDER BY i.queue_id) i
  CROSS JOIN LATERAL (
    SELECT 1 FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.fence = i.fence AND q.state = 'leased' FOR UPDATE) q;
  WITH released AS (
    UPDATE nova3_queues q SET state = 'ready', fence = q.fence + 1, attempt = q.attempt - 1, lease_group = 0, working = false,
      lease_owner = NULL, lease_until = NULL,
      run_at = CASE WHEN i.snooze > 0 THEN nova3_now() + i.snooze ELSE 0 END
    FROM unnest(p_queues, p_fences, p_snoozes) i(queue_id, fence, snooze)
    WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.fence = i.fence AND q.state = 'leased'
    RETURNING q.queue_id)
  SELECT array_agg(released.queue_id) INTO freed FROM released;
  PERFORM nova3_ledger(p_run, p_queues, p_fences, p_tasks, p_tickets, '{}', a_of, a_route, a_model, a_cause, a_status, a_input,
    a_cached, a_written, a_output, a_cost, a_uncertain, a_started, a_duration, a_first, 0, 0);
  IF freed IS NOT NULL THEN
    PERFORM nova3_put_back(p_run, freed);
  END IF;
END $$;
