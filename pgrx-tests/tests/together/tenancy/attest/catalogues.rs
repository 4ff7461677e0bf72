//! Every catalogue of the server, and what attest() makes of it: one that a new version adds is not forgotten.

use std::collections::BTreeSet;

use stormops_tests::Db;

/// The function that looks at it (its body names the catalogue), or nothing, and why.
const CATALOGUES: &[(&str, &str, &str)] = &[
    ("pg_aggregate", "function_digest", "the functions that an aggregate consists of"),
    (
        "pg_am",
        "",
        "handlers of access methods are C functions, which only a superuser makes; an index's is part of its definition",
    ),
    ("pg_amop", "attest_catalogue", "operators that an index of the server's types would use"),
    ("pg_amproc", "attest_catalogue", "functions that an index of the server's types would call"),
    ("pg_attrdef", "present_definitions", "defaults and generated columns; those of others in attest_expressions()"),
    ("pg_attribute", "present_definitions", "columns; their grants in present_grants()"),
    ("pg_auth_members", "attest_roles", "members"),
    ("pg_authid", "attest_roles", "powers, through pg_roles"),
    ("pg_cast", "attest_catalogue", "casts between the server's types"),
    ("pg_class", "present_definitions", "relations, their options, bounds and owners"),
    ("pg_collation", "", "named in the definitions that use it; a schema's own in attest_definitions()"),
    ("pg_constraint", "present_definitions", "keys, references, checks"),
    ("pg_conversion", "attest_catalogue", "conversions of encodings in pg_catalog"),
    ("pg_database", "attest_grants", "its rights through has_database_privilege(), its owner as pg_database_owner"),
    ("pg_db_role_setting", "lasting_settings", "settings of roles and of the database"),
    ("pg_default_acl", "present_grants", "default privileges of the owner and in the schemas"),
    ("pg_depend", "attest_functions", "membership of the extension"),
    ("pg_description", "", "comments decide nothing"),
    ("pg_enum", "", "no enum is shipped; one of others is a type of theirs"),
    ("pg_event_trigger", "attest_side_ways", "event triggers of others"),
    (
        "pg_extension",
        "attest_functions",
        "what else is installed is its administrator's; its functions are looked at as any",
    ),
    ("pg_foreign_data_wrapper", "", "of use through a server only"),
    ("pg_foreign_server", "attest_grants", "servers that a role with use may use"),
    ("pg_foreign_table", "attest_tables", "foreign tables, through relkind"),
    ("pg_index", "present_definitions", "indexes; those of others in unsafe_keys()"),
    ("pg_inherits", "attest_tables", "parents and partitions"),
    ("pg_init_privs", "attest_catalogue", "what initdb granted"),
    ("pg_language", "attest_catalogue", "who runs plpgsql; untrusted ones in attest_grants()"),
    ("pg_largeobject", "", "objects belong to roles and hold nothing of StormOps; the guard refuses them"),
    ("pg_largeobject_metadata", "", "as pg_largeobject"),
    ("pg_namespace", "attest_definitions", "owners of the schemas; their grants in present_grants()"),
    ("pg_opclass", "attest_catalogue", "operator classes in pg_catalog"),
    ("pg_operator", "attest_catalogue", "operators in pg_catalog; a schema's own in attest_definitions()"),
    ("pg_opfamily", "attest_catalogue", "operator families in pg_catalog"),
    ("pg_parameter_acl", "present_grants", "who may set what; of the server's own settings in attest_catalogue()"),
    ("pg_partitioned_table", "attest_definitions", "default partitions"),
    ("pg_policy", "attest_policies", "policies; what those of others call in attest_expressions()"),
    ("pg_proc", "attest_functions", "functions; of others in attest_definers(), the server's in attest_catalogue()"),
    ("pg_publication", "attest_replication", "through pg_publication_tables"),
    ("pg_publication_namespace", "attest_replication", "through pg_publication_tables"),
    ("pg_publication_rel", "attest_replication", "through pg_publication_tables"),
    ("pg_range", "", "no range type is shipped, none of others is used"),
    ("pg_replication_origin", "", "says where replayed rows came from; writes none"),
    ("pg_rewrite", "attest_side_ways", "rules; those of views in present_definitions() and attest_views()"),
    ("pg_seclabel", "", "read by label providers, which only a superuser loads"),
    ("pg_sequence", "present_definitions", "sequences"),
    ("pg_shdepend", "", "keeps roles from being dropped, and decides nothing else"),
    ("pg_shdescription", "attest_replication", "the comment of a role that replicates"),
    ("pg_shseclabel", "", "as pg_seclabel"),
    ("pg_statistic", "attest_catalogue", "values of rows: who may read it, through its grants"),
    ("pg_statistic_ext", "attest_expressions", "what statistics of expressions call"),
    ("pg_statistic_ext_data", "attest_catalogue", "as pg_statistic"),
    ("pg_subscription", "attest_replication", "who writes rows that come from elsewhere"),
    ("pg_subscription_rel", "attest_replication", "which tables those are"),
    ("pg_tablespace", "", "where a file lies decides nothing; whoever reads files is no attacker here"),
    ("pg_transform", "", "of untrusted languages, which attest_grants() looks for"),
    ("pg_trigger", "attest_side_ways", "triggers"),
    ("pg_ts_config", "", "nothing here searches text"),
    ("pg_ts_config_map", "", "as pg_ts_config"),
    ("pg_ts_dict", "", "as pg_ts_config"),
    ("pg_ts_parser", "", "as pg_ts_config"),
    ("pg_ts_template", "", "as pg_ts_config"),
    ("pg_type", "attest_definitions", "types and domains; those in pg_catalog in attest_catalogue()"),
    ("pg_user_mapping", "", "of use with a server only, and its passwords are shown to nobody else"),
];

