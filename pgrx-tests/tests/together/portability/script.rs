//! The install script: its parts may stand in any order where the tree says that they may.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stormops_script::Sources;
use stormops_tests::{Db, cluster, run};

use super::life::lines;

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql")).expect("sql/")
}

/// Where the server reads scripts of extensions.
fn scripts() -> PathBuf {
    let pg_config = cluster().program("pg_config", "postgres", "postgres").get_program().to_owned();
    let directory = run(Command::new(pg_config).arg("--sharedir"), &[]);
    Path::new(String::from_utf8(directory).expect("UTF-8").trim()).join("extension")
}

/// A script that is gone when the value is.
struct Script(PathBuf);

impl Drop for Script {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

#[test]
fn the_code_installs_in_any_order() {
    let functions = "SELECT concat_ws(' ', oid::regprocedure, proowner::regrole, proconfig, provolatile, prosecdef,
            obj_description(oid, 'pg_proc'))
        FROM pg_proc WHERE pronamespace::regnamespace::text IN ('stormops', 'stormops_internal') ORDER BY 1";
    let expected = lines(&mut Db::new("in_order").superuser(), functions);
    for seed in 1..=3 {
        let mut shuffled = sources();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled.code);
        let version = format!("shuffled.{seed}");
        let script = Script(scripts().join(format!("stormops--{version}.sql")));
        if let Err(error) = fs::write(&script.0, shuffled.install()) {
            println!("skipped: {}: {error}", script.0.display());
            return;
        }
        let db = Db::empty(&format!("order_{seed}"));
        let mut superuser = db.superuser();
        let create = format!("CREATE EXTENSION stormops VERSION '{version}'");
        superuser.batch_execute(&create).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        assert_eq!(lines(&mut superuser, functions), expected, "seed {seed}");
        let wrong = "SELECT property FROM stormops.attest() WHERE NOT pass AND property NOT IN ('server_minor', 'no_grant_added')";
        assert_eq!(lines(&mut superuser, wrong), [""; 0], "seed {seed}");
    }
}

#[test]
fn an_upgrade_script_makes_nothing_that_may_be_there() {
    let script = sources().upgrade();
    let plain = |line: &&str| line.starts_with("CREATE FUNCTION ") || line.starts_with("CREATE AGGREGATE ");
    assert_eq!(script.lines().find(plain), None);
    assert!(script.lines().filter(|line| line.starts_with("CREATE OR REPLACE FUNCTION ")).count() > 300);
}
