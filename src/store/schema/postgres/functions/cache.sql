-- The cache: an entry is looked up, put, and removed when it is the least recently used.

CREATE OR REPLACE FUNCTION nova3_cache_get(p_key bytea) RETURNS TABLE(body text, age bigint, fresh boolean) LANGUAGE sql VOLATILE AS $$
  UPDATE nova3_cache c SET used = nextval('nova3_cache_uses') FROM (SELECT nova3_now() AS now) n
  WHERE c.cache_key = p_key AND c.stale_until > n.now
  RETURNING c.body, greatest(n.now - c.stored_at, 0), c.fresh_until > n.now
$$;

-- Removes the least recently used entries, at most `p_batch`, except the entry `p_besides`. Returns whether the entries
-- have at most `p_most` bytes now, or cannot become smaller.
CREATE OR REPLACE FUNCTION nova3_cache_make_room(p_besides bytea, p_most bigint, p_batch bigint) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
  left_over bigint;
  freed bigint;
BEGIN
  SELECT s.bytes - p_most INTO left_over FROM nova3_cache_sum s FOR UPDATE;
  IF left_over <= 0 THEN
    RETURN true;
  END IF;
  WITH oldest AS (
    SELECT c.cache_key, c.used, c.bytes FROM nova3_cache c WHERE c.cache_key IS DISTINCT FROM p_besides
    ORDER BY c.used LIMIT p_batch),
  chosen AS (
    SELECT o.cache_key, sum(o.bytes) OVER (ORDER BY o.used) - o.bytes AS before FROM oldest o),
  gone AS (
    DELETE FROM nova3_cache c USING chosen WHERE c.cache_key = chosen.cache_key AND chosen.before < left_over
    RETURNING c.bytes)
  SELECT coalesce(sum(gone.bytes), 0) INTO freed FROM gone;
  UPDATE nova3_cache_sum SET bytes = bytes - freed;
  RETURN freed >= left_over OR freed = 0;
END $$;

-- Puts the entry if there is room for it, and makes some room otherwise. Returns whether it is finished. An entry that
-- is larger than the whole cache is not stored.
CREATE OR REPLACE FUNCTION nova3_cache_put(p_key bytea, p_body text, p_bytes bigint, p_fresh bigint, p_stale bigint, p_most bigint,
  p_batch bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  moment bigint := nova3_now();
  gone bigint;
BEGIN
  PERFORM 1 FROM nova3_cache_sum FOR UPDATE;
  DELETE FROM nova3_cache c WHERE c.cache_key = p_key RETURNING c.bytes INTO gone;
  UPDATE nova3_cache_sum SET bytes = bytes - gone WHERE gone IS NOT NULL;
  IF p_bytes > p_most THEN
    RETURN true;
  END IF;
  IF NOT nova3_cache_make_room(p_key, p_most - p_bytes, p_batch) THEN
    RETURN false;
  END IF;
  INSERT INTO nova3_cache(cache_key, body, bytes, stored_at, fresh_until, stale_until, used)
  VALUES (p_key, p_body, p_bytes, moment, moment + p_fresh, moment + p_stale, nextval('nova3_cache_uses'));
  UPDATE nova3_cache_sum SET bytes = bytes + p_bytes;
  RETURN true;
END $$;

-- Returns whether the owner has the lease of the key now. Leases that crashed owners left behind are deleted, a few at a
-- time.
CREATE OR REPLACE FUNCTION nova3_cache_lease(p_key bytea, p_owner bigint, p_lease_ms bigint) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
  moment bigint := nova3_now();
BEGIN
  DELETE FROM nova3_cache_leases l USING (
    SELECT o.cache_key FROM nova3_cache_leases o WHERE o.lease_until < moment - 60000
    ORDER BY o.lease_until LIMIT 4 FOR UPDATE SKIP LOCKED) o
  WHERE l.cache_key = o.cache_key;
  INSERT INTO nova3_cache_leases AS l (cache_key, owner, lease_until) VALUES (p_key, p_owner, moment + p_lease_ms)
  ON CONFLICT (cache_key) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
  WHERE l.owner = excluded.owner OR l.lease_until <= moment;
  RETURN FOUND;
END $$;