/// What is looked at through a view, or through a function of the server.
const THROUGH: &[(&str, &str)] = &[
    ("pg_authid", "pg_roles"),
    ("pg_publication", "pg_publication_tables"),
    ("pg_publication_namespace", "pg_publication_tables"),
    ("pg_publication_rel", "pg_publication_tables"),
    ("pg_database", "has_database_privilege"),
    ("pg_foreign_table", "'f'"),
    ("pg_shdescription", "shobj_description"),
    ("pg_statistic", "relacl"),
    ("pg_statistic_ext_data", "relacl"),
];

#[test]
fn every_catalogue_is_looked_at_or_cannot_matter() {
    let db = Db::new("catalogues");
    let mut superuser = db.superuser();
    let there = "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND oid < 16384";
    let there: BTreeSet<String> =
        superuser.query(there, &[]).expect("catalogues").iter().map(|row| row.get(0)).collect();
    let known: BTreeSet<String> = CATALOGUES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let new: Vec<_> = there.difference(&known).collect();
    assert!(new.is_empty(), "which function looks at these, or why does none need to? {new:?}");
    assert_eq!(known.len(), CATALOGUES.len(), "one is there twice");
    for (name, function, why) in CATALOGUES {
        assert!(!why.is_empty(), "{name}");
        if !function.is_empty() {
            let through = THROUGH.iter().find(|(seen, _)| seen == name).map_or(*name, |(_, through)| *through);
            let body =
                "SELECT prosrc FROM pg_proc WHERE pronamespace = 'stormops_internal'::regnamespace AND proname = $1";
            let body: String =
                superuser.query_one(body, &[function]).unwrap_or_else(|e| panic!("{function}: {e:?}")).get(0);
            assert!(body.contains(through), "{function}() does not look at {through}");
        }
    }
}

/// Each attest_...() is asked by attest().
#[test]
fn no_part_of_attest_is_left_out() {
    let left_out = "SELECT p.proname::text FROM pg_proc AS p
        WHERE p.pronamespace = 'stormops_internal'::regnamespace AND p.proname LIKE 'attest\\_%' AND NOT EXISTS (
            SELECT FROM pg_proc AS a WHERE a.oid = 'stormops.attest()'::regprocedure AND strpos(a.prosrc, p.proname || '()') > 0)";
    let left_out = Db::new("parts").superuser().query(left_out, &[]).expect("functions");
    assert!(left_out.is_empty(), "{:?}", left_out[0].get::<_, String>(0));
}
