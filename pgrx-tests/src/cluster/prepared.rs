//! The data directory that every test's cluster is copied from: initdb done, the roles made, and the databases that
//! tests copy. It is kept under target/pgrx-tests/ for as long as what it was made from is the same.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;

use super::{Cluster, ci_cluster, root, run};
use crate::{NOBODY, ROLES, SUPERUSER, rows};

/// Holds the extension.
pub(crate) const TEMPLATE: &str = "stormops_template";

/// Nobody removes the directory while this is held.
pub(super) struct Prepared {
    data: PathBuf,
    _lock: File,
}

impl Prepared {
    pub fn data(&self) -> &str {
        self.data.to_str().expect("a path in UTF-8")
    }
}

/// Made if it is not there yet, by one process while others wait for it.
pub(super) fn prepared() -> Prepared {
    let home = root().join("target/pgrx-tests");
    fs::create_dir_all(&home).expect("a directory");
    let lock = File::create(home.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let data = home.join(format!("data-{:016x}", key()));
    if !data.exists() {
        remove_others(&home);
        make(&data);
    }
    Prepared { data, _lock: lock }
}

/// Of all that decides what the directory holds. Of the day too: rows are dated, and partitions are those of the month.
fn key() -> u64 {
    let bin = PathBuf::from(ci_cluster("bindir", Path::new("/"), &[]));
    let config = |what: &str| printed(Command::new(bin.join("pg_config")).arg(what));
    let mut installed: Vec<PathBuf> = fs::read_dir(Path::new(&config("--sharedir")).join("extension"))
        .expect("the server's extensions")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.file_name().is_some_and(|name| counts(&name.to_string_lossy())))
        .collect();
    installed.sort();
    installed.push(Path::new(&config("--pkglibdir")).join("stormops.so"));
    installed.push(root().join(".ci/cluster"));
    installed.retain(|path| path.exists()); // one that is missing is named when the extension is made
    let digests = printed(Command::new("sha256sum").args(installed));
    let day = printed(Command::new("date").args(["-u", "+%F"]));
    let rows = rows::script([Uuid::nil(), Uuid::max()]);
    let mut key = DefaultHasher::new();
    (digests, config("--version"), day, extension(), rows, include_str!("prepared.rs")).hash(&mut key);
    key.finish()
}

/// Whether a file is the extension's; a test puts scripts of its own beside them for a moment.
fn counts(file: &str) -> bool {
    file.starts_with("stormops") && !file.starts_with("stormops--shuffled")
}

/// In a place of its own first, so that whatever has this name is whole.
fn make(data: &Path) {
    let cluster = Cluster::made("prepared", |dir| drop(ci_cluster("start", dir, &[])));
    database(&cluster, TEMPLATE, "template1", || {
        let mut template = cluster.connect(SUPERUSER, TEMPLATE);
        template.batch_execute(&extension()).expect("the extension and its roles: did `make install` come first?");
    });
    database(&cluster, rows::TEMPLATE, TEMPLATE, || {
        let provisioned =
            "SELECT tenant_id FROM stormops.provision_tenant($1, 'standard', 'admin@' || $2 || '.example')";
        let mut operator = cluster.connect("op", rows::TEMPLATE);
        let tenants = rows::ORG_NAMES.map(|name| {
            let host = name.to_lowercase().replace(' ', "-");
            operator.query_one(provisioned, &[&name, &host]).expect("a tenant").get(0)
        });
        let mut template = cluster.connect(SUPERUSER, rows::TEMPLATE);
        template.batch_execute(&rows::script(tenants)).expect("a row of every table");
    });
    ci_cluster("stop", &cluster.dir, &[]);
    let made = Path::new(cluster.socket()).join("data");
    let aside = data.with_extension(std::process::id().to_string());
    run(Command::new("mv").args([&made, &aside]), &[]);
    fs::rename(&aside, data).expect("its name");
}

/// A new database, filled and then closed, to background workers too: while a session is in it, it cannot be copied.
fn database(cluster: &Cluster, name: &str, template: &str, fill: impl FnOnce()) {
    let mut server = cluster.superuser();
    server.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).expect("a new database");
    fill();
    server.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).expect("a closed template");
}

fn extension() -> String {
    let role = |(role, kind)| format!("CREATE ROLE {role} LOGIN; SELECT stormops.grant_usage('{role}', '{kind}');");
    // Most tests stay in one tenant; what becomes of one that is left over is tested with the switch off.
    let stay = "ALTER ROLE tapp SET stormops.session_tenant = on";
    format!("CREATE EXTENSION stormops; CREATE ROLE {NOBODY} LOGIN; {}; {stay}", ROLES.map(role).concat())
}

/// What was prepared from something else, and what another process left half-made: it holds no lock any more.
fn remove_others(home: &Path) {
    for file in fs::read_dir(home).expect("a directory") {
        let path = file.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("data-")) {
            run(Command::new("rm").arg("-rf").arg(path), &[]);
        }
    }
}

fn printed(command: &mut Command) -> String {
    String::from_utf8(run(command, &[])).expect("UTF-8").trim_end().to_owned()
}
