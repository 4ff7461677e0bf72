-- The upkeep of the decision log: one partition a month, made ahead, dropped when nobody needs it.

CREATE FUNCTION stormops_internal.make_decisions_partitions(months date[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    name text;
BEGIN
    FOREACH month IN ARRAY months LOOP
        name := stormops_internal.decisions_partition(month);
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.policy_decision_blocks INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', name, format('Decisions of the runs of %s (UTC).', to_char(month, 'YYYY-MM')));
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.make_decisions_partitions(date[]) IS 'Makes tables that are to be partitions: all that nobody needs to be held up for.';

CREATE FUNCTION stormops_internal.attach_decisions_partitions(months date[]) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    AS $$
DECLARE
    month date;
    first_id uuid;
    next_id uuid;
BEGIN
    IF months = '{}' THEN
        RETURN 0;
    END IF;
    LOCK TABLE stormops_internal.policy_decision_blocks_default IN ACCESS EXCLUSIVE MODE;
    FOREACH month IN ARRAY months LOOP
        first_id := stormops_internal.first_id_of(month);
        next_id := stormops_internal.first_id_of((month + interval '1 month')::date);
        -- What the month already has lies in the default partition.
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.policy_decision_blocks_default WHERE run_id >= %L AND run_id < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', first_id, next_id, stormops_internal.decisions_partition(month));
        EXECUTE format('ALTER TABLE stormops.policy_decision_blocks ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)',
            stormops_internal.decisions_partition(month), first_id, next_id);
    END LOOP;
    RETURN cardinality(months);
END
$$;
COMMENT ON FUNCTION stormops_internal.attach_decisions_partitions(date[]) IS 'Attaches the tables of make_decisions_partitions() and moves to them what the default partition has of their months. To be called patiently().';

CREATE FUNCTION stormops.maintain_partitions(months_ahead integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    decided date[];
    used date[];
    attach text[];
    attached integer;
    made integer;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    months_ahead := coalesce(months_ahead, 3);
    PERFORM stormops_internal.visit_all_tenants();
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'months ahead must be 0 to 120',
            HINT = 'SELECT stormops.maintain_partitions(3);';
    END IF;
    -- Two at once stand in line, so that the second finds the first one's partitions.
    LOCK TABLE stormops.policy_decision_blocks, stormops.tenant_usage IN SHARE UPDATE EXCLUSIVE MODE;
    decided := ARRAY(
        SELECT m.month FROM (
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => m))::date AS month
            FROM generate_series(0, months_ahead) AS m
            UNION
            SELECT date_trunc('month', to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date
            FROM stormops_internal.policy_decision_blocks_default AS d
        ) AS m
        WHERE to_regclass('stormops_internal.' || stormops_internal.decisions_partition(m.month)) IS NULL ORDER BY m.month);
    used := stormops_internal.missing_usage_partitions(months_ahead);
    IF decided = '{}' AND used = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM stormops_internal.make_decisions_partitions(decided);
    PERFORM stormops_internal.make_usage_partitions(used);
    attach := ARRAY[
        format('SELECT stormops_internal.attach_decisions_partitions(%L)', ARRAY(SELECT to_char(m.month, 'YYYY-MM-DD') FROM unnest(decided) AS m (month))),
        format('SELECT stormops_internal.attach_usage_partitions(%L)', ARRAY(SELECT to_char(m.month, 'YYYY-MM-DD') FROM unnest(used) AS m (month)))];
    -- What is attached is locked until the end: so both together, or what can be at once.
    made := stormops_internal.patiently(format('SELECT (%s) + (%s)', attach[1], attach[2]));
    IF made IS NULL THEN
        made := 0;
        attached := stormops_internal.patiently(attach[1], now());
        made := made + coalesce(attached, 0);
        IF attached IS NULL AND decided <> '{}' THEN
            EXECUTE (SELECT 'DROP TABLE ' || string_agg('stormops_internal.' || stormops_internal.decisions_partition(m.month), ', ') FROM unnest(decided) AS m (month));
        END IF;
        attached := stormops_internal.patiently(attach[2], now());
        made := made + coalesce(attached, 0);
        IF attached IS NULL AND used <> '{}' THEN
            EXECUTE (SELECT 'DROP TABLE ' || string_agg('stormops_internal.' || stormops_internal.usage_partition(m.month), ', ') FROM unnest(used) AS m (month));
        END IF;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops.maintain_partitions(integer) IS 'Makes the partitions of the decision log and of tenant_usage for this month, for so many ahead and for whatever their default partitions have, and moves that there. Returns how many it made: those that a transaction of more than a second is in the way of are left to the next call. Run it daily; a missing partition loses nothing. Error: 22023.';

CREATE FUNCTION stormops_internal.decisions_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'policy_decision_blocks_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.decisions_partition(date) IS 'Name of a month''s partition of the decision log.';

CREATE FUNCTION stormops_internal.first_id_of(month date) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.first_id_at((extract(epoch FROM $1::timestamp) * 1000)::bigint) $$;
COMMENT ON FUNCTION stormops_internal.first_id_of(date) IS 'The smallest UUID of version 7 of a month, UTC.';

CREATE FUNCTION stormops_internal.drop_decisions_partitions(partitions text[]) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition text;
BEGIN
    FOREACH partition IN ARRAY partitions LOOP
        EXECUTE format('DROP TABLE stormops_internal.%I', partition);
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.drop_decisions_partitions(text[]) IS 'Of drop_decisions_before(): what nobody may read meanwhile. To be called patiently().';

CREATE FUNCTION stormops.drop_decisions_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition record;
    dropped text[] := '{}';
    months date[] := '{}';
    bound date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '1 month' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'decisions of the last month are kept',
            HINT = 'SELECT stormops.drop_decisions_before((now() - interval ''7 years'')::date);';
    END IF;
    FOR partition IN
        SELECT c.relname AS name, to_date(right(c.relname, 7), 'YYYY_MM') AS of_month, p.rows
        FROM (VALUES ('policy_decision_blocks', 'sum(r.n)'), ('policy_decision_rows', 'count(*)')) AS p (parent, rows)
        JOIN pg_inherits AS i ON i.inhparent = to_regclass('stormops.' || p.parent)
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE CASE WHEN c.relname ~ ('^' || p.parent || '_[0-9]{4}_[0-9]{2}$')
            THEN (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month')::date <= month END
        ORDER BY right(c.relname, 7), c.relname
    LOOP
        PERFORM stormops_internal.uncount_partition('policy_decisions_log', partition.name, partition.rows);
        dropped := dropped || partition.name::text;
        months := months || partition.of_month;
        bound := (partition.of_month + interval '1 month')::date;
    END LOOP;
    IF dropped <> '{}' AND stormops_internal.patiently(format('SELECT stormops_internal.drop_decisions_partitions(%L)', dropped)) IS NULL THEN
        PERFORM stormops_internal.raise_in_use('policy_decisions_log');
    END IF;
    DELETE FROM stormops.policy_run_inputs AS i USING stormops.policy_run_digests AS d
    WHERE d.tenant_id = i.tenant_id AND d.run_id = i.run_id AND d.run_id < stormops_internal.first_id_of(bound);
    -- Whose decisions went is in each tenant's log, so that it can tell them from decisions that somebody took away.
    PERFORM stormops_internal.log_event(r.tenant_id, 'drop_decisions', NULL, bound::text,
        format('%s decisions of %s runs', sum(r.decisions), count(*)))
    FROM (
        SELECT d.tenant_id, d.decisions FROM stormops.policy_run_digests AS d
        WHERE d.run_id < stormops_internal.first_id_of(bound)
            AND date_trunc('month', to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date = ANY (months)
    ) AS r
    GROUP BY r.tenant_id
    ORDER BY r.tenant_id;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops.drop_decisions_before(date) IS 'Drops the decision log''s partitions that end by a date, of all tenants; runs and their counts stay. Returns their names. Errors: 22023 for the last month; 55P03 somebody has been reading for more than a second.';
