-- Both hold what a tenant writes, and secrets: nobody is granted anything on them, and functions
-- show each tenant its own, without the secrets. No foreign key between them: its lock would make
-- whoever changes a route wait for a delivery that is under way.
CREATE TABLE IF NOT EXISTS stormops_internal.alert_routes (
    route_id     uuid PRIMARY KEY,
    for_tenant   uuid REFERENCES stormops.tenants,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    kind         text NOT NULL CHECK (kind IN ('pagerduty', 'slack', 'webhook')),
    address      text NOT NULL CHECK (octet_length(address) <= 2000),
    secret       text NOT NULL CHECK (octet_length(secret) <= 1000),
    min_severity text NOT NULL CHECK (min_severity IN ('info', 'warning', 'critical')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (for_tenant, name)
);
ALTER TABLE stormops_internal.alert_routes ALTER COLUMN route_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops_internal.alert_routes IS 'Where alerts go. Written by set_alert_route() and remove_alert_route(); read by deliver_alerts().';
COMMENT ON COLUMN stormops_internal.alert_routes.route_id IS 'UUID version 7.';
COMMENT ON COLUMN stormops_internal.alert_routes.for_tenant IS 'Whose alerts; NULL: those of the platform itself.';
COMMENT ON COLUMN stormops_internal.alert_routes.name IS 'Name, unique among the routes of one tenant or of the platform.';
COMMENT ON COLUMN stormops_internal.alert_routes.kind IS 'pagerduty (Events API v2), slack (incoming webhook) or webhook (Standard Webhooks, signed).';
COMMENT ON COLUMN stormops_internal.alert_routes.address IS 'URL. Secret: a Slack webhook''s address is its password. Empty: PagerDuty''s own.';
COMMENT ON COLUMN stormops_internal.alert_routes.secret IS 'PagerDuty: the integration''s routing key. webhook: the key of the signature, as text or whsec_ and base64.';
COMMENT ON COLUMN stormops_internal.alert_routes.min_severity IS 'Alerts below it are not sent: info, warning or critical.';
COMMENT ON COLUMN stormops_internal.alert_routes.created_at IS 'When it was first set.';

CREATE TABLE IF NOT EXISTS stormops_internal.alert_deliveries (
    delivery_id     uuid PRIMARY KEY,
    route_id        uuid NOT NULL,
    for_tenant      uuid REFERENCES stormops.tenants,
    alert_id        uuid NOT NULL,
    event           text NOT NULL CHECK (event IN ('trigger', 'escalate', 'acknowledge', 'resolve')),
    message         jsonb NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_attempt_at timestamptz,
    last_status     integer,
    last_detail     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (route_id, alert_id, event)
);
CREATE INDEX IF NOT EXISTS alert_deliveries_due ON stormops_internal.alert_deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS alert_deliveries_tenant ON stormops_internal.alert_deliveries (for_tenant, created_at);
ALTER TABLE stormops_internal.alert_deliveries ALTER COLUMN delivery_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops_internal.alert_deliveries IS 'Messages of alerts to routes: those to come, and what became of the others. Written by deliver_alerts().';
COMMENT ON COLUMN stormops_internal.alert_deliveries.delivery_id IS 'UUID made of route, alert and event; the receiver''s key against doubles.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.route_id IS 'The route, which may be gone since.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.for_tenant IS 'The alert''s tenant; NULL: the platform.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.alert_id IS 'The alert.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.event IS 'trigger, escalate (worse than when it was told), acknowledge or resolve; each is told once to each route.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.message IS 'The alert as it was when the message was made.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.state IS 'pending, delivered, or dead: given up.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.next_attempt_at IS 'Not before this.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_attempt_at IS 'When it was last tried.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_status IS 'HTTP status of the last try; NULL: there was no answer.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_detail IS 'What became of the last try, in words that hold no address and no secret.';
COMMENT ON COLUMN stormops_internal.alert_deliveries.created_at IS 'When it was made.';
