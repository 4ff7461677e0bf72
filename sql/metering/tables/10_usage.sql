CREATE TABLE IF NOT EXISTS stormops.metrics (
    tenant_id         uuid NOT NULL REFERENCES stormops.tenants,
    metric_name       text NOT NULL CHECK (metric_name ~ '^[a-z][a-z0-9_.]{0,62}$'),
    unit              text NOT NULL CHECK (char_length(unit) BETWEEN 1 AND 30),
    aggregation       text NOT NULL CHECK (aggregation IN ('SUM', 'COUNT', 'MAX', 'LATEST', 'UNIQUE')),
    unique_dimension  text CHECK (char_length(unique_dimension) BETWEEN 1 AND 40),
    rollup_dimensions text[] NOT NULL DEFAULT '{}' CHECK (
        cardinality(rollup_dimensions) <= 4 AND array_position(rollup_dimensions, NULL) IS NULL
        -- What stands at place one is found there.
        AND array_lower(rollup_dimensions, 1) IS NOT DISTINCT FROM CASE WHEN cardinality(rollup_dimensions) > 0 THEN 1 END
        AND array_to_string(rollup_dimensions, ',') ~ '^([a-z][a-z0-9_]{0,39}(,|$))*$'),
    declared_at       timestamptz NOT NULL DEFAULT now() CHECK (isfinite(declared_at)),
    PRIMARY KEY (tenant_id, metric_name),
    CHECK ((aggregation = 'UNIQUE') = (unique_dimension IS NOT NULL))
);
COMMENT ON TABLE stormops.metrics IS 'What a tenant meters. Provisioning copies default_metrics(); declare_metric() adds. A declaration never changes, so that a rollup means the same for ever.';
COMMENT ON COLUMN stormops.metrics.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.metrics.metric_name IS 'Name: a small letter, then small letters, digits, _ and ., at most 63.';
COMMENT ON COLUMN stormops.metrics.unit IS 'Unit of the values: call, MB, ...';
COMMENT ON COLUMN stormops.metrics.aggregation IS 'What a period''s quantity is: SUM of the values, COUNT of the events, MAX value, LATEST value, or the number of UNIQUE values of a dimension.';
COMMENT ON COLUMN stormops.metrics.unique_dimension IS 'The dimension whose different values UNIQUE counts.';
COMMENT ON COLUMN stormops.metrics.rollup_dimensions IS 'Up to four dimensions by whose values rollups are kept, beside the rollup over all.';
COMMENT ON COLUMN stormops.metrics.declared_at IS 'When it was declared.';

-- Partitioned by the month of the event.
CREATE TABLE IF NOT EXISTS stormops.tenant_usage (
    tenant_id       uuid NOT NULL,
    usage_id        uuid NOT NULL,
    metric_name     text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value    numeric NOT NULL CHECK (metric_value >= 0 AND metric_value <= 1e15 AND scale(metric_value) <= 20),
    dimensions      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(dimensions) = 'object' AND pg_column_size(dimensions || '{}') <= 8192),
    idempotency_key text CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    recorded_at     timestamptz NOT NULL DEFAULT now() CHECK (recorded_at >= '2000-01-01 00:00:00+00'),
    usage_seq       bigint NOT NULL GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME stormops.usage_order),
    PRIMARY KEY (tenant_id, metric_name, recorded_at, usage_id),
    -- What held once holds for ever, so a restore accepts what was accepted.
    CONSTRAINT not_in_the_future CHECK (recorded_at <= now() + interval '5 minutes')
) PARTITION BY RANGE (recorded_at);
CREATE TABLE IF NOT EXISTS stormops_internal.tenant_usage_default PARTITION OF stormops.tenant_usage DEFAULT;
-- 0.2.0: what is older than this has one partition. Every partition is locked by whoever reads the table without saying when,
-- so that one who sent an event for each month of long ago would take the lock table from everybody.
DO $$
DECLARE
    month name;
