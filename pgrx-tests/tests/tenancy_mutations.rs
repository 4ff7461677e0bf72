//! Each defence is there for a reason: taken away alone, it lets an attack of the red-team suite succeed.

use stormops_tests::redteam::{Attack, Pair, Schema, attacks, play};

/// What is taken away, how, and how it comes back (empty: with fresh databases); which attack notices, and in how many
/// statements at least.
type Mutation = (&'static str, String, &'static str, &'static [(&'static str, &'static str, usize)]);

/// A statement for every table of the role matrix, whose name is `%1$I`.
fn each(statement: &str) -> String {
    for_each("SELECT DISTINCT table_name FROM stormops.role_matrix()", statement)
}

fn for_each(names: &str, statement: &str) -> String {
    format!(
        "DO $do$ DECLARE name text; BEGIN
            FOR name IN {names} LOOP EXECUTE format($f${statement}$f$, name); END LOOP;
        END $do$"
    )
}

/// Every table has the policy, the victim's row and the attacker's.
const TABLES: usize = 16;
const PARTITIONS: &str = "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE relkind = 'r' AND relnamespace = 'stormops'::regnamespace";

fn row_security() -> Vec<Mutation> {
    vec![
        (
            "FORCE",
            each("ALTER TABLE stormops.%1$I NO FORCE ROW LEVEL SECURITY"),
            "",
            &[("32", "owner", TABLES), ("204b", "superuser", 1)],
        ),
        ("row security", each("ALTER TABLE stormops.%1$I DISABLE ROW LEVEL SECURITY"), "", &[("62", "tapp", TABLES)]),
        (
            "row security of partitions",
            for_each(PARTITIONS, "ALTER TABLE %1$s DISABLE ROW LEVEL SECURITY"),
            "",
            &[("105", "app", 1), ("204b", "superuser", 1)],
        ),
        ("the policy", each("DROP POLICY tenant ON stormops.%1$I"), "", &[("0", "tapp", TABLES)]),
        (
            "the floor",
            each("DROP POLICY tenant_floor ON stormops.%1$I"),
            "",
            &[("83", "app", TABLES), ("83b", "tapp", 1)],
        ),
        (
            "the floor's text",
            each("ALTER POLICY tenant_floor ON stormops.%1$I USING (true)"),
            "",
            &[("83", "tapp", TABLES)],
        ),
        ("the policy's text", each("ALTER POLICY tenant ON stormops.%1$I USING (true)"), "", &[("77", "superuser", 1)]),
        (
            "both texts",
            each(
                "ALTER POLICY tenant ON stormops.%1$I USING (true); ALTER POLICY tenant_floor ON stormops.%1$I USING (stormops.current_tenant() IS NOT NULL)",
            ),
            "",
            &[("62", "app", TABLES), ("32", "owner", TABLES)],
        ),
        (
            "the last policy without the extension",
            each("DROP POLICY installed ON stormops.%1$I"),
            "",
            &[("189b", "app", TABLES)],
        ),
        (
            "a policy less",
            "CREATE POLICY support ON stormops.storms USING (true)".into(),
            "DROP POLICY support ON stormops.storms",
            &[("77", "superuser", 1)],
        ),
        ("role_select", each("DROP POLICY IF EXISTS role_select ON stormops.%1$I"), "", &[("174", "viewer", 2)]),
        (
            "role_insert",
            each("DROP POLICY IF EXISTS role_insert ON stormops.%1$I"),
            "",
            &[("174b", "viewer", 5), ("105c", "tapp", 1)],
        ),
        (
            "role_update",
            each("DROP POLICY IF EXISTS role_update ON stormops.%1$I"),
            "",
            &[("174", "viewer", 4), ("105b", "tapp", 5)],
        ),
        (
            "role_delete",
            each("DROP POLICY IF EXISTS role_delete ON stormops.%1$I"),
            "",
            &[("174", "viewer", 4), ("105b", "app", 5)],
        ),
        (
            "a context that is read for each statement",
            "ALTER FUNCTION stormops.current_tenant() IMMUTABLE".into(),
            "",
            &[("79", "tapp", 1), ("57c", "superuser", 1)],
        ),
    ]
}

/// Keys of one column, each on a table of its own, and the rows that both tenants have left out.
fn keys() -> Vec<Mutation> {
    let key = |name: &'static str, on: &str, table: usize| -> Mutation {
        let noticed: &[(&str, &str, usize)] = if table == 0 {
            &[("88", "app", 1), ("90", "tapp", 1)]
        } else {
            &[("88", "tapp", 1), ("95", "superuser", 1)]
        };
        (name, format!("CREATE UNIQUE INDEX single ON stormops.{on}"), "DROP INDEX stormops.single", noticed)
    };
    let shared = "'00000000-0000-7000-8000-000000000001'";
    vec![
        key("key of storms", &format!("storms (storm_id) WHERE storm_id <> {shared}"), 0),
        key("own key of storms", "storms (event_id) WHERE event_id <> 'E-1'", 1),
        key("key of properties", &format!("properties (property_id) WHERE property_id <> {shared}"), 0),
        key("own key of properties", "properties (external_id) WHERE external_id <> 'P-1'", 1),
        key("key of customer_journeys", &format!("customer_journeys (journey_id) WHERE journey_id <> {shared}"), 1),
        key("key of lead_uplift", "lead_uplift (model_version) WHERE model_version <> 'm1'", 1),
        key("key of policy_modes", "policy_modes (policy_mode) WHERE policy_mode = 'mode 2'", 0),
        key("key of tenant_usage", &format!("tenant_usage (usage_id) WHERE usage_id <> {shared}"), 1),
        key("own key of tenant_usage", "tenant_usage (idempotency_key) WHERE idempotency_key <> 'U-1'", 1),
        key("key of data_quality_metrics", &format!("data_quality_metrics (metric_id) WHERE metric_id <> {shared}"), 0),
        (
            "references to parents",
            for_each(
                "SELECT format('%s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
                WHERE contype = 'f' AND connamespace = 'stormops'::regnamespace AND conparentid = 0
                    AND confrelid <> 'stormops.tenants'::regclass",
                "ALTER TABLE %1$s",
            ),
            "",
            &[("94", "app", 4)],
        ),
        (
            "no cascade",
            "ALTER TABLE stormops.customer_journeys ADD CONSTRAINT cascading FOREIGN KEY (tenant_id, storm_id)
            REFERENCES stormops.storms ON DELETE CASCADE"
                .into(),
            "ALTER TABLE stormops.customer_journeys DROP CONSTRAINT cascading",
            &[("95", "superuser", 1)],
        ),
    ]
}

