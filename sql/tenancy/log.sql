-- The tamper-evident log: canonical forms, and how an event or a run comes into its tenant's chain.
-- The forms are made of send functions and UTF-8, which no session setting changes; not of textsend() and
-- jsonb_send(), which follow client_encoding.

CREATE FUNCTION stormops.log_digest(fields VARIADIC bytea[]) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'log_digest_wrapper';
COMMENT ON FUNCTION stormops.log_digest(bytea[]) IS 'SHA-256 over fields, each after its length in four bytes (the most significant first; ffffffff stands for NULL): the canonical form of the log.';

CREATE FUNCTION stormops_internal.event_digests(tenant_id uuid, only_event uuid DEFAULT NULL, OUT event_id uuid, OUT digest bytea) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.event_id, stormops.log_digest(
        uuid_send(e.tenant_id), uuid_send(e.event_id), timestamptz_send(e.happened_at),
        convert_to(e.action, 'UTF8'), convert_to(e.from_status, 'UTF8'), convert_to(e.to_status, 'UTF8'),
        uuid_send(e.user_id), convert_to(e.reason, 'UTF8'), convert_to(e.actor, 'UTF8'), uuid_send(e.acting_user))
    FROM stormops.tenant_events AS e
    WHERE e.tenant_id = $1 AND ($2 IS NULL OR e.event_id = $2)
$$;
COMMENT ON FUNCTION stormops_internal.event_digests(uuid, uuid) IS 'For each of a tenant''s events, or for one, the SHA-256 of its canonical form.';

CREATE FUNCTION stormops_internal.run_digests(tenant_id uuid, only_run uuid DEFAULT NULL, OUT run_id uuid, OUT digest bytea) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.run_id, stormops.log_digest(VARIADIC ARRAY[
        uuid_send(r.tenant_id), uuid_send(r.run_id), uuid_send(r.storm_id), convert_to(r.policy_mode, 'UTF8'),
        convert_to(r.parameters::text, 'UTF8'), timestamptz_send(r.decided_at), convert_to(r.decided_by, 'UTF8'),
        uuid_send(r.acting_user), int8send(r.treat), int8send(r.hold), int8send(r.excluded),
        convert_to(r.reasons::text, 'UTF8'), numeric_send(r.expected_value), uuid_send(r.supersedes),
        int8send(d.decisions), d.digest, sha256(d.fingerprints)]
        -- Runs that were sealed decision by decision have the form that they had.
        || CASE WHEN d.blocks IS NULL THEN '{}'::bytea[] ELSE ARRAY[int4send(d.blocks)] END)
    FROM stormops.policy_runs AS r
    LEFT JOIN stormops.policy_run_digests AS d ON d.tenant_id = r.tenant_id AND d.run_id = r.run_id
    WHERE r.tenant_id = $1 AND ($2 IS NULL OR r.run_id = $2)
$$;
COMMENT ON FUNCTION stormops_internal.run_digests(uuid, uuid) IS 'For each of a tenant''s policy runs, or for one, the SHA-256 of the canonical form of its rows in policy_runs and policy_run_digests. superseded_at, which changes later, is not in it: verify_log() derives it from the runs that supersede.';

