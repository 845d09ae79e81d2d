-- Planning as a step of a queue: it is fenced, settled once, or replaced by the tasks of a paused queue of the session.

-- Settles plans. The outcome of each is `stepped`, `bad` if planning failed, or `lost` if the lease was lost. A queue
-- that has a plan never gets another.
CREATE OR REPLACE FUNCTION nova3_settle_plans(p_run bigint, p_plans nova3_plan_settlement[])
RETURNS TABLE(ord integer, outcome text)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment bigint := nova3_now();
  held nova3_held[];
  given record;
  ended bigint;
  made integer[];
  users text[];
  sessions text[];
BEGIN
  -- A queue that fails lets the next one of its session begin, so the heads of these sessions are locked.
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions
  FROM unnest(p_plans) i
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  WHERE q.session_id IS NOT NULL AND i.origin IS NULL;
  IF users IS NOT NULL THEN
    PERFORM nova3_share_order(p_run);
    PERFORM nova3_lock_sessions(p_run, users, sessions);
  END IF;
  -- The next statement sees the changes of transactions that held these rows before.
  PERFORM nova3_lock_queues(ARRAY(SELECT i.queue_id FROM unnest(p_plans) i));
  SELECT array_agg(ROW(i.ordinality, q.queue_id, t.fence, -1, q.user_id, q.session_id, CASE WHEN i.origin IS NULL THEN 'fail' ELSE 'go_on' END,
    true, i.origin IS NOT NULL, false, t.lease_owner, t.lease_until, t.lease_ms, t.lease_ticket, t.lease_group, t.version)::nova3_held
    ORDER BY i.ordinality)
  INTO held
  FROM unnest(p_plans) WITH ORDINALITY i
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'open'
  JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index = -1 AND t.fence = i.fence AND t.status = 'leased';

  -- The cost of an earlier failed planning is added to the new one.
  UPDATE nova3_plans p SET origin = (p_plans[h.ord]).origin, continues = NULL, making = nova3_together(p.making, (p_plans[h.ord]).making),
    fence = h.fence, ticket = (p_plans[h.ord]).ticket, created_at = moment
  FROM unnest(held) h WHERE p.queue_id = ANY (ARRAY[h.queue_id]);
  INSERT INTO nova3_plans (run_id, queue_id, origin, continues, making, fence, ticket, created_at)
  SELECT p_run, h.queue_id, (p_plans[h.ord]).origin, NULL, (p_plans[h.ord]).making, h.fence, (p_plans[h.ord]).ticket, moment FROM unnest(held) h
  WHERE NOT EXISTS (SELECT 1 FROM nova3_plans p WHERE p.queue_id = ANY (ARRAY[h.queue_id]));
  PERFORM nova3_put_plans(p_run, held, p_plans, moment);

  -- Only a plan of the model used a call.
  SELECT array_agg(h.ord) FILTER (WHERE (p_plans[h.ord]).origin = 'model'), count(*) FILTER (WHERE h.how = 'fail')
  INTO made, ended FROM unnest(held) h;
  SELECT l.finish_no, l.event_no INTO given FROM nova3_ledger(p_run,
    ARRAY(SELECT ROW(i.queue_id, i.fence, -1, i.ticket, i.calls)::nova3_calls FROM unnest(p_plans) WITH ORDINALITY i ORDER BY i.ordinality),
    made, ended, coalesce(cardinality(held), 0)) l;

  WITH placed AS (
    SELECT h.*, given.event_no - coalesce(cardinality(held), 0) + row_number() OVER (ORDER BY h.ord) AS event_no,
      given.finish_no - ended + count(*) FILTER (WHERE h.how = 'fail') OVER (ORDER BY h.ord) AS finish_no
    FROM unnest(held) h),
  planned AS (
    UPDATE nova3_queues q SET last_accessed = moment,
      task_count = cardinality((p_plans[p.ord]).steps)
    FROM placed p WHERE p.how <> 'fail' AND q.queue_id = ANY (ARRAY[p.queue_id])),
  failed AS (
    UPDATE nova3_queues q SET last_accessed = moment, state = 'failed', status = 'failed', finish_no = p.finish_no,
      error = (p_plans[p.ord]).error, error_class = (p_plans[p.ord]).class, completed_at = moment, ready = 0, leased = 0, submitted = 0,
      quarantine = 0, wake_at = 0, sleep_ms = 0
    FROM placed p WHERE p.how = 'fail' AND q.queue_id = ANY (ARRAY[p.queue_id]))
  INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, planned, body, status, created_at)
  SELECT p_run, p.event_no, p.queue_id, NULL, p.first, coalesce((p_plans[p.ord]).error, (p_plans[p.ord]).body),
    CASE WHEN p.how = 'fail' THEN 'failed' END, moment
  FROM placed p;

  SELECT array_agg(h.user_id), array_agg(h.session_id) INTO users, sessions
  FROM unnest(held) h WHERE h.how = 'fail' AND h.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    DELETE FROM nova3_session_leases l USING unnest(held) h
    WHERE h.how = 'fail' AND l.user_id = ANY (ARRAY[h.user_id]) AND l.session_id = h.session_id AND l.queue_id = h.queue_id;
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;

  RETURN QUERY SELECT o.ord, CASE
    WHEN h.ord IS NOT NULL THEN CASE WHEN h.how = 'fail' THEN 'bad' ELSE 'stepped' END
    WHEN p.queue_id IS NOT NULL THEN CASE WHEN p.origin IS NULL THEN 'bad' ELSE 'stepped' END
    ELSE 'lost' END
  FROM generate_subscripts(p_plans, 1) o(ord)
  LEFT JOIN unnest(held) h ON h.ord = o.ord
  LEFT JOIN nova3_plans p ON h.ord IS NULL AND p.queue_id = (p_plans[o.ord]).queue_id
    AND p.ticket = (p_plans[o.ord]).ticket
  ORDER BY o.ord;
