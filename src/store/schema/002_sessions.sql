-- Planning as a step of its own, rounds of a session, and the log of events.

ALTER TABLE nova3_tasks ADD COLUMN description TEXT NOT NULL DEFAULT '';

-- Where a queue's tasks came from, unless its line gave them.
CREATE TABLE nova3_plans(
  queue_id INTEGER PRIMARY KEY REFERENCES nova3_queues ON DELETE CASCADE,
  origin TEXT CHECK(origin IN('model','default','continued')),  -- NULL: planning failed
  continues INTEGER REFERENCES nova3_queues,   -- the queue whose pending tasks were taken over
  making TEXT NOT NULL,                        -- JSON as of a task; its attempts have task_index -1
  fence INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nova3_plans_continues ON nova3_plans(continues) WHERE continues IS NOT NULL;

-- The place of a finished queue in its session's history; a failed one has none.
ALTER TABLE nova3_queues ADD COLUMN round INTEGER;
CREATE INDEX nova3_queues_rounds ON nova3_queues(user_id, session_id, round) WHERE round IS NOT NULL;

-- One row for each thing that was settled; only ever added to, so that a file made from it stays true.
CREATE TABLE nova3_events(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  event_no INTEGER NOT NULL,
  queue_id INTEGER NOT NULL,
  task_index INTEGER,                          -- NULL: the plan, or the line itself
  planned INTEGER NOT NULL,                    -- whether the queue's tasks became known with it
  body TEXT,                                   -- JSON: the failure, or the steps of a plan
  status TEXT,                                 -- how the request ended with it, if it did
  created_at INTEGER NOT NULL,
  PRIMARY KEY(run_id, event_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX nova3_events_queue ON nova3_events(queue_id, event_no);

ALTER TABLE nova3_runs ADD COLUMN next_event_no INTEGER NOT NULL DEFAULT 0;  -- the last one given
ALTER TABLE nova3_runs ADD COLUMN recipe TEXT;                               -- models and prompts used last
ALTER TABLE nova3_outputs ADD COLUMN events INTEGER NOT NULL DEFAULT 0;      -- the file holds events, not results
