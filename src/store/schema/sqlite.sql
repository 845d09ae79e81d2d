-- The store's tables in SQLite. Times are Unix milliseconds, money is picodollars, digests are raw bytes.

-- The file name under which the store is in use. A file with hard links has several names, and its write-ahead log is
-- beside this one.
CREATE TABLE nova3_place(
  one INTEGER PRIMARY KEY CHECK(one=1),
  path BLOB NOT NULL
) STRICT;

CREATE TABLE nova3_runs(
  run_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  input_path TEXT,
  rehearsal INTEGER NOT NULL DEFAULT 0,        -- its answers are a mock server's
  ingest INTEGER NOT NULL DEFAULT 0,           -- the current or last reading
  complete_ingest INTEGER NOT NULL DEFAULT 0,  -- the last complete reading
  input_digest BLOB,
  input_bytes INTEGER,
  input_requests INTEGER,
  lines_epoch INTEGER NOT NULL DEFAULT 0,
  next_seq INTEGER NOT NULL DEFAULT 0,
  next_finish_no INTEGER NOT NULL DEFAULT 0,   -- the last number given; never reused
  next_event_no INTEGER NOT NULL DEFAULT 0,    -- the last number given
  attempts INTEGER NOT NULL DEFAULT 0,         -- sums over nova3_attempts, updated in the same transactions
  failed_attempts INTEGER NOT NULL DEFAULT 0,
  unpriced_attempts INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  cached_input_tokens INTEGER NOT NULL DEFAULT 0,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cost INTEGER NOT NULL DEFAULT 0,
  wasted INTEGER NOT NULL DEFAULT 0,
  uncertain INTEGER NOT NULL DEFAULT 0,        -- what calls may have cost beyond `cost`
  reserved INTEGER NOT NULL DEFAULT 0,         -- the sum of nova3_reservations
  recipe TEXT,                                 -- models and prompts used last
  recipe_no INTEGER,                           -- the same as a number: digest of prompts << 32 | digest of models
  trace_seed BLOB NOT NULL DEFAULT(randomblob(16)),   -- with the number of a queue it gives the id of its trace
  created_at INTEGER NOT NULL,
  last_accessed INTEGER NOT NULL
) STRICT;

-- The record of a run: the newest invocations of commands that work on it or change it.
CREATE TABLE nova3_actions(
  run_id INTEGER NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  action_no INTEGER NOT NULL,                  -- a random number
  command TEXT NOT NULL,
  flags TEXT NOT NULL,                         -- JSON: the flags and variables that were given
  user_name TEXT NOT NULL,
  host TEXT NOT NULL,
  folder TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,                       -- of the program
  began_at INTEGER NOT NULL,
  ended_at INTEGER,                            -- NULL: it has not ended, or its process crashed
  ending TEXT,
  PRIMARY KEY(run_id, began_at, action_no)
) STRICT, WITHOUT ROWID;

