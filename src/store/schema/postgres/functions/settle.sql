-- Settles tasks. The outcome of each is `stepped` if the lease is handed on to the next planned task, `moved:NUMBER` if
-- it is handed on to a part or a join, `yielded` if the lease has ended, `good` or `bad` if the queue has ended, or
-- `lost` if the lease was lost and only the calls were recorded. A settlement whose answer was lost is sent again under
-- its ticket and finds its own outcome. A statement has each queue once.
CREATE OR REPLACE FUNCTION nova3_settle(p_run bigint, p_settlements nova3_settlement[])
RETURNS TABLE(ord integer, outcome text)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment bigint := nova3_now();
  queues bigint[];
  fences bigint[];
  tasks integer[];
  ways text[];
  handles text[];
  noted boolean[];
  stricts boolean[];
  calls nova3_calls[];
  with_items boolean;
  with_parts boolean;
  results text[];
  held nova3_held[];
  last boolean;
  single boolean;
  given record;
  ended bigint;
  notes bigint;
  -- if failpoint numbers-before-the-lock: early bigint[];
  good integer[];
  handed integer[];
  freed integer[];
  ends text[];
  recounted bigint[];
  yielded bigint[];
  users text[];
  sessions text[];
BEGIN
  -- Small values that are used often are kept apart from results, which can be large.
  SELECT array_agg((i.s).queue_id ORDER BY i.ord), array_agg((i.s).fence ORDER BY i.ord), array_agg((i.s).task ORDER BY i.ord),
    array_agg((i.s).how ORDER BY i.ord), array_agg((i.s).handle ORDER BY i.ord), array_agg((i.s).noted IS NOT NULL ORDER BY i.ord),
    array_agg((i.s).strict ORDER BY i.ord),
    array_agg(ROW((i.s).queue_id, (i.s).fence, (i.s).task, (i.s).ticket, (i.s).calls)::nova3_calls ORDER BY i.ord),
    bool_or(cardinality((i.s).items) > 0), bool_or(cardinality((i.s).parts) > 0)
  INTO queues, fences, tasks, ways, handles, noted, stricts, calls, with_items, with_parts
  FROM (SELECT o.ord, p_settlements[o.ord] AS s FROM generate_subscripts(p_settlements, 1) o(ord) OFFSET 0) i;
  -- A queue that ends lets the next one of its session begin, so the heads of these sessions are locked. A queue with a
  -- pending task that needs only the settled one does not end. A part is included because it may be the last one at work.
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions
  FROM unnest(queues, tasks, ways) i(queue_id, task, how)
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  WHERE q.session_id IS NOT NULL AND i.how <> 'fan_out' AND (i.how NOT IN ('go_on','skip') OR i.task >= 1048576 OR NOT EXISTS (
    SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'pending' AND t.unmet = 1
      AND t.needs @> ARRAY[i.task]));
  IF users IS NOT NULL THEN
    PERFORM nova3_share_order(p_run);
    PERFORM nova3_lock_sessions(p_run, users, sessions);
  END IF;
  -- The next statement sees the changes of transactions that held these rows before.
  PERFORM nova3_lock_queues(queues);
  SELECT array_agg(ROW(i.ord, q.queue_id, t.fence, i.task, q.user_id, q.session_id, i.how, t.action <> 'completion',
    i.task = 0 AND t.making IS NULL AND NOT EXISTS (
      SELECT 1 FROM nova3_plans p WHERE p.queue_id = ANY (ARRAY[q.queue_id]) AND p.origin IS NOT NULL),
    q.error IS NOT NULL OR i.noted, t.lease_owner, t.lease_until, t.lease_ms, t.lease_ticket, t.lease_group, t.version)::nova3_held ORDER BY i.ord),
    bool_and(i.task < 1048576 AND i.how <> 'fan_out' AND (i.how = 'fail' OR coalesce(i.task + 1 >= q.task_count, false))),
    bool_and(i.how = 'go_on' AND i.task = 0 AND coalesce(q.task_count = 1, false) AND q.error IS NULL AND NOT i.noted)
  INTO held, last, single
  FROM unnest(queues, fences, tasks, ways, handles, noted) WITH ORDINALITY i(queue_id, fence, task, how, handle, noted, ord)
  JOIN nova3_queues q ON q.queue_id = ANY (ARRAY[i.queue_id]) AND q.state = 'open'
  JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[i.queue_id]) AND t.task_index = i.task
    AND t.fence = i.fence -- unless failpoint settles-without-fence
    AND t.status = CASE WHEN i.handle IS NULL THEN 'leased' ELSE 'submitted' END -- unless failpoint settled-again
    AND t.handle IS NOT DISTINCT FROM i.handle;

  IF with_items THEN
    results := nova3_number(held, p_settlements, moment);
  END IF;
  UPDATE nova3_tasks t SET status = CASE WHEN h.how IN ('fail','fail_on') THEN 'failed' WHEN h.how = 'skip' THEN 'skipped'
    ELSE 'completed' END,
    result = CASE WHEN with_items THEN results[h.ord] ELSE (p_settlements[h.ord]).response END, error = (p_settlements[h.ord]).error,
    making = CASE WHEN t.making IS NULL THEN (p_settlements[h.ord]).making ELSE nova3_together(t.making, (p_settlements[h.ord]).making) END,
    ticket = (p_settlements[h.ord]).ticket, completed_at = moment, lease_owner = NULL, lease_until = NULL, handle = NULL, crashes = 0,
    working = false, quarantine = 0, lease_group = 0, lone_crashes = 0, crash_owner = NULL, lost_by = NULL, panics = 0
  FROM unnest(held) h WHERE t.queue_id = ANY (ARRAY[h.queue_id]) AND t.task_index = h.task AND h.how <> 'fan_out';
  IF with_parts THEN
    PERFORM nova3_fan_out(p_run, held, p_settlements, moment);
  END IF;
  IF 'fail' = ANY (ways) THEN
    PERFORM nova3_skip_behind(held);
  END IF;
  IF last THEN
    -- No task needs the last planned task of its queue.
    handed := array_fill(NULL::integer, ARRAY[cardinality(queues)]);
    freed := array_fill(0, ARRAY[cardinality(queues)]);
  ELSE
    SELECT g.handed, g.ready INTO handed, freed FROM nova3_go_on(held, cardinality(queues)) g;
  END IF;
  IF single THEN
    -- These queues have no other task that could be open.
    ends := array_fill('completed'::text, ARRAY[cardinality(queues)]);
  ELSE
    ends := nova3_ends(held, handed, stricts);
  END IF;
  IF 'failed' = ANY (ends) THEN
    UPDATE nova3_tasks t SET status = 'skipped' FROM unnest(held) h
    WHERE ends[h.ord] = 'failed' AND t.queue_id = ANY (ARRAY[h.queue_id]) AND t.status IN ('pending','ready');
  END IF;
  IF 'paused' = ANY (ends) THEN
    freed := nova3_free_paused(held, ends, freed);
  END IF;

  SELECT array_agg(h.ord) FILTER (WHERE h.how IN ('go_on','pause')), count(ends[h.ord]),
    count(*) FILTER (WHERE h.task < 1048576 AND h.how <> 'fan_out')
  INTO good, ended, notes FROM unnest(held) h;
  -- if failpoint numbers-before-the-lock: SELECT array_agg(nextval('nova3_finishes')) INTO early FROM generate_series(1, ended);
  SELECT l.finish_no, l.event_no INTO given FROM nova3_ledger(p_run, calls, good, ended, notes) l;

  -- From here on the run's row is locked, so that numbers become visible in their order.
  WITH placed AS (
    SELECT h.*, ends[h.ord] AS ends, given.event_no - notes + row_number() OVER (ORDER BY h.ord) AS event_no,
      -- if failpoint numbers-before-the-lock: CASE WHEN ends[h.ord] IS NOT NULL THEN early[count(ends[h.ord]) OVER (ORDER BY h.ord)] END AS finish_no
      CASE WHEN ends[h.ord] IS NOT NULL THEN given.finish_no - ended + count(ends[h.ord]) OVER (ORDER BY h.ord) END AS finish_no -- unless failpoint numbers-before-the-lock
    FROM unnest(held) h WHERE h.task < 1048576 AND h.how <> 'fan_out'),
  moved AS (
    UPDATE nova3_queues q SET last_accessed = moment, current_task_index = p.task + (p.how <> 'fail')::integer,
      state = CASE WHEN p.ends IS NULL THEN q.state WHEN p.ends IN ('completed','partial') THEN 'done' ELSE p.ends END,
      -- A queue that is being redone keeps its earlier place until it ends.
      status = p.ends, finish_no = coalesce(p.finish_no, q.finish_no),
      error = coalesce(q.error, (p_settlements[p.ord]).noted), error_class = coalesce(q.error_class, (p_settlements[p.ord]).class),
      completed_at = CASE WHEN p.ends IS NOT NULL THEN moment ELSE q.completed_at END,
      recipe_no = CASE WHEN p.ends IS NOT NULL AND p.told THEN (SELECT r.recipe_no FROM nova3_runs r WHERE r.run_id = p_run) END,
      ready = CASE WHEN p.ends IS NULL THEN q.ready WHEN p.ends = 'paused' THEN freed[p.ord] ELSE 0 END,
      leased = CASE WHEN p.ends IS NULL THEN q.leased ELSE 0 END,
      submitted = CASE WHEN p.ends IS NULL THEN q.submitted ELSE 0 END,
      quarantine = CASE WHEN p.ends IS NULL THEN q.quarantine ELSE 0 END,
      wake_at = CASE WHEN p.ends IS NULL THEN q.wake_at ELSE 0 END, sleep_ms = CASE WHEN p.ends IS NULL THEN q.sleep_ms ELSE 0 END
    FROM placed p WHERE q.queue_id = ANY (ARRAY[p.queue_id]))
  INSERT INTO nova3_events (run_id, event_no, queue_id, task_index, version, planned, body, status, created_at)
  SELECT p_run, p.event_no, p.queue_id, p.task, (SELECT t.version FROM nova3_tasks t
    WHERE t.queue_id = ANY (ARRAY[p.queue_id]) AND t.task_index = p.task), p.first, (p_settlements[p.ord]).error, p.ends, moment
  FROM placed p WHERE p.told;

  -- A lease that is handed on to the next planned task changes no count.
  SELECT array_agg(h.queue_id), array_agg(h.queue_id) FILTER (WHERE h.task >= 1048576 AND handed[h.ord] IS NULL
    AND h.lease_owner IS NOT NULL)
  INTO recounted, yielded FROM unnest(held) h
  WHERE ends[h.ord] IS NULL AND (h.task >= 1048576 OR h.how = 'fan_out' OR handed[h.ord] IS NULL OR freed[h.ord] > 0);
  IF recounted IS NOT NULL THEN
    PERFORM nova3_recount(recounted);
  END IF;
  SELECT array_agg(h.user_id), array_agg(h.session_id) INTO users, sessions
  FROM unnest(held) h WHERE ends[h.ord] IS NOT NULL AND h.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    INSERT INTO nova3_rounds (user_id, session_id, round, queue_id)
    SELECT h.user_id, h.session_id, 1 + coalesce((SELECT max(r.round) FROM nova3_rounds r
      WHERE r.user_id = h.user_id AND r.session_id = h.session_id), 0), h.queue_id
    FROM unnest(held) h WHERE ends[h.ord] IN ('completed','partial','paused') AND h.session_id IS NOT NULL
      -- A redone queue keeps its round.
      AND NOT EXISTS (SELECT 1 FROM nova3_rounds r WHERE r.queue_id = h.queue_id);
    DELETE FROM nova3_session_leases l USING unnest(held) h
    WHERE ends[h.ord] IS NOT NULL AND l.user_id = ANY (ARRAY[h.user_id]) AND l.session_id = h.session_id AND l.queue_id = h.queue_id;
    PERFORM nova3_promote(p_run, users, sessions);
  END IF;
  IF yielded IS NOT NULL THEN
    PERFORM nova3_put_back(p_run, yielded);
  END IF;
  IF ended > 0 THEN
    PERFORM nova3_end_redos(p_run, ARRAY(SELECT h.queue_id FROM unnest(held) h WHERE ends[h.ord] IS NOT NULL));
  END IF;

  RETURN QUERY SELECT o.ord, CASE
    WHEN h.ord IS NULL THEN nova3_settled(p_settlements[o.ord])
    WHEN ends[o.ord] IN ('failed','partial') THEN 'bad'
    WHEN ends[o.ord] IS NOT NULL THEN 'good'
    WHEN handed[o.ord] IS NULL THEN 'yielded'
    WHEN h.task >= 1048576 OR h.how = 'fan_out' OR handed[o.ord] <> h.task + 1 THEN 'moved:' || handed[o.ord]
    ELSE 'stepped' END
  FROM generate_subscripts(p_settlements, 1) o(ord) LEFT JOIN unnest(held) h ON h.ord = o.ord ORDER BY o.ord;
