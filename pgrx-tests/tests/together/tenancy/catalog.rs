//! What the catalogue must say of schema stormops, whatever is added to it. Each query lists what breaks the rule.

use std::sync::OnceLock;

use stormops_tests::Db;

/// Only read, and so shared.
fn catalogue() -> &'static Db {
    static CATALOGUE: OnceLock<Db> = OnceLock::new();
    CATALOGUE.get_or_init(|| Db::new("catalog"))
}

/// `relation` has the schema's tables, and whether each is a partition; `key` every index, unique or not, and every
/// foreign key, with its columns in their order.
const WITH: &str = "
    WITH relation AS (
        SELECT c.oid::regclass AS name, c.*, a.attnum AS tenant, a.attnotnull AS tenant_given
        FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p')
    ), function AS (
        SELECT p.oid::regprocedure AS name, p.*, pg_get_userbyid(p.proowner) AS owner
        FROM pg_proc AS p WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    ), policy AS (
        SELECT r.name, p.*, p.polpermissive AS permissive,
            p.polcmd = '*' AND p.polroles = '{0}' AND p.polwithcheck IS NULL
                AND pg_get_expr(p.polqual, p.polrelid) = '(tenant_id = stormops.current_tenant())' AS equality
        FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    ), key AS (
        SELECT i.indexrelid::regclass::text AS name, r.oid AS of, r.tenant,
            string_to_array(i.indkey::text, ' ')::int2[] AS columns
        FROM relation AS r JOIN pg_index AS i ON i.indrelid = r.oid
    ), reference AS (
        SELECT r.name || ' ' || c.conname AS name, r.oid AS of, r.tenant, c.* FROM relation AS r
        JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype = 'f'
    ) ";

