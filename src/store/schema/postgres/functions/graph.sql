-- The tasks of a queue as a graph: the tasks that a settlement unblocks, the task that gets the lease, and the queue's
-- counts over its tasks. Planned tasks have numbers below 1048576. Their subtasks follow: part k of task i is
-- 1048576 + (i << 8) + k, and its search has k = 0.

-- Recomputes the counts of these queues from their tasks. The caller has locked the rows of the queues.
CREATE OR REPLACE FUNCTION nova3_recount(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  UPDATE nova3_queues q SET ready = s.ready, quarantine = s.quarantine, leased = s.leased, submitted = s.submitted,
    wake_at = s.wake_at, sleep_ms = s.sleep_ms
  FROM unnest(p_queues) i(queue_id)
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE t.status = 'ready' AND t.quarantine = 0) AS ready,
      coalesce(max(t.quarantine) FILTER (WHERE t.status = 'ready'), 0) AS quarantine,
      count(*) FILTER (WHERE t.status = 'leased') AS leased, count(*) FILTER (WHERE t.status = 'submitted') AS submitted,
      coalesce(min(t.wake_at) FILTER (WHERE t.status = 'ready'), 0) AS wake_at,
      coalesce(max(t.sleep_ms) FILTER (WHERE t.status = 'ready'), 0) AS sleep_ms
    FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id])) s
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
END $$;

-- Locks these queues in their order until the commit.
CREATE OR REPLACE FUNCTION nova3_lock_queues(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM 1 FROM (SELECT DISTINCT i.queue_id FROM unnest(p_queues) i(queue_id) ORDER BY i.queue_id) i
  CROSS JOIN LATERAL (SELECT 1 FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) FOR UPDATE) q;
END $$;

-- Lowers `unmet` of the tasks that need a settled one, unless the queue pauses behind it. The first task of each queue
-- whose `unmet` becomes 0 inherits the lease of the settled task, if that has one; the others become ready. When the
-- settled task is a part but not the last, or fans out, a ready part inherits the lease. Returns by place the task that
-- has the lease, and the number of tasks that became ready.
CREATE OR REPLACE FUNCTION nova3_go_on(p_held nova3_held[], p_places integer, OUT handed integer[], OUT ready integer[])
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  later integer[];
BEGIN
  WITH need AS (
    SELECT h.*, t.task_index, t.unmet = 1 AS met, t.unmet = 1 AND h.lease_owner IS NOT NULL
      AND row_number() OVER (PARTITION BY h.ord, t.unmet = 1 ORDER BY t.task_index) = 1 AS leases
    FROM unnest(p_held) h
    -- Only its planned task needs a subtask.
    CROSS JOIN LATERAL (
      SELECT t.task_index, t.unmet FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[h.queue_id])
        AND t.task_index >= CASE WHEN h.task < 1048576 THEN h.task + 1 ELSE (h.task - 1048576) >> 8 END
        AND t.task_index <= CASE WHEN h.task < 1048576 THEN 1048575 ELSE (h.task - 1048576) >> 8 END
        AND t.status = 'pending' AND t.unmet > 0 AND t.needs @> ARRAY[h.task] OFFSET 0) t
    WHERE h.how NOT IN ('fan_out','pause') AND (h.how <> 'fail' OR h.task >= 1048576)),
  moved AS (
    UPDATE nova3_tasks t SET unmet = t.unmet - 1,
      status = CASE WHEN n.leases THEN 'leased' WHEN n.met THEN 'ready' ELSE t.status END,
      fence = CASE WHEN n.leases THEN n.fence ELSE t.fence END, lease_owner = CASE WHEN n.leases THEN n.lease_owner END,
      lease_until = CASE WHEN n.leases THEN n.lease_until END, lease_ms = CASE WHEN n.leases THEN n.lease_ms END,
      lease_ticket = CASE WHEN n.leases THEN n.lease_ticket END,
      lease_group = CASE WHEN n.leases THEN n.lease_group ELSE 0 END, attempt = t.attempt + n.leases::integer,
      working = n.leases AND t.crashes > 0
    FROM need n WHERE t.queue_id = ANY (ARRAY[n.queue_id]) AND t.task_index = n.task_index
    RETURNING n.ord, t.task_index, t.status),
  -- Computed once, not once for each place that it is joined to.
  counted AS MATERIALIZED (
    SELECT m.ord, min(m.task_index) FILTER (WHERE m.status = 'leased') AS leased,
      (count(*) FILTER (WHERE m.status = 'ready'))::integer AS ready
    FROM moved m GROUP BY m.ord)
  SELECT array_agg(c.leased ORDER BY o.ord), array_agg(coalesce(c.ready, 0) ORDER BY o.ord) INTO handed, ready
  FROM generate_series(1, p_places) o(ord) LEFT JOIN counted c ON c.ord = o.ord;
  IF NOT EXISTS (SELECT 1 FROM unnest(p_held) h WHERE (h.task >= 1048576 OR h.how = 'fan_out')
      AND h.lease_owner IS NOT NULL AND handed[h.ord] IS NULL) THEN
    RETURN;
  END IF;
  WITH part AS (
    SELECT h.*, t.task_index FROM unnest(p_held) h
    CROSS JOIN LATERAL (
      SELECT t.task_index FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index >= 1048576
        AND t.status = 'ready' AND t.quarantine = 0 AND t.wake_at = 0 ORDER BY t.task_index LIMIT 1) t
    WHERE (h.task >= 1048576 OR h.how = 'fan_out') AND h.lease_owner IS NOT NULL AND handed[h.ord] IS NULL),
  moved AS (
    UPDATE nova3_tasks t SET status = 'leased', fence = p.fence, lease_owner = p.lease_owner, lease_until = p.lease_until,
      lease_ms = p.lease_ms, lease_ticket = p.lease_ticket, lease_group = p.lease_group, attempt = t.attempt + 1,
      working = t.crashes > 0
    FROM part p WHERE t.queue_id = ANY (ARRAY[p.queue_id]) AND t.task_index = p.task_index
    RETURNING p.ord, t.task_index)
  SELECT array_agg(coalesce(handed[o.ord], m.task_index) ORDER BY o.ord) INTO later
  FROM generate_series(1, p_places) o(ord) LEFT JOIN moved m ON m.ord = o.ord;
  handed := later;
