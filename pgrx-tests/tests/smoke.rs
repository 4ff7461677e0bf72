//! The harness itself, on a plain cluster. To be deleted once the extension has tests.

use postgres::Client;
use stormops_tests::{SUPERUSER, cluster, fails_with, run};

fn session() -> Client {
    cluster().connect(SUPERUSER, "postgres")
}

#[test]
fn connects_and_survives_a_crash() {
    session().batch_execute("CREATE TABLE kept AS SELECT 1 AS x").expect("a table");
    cluster().crash_and_restart();
    assert_eq!(session().query_one("SELECT x FROM kept", &[]).expect("its row").get::<_, i32>(0), 1);
    cluster().configure(&["work_mem = '7MB'"]);
    let work_mem: String = session().query_one("SHOW work_mem", &[]).expect("a setting").get(0);
    assert_eq!(work_mem, "7MB");
    let error = fails_with(session().execute("SELECT 1/0", &[]), "22012");
    assert_eq!(error.message(), "division by zero");
    let mut psql = cluster().program("psql", SUPERUSER, "postgres");
    let script = "SELECT repeat('x', 1000) FROM generate_series(1, 1000);\n".repeat(200);
    assert_eq!(run(psql.args(["-XAtq"]), script.as_bytes()).len(), 200 * 1000 * 1001);
    let dump = run(cluster().program("pg_dump", SUPERUSER, "postgres").arg("-Fc"), &[]);
    session().batch_execute("DROP TABLE kept").expect("a drop");
    run(cluster().program("pg_restore", SUPERUSER, "postgres").args(["-d", "postgres"]), &dump);
    assert_eq!(session().query("SELECT x FROM kept", &[]).expect("its row").len(), 1);
}