fn rights() -> Vec<Mutation> {
    vec![
        ("TRUNCATE", each("GRANT TRUNCATE ON stormops.%1$I TO app"), "", &[("99", "app", 10), ("204", "superuser", 1)]),
        (
            "TRIGGER",
            "GRANT TRIGGER ON stormops.storms TO app".into(),
            "REVOKE TRIGGER ON stormops.storms FROM app",
            &[("100", "app", 1), ("100b", "app", 1)],
        ),
        (
            "REFERENCES",
            "GRANT REFERENCES ON stormops.storms TO app".into(),
            "REVOKE REFERENCES ON stormops.storms FROM app",
            &[("98", "app", 1)],
        ),
        (
            "CREATE",
            "GRANT CREATE ON SCHEMA stormops TO app".into(),
            "REVOKE CREATE ON SCHEMA stormops FROM app",
            &[("51", "app", 1), ("51b", "superuser", 1)],
        ),
        (
            "UPDATE by column",
            each("GRANT UPDATE ON stormops.%1$I TO tapp"),
            "",
            &[("85b", "tapp", 5), ("204", "superuser", 1)],
        ),
        ("no grant on partitions", for_each(PARTITIONS, "GRANT SELECT ON %1$s TO app"), "", &[("204", "superuser", 1)]),
        (
            "no grant on the list of grants",
            "GRANT SELECT ON stormops.usage_grants TO app".into(),
            "REVOKE SELECT ON stormops.usage_grants FROM app",
            &[("56", "app", 1), ("56b", "superuser", 1)],
        ),
        (
            "the operator's functions",
            "GRANT EXECUTE ON FUNCTION stormops.close_tenant(uuid, text), stormops.list_tenants() TO app".into(),
            "",
            &[("44", "app", 1), ("44d", "app", 1)],
        ),
        (
            "visit_all_tenants",
            "GRANT EXECUTE ON FUNCTION stormops.visit_all_tenants() TO app".into(),
            "REVOKE EXECUTE ON FUNCTION stormops.visit_all_tenants() FROM app",
            &[("53b", "superuser", 1)],
        ),
        (
            "nothing for PUBLIC",
            "GRANT EXECUTE ON FUNCTION stormops.export_tenant_data(uuid) TO PUBLIC".into(),
            "",
            &[("53", "nobody", 1), ("53b", "superuser", 1)],
        ),
        (
            "the log by functions",
            "GRANT INSERT, UPDATE, DELETE ON stormops.policy_decisions_log, stormops.tenant_events TO tapp".into(),
            "",
            &[("175", "tapp", 1), ("175b", "tapp", 1)],
        ),
        (
            "the tenant's own row",
            "GRANT DELETE, UPDATE (status, tier) ON stormops.tenants TO app".into(),
            "",
            &[("160", "app", 1)],
        ),
        ("metering", "GRANT UPDATE, DELETE ON stormops.tenant_usage TO app".into(), "", &[("171", "app", 1)]),
        (
            "the owner of tables",
            "ALTER TABLE stormops.storms OWNER TO app".into(),
            "",
            &[("33", "app", 1), ("38", "superuser", 1)],
        ),
        (
            "a context of trusted roles",
            "GRANT SET ON PARAMETER app.current_tenant TO app".into(),
            "REVOKE SET ON PARAMETER app.current_tenant FROM app",
            &[("6", "app", 1), ("7", "app", 1), ("19", "app", 1), ("40b", "superuser", 1)],
        ),
        (
            "members of the owner",
            "GRANT stormops_owner TO app".into(),
            "REVOKE stormops_owner FROM app",
            &[("39", "superuser", 1), ("33", "app", 1)],
        ),
        (
            "the owner without a login",
            "ALTER ROLE stormops_owner LOGIN".into(),
            "ALTER ROLE stormops_owner NOLOGIN",
            &[("39", "superuser", 1)],
        ),
        (
            "roles under row security",
            "ALTER ROLE tapp BYPASSRLS".into(),
            "ALTER ROLE tapp NOBYPASSRLS",
            &[("62", "tapp", 10), ("40", "superuser", 1)],
        ),
        ("app is not tapp", "GRANT tapp TO app".into(), "REVOKE tapp FROM app", &[("29b", "app", 1)]),
        (
            "defaults of new tables",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA stormops GRANT SELECT ON TABLES TO app".into(),
            "",
            &[("102", "app", 1)],
        ),
    ]
}

