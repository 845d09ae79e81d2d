-- Redos: chosen tasks of finished requests run again, and the earlier result stays until the new one is settled. The
-- rows of the redone tasks are copied to nova3_task_versions, where `shown` marks them as part of the result line.

-- Begins new versions of these planned tasks. Each task comes with the planned tasks that it needs. Requests that are
-- not finished are left out, and requests outside of the present input too. Returns the redone queues. The caller has
-- locked the heads of their sessions, and promotes.
CREATE OR REPLACE FUNCTION nova3_redo(p_run bigint, t_queue bigint[], t_task integer[], t_needs text[]) RETURNS bigint[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  chosen bigint[];
BEGIN
  PERFORM nova3_lock_queues(t_queue);
  SELECT array_agg(q.queue_id ORDER BY q.queue_id) INTO chosen
  FROM (SELECT DISTINCT i.queue_id FROM unnest(t_queue) i(queue_id)) i
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id]) JOIN nova3_runs r ON r.run_id = q.run_id
  WHERE q.run_id = p_run AND q.state IN ('done','failed','paused') AND q.finish_no IS NOT NULL
    AND q.notes_digest IS NOT NULL AND q.task_count IS NOT NULL AND q.ingest >= r.complete_ingest;
  IF chosen IS NULL THEN
    RETURN '{}';
  END IF;
  INSERT INTO nova3_redos (queue_id, run_id, tasks, status, error, error_class, current_task_index, recipe_no, completed_at)
  SELECT q.queue_id, q.run_id, i.tasks, q.status, q.error, q.error_class, q.current_task_index, q.recipe_no, q.completed_at
  FROM (SELECT s.queue_id, array_agg(s.task ORDER BY s.task) AS tasks FROM unnest(t_queue, t_task) s(queue_id, task)
    GROUP BY s.queue_id) i
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id]) WHERE q.queue_id = ANY (chosen);
  INSERT INTO nova3_task_versions (queue_id, task_index, version, status, result, error, making, completed_at, shown, task_id,
    kind, action, description, input, subject, needs, unmet, created_at)
  SELECT t.queue_id, t.task_index, t.version, t.status, t.result, t.error, t.making, t.completed_at, true, t.task_id, t.kind,
    t.action, t.description, t.input, t.subject, t.needs, t.unmet, t.created_at
  FROM unnest(chosen) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id])
  WHERE CASE WHEN t.task_index < 1048576 THEN t.task_index ELSE (t.task_index - 1048576) >> 8 END = ANY (r.tasks)
  ON CONFLICT (queue_id, task_index, version) DO UPDATE SET status = excluded.status, result = excluded.result,
    error = excluded.error, making = excluded.making, completed_at = excluded.completed_at, shown = true,
    task_id = excluded.task_id, kind = excluded.kind, action = excluded.action, description = excluded.description,
    input = excluded.input, subject = excluded.subject, needs = excluded.needs, unmet = excluded.unmet,
    created_at = excluded.created_at;
  DELETE FROM nova3_tasks t USING unnest(chosen) i(queue_id), nova3_redos r
  WHERE r.queue_id = ANY (ARRAY[i.queue_id]) AND t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index >= 1048576
    AND (t.task_index - 1048576) >> 8 = ANY (r.tasks);
  UPDATE nova3_tasks t SET status = CASE WHEN u.unmet = 0 THEN 'ready' ELSE 'pending' END, unmet = u.unmet, needs = s.needs,
    version = CASE WHEN t.status IN ('pending','ready') THEN t.version ELSE 1 + greatest(t.version, (
      SELECT max(v.version) FROM nova3_task_versions v WHERE v.queue_id = t.queue_id AND v.task_index = t.task_index)) END,
    kind = 'call', result = NULL, error = NULL, making = NULL, ticket = NULL, completed_at = NULL, wake_at = 0, sleep_ms = 0
  FROM (SELECT s.queue_id, s.task, s.needs::integer[] AS needs FROM unnest(t_queue, t_task, t_needs) s(queue_id, task, needs)
    WHERE s.queue_id = ANY (chosen)) s
  JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[s.queue_id])
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS unmet FROM unnest(s.needs) n(task) WHERE n.task = ANY (r.tasks)
      OR EXISTS (SELECT 1 FROM nova3_tasks k WHERE k.queue_id = ANY (ARRAY[s.queue_id]) AND k.task_index = n.task
        AND k.status NOT IN ('completed','failed','skipped'))) u
  WHERE t.queue_id = ANY (ARRAY[s.queue_id]) AND t.task_index = s.task;
  UPDATE nova3_queues q SET state = CASE WHEN q.session_id IS NULL THEN 'open' ELSE 'blocked' END, status = NULL,
    error = NULL, error_class = NULL,
    current_task_index = r.tasks[1]
  FROM unnest(chosen) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
  PERFORM nova3_recount(chosen);
  RETURN chosen;
