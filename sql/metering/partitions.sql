-- The upkeep of tenant_usage: one partition a month, made ahead, dropped when nothing rests on it.

CREATE FUNCTION stormops_internal.await_writers(relation oid) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'await_writers_wrapper';
COMMENT ON FUNCTION stormops_internal.await_writers(oid) IS 'Waits until every transaction has ended that holds a lock of a table for writing now; blocks nobody.';

CREATE FUNCTION stormops_internal.usage_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'tenant_usage_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.usage_partition(date) IS 'Name of a month''s partition of tenant_usage.';

CREATE FUNCTION stormops_internal.hold_usage_writers() RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s' -- new writers wait as long as this does
    AS $$
BEGIN
    LOCK TABLE stormops.tenant_usage IN SHARE ROW EXCLUSIVE MODE;
    RETURN true;
EXCEPTION
    WHEN lock_not_available THEN RETURN false;
END
$$;
COMMENT ON FUNCTION stormops_internal.hold_usage_writers() IS 'Keeps usage from being written until the transaction ends. False if it could not within two seconds, since somebody is still writing.';

CREATE FUNCTION stormops_internal.maintain_usage_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    now_written boolean;
    name text;
    starts text;
    ends text;
    made integer := 0;
BEGIN
    -- Two at once stand in line, so that the second finds the first one's partitions.
    LOCK TABLE stormops.tenant_usage IN SHARE UPDATE EXCLUSIVE MODE;
    FOR month, now_written IN
        SELECT m.month, bool_or(m.has_rows) OR m.month <= now() + interval '1 day'
        FROM (
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date AS month, false AS has_rows
            FROM generate_series(0, months_ahead) AS n
            UNION ALL
            SELECT DISTINCT date_trunc('month', u.recorded_at AT TIME ZONE 'UTC')::date, true FROM stormops_internal.tenant_usage_default AS u
        ) AS m
        GROUP BY m.month ORDER BY m.month
    LOOP
        name := stormops_internal.usage_partition(month);
        CONTINUE WHEN to_regclass('stormops_internal.' || name) IS NOT NULL;
        IF now_written THEN
            -- A statement that has chosen the default partition would fail there once the month has its own: so writers
            -- are held up, for a moment only. If one of them does not end, the events stay until the next call.
            PERFORM stormops_internal.await_writers('stormops_internal.tenant_usage_default'::regclass::oid);
            CONTINUE WHEN NOT stormops_internal.hold_usage_writers();
        END IF;
        -- Written out, since a session's TimeZone and DateStyle may give a moment that reads as another.
        starts := to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00';
        ends := to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
        -- Whoever writes there now has ended before its rows are moved.
        LOCK TABLE stormops_internal.tenant_usage_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.tenant_usage INCLUDING ALL EXCLUDING IDENTITY)', name);
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.tenant_usage_default WHERE recorded_at >= %L AND recorded_at < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', starts, ends, name);
        EXECUTE format('ALTER TABLE stormops.tenant_usage ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)', name, starts, ends);
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', name, format('Events of %s (UTC).', to_char(month, 'YYYY-MM')));
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops_internal.maintain_usage_partitions(integer) IS 'The part of maintain_partitions() that is for tenant_usage.';

CREATE FUNCTION stormops_internal.usage_needed(before timestamptz) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'it is not rolled up'
    WHERE EXISTS (
        SELECT FROM stormops.tenant_usage AS e
        WHERE e.recorded_at < $1 AND e.usage_seq > (SELECT p.watermark FROM stormops_internal.metering_progress AS p))
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

CREATE FUNCTION stormops.drop_usage_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition record;
    reason text;
    limits timestamptz;
    dropped text[] := '{}';
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '2 months' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'usage of the last two months is kept',
            HINT = 'SELECT stormops.drop_usage_before((now() - interval ''2 years'')::date);';
    END IF;
    limits := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    -- Nobody writes meanwhile; who waits is then refused for being too late.
    LOCK TABLE stormops.tenant_usage IN ACCESS EXCLUSIVE MODE;
    PERFORM stormops_internal.maintain_usage_partitions(0);
    reason := stormops_internal.usage_needed(limits);
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('usage from before %s cannot be dropped: %s', to_char(month, 'YYYY-MM'), reason),
            HINT = 'SELECT * FROM stormops.rollup_usage(); and finalize the invoices first.';
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
    -- Of the one partition for all that is old, what is meant.
    DELETE FROM stormops_internal.tenant_usage_old AS o WHERE o.recorded_at < limits;
    IF FOUND THEN
        dropped := 'tenant_usage_old'::text || dropped;
    END IF;
    DELETE FROM stormops.usage_keys AS k WHERE k.recorded_at < limits;
    DELETE FROM stormops.quota_counters AS c WHERE c.period_start < limits;
    UPDATE stormops_internal.metering_progress AS p SET kept_from = greatest(p.kept_from, limits);
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops.drop_usage_before(date) IS 'Drops the raw events of the months before the one of a date, of all tenants, with their idempotency keys; rollups and invoices stay. From then on an event of that time is refused. Returns the names of the partitions; of tenant_usage_old, which holds all from before 2024, only those events are deleted. Errors: 22023 for the last two months; 55000 some of it is not rolled up or invoiced.';