fn functions_and_views() -> Vec<Mutation> {
    vec![
        ("invoker's view", "ALTER VIEW stormops.policy_decisions RESET (security_invoker)".into(), "ALTER VIEW stormops.policy_decisions SET (security_invoker)", &[("62b", "superuser", 1)]),
        ("barrier of a view", "ALTER VIEW stormops.storm_results RESET (security_barrier)".into(), "ALTER VIEW stormops.storm_results SET (security_barrier)", &[("62b", "superuser", 1)]),
        ("a view of a superuser's", "ALTER VIEW stormops.policy_decisions RESET (security_invoker); ALTER VIEW stormops.policy_decisions OWNER TO postgres".into(), "", &[("62", "app", 1), ("38", "superuser", 1)]),
        ("no materialised view", "CREATE MATERIALIZED VIEW stormops.m AS SELECT tenant_id, name FROM stormops.storms; GRANT SELECT ON stormops.m TO app".into(), "DROP MATERIALIZED VIEW stormops.m", &[("62", "app", 1), ("63", "superuser", 1)]),
        ("no table outside", "CREATE TABLE stormops.notes AS SELECT tenant_id, name FROM stormops.storms; GRANT SELECT ON stormops.notes TO tapp".into(), "DROP TABLE stormops.notes", &[("62", "tapp", 1), ("81", "superuser", 1), ("204b", "superuser", 1)]),
        ("no sequence", "CREATE SEQUENCE stormops.s".into(), "DROP SEQUENCE stormops.s", &[("104b", "superuser", 1)]),
        ("no extended statistics", "CREATE STATISTICS stormops.s ON tenant_id, name FROM stormops.storms".into(), "DROP STATISTICS stormops.s", &[("69", "superuser", 1)]),
        ("no leakproof function", "ALTER FUNCTION stormops.neighbourhood(double precision, double precision) LEAKPROOF".into(), "ALTER FUNCTION stormops.neighbourhood(double precision, double precision) NOT LEAKPROOF", &[("57b", "superuser", 1)]),
        ("the owner of functions", "ALTER FUNCTION stormops.export_tenant_data(uuid) OWNER TO postgres".into(), "", &[("202", "superuser", 1)]),
        (
            "whom a call may concern",
            "CREATE OR REPLACE FUNCTION stormops.target_tenant(tenant_id uuid, writes boolean) RETURNS uuid LANGUAGE sql STABLE
            SET search_path = pg_catalog, pg_temp AS 'SELECT coalesce($1, stormops.current_tenant())'".into(),
            "",
            &[("42", "app", 1), ("43", "outsider", 1), ("44b", "tapp", 1), ("174c", "viewer", 0)],
        ),
        ("bounds of numbers", for_each("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'stormops.tenant_usage'::regclass", "ALTER TABLE stormops.tenant_usage DROP CONSTRAINT %1$I"), "", &[("178b", "app", 1), ("178c", "app", 1), ("179", "tapp", 1), ("181", "tapp", 1)]),
        ("legal steps", "DROP TRIGGER legal_step ON stormops.tenants; DROP TRIGGER legal_truncate ON stormops.tenants".into(), "", &[("161", "superuser", 1), ("162", "superuser", 1)]),
        ("word of a new standing", "DROP TRIGGER announce_standing ON stormops.tenants".into(), "", &[("158", "tapp", 1), ("159", "tapp", 1)]),
    ]
}

