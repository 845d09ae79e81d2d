-- Per-minute limits that a fleet shares: requests and tokens of each route. src/domain/bucket.rs explains the
-- arithmetic.
--
-- Times are nanoseconds since 1970 by this server's clock. The clocks of the hosts are not used.

CREATE OR REPLACE FUNCTION nova3_limit_now() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 $$;

-- The charge of an amount in time, when p_units are charged a whole window. It is at most one window.
CREATE OR REPLACE FUNCTION nova3_limit_charge(p_amount bigint, p_units bigint, p_window bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS
  $$ SELECT least(p_window::numeric, div(p_amount::numeric * p_window + p_units - 1, p_units))::bigint $$;

-- Makes the row of a limit. A new limit starts empty: it grants once its tolerance has filled. A limit whose row was
-- lost starts a whole window later, because its grants of the last minute are unknown.
CREATE OR REPLACE FUNCTION nova3_limit_begin(p_name text, p_now bigint, p_tolerance bigint, p_window bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  arrival bigint;
BEGIN
  INSERT INTO nova3_limits_seen VALUES (p_name) ON CONFLICT DO NOTHING;
  arrival := p_now + CASE WHEN found THEN 2 * p_tolerance ELSE p_window END;
  INSERT INTO nova3_limits (name, requests, tokens) VALUES (p_name, arrival, arrival) ON CONFLICT DO NOTHING;
END $$;

-- Corrects the arrival times, then grants as many of the calls as fit, in their order. Returns how many, and how long
-- the next one has to wait. It writes nothing if it changes nothing. The caller's commit does not wait for the disk:
-- except for a new limit, only an unlogged table is written.
--
-- Waiting callers of several processes take turns: the caller that was granted last has half the tolerance, and a
-- caller without grants for long has all of it. So neither a short way to the server nor many callers win every time.
CREATE OR REPLACE FUNCTION nova3_take(
  p_name text,
  p_calls bigint[],              -- tokens of each call
  p_rpm bigint, p_tpm bigint,    -- the caller's limits; NULL is none
  p_since bigint,                -- what `granted` was after the caller's last grant, if it had any
  p_requests bigint, p_tokens bigint,   -- correction of the arrival times for unused grants
  p_tolerance bigint, p_window bigint,
  p_kept bigint,                 -- how long a lower limit from the provider is kept
  p_at bigint DEFAULT NULL,      -- the present moment, for tests of the arithmetic; the server's clock otherwise
  OUT taken int, OUT wait bigint, OUT since bigint,
  OUT request_units bigint, OUT token_units bigint,  -- the amount that is charged a whole window
  OUT paused bigint, OUT reason text
) LANGUAGE plpgsql AS $$
DECLARE
  l nova3_limits%ROWTYPE;
  at bigint;
  tolerance bigint;
  largest bigint;
  call bigint;
  changed boolean;
BEGIN
  -- The first pass takes no lock. A caller that has to wait needs no second pass.
  FOR locked IN 0..1 LOOP
    LOOP
      IF locked = 0 THEN
        SELECT * INTO l FROM nova3_limits t WHERE t.name = p_name;
      ELSE
        SELECT * INTO l FROM nova3_limits t WHERE t.name = p_name FOR UPDATE;
      END IF;
      at := coalesce(p_at, nova3_limit_now());
      EXIT WHEN found;
      PERFORM nova3_limit_begin(p_name, at, p_tolerance, p_window);
    END LOOP;

    taken := 0;
    wait := 0;
    since := l.granted;
    tolerance := p_tolerance;
    IF p_since IS NOT NULL THEN
      tolerance := tolerance - p_tolerance / 2 / (1 + greatest(l.granted - p_since, 0));
    END IF;

    -- After the server's clock was set back, no pause or limit lasts longer than its original length. Arrival times
    -- slightly above a window stay as they are, so that a call which grants nothing writes nothing.
    changed := greatest(l.requests, l.tokens) > at + 2 * p_window OR l.pause_until > at + l.pause_ns
      OR greatest(l.rpm_until, l.tpm_until) > at + p_kept OR l.largest_at > at;
    IF changed THEN
      l.pause_until := least(l.pause_until, at + l.pause_ns);
      l.rpm_until := least(l.rpm_until, at + p_kept);
      l.tpm_until := least(l.tpm_until, at + p_kept);
      l.largest_at := least(l.largest_at, at);
    END IF;
    changed := changed OR p_requests <> 0 OR p_tokens <> 0;
    IF changed THEN
      l.requests := least(l.requests + p_requests, at + p_window);
      l.tokens := least(l.tokens + p_tokens, at + p_window);
    END IF;
    -- A limit learned from the provider charges more for each unit. It refuses no call and has no headroom.
    request_units := CASE WHEN l.rpm_until > at THEN least(p_rpm, l.rpm) ELSE p_rpm END;
    l.largest := least(CASE WHEN l.largest > 1 AND l.largest_at < at - p_window THEN 1 ELSE l.largest END, p_tpm);
    IF p_tpm IS NOT NULL THEN
      largest := l.largest;
      FOREACH call IN ARRAY p_calls LOOP
        EXIT WHEN call > p_tpm;
        largest := greatest(largest, call);
      END LOOP;
      IF largest > l.largest THEN
        changed := true;
        IF l.largest > 0 THEN
          l.tokens := least(l.tokens + nova3_limit_charge(largest - l.largest, p_tpm - l.largest + 1, p_window), at + p_window);
        END IF;
        l.largest := largest;
        l.largest_at := at;
      END IF;
      token_units := p_tpm - greatest(l.largest, 1) + 1;
      IF l.tpm_until > at THEN
        token_units := least(token_units, l.tpm);
      END IF;
    END IF;

    paused := greatest(l.pause_until - at, 0);
    reason := l.pause_reason;
    FOREACH call IN ARRAY p_calls LOOP
      wait := greatest(paused, CASE WHEN p_rpm IS NOT NULL THEN l.requests - tolerance - at END,
        CASE WHEN p_tpm IS NOT NULL THEN l.tokens - tolerance - at END);
      EXIT WHEN wait > 0 OR call > p_tpm;
      taken := taken + 1;
      IF p_rpm IS NOT NULL THEN
        l.requests := greatest(l.requests, at) + nova3_limit_charge(1, request_units, p_window);
      END IF;
      IF p_tpm IS NOT NULL THEN
        l.tokens := greatest(l.tokens, at) + nova3_limit_charge(call, token_units, p_window);
        IF call >= l.largest THEN
          l.largest_at := at;
        END IF;
      END IF;
    END LOOP;
    IF p_rpm IS NOT NULL OR p_tpm IS NOT NULL THEN
      changed := changed OR taken > 0;
      since := since + taken;
    END IF;
    EXIT WHEN NOT changed;
    IF locked = 1 THEN
      UPDATE nova3_limits t SET requests = l.requests, tokens = l.tokens, largest = l.largest,
        largest_at = l.largest_at, granted = since,
        rpm_until = l.rpm_until, tpm_until = l.tpm_until, pause_until = l.pause_until
      WHERE t.name = p_name;
    END IF;
  END LOOP;
END $$;

-- Stores what one caller learned from the provider for all callers: a pause, and lower limits. A shorter pause never
-- ends a longer one, and a higher limit never replaces a lower one that is in force. A limit that is not reported again
-- expires.
CREATE OR REPLACE FUNCTION nova3_limit_tell(
  p_name text, p_pause bigint, p_reason text, p_rpm bigint, p_tpm bigint, p_kept bigint,
  p_tolerance bigint, p_window bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  at bigint;
BEGIN
  LOOP
    at := nova3_limit_now();
    UPDATE nova3_limits t SET
      pause_reason = CASE WHEN at + p_pause > t.pause_until THEN p_reason ELSE t.pause_reason END,
      pause_ns = CASE WHEN at + p_pause > t.pause_until THEN p_pause ELSE t.pause_ns END,
      pause_until = greatest(t.pause_until, at + p_pause),
      rpm = CASE WHEN p_rpm IS NOT NULL AND (t.rpm_until < at OR p_rpm <= t.rpm) THEN p_rpm ELSE t.rpm END,
      rpm_until = CASE WHEN p_rpm IS NOT NULL AND (t.rpm_until < at OR p_rpm <= t.rpm) THEN at + p_kept ELSE t.rpm_until END,
      tpm = CASE WHEN p_tpm IS NOT NULL AND (t.tpm_until < at OR p_tpm <= t.tpm) THEN p_tpm ELSE t.tpm END,
      tpm_until = CASE WHEN p_tpm IS NOT NULL AND (t.tpm_until < at OR p_tpm <= t.tpm) THEN at + p_kept ELSE t.tpm_until END
    WHERE t.name = p_name;
    EXIT WHEN found;
    PERFORM nova3_limit_begin(p_name, at, p_tolerance, p_window);
  END LOOP;
END $$;