CREATE FUNCTION stormops_internal.entry_hash(hash_before bytea, tenant_id uuid, log text, entry bigint, subject_id uuid, adopted boolean, content bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.log_digest($1, uuid_send($2), convert_to($3, 'UTF8'), int8send($4), uuid_send($5), boolsend($6), $7)
$$;
COMMENT ON FUNCTION stormops_internal.entry_hash(bytea, uuid, text, bigint, uuid, boolean, bytea) IS 'The hash of an entry of tenant_log: SHA-256 of the hash before it (NULL for the first) and of what it says.';

CREATE FUNCTION stormops_internal.append_entry(tenant_id uuid, log text, subject_id uuid, content bytea, adopted boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (
        SELECT FROM stormops.tenant_log AS b
        WHERE b.tenant_id = append_entry.tenant_id AND b.log = append_entry.log AND b.subject_id = append_entry.subject_id
    ) THEN
        RETURN; -- adopted a moment ago
    END IF;
    LOOP
        -- One that another transaction is about to enter is awaited, and then stands behind it.
        INSERT INTO stormops.tenant_log (tenant_id, log, entry, subject_id, adopted, content, hash)
        SELECT tenant_id, log, coalesce(l.entry, 0) + 1, subject_id, adopted, content,
            stormops_internal.entry_hash(l.hash, tenant_id, log, coalesce(l.entry, 0) + 1, subject_id, adopted, content)
        FROM (SELECT) AS one
        LEFT JOIN (
            SELECT b.entry, b.hash FROM stormops.tenant_log AS b
            WHERE b.tenant_id = append_entry.tenant_id AND b.log = append_entry.log
            ORDER BY b.entry DESC LIMIT 1
        ) AS l ON true
        ON CONFLICT ON CONSTRAINT tenant_log_pkey DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.append_entry(uuid, text, uuid, bytea, boolean) IS 'Appends an entry to a chain of a tenant. Under REPEATABLE READ: 40001 if another transaction appended since.';

CREATE FUNCTION stormops_internal.enter_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF stormops_internal.is_restore() THEN
        RETURN NULL; -- its entry comes with it
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.append_entry(NEW.tenant_id, CASE WHEN NEW.action IN ('add_user', 'set_user_role', 'remove_user') THEN 'people' ELSE 'events' END,
        d.event_id, d.digest)
    FROM stormops_internal.event_digests(NEW.tenant_id, NEW.event_id) AS d;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.enter_event() IS 'Trigger: enters a new event in tenant_log, at the end of the transaction.';

CREATE FUNCTION stormops_internal.enter_run() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF stormops_internal.is_restore() THEN
        RETURN NULL;
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.append_entry(NEW.tenant_id, 'runs', d.run_id, d.digest)
    FROM stormops_internal.run_digests(NEW.tenant_id, NEW.run_id) AS d;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.enter_run() IS 'Trigger: enters a new run with the digest of its decisions in tenant_log, at the end of the transaction.';

CREATE FUNCTION stormops_internal.adopt_log() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    unlogged uuid[] := ARRAY(
        SELECT t.tenant_id FROM stormops.tenants AS t
        WHERE NOT EXISTS (SELECT FROM stormops.tenant_log AS l WHERE l.tenant_id = t.tenant_id));
    r record;
BEGIN
    INSERT INTO stormops.policy_run_digests (tenant_id, run_id, decisions, digest, fingerprints, blocks)
    SELECT p.tenant_id, p.run_id, d.decisions, d.digest, d.fingerprints, d.blocks
    FROM stormops.policy_runs AS p CROSS JOIN LATERAL stormops_internal.run_seal(p.tenant_id, p.run_id,
        EXISTS (SELECT FROM stormops.policy_decision_blocks AS b WHERE b.tenant_id = p.tenant_id AND b.run_id = p.run_id)) AS d
    WHERE p.tenant_id = ANY (unlogged)
    ON CONFLICT (tenant_id, run_id) DO NOTHING;
    FOR r IN
        SELECT u.tenant_id, s.log, s.subject_id, s.digest
        FROM unnest(unlogged) AS u (tenant_id) CROSS JOIN LATERAL (
            SELECT 'events' AS log, e.event_id AS subject_id, e.digest FROM stormops_internal.event_digests(u.tenant_id) AS e
            UNION ALL
            SELECT 'runs', d.run_id, d.digest FROM stormops_internal.run_digests(u.tenant_id) AS d
        ) AS s
        ORDER BY u.tenant_id, s.log, s.subject_id
    LOOP
        PERFORM stormops_internal.append_entry(r.tenant_id, r.log, r.subject_id, r.digest, true);
    END LOOP;
    SET CONSTRAINTS stormops.enter_run IMMEDIATE;
    SET CONSTRAINTS stormops.enter_run DEFERRED;
END
$$;
COMMENT ON FUNCTION stormops_internal.adopt_log() IS 'Enters in the log, once, in the order of time and marked as adopted, what a tenant had before there was one. Not for a tenant that has a log, so that installing anew never vouches for a row that somebody slipped in.';