macro_rules! rules {
    ($($(#[$why:meta])* $rule:ident: $violators:literal)*) => {$(
        $(#[$why])*
        #[test]
        fn $rule() {
            assert_eq!(list($violators), [""; 0]);
        }
    )*};
}

fn list(query: &str) -> Vec<String> {
    let rows = catalogue().superuser().query(&format!("{WITH} SELECT x::text FROM ({query}) AS x (x) ORDER BY 1"), &[]);
    rows.unwrap_or_else(|e| panic!("{query}: {e:?}")).iter().map(|row| row.get(0)).collect()
}

rules! {
    every_table_is_a_tenants_and_published:
        "SELECT name FROM relation WHERE relname NOT IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i) AND (tenant_given IS NOT TRUE
            OR NOT relispartition AND relname NOT IN (
                SELECT table_name FROM stormops.role_matrix() WHERE command = 'SELECT'))"
    /// The tables of the installation hold no tenant's row, and their owner must read them.
    row_security_is_forced_on_every_table_and_partition:
        "SELECT name FROM relation WHERE NOT relrowsecurity
            OR NOT relforcerowsecurity AND relname NOT IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i)"
    tables_of_the_installation_hold_no_tenants_row_and_are_nobodys_but_the_owners:
        "SELECT r.name FROM relation AS r WHERE relname IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i) AND (tenant IS NOT NULL
            OR EXISTS (SELECT FROM aclexplode(r.relacl) AS a WHERE a.grantee <> r.relowner))
        UNION ALL SELECT oid::regclass FROM pg_class AS c WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
            AND relkind = 'S' AND EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner)"
    /// Reading, that is, and only what the tenants' own users may read.
    operators_have_the_published_right_to_read_and_no_other:
        "SELECT format('%s %s', p.command, r.name)
        FROM relation AS r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER,REFERENCES}'::text[]) AS p (command)
        WHERE (has_table_privilege('op', r.oid, p.command) OR p.command IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                AND has_any_column_privilege('op', r.oid, p.command))
            <> (p.command = 'SELECT' AND EXISTS (
                SELECT FROM stormops.role_matrix() AS m WHERE m.table_name = r.relname AND m.command = 'SELECT'))"
    every_table_has_one_permissive_policy_and_it_is_tenant_equality:
        "SELECT r.name FROM relation AS r LEFT JOIN policy AS p ON p.polrelid = r.oid AND p.permissive
        WHERE NOT r.relispartition AND r.tenant IS NOT NULL
        GROUP BY r.name HAVING count(*) <> 1 OR bool_and(p.equality) IS NOT TRUE"
    every_table_has_the_restrictive_floor:
        "SELECT r.name FROM relation AS r
            LEFT JOIN policy AS p ON p.polrelid = r.oid AND NOT p.permissive AND p.equality
        WHERE NOT r.relispartition AND r.tenant IS NOT NULL AND p.oid IS NULL"
    /// Nobody has a right to a partition by its own name, so a policy there could only open it.
    partitions_have_no_policy_and_no_grant:
        "SELECT name FROM relation AS r WHERE relispartition AND (
            EXISTS (SELECT FROM policy AS p WHERE p.polrelid = r.oid)
            OR EXISTS (SELECT FROM aclexplode(r.relacl) AS a WHERE a.grantee <> r.relowner))"
    /// tenants.name_key is unique over all tenants so that nobody takes the name of another; no tenant inserts there.
    every_key_and_index_begins_with_the_tenant:
        "SELECT name FROM key WHERE tenant IS NOT NULL AND columns[1] <> tenant
            AND name <> 'stormops.tenants_name_key_key'"
    every_reference_carries_the_tenant_and_cascades_nothing:
        "SELECT name FROM reference WHERE conkey[1] <> tenant OR confdeltype <> 'a' OR confupdtype <> 'a'
            OR NOT convalidated OR confkey[1] <> (SELECT r.tenant FROM relation AS r WHERE r.oid = confrelid)"
    every_reference_has_an_index:
        "SELECT f.name FROM reference AS f WHERE NOT EXISTS (
            SELECT FROM key AS k WHERE k.of = f.of AND k.columns[:cardinality(f.conkey)] = f.conkey)"
    all_relations_are_the_owners_and_none_a_member_of_the_extension:
        "SELECT c.oid::regclass FROM pg_class AS c
        LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind <> 'c'
            AND (pg_get_userbyid(c.relowner) <> 'stormops_owner' OR d.objid IS NOT NULL)"
    /// A matview has no row security, a rule rewrites what was judged; a sequence counts all tenants, and no logical copy
    /// has it. A composite type is a list of columns, and holds no row.
    there_are_only_tables_views_and_indexes:
        "SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
            AND relkind NOT IN ('r', 'p', 'v', 'i', 'I', 'c')
        UNION ALL SELECT ev_class::regclass FROM pg_rewrite JOIN pg_class AS c ON c.oid = ev_class
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND rulename <> '_RETURN'"
    every_trigger_runs_a_function_of_the_extension:
        "SELECT tgname FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid
        WHERE NOT t.tgisinternal AND (t.tgfoid NOT IN (SELECT oid FROM function) OR t.tgenabled = 'D')"
    views_ask_as_whoever_looks_and_show_nothing_early:
        "SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND relkind = 'v'
            AND NOT coalesce(reloptions, '{}') @> '{security_invoker=true,security_barrier=true}'"
    the_owner_is_powerless_and_nobody_can_become_it:
        "SELECT rolname FROM pg_roles WHERE rolname = 'stormops_owner'
            AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
        UNION ALL SELECT member::regrole::name FROM pg_auth_members WHERE roleid = 'stormops_owner'::regrole
        UNION ALL SELECT roleid::regrole::name FROM pg_auth_members WHERE member = 'stormops_owner'::regrole"
    definer_functions_are_the_owners_and_search_only_the_catalogue:
        "SELECT name FROM function WHERE prosecdef AND (owner <> 'stormops_owner'
            OR NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'])"
    /// One that search_path can lead astray does so for a definer that calls it, too.
    procedural_functions_search_only_the_catalogue:
        "SELECT name FROM function JOIN pg_language AS l ON l.oid = prolang
        WHERE l.lanname NOT IN ('sql', 'c', 'internal')
            AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']"
    public_has_no_right:
        "SELECT name::text FROM function WHERE EXISTS (
            SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a WHERE a.grantee = 0)
        UNION ALL SELECT c.oid::regclass::text FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND a.grantee = 0
        UNION ALL SELECT attname FROM relation AS r JOIN pg_attribute AS c ON c.attrelid = r.oid,
            aclexplode(c.attacl) AS a
        WHERE a.grantee = 0
        UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) AS a WHERE nspname IN ('stormops', 'stormops_internal') AND a.grantee = 0
        UNION ALL SELECT parname FROM pg_parameter_acl, aclexplode(paracl) AS a
        WHERE parname LIKE 'app.%' AND a.grantee = 0"
    /// Under standard_conforming_strings = off, which is a session's to set, such a literal is another. Those of attest() are
    /// called by it, which sets that, and by the install script, which does too.
    no_function_leaves_the_meaning_of_a_backslash_to_its_caller:
        "SELECT name FROM function JOIN pg_language AS l ON l.oid = prolang
        WHERE l.lanname IN ('sql', 'plpgsql') AND NOT coalesce(proconfig, '{}') @> '{standard_conforming_strings=on}'
            AND proname !~ '^attest_|^opened_by$|^partition_bound$|^present_definitions$'
            AND regexp_replace(prosrc, 'E''([^''\\\\]|\\\\.|'''')*''', '', 'g') ~ '\\\\'"
    /// default_tablespace = pg_default refuses a partitioned table, and any other place may be closed to the owner.
    what_makes_tables_says_where:
        "SELECT name FROM function WHERE prosrc ~ 'format\\(''CREATE TABLE'
            AND NOT coalesce(proconfig, '{}') @> '{default_tablespace=,default_table_access_method=heap}'"
    /// jOOQ and others make one class of both. Those that are granted to roles in dumps of 0.1.0 have to stay.
    no_other_function_has_the_name_of_a_table:
        "SELECT name FROM function AS f WHERE f.proname NOT IN ('alerts', 'break_glass_grants', 'policy_decisions') AND EXISTS (
            SELECT FROM pg_class AS c WHERE c.relnamespace = f.pronamespace AND c.relname = f.proname AND c.relkind <> 'c')"
    /// What drivers know by no name of their own: it is text where users look. An argument may be one, and is cast to.
    users_see_no_type_of_the_catalogue:
        "WITH own (type) AS (SELECT unnest('{oid,name,xid,xid8,cid,tid,pg_lsn,pg_snapshot,aclitem,regclass,regcollation,regconfig,regdictionary,
            regnamespace,regoper,regoperator,regproc,regprocedure,regrole,regtype}'::regtype[]))
        SELECT c.oid::regclass || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE c.relnamespace = 'stormops'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
            AND (SELECT array_agg(o.type) FROM own AS o) && ARRAY[t.oid, t.typelem]::regtype[]
        UNION ALL SELECT f.name || ' ' || u.name FROM function AS f,
            unnest(coalesce(f.proallargtypes, ARRAY[f.prorettype]), f.proargnames, coalesce(f.proargmodes, '{t}')) AS u (type, name, mode)
        JOIN pg_type AS t ON t.oid = u.type
        WHERE f.pronamespace = 'stormops'::regnamespace AND u.mode IN ('o', 'b', 't')
            AND (SELECT array_agg(o.type) FROM own AS o) && ARRAY[t.oid, t.typelem]::regtype[]"
    /// A leak-proof function is tried on rows that row security then hides.
    no_function_is_leak_proof:
        "SELECT name FROM function WHERE proleakproof"
    everything_has_a_comment:
        "SELECT name::text FROM function WHERE obj_description(oid, 'pg_proc') IS NULL
        UNION ALL SELECT name || ' ' || polname FROM policy WHERE obj_description(oid, 'pg_policy') IS NULL
        UNION ALL SELECT oid::regclass::text FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
            AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL SELECT r.name || '.' || a.attname FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND NOT r.relispartition AND col_description(r.oid, a.attnum) IS NULL"
    the_published_lists_name_only_what_exists:
        "SELECT signature FROM stormops_internal.granted_functions() WHERE to_regprocedure(signature) IS NULL
            OR NOT kinds <@ '{app,trusted_app,operator,monitor}' OR kinds = '{}' AND signature NOT LIKE 'stormops.%'
        UNION ALL SELECT view_name FROM stormops_internal.granted_views() WHERE to_regclass('stormops.' || view_name) IS NULL
            OR NOT kinds <@ '{app,trusted_app,operator,monitor}' OR kinds = '{}'
        UNION ALL SELECT m.table_name || ' ' || m.command FROM stormops.role_matrix() AS m
        WHERE to_regclass('stormops.' || m.table_name) IS NULL
            OR m.least_role NOT IN ('viewer', 'field_user', 'crew_chief', 'admin')
            OR m.command NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            OR EXISTS (SELECT FROM unnest(m.columns) AS c WHERE NOT EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = to_regclass('stormops.' || m.table_name) AND a.attname = c AND a.attnum > 0))"
    /// One that is forgotten would show at run time only, as 42501 in the caller's hands. What stands in quotes is no call.
    what_a_granted_function_calls_as_its_caller_is_granted_too:
        "SELECT DISTINCT format('%s calls %s.%s', g.oid::regprocedure, c[1], c[2])
        FROM (SELECT p.*, f.kinds, regexp_replace(p.prosrc, '''[^'']*''|--[^\n]*', '', 'g') AS body
            FROM stormops_internal.granted_functions() AS f JOIN function AS p ON p.oid = f.signature::regprocedure) AS g,
            regexp_matches(g.body, '\\m(stormops|stormops_internal)[.]([a-z_]+)[(]', 'g') AS c
        WHERE NOT g.prosecdef AND g.kinds <> '{}'
            AND EXISTS (SELECT FROM function AS p WHERE p.proname = c[2] AND p.pronamespace = c[1]::regnamespace)
            AND NOT EXISTS (SELECT FROM stormops_internal.granted_functions() AS f JOIN function AS p ON p.oid = f.signature::regprocedure
                WHERE p.proname = c[2] AND p.pronamespace = c[1]::regnamespace AND f.kinds && g.kinds)"
    applications_have_the_published_rights_on_columns_and_no_other:
        "SELECT format('%s %s %s.%s', u.role, p.command, r.relname, a.attname)
        FROM (VALUES ('app'), ('tapp')) AS u (role), relation AS r
        JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0,
            unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p (command)
        WHERE has_column_privilege(u.role, r.oid, a.attnum, p.command) <> EXISTS (
            SELECT FROM stormops.role_matrix() AS m WHERE m.table_name = r.relname AND m.command = p.command
                AND m.through IS NULL AND (m.columns IS NULL OR a.attname = ANY (m.columns) OR p.command = 'UPDATE'))"
    /// An UPDATE may name every column, and change those that are published.
    what_an_update_may_not_change_a_trigger_keeps:
        "SELECT m.table_name FROM stormops.role_matrix() AS m JOIN relation AS r ON r.relname = m.table_name
        LEFT JOIN pg_trigger AS t ON t.tgrelid = r.oid AND t.tgfoid = 'stormops_internal.given_once'::regproc AND t.tgtype = 19
        WHERE m.command = 'UPDATE' AND m.through IS NULL AND ARRAY(
                SELECT a.attname FROM pg_attribute AS a
                WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (m.columns) ORDER BY a.attnum
            ) IS DISTINCT FROM (string_to_array(encode(t.tgargs, 'escape'), '\\000'))[:t.tgnargs]::name[]
        UNION ALL SELECT r.relname FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid
        WHERE t.tgfoid = 'stormops_internal.given_once'::regproc AND ARRAY(
                SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attnum = ANY (t.tgattr) ORDER BY a.attnum
            ) IS DISTINCT FROM (string_to_array(encode(t.tgargs, 'escape'), '\\000'))[:t.tgnargs]::name[]"
    applications_have_the_published_rights_on_tables_and_no_other:
        "SELECT format('%s %s %s', u.role, p.command, r.relname)
        FROM (VALUES ('app'), ('tapp')) AS u (role), relation AS r,
            unnest('{DELETE,TRUNCATE,TRIGGER}'::text[]) AS p (command)
        WHERE has_table_privilege(u.role, r.oid, p.command) <> EXISTS (
            SELECT FROM stormops.role_matrix() AS m WHERE m.table_name = r.relname AND m.command = p.command
                AND m.through IS NULL)"
    money_and_time_are_exact:
        "SELECT r.name || '.' || a.attname FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
        WHERE a.attnum > 0 AND format_type(a.atttypid, NULL) IN ('money', 'real', 'timestamp without time zone')"
}

/// Amounts and counts are numeric. A column that is added is one or the other on purpose.
#[test]
fn only_measurements_and_probabilities_are_floating_point() {
    let columns = |kind: &str| {
        list(&format!(
            "SELECT r.relname || '.' || a.attname FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
             WHERE NOT r.relispartition AND a.attnum > 0 AND format_type(a.atttypid, NULL) = '{kind}'"
        ))
    };
    let amounts = "customer_journeys.value expectations.highest expectations.lowest expectations.threshold \
        guardrails.amount guardrails.contact_cost \
        invoice_lines.amount invoice_lines.quantity invoice_lines.unit_price \
        invoices.total policy_modes.budget policy_modes.contact_cost policy_modes.margin policy_outcomes.value \
        policy_runs.expected_value prices.included_quantity prices.package_size properties.building_value \
        properties.contact_cost properties.job_margin quota_alerts.quota quota_alerts.used quota_counters.used \
        quotas.quota row_count_deltas.took_ms storm_footprints.min_size_mm storms.hail_size_in storms.wind_gust_mph tenant_usage.metric_value \
        tier_quotas.quota usage_keys.metric_value usage_rollups.quantity";
    assert_eq!(columns("numeric"), amounts.split(' ').collect::<Vec<_>>());
    // policy_decision_rows.value is an expectation: a score, which is a double, times a margin.
    let measurements = "attribution_days.credit attribution_days.value data_quality_metrics.metric_value data_quality_metrics.threshold lead_uplift.baseline \
        lead_uplift.uplift lead_uplift.uplift_sd \
        policy_decision_rows.propensity policy_decision_rows.score policy_decision_rows.score_sd \
        policy_decision_rows.value policy_modes.breakeven_uplift policy_modes.confidence policy_modes.default_sd \
        policy_modes.exploration policy_modes.holdout properties.latitude properties.longitude \
        storm_footprints.east storm_footprints.north storm_footprints.south storm_footprints.west storms.east storms.north storms.south storms.west uplift_baselines.mean uplift_baselines.sd \
        uplift_calibrations.between_sd uplift_calibrations.common_effect";
    assert_eq!(columns("double precision"), measurements.split(' ').collect::<Vec<_>>());
}