END $$;

-- The outcome of a settlement that finds no lease: its earlier outcome if it was sent before, else `lost`.
CREATE OR REPLACE FUNCTION nova3_settled(p_settlement nova3_settlement) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  settled record;
  holder integer;
BEGIN
  SELECT t.completed_at = q.completed_at AS has_ended, q.status INTO settled
  FROM nova3_tasks t JOIN nova3_queues q ON q.queue_id = t.queue_id
  WHERE t.queue_id = p_settlement.queue_id AND t.task_index = p_settlement.task AND t.ticket = p_settlement.ticket
    AND (p_settlement.how = 'fan_out' OR t.status IN ('completed','failed','skipped'));
  IF NOT FOUND THEN
    RETURN 'lost';
  END IF;
  SELECT t.task_index INTO holder FROM nova3_tasks t WHERE t.queue_id = p_settlement.queue_id AND t.fence = p_settlement.fence AND t.status = 'leased';
  RETURN CASE
    WHEN p_settlement.task >= 1048576 OR p_settlement.how = 'fan_out' THEN coalesce('moved:' || holder, 'yielded')
    WHEN holder IS NOT NULL THEN CASE WHEN holder = p_settlement.task + 1 THEN 'stepped' ELSE 'moved:' || holder END
    WHEN settled.has_ended THEN CASE WHEN settled.status IN ('failed','partial') THEN 'bad' ELSE 'good' END
    WHEN p_settlement.how = 'pause' THEN 'good'
    ELSE 'yielded' END;
END $$;
