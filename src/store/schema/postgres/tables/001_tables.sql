-- The store's tables in PostgreSQL. Times are Unix milliseconds of the server's clock, money is picodollars.
--
-- All runs share these tables: the number of tables, indexes, locks and plans does not depend on the number of runs. A
-- queue's number is unique in the store and contains the number of its run (`queue_id >> 36`).
--
-- Plans are made while tables are small and must stay good when they are large. Two rules keep them good:
--
-- * A lookup by queue_id names no run_id. In a join it is written `q.queue_id = ANY (ARRAY[i.queue_id])`. With a plain
--   equality the planner also considers reading the whole index in its order, and chooses that while the table has few
--   rows.
-- * A partial index by run has `run_id > 0` in its condition. A statement that selects by run and state names `run_id >
--   0` too. A lookup by queue_id does not, so that the planner cannot use such an index for it.

CREATE TABLE nova3_runs(
  run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  input_path text,
  rehearsal boolean NOT NULL DEFAULT false,      -- its answers are a mock server's
  ingest bigint NOT NULL DEFAULT 0,              -- the current or last reading
  complete_ingest bigint NOT NULL DEFAULT 0,     -- the last complete reading
  input_digest bytea,
  input_bytes bigint,
  input_requests bigint,
  lines_epoch bigint NOT NULL DEFAULT 0,
  next_seq bigint NOT NULL DEFAULT 0,
  next_queue bigint NOT NULL DEFAULT 0,
  recipe text,                                   -- models and prompts used last
  recipe_no bigint,                              -- the same as a number: digest of prompts << 32 | digest of models
  terms text,                                    -- JSON: limits, cost cap, agents; all workers share them
  -- With the number of a queue it gives the id of its trace.
  trace_seed bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()),
  created_at bigint NOT NULL,
  last_accessed bigint NOT NULL
);

-- The record of a run: the newest invocations of commands that work on it or change it.
CREATE TABLE nova3_actions(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  action_no bigint NOT NULL,                     -- a random number
  command text NOT NULL,
  flags text NOT NULL,                           -- JSON: the flags and variables that were given
  user_name text NOT NULL,
  host text NOT NULL,
  folder text NOT NULL,
  pid bigint NOT NULL,
  version text NOT NULL,                         -- of the program
  began_at bigint NOT NULL,
  ended_at bigint,                               -- NULL: it has not ended, or its process crashed
  ending text,
  PRIMARY KEY (run_id, action_no)
);
CREATE INDEX nova3_actions_newest ON nova3_actions(run_id, began_at, action_no);

-- The last chunk of lines that a reading added, and its answer.
CREATE TABLE nova3_readings(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  ingest bigint NOT NULL,
  ticket bigint NOT NULL,
  outcomes text[] NOT NULL,
  queues bigint[] NOT NULL,                      -- NULL when the outcome has none
  PRIMARY KEY (run_id, ingest)
);