BEGIN
    IF to_regclass('stormops_internal.tenant_usage_old') IS NULL THEN
        CREATE TABLE stormops_internal.tenant_usage_old (LIKE stormops.tenant_usage INCLUDING ALL EXCLUDING IDENTITY EXCLUDING COMMENTS);
        FOR month IN
            SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'stormops.tenant_usage'::regclass AND c.relname ~ '^tenant_usage_\d{4}_\d{2}$' AND c.relname < 'tenant_usage_2024_01'
        LOOP
            EXECUTE format('ALTER TABLE stormops.tenant_usage DETACH PARTITION stormops_internal.%I', month);
            EXECUTE format('INSERT INTO stormops_internal.tenant_usage_old SELECT * FROM stormops_internal.%I', month);
            EXECUTE format('DROP TABLE stormops_internal.%I', month);
        END LOOP;
        WITH moved AS (
            DELETE FROM stormops_internal.tenant_usage_default AS d WHERE d.recorded_at < '2024-01-01 00:00:00+00' RETURNING d.*
        )
        INSERT INTO stormops_internal.tenant_usage_old SELECT * FROM moved;
        ALTER TABLE stormops.tenant_usage ATTACH PARTITION stormops_internal.tenant_usage_old FOR VALUES FROM (MINVALUE) TO ('2024-01-01 00:00:00+00');
    END IF;
END
$$;
COMMENT ON TABLE stormops_internal.tenant_usage_old IS 'Events from before 2024.';
-- 0.2.0: batches instead of a number, usage_seq, which 60_batches.sql takes away. A number told one tenant how much others
-- use, and what it meant was kept in a sequence, which no logical copy has.
ALTER TABLE stormops.tenant_usage ADD COLUMN IF NOT EXISTS batch_id uuid;
ALTER TABLE stormops.tenant_usage ALTER COLUMN batch_id SET DEFAULT stormops.usage_batch();
-- Finds what is new for rollups, which the owner's functions make for all tenants at once. It holds a pair of
-- ids for each 32 pages.
CREATE INDEX IF NOT EXISTS tenant_usage_batch ON stormops.tenant_usage USING brin (tenant_id, batch_id) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops_internal.tenant_usage_default IS 'Events of a month that has no partition yet; maintain_partitions() moves them.';
ALTER TABLE stormops.tenant_usage ALTER COLUMN usage_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER admit_usage AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.admit_usage();
-- The owner's functions claim keys themselves, since to them a repeat is no error.
CREATE OR REPLACE TRIGGER claim_keys AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
    FOR EACH STATEMENT WHEN ((CURRENT_USER <> 'stormops_owner'::name)) EXECUTE FUNCTION stormops_internal.claim_keys();
COMMENT ON TABLE stormops.tenant_usage IS 'Metered events, append-only, partitioned by month. Written by record_usage(), record_usages() and plain INSERT.';
COMMENT ON COLUMN stormops.tenant_usage.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.tenant_usage.usage_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.tenant_usage.metric_name IS 'What was used, one of the tenant''s metrics: model_call, storage_mb, ...';
COMMENT ON COLUMN stormops.tenant_usage.metric_value IS 'How much, exact, 0 to 1e15 with at most 20 decimal places, in the metric''s unit.';
COMMENT ON COLUMN stormops.tenant_usage.dimensions IS 'Labels of the event, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.tenant_usage.idempotency_key IS 'A key that the same event carries when it is sent again; unique within the tenant (usage_keys).';
COMMENT ON COLUMN stormops.tenant_usage.recorded_at IS 'When it was used: from 2000 to five minutes ahead of the server''s clock.';
COMMENT ON COLUMN stormops.tenant_usage.batch_id IS 'The transaction that it came in, a UUID of version 7: see usage_batches. NULL: it came before there were batches, and is rolled up.';

-- A key comes with its event only, whose metric, and so whose tenant, admit_usage() has looked up.
CREATE TABLE IF NOT EXISTS stormops.usage_keys (
    tenant_id       uuid NOT NULL,
    idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    usage_id        uuid NOT NULL,
    metric_name     text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value    numeric NOT NULL CHECK (metric_value >= 0 AND metric_value <= 1e15 AND scale(metric_value) <= 20),
    recorded_at     timestamptz NOT NULL CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, idempotency_key)
);
ALTER TABLE stormops.usage_keys DROP CONSTRAINT IF EXISTS usage_keys_tenant_id_fkey; -- it asked once for each event
COMMENT ON TABLE stormops.usage_keys IS 'The idempotency keys of the events in tenant_usage, over all its partitions; kept as long as the events.';
COMMENT ON COLUMN stormops.usage_keys.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.usage_keys.idempotency_key IS 'The key, unique within the tenant.';
COMMENT ON COLUMN stormops.usage_keys.usage_id IS 'The event that was counted.';
COMMENT ON COLUMN stormops.usage_keys.metric_name IS 'Its metric: a repeat must name the same.';
COMMENT ON COLUMN stormops.usage_keys.metric_value IS 'Its value: a repeat must carry the same.';
COMMENT ON COLUMN stormops.usage_keys.recorded_at IS 'Its time.';