END $$;

-- Settles the planning tasks and adds the tasks of the plans. The first task of each queue inherits the lease. The
-- record of planning is in the row of the plan.
CREATE OR REPLACE FUNCTION nova3_put_plans(p_run bigint, p_held nova3_held[], p_plans nova3_plan_settlement[], p_moment bigint)
RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  UPDATE nova3_tasks t SET status = CASE WHEN h.how = 'fail' THEN 'failed' ELSE 'completed' END, completed_at = p_moment,
    lease_owner = NULL, lease_until = NULL, crashes = 0, working = false, quarantine = 0, lease_group = 0, lone_crashes = 0,
    crash_owner = NULL, lost_by = NULL, panics = 0
  FROM unnest(p_held) h WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index = -1;
  INSERT INTO nova3_tasks (run_id, queue_id, task_index, task_id, action, description, input, needs, unmet, status, attempt, fence,
    lease_owner, lease_until, lease_ms, lease_ticket, lease_group, created_at)
  SELECT p_run, h.queue_id, s.nth, 'task' || lpad((s.nth + 1)::text, greatest(3, length((s.nth + 1)::text)), '0'), s.action,
    s.description, s.input, CASE WHEN s.nth = 0 THEN '{}' ELSE ARRAY[s.nth - 1] END, (s.nth > 0)::integer,
    CASE WHEN s.nth = 0 THEN 'leased' ELSE 'pending' END, (s.nth = 0)::integer, CASE WHEN s.nth = 0 THEN h.fence END,
    CASE WHEN s.nth = 0 THEN h.lease_owner END, CASE WHEN s.nth = 0 THEN h.lease_until END,
    CASE WHEN s.nth = 0 THEN h.lease_ms END, CASE WHEN s.nth = 0 THEN h.lease_ticket END,
    CASE WHEN s.nth = 0 THEN h.lease_group ELSE 0 END, p_moment
  FROM unnest(p_held) h CROSS JOIN LATERAL (SELECT s.*, s.ordinality::integer - 1 AS nth
    FROM unnest((p_plans[h.ord]).steps) WITH ORDINALITY s) s
  WHERE h.how <> 'fail';
END $$;

-- Returns the session's last paused queue that has tasks left to do.
CREATE OR REPLACE FUNCTION nova3_pending(p_user text, p_session text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT q.queue_id FROM (
    SELECT q.queue_id FROM nova3_rounds r
    JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[r.queue_id])
    JOIN nova3_runs n ON n.run_id = q.run_id
    WHERE r.user_id = p_user AND r.session_id = p_session AND q.state = 'paused' ORDER BY r.round DESC LIMIT 1) q
  WHERE EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[q.queue_id])
    AND t.task_index >= 0 AND t.task_index < 1048576 AND t.status IN ('pending','ready'))
$$;

