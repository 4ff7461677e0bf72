CREATE TABLE IF NOT EXISTS stormops.quotas (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    period      text NOT NULL CHECK (period IN ('hour', 'day', 'month')),
    kind        text NOT NULL CHECK (kind IN ('hard', 'soft')),
    quota       numeric CHECK (quota >= 0 AND quota <= 1e15),
    set_at      timestamptz NOT NULL DEFAULT now() CHECK (isfinite(set_at)),
    set_by      text NOT NULL CHECK (char_length(set_by) <= 63),
    PRIMARY KEY (tenant_id, metric_name, period),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.quotas IS 'Quotas of single tenants, each instead of its tier''s of the same metric and period. Written by set_quota().';
COMMENT ON COLUMN stormops.quotas.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.quotas.metric_name IS 'The metric, of the same tenant.';
COMMENT ON COLUMN stormops.quotas.period IS 'hour, day or month: the calendar''s, in UTC.';
COMMENT ON COLUMN stormops.quotas.kind IS 'hard: what would exceed it is refused; soft: alerts at 80 and 100 percent.';
COMMENT ON COLUMN stormops.quotas.quota IS 'Most of the metric''s quantity in a period, in its unit; NULL: no limit, whatever the tier has.';
COMMENT ON COLUMN stormops.quotas.set_at IS 'When it was set.';
COMMENT ON COLUMN stormops.quotas.set_by IS 'The database role that set it.';

CREATE TABLE IF NOT EXISTS stormops.quota_counters (
    tenant_id    uuid NOT NULL,
    metric_name  text NOT NULL,
    period       text NOT NULL CHECK (period IN ('hour', 'day', 'month')),
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    used         numeric NOT NULL CHECK (used >= 0 AND used < 'Infinity'),
    PRIMARY KEY (tenant_id, metric_name, period, period_start),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
) WITH (fillfactor = 50);
COMMENT ON TABLE stormops.quota_counters IS 'What was used under a hard quota: the row that its writers lock one after the other.';
COMMENT ON COLUMN stormops.quota_counters.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.quota_counters.metric_name IS 'The metric, of the same tenant.';
COMMENT ON COLUMN stormops.quota_counters.period IS 'That of the quota.';
COMMENT ON COLUMN stormops.quota_counters.period_start IS 'Start of the period.';
COMMENT ON COLUMN stormops.quota_counters.used IS 'Quantity used in it.';

CREATE TABLE IF NOT EXISTS stormops.quota_alerts (
    tenant_id    uuid NOT NULL,
    metric_name  text NOT NULL,
    period       text NOT NULL CHECK (period IN ('hour', 'day', 'month')),
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    threshold    integer NOT NULL CHECK (threshold IN (80, 100)),
    kind         text NOT NULL CHECK (kind IN ('hard', 'soft')),
    quota        numeric NOT NULL CHECK (quota >= 0 AND quota <= 1e15),
    used         numeric NOT NULL CHECK (used >= 0 AND used < 'Infinity'),
    raised_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(raised_at)),
    PRIMARY KEY (tenant_id, metric_name, period, period_start, threshold),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.quota_alerts IS 'That usage reached a part of a quota, once for each period. Written by rollup_usage().';
COMMENT ON COLUMN stormops.quota_alerts.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.quota_alerts.metric_name IS 'The metric, of the same tenant.';
COMMENT ON COLUMN stormops.quota_alerts.period IS 'That of the quota.';
COMMENT ON COLUMN stormops.quota_alerts.period_start IS 'Start of the period.';
COMMENT ON COLUMN stormops.quota_alerts.threshold IS 'Percent of the quota that was reached: 80 or 100.';
COMMENT ON COLUMN stormops.quota_alerts.kind IS 'That of the quota.';
COMMENT ON COLUMN stormops.quota_alerts.quota IS 'The quota at that time.';
COMMENT ON COLUMN stormops.quota_alerts.used IS 'What was used at that time.';
COMMENT ON COLUMN stormops.quota_alerts.raised_at IS 'When it was noticed.';

CREATE TABLE IF NOT EXISTS stormops_internal.tier_settings (
    tier         text PRIMARY KEY CHECK (tier IN ('trial', 'standard', 'enterprise')),
    trial_days   integer CHECK (trial_days BETWEEN 1 AND 3650),
    auto_declare boolean NOT NULL DEFAULT false,
    CHECK ((tier = 'trial') = (trial_days IS NOT NULL))
);
COMMENT ON TABLE stormops_internal.tier_settings IS 'What a tier entitles to, beside its quotas.';
COMMENT ON COLUMN stormops_internal.tier_settings.tier IS 'trial, standard or enterprise.';
COMMENT ON COLUMN stormops_internal.tier_settings.trial_days IS 'Length of a new tenant''s trial in days.';
COMMENT ON COLUMN stormops_internal.tier_settings.auto_declare IS 'True: an event of an undeclared metric declares it, as a SUM; false: it is refused.';
CREATE OR REPLACE TRIGGER take_restored BEFORE INSERT ON stormops_internal.tier_settings
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.take_restored();
INSERT INTO stormops_internal.tier_settings VALUES ('trial', 30, true), ('standard', NULL, false), ('enterprise', NULL, false)
ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS stormops_internal.tier_quotas (
    tier        text NOT NULL REFERENCES stormops_internal.tier_settings,
    metric_name text NOT NULL CHECK (metric_name ~ '^[a-z][a-z0-9_.]{0,62}$'),
    period      text NOT NULL CHECK (period IN ('hour', 'day', 'month')),
    kind        text NOT NULL CHECK (kind IN ('hard', 'soft')),
    quota       numeric CHECK (quota >= 0 AND quota <= 1e15),
    PRIMARY KEY (tier, metric_name, period)
);
COMMENT ON TABLE stormops_internal.tier_quotas IS 'The quotas of every tenant of a tier that has none of its own. Written by set_tier_quota().';
COMMENT ON COLUMN stormops_internal.tier_quotas.tier IS 'The tier.';
COMMENT ON COLUMN stormops_internal.tier_quotas.metric_name IS 'The metric.';
COMMENT ON COLUMN stormops_internal.tier_quotas.period IS 'hour, day or month: the calendar''s, in UTC.';
COMMENT ON COLUMN stormops_internal.tier_quotas.kind IS 'hard or soft, as in quotas.';
COMMENT ON COLUMN stormops_internal.tier_quotas.quota IS 'As in quotas.';
CREATE OR REPLACE TRIGGER take_restored BEFORE INSERT ON stormops_internal.tier_quotas
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.take_restored();
INSERT INTO stormops_internal.tier_quotas VALUES
    ('trial', 'model_call', 'month', 'hard', 10000), ('trial', 'storage_mb', 'month', 'soft', 1024),
    ('standard', 'model_call', 'month', 'soft', 1000000), ('standard', 'storage_mb', 'month', 'soft', 102400),
    ('enterprise', 'model_call', 'month', 'soft', 100000000)
ON CONFLICT DO NOTHING;

-- Tenants from before these metrics.
INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
SELECT t.tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions
FROM stormops.tenants AS t, stormops.default_metrics() AS m
WHERE t.status <> 'closed'
ON CONFLICT DO NOTHING;
