-- Settling: a task's result, its items' numbers, the ledger, the queue's progress and the session's next queue change
-- in one statement, for many queues at once.

-- A sum of money, limited to the range of the columns: at most two million dollars, like `Cost::MOST`.
CREATE OR REPLACE FUNCTION nova3_money(p_sum numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT least(greatest(p_sum, 0), 2000000000000000000)::bigint
$$;

-- Writes calls to the ledger and updates the sums of the run. Returns the last numbers given. The reservations of the
-- leases are released, because their cost is known now. The function locks the run's row, so it is called last. p_used
-- has the places whose task completed: there the answer of a call that is marked as used is the result.
CREATE OR REPLACE FUNCTION nova3_ledger(p_run bigint, p_calls nova3_calls[], p_used integer[], p_finishes bigint, p_events bigint,
  OUT finish_no bigint, OUT event_no bigint)
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
  WITH put AS (
    INSERT INTO nova3_attempts AS n (run_id, queue_id, fence, task_index, version, ticket, attempt_no, route, model, error_class,
      used, status_code, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, cost, uncertain, started_at, duration_ms, first_token_ms, lane)
    SELECT p_run, i.queue_id, i.fence, i.task, coalesce((SELECT t.version FROM nova3_tasks t
      WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index = i.task), 1), i.ticket, c.ordinality, c.route, c.model, c.cause,
      c.cause IS NULL AND c.used AND i.ordinality = ANY (coalesce(p_used, '{}')),
      c.status, c.input, c.cached, c.written, c.output, c.cost, c.uncertain, c.started, c.duration, c.first, c.lane
    FROM unnest(p_calls) WITH ORDINALITY i CROSS JOIN LATERAL unnest(i.calls) WITH ORDINALITY c
    -- if failpoint lost-answers-unbooked: WHERE EXISTS (SELECT 1 FROM nova3_queues q WHERE q.queue_id = i.queue_id AND q.fence = i.fence)
    ON CONFLICT DO NOTHING RETURNING n.*)
  SELECT array_agg(put::nova3_attempts) INTO added FROM put;
  IF EXISTS (SELECT 1 FROM nova3_attempts o JOIN unnest(p_calls) i
      ON o.queue_id = ANY (ARRAY[i.queue_id]) AND o.fence = i.fence AND o.task_index = i.task
      WHERE o.ticket = 0 AND o.attempt_no = 0) THEN
    -- The lease was taken away and its reservation counted as uncertain cost. The real cost is known now.
    WITH gone AS (
      DELETE FROM nova3_attempts o USING unnest(p_calls) i
      WHERE o.queue_id = ANY (ARRAY[i.queue_id]) AND o.fence = i.fence AND o.task_index = i.task
        AND o.ticket = 0 AND o.attempt_no = 0 RETURNING o.*)
    SELECT array_agg(gone::nova3_attempts) INTO early FROM gone;
  END IF;
  WITH gone AS (
    DELETE FROM nova3_reservations r USING unnest(p_calls) i
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

-- Parses a stored text as JSON. The escape `\u0000` is removed, because PostgreSQL's text has no zero character.
CREATE OR REPLACE FUNCTION nova3_json(p_text text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN strpos(p_text, '\u0000') = 0 THEN p_text
    ELSE regexp_replace(p_text, '(\\([^u]|u(?!0000)))|\\u0000', '\1', 'g') END::jsonb
$$;

-- Merges the records of an earlier failed try and of the latest try of a task. The cost of the earlier one counts as
-- waste.
CREATE OR REPLACE FUNCTION nova3_together(p_earlier text, p_latest text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT (l.making || jsonb_build_object(
    'attempts', (e.making->>'attempts')::bigint + (l.making->>'attempts')::bigint,
    'wasted', nova3_money(coalesce((e.making->>'cost')::numeric, 0) + (e.making->>'wasted')::numeric
      + (l.making->>'wasted')::numeric)))::text
  FROM (SELECT nova3_json(p_earlier) AS making) e, (SELECT nova3_json(p_latest) AS making) l
$$;

-- Returns the last item number of a kind in the results of a request without a session, and in the results that a redo
-- replaced.
CREATE OR REPLACE FUNCTION nova3_last_alone(p_queue bigint, p_kind text) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT coalesce(max(substr(i.item->>'id', length(p_kind) + 1)::bigint), 0)
  FROM (
    SELECT t.result FROM nova3_tasks t
    WHERE t.queue_id = p_queue AND t.task_index >= 0 AND t.task_index < 1048576 AND t.result IS NOT NULL
    UNION ALL SELECT v.result FROM nova3_task_versions v
    WHERE v.queue_id = p_queue AND v.task_index >= 0 AND v.task_index < 1048576 AND v.result IS NOT NULL) t,
    jsonb_array_elements(nova3_json(t.result)) i(item)
  WHERE i.item->>'id' ~ ('^' || p_kind || '[0-9]+$')
$$;

-- Numbers the items of planned tasks and stores those of sessions. Returns the results by place.
CREATE OR REPLACE FUNCTION nova3_number(p_held nova3_held[], p_settlements nova3_settlement[], p_moment bigint)
RETURNS text[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  results text[];
BEGIN
  WITH item AS (
    SELECT h.ord, h.queue_id, h.task, h.user_id, h.session_id, h.version,
      -- Tasks at its side may have settled before the first task.
      h.session_id IS NULL AND EXISTS (SELECT 1 FROM nova3_tasks o WHERE o.queue_id = ANY (ARRAY[h.queue_id])
        AND o.task_index > 0 AND o.task_index < 1048576 AND o.result IS NOT NULL) AS others, i.kind, i.body, i.ordinality AS place,
      row_number() OVER (PARTITION BY h.ord, i.kind ORDER BY i.ordinality) AS nth
    FROM unnest(p_held) h CROSS JOIN LATERAL unnest((p_settlements[h.ord]).items) WITH ORDINALITY i),
  session AS (
    INSERT INTO nova3_sessions AS s (user_id, session_id, created_at, last_accessed)
    SELECT DISTINCT item.user_id, item.session_id, p_moment, p_moment FROM item WHERE item.session_id IS NOT NULL
    ORDER BY item.user_id, item.session_id
    ON CONFLICT (user_id, session_id) DO UPDATE SET last_accessed = excluded.last_accessed),
  counter AS (
    INSERT INTO nova3_counters AS c (user_id, session_id, kind, last)
    SELECT item.user_id, item.session_id, item.kind, count(*) FROM item WHERE item.session_id IS NOT NULL
    GROUP BY item.user_id, item.session_id, item.kind ORDER BY item.user_id, item.session_id, item.kind
    ON CONFLICT (user_id, session_id, kind) DO UPDATE SET last = c.last + excluded.last
    RETURNING c.user_id, c.session_id, c.kind, c.last),
  numbered AS (
    SELECT item.*, item.nth + CASE
      WHEN item.session_id IS NULL THEN CASE WHEN item.task > 0 OR item.version > 1 OR item.others THEN nova3_last_alone(item.queue_id, item.kind) ELSE 0 END
      ELSE (SELECT c.last FROM counter c WHERE c.user_id = item.user_id AND c.session_id = item.session_id AND c.kind = item.kind)
        - count(*) OVER (PARTITION BY item.ord, item.kind) END AS number
    FROM item),
  kept AS (
    INSERT INTO nova3_items (user_id, session_id, kind, number, body, queue_id, task_index, version, created_at)
    SELECT n.user_id, n.session_id, n.kind, n.number, n.body, n.queue_id, n.task, n.version, p_moment
    FROM numbered n WHERE n.session_id IS NOT NULL),
  -- Computed once, not once for each place that it is joined to.
  result AS MATERIALIZED (
    SELECT n.ord, '[' || string_agg('{"id":"' || n.kind || n.number || '"'
      || CASE WHEN n.body = '{}' THEN '}' ELSE ',' || substr(n.body, 2) END, ',' ORDER BY n.place) || ']' AS array
    FROM numbered n GROUP BY n.ord)
  SELECT array_agg(coalesce(r.array, (p_settlements[o.ord]).response) ORDER BY o.ord) INTO results
  FROM generate_subscripts(p_settlements, 1) o(ord) LEFT JOIN result r ON r.ord = o.ord;
  RETURN results;
END $$;

-- Returns by place how each queue ends with its settlement; NULL if it continues. A queue of which no task is ready, leased
-- or submitted ends. Its pending tasks are behind a pause.
CREATE OR REPLACE FUNCTION nova3_ends(p_held nova3_held[], p_handed integer[], p_strict boolean[]) RETURNS text[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN ARRAY(SELECT CASE
      WHEN h.ord IS NULL OR h.how = 'fan_out' OR h.task >= 1048576 THEN NULL
      WHEN p_handed[h.ord] IS NOT NULL THEN NULL
      WHEN EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[h.queue_id])
        AND t.status IN ('ready','leased','submitted')) THEN NULL
      WHEN h.has_failed AND p_strict[h.ord] THEN 'failed'
      WHEN EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.status = 'pending') THEN 'paused'
      WHEN NOT h.has_failed THEN 'completed'
      WHEN EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index >= 0
        AND t.task_index < 1048576 AND t.status = 'completed') THEN 'partial'
      ELSE 'failed' END
    FROM generate_subscripts(p_handed, 1) o(ord) LEFT JOIN unnest(p_held) h ON h.ord = o.ord ORDER BY o.ord);
END $$;
