-- What is metered: metrics and their declaration.

CREATE FUNCTION stormops.default_metrics(
    OUT metric_name text, OUT unit text, OUT aggregation text, OUT unique_dimension text, OUT rollup_dimensions text[]
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.metric_name, m.unit, m.aggregation, NULL::text, m.rollup_dimensions::text[]
    FROM (VALUES
        ('model_call', 'call', 'SUM', '{model}'),
        -- A level, not a flow: a month of daily measurements is not their sum.
        ('storage_mb', 'MB', 'MAX', '{}'),
        ('policy_run', 'run', 'SUM', '{}'),
        ('policy_decision', 'decision', 'SUM', '{}'),
        ('health_check', 'check', 'SUM', '{}'),
        ('api_call', 'call', 'SUM', '{}')
    ) AS m (metric_name, unit, aggregation, rollup_dimensions)
$$;
COMMENT ON FUNCTION stormops.default_metrics() IS 'The metrics that a new tenant gets. Columns as in metrics.';

CREATE FUNCTION stormops.declare_metric(
    metric_name text, unit text, aggregation text DEFAULT 'SUM', unique_dimension text DEFAULT NULL,
    rollup_dimensions text[] DEFAULT '{}', tenant_id uuid DEFAULT NULL, OUT declared boolean
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    aggregation := coalesce(nullif(aggregation, ''), 'SUM');
    rollup_dimensions := coalesce(rollup_dimensions, '{}');
    PERFORM stormops_internal.visit_all_tenants();
    IF metric_name IS NULL OR unit IS NULL OR aggregation IS NULL OR rollup_dimensions IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'metric, unit and aggregation must be given',
            HINT = 'SELECT stormops.declare_metric(''photo'', ''file'', ''SUM'');';
    END IF;
    INSERT INTO stormops.metrics AS m (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    VALUES (target, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
    declared := FOUND;
    IF NOT declared AND NOT EXISTS (
        SELECT FROM stormops.metrics AS m
        WHERE m.tenant_id = target AND m.metric_name = declare_metric.metric_name
            AND (m.unit, m.aggregation, m.rollup_dimensions) = (unit, aggregation, rollup_dimensions)
            AND m.unique_dimension IS NOT DISTINCT FROM unique_dimension
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('metric "%s" is declared otherwise', metric_name),
            HINT = 'A declaration never changes: give the new metric another name.';
    END IF;
EXCEPTION
    -- Of an array of arrays the check cannot even ask.
    WHEN check_violation OR feature_not_supported THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'declaration of the metric is not valid',
            DETAIL = 'A name is a small letter, then small letters, digits, _ and ., at most 63; a unit has 1 to 30 characters; there are up to four rollup dimensions.',
            HINT = 'An aggregation is SUM, COUNT, MAX, LATEST, or UNIQUE with its unique_dimension.';
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
END
$$;
COMMENT ON FUNCTION stormops.declare_metric(text, text, text, text, text[], uuid) IS 'Declares a metric of a tenant, for good. aggregation: SUM, COUNT, MAX, LATEST, UNIQUE (over unique_dimension); rollup_dimensions: up to four dimensions to keep rollups by. tenant_id: NULL for the one in context; an operator names any. Returns true, or false if it was declared alike before. Errors: 22004; 22023; 42501 not an admin; 42710 declared otherwise; 55000 suspended; P0002.';

CREATE FUNCTION stormops_internal.require_read_committed() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- With one snapshot for the whole transaction, what others commit while a step waits for its lock would not be seen after.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', MESSAGE = 'usage is rolled up, priced and invoiced in a READ COMMITTED transaction only',
            HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED; ...; COMMIT;';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_read_committed() IS 'Error 25000 in another isolation level.';

CREATE FUNCTION stormops_internal.require_metric(tenant_id uuid, metric_name text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    -- What the platform itself meters is never refused, whichever way the tenant came here.
    IF EXISTS (SELECT FROM stormops.default_metrics() AS m WHERE m.metric_name = require_metric.metric_name) THEN
        INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
        SELECT tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions
        FROM stormops.default_metrics() AS m WHERE m.metric_name = require_metric.metric_name
        ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
        RETURN;
    END IF;
    IF metric_name !~ '^[a-z][a-z0-9_.]{0,62}$' OR NOT EXISTS (
        SELECT FROM stormops.tenants AS t JOIN stormops_internal.tier_settings AS s ON s.tier = t.tier
        WHERE t.tenant_id = require_metric.tenant_id AND s.auto_declare
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('metric "%s" is not declared', left(metric_name, 63)),
            HINT = 'SELECT stormops.declare_metric(metric_name, unit, aggregation); stormops.metrics shows this tenant''s.';
    END IF;
    INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation) VALUES (tenant_id, metric_name, 'unit', 'SUM')
    ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_metric(uuid, text) IS 'Declares the metric of an event: one of default_metrics() as it stands there, another as a SUM where the tenant''s tier allows it (tier_settings.auto_declare). Error: 22023.';
