-- The brief's design and nothing else: one policy a table on a setting that anybody may set, GRANT ALL, keys of one
-- column, definer functions as one writes them in a hurry. The suite must find it leaking, class by class.
CREATE SCHEMA stormops;
CREATE TABLE stormops.tenants (
    tenant_id uuid PRIMARY KEY, org_name text, tier text, status text DEFAULT 'active'
);
CREATE TABLE stormops.users (
    tenant_id uuid NOT NULL, user_id uuid PRIMARY KEY, email text UNIQUE, full_name text, role text
);
CREATE TABLE stormops.storms (
    tenant_id uuid NOT NULL, storm_id uuid PRIMARY KEY, event_id text UNIQUE, name text
);
CREATE TABLE stormops.properties (
    tenant_id uuid NOT NULL, property_id uuid PRIMARY KEY, external_id text UNIQUE, address text
);
CREATE TABLE stormops.customer_journeys (
    tenant_id uuid NOT NULL, journey_id uuid PRIMARY KEY,
    property_id uuid REFERENCES stormops.properties, storm_id uuid REFERENCES stormops.storms, touch text, channel text
);
CREATE TABLE stormops.lead_uplift (
    tenant_id uuid NOT NULL, storm_id uuid REFERENCES stormops.storms, property_id uuid REFERENCES stormops.properties,
    scored_at timestamptz, model_version text, uplift double precision, PRIMARY KEY (storm_id, property_id, scored_at)
);
CREATE SEQUENCE stormops.usage_seq;
CREATE TABLE stormops.tenant_usage (
    tenant_id uuid NOT NULL, usage_id uuid PRIMARY KEY, metric_name text, metric_value numeric,
    idempotency_key text UNIQUE, dimensions jsonb, n bigint DEFAULT nextval('stormops.usage_seq')
);
DO $$
DECLARE
    t regclass;
BEGIN
    FOREACH t IN ARRAY '{stormops.users,stormops.storms,stormops.properties,stormops.customer_journeys,stormops.lead_uplift,stormops.tenant_usage}'::regclass[] LOOP
        EXECUTE format('CREATE INDEX ON %s (tenant_id)', t);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (tenant_id = current_setting(''app.current_tenant'')::UUID)', t);
    END LOOP;
END
$$;
CREATE VIEW stormops.v_properties AS SELECT * FROM stormops.properties;
CREATE VIEW stormops.my_properties AS
    SELECT * FROM stormops.properties WHERE tenant_id = current_setting('app.current_tenant')::uuid;
CREATE MATERIALIZED VIEW stormops.mv_properties AS SELECT tenant_id, address FROM stormops.properties;

CREATE FUNCTION stormops.export_tenant_data(tenant_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF $1 <> nullif(current_setting('app.current_tenant', true), '')::uuid AND false THEN RAISE 'no'; END IF;
    RETURN (SELECT jsonb_agg(p) FROM stormops.properties AS p WHERE p.tenant_id = $1);
END $$;
CREATE FUNCTION stormops.suspend_tenant(tenant_id uuid, reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER AS 'UPDATE stormops.tenants AS t SET status = ''suspended'' WHERE t.tenant_id = $1';
CREATE FUNCTION stormops.check_table_health(table_name text) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY EXECUTE 'SELECT count(*)::text FROM stormops.' || $1;
END $$;
CREATE FUNCTION stormops.add_user(email text, role text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN (SELECT u.user_id FROM stormops.users AS u WHERE u.tenant_id = current_setting('app.current_tenant')::uuid LIMIT 1);
END $$;
CREATE FUNCTION stormops.norm_zip(text) RETURNS int
    LANGUAGE plpgsql IMMUTABLE LEAKPROOF COST 0.0000001 AS 'BEGIN RETURN $1::int; END';

GRANT ALL ON SCHEMA stormops TO app, tapp;
GRANT ALL ON ALL TABLES IN SCHEMA stormops TO app, tapp;
GRANT ALL ON ALL SEQUENCES IN SCHEMA stormops TO app, tapp;
ALTER DEFAULT PRIVILEGES IN SCHEMA stormops GRANT ALL ON TABLES TO app, tapp;
GRANT USAGE ON SCHEMA stormops TO PUBLIC;

INSERT INTO stormops.tenants (tenant_id, org_name, tier) VALUES
    (:'A', 'Alpha Roofing', 'standard'), (:'B', 'Bravo Roofing', 'standard');
CREATE SCHEMA mallory;
GRANT ALL ON SCHEMA mallory TO app, tapp;
