-- A closed tenant goes: in calls that each delete so many rows, hold no lock for long, and go on where the last one ended.

CREATE FUNCTION stormops_internal.tenant_leaves(relation oid, OUT leaf regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.relid FROM pg_partition_tree($1::regclass) AS p WHERE p.isleaf
    UNION SELECT c.oid FROM pg_class AS c WHERE c.oid = $1 AND c.relkind = 'r'
$$;
COMMENT ON FUNCTION stormops_internal.tenant_leaves(oid) IS 'The tables that hold the rows of a table: its partitions, or itself.';

CREATE FUNCTION stormops_internal.for_tenant_tables(OUT relation oid, OUT name text, OUT kept_if text, OUT why text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.oid, c.relname::text, k.kept_if, k.why
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'for_tenant' AND NOT a.attisdropped
    LEFT JOIN (VALUES
        ('prices', 'true', 'What was agreed with the tenant: it explains the invoices, and holds no data of persons.'),
        ('erasures', 'true', 'The receipt.')
    ) AS k (name, kept_if, why) ON k.name = c.relname
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
$$;
COMMENT ON FUNCTION stormops_internal.for_tenant_tables() IS 'The installation''s own tables with rows about a tenant, by their column for_tenant: its routes for alerts with their secrets, deliveries, prices. kept_if, why: as kept_by_law() has them.';

CREATE FUNCTION stormops_internal.erasable_tables(OUT place bigint, OUT relation oid, OUT name text, OUT tenant_column text, OUT kept_if text, OUT why text, OUT at_the_end boolean, OUT whole boolean)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- Children before their parents.
    SELECT -p.place, p.relation, p.name, 'tenant_id', coalesce(k.kept_if, 'false'), k.why,
        -- The log speaks of rows of other tables; the counts change with every one that goes.
        p.name IN ('tenant_events', 'tenant_log', 'row_counts', 'row_count_deltas', 'call_durations'),
        p.refers_to_itself
    FROM stormops_internal.portable_tables() AS p LEFT JOIN stormops_internal.kept_by_law() AS k ON k.name = p.name
    UNION ALL
    SELECT 1, f.relation, f.name, 'for_tenant', coalesce(f.kept_if, 'false'), f.why, false, false FROM stormops_internal.for_tenant_tables() AS f
$$;
COMMENT ON FUNCTION stormops_internal.erasable_tables() IS 'What erase_tenant() goes through, by place: every table with rows of tenants or about them; which of its rows stay, and why. at_the_end: they go in one step with the last ones. whole: its rows refer to each other, and go in one statement.';

CREATE FUNCTION stormops_internal.count_of_tenant(tenant_id uuid, OUT counts jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- as many rows as the tenant has, however many there are
    SET jit = off
    AS $$
#variable_conflict use_variable
DECLARE
    t record;
    n bigint;
BEGIN
    counts := '{}';
    FOR t IN SELECT e.* FROM stormops_internal.erasable_tables() AS e ORDER BY e.name COLLATE "C" LOOP
        EXECUTE format('SELECT count(*) FROM %s AS r WHERE r.%I = $1', t.relation::regclass, t.tenant_column) INTO n USING tenant_id;
        counts := counts || jsonb_build_object(t.name, n);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_of_tenant(uuid) IS 'An object: each table of erasable_tables() and how many rows it has of a tenant or about it.';

CREATE FUNCTION stormops_internal.erase_some(tenant_id uuid, relation oid, tenant_column text, kept_if text, at_most bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET jit = off
    AS $$
#variable_conflict use_variable
DECLARE
    leaf regclass;
    rows tid[];
    erased bigint := 0;
BEGIN
    FOR leaf IN SELECT l.leaf FROM stormops_internal.tenant_leaves(relation) AS l ORDER BY l.leaf::text COLLATE "C" LOOP
        EXIT WHEN erased >= at_most;
        -- Found by the key, which begins with the tenant, and deleted by where they lie: in proportion to what goes.
        EXECUTE format('SELECT array_agg(s.ctid) FROM (SELECT r.ctid FROM %s AS r WHERE r.%I = $1 AND NOT (%s) LIMIT $2) AS s', leaf, tenant_column, kept_if)
        INTO rows USING tenant_id, at_most - erased;
        CONTINUE WHEN rows IS NULL;
        EXECUTE format('DELETE FROM %s AS r WHERE r.ctid = ANY ($1) AND r.%I = $2', leaf, tenant_column) USING rows, tenant_id;
        erased := erased + cardinality(rows);
    END LOOP;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION stormops_internal.erase_some(uuid, oid, text, text, bigint) IS 'Deletes at most so many rows of a tenant from a table, those that are kept apart. Returns how many.';

CREATE FUNCTION stormops_internal.begin_erasure(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO stormops_internal.erasures (for_tenant, begun_by, before, log_heads)
    SELECT tenant_id, stormops_internal.calling_role(), c.counts, coalesce((
        SELECT jsonb_agg(jsonb_build_object('log', h.log, 'entry', h.entry, 'hash', encode(h.hash, 'hex')) ORDER BY h.log)
        FROM (SELECT DISTINCT ON (l.log) l.log, l.entry, l.hash FROM stormops.tenant_log AS l WHERE l.tenant_id = begin_erasure.tenant_id ORDER BY l.log, l.entry DESC) AS h), '[]')
    FROM stormops_internal.count_of_tenant(tenant_id) AS c
    ON CONFLICT ON CONSTRAINT erasures_pkey DO NOTHING;
    -- The tombstone.
    UPDATE stormops.tenants AS t SET org_name = 'erased', name_key = stormops_internal.erased_key(t.name_key)
    WHERE t.tenant_id = begin_erasure.tenant_id AND NOT starts_with(t.name_key, 'erased:');
    UPDATE stormops.invoices AS i SET org_name = 'erased', reason = CASE WHEN i.reason IS NOT NULL THEN 'erased' END
    WHERE i.tenant_id = begin_erasure.tenant_id AND i.status <> 'draft' AND (i.org_name <> 'erased' OR i.reason <> 'erased');
END
$$;
COMMENT ON FUNCTION stormops_internal.begin_erasure(uuid) IS 'Notes what there is, and makes the tombstone: from now on nothing here has the tenant''s name.';

CREATE FUNCTION stormops_internal.end_erasure(tenant_id uuid) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    e stormops_internal.erasures;
    t record;
    step bigint;
    gone bigint := 0;
BEGIN
    LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE; -- or a fold under way would bring back what is deleted here
    FOR t IN SELECT x.* FROM stormops_internal.erasable_tables() AS x WHERE x.at_the_end ORDER BY x.place LOOP
        LOOP
            step := stormops_internal.erase_some(tenant_id, t.relation, t.tenant_column, t.kept_if, 100000);
            gone := gone + step;
            EXIT WHEN step = 0;
        END LOOP;
    END LOOP;
    UPDATE stormops_internal.erasures AS x SET erased = x.erased + gone, finished_at = clock_timestamp(), receipt = '{}'
    WHERE x.for_tenant = tenant_id RETURNING x.* INTO e;
    -- The log begins anew, and says what ended; its trigger enters it.
    PERFORM stormops_internal.log_event(tenant_id, 'erase', 'closed', 'closed',
        left(format('%s rows erased; log before: %s', e.erased, coalesce((
            SELECT string_agg(format('%s %s %s', h ->> 'log', h ->> 'entry', h ->> 'hash'), ', ') FROM jsonb_array_elements(e.log_heads) AS h), 'none')), 500));
    SET CONSTRAINTS stormops.enter_event IMMEDIATE;
    SET CONSTRAINTS stormops.enter_event DEFERRED;
    UPDATE stormops_internal.erasures AS x SET receipt = stormops_internal.erasure_receipt(tenant_id) WHERE x.for_tenant = tenant_id;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION stormops_internal.end_erasure(uuid) IS 'The last step: log, events and counts go, the event of the erasure and the receipt are written. Returns how many rows went.';

CREATE FUNCTION stormops_internal.erasure_receipt(tenant_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    SELECT jsonb_build_object(
        'tenant_id', e.for_tenant, 'begun_at', e.begun_at, 'begun_by', e.begun_by, 'finished_at', e.finished_at, 'rows_erased', e.erased,
        'log_heads', e.log_heads,
        'tables', (
            SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('table', t.name, 'before', (e.before ->> t.name)::bigint, 'after', (c.counts ->> t.name)::bigint,
                'kept_because', CASE WHEN (c.counts ->> t.name)::bigint > 0 THEN coalesce(t.why, 'What tells of the erasure itself.') END)) ORDER BY t.name COLLATE "C")
            FROM stormops_internal.erasable_tables() AS t),
        'pseudonymised', (SELECT jsonb_object_agg(k.name, k.pseudonymised) FROM stormops_internal.kept_by_law() AS k WHERE k.pseudonymised <> ''),
        'not_reached', jsonb_build_array(
            'Pages of the tables: deleted rows are overwritten once VACUUM has run and others take their place.',
            'The write-ahead log and its archive, and servers that replay it: until they are recycled.',
            'Backups and dumps: until they are deleted. Whoever restores one erases this tenant again.',
            'Files that were exported, and copies elsewhere: logical subscribers, topics, lakes, those who were sent alerts.',
            'The server''s log, which may hold statements and errors with values.',
            'Tables of your own that are not protected: they are not known here.'))
    FROM stormops_internal.erasures AS e CROSS JOIN LATERAL stormops_internal.count_of_tenant(e.for_tenant) AS c
    WHERE e.for_tenant = $1
$$;
COMMENT ON FUNCTION stormops_internal.erasure_receipt(uuid) IS 'What became of a tenant: per table the rows before and after and why some stay, and what the database cannot reach.';

CREATE FUNCTION stormops_internal.forget_statistics(tenant_id uuid, until timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT x.name, x.relation FROM stormops_internal.erasures AS e CROSS JOIN stormops_internal.erasable_tables() AS x
        WHERE e.for_tenant = tenant_id AND (e.before ->> x.name)::bigint > 0 AND x.name <> ALL (e.analyzed)
        ORDER BY x.name COLLATE "C"
    LOOP
        IF clock_timestamp() >= until THEN
            RETURN false;
        END IF;
        EXECUTE format('ANALYZE %s', t.relation::regclass);
        UPDATE stormops_internal.erasures AS e SET analyzed = e.analyzed || t.name WHERE e.for_tenant = tenant_id;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.forget_statistics(uuid, timestamptz) IS 'Makes the planner''s statistics anew of the tables that a tenant had rows in, which hold common values of them; until then. True if all are done.';

CREATE FUNCTION stormops.erase_tenant(tenant_id uuid, max_rows integer DEFAULT 100000, OUT done boolean, OUT rows_erased bigint, OUT receipt jsonb)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    standing text;
    e stormops_internal.erasures;
    t record;
BEGIN
    max_rows := coalesce(max_rows, 100000);
    PERFORM stormops_internal.visit_all_tenants();
    IF tenant_id IS NULL OR max_rows NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN tenant_id IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'tenant must be given, and max_rows from 1 to 1000000', HINT = 'SELECT * FROM stormops.erase_tenant(tenant_id); until it is done.';
    END IF;
    -- Two at once come one after the other.
    SELECT x.status INTO standing FROM stormops.tenants AS x WHERE x.tenant_id = erase_tenant.tenant_id FOR NO KEY UPDATE;
    IF standing IS DISTINCT FROM 'closed' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN standing IS NULL THEN 'no_data_found' ELSE 'object_not_in_prerequisite_state' END,
            MESSAGE = CASE WHEN standing IS NULL THEN format('tenant %s does not exist', tenant_id) ELSE format('the tenant is %s, and only a closed one is erased', standing) END,
            HINT = CASE WHEN standing IS NULL THEN 'SELECT * FROM stormops.list_tenants();' ELSE 'Export what is to be kept, then SELECT * FROM stormops.close_tenant(tenant_id, reason);' END;
    END IF;
    PERFORM stormops_internal.begin_erasure(tenant_id);
    SELECT x.* INTO e FROM stormops_internal.erasures AS x WHERE x.for_tenant = tenant_id;
    rows_erased := 0;
    done := e.finished_at IS NOT NULL;
    IF NOT done THEN
        FOR t IN SELECT x.* FROM stormops_internal.erasable_tables() AS x WHERE NOT x.at_the_end ORDER BY x.place LOOP
            EXIT WHEN rows_erased >= max_rows;
            rows_erased := rows_erased + stormops_internal.erase_some(tenant_id, t.relation, t.tenant_column, t.kept_if,
                CASE WHEN t.whole THEN 100000000 ELSE max_rows - rows_erased END);
        END LOOP;
        UPDATE stormops_internal.erasures AS x SET erased = x.erased + rows_erased WHERE x.for_tenant = tenant_id;
        -- Statistics in a call of their own, which sees that nothing is left.
        IF rows_erased = 0 AND stormops_internal.forget_statistics(tenant_id, clock_timestamp() + interval '1 second') THEN
            rows_erased := stormops_internal.end_erasure(tenant_id);
            done := true;
        END IF;
    END IF;
    SELECT x.receipt INTO receipt FROM stormops_internal.erasures AS x WHERE x.for_tenant = tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.erase_tenant(uuid, integer) IS 'Deletes at most max_rows (1 to 1000000) rows of a closed tenant: call it until done, each in a transaction of its own; a crash loses one call. Id and name stay taken. Returns done, rows_erased by this call and at the end a receipt: rows per table before and after, what stays and why, what is out of reach. For operators. Errors: 22004; 22023; 55000 not closed; P0002.';

CREATE FUNCTION stormops.erase_property(property_id uuid, OUT journeys_removed bigint, OUT outcomes_pseudonymised bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := stormops_internal.target_tenant(NULL, true);
    found_one boolean;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    -- Whatever may be NULL, in a column that is added too: what is left of the house is its id, and that nobody may be sent there.
    EXECUTE (
        SELECT format('WITH u AS (UPDATE stormops.properties AS p SET do_not_contact = true, status = ''archived'', %s WHERE p.tenant_id = $1 AND p.property_id = $2 RETURNING 1) SELECT EXISTS (SELECT FROM u)',
            string_agg(format('%I = NULL', a.attname), ', '))
        FROM pg_attribute AS a
        WHERE a.attrelid = 'stormops.properties'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull AND a.attgenerated = ''
    ) INTO found_one USING target, property_id;
    IF NOT found_one THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such property of this tenant',
            HINT = 'SELECT property_id FROM properties WHERE address = ''...'';';
    END IF;
    DELETE FROM stormops.customer_journeys AS j WHERE j.tenant_id = target AND j.property_id = erase_property.property_id;
    GET DIAGNOSTICS journeys_removed = ROW_COUNT;
    -- What was said stays as evidence; who said it in which words may name a person.
    UPDATE stormops.contact_consents AS c SET source = NULL
    WHERE c.tenant_id = target AND c.property_id = erase_property.property_id AND c.source IS NOT NULL;
    -- A key is whatever a caller made of it.
    UPDATE stormops.policy_outcomes AS o SET idempotency_key = 'erased:' || o.outcome_id
    WHERE o.tenant_id = target AND o.property_id = erase_property.property_id AND NOT starts_with(o.idempotency_key, 'erased:');
    GET DIAGNOSTICS outcomes_pseudonymised = ROW_COUNT;
    PERFORM stormops_internal.log_event(target, 'erase_property', NULL, NULL,
        format('property %s: %s journeys removed, %s outcomes pseudonymised', property_id, journeys_removed, outcomes_pseudonymised));
END
$$;
COMMENT ON FUNCTION stormops.erase_property(uuid) IS 'One person''s request: every describing column of a property becomes NULL, it is archived and not contacted, its journeys are deleted, keys of its outcomes overwritten, sources of its consents NULL. Scores, decisions and outcomes stay as numbers under its id, so that the log is verified as before. For the tenant''s admins. Errors: 0B000; 42501; 55000 suspended; P0002 no such property.';
