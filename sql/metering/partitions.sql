-- The upkeep of tenant_usage: one partition a month, made ahead, dropped when nothing rests on it.

CREATE FUNCTION stormops_internal.await_writers(relation oid) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'await_writers_wrapper';
COMMENT ON FUNCTION stormops_internal.await_writers(oid) IS 'Waits until every transaction has ended that holds a lock of a table for writing now; blocks nobody.';

CREATE FUNCTION stormops_internal.usage_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'tenant_usage_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.usage_partition(date) IS 'Name of a month''s partition of tenant_usage.';

CREATE FUNCTION stormops_internal.missing_usage_partitions(months_ahead integer) RETURNS date[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(array_agg(m.month ORDER BY m.month), '{}')
    FROM (
        SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date AS month FROM generate_series(0, $1) AS n
        UNION
        SELECT date_trunc('month', u.recorded_at AT TIME ZONE 'UTC')::date FROM stormops_internal.tenant_usage_default AS u
    ) AS m
    WHERE to_regclass('stormops_internal.' || stormops_internal.usage_partition(m.month)) IS NULL
$$;
COMMENT ON FUNCTION stormops_internal.missing_usage_partitions(integer) IS 'The months from this one to so many ahead, and those of the default partition''s events, that have no partition.';

CREATE FUNCTION stormops_internal.make_usage_partitions(months date[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
BEGIN
    FOREACH month IN ARRAY months LOOP
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.tenant_usage INCLUDING ALL EXCLUDING IDENTITY)',
            stormops_internal.usage_partition(month));
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', stormops_internal.usage_partition(month));
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', stormops_internal.usage_partition(month),
            format('Events of %s (UTC).', to_char(month, 'YYYY-MM')));
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.make_usage_partitions(date[]) IS 'Makes tables that are to be partitions: all that nobody needs to be held up for.';

CREATE FUNCTION stormops_internal.attach_usage_partitions(months date[]) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = ''
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    name text;
    starts text;
    ends text;
BEGIN
    IF months = '{}' THEN
        RETURN 0;
    END IF;
    -- A statement that has chosen the default partition would fail there once the month has its own: so writers
    -- are held up, for a moment only.
    IF months[1] <= now() + interval '1 day' THEN
        LOCK TABLE stormops.tenant_usage IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    -- Whoever writes there now has ended before its rows are moved.
    LOCK TABLE stormops_internal.tenant_usage_default IN ACCESS EXCLUSIVE MODE;
    FOREACH month IN ARRAY months LOOP
        name := stormops_internal.usage_partition(month);
        -- Written out, since a session's TimeZone and DateStyle may give a moment that reads as another.
        starts := to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00';
        ends := to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.tenant_usage_default WHERE recorded_at >= %L AND recorded_at < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', starts, ends, name);
        EXECUTE format('ALTER TABLE stormops.tenant_usage ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)', name, starts, ends);
    END LOOP;
    RETURN cardinality(months);
END
$$;
COMMENT ON FUNCTION stormops_internal.attach_usage_partitions(date[]) IS 'Attaches the tables of make_usage_partitions() and moves to them what the default partition has of their months. To be called patiently().';

CREATE FUNCTION stormops_internal.usage_needed(before timestamptz) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'it is not rolled up'
    WHERE EXISTS (
        SELECT FROM stormops.tenant_usage AS e
        JOIN stormops.usage_batches AS b ON b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL
        WHERE e.recorded_at < $1)
    UNION ALL
    -- Where invoices are written at all, one that is final can still be proved, and one to come can be rated.
    SELECT 'a month of it is not invoiced'
    WHERE EXISTS (SELECT FROM stormops.invoices AS i WHERE i.status = 'finalized') AND EXISTS (
        SELECT FROM stormops.usage_rollups AS r
        -- What was used before the tenant's first month, as an import may bring it, is never invoiced.
        JOIN stormops.tenants AS t ON t.tenant_id = r.tenant_id
            AND t.created_at < stormops_internal.next_period('month', r.bucket) AND (t.status <> 'closed' OR t.status_changed_at > r.bucket)
        WHERE r.grain = 'month' AND r.dimensions = '{}' AND NOT EXISTS (
                SELECT FROM stormops.invoices AS i
                WHERE i.tenant_id = r.tenant_id AND i.period = (r.bucket AT TIME ZONE 'UTC')::date AND i.kind = 'invoice' AND i.status = 'finalized')
            AND r.bucket < $1 AND r.bucket >= (SELECT p.kept_from FROM stormops_internal.metering_progress AS p))
    LIMIT 1
