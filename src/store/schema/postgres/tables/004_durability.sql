-- What is acknowledged survives a crash of the server, also where the server, the database or the role has
-- `synchronous_commit = off`. Here and not in the session, because a pooler may stand between.

CREATE FUNCTION nova3_make_durable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Until the end of this transaction.
  PERFORM set_config('synchronous_commit', 'on', true);
  RETURN NULL;
END $$;

-- Every transaction whose effect is promised writes one of these tables.
DO $$
DECLARE
  written text;
BEGIN
  FOREACH written IN ARRAY ARRAY['nova3_runs','nova3_tallies','nova3_queues','nova3_tasks','nova3_outputs','nova3_reservations',
      'nova3_items','nova3_rounds','nova3_cache'] LOOP
    EXECUTE format('CREATE TRIGGER nova3_durable BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT'
      || ' WHEN (current_setting(''synchronous_commit'') = ''off'') EXECUTE FUNCTION nova3_make_durable()', written);
  END LOOP;
END $$;