-- Changes the state of queues between `paused` and `continued`. Returns whether one changed. Result lines of the
-- affected runs change with it.
CREATE OR REPLACE FUNCTION nova3_pass_on(p_queues bigint[], p_from text, p_to text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  runs bigint[];
BEGIN
  WITH passed AS (
    UPDATE nova3_queues q SET state = p_to, status = p_to FROM unnest(p_queues) i(queue_id)
    WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = p_from RETURNING q.run_id)
  SELECT array_agg(DISTINCT passed.run_id ORDER BY passed.run_id) INTO runs FROM passed;
  UPDATE nova3_runs r SET lines_epoch = r.lines_epoch + 1 WHERE r.run_id = ANY (runs);
  RETURN runs IS NOT NULL;
END $$;

-- Gives the pending tasks of the session's last paused queue to this queue. Returns `taken`, `nothing`, or `lost`.
CREATE OR REPLACE FUNCTION nova3_take_over(p_run bigint, p_queue bigint, p_fence bigint, p_ticket bigint, p_making text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  moment bigint := nova3_now();
  mine nova3_held;
  paused bigint;
  taken record;
  given record;
BEGIN
  PERFORM nova3_lock_queues(ARRAY[p_queue]);
  SELECT 1, q.queue_id, t.fence, -1, q.user_id, q.session_id, 'go_on', true, true, false, t.lease_owner, t.lease_until, t.lease_ms,
    t.lease_ticket, t.lease_group, t.version
  INTO mine FROM nova3_tasks t JOIN nova3_queues q ON q.queue_id = t.queue_id
  WHERE t.queue_id = p_queue AND t.task_index = -1 AND t.fence = p_fence AND t.status = 'leased' AND q.state = 'open';
  IF NOT FOUND THEN
    -- A repeated call gets the answer that was lost.
    RETURN CASE WHEN EXISTS (SELECT 1 FROM nova3_plans p JOIN nova3_tasks t ON t.queue_id = p.queue_id
      WHERE p.queue_id = p_queue AND p.ticket = p_ticket AND t.fence = p_fence AND t.status = 'leased')
      THEN 'taken' ELSE 'lost' END;
  END IF;
  IF mine.session_id IS NULL THEN
    RETURN 'nothing';
  END IF;
  paused := nova3_pending(mine.user_id, mine.session_id);
  IF NOT nova3_pass_on(ARRAY[paused], 'paused', 'continued') THEN
    RETURN 'nothing';
  END IF;
  UPDATE nova3_plans p SET origin = 'continued', continues = paused, making = nova3_together(p.making, p_making),
    fence = p_fence, ticket = p_ticket, created_at = moment WHERE p.queue_id = p_queue;
  IF NOT FOUND THEN
    INSERT INTO nova3_plans (run_id, queue_id, origin, continues, making, fence, ticket, created_at)
    VALUES (p_run, p_queue, 'continued', paused, p_making, p_fence, p_ticket, moment);
  END IF;
  SELECT array_agg(ROW(n.action, n.description, n.input)::nova3_new_step ORDER BY n.task_index) AS steps,
    json_agg(json_build_object('action', n.action, 'description', n.description, 'input', n.input) ORDER BY n.task_index)::text AS body
  INTO taken
  FROM nova3_tasks n
  WHERE n.queue_id = paused AND n.task_index >= 0 AND n.task_index < 1048576 AND n.status IN ('pending','ready');
  PERFORM nova3_put_plans(p_run, ARRAY[mine], ARRAY[ROW(p_queue, p_fence, p_ticket, 'continued', p_making, NULL, NULL, taken.body,
    taken.steps, NULL)::nova3_plan_settlement], moment);
  SELECT l.event_no INTO given FROM nova3_ledger(p_run, ARRAY[ROW(p_queue, p_fence, -1, p_ticket, NULL)::nova3_calls], '{}', 0, 1) l;
  UPDATE nova3_queues q SET task_count = cardinality(taken.steps), last_accessed = moment WHERE q.queue_id = p_queue;
  INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, planned, body, status, created_at)
  VALUES (p_run, given.event_no, p_queue, NULL, true, taken.body, NULL, moment);
  RETURN 'taken';
END $$;

-- Whether a request other than p_besides, that is not superseded, has taken over the queue's pending tasks.
CREATE OR REPLACE FUNCTION nova3_is_taken(p_queue bigint, p_besides bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT 1 FROM nova3_plans p JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[p.queue_id])
    JOIN nova3_runs n ON n.run_id = q.run_id
    WHERE p.continues = p_queue AND p.continues > 0 AND p.queue_id IS DISTINCT FROM p_besides AND q.state <> 'superseded')
$$;