-- One row for each (request, content). An edit makes a new row; undoing it finds the old one and its answer.
CREATE TABLE nova3_queues(
  queue_id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  seq INTEGER NOT NULL,                        -- arrival number: the order inside a session
  ingest INTEGER NOT NULL,                     -- the last reading that saw the line
  line_index INTEGER NOT NULL,
  line INTEGER NOT NULL,
  queue_key TEXT NOT NULL,
  content_digest BLOB NOT NULL,
  notes_digest BLOB,                           -- NULL for a bad line
  custom_id TEXT,
  user_id TEXT NOT NULL,
  session_id TEXT,
  state TEXT NOT NULL
    CHECK(state IN('blocked','open','paused','continued','superseded','done','failed')),
  status TEXT CHECK(status IN('completed','partial','failed','paused','continued')),
  priority INTEGER NOT NULL DEFAULT 0,
  fence INTEGER NOT NULL DEFAULT 0,            -- the last fence given to a lease of its tasks; only grows
  ready INTEGER NOT NULL DEFAULT 0,            -- its tasks that are ready and not in quarantine
  quarantine INTEGER NOT NULL DEFAULT 0,       -- the largest `quarantine` of its ready tasks
  leased INTEGER NOT NULL DEFAULT 0,           -- its leased tasks
  submitted INTEGER NOT NULL DEFAULT 0,        -- its submitted tasks
  wake_at INTEGER NOT NULL DEFAULT 0,          -- the earliest `wake_at` of its ready tasks
  sleep_ms INTEGER NOT NULL DEFAULT 0,         -- the longest `sleep_ms` of its ready tasks
  current_task_index INTEGER NOT NULL DEFAULT 0,
  task_count INTEGER,                          -- NULL until planned
  given_tasks INTEGER,                         -- digest of tasks from line or flags; NULL: a model plans them
  other_tasks INTEGER NOT NULL DEFAULT 0,      -- line and flags now give other tasks than it has
  recipe_no INTEGER,                           -- recipe_no of the run at its end; NULL: Batch line, without a prompt
  finish_no INTEGER,
  round INTEGER,                               -- its place in its session's history, once finished
  error TEXT,                                  -- JSON: the first failure of its tasks
  error_class TEXT,
  warnings TEXT,
  created_at INTEGER NOT NULL,
  last_accessed INTEGER NOT NULL,
  completed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX nova3_queues_identity ON nova3_queues(run_id, queue_key, content_digest);
CREATE UNIQUE INDEX nova3_queues_finished ON nova3_queues(run_id, finish_no) WHERE finish_no IS NOT NULL;
CREATE INDEX nova3_queues_ready ON nova3_queues(run_id, ingest, priority, seq) WHERE state='open' AND ready>0;
-- Claimable queues whose first task is planning, so that planned queues before them are not read.
CREATE INDEX nova3_queues_unplanned ON nova3_queues(run_id, ingest, priority, seq)
  WHERE state='open' AND ready>0 AND task_count IS NULL;
-- Queues with tasks in quarantine, in the order in which a group is formed.
CREATE INDEX nova3_queues_quarantine ON nova3_queues(run_id, ingest, quarantine DESC, priority, seq)
  WHERE state='open' AND quarantine>0;
-- Open queues without a lease and without a ready task outside of quarantine: submitted, in quarantine, or damaged.
CREATE INDEX nova3_queues_resting ON nova3_queues(run_id, ingest) WHERE state='open' AND ready=0 AND leased=0;
CREATE INDEX nova3_queues_leased ON nova3_queues(run_id, ingest) WHERE leased>0;
CREATE INDEX nova3_queues_submitted ON nova3_queues(run_id, queue_id) WHERE submitted>0;
CREATE INDEX nova3_queues_blocked ON nova3_queues(run_id, user_id, session_id, seq, ingest) WHERE state='blocked';
-- The index has all columns that counting needs, so that no row is read.
CREATE INDEX nova3_queues_done ON nova3_queues(run_id, ingest, recipe_no, other_tasks) WHERE state='done';
CREATE INDEX nova3_queues_other_tasks ON nova3_queues(run_id, ingest) WHERE other_tasks=1;
CREATE INDEX nova3_queues_continued ON nova3_queues(run_id, ingest) WHERE state='continued';
CREATE INDEX nova3_queues_failed ON nova3_queues(run_id, ingest) WHERE state='failed';
CREATE INDEX nova3_queues_partial ON nova3_queues(run_id, ingest) WHERE status='partial';
CREATE INDEX nova3_queues_paused ON nova3_queues(run_id, ingest) WHERE state='paused';
-- Bad lines that have a `custom_id`.
CREATE INDEX nova3_queues_claims ON nova3_queues(run_id, custom_id) WHERE notes_digest IS NULL AND custom_id IS NOT NULL;
CREATE INDEX nova3_queues_lines ON nova3_queues(run_id, line_index);
-- A session has at most one open queue in a run.
CREATE UNIQUE INDEX -- unless failpoint sessions-without-order
-- if failpoint sessions-without-order: CREATE INDEX
  nova3_queues_one_open ON nova3_queues(run_id, user_id, session_id)
  WHERE session_id IS NOT NULL AND state='open';
CREATE INDEX nova3_queues_rounds ON nova3_queues(user_id, session_id, round) WHERE round IS NOT NULL;

-- The content of a line. It is apart from its queue, whose row is rewritten at every step and must stay small.
CREATE TABLE nova3_requests(
  queue_id INTEGER PRIMARY KEY REFERENCES nova3_queues ON DELETE CASCADE,
  request TEXT NOT NULL,
  metadata TEXT
) STRICT;

-- The queue, of any run, that holds a session: only its tasks may be leased, from its first lease until it ends, pauses
-- or becomes blocked.
CREATE TABLE nova3_session_leases(
  user_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  queue_id INTEGER NOT NULL,
  PRIMARY KEY(user_id, session_id)
) STRICT, WITHOUT ROWID;

-- The unit of work and of lease. `domain/task.rs` defines the numbers, `domain/state.rs` the states.
CREATE TABLE nova3_tasks(
  queue_id INTEGER NOT NULL REFERENCES nova3_queues ON DELETE CASCADE,
  task_index INTEGER NOT NULL,                 -- its number: -1 is planning, planned tasks count from 0, subtasks follow
  task_id TEXT NOT NULL,
  kind TEXT NOT NULL DEFAULT 'call' CHECK(kind IN('plan','call','join','search')),
  action TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  input TEXT NOT NULL,
  subject TEXT,                                -- the id of the item that a part is about
  needs TEXT NOT NULL DEFAULT '[]',            -- JSON: the numbers of the tasks that it needs
  unmet INTEGER NOT NULL DEFAULT 0,            -- how many of these are not settled
  status TEXT NOT NULL DEFAULT 'pending'
    CHECK(status IN('pending','ready','leased','submitted','completed','failed','skipped')),
  wake_at INTEGER NOT NULL DEFAULT 0,          -- not claimed before this time
  sleep_ms INTEGER NOT NULL DEFAULT 0,         -- limits the wait when the clock is set back
  handle TEXT,                                 -- the outside job that works on it
  attempt INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,          -- crashes while it was leased
  working INTEGER NOT NULL DEFAULT 0,          -- its crash mark, kept current after a recorded crash
  quarantine INTEGER NOT NULL DEFAULT 0,       -- the largest group that it may run in; 0: not in quarantine
  lease_group INTEGER NOT NULL DEFAULT 0,      -- the size of the group that it was leased in; 0: an ordinary lease
  lone_crashes INTEGER NOT NULL DEFAULT 0,     -- crashes while it ran alone with its mark set
  crash_owner TEXT,                            -- its owner at the last of these
  panics INTEGER NOT NULL DEFAULT 0,           -- panics of its workers
  fence INTEGER,                               -- of its present or last lease
  lease_owner TEXT,
  lease_until INTEGER,
  version INTEGER NOT NULL DEFAULT 1,          -- a retry and a redo begin a new one
  result TEXT,
  error TEXT,                                  -- JSON: its failure
  making TEXT,                                 -- JSON: route, model, attempts, usage, cost, times
  created_at INTEGER NOT NULL,
  completed_at INTEGER,
  UNIQUE(queue_id, task_index),
  CHECK((status='leased')=(lease_owner IS NOT NULL)),
  CHECK((status='submitted')=(handle IS NOT NULL))
) STRICT;

-- The rows of tasks before a retry or a redo. Events and calls name the version that they belong to, so that no outcome
-- is ever overwritten.
CREATE TABLE nova3_task_versions(
  queue_id INTEGER NOT NULL REFERENCES nova3_queues ON DELETE CASCADE,
  task_index INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status TEXT NOT NULL CHECK(status IN('pending','ready','completed','failed','skipped')),
  result TEXT,
  error TEXT,
  making TEXT,
  completed_at INTEGER,
  shown INTEGER NOT NULL DEFAULT 0,            -- part of the result line until the redo of its queue ends
  -- The other columns of a task that a redo may have to restore; NULL before a retry.
  task_id TEXT,
  kind TEXT,
  action TEXT,
  description TEXT,
  input TEXT,
  subject TEXT,
  needs TEXT,
  unmet INTEGER,
  created_at INTEGER,
  PRIMARY KEY(queue_id, task_index, version)
) STRICT, WITHOUT ROWID;

-- Requests that are being redone, with the columns of their queues that belong to the earlier result. `finish_no` and
-- `completed_at` stay in the queue, and so does its place in the history of its session.
CREATE TABLE nova3_redos(
  queue_id INTEGER PRIMARY KEY REFERENCES nova3_queues ON DELETE CASCADE,
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  status TEXT NOT NULL CHECK(status IN('completed','partial','failed','paused')),
  error TEXT,
  error_class TEXT,
  current_task_index INTEGER NOT NULL,
  recipe_no INTEGER,
  completed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nova3_redos_run ON nova3_redos(run_id);

-- The ledger: the outcome and cost of every call, also of calls whose answer was not used.
CREATE TABLE nova3_attempts(
  attempt_id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  queue_id INTEGER NOT NULL,
  task_index INTEGER NOT NULL,
  version INTEGER NOT NULL,                    -- of the task
  fence INTEGER NOT NULL,
  route TEXT NOT NULL,
  model TEXT NOT NULL,
  lane TEXT NOT NULL,                          -- the service tier that served it; `live` is the usual one
  error_class TEXT,
  used INTEGER NOT NULL,                       -- whether its answer is a task's result
  status_code INTEGER,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost INTEGER,
  uncertain INTEGER NOT NULL DEFAULT 0,        -- what it may have cost on top, because its answer was lost
  started_at INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  first_token_ms INTEGER
) STRICT;
CREATE INDEX nova3_attempts_queue ON nova3_attempts(run_id, queue_id);

CREATE TABLE nova3_sessions(
  user_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  counters TEXT NOT NULL DEFAULT '{}',         -- JSON: the last number given for each type of item
  created_at INTEGER NOT NULL,
  last_accessed INTEGER NOT NULL,
  PRIMARY KEY(user_id, session_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE nova3_items(
  user_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  number INTEGER NOT NULL,
  body TEXT NOT NULL,
  queue_id INTEGER NOT NULL,
  task_index INTEGER NOT NULL,
  version INTEGER NOT NULL,                    -- of the task
  created_at INTEGER NOT NULL,
  UNIQUE(user_id, session_id, kind, number)
) STRICT;

-- The cursors of output files.
CREATE TABLE nova3_outputs(
  run_id INTEGER NOT NULL REFERENCES nova3_runs ON DELETE CASCADE,
  host TEXT NOT NULL,
  path TEXT NOT NULL,
  base INTEGER NOT NULL,
  settled INTEGER NOT NULL,
  announced INTEGER NOT NULL,
  after INTEGER NOT NULL,
  announced_after INTEGER NOT NULL,
  tail BLOB NOT NULL,
  input_order INTEGER NOT NULL,
  append INTEGER NOT NULL,
  since INTEGER,                               -- the first reading whose lines stay in an append-only file
  events INTEGER NOT NULL DEFAULT 0,           -- the file holds events, not results
  epoch INTEGER NOT NULL,
  rewrite_length INTEGER,
  rewrite_tail BLOB,
  rewrite_after INTEGER,
  rewrite_epoch INTEGER,
  stamp INTEGER NOT NULL,                      -- a new random number for each write
  writer INTEGER,                              -- the process that writes it: its pid
  PRIMARY KEY(run_id, host, path)
) STRICT, WITHOUT ROWID;

-- The cache: stored answers of outside services. The key of an entry is the SHA-256 of its name.
CREATE TABLE nova3_cache(
  cache_key BLOB NOT NULL UNIQUE,
  body TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  fresh_until INTEGER NOT NULL,
  stale_until INTEGER NOT NULL,
  used INTEGER NOT NULL                        -- the number of its last use
) STRICT;
CREATE INDEX nova3_cache_used ON nova3_cache(used);

-- The sum over nova3_cache, and the number of the last use.
CREATE TABLE nova3_cache_sum(
  one INTEGER PRIMARY KEY CHECK(one=1),
  bytes INTEGER NOT NULL DEFAULT 0,
  uses INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO nova3_cache_sum(one) VALUES(1);

-- The origin of a queue's tasks, unless its line gave them.
CREATE TABLE nova3_plans(
  queue_id INTEGER PRIMARY KEY REFERENCES nova3_queues ON DELETE CASCADE,
  -- NULL: there is no plan, because planning failed or `--tasks` replaced it
  origin TEXT CHECK(origin IN('model','default','continued')),
  continues INTEGER REFERENCES nova3_queues,   -- the queue whose pending tasks were taken over
  making TEXT NOT NULL,                        -- JSON as for a task; its attempts have task_index -1
  fence INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nova3_plans_continues ON nova3_plans(continues) WHERE continues IS NOT NULL;

-- One row for each settlement. Rows are only added, so that a file made from them stays true.
CREATE TABLE nova3_events(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  event_no INTEGER NOT NULL,
  queue_id INTEGER NOT NULL,
  task_index INTEGER,                          -- NULL: the plan, or the line itself
  version INTEGER,                             -- of the task
  planned INTEGER NOT NULL,                    -- whether the queue's tasks became known with it
  body TEXT,                                   -- JSON: the failure, or the steps of a plan
  status TEXT,                                 -- the status of the request, if the event ended it
  created_at INTEGER NOT NULL,
  PRIMARY KEY(run_id, event_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX nova3_events_queue ON nova3_events(queue_id, event_no);

-- The reservations under a cost cap: the cost of a lease's calls that is not in the ledger yet, and the worst cost of
-- the call in flight. A row that outlives its lease belongs to an outside job, or to a process that crashed.
CREATE TABLE nova3_reservations(
  queue_id INTEGER NOT NULL REFERENCES nova3_queues ON DELETE CASCADE,
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  fence INTEGER NOT NULL,
  task_index INTEGER NOT NULL,
  route TEXT NOT NULL,
  model TEXT NOT NULL,
  spent INTEGER NOT NULL,
  in_flight INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  lane TEXT NOT NULL,                          -- the service tier that the call asks for
  PRIMARY KEY(queue_id, fence)
) STRICT, WITHOUT ROWID;

-- Calls without a result, by route and cause. These are sums over nova3_attempts, updated in the same transactions.
CREATE TABLE nova3_waste(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  route TEXT NOT NULL,
  cause TEXT NOT NULL,                         -- an error class, `abandoned` or `repeated`
  calls INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  uncertain INTEGER NOT NULL,
  PRIMARY KEY(run_id, route, cause)
) STRICT, WITHOUT ROWID;

-- The state of per-minute limits and pauses that the next process takes over. Times are Unix nanoseconds.
CREATE TABLE nova3_limits(
  route TEXT PRIMARY KEY,
  server TEXT NOT NULL,                        -- host and port of the server
  requests_at INTEGER,                         -- theoretical arrival time; it runs ahead of the grants
  tokens_at INTEGER,
  largest INTEGER NOT NULL,                    -- the largest recent call, in tokens
  pause_until INTEGER,
  pause_ns INTEGER,                            -- the length of the pause when it was set
  pause_reason TEXT,
  CHECK((pause_until IS NULL)=(pause_ns IS NULL) AND (pause_until IS NULL)=(pause_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- The states of the routes at the last change that a worker reported.
CREATE TABLE nova3_routes(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  route TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN('closed','open','half_open','paused','latched')),
  reason TEXT,
  since INTEGER NOT NULL,
  open_ms INTEGER NOT NULL DEFAULT 0,          -- the total milliseconds that its breaker was open
  PRIMARY KEY(run_id, route)
) STRICT, WITHOUT ROWID;
