-- Acknowledged writes survive a crash of the server, even if the server, the database or the role has
-- `synchronous_commit = off`. A trigger sets it, because a setting of the session can be lost in a pooler.

CREATE FUNCTION nova3_make_durable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- The setting holds until the end of this transaction.
  PERFORM set_config('synchronous_commit', 'on', true);
  RETURN NULL;
END $$;

-- Every transaction whose effect is promised to be durable writes one of these tables.
DO $$
DECLARE
  written text;
BEGIN
  FOREACH written IN ARRAY ARRAY['nova3_runs','nova3_tallies','nova3_queues','nova3_tasks','nova3_outputs','nova3_reservations',
      'nova3_items','nova3_rounds','nova3_redos','nova3_cache'] LOOP
    EXECUTE format('CREATE TRIGGER nova3_durable BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT'
      || ' WHEN (current_setting(''synchronous_commit'') = ''off'') EXECUTE FUNCTION nova3_make_durable()', written);
  END LOOP;
END $$;