-- The request was superseded: the tasks that it took over are pending again, unless another request has them now.
CREATE OR REPLACE FUNCTION nova3_give_back(p_run bigint, p_queue bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT nova3_pass_on(array_agg(p.continues), 'continued', 'paused') FROM nova3_plans p
  WHERE p.queue_id = p_queue AND p.continues IS NOT NULL AND NOT nova3_is_taken(p.continues, p_queue)
$$;

-- The request is valid again: it owns the tasks that it took over again, unless another request has them now. In that
-- case it is planned anew, if none of its tasks was begun.
CREATE OR REPLACE FUNCTION nova3_take_again(p_run bigint, p_queue bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT q.queue_id INTO before FROM nova3_plans p
  JOIN nova3_queues q ON q.queue_id = p.continues
  WHERE p.queue_id = p_queue AND p.continues IS NOT NULL;
  -- Another request may take over the tasks at this moment.
  IF nova3_pass_on(ARRAY[before.queue_id], 'paused', 'continued') THEN
    RETURN;
  END IF;
  IF nova3_is_taken(before.queue_id, p_queue)
    AND NOT EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = p_queue AND t.task_index >= 0
      AND t.status NOT IN ('pending','ready')) THEN
    DELETE FROM nova3_tasks t WHERE t.queue_id = p_queue;
    DELETE FROM nova3_plans p WHERE p.queue_id = p_queue;
    UPDATE nova3_queues q SET task_count = NULL WHERE q.queue_id = p_queue;
    PERFORM nova3_add_tasks(p_run, ARRAY[p_queue], '{}', '{}', '{}', '{}', '{}', '{}', '{}');
    PERFORM nova3_recount(ARRAY[p_queue]);
  END IF;
END $$;

-- Gives queues that were not begun the tasks that line and flags give now. Without given tasks a model plans them. The
-- cost of earlier plans stays with the queues, and tasks that they took over are pending again, unless another request
-- has them now. Queues that were begun are marked as having other tasks.
CREATE OR REPLACE FUNCTION nova3_replace_tasks(p_run bigint, p_queues bigint[], p_given bigint[], s_queue bigint[], s_index integer[],
  s_id text[], s_action text[], s_description text[], s_input text[], s_needs text[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  unbegun bigint[];
  steps record;
BEGIN
  SELECT array_agg(l.queue_id) INTO unbegun FROM (
    SELECT q.queue_id FROM unnest(p_queues) i(queue_id) JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id])
    WHERE q.state IN ('open','blocked') AND q.leased = 0 AND q.submitted = 0
      AND NOT EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[q.queue_id]) AND t.task_index >= 0
        AND t.status NOT IN ('pending','ready'))
      AND NOT EXISTS (SELECT 1 FROM nova3_attempts a WHERE a.queue_id = ANY (ARRAY[q.queue_id]) AND a.task_index >= 0)
    ORDER BY q.queue_id FOR UPDATE OF q) l;
  UPDATE nova3_queues q SET other_tasks = true FROM unnest(p_queues) i(queue_id)
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND NOT q.other_tasks
    AND NOT i.queue_id = ANY (coalesce(unbegun, '{}'));
  IF unbegun IS NULL THEN
    RETURN;
  END IF;
  PERFORM nova3_pass_on(array_agg(p.continues), 'continued', 'paused') FROM unnest(unbegun) i(queue_id)
  JOIN nova3_plans p ON p.queue_id = ANY (ARRAY[i.queue_id])
  WHERE p.continues IS NOT NULL AND NOT nova3_is_taken(p.continues, p.queue_id);
  UPDATE nova3_plans p SET origin = NULL, continues = NULL FROM unnest(unbegun) i(queue_id)
  WHERE p.queue_id = ANY (ARRAY[i.queue_id]);
  DELETE FROM nova3_tasks t USING unnest(unbegun) i(queue_id) WHERE t.queue_id = ANY (ARRAY[i.queue_id]);
  -- The arrays have the tasks of all queues; those of queues that were begun are left out.
  SELECT array_agg(s.queue_id) AS queues, array_agg(s.nth) AS places, array_agg(s.id) AS ids, array_agg(s.action) AS actions,
    array_agg(s.description) AS descriptions, array_agg(s.input) AS inputs, array_agg(s.needs) AS needs INTO steps
  FROM unnest(s_queue, s_index, s_id, s_action, s_description, s_input, s_needs) s(queue_id, nth, id, action, description, input, needs)
  WHERE s.queue_id = ANY (unbegun);
  PERFORM nova3_add_tasks(p_run, ARRAY(SELECT i.queue_id FROM unnest(unbegun) i(queue_id)
    WHERE i.queue_id <> ALL (coalesce(steps.queues, '{}'))), steps.queues, steps.places, steps.ids, steps.actions, steps.descriptions,
    steps.inputs, steps.needs);
  UPDATE nova3_queues q SET given_tasks = i.given, other_tasks = false, last_accessed = nova3_now(),
    task_count = (SELECT nullif(count(*), 0) FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[q.queue_id]) AND t.task_index >= 0)
  FROM unnest(p_queues, p_given) i(queue_id, given)
  WHERE q.queue_id = ANY (ARRAY[i.queue_id]) AND i.queue_id = ANY (unbegun);
  PERFORM nova3_recount(unbegun);
END $$;
