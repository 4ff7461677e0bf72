//! What this version ships is made otherwise.

use super::{INSTALL, Sabotage};

const AS_SHIPPED: &str = "definitions_as_shipped";

pub const SABOTAGES: &[Sabotage] = &[
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms ALTER COLUMN name TYPE varchar(200)",
        "column stormops.storms.name is character varying(200) NOT NULL, and was text NOT NULL",
        "ALTER TABLE stormops.storms ALTER COLUMN name TYPE text",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms ALTER COLUMN name DROP NOT NULL",
        "column stormops.storms.name is text, and was text NOT NULL",
        "ALTER TABLE stormops.storms ALTER COLUMN name SET NOT NULL",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms RENAME COLUMN name TO title",
        "stormops.storms lacks column name text NOT NULL",
        "ALTER TABLE stormops.storms RENAME COLUMN title TO name",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms ALTER COLUMN name TYPE text COLLATE \"C\"",
        "COLLATE \"C\"",
        "ALTER TABLE stormops.storms ALTER COLUMN name TYPE text",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms ALTER COLUMN tenant_id SET DEFAULT '01000000-0000-7000-8000-000000000001'",
        "01000000-0000-7000-8000-000000000001",
        INSTALL,
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms ALTER COLUMN tenant_id DROP DEFAULT",
        "column stormops.storms.tenant_id is uuid NOT NULL, and was",
        INSTALL,
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.users ALTER COLUMN user_id SET DEFAULT gen_random_uuid()",
        "DEFAULT gen_random_uuid()",
        INSTALL,
    ),
    (
        "definitions_as_shipped no_foreign_expression",
        "CREATE FUNCTION public.spy() RETURNS text LANGUAGE sql AS 'SELECT ''x''';
         ALTER TABLE stormops.storms ALTER COLUMN name SET DEFAULT public.spy()",
        "public.spy()",
        "ALTER TABLE stormops.storms ALTER COLUMN name DROP DEFAULT",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops_internal.usage_grants ALTER COLUMN kind SET DEFAULT 'trusted_app'",
        "'trusted_app'::text",
        "ALTER TABLE stormops_internal.usage_grants ALTER COLUMN kind DROP DEFAULT",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops_internal.usage_grants DROP CONSTRAINT usage_grants_kind_check",
        "stormops_internal.usage_grants lacks CHECK",
        "ALTER TABLE stormops_internal.usage_grants
         ADD CONSTRAINT usage_grants_kind_check CHECK (kind IN ('app', 'trusted_app', 'operator', 'monitor'))",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.users DROP CONSTRAINT users_role_check;
         ALTER TABLE stormops.users ADD CONSTRAINT users_role_check CHECK (role <> '')",
        "stormops.users lacks CHECK ((role = ANY",
        "ALTER TABLE stormops.users DROP CONSTRAINT users_role_check;
         ALTER TABLE stormops.users ADD CHECK (role IN ('admin', 'crew_chief', 'field_user', 'viewer'))",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.users DROP CONSTRAINT users_role_check;
         ALTER TABLE stormops.users ADD CHECK (role IN ('admin', 'crew_chief', 'field_user', 'viewer')) NOT VALID",
        "stormops.users lacks CHECK ((role = ANY",
        "ALTER TABLE stormops.users VALIDATE CONSTRAINT users_role_check",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.customer_journeys DROP CONSTRAINT customer_journeys_tenant_id_property_id_fkey",
        "stormops.customer_journeys lacks FOREIGN KEY (tenant_id, property_id)",
        "ALTER TABLE stormops.customer_journeys
         ADD FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.customer_journeys DROP CONSTRAINT customer_journeys_tenant_id_property_id_fkey;
         ALTER TABLE stormops.customer_journeys
         ADD FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties DEFERRABLE INITIALLY DEFERRED",
        "stormops.customer_journeys lacks FOREIGN KEY (tenant_id, property_id)",
        "ALTER TABLE stormops.customer_journeys
         ALTER CONSTRAINT customer_journeys_tenant_id_property_id_fkey NOT DEFERRABLE",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.data_quality_metrics DROP CONSTRAINT data_quality_metrics_pkey",
        "stormops.data_quality_metrics lacks PRIMARY KEY (tenant_id, metric_id)",
        "ALTER TABLE stormops.data_quality_metrics ADD PRIMARY KEY (tenant_id, metric_id)",
    ),
    (
        AS_SHIPPED,
        "DROP INDEX stormops.users_email_key; CREATE INDEX users_email_key ON stormops.users (tenant_id, lower(email))",
        "stormops.users lacks UNIQUE INDEX ON stormops.users",
        "DROP INDEX stormops.users_email_key; SELECT stormops.install()",
    ),
    (
        AS_SHIPPED,
        "DROP INDEX stormops.properties_arrival",
        "stormops.properties lacks INDEX ON",
        INSTALL,
    ),
    (
        AS_SHIPPED,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'stormops.properties_arrival'::regclass",
        "not valid, and was valid",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'stormops.properties_arrival'::regclass",
    ),
    (
        AS_SHIPPED,
        "CREATE OR REPLACE VIEW stormops.policy_decisions WITH (security_invoker, security_barrier) AS
         SELECT d.tenant_id, d.run_id, d.property_id, d.storm_id, d.decided_at, d.propensity, d.score, d.score_sd, d.value,
             d.decision, d.reason, d.policy_mode, d.model_version FROM stormops.policy_decisions_log AS d",
        "view stormops.policy_decisions is",
        INSTALL,
    ),
    (
        AS_SHIPPED,
        "CREATE OR REPLACE VIEW stormops.policy_decisions_log WITH (security_invoker, security_barrier) AS TABLE stormops.policy_decisions_plain",
        "view stormops.policy_decisions_log is",
        INSTALL,
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.policy_decision_blocks DROP CONSTRAINT one_length",
        "stormops.policy_decision_blocks lacks CHECK",
        "ALTER TABLE stormops.policy_decision_blocks ADD CONSTRAINT one_length CHECK (cardinality(property_ids) = n AND cardinality(classes) = n AND cardinality(scores) = n AND cardinality(score_sds) = n AND cardinality(\"values\") = n)",
    ),
    (
        "tables_registered",
        "CREATE SEQUENCE stormops.extra; ALTER SEQUENCE stormops.extra OWNER TO stormops_owner",
        "stormops.extra was added",
        "DROP SEQUENCE stormops.extra",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.data_quality_metrics SET UNLOGGED",
        "stormops.data_quality_metrics is table unlogged, and was table",
        "ALTER TABLE stormops.data_quality_metrics SET LOGGED",
    ),
    (
        AS_SHIPPED,
        "ALTER TABLE stormops.storms SET (user_catalog_table)",
        "user_catalog_table",
        "ALTER TABLE stormops.storms RESET (user_catalog_table)",
    ),
    (
        AS_SHIPPED,
        "ALTER DOMAIN stormops.score_sketch DROP CONSTRAINT score_sketch_check",
        "type stormops.score_sketch is bytea, and was bytea CHECK",
        "ALTER DOMAIN stormops.score_sketch
         ADD CONSTRAINT score_sketch_check CHECK (stormops_internal.score_is_state(VALUE))",
    ),
    (
        AS_SHIPPED,
        "ALTER TYPE stormops_internal.judgement RENAME ATTRIBUTE judged TO looked_at",
        "type stormops_internal.judgement is",
        "ALTER TYPE stormops_internal.judgement RENAME ATTRIBUTE looked_at TO judged",
    ),
    (
        AS_SHIPPED,
        "ALTER TYPE stormops_internal.judgement OWNER TO nobody",
        "type stormops_internal.judgement is nobody's",
        "ALTER TYPE stormops_internal.judgement OWNER TO CURRENT_USER",
    ),
    (
        AS_SHIPPED,
        "CREATE DOMAIN stormops.amount AS numeric",
        "type stormops.amount was added",
        "DROP DOMAIN stormops.amount",
    ),
    (
        AS_SHIPPED,
        "CREATE OPERATOR stormops.=== (FUNCTION = pg_catalog.uuid_eq, LEFTARG = uuid, RIGHTARG = uuid)",
        "operator stormops.===(pg_catalog.uuid,pg_catalog.uuid) was added",
        "DROP OPERATOR stormops.=== (uuid, uuid)",
    ),
    (
        "tables_registered",
        "CREATE TABLE stormops.extra (note text); ALTER TABLE stormops.extra OWNER TO stormops_owner;
         ALTER TABLE stormops.extra ENABLE ROW LEVEL SECURITY",
        "stormops.extra was added",
        "DROP TABLE stormops.extra",
    ),
    (
        "owned_by_owner",
        "ALTER SCHEMA stormops OWNER TO nobody",
        "schema stormops is nobody's, who is no superuser",
        "ALTER SCHEMA stormops OWNER TO CURRENT_USER",
    ),
    (
        "definitions_as_shipped tables_registered",
        "ALTER TABLE stormops.tenant_usage DETACH PARTITION stormops_internal.tenant_usage_default",
        "stormops.tenant_usage has no default partition",
        "ALTER TABLE stormops.tenant_usage ATTACH PARTITION stormops_internal.tenant_usage_default DEFAULT",
    ),
    (
        AS_SHIPPED,
        "CREATE TABLE stormops_internal.tenant_usage_2090_01 PARTITION OF stormops.tenant_usage
             FOR VALUES FROM ('2090-02-01 00:00:00+00') TO ('2090-03-01 00:00:00+00');
         ALTER TABLE stormops_internal.tenant_usage_2090_01 OWNER TO stormops_owner;
         ALTER TABLE stormops_internal.tenant_usage_2090_01 ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "partition stormops_internal.tenant_usage_2090_01 of stormops.tenant_usage is FOR VALUES FROM ('2090-02-01",
        "DROP TABLE stormops_internal.tenant_usage_2090_01",
    ),
    (
        "triggers_as_shipped",
        "CREATE OR REPLACE TRIGGER legal_step BEFORE INSERT OR UPDATE ON stormops.tenants
         FOR EACH ROW WHEN (false) EXECUTE FUNCTION stormops_internal.legal_step()",
        "trigger legal_step on stormops.tenants is another",
        INSTALL,
    ),
    (
        "triggers_as_shipped",
        "CREATE TRIGGER again AFTER INSERT ON stormops.tenant_events
         FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_event()",
        "trigger again on stormops.tenant_events",
        "DROP TRIGGER again ON stormops.tenant_events",
    ),
    (
        "functions_as_shipped",
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('stormops.set_baseline(uuid, text)'::regprocedure),
         'DEFAULT ''default''', 'DEFAULT ''other'''); END $$",
        "stormops.set_baseline(uuid,text) is changed",
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('stormops.set_baseline(uuid, text)'::regprocedure),
         'DEFAULT ''other''', 'DEFAULT ''default'''); END $$",
    ),
    (
        "functions_as_shipped",
        "UPDATE pg_aggregate SET aggfinalfn = 0 WHERE aggfnoid::oid = 'stormops.score_agg'::regproc",
        "stormops.score_agg(double precision) is changed",
        "UPDATE pg_aggregate SET aggfinalfn = 'stormops_internal.score_finish'
         WHERE aggfnoid::oid = 'stormops.score_agg'::regproc",
    ),
    (
        "functions_as_shipped",
        "ALTER FUNCTION stormops.new_id() COST 1000000",
        "stormops.new_id() is changed",
        "ALTER FUNCTION stormops.new_id() COST 1",
    ),
    (
        "functions_as_shipped",
        "CREATE OR REPLACE FUNCTION stormops.may_read(least_role text) RETURNS boolean
         LANGUAGE sql STABLE STRICT PARALLEL SAFE AS 'SELECT true'",
        "stormops.may_read(text) is changed",
        "SET LOCAL client_min_messages = warning; DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops",
    ),
];