END $$;

-- Gives these queues their earlier results again. The outcomes of the failed redo stay as versions. The caller has
-- locked the rows of the queues, and deletes the marks.
CREATE OR REPLACE FUNCTION nova3_restore(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  INSERT INTO nova3_task_versions (queue_id, task_index, version, status, result, error, making, completed_at)
  SELECT t.queue_id, t.task_index, t.version, t.status, t.result, t.error, t.making, t.completed_at
  FROM unnest(p_queues) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id])
  WHERE t.status IN ('completed','failed')
    AND CASE WHEN t.task_index < 1048576 THEN t.task_index ELSE (t.task_index - 1048576) >> 8 END = ANY (r.tasks)
  ON CONFLICT DO NOTHING;
  -- The version that failed gives way to the earlier one as a whole, so this is no change of a task's state.
  DELETE FROM nova3_tasks t USING unnest(p_queues) i(queue_id), nova3_redos r
  WHERE r.queue_id = ANY (ARRAY[i.queue_id]) AND t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index >= 0
    AND CASE WHEN t.task_index < 1048576 THEN t.task_index ELSE (t.task_index - 1048576) >> 8 END = ANY (r.tasks);
  INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, kind, action, description, input, subject, needs, unmet, status,
    version, result, error, making, created_at, completed_at)
  SELECT r.run_id, v.queue_id, v.task_index, v.task_id, v.kind, v.action, v.description, v.input, v.subject, v.needs, v.unmet,
    v.status, v.version, v.result, v.error, v.making, v.created_at, v.completed_at
  FROM unnest(p_queues) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  JOIN nova3_task_versions v ON v.queue_id = ANY (ARRAY[i.queue_id])
  WHERE v.shown;
  UPDATE nova3_queues q SET state = CASE WHEN r.status IN ('completed','partial') THEN 'done' ELSE r.status END,
    status = r.status, error = r.error, error_class = r.error_class, recipe_no = r.recipe_no,
    current_task_index = r.current_task_index, completed_at = r.completed_at
  FROM unnest(p_queues) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
  PERFORM nova3_recount(p_queues);
END $$;

-- The earlier rows of these queues are no longer shown. Those of tasks that had not run are no outcomes, and are
-- deleted.
CREATE OR REPLACE FUNCTION nova3_forget_redos(p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  DELETE FROM nova3_task_versions v USING unnest(p_queues) i(queue_id)
  WHERE v.queue_id = ANY (ARRAY[i.queue_id]) AND v.status IN ('pending','ready');
  UPDATE nova3_task_versions v SET shown = false FROM unnest(p_queues) i(queue_id)
  WHERE v.queue_id = ANY (ARRAY[i.queue_id]) AND v.shown;
  DELETE FROM nova3_redos r USING unnest(p_queues) i(queue_id) WHERE r.queue_id = ANY (ARRAY[i.queue_id]);
END $$;

-- Ends the redos among these queues, which have just ended. A failed redo restores the earlier result, with a warning,
-- unless that is a failure too. The row of the run's tallies is locked.
CREATE OR REPLACE FUNCTION nova3_end_redos(p_run bigint, p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  redone bigint[];
  kept bigint[];
  reasons text[];
BEGIN
  SELECT array_agg(r.queue_id) INTO redone
  FROM unnest(p_queues) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id]);
  IF redone IS NULL THEN
    RETURN;
  END IF;
  SELECT array_agg(q.queue_id), array_agg(nova3_json(q.error)->>'message') INTO kept, reasons
  FROM unnest(redone) i(queue_id) JOIN nova3_redos r ON r.queue_id = ANY (ARRAY[i.queue_id])
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id]) WHERE q.state = 'failed' AND r.status <> 'failed';
  UPDATE nova3_queues q SET warnings = (
    SELECT jsonb_build_array('a redo failed, so this is the earlier result: ' || coalesce(k.reason, ''))::text
    FROM unnest(kept, reasons) k(queue_id, reason) WHERE k.queue_id = q.queue_id)
  FROM unnest(redone) i(queue_id) WHERE q.queue_id = ANY (ARRAY[i.queue_id]);
  IF kept IS NOT NULL THEN
    PERFORM nova3_restore(kept);
  END IF;
  PERFORM nova3_forget_redos(redone);
  UPDATE nova3_tallies t SET redone = t.redone + 1 WHERE t.run_id = p_run;
END $$;

-- Cancels the redo of a queue that is about to be superseded, if there is one.
CREATE OR REPLACE FUNCTION nova3_cancel_redo(p_queue bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nova3_lock_queues(ARRAY[p_queue]);
  IF EXISTS (SELECT 1 FROM nova3_redos r WHERE r.queue_id = p_queue) THEN
    PERFORM nova3_restore(ARRAY[p_queue]);
    PERFORM nova3_forget_redos(ARRAY[p_queue]);
  END IF;
END $$;
