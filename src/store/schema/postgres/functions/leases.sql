-- Leases: renewing, releasing and taking them away; and tasks that outside jobs work on.

-- Extends the leases by p_lease_ms from now. Returns the leases that are lost. A renewal also clears a crash that was
-- recorded for the owner.
CREATE OR REPLACE FUNCTION nova3_renew(p_run bigint, p_owner text, p_queues bigint[], p_fences bigint[], p_lease_ms bigint)
RETURNS TABLE(queue_id bigint, fence bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  taken_back bigint[];
BEGIN
  PERFORM nova3_lock_queues(p_queues);
  UPDATE nova3_tasks t SET lease_until = nova3_now() + least(p_lease_ms, 1000000000000),
    lease_ms = least(p_lease_ms, 1000000000000)
  FROM unnest(p_queues, p_fences) i(queue_id, fence)
  WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'leased'
    AND t.fence = i.fence -- unless failpoint renews-without-fence
  ;
  WITH lives AS (
    UPDATE nova3_tasks t SET crashes = greatest(t.crashes - 1, 0), lost_by = NULL, quarantine = t.quarantine_before,
      lone_crashes = t.lone_crashes - CASE WHEN t.crash_owner = p_owner THEN least(t.lone_crashes, 1) ELSE 0 END,
      crash_owner = nullif(t.crash_owner, p_owner)
    FROM (SELECT DISTINCT i.queue_id FROM unnest(p_queues) i(queue_id)) i
    WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.lost_by = p_owner RETURNING t.queue_id)
  SELECT array_agg(DISTINCT lives.queue_id) INTO taken_back FROM lives;
  IF taken_back IS NOT NULL THEN
    PERFORM nova3_recount(taken_back);
  END IF;
  RETURN QUERY SELECT i.queue_id, i.fence FROM unnest(p_queues, p_fences) i(queue_id, fence)
  WHERE NOT EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id])
    AND t.fence = i.fence -- unless failpoint renews-without-fence
    AND t.status = 'leased');
END $$;

-- Returns those of the queues whose run's order can be shared and whose session's head can be locked now, without
-- waiting.
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

-- Locks and returns those of the queues whose rows can be locked now, without waiting.
CREATE OR REPLACE FUNCTION nova3_try_queues(p_queues bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  own bigint[];
BEGIN
  SELECT array_agg(q.queue_id) INTO own
  FROM (SELECT DISTINCT i.queue_id FROM unnest(p_queues) i(queue_id) ORDER BY i.queue_id) i
  CROSS JOIN LATERAL (SELECT q.queue_id FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) FOR UPDATE SKIP LOCKED) q;
  RETURN own;
END $$;

