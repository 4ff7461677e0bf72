//! What the platform says of itself is ASCII: a client of another encoding than UTF8 gets every answer.

use std::process::Command;

use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, cluster, run};

/// What psql prints of a script in LATIN1, errors with their SQLSTATE among it.
fn latin1(db: &Db, role: &str, script: &str) -> String {
    let psql: Command = cluster().program("psql", role, &db.name);
    let script = format!("SET client_encoding = LATIN1;\n\\set VERBOSITY verbose\n{script}");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" -X -A -t -q 2>&1"]).arg(psql.get_program());
    shell.envs(psql.get_envs().filter_map(|(name, value)| Some((name, value?))));
    String::from_utf8_lossy(&run(&mut shell, script.as_bytes())).into_owned()
}

/// Every call that needs no argument, or a storm's id alone.
fn calls(db: &Db, role: &str, storm: &str) -> Vec<String> {
    let query = "SELECT format('SELECT * FROM %s(%s)', p.oid::regproc, CASE WHEN p.pronargs > p.pronargdefaults THEN quote_literal($2) END)
        FROM pg_proc AS p WHERE p.pronamespace = 'stormops'::regnamespace AND p.prokind = 'f' AND has_function_privilege($1, p.oid, 'EXECUTE')
            AND (p.pronargs = p.pronargdefaults OR p.pronargs = p.pronargdefaults + 1 AND p.proargnames[1] = 'storm_id')";
    db.superuser().query(query, &[&role, &storm]).expect("functions").iter().map(|row| row.get(0)).collect()
}

#[test]
fn every_answer_reaches_a_client_in_latin1() {
    let db = Db::new("latin1");
    let (abc, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 60).to_string();
    session.batch_execute(&format!("SELECT stormops.apply_policy('{storm}')")).expect("a run");
    for role in ["tapp", "op", "mon"] {
        let calls = calls(&db, role, &storm);
        assert!(calls.len() > 12, "{calls:?}");
        let mut script = String::from("SELECT * FROM stormops.reference;\n");
        if role == "tapp" {
            script += &format!("SET app.current_tenant = '{abc}';\n");
        }
        for call in &calls {
            script += &format!("{call};\n");
        }
        let printed = latin1(&db, role, &script);
        let untold: Vec<_> = printed.lines().filter(|line| line.contains("22P05")).collect();
        assert!(untold.is_empty(), "{role}: {untold:#?}\n{calls:#?}");
        if role == "tapp" {
            assert!(printed.contains("|____") && printed.contains('#'), "bars of ASCII: {printed}");
        }
    }
    let described = latin1(&db, "postgres", "\\d+ stormops.*\n\\df+ stormops.*\n\\dD+ stormops.*");
    assert!(!described.contains("22P05"), "{described}");
}
