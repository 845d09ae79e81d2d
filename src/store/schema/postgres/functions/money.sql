-- The budget of a run, the cost of lost leases, and the failure of poisoned tasks.

-- Reserves the worst cost of calls, one after the other in the order of the parameters. The outcome is `held` if the
-- cap has room for the call. Without room the outcome says whether other workers have reservations, some of which will
-- be free again. It is `lost` if the lease was lost, and then nothing changes. A refused call leaves a reservation for
-- what its lease has spent. The answer is durable, and a worker sends its call after it.
--
-- All waiting calls of a worker share one statement, because the sums of the run are locked until the commit.
CREATE OR REPLACE FUNCTION nova3_reserve(p_run bigint, p_queues bigint[], p_fences bigint[], p_tasks integer[], p_routes text[],
  p_models text[], p_lanes text[], p_spent bigint[], p_worst bigint[], p_cap bigint) RETURNS TABLE(ord integer, outcome text)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  owners text[];
  before bigint[];
  known numeric;
  fits boolean;
BEGIN
  -- The locks keep leases from being taken away while this is written; a worker that has lost its lease sends no call.
  -- The next statement sees the changes of transactions that held these rows before.
  PERFORM 1 FROM nova3_queues q JOIN (SELECT DISTINCT i.queue_id FROM unnest(p_queues) i(queue_id)) i ON q.queue_id = i.queue_id
  ORDER BY q.queue_id FOR SHARE OF q;
  owners := ARRAY(SELECT t.lease_owner FROM unnest(p_queues, p_fences) WITH ORDINALITY i(queue_id, fence, ord)
    LEFT JOIN LATERAL (SELECT h.lease_owner FROM nova3_tasks h
      WHERE h.queue_id = i.queue_id AND h.fence = i.fence AND h.status = 'leased' OFFSET 0) t ON true
    ORDER BY i.ord);
  SELECT t.cost::numeric + t.uncertain + t.reserved INTO known FROM nova3_tallies t WHERE t.run_id = p_run FOR UPDATE;
  before := ARRAY(SELECT coalesce(r.spent + r.in_flight, 0) FROM unnest(p_queues, p_fences) WITH ORDINALITY i(queue_id, fence, ord)
    LEFT JOIN nova3_reservations r ON r.queue_id = i.queue_id AND r.fence = i.fence ORDER BY i.ord);
  FOR place IN 1 .. cardinality(p_queues) LOOP
    ord := place;
    outcome := 'lost';
    IF owners[ord] IS NOT NULL AND known IS NOT NULL THEN
      known := known - before[ord] + p_spent[ord];
      fits := known + p_worst[ord] <= p_cap;
      known := known + CASE WHEN fits THEN p_worst[ord] ELSE 0 END;
      INSERT INTO nova3_reservations AS r (queue_id, run_id, fence, task_index, route, model, lane, spent, in_flight, created_at)
      VALUES (p_queues[ord], p_run, p_fences[ord], p_tasks[ord], p_routes[ord], p_models[ord], p_lanes[ord], p_spent[ord],
        CASE WHEN fits THEN p_worst[ord] ELSE 0 END, nova3_now())
      ON CONFLICT (queue_id, fence) DO UPDATE SET run_id = excluded.run_id, task_index = excluded.task_index, route = excluded.route, model = excluded.model, lane = excluded.lane, spent = excluded.spent, in_flight = excluded.in_flight,
        created_at = excluded.created_at;
      outcome := CASE WHEN fits THEN 'held' WHEN EXISTS (
        SELECT 1 FROM nova3_reservations r JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[r.queue_id]) AND t.task_index = r.task_index
        WHERE r.run_id = p_run AND r.spent + r.in_flight > 0 AND t.lease_owner <> owners[ord]) THEN 'others' ELSE 'nobody' END;
    END IF;
    RETURN NEXT;
  END LOOP;
  UPDATE nova3_tallies t SET reserved = nova3_money(known - t.cost - t.uncertain) WHERE t.run_id = p_run;
END $$;

