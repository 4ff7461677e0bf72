-- The counters put right where triggers did not run, and the triggers themselves.

CREATE FUNCTION stormops.recount_rows(table_name text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    corrected bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Rows and their counts are committed together, so one snapshot shows both as they belong together, and what is added
    -- to the counts then holds whoever writes meanwhile. Two recounts, or a fold, stand in line.
    LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE;
    -- When rows that were never counted came, their own time says; later differences have none.
    EXECUTE format($query$
        WITH counted AS (
            SELECT b.tenant_id, sum(b.rows) AS rows FROM (
                SELECT c.tenant_id, c.inserted - c.deleted AS rows FROM stormops.row_counts AS c WHERE c.table_name = $1
                UNION ALL
                SELECT d.tenant_id, d.inserted - d.deleted FROM stormops.row_count_deltas AS d WHERE d.table_name = $1
            ) AS b GROUP BY b.tenant_id
        ), present AS (
            SELECT r.tenant_id, stormops_internal.count_bucket(r.%I) AS bucket, count(*) AS rows, max(r.%I) AS last_at
            FROM stormops.%I AS r GROUP BY 1, 2
        ), totals AS (
            SELECT p.tenant_id, sum(p.rows) AS rows FROM present AS p GROUP BY 1
        ), missing AS (
            SELECT p.tenant_id, p.bucket, p.rows, 0 AS deleted, least(p.last_at, now()) AS last_at FROM present AS p
            WHERE NOT EXISTS (SELECT FROM counted AS c WHERE c.tenant_id = p.tenant_id)
            UNION ALL
            SELECT c.tenant_id, timestamptz '1970-01-01 00:00:00+00', greatest(coalesce(t.rows, 0) - c.rows, 0),
                greatest(c.rows - coalesce(t.rows, 0), 0), NULL
            FROM counted AS c LEFT JOIN totals AS t ON t.tenant_id = c.tenant_id
            WHERE c.rows <> coalesce(t.rows, 0)
        )
        INSERT INTO stormops.row_counts AS c (tenant_id, table_name, bucket, inserted, deleted, last_at)
        SELECT m.tenant_id, $1, least(m.bucket, date_trunc('hour', now(), 'UTC')), sum(m.rows), sum(m.deleted), max(m.last_at)
        FROM missing AS m GROUP BY 1, 3
        ON CONFLICT ON CONSTRAINT row_counts_pkey DO UPDATE
        SET inserted = c.inserted + EXCLUDED.inserted, deleted = c.deleted + EXCLUDED.deleted,
            last_at = greatest(c.last_at, EXCLUDED.last_at)
        $query$, this.time_column, this.time_column, this.table_name)
    USING this.table_name;
    GET DIAGNOSTICS corrected = ROW_COUNT;
    RETURN corrected;
END
$$;
COMMENT ON FUNCTION stormops.recount_rows(text) IS 'Counts a table''s rows, of all tenants, and puts right what row_counts says; returns how many entries it wrote, 0 if all was right. For operators, after rows were written where triggers do not run (session_replication_role = replica, a partition named directly). Nobody waits. Errors: 22004; 25000 not READ COMMITTED; 42704 not a watched table.';

CREATE FUNCTION stormops_internal.uncount_partition(table_name text, partition name, rows text DEFAULT 'count(*)') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    EXECUTE format('INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted)'
        ' SELECT r.tenant_id, %L, stormops.new_id(), 0, %s FROM stormops_internal.%I AS r GROUP BY r.tenant_id', table_name, rows, partition);
END
$$;
COMMENT ON FUNCTION stormops_internal.uncount_partition(text, name, text) IS 'Counts the rows of a partition as deleted, before it is dropped. rows: how many of table_name its rows are, an aggregate.';

CREATE FUNCTION stormops_internal.counting_triggers(OUT table_name text, OUT trigger name, OUT definition text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.table_name, t.trigger::name, format('CREATE TRIGGER %s AFTER %s ON stormops.%I%s FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.count_rows()',
        t.trigger, t.event, c.table_name, t.rows)
    FROM stormops.counted_tables() AS c JOIN (VALUES
        ('count_inserted', 'INSERT', ' REFERENCING NEW TABLE AS changed_rows'),
        ('count_deleted', 'DELETE', ' REFERENCING OLD TABLE AS changed_rows'),
        ('count_truncated', 'TRUNCATE', '')
    ) AS t (trigger, event, rows) ON c.table_name <> 'policy_decisions_log' -- a view: apply_policy() counts what it writes
$$;
COMMENT ON FUNCTION stormops_internal.counting_triggers() IS 'The triggers that count the rows of the counted tables.';

CREATE FUNCTION stormops_internal.count_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
    uncounted text[] := ARRAY(
        SELECT c.table_name FROM stormops.counted_tables() AS c
        WHERE c.table_name <> 'policy_decisions_log' AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = format('stormops.%I', c.table_name)::regclass AND g.tgname = 'count_inserted'));
BEGIN
    FOR t IN SELECT c.definition FROM stormops_internal.counting_triggers() AS c LOOP
        EXECUTE regexp_replace(t.definition, '^CREATE', 'CREATE OR REPLACE');
    END LOOP;
    PERFORM stormops.recount_rows(u.table_name) FROM unnest(uncounted) AS u (table_name);
END
$$;
COMMENT ON FUNCTION stormops_internal.count_tables() IS 'Gives each counted table its triggers. One that had none may hold rows that nobody counted: that is put right in the same transaction, while no writer can pass.';