END $$;

-- Skips the pending tasks that need a failed one whose queue does not continue, directly or through others.
CREATE OR REPLACE FUNCTION nova3_skip_behind(p_held nova3_held[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  WITH RECURSIVE behind AS (
    SELECT h.queue_id, h.task FROM unnest(p_held) h WHERE h.how = 'fail' AND h.task < 1048576
    UNION
    SELECT b.queue_id, t.task_index FROM behind b
    CROSS JOIN LATERAL (
      SELECT t.task_index FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[b.queue_id])
        AND t.task_index > b.task AND t.task_index < 1048576 AND t.status = 'pending' AND t.needs @> ARRAY[b.task] OFFSET 0) t)
  UPDATE nova3_tasks t SET status = 'skipped' FROM behind b
  WHERE t.queue_id = ANY (ARRAY[b.queue_id]) AND t.task_index = b.task AND t.status = 'pending';
END $$;

-- Makes the tasks of paused queues ready that need no unsettled task. Returns by place how many tasks became ready.
CREATE OR REPLACE FUNCTION nova3_free_paused(p_held nova3_held[], p_ends text[], p_freed integer[]) RETURNS integer[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  freed integer[];
BEGIN
  UPDATE nova3_tasks t SET unmet = (SELECT count(*) FROM nova3_tasks k WHERE k.queue_id = ANY (ARRAY[h.queue_id])
    AND k.task_index = ANY (t.needs) AND k.status = 'pending')
  FROM unnest(p_held) h WHERE p_ends[h.ord] = 'paused' AND t.queue_id = ANY (ARRAY[h.queue_id]) AND t.status = 'pending';
  WITH moved AS (
    UPDATE nova3_tasks t SET status = 'ready' FROM unnest(p_held) h
    WHERE p_ends[h.ord] = 'paused' AND t.queue_id = ANY (ARRAY[h.queue_id]) AND t.status = 'pending' AND t.unmet = 0
    RETURNING h.ord),
  counted AS MATERIALIZED (SELECT m.ord, count(*)::integer AS ready FROM moved m GROUP BY m.ord)
  SELECT array_agg(coalesce(c.ready, p_freed[o.ord]) ORDER BY o.ord) INTO freed
  FROM generate_subscripts(p_freed, 1) o(ord) LEFT JOIN counted c ON c.ord = o.ord;
  RETURN freed;
END $$;

-- Adds the subtasks as ready tasks: the parts of a task, which becomes a join, or its search. The task waits for them.
CREATE OR REPLACE FUNCTION nova3_fan_out(p_run bigint, p_held nova3_held[], p_settlements nova3_settlement[], p_moment bigint)
RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  WITH part AS (
    SELECT h.ord, h.queue_id, h.task, f.kind, f.subject, f.description, f.input,
      CASE WHEN f.kind = 'search' THEN 0 ELSE f.ordinality::integer END AS nth
    FROM unnest(p_held) h CROSS JOIN LATERAL unnest((p_settlements[h.ord]).parts) WITH ORDINALITY f WHERE h.how = 'fan_out'),
  put AS (
    INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, kind, action, description, input, subject, status, version,
      created_at)
    SELECT p_run, p.queue_id, 1048576 + (p.task << 8) + p.nth,
      t.task_id || '.' || CASE WHEN p.kind = 'search' THEN p.kind ELSE p.nth::text END, p.kind, t.action, p.description, p.input,
      p.subject, 'ready', 1 + coalesce((SELECT max(v.version) FROM nova3_task_versions v
        WHERE v.queue_id = ANY (ARRAY[p.queue_id]) AND v.task_index = 1048576 + (p.task << 8) + p.nth), 0), p_moment
    FROM part p JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[p.queue_id]) AND t.task_index = p.task)
  UPDATE nova3_tasks t SET kind = CASE WHEN n.search THEN t.kind ELSE 'join' END, status = 'pending', needs = t.needs || n.needs, unmet = cardinality(n.needs),
    ticket = (p_settlements[n.ord]).ticket, attempt = t.attempt - 1, working = false, crashes = 0, lease_group = 0, lease_owner = NULL,
    lease_until = NULL
  FROM (SELECT p.ord, p.queue_id, p.task, array_agg(1048576 + (p.task << 8) + p.nth ORDER BY p.nth) AS needs,
      bool_and(p.kind = 'search') AS search
    FROM part p GROUP BY p.ord, p.queue_id, p.task) n
  WHERE t.queue_id = ANY (ARRAY[n.queue_id]) AND t.task_index = n.task;
