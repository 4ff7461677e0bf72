//! A hot standby answers Prometheus too, and the primary says how far it is behind.

mod monitoring_setup;

use std::process::{Child, Command, Stdio};

use monitoring_setup::have;
use monitoring_setup::programs::until;
use postgres::{Client, Config, NoTls};
use stormops_tests::{Db, SUPERUSER, cluster, provision, run};

/// As the user whom the server runs as, since it refuses root; killed should this process be.
fn as_owner(program: &Command) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).current_dir("/");
    if root {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

struct Standby(Child);

impl Drop for Standby {
    fn drop(&mut self) {
        self.0.kill().ok(); // the server's other processes end when they miss it
        self.0.wait().ok();
    }
}

#[test]
fn a_standby_answers_too_and_its_lag_is_measured() {
    if !have(&[("setpriv", "util-linux")]) {
        return;
    }
    let db = Db::new("standby");
    let abc = provision(&db, "Abc");
    let (place, port) = (cluster().socket(), 5433);
    let data = format!("{place}/standby");
    let backup = cluster().program("pg_basebackup", SUPERUSER, "postgres");
    run(as_owner(&backup).args(["-D", &data, "-R", "-c", "fast"]), &[]);
    let mut server = as_owner(&cluster().program("postgres", SUPERUSER, "postgres"));
    server.args(["-D", &data, "-p", &port.to_string(), "-k", place]);
    let process = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _standby = Standby(process.expect("a standby"));
    let connect = || Config::new().host(place).port(port).user("mon").dbname(&db.name).connect(NoTls).ok();
    let mut standby: Client = until("the standby", connect);
    let text: String = standby.query_one("SELECT stormops.prometheus_metrics()", &[]).expect("a reader").get(0);
    let line = |begin: &str, end: &str| text.lines().any(|l| l.starts_with(begin) && l.ends_with(end));
    assert!(line("stormops_installation_in_recovery{", "} 1"), "{text}");
    assert!(
        text.contains(&format!("stormops_tenant_info{{org_name=\"Abc\",status=\"active\",tenant_id=\"{abc}\"")),
        "{text}"
    );

    // The primary's side, for a role that may see it; one that may not has no sample rather than a wrong one.
    let lag = "SELECT labels ->> 'replica', value FROM stormops.monitoring_samples() WHERE name = 'stormops_replica_lag_bytes'";
    let mut primary = db.superuser();
    let (replica, bytes) = until("the lag", || {
        primary.query(lag, &[]).expect("samples").first().map(|row| (row.get::<_, String>(0), row.get::<_, f64>(1)))
    });
    assert!(!replica.is_empty() && bytes.abs() < 1e9, "{replica} {bytes}");
    assert!(db.as_role("mon").query(lag, &[]).expect("samples").is_empty());
}