-- Shares the run's order, then locks the heads of the queues' sessions, then the queues.
CREATE OR REPLACE FUNCTION nova3_lock_in_order(p_run bigint, p_queues bigint[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  users text[];
  sessions text[];
BEGIN
  PERFORM nova3_share_order(p_run);
  SELECT array_agg(q.user_id), array_agg(q.session_id) INTO users, sessions FROM unnest(p_queues) i(queue_id)
  CROSS JOIN LATERAL (SELECT q.* FROM nova3_queues q WHERE q.queue_id = ANY (ARRAY[i.queue_id]) OFFSET 0) q
  WHERE q.session_id IS NOT NULL;
  IF users IS NOT NULL THEN
    PERFORM nova3_lock_sessions(p_run, users, sessions);
  END IF;
  PERFORM nova3_lock_queues(p_queues);
END $$;

-- Takes away expired leases of all runs, at most p_rows at once. All runs are covered because an idle run would block
-- the sessions that it shares with others. An owner without a heartbeat since then has crashed; a lost lease alone is
-- no crash. A task with its crash mark set goes into quarantine, or into half of its quarantine group. A task that ran
-- alone at two crashes of different owners fails as `poison`. `store/sqlite/quarantine.rs` explains the rules.
--
-- A lease that ends later than its own length from now was written before the clock was set back. It is clamped: either
-- its owner renews it, or it expires like any other.
CREATE OR REPLACE FUNCTION nova3_reap(p_lease_ms bigint, p_rows bigint) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  moment bigint := nova3_now();
  lost record;
  crashed boolean;
  alone boolean;
  room bigint;
  reaped bigint := 0;
  held record;
  own bigint[];
BEGIN
  SELECT array_agg(f.queue_id) INTO own FROM (
    SELECT q.queue_id FROM nova3_queues q JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[q.queue_id])
    WHERE q.run_id > 0 AND q.leased > 0 AND t.status = 'leased' AND t.lease_until > moment + t.lease_ms + 1000
    ORDER BY q.run_id, q.queue_id LIMIT p_rows) f;
  IF own IS NOT NULL THEN
    own := nova3_try_queues(own);
    UPDATE nova3_tasks t SET lease_until = moment + t.lease_ms FROM unnest(own) i(queue_id)
    WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'leased' AND t.lease_until > moment + t.lease_ms + 1000;
  END IF;
  SELECT array_agg(DISTINCT o.queue_id) INTO own FROM (
    SELECT q.queue_id FROM nova3_queues q JOIN nova3_tasks t ON t.queue_id = ANY (ARRAY[q.queue_id])
    WHERE q.run_id > 0 AND q.leased > 0 AND t.status = 'leased'
      AND t.lease_until < moment -- unless failpoint reaps-good-leases
    ORDER BY q.run_id, q.queue_id LIMIT p_rows) o;
  own := nova3_try_queues(nova3_try_order(own));
  FOR lost IN
    SELECT t.* FROM (SELECT i.queue_id FROM unnest(own) i(queue_id) ORDER BY i.queue_id) i
    CROSS JOIN LATERAL (
      SELECT t.run_id, t.queue_id, t.task_index, t.lease_owner, t.working, t.quarantine, t.lease_group, t.lone_crashes, t.crash_owner,
        t.crashes, t.fence
      FROM nova3_tasks t WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.status = 'leased'
        AND t.lease_until < moment -- unless failpoint reaps-good-leases
      ORDER BY t.task_index) t
  LOOP
    crashed := NOT EXISTS (SELECT 1 FROM nova3_workers w WHERE w.worker_id = lost.lease_owner
      AND (w.left_at IS NOT NULL OR w.last_seen BETWEEN moment - p_lease_ms AND moment + p_lease_ms));
    alone := crashed AND lost.working AND lost.lease_group = 1 AND lost.lease_owner IS DISTINCT FROM lost.crash_owner;
    room := CASE WHEN NOT crashed OR NOT lost.working THEN lost.quarantine
      WHEN lost.lease_group = 0 THEN 1048576 ELSE (lost.lease_group + 1) / 2 END;
    -- A poisoned task fails while it is leased, because a ready task cannot fail.
    IF alone AND lost.lone_crashes + 1 >= 2 THEN
      PERFORM nova3_count_orphan(lost.run_id, lost.queue_id, lost.fence, moment);
      reaped := reaped + nova3_fail_as_poison(lost.run_id, lost.queue_id, lost.task_index, lost.crashes + 1, moment);
      CONTINUE;
    END IF;
    UPDATE nova3_tasks t SET status = 'ready', attempt = t.attempt - 1, lease_group = 0, working = false, lease_owner = NULL,
      lease_until = NULL, crashes = t.crashes + crashed::int, quarantine = room, lone_crashes = t.lone_crashes + alone::int,
      crash_owner = CASE WHEN alone THEN lost.lease_owner ELSE t.crash_owner END,
      lost_by = CASE WHEN crashed THEN lost.lease_owner ELSE t.lost_by END,
      quarantine_before = CASE WHEN crashed THEN lost.quarantine ELSE t.quarantine_before END
    WHERE t.queue_id = ANY (ARRAY[lost.queue_id]) AND t.task_index = lost.task_index AND t.status = 'leased';
    -- Another task of its queue may have failed the queue already.
    CONTINUE WHEN NOT FOUND;
    reaped := reaped + 1;
    PERFORM nova3_count_orphan(lost.run_id, lost.queue_id, lost.fence, moment);
    PERFORM nova3_recount(ARRAY[lost.queue_id]);
    PERFORM nova3_put_back(lost.run_id, ARRAY[lost.queue_id]);
  END LOOP;
  -- These reservations belong to superseded versions whose workers have not settled since. The reservation of an
  -- outside job stays.
  FOR held IN
    SELECT r.run_id, r.queue_id, r.fence FROM nova3_reservations r
    WHERE r.created_at NOT BETWEEN moment - p_lease_ms AND moment + p_lease_ms AND NOT EXISTS (SELECT 1 FROM nova3_tasks t
      WHERE t.queue_id = ANY (ARRAY[r.queue_id]) AND t.fence = r.fence AND t.status IN ('leased','submitted'))
    ORDER BY r.run_id, r.queue_id LIMIT p_rows FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM nova3_count_orphan(held.run_id, held.queue_id, held.fence, moment);
  END LOOP;
  RETURN reaped;
END $$;

-- Makes tasks ready again as if never claimed. Their calls are written to the ledger.
CREATE OR REPLACE FUNCTION nova3_release(p_run bigint, p_left nova3_left[]) RETURNS void
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
DECLARE
  freed bigint[];
BEGIN
  PERFORM nova3_lock_in_order(p_run, ARRAY(SELECT i.queue_id FROM unnest(p_left) i));
  WITH released AS (
    UPDATE nova3_tasks t SET status = 'ready', attempt = t.attempt - 1, lease_group = 0, working = false, lease_owner = NULL,
      lease_until = NULL, wake_at = CASE WHEN i.snooze > 0 THEN nova3_now() + i.snooze ELSE 0 END, sleep_ms = i.snooze
    FROM unnest(p_left) i
    WHERE t.queue_id = ANY (ARRAY[i.queue_id]) AND t.fence = i.fence AND t.status = 'leased'
    RETURNING t.queue_id)
  SELECT array_agg(DISTINCT released.queue_id) INTO freed FROM released;
  PERFORM nova3_ledger(p_run, ARRAY(SELECT ROW(i.queue_id, i.fence, i.task, i.ticket, i.calls)::nova3_calls FROM unnest(p_left) i), '{}', 0, 0);
  IF freed IS NOT NULL THEN
    PERFORM nova3_recount(freed);
    PERFORM nova3_put_back(p_run, freed);
  END IF;
END $$;

-- Gives the task of the lease to the outside job. Returns whether the lease was valid. Repeating it is safe.
CREATE OR REPLACE FUNCTION nova3_submit(p_queue bigint, p_fence bigint, p_handle text) RETURNS boolean
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  PERFORM nova3_lock_queues(ARRAY[p_queue]);
  UPDATE nova3_tasks t SET status = 'submitted', handle = p_handle, lease_owner = NULL, lease_until = NULL, lease_group = 0,
    working = false
  WHERE t.queue_id = p_queue AND t.fence = p_fence AND t.status = 'leased';
  IF FOUND THEN
    PERFORM nova3_recount(ARRAY[p_queue]);
    RETURN true;
  END IF;
  RETURN EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = p_queue AND t.fence = p_fence AND t.handle = p_handle);