END $$;

-- Adds the planned tasks of new queues, and the planning task of queues without a plan. Tasks that need no other are
-- ready. `s_needs` has the needs of each task as the literal of an array.
CREATE OR REPLACE FUNCTION nova3_add_tasks(p_run bigint, p_unplanned bigint[], s_queue bigint[], s_index integer[], s_id text[],
  s_action text[], s_description text[], s_input text[], s_needs text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  moment bigint := nova3_now();
BEGIN
  INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, action, description, input, needs, unmet, status, created_at)
  SELECT p_run, s.queue_id, s.nth, s.id, s.action, s.description, s.input,
    s.needs::integer[], cardinality(s.needs::integer[]),
    CASE WHEN s.needs = '{}' THEN 'ready' ELSE 'pending' END, moment
  FROM unnest(s_queue, s_index, s_id, s_action, s_description, s_input, s_needs)
    s(queue_id, nth, id, action, description, input, needs);
  INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, kind, action, input, status, created_at)
  SELECT p_run, i.queue_id, -1, 'plan', 'plan', 'supervisor', '', 'ready', moment FROM unnest(p_unplanned) i(queue_id);
END $$;

-- Makes failed and skipped tasks of these queues run again, behind the tasks that they need. A task that has fanned out
-- runs only its failed parts again. The caller has locked the rows of the queues.
CREATE OR REPLACE FUNCTION nova3_retry(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  INSERT INTO nova3_task_versions (queue_id, task_index, version, status, result, error, making, completed_at)
  SELECT t.queue_id, t.task_index, t.version, t.status, t.result, t.error, t.making, t.completed_at
  FROM unnest(p_queues) i(queue_id) JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id])
  -- A search is settled once.
  WHERE t.status = 'failed' AND t.kind <> 'search';
  UPDATE nova3_tasks t SET status = 'pending', version = t.version + (t.status = 'failed')::integer, result = NULL, error = NULL,
    completed_at = NULL, wake_at = 0, sleep_ms = 0
  FROM unnest(p_queues) i(queue_id)
  WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status IN ('failed','skipped') AND t.kind <> 'search';
  UPDATE nova3_tasks t SET unmet = (SELECT count(*) FROM nova3_tasks k WHERE k.queue_id = ANY (ARRAY[i.queue_id])
    AND k.task_index = ANY (t.needs) AND k.status = 'pending')
  FROM unnest(p_queues) i(queue_id) WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'pending';
  UPDATE nova3_tasks t SET status = 'ready' FROM unnest(p_queues) i(queue_id)
  WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'pending' AND t.unmet = 0;
  -- A queue that ended as `partial` has a round in its session's history, which is removed.
  DELETE FROM nova3_rounds r USING unnest(p_queues) i(queue_id) WHERE r.queue_id = i.queue_id;
  PERFORM nova3_recount(p_queues);
END $$;

-- Ends the leases of a queue that was superseded, so that a worker which holds one of its tasks finds the lease lost.
-- The result of an outside job is then only booked in the ledger. The caller has locked the row of the queue.
CREATE OR REPLACE FUNCTION nova3_void(p_queue bigint) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  UPDATE nova3_tasks t SET status = 'ready', attempt = t.attempt - 1, working = false, lease_group = 0, lease_owner = NULL,
    lease_until = NULL
  WHERE t.queue_id = p_queue AND t.status = 'leased';
  IF FOUND THEN
    PERFORM nova3_recount(ARRAY[p_queue]);
  END IF;
  PERFORM nova3_end_session_leases(ARRAY[p_queue]);
END $$;
