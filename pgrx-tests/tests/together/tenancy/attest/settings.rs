//! What a client may set for itself makes attest() say nothing wrong.

use stormops_tests::sqlstate;

use super::{db, failing};

/// Each as a value that is not the default's.
const SETTINGS: &[(&str, &str)] = &[
    ("quote_all_identifiers", "on"),
    ("datestyle", "SQL, DMY"),
    ("datestyle", "German"),
    ("intervalstyle", "iso_8601"),
    ("timezone", "Asia/Kathmandu"),
    ("extra_float_digits", "-15"),
    ("extra_float_digits", "3"),
    ("bytea_output", "escape"),
    ("search_path", "stormops_internal, stormops, public"),
    ("search_path", ""),
    ("standard_conforming_strings", "off"),
    ("escape_string_warning", "off"),
    ("backslash_quote", "off"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("xmloption", "document"),
    ("xmlbinary", "hex"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("default_tablespace", "pg_default"),
    ("default_text_search_config", "pg_catalog.german"),
    ("default_table_access_method", "heap"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "on"),
    ("client_encoding", "LATIN1"),
    ("client_min_messages", "debug1"),
    ("application_name", "1'; --"),
    ("jit", "off"),
    ("from_collapse_limit", "1"),
    ("join_collapse_limit", "1"),
    ("geqo_threshold", "2"),
    ("work_mem", "64kB"),
    ("hash_mem_multiplier", "1"),
    ("plan_cache_mode", "force_generic_plan"),
    ("constraint_exclusion", "off"),
    ("cursor_tuple_fraction", "0"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_nestloop", "off"),
    ("enable_hashagg", "off"),
    ("enable_sort", "off"),
    ("enable_seqscan", "off"),
    ("enable_indexscan", "off"),
    ("enable_material", "off"),
    ("enable_memoize", "off"),
    ("force_parallel_mode", "on"),
    ("debug_parallel_query", "on"),
    ("check_function_bodies", "off"),
    ("synchronize_seqscans", "off"),
    ("restrict_nonsystem_relation_kind", "foreign-table"),
];

#[test]
fn no_setting_of_a_client_raises_a_false_alarm() {
    let db = db("clients");
    for role in ["op", stormops_tests::SUPERUSER] {
        let mut session = db.as_role(role);
        for (name, value) in SETTINGS {
            // Two of them go by another name on other versions.
            let known = "SELECT count(*) FROM pg_settings WHERE name = $1";
            if session.query_one(known, &[name]).expect("a count").get::<_, i64>(0) == 0 {
                continue;
            }
            let set = if *name == "search_path" && value.is_empty() {
                "SET search_path = ''".to_owned()
            } else if *name == "search_path" {
                format!("SET search_path = {value}")
            } else {
                format!("SET {name} = '{}'", value.replace('\'', "''"))
            };
            let answer = session.batch_execute(&set);
            if role == "op" && sqlstate(&answer) == "42501" {
                continue; // lc_messages is a superuser's
            }
            answer.unwrap_or_else(|e| panic!("{set}: {e:?}"));
            assert_eq!(failing(&mut session), [], "{role}: {set}");
            session.batch_execute(&format!("RESET {name}")).expect("a reset");
        }
    }
}

/// What a session has set when it makes the extension is written into no definition.
#[test]
fn no_setting_of_the_one_who_installs_raises_a_false_alarm() {
    let db = stormops_tests::Db::empty("installers");
    super::close(&db);
    let set: Vec<_> = SETTINGS
        .iter()
        .filter(|(name, _)| {
            ["quote_all_identifiers", "datestyle", "intervalstyle", "timezone", "extra_float_digits", "bytea_output"]
                .contains(name)
        })
        .map(|(name, value)| format!("SET {name} = '{value}';"))
        .collect();
    let script = format!("{} CREATE EXTENSION stormops", set.concat());
    db.superuser().batch_execute(&script).expect("the extension");
    for (role, kind) in stormops_tests::ROLES {
        db.in_turn(&format!("SELECT stormops.grant_usage('{role}', '{kind}')"));
    }
    assert_eq!(failing(&mut db.superuser()), []);
    assert_eq!(failing(&mut db.copy_of().superuser()), []);
}
