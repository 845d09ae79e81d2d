-- Per-minute limits that a fleet shares: the state of each route. `functions/limits.sql` uses it.

-- Every grant writes this table, and the write need not reach the disk. A crash of the server or a failover empties it.
CREATE UNLOGGED TABLE nova3_limits (
  name text PRIMARY KEY,
  requests bigint NOT NULL,                      -- theoretical arrival time of requests
  tokens bigint NOT NULL,                        -- theoretical arrival time of tokens
  largest bigint NOT NULL DEFAULT 0,             -- the largest call of the last minute; 0 before the first
  largest_at bigint NOT NULL DEFAULT 0,
  granted bigint NOT NULL DEFAULT 0,             -- calls granted so far; callers that fell behind come first
  rpm bigint, rpm_until bigint NOT NULL DEFAULT 0,   -- the limit of the provider, when it is below the configured one
  tpm bigint, tpm_until bigint NOT NULL DEFAULT 0,
  pause_until bigint NOT NULL DEFAULT 0,
  pause_ns bigint NOT NULL DEFAULT 0,            -- the length of the pause when it was set
  pause_reason text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

-- The limits that were ever used. A limit that is here but not in nova3_limits was lost, and with it the grants of the
-- last minute.
CREATE TABLE nova3_limits_seen (name text PRIMARY KEY);
