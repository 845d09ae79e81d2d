-- Limits a minute that a fleet shares: the state of each route. `functions/limits.sql` serves it.

-- Written with every grant and never worth a write to disk: a crash of the server empties it, and so does a failover.
CREATE UNLOGGED TABLE nova3_limits (
  name text PRIMARY KEY,
  requests bigint NOT NULL,                      -- theoretical arrival time of requests
  tokens bigint NOT NULL,                        -- and of tokens
  largest bigint NOT NULL DEFAULT 0,             -- the largest call of the last minute; 0 before the first
  largest_at bigint NOT NULL DEFAULT 0,
  granted bigint NOT NULL DEFAULT 0,             -- how many calls so far; who is behind in it comes first
  rpm bigint, rpm_until bigint NOT NULL DEFAULT 0,   -- what the provider allows, where that is less than configured
  tpm bigint, tpm_until bigint NOT NULL DEFAULT 0,
  pause_until bigint NOT NULL DEFAULT 0,
  pause_ns bigint NOT NULL DEFAULT 0,            -- how long it was when it was told
  pause_reason text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

-- Which limits have ever been used. One that is here and not in nova3_limits was lost, with all it knew of the last minute.
CREATE TABLE nova3_limits_seen (name text PRIMARY KEY);