-- Counts the reservation of a lease that was taken away as uncertain cost, until the real cost is known.
CREATE OR REPLACE FUNCTION nova3_count_orphan(p_run bigint, p_queue bigint, p_fence bigint, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  gone record;
BEGIN
  DELETE FROM nova3_reservations r WHERE r.queue_id = p_queue AND r.fence = p_fence RETURNING r.* INTO gone;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE nova3_tallies t SET reserved = t.reserved - gone.spent - gone.in_flight WHERE t.run_id = p_run;
  IF gone.spent + gone.in_flight = 0 THEN
    RETURN;
  END IF;
  INSERT INTO nova3_attempts (run_id, queue_id, fence, task_index, version, ticket, attempt_no, route, model, lane, error_class, used,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, cost, uncertain, started_at, duration_ms)
  VALUES (p_run, p_queue, gone.fence, gone.task_index, coalesce((SELECT t.version FROM nova3_tasks t
    WHERE t.queue_id = p_queue AND t.task_index = gone.task_index), 1), 0, 0, gone.route, gone.model, gone.lane, 'abandoned', false, 0, 0, 0, 0, 0,
    gone.spent + gone.in_flight, gone.created_at, greatest(p_now - gone.created_at, 0))
  ON CONFLICT DO NOTHING;
  UPDATE nova3_tallies t SET attempts = t.attempts + 1, failed_attempts = t.failed_attempts + 1,
    uncertain = nova3_money(t.uncertain::numeric + gone.spent + gone.in_flight) WHERE t.run_id = p_run;
  INSERT INTO nova3_waste AS w (run_id, route, cause, calls, input_tokens, output_tokens, cost, uncertain)
  VALUES (p_run, gone.route, 'abandoned', 1, 0, 0, 0, gone.spent + gone.in_flight)
  ON CONFLICT (run_id, route, cause) DO UPDATE SET calls = w.calls + 1,
    uncertain = nova3_money(w.uncertain::numeric + excluded.uncertain);
END $$;

-- Fails the task as `poison` without a call. A part fails alone, any other task with its queue. Returns how many leases
-- it has ended.
CREATE OR REPLACE FUNCTION nova3_fail_as_poison(p_run bigint, p_queue bigint, p_task integer, p_crashes bigint, p_now bigint) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  task record;
  failure text;
  given record;
  known boolean;
BEGIN
  SELECT t.task_id, t.action, t.making IS NOT NULL AS tried, t.fence INTO task
  FROM nova3_tasks t WHERE t.queue_id = p_queue AND t.task_index = p_task AND t.status = 'leased';
  IF NOT FOUND THEN
    -- Another task has failed the queue already.
    RETURN 0;
  END IF;
  failure := jsonb_build_object('class', 'poison', 'message', format('nova3 crashed %s times with this '
    || 'request in flight, the last 2 times while the request ran alone (it will not run again; fix the cause, then put it back '
    || 'with `nova3 retry --class poison`)', p_crashes), 'line', NULL,
    'task_id', CASE WHEN p_task >= 0 THEN task.task_id END, 'route', NULL,
    'status_code', NULL, 'retryable', false, 'causes', '[]'::jsonb)::text;
  IF p_task >= 1048576 THEN
    UPDATE nova3_tasks t SET status = 'failed', error = failure, completed_at = p_now, lease_owner = NULL, lease_until = NULL,
      lease_group = 0, working = false, crashes = 0, quarantine = 0, lone_crashes = 0, crash_owner = NULL, lost_by = NULL, panics = 0
    WHERE t.queue_id = p_queue AND t.task_index = p_task;
    -- The lease is not handed on, because its owner crashed.
    PERFORM nova3_go_on(ARRAY[ROW(1, p_queue, task.fence, p_task, NULL, NULL, 'fail', false, false, false, NULL, NULL, NULL, NULL,
      0, 1)::nova3_held], 1);
    PERFORM nova3_recount(ARRAY[p_queue]);
    PERFORM nova3_put_back(p_run, ARRAY[p_queue]);
    RETURN 1;
  END IF;
  -- The first settled task of a queue announces the queue's tasks in its event. Before it, only the request is known.
  known := p_task > 0 OR (p_task = 0 AND task.tried)
    OR EXISTS (SELECT 1 FROM nova3_plans p WHERE p.queue_id = p_queue AND p.origin IS NOT NULL);
  UPDATE nova3_tasks t SET status = 'skipped', lease_owner = NULL, lease_until = NULL, lease_group = 0, working = false, crashes = 0,
    quarantine = 0, lone_crashes = 0, crash_owner = NULL, lost_by = NULL, panics = 0
  WHERE t.queue_id = p_queue AND t.status IN ('pending','ready','leased');
  SELECT l.finish_no, l.event_no INTO given FROM nova3_ledger(p_run, '{}', '{}', 1, 1) l;
  IF task.action <> 'completion' THEN
    INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, planned, body, status, created_at)
    VALUES (p_run, given.event_no, p_queue, CASE WHEN known AND p_task >= 0 THEN p_task END, false, failure, 'failed', p_now);
  END IF;
  UPDATE nova3_queues q SET state = 'failed', status = 'failed', finish_no = given.finish_no, error = coalesce(q.error, failure),
    error_class = coalesce(q.error_class, 'poison'), current_task_index = greatest(p_task, 0), last_accessed = p_now,
    completed_at = p_now, ready = 0, leased = 0, submitted = 0, quarantine = 0, wake_at = 0, sleep_ms = 0
  WHERE q.queue_id = p_queue;
  PERFORM nova3_end_session_leases(ARRAY[p_queue]);
  PERFORM nova3_put_back(p_run, ARRAY[p_queue]);
  PERFORM nova3_end_redos(p_run, ARRAY[p_queue]);
  RETURN 1;
END $$;