fn statements_red(pair: &mut Pair, attacks: &[Attack], id: &str, attacker: &str) -> usize {
    let attack = attacks.iter().find(|attack| attack.id == id).unwrap_or_else(|| panic!("no attack {id}"));
    let verdict = play(pair, attack, attacker);
    verdict.leaks.len().max(verdict.unexpected.len())
}

#[track_caller]
fn all_noticed(mutations: Vec<Mutation>) {
    let attacks = attacks("attacks");
    let mut pair = Pair::new(Schema::Ours);
    let mut missed = Vec::new();
    let mut played = std::collections::BTreeSet::new();
    for (defence, removal, undo, noticed_by) in mutations {
        pair.mutate(&removal);
        for (id, attacker, least) in noticed_by {
            let red = statements_red(&mut pair, &attacks, id, attacker);
            if red < *least {
                missed.push(format!("without {defence}: attack {id} as {attacker} is red {red} times, not {least}"));
            }
            // Fresh databases are as they were; what a statement gave back is looked at again below.
            if !undo.is_empty() {
                played.insert((*id, *attacker));
            }
        }
        pair.restore(undo);
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // With everything back in its place all of them fail again.
    for (id, attacker) in played {
        assert_eq!(
            statements_red(&mut pair, &attacks, id, attacker),
            0,
            "attack {id} as {attacker}, nothing taken away"
        );
    }
}

/// One test for all, in one thread: roles are the cluster's.
#[test]
fn each_defence_is_missed() {
    all_noticed([row_security(), keys(), rights(), functions_and_views()].into_iter().flatten().collect());
}
