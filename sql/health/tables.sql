-- The health of one table: how many rows, how fresh, how good the new ones are.

CREATE FUNCTION stormops_internal.null_rates_query(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('jsonb_build_object(%s)', string_agg(
        format('%L, round(count(*) FILTER (WHERE r.%I IS NULL OR %s)::numeric / nullif(count(*), 0), 6)',
            a.attname, a.attname, stormops_internal.blank_condition(c.relname, a.attname)), ', ' ORDER BY a.attnum))
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull
$$;
COMMENT ON FUNCTION stormops_internal.null_rates_query(regclass) IS 'An expression over rows r of a table: the share of NULL, or of nothing that shows, by column, of those that may be NULL.';

CREATE FUNCTION stormops_internal.blank_values_query(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('jsonb_strip_nulls(jsonb_build_object(%s))', string_agg(
        format('%L, nullif(count(*) FILTER (WHERE stormops_internal.shows_nothing(r.%I)), 0)', a.attname, a.attname), ', ' ORDER BY a.attnum))
    FROM pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype
$$;
COMMENT ON FUNCTION stormops_internal.blank_values_query(regclass) IS 'An expression over rows r of a table: how many values are there and show nothing, by column, where there are any.';

CREATE FUNCTION stormops_internal.orphan_condition(parents jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(string_agg(format('(r.%I IS NOT NULL AND NOT EXISTS (%s))', p.key, stormops_internal.parent_of(p.key, p.value)), ' OR '), 'false')
    FROM jsonb_each_text($1) AS p
$$;
COMMENT ON FUNCTION stormops_internal.orphan_condition(jsonb) IS 'What is true of a row r that has no parent, where it should: parents as counted_tables() has them.';

CREATE FUNCTION stormops_internal.check_failing_condition(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(string_agg(format('NOT (%s)', pg_get_expr(c.conbin, c.conrelid)), ' OR '), 'false')
    FROM pg_constraint AS c WHERE c.conrelid = $1 AND c.contype = 'c'
$$;
COMMENT ON FUNCTION stormops_internal.check_failing_condition(regclass) IS 'What is true of a row of a table that breaks one of its CHECKs.';

CREATE FUNCTION stormops_internal.row_quality(
    table_name text, since timestamptz,
    OUT judged bigint, OUT null_rates jsonb, OUT duplicates bigint, OUT orphans bigint, OUT out_of_range bigint, OUT blank_values jsonb
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    relation regclass := (SELECT k.relation FROM stormops_internal.kept_in(this.table_name) AS k LIMIT 1);
    key_columns text := (SELECT string_agg(stormops_internal.shown(this.table_name, k), ', ') FROM unnest(this.natural_key) AS k);
BEGIN
    -- All names are the catalogue's or this extension's own.
    EXECUTE format($query$
        SELECT count(*), %s, %s, count(*) FILTER (WHERE %s), count(*) FILTER (WHERE r.%I > now() + interval '5 minutes' OR %s)
        FROM stormops.%I AS r WHERE r.tenant_id = stormops.current_tenant() AND r.%I >= $1
        $query$, stormops_internal.null_rates_query(relation), stormops_internal.blank_values_query(relation), stormops_internal.orphan_condition(this.parents),
        this.time_column, stormops_internal.check_failing_condition(relation), this.table_name, this.time_column)
    INTO judged, null_rates, blank_values, orphans, out_of_range USING since;
    EXECUTE format($query$
        SELECT coalesce(sum(g.n - 1), 0)::bigint FROM (
            SELECT count(*) AS n FROM stormops.%I AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.%I >= $1 AND num_nulls(%s) < $2
            GROUP BY %s
        ) AS g
        $query$, this.table_name, this.time_column, key_columns, key_columns)
    INTO duplicates USING since, cardinality(this.natural_key);
    IF judged = 0 THEN
        null_rates := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.row_quality(text, timestamptz) IS 'What the rows that came since then are worth, one pass over them: share of NULL by column, values that show nothing, rows whose natural key another one has, whose parent is missing, that break a CHECK or lie in the future. Errors: 0B000; 22004; 42704.';

CREATE FUNCTION stormops.check_table_health(
    table_name text, look_back interval DEFAULT '24 hours',
    OUT "table" text, OUT status text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT volume_drop boolean,
    OUT last_row_at timestamptz, OUT age interval,
    OUT judged_rows bigint, OUT null_rates jsonb, OUT duplicate_rows bigint, OUT duplicate_rate numeric,
    OUT orphan_rows bigint, OUT out_of_range_rows bigint, OUT schema_drift jsonb,
    OUT size_bytes bigint, OUT dead_rows bigint, OUT last_vacuum timestamptz, OUT last_analyze timestamptz, OUT blank_values jsonb
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    quality record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    look_back := coalesce(look_back, '24:00:00');
    IF look_back IS NULL OR look_back <= interval '0' OR look_back > interval '10 years' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN look_back IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'look_back must be a positive interval of at most ten years',
            HINT = 'SELECT * FROM stormops.check_table_health(''lead_uplift'', ''7 days'');';
    END IF;
    "table" := this.table_name;
    schema_drift := stormops_internal.schema_drift(table_name);
    IF stormops_internal.has_tenant() THEN
        SELECT c.total_rows, c.recent_rows_24h, c.last_at INTO total_rows, recent_rows_24h, last_row_at
        FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = stormops.current_tenant() AND c.table_name = this.table_name;
        SELECT q.* INTO quality FROM stormops_internal.row_quality(table_name, now() - look_back) AS q;
        judged_rows := quality.judged;
        null_rates := quality.null_rates;
        duplicate_rows := quality.duplicates;
        duplicate_rate := round(quality.duplicates::numeric / nullif(quality.judged, 0), 6);
        orphan_rows := quality.orphans;
        out_of_range_rows := quality.out_of_range;
        blank_values := quality.blank_values;
    ELSE
        SELECT u.* INTO total_rows, recent_rows_24h, last_row_at, size_bytes, dead_rows, last_vacuum, last_analyze
        FROM stormops_internal.table_upkeep(table_name) AS u;
    END IF;
    total_rows := coalesce(total_rows, 0);
    recent_rows_24h := coalesce(recent_rows_24h, 0);
    volume_drop := total_rows > 0 AND recent_rows_24h < 0.1 * total_rows;
    age := now() - last_row_at;
    status := CASE
        WHEN jsonb_path_exists(schema_drift, '$[*] ? (@.change != "added")') OR orphan_rows > 0 OR out_of_range_rows > 0 THEN 'critical'
        WHEN total_rows = 0 THEN 'empty'
        WHEN duplicate_rate > 0.01 OR volume_drop THEN 'warning'
        ELSE 'ok'
    END;
END
$$;
COMMENT ON FUNCTION stormops.check_table_health(text, interval) IS 'Health of a table of counted_tables(), in one row: of the tenant in context its row counts, age, and null, blank, duplicate, orphan and out-of-range rows of the last look_back; without a tenant (operator, monitor) counts over all tenants, size_bytes and vacuum only. status: ok, warning, empty, critical. Errors: 0B000 no tenant; 22004; 22023 look_back; 42501 not allowed; 42704 not a watched table.';

CREATE FUNCTION stormops_internal.table_upkeep(
    table_name text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT last_at timestamptz,
    OUT size_bytes bigint, OUT dead_rows bigint, OUT last_vacuum timestamptz, OUT last_analyze timestamptz
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT stormops_internal.may_monitor() THEN
        PERFORM stormops.current_tenant(); -- an application without a tenant hears that, as everywhere
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see all tenants'' tables',
            HINT = 'Set a tenant to see its own.';
    END IF;
    SELECT sum(c.total_rows), sum(c.recent_rows_24h), max(c.last_at) INTO total_rows, recent_rows_24h, last_at
    FROM stormops_internal.tenant_row_counts() AS c WHERE c.table_name = this.table_name;
    SELECT sum(pg_total_relation_size(p.relid)), sum(s.n_dead_tup), max(greatest(s.last_vacuum, s.last_autovacuum)),
        max(greatest(s.last_analyze, s.last_autoanalyze))
    INTO size_bytes, dead_rows, last_vacuum, last_analyze
    FROM (
        SELECT p.relid FROM stormops_internal.kept_in(this.table_name) AS k, pg_partition_tree(k.relation) AS p
        UNION SELECT k.relation FROM stormops_internal.kept_in(this.table_name) AS k -- which is no tree where there is no partition
    ) AS p
    LEFT JOIN pg_stat_all_tables AS s ON s.relid = p.relid;
END
$$;
COMMENT ON FUNCTION stormops_internal.table_upkeep(text) IS 'A table of all tenants: rows by the counters, and what an operator watches: size with indexes, dead rows, last vacuum and analyze of any partition. Errors: 22004; 42501; 42704.';

CREATE FUNCTION stormops_internal.has_tenant() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(current_setting('app.current_tenant', true), '') <> '' $$;
COMMENT ON FUNCTION stormops_internal.has_tenant() IS 'True if the context names a tenant, open or not.';

CREATE FUNCTION stormops_internal.may_monitor() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.has_use('{operator,monitor}'::text[]) $$;
COMMENT ON FUNCTION stormops_internal.may_monitor() IS 'True if the calling role is an operator, a monitor or a superuser.';
