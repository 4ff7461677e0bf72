CREATE TABLE IF NOT EXISTS stormops.alerts (
    tenant_id         uuid NOT NULL REFERENCES stormops.tenants,
    alert_id          uuid NOT NULL,
    alert_key         text NOT NULL CHECK (char_length(alert_key) BETWEEN 1 AND 250),
    issue             text NOT NULL CHECK (char_length(issue) BETWEEN 1 AND 100),
    severity          text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    evidence          jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(evidence) = 'object' AND pg_column_size(evidence || '{}') <= 8192),
    raised_at         timestamptz NOT NULL DEFAULT now() CHECK (isfinite(raised_at)),
    last_seen_at      timestamptz NOT NULL DEFAULT now() CHECK (isfinite(last_seen_at)),
    passes            smallint NOT NULL DEFAULT 0 CHECK (passes BETWEEN 0 AND 100),
    acknowledged_at   timestamptz CHECK (isfinite(acknowledged_at)),
    acknowledged_by   text CHECK (char_length(acknowledged_by) <= 200),
    note              text CHECK (char_length(note) BETWEEN 1 AND 500),
    silenced_until    timestamptz CHECK (isfinite(silenced_until)),
    resolved_at       timestamptz CHECK (isfinite(resolved_at)),
    PRIMARY KEY (tenant_id, alert_id)
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON stormops.alerts (tenant_id, alert_key) WHERE resolved_at IS NULL;
COMMENT ON TABLE stormops.alerts IS 'Conditions of a tenant that need somebody: one row from when a condition is first seen until it is gone. Written by run_health_checks(), acknowledge_alert() and silence_alert().';
COMMENT ON COLUMN stormops.alerts.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.alerts.alert_id IS 'UUID version 7.';
COMMENT ON COLUMN stormops.alerts.alert_key IS 'The condition: issue and subject. Among the open alerts of a tenant it is unique; what is delivered carries it, so that a receiver tells repetitions.';
COMMENT ON COLUMN stormops.alerts.issue IS 'The issue, as the runbook names it.';
COMMENT ON COLUMN stormops.alerts.severity IS 'info, warning or critical, as last seen.';
COMMENT ON COLUMN stormops.alerts.evidence IS 'What was seen last, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.alerts.raised_at IS 'When the condition was first seen.';
COMMENT ON COLUMN stormops.alerts.last_seen_at IS 'When it was last seen.';
COMMENT ON COLUMN stormops.alerts.passes IS 'Checks in a row that did not see it; the second resolves it, so that a condition that comes and goes is one alert.';
COMMENT ON COLUMN stormops.alerts.acknowledged_at IS 'When somebody took it on.';
COMMENT ON COLUMN stormops.alerts.acknowledged_by IS 'Who: the acting user, or the database role.';
COMMENT ON COLUMN stormops.alerts.note IS 'What whoever acknowledged or silenced it said.';
COMMENT ON COLUMN stormops.alerts.silenced_until IS 'Until when nobody is to be told.';
COMMENT ON COLUMN stormops.alerts.resolved_at IS 'When it was found gone; NULL while it is open.';

CREATE TABLE IF NOT EXISTS stormops.runbook_steps (
    tenant_id uuid NOT NULL REFERENCES stormops.tenants,
    issue     text NOT NULL CHECK (char_length(issue) BETWEEN 1 AND 100),
    step      smallint NOT NULL CHECK (step BETWEEN 1 AND 99),
    action    text NOT NULL CHECK (char_length(action) BETWEEN 1 AND 500),
    PRIMARY KEY (tenant_id, issue, step)
);
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, issue, step ON stormops.runbook_steps
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'issue', 'step');
COMMENT ON TABLE stormops.runbook_steps IS 'What a tenant itself wants done about an issue, after the steps that are shipped.';
COMMENT ON COLUMN stormops.runbook_steps.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.runbook_steps.issue IS 'The issue: one of runbook(), or one of the tenant''s own.';
COMMENT ON COLUMN stormops.runbook_steps.step IS 'Their order, 1 to 99.';
COMMENT ON COLUMN stormops.runbook_steps.action IS 'What to do, 1 to 500 characters.';

-- The platform's own: no tenant's rows, nobody's to see but through functions.
CREATE TABLE IF NOT EXISTS stormops_internal.platform_alerts (
    alert_id        uuid PRIMARY KEY,
    alert_key       text NOT NULL,
    issue           text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    evidence        jsonb NOT NULL DEFAULT '{}',
    raised_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    passes          smallint NOT NULL DEFAULT 0,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note            text CHECK (char_length(note) BETWEEN 1 AND 500),
    silenced_until  timestamptz,
    resolved_at     timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS platform_alerts_open ON stormops_internal.platform_alerts (alert_key) WHERE resolved_at IS NULL;
COMMENT ON TABLE stormops_internal.platform_alerts IS 'As alerts, of the platform itself.';
COMMENT ON COLUMN stormops_internal.platform_alerts.alert_id IS 'UUID version 7.';
COMMENT ON COLUMN stormops_internal.platform_alerts.alert_key IS 'The condition; unique among the open ones.';
COMMENT ON COLUMN stormops_internal.platform_alerts.issue IS 'The issue, as the runbook names it.';
COMMENT ON COLUMN stormops_internal.platform_alerts.severity IS 'info, warning or critical, as last seen.';
COMMENT ON COLUMN stormops_internal.platform_alerts.evidence IS 'What was seen last, a JSON object.';
COMMENT ON COLUMN stormops_internal.platform_alerts.raised_at IS 'When it was first seen.';
COMMENT ON COLUMN stormops_internal.platform_alerts.last_seen_at IS 'When it was last seen.';
COMMENT ON COLUMN stormops_internal.platform_alerts.passes IS 'Checks in a row that did not see it; the second resolves it.';
COMMENT ON COLUMN stormops_internal.platform_alerts.acknowledged_at IS 'When somebody took it on.';
COMMENT ON COLUMN stormops_internal.platform_alerts.acknowledged_by IS 'Who: the database role.';
COMMENT ON COLUMN stormops_internal.platform_alerts.note IS 'What they said.';
COMMENT ON COLUMN stormops_internal.platform_alerts.silenced_until IS 'Until when nobody is to be told.';
COMMENT ON COLUMN stormops_internal.platform_alerts.resolved_at IS 'When it was found gone; NULL while it is open.';

CREATE TABLE IF NOT EXISTS stormops_internal.scheduled_jobs (
    job           text PRIMARY KEY,
    schedule      text NOT NULL,
    scheduled_at  timestamptz NOT NULL DEFAULT now(),
    scheduled_by  text NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    outcome       text CHECK (outcome IN ('ok', 'failed')),
    detail        text CHECK (char_length(detail) <= 1000),
    failed_at     timestamptz
);
COMMENT ON TABLE stormops_internal.scheduled_jobs IS 'What is to run on its own, and when it last did, whoever starts it. Written by schedule_job() and run_job().';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.job IS 'One of known_jobs().';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.schedule IS 'Cron expression of five fields, UTC.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.scheduled_at IS 'When it was scheduled.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.scheduled_by IS 'The database role that scheduled it.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.started_at IS 'When it last started.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.finished_at IS 'When it last ended.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.outcome IS 'How it last ended: ok or failed; NULL: it never ran.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.detail IS 'What it returned, or the error.';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.failed_at IS 'When it last failed.';
