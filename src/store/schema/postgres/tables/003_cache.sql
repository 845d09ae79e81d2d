-- The cache: stored answers of outside services. The key of an entry is the SHA-256 of its name. Sizes are bytes.

CREATE TABLE nova3_cache(
  cache_key bytea PRIMARY KEY,
  body text NOT NULL,
  bytes bigint NOT NULL,
  stored_at bigint NOT NULL,
  fresh_until bigint NOT NULL,
  stale_until bigint NOT NULL,
  used bigint NOT NULL                           -- the number of its last use
);
CREATE INDEX nova3_cache_used ON nova3_cache(used);
CREATE SEQUENCE nova3_cache_uses;

-- The sum over nova3_cache. A transaction that adds or removes entries locks its row first.
CREATE TABLE nova3_cache_sum(
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  bytes bigint NOT NULL
);
INSERT INTO nova3_cache_sum(bytes) VALUES (0);

-- The leases of cache keys: one process asks for the answer, the others wait for it.
CREATE TABLE nova3_cache_leases(
  cache_key bytea PRIMARY KEY,
  owner bigint NOT NULL,
  lease_until bigint NOT NULL
);
CREATE INDEX nova3_cache_leases_ended ON nova3_cache_leases(lease_until);