END $$;

-- Makes the task of an outside job that is gone ready again. Returns whether the task still belonged to the job.
-- Repeating it under the same ticket is safe.
CREATE OR REPLACE FUNCTION nova3_take_back(p_run bigint, p_left nova3_left, p_handle text) RETURNS boolean
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_indexonlyscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off AS $$
BEGIN
  PERFORM nova3_lock_in_order(p_run, ARRAY[p_left.queue_id]);
  UPDATE nova3_tasks t SET status = 'ready', handle = NULL, attempt = t.attempt - 1, ticket = p_left.ticket,
    wake_at = CASE WHEN p_left.snooze > 0 THEN nova3_now() + p_left.snooze ELSE 0 END, sleep_ms = p_left.snooze
  WHERE t.queue_id = p_left.queue_id AND t.fence = p_left.fence AND t.status = 'submitted' AND t.handle = p_handle;
  IF NOT FOUND THEN
    RETURN EXISTS (SELECT 1 FROM nova3_tasks t WHERE t.queue_id = p_left.queue_id AND t.ticket = p_left.ticket);
  END IF;
  PERFORM nova3_ledger(p_run, ARRAY[ROW(p_left.queue_id, p_left.fence, p_left.task, p_left.ticket, p_left.calls)::nova3_calls], '{}',
    0, 0);
  PERFORM nova3_recount(ARRAY[p_left.queue_id]);
  PERFORM nova3_put_back(p_run, ARRAY[p_left.queue_id]);
  RETURN true;
END $$;