$$;
COMMENT ON FUNCTION stormops_internal.usage_needed(timestamptz) IS 'Why raw events from before must stay; NULL: they need not.';

CREATE FUNCTION stormops_internal.drop_usage_partitions(limits timestamptz) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition record;
    reason text;
    months date[];
    dropped text[] := '{}';
BEGIN
    -- Nobody writes meanwhile; who waits is then refused for being too late.
    LOCK TABLE stormops.tenant_usage IN ACCESS EXCLUSIVE MODE;
    months := stormops_internal.missing_usage_partitions(0);
    PERFORM stormops_internal.make_usage_partitions(months);
    PERFORM stormops_internal.attach_usage_partitions(months);
    reason := stormops_internal.usage_needed(limits);
    IF reason IS NOT NULL THEN
        PERFORM stormops_internal.raise_usage_needed(limits, reason);
    END IF;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.tenant_usage'::regclass AND c.relname ~ '^tenant_usage_[0-9]{4}_[0-9]{2}$'
            AND to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC' < limits
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE stormops_internal.%I', partition.relname);
        dropped := dropped || partition.relname::text;
    END LOOP;
    -- Of the one partition for all that is old, what has come since.
    DELETE FROM stormops_internal.tenant_usage_old AS o WHERE o.recorded_at < limits;
    UPDATE stormops_internal.metering_progress AS p SET kept_from = greatest(p.kept_from, limits);
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops_internal.drop_usage_partitions(timestamptz) IS 'Of drop_usage_before(): what nobody may read or write meanwhile. To be called patiently(). Error: 55000.';

CREATE FUNCTION stormops_internal.raise_usage_needed(before timestamptz, reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('usage from before %s cannot be dropped: %s', to_char(before AT TIME ZONE 'UTC', 'YYYY-MM'), reason),
        HINT = 'SELECT * FROM stormops.rollup_usage(); and finalize the invoices first.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_usage_needed(timestamptz, text) IS 'Error 55000.';

CREATE FUNCTION stormops.drop_usage_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    limits timestamptz;
    reason text;
    of_old boolean;
    dropped text[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '2 months' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'usage of the last two months is kept',
            HINT = 'SELECT stormops.drop_usage_before((now() - interval ''2 years'')::date);';
    END IF;
    limits := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    reason := stormops_internal.usage_needed(limits);
    IF reason IS NOT NULL THEN
        PERFORM stormops_internal.raise_usage_needed(limits, reason);
    END IF;
    -- What takes long comes first, before anybody is held up.
    DELETE FROM stormops_internal.tenant_usage_old AS o WHERE o.recorded_at < limits;
    of_old := FOUND;
    DELETE FROM stormops.usage_keys AS k WHERE k.recorded_at < limits;
    DELETE FROM stormops.quota_counters AS c
    WHERE (c.tenant_id, c.metric_name, c.period, c.period_start) IN (
        SELECT o.tenant_id, o.metric_name, o.period, o.period_start FROM stormops.quota_counters AS o
        WHERE o.period_start < limits FOR UPDATE SKIP LOCKED);
    dropped := stormops_internal.patiently(format('SELECT stormops_internal.drop_usage_partitions(%L)', to_char(limits AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ' 00:00:00+00'));
    IF dropped IS NULL THEN
        PERFORM stormops_internal.raise_in_use('tenant_usage');
    END IF;
    RETURN CASE WHEN of_old THEN 'tenant_usage_old'::text || dropped ELSE dropped END;
END
$$;
COMMENT ON FUNCTION stormops.drop_usage_before(date) IS 'Drops the raw events of the months before the one of a date, of all tenants, with their keys; rollups and invoices stay, and an event of that time is refused from then on. Returns the names of the partitions; of tenant_usage_old (before 2024) only the events go. Errors: 22023 for the last two months; 55000 not rolled up or invoiced; 55P03 in use for more than a second.';

CREATE FUNCTION stormops_internal.raise_in_use(table_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available', MESSAGE = format('%s is in use', table_name),
        DETAIL = 'Nothing was done, and nobody else was held up.',
        HINT = 'Call it again; SELECT pid, usename, xact_start FROM pg_stat_activity ORDER BY xact_start; shows who has been at it for long.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_in_use(text) IS 'Error 55P03.';
