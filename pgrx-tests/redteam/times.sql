-- The moments at which the two databases were filled differ: here they no longer do.
-- Triggers that guard what is final, or keep a log, stand aside.
SET session_replication_role = replica;
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT a.attrelid::regclass AS table_name, a.attname
        FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid
        WHERE t.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND t.relkind IN ('r', 'p') AND NOT t.relispartition
            AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
    LOOP
        EXECUTE format('UPDATE %s SET %I = ''2024-01-04'' WHERE %2$I > now() - interval ''1 day'' AND %2$I < ''infinity''',
            c.table_name, c.attname);
    END LOOP;
    -- So do ids that come from the server, and what the writing took.
    IF to_regclass('stormops.row_count_deltas') IS NOT NULL THEN
        DELETE FROM stormops.row_count_deltas WHERE table_name <> 'twins';
    END IF;
END
$$;
RESET session_replication_role;

-- Nor does one transaction's batch of usage differ from another's.
DO $$
BEGIN
    IF to_regclass('stormops.usage_batches') IS NOT NULL THEN
        UPDATE stormops.usage_batches SET batch_id = md5(tenant_id::text)::uuid WHERE mark IS NULL;
        UPDATE stormops.tenant_usage SET batch_id = md5(tenant_id::text)::uuid;
    END IF;
END
$$;
