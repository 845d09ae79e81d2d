-- What went wrong: queues under suspicion, calls that may have been paid, what a cost cap holds back, dead routes.

-- A queue in flight at several unclean ends is leased alone; two of its deaths alone, under different owners, convict it.
ALTER TABLE nova3_queues ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;         -- whether its lease is the only one
ALTER TABLE nova3_queues ADD COLUMN alone_deaths INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nova3_queues ADD COLUMN death_owner TEXT;                         -- who held it at the last of them

-- What a call may have cost beyond `cost`: its answer was lost on the way, and with it the count of its tokens.
ALTER TABLE nova3_attempts ADD COLUMN uncertain INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nova3_runs ADD COLUMN uncertain INTEGER NOT NULL DEFAULT 0;

-- Under a cost cap: what the calls of a lease have spent that is not in the ledger yet, and what the one on its way
-- may cost at most. A row that outlives its lease belongs to a process that died.
ALTER TABLE nova3_runs ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;        -- the sum of the rows
CREATE TABLE nova3_reservations(
  queue_id INTEGER PRIMARY KEY REFERENCES nova3_queues ON DELETE CASCADE,
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  fence INTEGER NOT NULL,
  task_index INTEGER NOT NULL,
  route TEXT NOT NULL,
  model TEXT NOT NULL,
  spent INTEGER NOT NULL,
  in_flight INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- Calls that gave nothing, by route and cause; sums over nova3_attempts, kept in the same transactions.
CREATE TABLE nova3_waste(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  route TEXT NOT NULL,
  cause TEXT NOT NULL,                         -- a class of errors, `abandoned` or `repeated`
  calls INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  uncertain INTEGER NOT NULL,
  PRIMARY KEY(run_id, route, cause)
) STRICT, WITHOUT ROWID;

-- How the routes stood when a change was last noticed.
CREATE TABLE nova3_routes(
  run_id INTEGER NOT NULL REFERENCES nova3_runs,
  route TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN('closed','open','half_open','paused','latched')),
  reason TEXT,
  since INTEGER NOT NULL,
  open_ms INTEGER NOT NULL DEFAULT 0,          -- how long its breaker has been open in all
  PRIMARY KEY(run_id, route)
) STRICT, WITHOUT ROWID;
