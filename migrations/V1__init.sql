-- The store of Game Master: records, the operation log, the outbox, engine versions.
--
-- docs/schema.md says why each table, constraint and index is as it is. Every text that is compared
-- or sorted has COLLATE "C": keys are bytes, in the order of bytes, whatever the database's locale.
-- Nothing here needs a superuser, an extension, or any right besides that to create a schema.

CREATE SCHEMA IF NOT EXISTS gamemaster;

-- ---------------------------------------------------------------------------- engine_versions

CREATE TABLE gamemaster.engine_versions (
    version    text COLLATE "C" PRIMARY KEY,
    -- The version's place in semver order: texts in the order of bytes (service::postgres::semver).
    sort_key   text COLLATE "C" NOT NULL UNIQUE,
    image_ref  text COLLATE "C" NOT NULL,
    options    jsonb NOT NULL CHECK (jsonb_typeof(options) = 'object'),
    status     text COLLATE "C" NOT NULL CHECK (status IN ('active', 'deprecated')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CHECK (updated_at >= created_at)
);
COMMENT ON TABLE gamemaster.engine_versions IS
    'The registry of engine versions. A row that a record names cannot be deleted.';

-- ---------------------------------------------------------------------------- runtime_records

CREATE TABLE gamemaster.runtime_records (
    game_id                text COLLATE "C" PRIMARY KEY
                           CHECK (game_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$'),
    status                 text COLLATE "C" NOT NULL CHECK (status IN (
                               'starting', 'running', 'generation_in_progress',
                               'generation_failed', 'stopped', 'engine_unreachable', 'finished')),
    revision               bigint NOT NULL CHECK (revision >= 1),
    incarnation            uuid NOT NULL,
    attempt                bigint NOT NULL CHECK (attempt >= 0),

    work_kind              text COLLATE "C" CHECK (work_kind IN (
                               'init', 'init_verify', 'turn', 'probe_then_turn',
                               'probe_after_fence', 'probe')),
    work_trigger           text COLLATE "C" CHECK (work_trigger IN ('tick', 'force')),
    work_due_at            timestamptz,
    work_attempt           bigint,
    work_operation         uuid,
    work_owner             text COLLATE "C",
    work_expires_at        timestamptz,

    pending_operation      uuid,
    pending_stop_reason    text COLLATE "C",
    pending_patch_version  text COLLATE "C" REFERENCES gamemaster.engine_versions,
    pending_patch_image_ref text COLLATE "C",
    pending_patch_turn_guard boolean,
    pending_drain_until    timestamptz,
    pending_attempt        bigint,
    pending_owner          text COLLATE "C",
    pending_expires_at     timestamptz,

    engine_endpoint        text COLLATE "C" NOT NULL,
    engine_version         text COLLATE "C" NOT NULL REFERENCES gamemaster.engine_versions,
    engine_image_ref       text COLLATE "C" NOT NULL,
    engine_container_id    text COLLATE "C",
    engine_turn_guard      boolean NOT NULL,

    schedule               text COLLATE "C" NOT NULL,
    next_generation_at     timestamptz,
    skipped_tick_at        timestamptz,
    current_turn           bigint NOT NULL CHECK (current_turn BETWEEN 0 AND 4294967295),

    health_summary         text COLLATE "C" NOT NULL,
    health_cursor          text COLLATE "C" CHECK (health_cursor ~ '^[0-9]{1,20}-[0-9]{1,20}$'),
    health_published       text COLLATE "C",
    health_publish_at      timestamptz,
    tries                  bigint NOT NULL CHECK (tries BETWEEN 0 AND 4294967295),
    retry_at               timestamptz,
    player_turn_stats      jsonb NOT NULL CHECK (jsonb_typeof(player_turn_stats) = 'array'),
    last_failure           jsonb CHECK (jsonb_typeof(last_failure) = 'object'),
    failure_announced_for  bigint CHECK (failure_announced_for BETWEEN 0 AND 4294967295),

    created_at             timestamptz NOT NULL,
    started_at             timestamptz,
    updated_at             timestamptz NOT NULL,
    stopped_at             timestamptz,
    finished_at            timestamptz,

    -- The first timer of the record, as the rules computed it: the one column that `due` looks at.
    next_timer_at          timestamptz,
    -- Whether player_mappings must be written again, without reading them.
    roster_digest          text COLLATE "C" NOT NULL,

    CONSTRAINT health_is_known CHECK (
        health_summary IN ('unknown', 'healthy', 'probe_failed', 'inspect_unhealthy', 'exited',
                           'oom', 'disappeared')
        AND health_published IN ('unknown', 'healthy', 'probe_failed', 'inspect_unhealthy',
                                 'exited', 'oom', 'disappeared')),
    CONSTRAINT work_is_whole CHECK (
        num_nulls(work_kind, work_attempt, work_operation, work_owner, work_expires_at)
            IN (0, 5)),
    CONSTRAINT work_goes_with_the_status CHECK (CASE status
        WHEN 'starting' THEN coalesce(work_kind, '') IN ('init', 'init_verify')
        WHEN 'generation_in_progress' THEN
            coalesce(work_kind, '') IN ('turn', 'probe_then_turn', 'probe_after_fence')
        WHEN 'generation_failed' THEN coalesce(work_kind, 'probe') = 'probe'
        WHEN 'engine_unreachable' THEN coalesce(work_kind, 'probe') = 'probe'
        ELSE work_kind IS NULL END),
    CONSTRAINT a_turn_has_a_trigger CHECK (
        (work_trigger IS NOT NULL) = (status = 'generation_in_progress')
        AND (work_due_at IS NOT NULL) = (coalesce(work_trigger, '') = 'tick')),
    CONSTRAINT attempts_were_drawn CHECK (
        coalesce(work_attempt BETWEEN 1 AND attempt, true)
        AND coalesce(pending_attempt BETWEEN 1 AND attempt, true)
        AND coalesce(work_attempt <> pending_attempt, true)),
    CONSTRAINT pending_is_a_stop_or_a_patch CHECK (
        CASE WHEN pending_operation IS NULL
        THEN num_nonnulls(pending_stop_reason, pending_patch_version, pending_patch_image_ref,
                          pending_patch_turn_guard) = 0
        ELSE num_nulls(pending_patch_version, pending_patch_image_ref, pending_patch_turn_guard)
             = CASE WHEN pending_stop_reason IS NULL THEN 0 ELSE 3 END
        END),
    CONSTRAINT pending_is_draining_or_asked CHECK (
        CASE WHEN pending_operation IS NULL
        THEN num_nonnulls(pending_drain_until, pending_attempt, pending_owner,
                          pending_expires_at) = 0
        ELSE num_nulls(pending_attempt, pending_owner, pending_expires_at)
             = CASE WHEN pending_drain_until IS NULL THEN 0 ELSE 3 END
        END),
    CONSTRAINT a_stop_drains_a_turn CHECK (
        pending_drain_until IS NULL
        OR (pending_stop_reason IS NOT NULL AND status = 'generation_in_progress')),
    CONSTRAINT the_clock_goes_with_the_status CHECK (
        (next_generation_at IS NOT NULL) = (status IN (
            'running', 'generation_in_progress', 'generation_failed', 'engine_unreachable'))
        AND (skipped_tick_at IS NULL OR next_generation_at IS NOT NULL)),
    CONSTRAINT only_the_unwell_are_asked_again CHECK (
        retry_at IS NULL OR status IN ('generation_failed', 'engine_unreachable')),
    CONSTRAINT final_is_final CHECK (
        (stopped_at IS NOT NULL) = (status = 'stopped')
        AND (finished_at IS NOT NULL) = (status = 'finished')
        AND (status NOT IN ('stopped', 'finished')
             OR num_nonnulls(work_kind, pending_operation, next_generation_at, next_timer_at) = 0)),
    CONSTRAINT a_game_that_runs_was_started CHECK (CASE status
        WHEN 'starting' THEN started_at IS NULL
        WHEN 'stopped' THEN true
        ELSE started_at IS NOT NULL END),
    CONSTRAINT something_wakes_it CHECK (
        next_timer_at IS NOT NULL OR status IN ('stopped', 'finished', 'generation_failed'))
) WITH (
    -- A record is written several times a turn: room for new versions beside the old, and a vacuum
    -- before the index of what is due fills with dead entries.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.02
);
COMMENT ON TABLE gamemaster.runtime_records IS
    'One row for each game that runs: machine::flat::FlatRuntime, column by column.';
COMMENT ON COLUMN gamemaster.runtime_records.revision IS
    'Grows by one with every commit; with incarnation and status, what a commit compares.';

CREATE INDEX runtime_records_due ON gamemaster.runtime_records (next_timer_at, game_id)
    WHERE next_timer_at IS NOT NULL;
CREATE INDEX runtime_records_by_status ON gamemaster.runtime_records (status, game_id);
CREATE INDEX runtime_records_work_lease ON gamemaster.runtime_records (work_owner, game_id)
    WHERE work_owner IS NOT NULL;
CREATE INDEX runtime_records_pending_lease ON gamemaster.runtime_records (pending_owner, game_id)
    WHERE pending_owner IS NOT NULL;
CREATE INDEX runtime_records_version ON gamemaster.runtime_records (engine_version);
CREATE INDEX runtime_records_patch ON gamemaster.runtime_records (pending_patch_version)
    WHERE pending_patch_version IS NOT NULL;

-- ---------------------------------------------------------------------------- player_mappings

CREATE TABLE gamemaster.player_mappings (
    game_id          text COLLATE "C" NOT NULL
                     REFERENCES gamemaster.runtime_records ON DELETE CASCADE,
    user_id          text COLLATE "C" NOT NULL,
    -- The place in the roster as it was registered.
    place            integer NOT NULL CHECK (place >= 0),
    race_name        text COLLATE "C" NOT NULL,
    engine_player_id text COLLATE "C",
    PRIMARY KEY (game_id, user_id),
    CONSTRAINT race_is_played_once UNIQUE (game_id, race_name)
);
COMMENT ON TABLE gamemaster.player_mappings IS
    'Who plays which race in which game, and the engine''s own name of each: the roster.';

-- What is read as a record: the columns and the roster, in one document.
CREATE VIEW gamemaster.records AS
SELECT r.*,
       (SELECT json_agg(json_build_object('user_id', m.user_id, 'race_name', m.race_name,
                                          'engine_player_id', m.engine_player_id)
                        ORDER BY m.place)
          FROM gamemaster.player_mappings m WHERE m.game_id = r.game_id) AS roster
  FROM gamemaster.runtime_records r;

-- ---------------------------------------------------------------------------- operation_log

CREATE TABLE gamemaster.operation_log (
    operation     uuid PRIMARY KEY,
    game_id       text COLLATE "C" NOT NULL,
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    kind          text COLLATE "C" NOT NULL,
    turn          bigint CHECK (turn BETWEEN 0 AND 4294967295),
    tick          timestamptz,
    status        text COLLATE "C",
    race          text COLLATE "C",
    source        text COLLATE "C" NOT NULL
                  CHECK (source IN ('gateway', 'lobby', 'admin', 'game_master')),
    request_id    text COLLATE "C",
    outcome       text COLLATE "C" CHECK (outcome IN ('succeeded', 'failed', 'superseded')),
    error_code    text COLLATE "C",
    error_message text COLLATE "C",
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    CONSTRAINT closed_says_when CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CONSTRAINT failed_says_why CHECK (
        num_nonnulls(error_code, error_message)
            = CASE WHEN outcome = 'failed' THEN 2 ELSE 0 END)
);
COMMENT ON TABLE gamemaster.operation_log IS
    'The audit: every operation, opened once and closed once. Outlives the record of its game.';

CREATE INDEX operation_log_by_game ON gamemaster.operation_log (game_id, seq);
CREATE INDEX operation_log_open ON gamemaster.operation_log (kind, started_at, seq)
    WHERE outcome IS NULL;
CREATE INDEX operation_log_closed ON gamemaster.operation_log (finished_at)
    WHERE outcome IS NOT NULL;

-- ---------------------------------------------------------------------------- outbox

CREATE TABLE gamemaster.outbox_channels (
    channel    text COLLATE "C" PRIMARY KEY,
    -- The highest stream id ever assigned: milliseconds and sequence, 64 bits each.
    highest_ms  numeric(20) NOT NULL DEFAULT 0,
    highest_seq numeric(20) NOT NULL DEFAULT 0
);
COMMENT ON TABLE gamemaster.outbox_channels IS
    'The streams written to. Whoever assigns ids holds the row of the channel.';
INSERT INTO gamemaster.outbox_channels (channel)
VALUES ('gm:lobby_events'), ('notification:intents');

-- Drawn while the rows of all channels are held, and so in the order of publication.
CREATE SEQUENCE gamemaster.outbox_places;

CREATE TABLE gamemaster.outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The order of publication, over all channels: drawn before a stream id is first assigned. `id`
    -- cannot serve, since a transaction with a low one may commit after one with a high one that is
    -- published already.
    place        bigint UNIQUE,
    -- No foreign key: every commit would lock the one row of the channel, and wait for the relay.
    channel      text COLLATE "C" NOT NULL
                 CHECK (channel IN ('gm:lobby_events', 'notification:intents')),
    game_id      text COLLATE "C" NOT NULL,
    payload      text NOT NULL,
    committed_at timestamptz NOT NULL,
    stream_ms    numeric(20) CHECK (stream_ms BETWEEN 0 AND 18446744073709551615),
    stream_seq   numeric(20) CHECK (stream_seq BETWEEN 0 AND 18446744073709551615),
    published_at timestamptz,
    CONSTRAINT a_stream_id_is_whole CHECK ((stream_ms IS NULL) = (stream_seq IS NULL)),
    CONSTRAINT what_was_assigned_has_a_place CHECK (place IS NOT NULL OR stream_ms IS NULL),
    CONSTRAINT what_was_published_has_an_id CHECK (stream_ms IS NOT NULL OR published_at IS NULL)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
COMMENT ON TABLE gamemaster.outbox IS
    'Messages on their way to a stream; kept for a while after they were published.';

CREATE INDEX outbox_waiting ON gamemaster.outbox (channel, place, id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON gamemaster.outbox (channel, stream_ms, stream_seq)
    WHERE published_at IS NOT NULL;
CREATE INDEX outbox_published_by_age ON gamemaster.outbox (published_at)
    WHERE published_at IS NOT NULL;

-- ---------------------------------------------------------------------------- attendance, roles

CREATE TABLE gamemaster.attendance (
    instance    text COLLATE "C" PRIMARY KEY,
    -- Which life of the process: drawn at its start.
    boot        uuid NOT NULL,
    -- The lives that are over, the latest first.
    former      uuid[] NOT NULL DEFAULT '{}',
    is_draining boolean NOT NULL,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE gamemaster.attendance IS
    'The Game Masters on this database: each renews its row, by the clock of the database.';

CREATE TABLE gamemaster.roles (
    role       text COLLATE "C" PRIMARY KEY,
    -- Grows with each change of the leader.
    term       bigint NOT NULL DEFAULT 0,
    instance   text COLLATE "C",
    boot       uuid,
    expires_at timestamptz,
    CONSTRAINT a_leader_is_whole CHECK (num_nulls(instance, boot, expires_at) IN (0, 3))
) WITH (fillfactor = 50);
COMMENT ON TABLE gamemaster.roles IS 'What one process at a time does for all, and who does.';
INSERT INTO gamemaster.roles (role) VALUES ('outbox_relay'), ('health_consumer');

-- ---------------------------------------------------------------------------- commit_ids, claims

CREATE TABLE gamemaster.commit_ids (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE gamemaster.commit_ids IS
    'The names of commits that happened, so that a repeat is recognised; kept for a day.';
CREATE INDEX commit_ids_by_age ON gamemaster.commit_ids (at);

CREATE TABLE gamemaster.claims (
    caller      text COLLATE "C" NOT NULL
                CHECK (caller IN ('gateway', 'lobby', 'admin', 'game_master')),
    key         text COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 128),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    operation   uuid,
    -- The record, or the version, as the request left it: snapshots, never changed afterwards.
    record      jsonb,
    version     jsonb,
    at          timestamptz NOT NULL,
    PRIMARY KEY (caller, key),
    CONSTRAINT answers_one_thing CHECK (
        CASE WHEN operation IS NULL THEN record IS NULL ELSE version IS NULL END)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE gamemaster.claims IS
    'What callers call their requests, and what each led to; kept for a day.';
CREATE UNIQUE INDEX claims_by_operation ON gamemaster.claims (operation)
    WHERE operation IS NOT NULL;
CREATE INDEX claims_by_age ON gamemaster.claims (at);

-- ---------------------------------------------------------------------------- functions
--
-- The rules are in the crate `machine`, and were checked before a function is called. These compare,
-- store, and keep the log consistent; each call is one statement, and so one transaction.
--
-- Error codes of our own: GM001, the commit is refused for good.

-- Takes a name for a request; false where somebody has it. One that is older than a day is free.
CREATE FUNCTION gamemaster.take_claim(
    claim jsonb, p_operation uuid, p_version jsonb, p_at timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gamemaster.claims AS c (caller, key, fingerprint, operation, version, at)
    VALUES (claim->>'caller', claim->>'key', decode(claim->>'fingerprint', 'hex'),
            p_operation, p_version, p_at)
    ON CONFLICT (caller, key) DO UPDATE
       SET fingerprint = excluded.fingerprint, operation = excluded.operation, record = NULL,
           version = excluded.version, at = excluded.at
     WHERE c.at < excluded.at - interval '24 hours';
    RETURN FOUND;
END $$;

-- Whether a name is taken, without waiting for anybody who is about to take it.
CREATE FUNCTION gamemaster.is_claimed(claim jsonb, p_at timestamptz)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM gamemaster.claims c
                    WHERE c.caller = claim->>'caller' AND c.key = claim->>'key'
                      AND c.at >= p_at - interval '24 hours')
$$;

-- Gives the name of a request to the operation that its commit opens.
CREATE FUNCTION gamemaster.settle_claim(m jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    opened uuid;
BEGIN
    SELECT (e->>'operation')::uuid INTO opened
      FROM jsonb_array_elements(m->'audit') WITH ORDINALITY AS a (e, n)
     WHERE e->>'mark' = 'opened' ORDER BY n LIMIT 1;
    IF opened IS NULL THEN
        RAISE EXCEPTION 'a claim for no operation' USING ERRCODE = 'GM001';
    END IF;
    IF NOT gamemaster.take_claim(m->'claim', opened, NULL, (m->>'at')::timestamptz) THEN
        -- It was free a moment ago: somebody else's commit came in between. Done again, this
        -- one finds it taken.
        RAISE EXCEPTION 'the claim was taken meanwhile' USING ERRCODE = '40001';
    END IF;
END $$;

-- Writes records that are there, all in one statement: to set up the table's constraints costs more
-- than to check a row against them. SUBTLE: by the key, whatever the planner thinks. A plan is kept
-- for as long as its connection, and one made while the table was small would read all of it.
CREATE FUNCTION gamemaster.write_records(records gamemaster.runtime_records[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    written integer;
BEGIN
    UPDATE gamemaster.runtime_records t SET
        status = r.status, revision = r.revision, incarnation = r.incarnation,
        attempt = r.attempt,
        work_kind = r.work_kind, work_trigger = r.work_trigger, work_due_at = r.work_due_at,
        work_attempt = r.work_attempt, work_operation = r.work_operation,
        work_owner = r.work_owner, work_expires_at = r.work_expires_at,
        pending_operation = r.pending_operation,
        pending_stop_reason = r.pending_stop_reason,
        pending_patch_version = r.pending_patch_version,
        pending_patch_image_ref = r.pending_patch_image_ref,
        pending_patch_turn_guard = r.pending_patch_turn_guard,
        pending_drain_until = r.pending_drain_until, pending_attempt = r.pending_attempt,
        pending_owner = r.pending_owner, pending_expires_at = r.pending_expires_at,
        engine_endpoint = r.engine_endpoint, engine_version = r.engine_version,
        engine_image_ref = r.engine_image_ref, engine_container_id = r.engine_container_id,
        engine_turn_guard = r.engine_turn_guard,
        schedule = r.schedule, next_generation_at = r.next_generation_at,
        skipped_tick_at = r.skipped_tick_at, current_turn = r.current_turn,
        health_summary = r.health_summary, health_cursor = r.health_cursor,
        health_published = r.health_published, health_publish_at = r.health_publish_at,
        tries = r.tries, retry_at = r.retry_at, player_turn_stats = r.player_turn_stats,
        last_failure = r.last_failure, failure_announced_for = r.failure_announced_for,
        created_at = r.created_at, started_at = r.started_at, updated_at = r.updated_at,
        stopped_at = r.stopped_at, finished_at = r.finished_at,
        next_timer_at = r.next_timer_at, roster_digest = r.roster_digest
      FROM unnest(records) r WHERE t.game_id = r.game_id;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> cardinality(records) THEN
        RAISE EXCEPTION '% of % records were written', written, cardinality(records);
    END IF;
END $$;

-- Writes what commits that apply tell besides their records, for all of them in one statement for each
-- table, as in write_records: their marks in the operation log, the record that each leaves, for the
-- claims of the operations that it closes with success, and their messages. `statuses` are those of the
-- records then. INVARIANT: an operation is opened once and closed once, in one game.
CREATE FUNCTION gamemaster.write_tidings(members jsonb[], statuses text[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    marked integer;
    closed integer;
BEGIN
    INSERT INTO gamemaster.operation_log (operation, game_id, kind, turn, tick, status, race, source,
        request_id, outcome, error_code, error_message, started_at, finished_at)
    SELECT (e->>'operation')::uuid, m->>'game_id', e->>'kind', (e->>'turn')::bigint,
           (e->>'tick')::timestamptz, status, m->>'race', m->>'source', m->>'request_id',
           e->>'outcome', e->>'error_code', e->>'error_message', (m->>'at')::timestamptz,
           CASE WHEN e->>'mark' = 'instant' THEN (m->>'at')::timestamptz END
      FROM unnest(members, statuses) WITH ORDINALITY AS a (m, status, i),
           jsonb_array_elements(m->'audit') WITH ORDINALITY AS b (e, n)
     WHERE e->>'mark' <> 'closed' ORDER BY i, n
    ON CONFLICT (operation) DO NOTHING;
    GET DIAGNOSTICS marked = ROW_COUNT;
    UPDATE gamemaster.operation_log o
       SET outcome = e->>'outcome', error_code = e->>'error_code',
           error_message = e->>'error_message', status = a.status,
           finished_at = (m->>'at')::timestamptz
      FROM unnest(members, statuses) AS a (m, status), jsonb_array_elements(m->'audit') e
     WHERE e->>'mark' = 'closed' AND o.operation = (e->>'operation')::uuid
       AND o.outcome IS NULL AND o.game_id = m->>'game_id';
    GET DIAGNOSTICS closed = ROW_COUNT;
    IF marked + closed <> (SELECT sum(jsonb_array_length(m->'audit')) FROM unnest(members) m) THEN
        RAISE EXCEPTION 'an operation was opened before, or is not open in this game'
            USING ERRCODE = 'GM001';
    END IF;
    IF EXISTS (SELECT FROM unnest(members) m WHERE m->'audit' = '[]') THEN
        RAISE EXCEPTION 'a commit without an audit mark' USING ERRCODE = 'GM001';
    END IF;
    UPDATE gamemaster.claims c SET record = m->'next'
      FROM unnest(members) m, jsonb_array_elements(m->'audit') e
     WHERE m->'next' <> 'null' AND e->>'mark' = 'closed' AND e->>'outcome' = 'succeeded'
       AND c.operation = (e->>'operation')::uuid;
    INSERT INTO gamemaster.outbox (channel, game_id, payload, committed_at)
    SELECT e->>'channel', m->>'game_id', e->>'payload', (m->>'at')::timestamptz
      FROM unnest(members) WITH ORDINALITY AS a (m, i),
           jsonb_array_elements(m->'messages') WITH ORDINALITY AS b (e, n)
     ORDER BY i, n;
END $$;

-- Both, where there is anything to write.
CREATE FUNCTION gamemaster.write_all(
    records gamemaster.runtime_records[], members jsonb[], statuses text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(records) > 0 THEN
        PERFORM gamemaster.write_records(records);
    END IF;
    IF cardinality(members) > 0 THEN
        PERFORM gamemaster.write_tidings(members, statuses);
    END IF;
END $$;

-- One commit of a record. SUBTLE: its name is written first. A repeat that runs while the first try
-- still does waits here, and then knows how that ended. A record that changes is not written here but
-- given back, to be written with those of the other members; and so is what a commit tells that
-- applies now: `applies_now` says so, and `status` what the record's is then.
CREATE FUNCTION gamemaster.commit_record(
    m jsonb, OUT answer text, OUT changed gamemaster.runtime_records, OUT applies_now boolean,
    OUT status text)
LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid := (m->>'id')::uuid;
    v_game text := m->>'game_id';
    v_at timestamptz := (m->>'at')::timestamptz;
    v_next jsonb := nullif(m->'next', 'null');
    v_digest text := md5((m->'next'->'roster')::text);
    -- The record as it was, and as it will be.
    b gamemaster.runtime_records;
    r gamemaster.runtime_records;
    refused text;
    named text;
BEGIN
    INSERT INTO gamemaster.commit_ids (id, at) VALUES (v_id, v_at) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        answer := 'applied';
        RETURN;
    END IF;

    SELECT * INTO b FROM gamemaster.runtime_records WHERE game_id = v_game FOR UPDATE;
    IF (CASE WHEN m->'expected' = 'null' THEN b.game_id IS NOT NULL
        ELSE (b.incarnation, b.status, b.revision) IS DISTINCT FROM
             ((m->'expected'->>'incarnation')::uuid, m->'expected'->>'status',
              (m->'expected'->>'revision')::bigint) END)
       OR (m->'claim' <> 'null' AND gamemaster.is_claimed(m->'claim', v_at))
    THEN
        refused := 'conflict';
    ELSIF v_next IS NOT NULL THEN
        r := jsonb_populate_record(NULL::gamemaster.runtime_records, v_next);
        r.roster_digest := v_digest;
        -- INVARIANT every_reference_resolves: locked against deletion before the row names it. What
        -- the row named before is kept by its foreign key.
        FOREACH named IN ARRAY ARRAY[r.engine_version, r.pending_patch_version] LOOP
            IF named IS DISTINCT FROM b.engine_version
               AND named IS DISTINCT FROM b.pending_patch_version AND named IS NOT NULL
            THEN
                PERFORM FROM gamemaster.engine_versions WHERE version = named FOR KEY SHARE;
                IF NOT FOUND THEN
                    refused := 'unknown_version';
                END IF;
            END IF;
        END LOOP;
    END IF;

    IF refused IS NULL AND v_next IS NOT NULL AND b.game_id IS NULL THEN
        INSERT INTO gamemaster.runtime_records SELECT r.* ON CONFLICT (game_id) DO NOTHING;
        IF NOT FOUND THEN
            refused := 'conflict';
        END IF;
    END IF;
    IF refused IS NOT NULL THEN
        DELETE FROM gamemaster.commit_ids WHERE id = v_id;
        -- SUBTLE: looked at again. Whoever made the version go, and was waited for, may have done so
        -- under this very name.
        IF refused = 'unknown_version' AND m->'claim' <> 'null'
           AND gamemaster.is_claimed(m->'claim', v_at)
        THEN
            refused := 'conflict';
        END IF;
        answer := refused;
        RETURN;
    END IF;

    IF v_next IS NULL THEN
        DELETE FROM gamemaster.runtime_records WHERE game_id = v_game;
    ELSIF b.game_id IS NOT NULL THEN
        changed := r;
    END IF;
    IF v_next IS NOT NULL AND b.roster_digest IS DISTINCT FROM v_digest THEN
        DELETE FROM gamemaster.player_mappings WHERE game_id = v_game;
        INSERT INTO gamemaster.player_mappings
            (game_id, user_id, place, race_name, engine_player_id)
        SELECT v_game, e->>'user_id', n - 1, e->>'race_name', e->>'engine_player_id'
          FROM jsonb_array_elements(v_next->'roster') WITH ORDINALITY AS a (e, n);
    END IF;

    IF m->'claim' <> 'null' THEN
        PERFORM gamemaster.settle_claim(m);
    END IF;
    answer := 'applied';
    applies_now := true;
    status := r.status;
END $$;

-- A change of the operation log alone.
CREATE FUNCTION gamemaster.commit_log(
    m jsonb, OUT answer text, OUT applies_now boolean, OUT status text)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gamemaster.commit_ids (id, at)
    VALUES ((m->>'id')::uuid, (m->>'at')::timestamptz) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        answer := 'applied';
        RETURN;
    END IF;
    -- The operation's row is held, so that of two who close it one finds it closed.
    PERFORM FROM gamemaster.operation_log o
      WHERE o.operation = (m->'audit'->0->>'operation')::uuid AND o.outcome IS NULL
        AND o.game_id = m->>'game_id' FOR UPDATE;
    IF (NOT FOUND AND m->'audit'->0->>'mark' = 'closed')
       OR (m->'claim' <> 'null'
           AND gamemaster.is_claimed(m->'claim', (m->>'at')::timestamptz))
    THEN
        DELETE FROM gamemaster.commit_ids WHERE id = (m->>'id')::uuid;
        answer := 'conflict';
        RETURN;
    END IF;
    IF m->'claim' <> 'null' THEN
        PERFORM gamemaster.settle_claim(m);
    END IF;
    SELECT r.status INTO status
      FROM gamemaster.runtime_records r WHERE r.game_id = m->>'game_id';
    answer := 'applied';
    applies_now := true;
END $$;

-- Any number of commits, in the order given (by game, so that two batches never wait for each other
-- in a circle); one answer for each. An error is an error of all: the caller then tries each alone.
CREATE FUNCTION gamemaster.commit_all(members jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    m jsonb;
    done record;
    changed gamemaster.runtime_records;
    -- What is not written yet: records that change, and members that apply, with their games and the
    -- status that each leaves.
    waiting gamemaster.runtime_records[] := '{}';
    untold jsonb[] := '{}';
    games text[] := '{}';
    statuses text[] := '{}';
BEGIN
    FOR m IN SELECT * FROM jsonb_array_elements(members) LOOP
        -- INVARIANT: whoever looks at a game finds what the members before have made of it.
        IF m->>'game_id' = ANY (games) THEN
            PERFORM gamemaster.write_all(waiting, untold, statuses);
            waiting := '{}';
            untold := '{}';
            games := '{}';
            statuses := '{}';
        END IF;
        IF m->'log' = 'true' THEN
            done := gamemaster.commit_log(m);
        ELSE
            done := gamemaster.commit_record(m);
            changed := done.changed;
            IF changed.game_id IS NOT NULL THEN
                waiting := waiting || changed;
            END IF;
        END IF;
        IF done.applies_now THEN
            untold := untold || m;
            games := games || (m->>'game_id');
            statuses := statuses || done.status::text;
        END IF;
        RETURN NEXT done.answer;
    END LOOP;
    PERFORM gamemaster.write_all(waiting, untold, statuses);
END $$;

-- A version as the ports know it.
CREATE FUNCTION gamemaster.version_document(v gamemaster.engine_versions)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(v) - 'sort_key' WHERE v.version IS NOT NULL
$$;

-- A change of the registry of versions: the answer, and the version as it is then.
CREATE FUNCTION gamemaster.change_version(m jsonb, OUT answer text, OUT document jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v gamemaster.engine_versions;
    v_at timestamptz := (m->>'at')::timestamptz;
    v_do text := m->>'change';
    found_it boolean;
BEGIN
    INSERT INTO gamemaster.commit_ids (id, at) VALUES ((m->>'id')::uuid, v_at)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v FROM gamemaster.engine_versions WHERE version = m->>'version';
        answer := 'applied';
        document := gamemaster.version_document(v);
        RETURN;
    END IF;
    SELECT * INTO v FROM gamemaster.engine_versions WHERE version = m->>'version' FOR UPDATE;
    found_it := FOUND;
    IF m->'claim' <> 'null' AND gamemaster.is_claimed(m->'claim', v_at) THEN
        answer := 'claimed';
    ELSIF v_do = 'create' THEN
        INSERT INTO gamemaster.engine_versions
            (version, sort_key, image_ref, options, status, created_at, updated_at)
        VALUES (m->>'version', m->>'sort_key', m->>'image_ref', m->'options', 'active', v_at, v_at)
        ON CONFLICT (version) DO NOTHING RETURNING * INTO v;
        answer := CASE WHEN FOUND THEN 'applied' ELSE 'exists' END;
    ELSIF NOT found_it THEN
        answer := 'not_found';
    ELSIF v_do = 'update' THEN
        UPDATE gamemaster.engine_versions
           SET image_ref = coalesce(m->>'image_ref', image_ref),
               options = coalesce(nullif(m->'options', 'null'), options),
               updated_at = v_at
         WHERE version = m->>'version' RETURNING * INTO v;
        answer := 'applied';
    ELSIF v_do = 'deprecate' THEN
        IF v.status = 'active' THEN
            UPDATE gamemaster.engine_versions SET status = 'deprecated', updated_at = v_at
             WHERE version = m->>'version' RETURNING * INTO v;
        END IF;
        answer := 'applied';
    -- SUBTLE: whoever is about to name the version holds its row, which this call had to wait for;
    -- each statement here sees what was committed before it.
    ELSIF EXISTS (SELECT FROM gamemaster.runtime_records WHERE engine_version = m->>'version')
       OR EXISTS (SELECT FROM gamemaster.runtime_records
                   WHERE pending_patch_version = m->>'version')
    THEN
        answer := 'in_use';
    ELSE
        DELETE FROM gamemaster.engine_versions WHERE version = m->>'version';
        v := NULL;
        answer := 'applied';
    END IF;
    IF answer <> 'applied' THEN
        DELETE FROM gamemaster.commit_ids WHERE id = (m->>'id')::uuid;
        -- SUBTLE: looked at again. What stands against the change may have come by the first request
        -- under this name, which was waited for.
        IF m->'claim' <> 'null' AND gamemaster.is_claimed(m->'claim', v_at) THEN
            answer := 'claimed';
        END IF;
        RETURN;
    END IF;
    document := gamemaster.version_document(v);
    IF m->'claim' <> 'null' AND NOT gamemaster.take_claim(m->'claim', NULL, document, v_at) THEN
        RAISE EXCEPTION 'the claim was taken meanwhile' USING ERRCODE = '40001';
    END IF;
END $$;

-- Says that a process is there, takes the roles that it wants and that are free, and answers who is
-- there and what it leads. Whoever is displaced changes nothing. SUBTLE: clock_timestamp() and not
-- now(), which is from before the wait for whoever holds a row.
CREATE FUNCTION gamemaster.attend(
    p_instance text, p_boot uuid, p_draining boolean, p_wants text[], p_ttl_ms bigint,
    OUT alive text[], OUT held text[], OUT terms bigint[], OUT displaced boolean)
LANGUAGE plpgsql AS $$
DECLARE
    ttl CONSTANT interval := p_ttl_ms * interval '1 millisecond';
    one gamemaster.roles;
BEGIN
    INSERT INTO gamemaster.attendance AS a (instance, boot, is_draining, expires_at)
    VALUES (p_instance, p_boot, p_draining, clock_timestamp() + ttl)
    ON CONFLICT (instance) DO UPDATE
       SET former = CASE WHEN a.boot = p_boot OR a.boot = ANY (a.former) THEN a.former
                    ELSE (a.boot || a.former)[1:8] END,
           boot = p_boot, is_draining = p_draining, expires_at = clock_timestamp() + ttl
     WHERE p_boot <> ALL (a.former);
    displaced := NOT FOUND;
    DELETE FROM gamemaster.attendance o WHERE o.ctid = ANY (ARRAY(
        SELECT a.ctid FROM gamemaster.attendance a
         WHERE a.expires_at <= clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED));
    held := '{}';
    terms := '{}';
    -- One by one, so that two who take roles never wait for each other in a circle.
    FOR one IN SELECT * FROM gamemaster.roles r WHERE NOT displaced ORDER BY r.role LOOP
        IF one.role <> ALL (p_wants) THEN
            UPDATE gamemaster.roles r SET instance = NULL, boot = NULL, expires_at = NULL
             WHERE r.role = one.role AND r.boot = p_boot;
            CONTINUE;
        END IF;
        UPDATE gamemaster.roles r
           SET term = r.term + CASE WHEN r.boot = p_boot THEN 0 ELSE 1 END,
               instance = p_instance, boot = p_boot, expires_at = clock_timestamp() + ttl
         WHERE r.role = one.role
           AND (r.boot IS NULL OR r.instance = p_instance OR r.expires_at <= clock_timestamp())
        RETURNING r.* INTO one;
        IF FOUND THEN
            held := held || one.role;
            terms := terms || one.term;
        END IF;
    END LOOP;
    SELECT coalesce(array_agg(a.instance ORDER BY a.instance), '{}') INTO alive
      FROM gamemaster.attendance a
     WHERE a.expires_at > clock_timestamp() AND NOT a.is_draining;
END $$;

-- Gives up what a process has; a later call of the same life finds itself displaced.
CREATE FUNCTION gamemaster.leave(p_instance text, p_boot uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_role text;
BEGIN
    UPDATE gamemaster.attendance a
       SET former = CASE WHEN a.boot = ANY (a.former) THEN a.former
                    ELSE (a.boot || a.former)[1:8] END,
           expires_at = clock_timestamp()
     WHERE a.instance = p_instance AND a.boot = p_boot;
    FOR v_role IN SELECT r.role FROM gamemaster.roles r ORDER BY r.role LOOP
        UPDATE gamemaster.roles r SET instance = NULL, boot = NULL, expires_at = NULL
         WHERE r.role = v_role AND r.boot = p_boot;
    END LOOP;
END $$;

-- Whether a term is the current one of a role.
CREATE FUNCTION gamemaster.is_term(p_role text, p_term bigint) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM gamemaster.roles WHERE role = p_role AND term = p_term)
$$;

-- Gives the oldest unpublished messages of a channel a place and a stream id, where they have none; a
-- place also to what was committed between them for other channels, so that places grow over all.
-- INVARIANT: ids grow with places, and none is given twice, not even one that was taken back.
-- One row without a place, and nothing done, where the term is not the relay's current one.
CREATE FUNCTION gamemaster.outbox_assign(
    p_term bigint, p_channel text, floor_ms numeric, floor_seq numeric, present_ms numeric,
    p_limit bigint)
RETURNS SETOF gamemaster.outbox LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    base CONSTANT numeric := 18446744073709551616;
    -- Stream ids as one number each: the one after is one more, carry and all.
    highest numeric;
    first numeric;
    newest bigint;
    nothing gamemaster.outbox;
BEGIN
    -- All of them, and in one order: a place is drawn by one at a time.
    PERFORM FROM gamemaster.outbox_channels ORDER BY channel FOR NO KEY UPDATE;
    IF NOT gamemaster.is_term('outbox_relay', p_term) THEN
        RETURN NEXT nothing;
        RETURN;
    END IF;
    SELECT greatest(c.highest_ms * base + c.highest_seq, floor_ms * base + floor_seq)
      INTO STRICT highest
      FROM gamemaster.outbox_channels c WHERE c.channel = p_channel;
    first := greatest(highest + 1, present_ms * base);
    SELECT max(o.id) INTO newest FROM (
        SELECT id, place FROM gamemaster.outbox
         WHERE channel = p_channel AND published_at IS NULL
         ORDER BY place, id LIMIT p_limit) o WHERE o.place IS NULL;
    IF newest IS NOT NULL THEN
        UPDATE gamemaster.outbox o SET place = n.place
          FROM (SELECT i.id, nextval('gamemaster.outbox_places') AS place
                  FROM (SELECT id FROM gamemaster.outbox
                         WHERE channel = ANY (ARRAY(SELECT channel FROM gamemaster.outbox_channels))
                           AND place IS NULL AND published_at IS NULL AND id <= newest
                         ORDER BY id) i) n
         WHERE o.id = n.id;
    END IF;
    -- What was committed since the look above has no place yet, and waits for the next call.
    WITH fresh AS (
        SELECT o.id, row_number() OVER (ORDER BY o.place, o.id) - 1 AS n FROM (
            SELECT id, place, stream_ms FROM gamemaster.outbox
             WHERE channel = p_channel AND published_at IS NULL AND place IS NOT NULL
             ORDER BY place, id LIMIT p_limit) o
         WHERE o.stream_ms IS NULL
    ), given AS (
        UPDATE gamemaster.outbox o
           SET stream_ms = div(first + f.n, base), stream_seq = mod(first + f.n, base)
          FROM fresh f WHERE o.id = f.id
        RETURNING f.n
    )
    SELECT first + max(n) INTO highest FROM given;
    IF highest IS NOT NULL THEN
        UPDATE gamemaster.outbox_channels c
           SET highest_ms = div(highest, base), highest_seq = mod(highest, base)
         WHERE c.channel = p_channel;
    END IF;
    RETURN QUERY
        SELECT * FROM gamemaster.outbox o
         WHERE o.channel = p_channel AND o.published_at IS NULL AND o.place IS NOT NULL
         ORDER BY o.place, o.id LIMIT p_limit;
END $$;

-- Takes the rows of the channels before those of messages, as all that changes messages which are there
-- does: no two of them wait for each other in a circle, in whatever order each finds its rows.
CREATE FUNCTION gamemaster.outbox_published(places bigint[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM FROM gamemaster.outbox_channels ORDER BY channel FOR NO KEY UPDATE;
    -- What was taken back meanwhile goes out once more.
    UPDATE gamemaster.outbox SET published_at = p_at
     WHERE place = ANY (places) AND published_at IS NULL AND stream_ms IS NOT NULL;
END $$;

-- Takes the ids of what waits back. Takes the channel's row.
CREATE FUNCTION gamemaster.outbox_take_back(p_channel text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM gamemaster.outbox_channels c WHERE c.channel = p_channel FOR NO KEY UPDATE;
    UPDATE gamemaster.outbox o SET stream_ms = NULL, stream_seq = NULL
     WHERE o.channel = p_channel AND o.published_at IS NULL AND o.stream_ms IS NOT NULL;
END $$;

-- The same for a relay: false, and nothing done, where its term is not the current one.
CREATE FUNCTION gamemaster.outbox_unassign(p_term bigint, p_channel text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM gamemaster.outbox_channels c WHERE c.channel = p_channel FOR NO KEY UPDATE;
    IF NOT gamemaster.is_term('outbox_relay', p_term) THEN
        RETURN false;
    END IF;
    PERFORM gamemaster.outbox_take_back(p_channel);
    RETURN true;
END $$;

-- Takes up to a thousand messages back into the queue, of those published under ids above one and up to
-- another: what is published meanwhile under a new id is not taken back again. SUBTLE: those that wait
-- lose their ids, or ids would not grow with places any more; none of them is given again. Locked one
-- by one: what is being pruned is waited for and passed over, and does not count as the end. Pruning
-- itself waits for nobody.
CREATE FUNCTION gamemaster.outbox_replay(
    p_channel text, after_ms numeric, after_seq numeric, upto_ms numeric, upto_seq numeric)
RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    replayed bigint;
BEGIN
    PERFORM gamemaster.outbox_take_back(p_channel);
    UPDATE gamemaster.outbox o SET stream_ms = NULL, stream_seq = NULL, published_at = NULL
     WHERE o.ctid = ANY (ARRAY(
        SELECT p.ctid FROM gamemaster.outbox p
         WHERE p.channel = p_channel AND p.published_at IS NOT NULL
           AND (p.stream_ms, p.stream_seq) > (after_ms, after_seq)
           AND (p.stream_ms, p.stream_seq) <= (upto_ms, upto_seq)
         ORDER BY p.stream_ms, p.stream_seq LIMIT 1000 FOR UPDATE));
    GET DIAGNOSTICS replayed = ROW_COUNT;
    RETURN replayed;
END $$;

-- Forgets up to a thousand messages that were published before an instant.
CREATE FUNCTION gamemaster.outbox_prune(published_before timestamptz) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    pruned bigint;
BEGIN
    DELETE FROM gamemaster.outbox o WHERE o.ctid = ANY (ARRAY(
        SELECT p.ctid FROM gamemaster.outbox p
         WHERE p.published_at < published_before LIMIT 1000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END $$;

-- Forgets up to a thousand each of names and claims older than a day and operations closed for
-- longer than 90 days, seen from the newest commit: no clock but the committers' is asked.
CREATE FUNCTION gamemaster.forget() RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    newest timestamptz := (SELECT max(at) FROM gamemaster.commit_ids);
    dropped bigint;
    total bigint := 0;
BEGIN
    DELETE FROM gamemaster.commit_ids o WHERE o.ctid = ANY (ARRAY(
        SELECT p.ctid FROM gamemaster.commit_ids p
         WHERE p.at < newest - interval '24 hours' LIMIT 1000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    total := total + dropped;
    DELETE FROM gamemaster.claims o WHERE o.ctid = ANY (ARRAY(
        SELECT p.ctid FROM gamemaster.claims p
         WHERE p.at < newest - interval '24 hours' LIMIT 1000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    total := total + dropped;
    DELETE FROM gamemaster.operation_log o WHERE o.ctid = ANY (ARRAY(
        SELECT p.ctid FROM gamemaster.operation_log p
         WHERE p.outcome IS NOT NULL AND p.finished_at < newest - interval '90 days'
         LIMIT 1000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN total + dropped;
END $$;