-- The counters that every settlement of a run writes, kept apart from the columns that every claim reads. Its row is
-- the only one that all workers write. It is locked last and until the commit, so that numbers become visible in their
-- order.
CREATE TABLE nova3_tallies(
  run_id bigint PRIMARY KEY REFERENCES nova3_runs ON DELETE CASCADE,
  next_finish_no bigint NOT NULL DEFAULT 0,      -- the last number given; never reused
  next_event_no bigint NOT NULL DEFAULT 0,
  redone bigint NOT NULL DEFAULT 0,              -- redos that ended; a part of the lines epoch
  attempts bigint NOT NULL DEFAULT 0,            -- sums over nova3_attempts, updated in the same transactions
  failed_attempts bigint NOT NULL DEFAULT 0,
  unpriced_attempts bigint NOT NULL DEFAULT 0,
  input_tokens bigint NOT NULL DEFAULT 0,
  cached_input_tokens bigint NOT NULL DEFAULT 0,
  cache_write_tokens bigint NOT NULL DEFAULT 0,
  output_tokens bigint NOT NULL DEFAULT 0,
  cost bigint NOT NULL DEFAULT 0,
  wasted bigint NOT NULL DEFAULT 0,
  uncertain bigint NOT NULL DEFAULT 0,
  reserved bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A run that is being dropped. Its row in nova3_runs is gone, and its other rows are deleted in batches.
CREATE TABLE nova3_dropped(
  run_id bigint PRIMARY KEY,
  name text NOT NULL,
  next_queue bigint NOT NULL,                    -- the rows of queues below it are deleted
  last_queue bigint NOT NULL
);

-- One row for each (request, content). An edit makes a new row; undoing it finds the old one and its answer.
CREATE TABLE nova3_queues(
  run_id bigint NOT NULL,
  queue_id bigint PRIMARY KEY,
  seq bigint NOT NULL,                           -- arrival number: the order inside a session
  ingest bigint NOT NULL,                        -- the last reading that saw the line
  notes_digest bytea,                            -- NULL for a bad line
  custom_id text,
  user_id text NOT NULL,
  session_id text,
  state text NOT NULL
    CHECK (state IN ('blocked','open','paused','continued','superseded','done','failed')),
  status text CHECK (status IN ('completed','partial','failed','paused','continued')),
  priority bigint NOT NULL DEFAULT 0,
  fence bigint NOT NULL DEFAULT 0,               -- the last fence given to a lease of its tasks; only grows
  ready integer NOT NULL DEFAULT 0,              -- its tasks that are ready and not in quarantine
  quarantine bigint NOT NULL DEFAULT 0,          -- the largest `quarantine` of its ready tasks
  leased integer NOT NULL DEFAULT 0,             -- its leased tasks
  submitted integer NOT NULL DEFAULT 0,          -- its submitted tasks
  wake_at bigint NOT NULL DEFAULT 0,             -- the earliest `wake_at` of its ready tasks
  sleep_ms bigint NOT NULL DEFAULT 0,            -- the longest `sleep_ms` of its ready tasks
  current_task_index integer NOT NULL DEFAULT 0,
  task_count integer,                            -- NULL until planned
  given_tasks bigint,                            -- digest of tasks from line or flags; NULL: a model plans them
  other_tasks boolean NOT NULL DEFAULT false,    -- line and flags now give other tasks than it has
  recipe_no bigint,                              -- recipe_no of the run at its end; NULL: Batch line, without a prompt
  finish_no bigint,
  error text,
  error_class text,
  warnings text,
  created_at bigint NOT NULL,
  last_accessed bigint NOT NULL,
  completed_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX nova3_queues_finished ON nova3_queues(run_id, finish_no) WHERE finish_no IS NOT NULL;
-- A session has at most one open queue in a run.
CREATE UNIQUE INDEX nova3_queues_one_open ON nova3_queues(user_id, session_id, run_id) -- unless failpoint two-live-in-a-session
  WHERE session_id IS NOT NULL AND state = 'open' AND run_id > 0; -- unless failpoint two-live-in-a-session
CREATE INDEX nova3_queues_ready ON nova3_queues(run_id, ingest, priority, seq)
  WHERE state = 'open' AND ready > 0 AND run_id > 0;
-- Claimable queues whose first task is planning. `+ 0` keeps the planner from using the index above, which also has the
-- planned ones.
CREATE INDEX nova3_queues_unplanned ON nova3_queues(run_id, ingest, (priority + 0), seq)
  WHERE state = 'open' AND ready > 0 AND task_count IS NULL AND run_id > 0;
-- Queues with tasks in quarantine, in the order in which a group is formed.
CREATE INDEX nova3_queues_quarantine ON nova3_queues(run_id, ingest, quarantine DESC, priority, seq)
  WHERE state = 'open' AND quarantine > 0 AND run_id > 0;
-- Open queues by run. `+ 0` keeps the planner from using it for a session, or for ready queues.
CREATE INDEX nova3_queues_open ON nova3_queues((run_id + 0), ingest) WHERE state = 'open' AND run_id > 0;
CREATE INDEX nova3_queues_leased ON nova3_queues(run_id, ingest) WHERE leased > 0 AND run_id > 0;
CREATE INDEX nova3_queues_submitted ON nova3_queues(run_id, queue_id) WHERE submitted > 0 AND run_id > 0;
-- Blocked queues by session, in their order.
CREATE INDEX nova3_queues_waiting ON nova3_queues(user_id, session_id, run_id, ingest, seq)
  WHERE state = 'blocked' AND session_id IS NOT NULL AND run_id > 0;
-- Blocked queues by run. `+ 0` keeps the planner from using it for a session.
CREATE INDEX nova3_queues_blocked ON nova3_queues(run_id, (ingest + 0)) WHERE state = 'blocked' AND run_id > 0;
-- The index has all columns that counting needs, so that no row is read.
CREATE INDEX nova3_queues_done ON nova3_queues(run_id, ingest, recipe_no, other_tasks) WHERE state = 'done' AND run_id > 0;
CREATE INDEX nova3_queues_other_tasks ON nova3_queues(run_id, ingest) WHERE other_tasks AND run_id > 0;
CREATE INDEX nova3_queues_continued ON nova3_queues(run_id, ingest) WHERE state = 'continued' AND run_id > 0;
CREATE INDEX nova3_queues_failed ON nova3_queues(run_id, ingest) WHERE state = 'failed' AND run_id > 0;
CREATE INDEX nova3_queues_partial ON nova3_queues(run_id, ingest) WHERE status = 'partial' AND run_id > 0;
CREATE INDEX nova3_queues_paused ON nova3_queues(run_id, ingest) WHERE state = 'paused' AND run_id > 0;
-- Queues by session in all runs, for the views of a session. No other statement can use it.
CREATE INDEX nova3_queues_session ON nova3_queues((user_id || '/' || session_id), queue_id)
  WHERE session_id IS NOT NULL AND queue_id > 0;
-- Bad lines that have a `custom_id`.
CREATE INDEX nova3_queues_names ON nova3_queues(custom_id, run_id)
  WHERE notes_digest IS NULL AND custom_id IS NOT NULL AND run_id > 0;

-- One row for each session of a run. A transaction that changes the session's order locks it
-- (`functions/sessions.sql`).
CREATE TABLE nova3_session_heads(
  user_id text NOT NULL,
  session_id text NOT NULL,
  run_id bigint NOT NULL,
  PRIMARY KEY (user_id, session_id, run_id)
);

-- The queue, of any run, that holds a session: only its tasks may be leased, from its first lease until it ends, pauses
-- or becomes blocked.
CREATE TABLE nova3_session_leases(
  user_id text NOT NULL,
  session_id text NOT NULL,
  queue_id bigint NOT NULL,
  PRIMARY KEY (user_id, session_id)
);

-- The content and the place of each queue's line. It is apart from the queue, whose row is rewritten at every step and
-- must stay small and in few indexes.
CREATE TABLE nova3_requests(
  run_id bigint NOT NULL,
  queue_id bigint PRIMARY KEY,
  queue_key text NOT NULL,
  content_digest bytea NOT NULL,
  line_index bigint NOT NULL,
  line bigint NOT NULL,
  request text,                                  -- NULL for a bad line
  metadata text
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX nova3_requests_identity ON nova3_requests(queue_key, run_id, content_digest);
CREATE INDEX nova3_requests_lines ON nova3_requests(run_id, line_index) WHERE run_id > 0;

-- The unit of work and of lease. `domain/task.rs` defines the numbers, `domain/state.rs` the states. A transaction that
-- changes tasks of a queue has locked the row of the queue, so that the queue's counts match its tasks.
--
-- A task is written at every step, and only the primary key indexes it. So a new version of the row stays in the page
-- of the old one and touches no index. This needs free space for its lease and its result. Leases are found through the
-- queues that have any.
CREATE TABLE nova3_tasks(
  run_id bigint NOT NULL,
  queue_id bigint NOT NULL,
  task_index integer NOT NULL,                   -- its number: -1 is planning, planned tasks count from 0, parts follow
  task_id text NOT NULL,
  kind text NOT NULL DEFAULT 'call' CHECK (kind IN ('plan','call','join','search')),
  action text NOT NULL,
  description text NOT NULL DEFAULT '',
  input text NOT NULL,
  subject text,                                  -- the id of the item that a part is about
  needs integer[] NOT NULL DEFAULT '{}',         -- the numbers of the tasks that it needs
  unmet integer NOT NULL DEFAULT 0,              -- how many of these are not settled
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending','ready','leased','submitted','completed','failed','skipped')),
  wake_at bigint NOT NULL DEFAULT 0,             -- not claimed before this time
  sleep_ms bigint NOT NULL DEFAULT 0,            -- limits the wait when the clock is set back
  handle text,                                   -- the outside job that works on it
  attempt bigint NOT NULL DEFAULT 0,
  crashes bigint NOT NULL DEFAULT 0,             -- crashes while it was leased
  working boolean NOT NULL DEFAULT false,        -- its crash mark, kept current after a recorded crash
  quarantine bigint NOT NULL DEFAULT 0,          -- the largest group that it may run in; 0: not in quarantine
  lease_group bigint NOT NULL DEFAULT 0,         -- the size of the group that it was leased in; 0: an ordinary lease
  lone_crashes bigint NOT NULL DEFAULT 0,        -- crashes while it ran alone with its mark set
  crash_owner text,                              -- its owner at the last of these
  lost_by text,                                  -- the owner whose crash was recorded last
  quarantine_before bigint NOT NULL DEFAULT 0,   -- `quarantine` before that crash
  panics bigint NOT NULL DEFAULT 0,              -- panics of its workers
  fence bigint,                                  -- of its present or last lease
  lease_owner text,
  lease_until bigint,
  lease_ms bigint,                               -- the requested length of the lease
  lease_ticket bigint,                           -- the claim that leased it
  version integer NOT NULL DEFAULT 1,            -- a retry and a redo begin a new one
  result text,
  error text,                                    -- JSON: its failure
  making text,                                   -- JSON: route, model, attempts, usage, cost, times
  ticket bigint,                                 -- the settlement that wrote it
  created_at bigint NOT NULL,
  completed_at bigint,
  PRIMARY KEY (queue_id, task_index),
  CHECK ((status = 'leased') = (lease_owner IS NOT NULL)),
  CHECK ((status = 'submitted') = (handle IS NOT NULL))
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- The queues of the quarantine group that an owner leased last. The tasks tell whether it still holds the group.
CREATE TABLE nova3_groups(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  owner text NOT NULL,
  queues bigint[] NOT NULL,
  PRIMARY KEY (run_id, owner)
);

-- The rows of tasks before a retry or a redo. Events and calls name the version that they belong to, so that no outcome
-- is ever overwritten.
CREATE TABLE nova3_task_versions(
  queue_id bigint NOT NULL,
  task_index integer NOT NULL,
  version integer NOT NULL,
  status text NOT NULL CHECK (status IN ('pending','ready','completed','failed','skipped')),
  result text,
  error text,
  making text,
  completed_at bigint,
  shown boolean NOT NULL DEFAULT false,          -- part of the result line until the redo of its queue ends
  -- The other columns of a task that a redo may have to restore; NULL before a retry.
  task_id text,
  kind text,
  action text,
  description text,
  input text,
  subject text,
  needs integer[],
  unmet integer,
  created_at bigint,
  PRIMARY KEY (queue_id, task_index, version)
);

-- Requests that are being redone, with the columns of their queues that belong to the earlier result. `finish_no` and
-- `completed_at` stay in the queue, and its place in the history of its session stays too.
CREATE TABLE nova3_redos(
  queue_id bigint PRIMARY KEY,
  run_id bigint NOT NULL,
  tasks integer[] NOT NULL,                      -- the planned tasks that are redone
  status text NOT NULL CHECK (status IN ('completed','partial','failed','paused')),
  error text,
  error_class text,
  current_task_index integer NOT NULL,
  recipe_no bigint,
  completed_at bigint NOT NULL
);
CREATE INDEX nova3_redos_run ON nova3_redos(run_id);

-- The origin of a queue's tasks, unless its line gave them.
CREATE TABLE nova3_plans(
  run_id bigint NOT NULL,
  queue_id bigint PRIMARY KEY,
  -- NULL: there is no plan, because planning failed or `--tasks` replaced it
  origin text CHECK (origin IN ('model','default','continued')),
  continues bigint,                              -- the queue whose pending tasks were taken over, of any run
  making text NOT NULL,                          -- JSON as for a task; its attempts have task_index -1
  fence bigint NOT NULL,
  ticket bigint NOT NULL,                        -- the settlement that wrote it
  created_at bigint NOT NULL
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX nova3_plans_continues ON nova3_plans(continues) WHERE continues > 0;

-- The ledger: the outcome and cost of every call, also of calls whose answer was not used. Number 0 is what a lost
-- lease may have cost; the real calls replace it once they are known. A call that is sent again under its ticket is
-- found here.
CREATE TABLE nova3_attempts(
  run_id bigint NOT NULL,
  queue_id bigint NOT NULL,
  fence bigint NOT NULL,
  task_index integer NOT NULL,
  version integer NOT NULL DEFAULT 1,            -- of the task
  ticket bigint NOT NULL,                        -- the settlement that wrote it
  attempt_no integer NOT NULL,
  route text NOT NULL,
  model text NOT NULL,
  error_class text,
  used boolean NOT NULL,                         -- whether its answer is a task's result
  status_code integer,
  input_tokens bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  cache_write_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  cost bigint,
  uncertain bigint NOT NULL DEFAULT 0,
  started_at bigint NOT NULL,
  duration_ms bigint NOT NULL,
  first_token_ms bigint,
  lane text NOT NULL DEFAULT 'live',             -- the service tier that served it; `live` is the usual one
  PRIMARY KEY (queue_id, fence, task_index, ticket, attempt_no)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- One row for each settlement. Rows are only added, so that a file made from them stays true.
CREATE TABLE nova3_events(
  run_id bigint NOT NULL,
  event_no bigint NOT NULL,
  queue_id bigint NOT NULL,
  task_index integer,                            -- NULL: the plan, or the line itself
  version integer,                               -- of the task
  planned boolean NOT NULL,                      -- whether the queue's tasks became known with it
  body text,                                     -- JSON: the failure, or the steps of a plan
  status text,                                   -- the status of the request, if the event ended it
  created_at bigint NOT NULL,
  PRIMARY KEY (run_id, event_no)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX nova3_events_queue ON nova3_events(queue_id, event_no);

CREATE TABLE nova3_sessions(
  user_id text NOT NULL,
  session_id text NOT NULL,
  created_at bigint NOT NULL,
  last_accessed bigint NOT NULL,
  PRIMARY KEY (user_id, session_id)
);

-- The last number given for each type of item of a session.
CREATE TABLE nova3_counters(
  user_id text NOT NULL,
  session_id text NOT NULL,
  kind text NOT NULL,
  last bigint NOT NULL,
  PRIMARY KEY (user_id, session_id, kind)
);

CREATE TABLE nova3_items(
  user_id text NOT NULL,
  session_id text NOT NULL,
  kind text NOT NULL,
  number bigint NOT NULL,
  body text NOT NULL,
  queue_id bigint NOT NULL,
  task_index integer NOT NULL,
  version integer NOT NULL,                      -- of the task
  created_at bigint NOT NULL,
  PRIMARY KEY (user_id, session_id, kind, number)
);

-- The place of a finished queue in its session's history. A failed queue has none.
CREATE TABLE nova3_rounds(
  user_id text NOT NULL,
  session_id text NOT NULL,
  round bigint NOT NULL,
  queue_id bigint NOT NULL UNIQUE,
  PRIMARY KEY (user_id, session_id, round)
);

-- The cursors of output files.
CREATE TABLE nova3_outputs(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  host text NOT NULL,
  path text NOT NULL,
  base bigint NOT NULL,
  settled bigint NOT NULL,
  announced bigint NOT NULL,
  after bigint NOT NULL,
  announced_after bigint NOT NULL,
  tail bytea NOT NULL,
  input_order boolean NOT NULL,
  append boolean NOT NULL,
  since bigint,                                  -- the first reading whose lines stay in an append-only file
  epoch bigint NOT NULL,
  rewrite_length bigint,
  rewrite_tail bytea,
  rewrite_after bigint,
  rewrite_epoch bigint,
  events boolean NOT NULL,                       -- the file holds events, not results
  stamp bigint NOT NULL,                         -- a new random number for each write
  writer bigint,                                 -- the process that writes it: its pid on its host
  PRIMARY KEY (run_id, host, path)
);

-- The reservations under a cost cap: the cost of a lease's calls that is not in the ledger yet, and the worst cost of
-- the call in flight. A row that outlives its lease belongs to an outside job, or is counted as uncertain cost when the
-- lease is taken away.
CREATE TABLE nova3_reservations(
  queue_id bigint NOT NULL,
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  fence bigint NOT NULL,
  task_index integer NOT NULL,
  route text NOT NULL,
  model text NOT NULL,
  spent bigint NOT NULL,
  in_flight bigint NOT NULL,
  created_at bigint NOT NULL,
  lane text NOT NULL DEFAULT 'live',             -- the service tier that the call asks for
  PRIMARY KEY (queue_id, fence)
);

-- Calls without a result, by route and cause. These are sums over nova3_attempts, updated in the same transactions.
CREATE TABLE nova3_waste(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  route text NOT NULL,
  cause text NOT NULL,                           -- an error class, `abandoned` or `repeated`
  calls bigint NOT NULL,
  input_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  cost bigint NOT NULL,
  uncertain bigint NOT NULL,
  PRIMARY KEY (run_id, route, cause)
);

-- The states of the routes at the last change that a worker reported.
CREATE TABLE nova3_routes(
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  route text NOT NULL,
  state text NOT NULL CHECK (state IN ('closed','open','half_open','paused','latched')),
  reason text,
  since bigint NOT NULL,
  open_ms bigint NOT NULL DEFAULT 0,             -- the total milliseconds that its breaker was open
  PRIMARY KEY (run_id, route)
);

-- The processes that work, or worked, on a run. A process without a heartbeat for longer than its leases last counts as
-- crashed.
CREATE TABLE nova3_workers(
  worker_id text PRIMARY KEY,
  run_id bigint NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  host text NOT NULL,
  pid bigint NOT NULL,
  version text NOT NULL,
  joined_at bigint NOT NULL,
  last_seen bigint NOT NULL,
  left_at bigint,                                -- when it left properly
  settled bigint NOT NULL DEFAULT 0,             -- tasks and plans
  finished bigint NOT NULL DEFAULT 0             -- requests
) WITH (fillfactor = 50);
CREATE INDEX nova3_workers_run ON nova3_workers(run_id);

-- if failpoint numbers-before-the-lock: CREATE SEQUENCE nova3_finishes;
-- The parameters of the functions that settle and release, as `store/postgres/composite_rows.rs` sends them. Programs
-- of one schema version send the same fields, so a change of a type raises the version.
--
-- A call to a model.
CREATE TYPE nova3_call AS (
  route text,
  model text,
  cause text,                                    -- why the answer is of no use; NULL for a good answer
  used boolean,                                  -- whether the answer is the task's result, if the task completes
  status integer,
  input bigint,
  cached bigint,
  written bigint,
  output bigint,
  cost bigint,
  uncertain bigint,
  started bigint,
  duration bigint,
  first bigint,
  lane text                                      -- the service tier that served it
);
-- The calls that were made for a task under a lease, in their order.
CREATE TYPE nova3_calls AS (
  queue_id bigint,
  fence bigint,
  task integer,
  ticket bigint,                                 -- the settlement that writes them
  calls nova3_call[]
);
CREATE TYPE nova3_new_item AS (kind text, body text);
CREATE TYPE nova3_new_part AS (kind text, subject text, description text, input text);
CREATE TYPE nova3_new_step AS (action text, description text, input text);
-- The outcome of a task.
CREATE TYPE nova3_settlement AS (
  queue_id bigint,
  fence bigint,
  task integer,
  ticket bigint,
  how text,                                      -- `go_on`, `pause`, `skip`, `fail`, `fail_on` or `fan_out`
  strict boolean,                                -- whether the queue fails if one of its tasks has failed
  handle text,                                   -- the outside job that did it
  response text,                                 -- its result, without its items
  making text,
  error text,                                    -- JSON: its failure
  noted text,                                    -- JSON: the failure to note on the queue, of the task or of a part
  class text,                                    -- the class of that failure
  items nova3_new_item[],
  parts nova3_new_part[],
  calls nova3_call[]
);
-- The outcome of planning.
CREATE TYPE nova3_plan_settlement AS (
  queue_id bigint,
  fence bigint,
  ticket bigint,
  origin text,                                   -- NULL: planning failed
  making text,
  error text,                                    -- JSON: its failure
  class text,                                    -- the class of that failure
  body text,                                     -- JSON: the steps, for its event
  steps nova3_new_step[],
  calls nova3_call[]
);
-- A released task.
CREATE TYPE nova3_left AS (
  queue_id bigint,
  fence bigint,
  task integer,
  ticket bigint,
  snooze bigint,                                 -- milliseconds during which it is not claimed
  calls nova3_call[]
);
-- A settlement whose lease or handle is valid.
CREATE TYPE nova3_held AS (
  ord integer,
  queue_id bigint,
  fence bigint,
  task integer,
  user_id text,
  session_id text,
  how text,                                      -- `go_on`, `pause`, `skip`, `fail`, `fail_on` or `fan_out`
  told boolean,                                  -- whether it has an event; a raw completion has none
  first boolean,                                 -- whether its event announces the tasks of the queue
  has_failed boolean,                            -- whether a task of the queue, or a part, has failed
  lease_owner text,                              -- NULL: an outside job did it
  lease_until bigint,
  lease_ms bigint,
  lease_ticket bigint,
  lease_group bigint,
  version integer                                -- of the task
);
