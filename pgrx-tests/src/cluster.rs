//! The cluster of a test process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use postgres::{Client, Config, Error, NoTls};

use crate::SUPERUSER;

mod prepared;

pub(crate) use prepared::TEMPLATE;

pub struct Cluster {
    dir: PathBuf,
    socket: String,
    bin: PathBuf,
    _keeper: Child,
}

/// The cluster of this process.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// Held by whoever changes what all databases share: rights to a parameter are one row, and of two sessions that change
/// it at once one fails.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    fn start() -> Self {
        let exe = std::env::current_exe().expect("the path of this test");
        let file = exe.file_stem().and_then(|stem| stem.to_str()).expect("the name of this test");
        let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
        let prepared = prepared::prepared();
        Self::made(name, |dir| drop(ci_cluster("start", dir, &[prepared.data()])))
    }

    /// A streaming standby of this cluster as it is now; it ends with the process too.
    pub fn standby(&self) -> Self {
        let of = self.dir.to_str().expect("a path in UTF-8");
        Self::made("follower", |dir| drop(ci_cluster("standby", dir, &[of])))
    }

    /// A second cluster, prepared as this one and as empty; it ends with the process too.
    pub fn beside(name: &str) -> Self {
        let prepared = prepared::prepared();
        Self::made(name, |dir| drop(ci_cluster("start", dir, &[prepared.data()])))
    }

    /// How libpq reaches a database as its superuser.
    pub fn address(&self, database: &str) -> String {
        format!("host={} port=5432 user={SUPERUSER} dbname={database}", self.socket)
    }

    fn made(name: &str, make: impl FnOnce(&Path)) -> Self {
        let dir = root().join(format!("target/pgrx-tests/{name}-{}", std::process::id()));
        let keeper = keeper(&dir, name);
        make(&dir);
        let (socket, bin) = (ci_cluster("socket", &dir, &[]), ci_cluster("bindir", &dir, &[]).into());
        Self { dir, socket, bin, _keeper: keeper }
    }

    /// The directory of the server's socket.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    pub fn try_connect(&self, role: &str, database: &str) -> Result<Client, Error> {
        Config::new().host(&self.socket).port(5432).user(role).dbname(database).connect(NoTls)
    }

    #[track_caller]
    pub fn connect(&self, role: &str, database: &str) -> Client {
        self.try_connect(role, database).unwrap_or_else(|e| panic!("{role} cannot connect to {database}: {e:?}"))
    }

    /// A program of this server (`pg_dump`, `pgbench`, ...) that will connect to `database` as `role`.
    pub fn program(&self, name: &str, role: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env("PGHOST", &self.socket).env("PGPORT", "5432").env("PGUSER", role).env("PGDATABASE", database);
        command
    }

    /// A script of the checkout that finds this server's programs before any other's.
    pub fn script(&self, path: &str) -> Command {
        let mut command = Command::new(root().join(path));
        let others = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{others}", self.bin.display()));
        command
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).expect("a log")
    }

    /// Appends lines to postgresql.conf and restarts, which ends every session: for a file whose tests take turns.
    pub fn configure(&self, lines: &[&str]) {
        for line in lines {
            ci_cluster("conf", &self.dir, &[line]);
        }
        ci_cluster("restart", &self.dir, &[]);
    }

    /// Stops the server as a power cut would and lets it recover. Ends every session, as above.
    pub fn crash_and_restart(&self) {
        ci_cluster("crash", &self.dir, &[]);
        ci_cluster("start", &self.dir, &[]);
    }

    pub(crate) fn superuser(&self) -> Client {
        self.connect(SUPERUSER, "postgres")
    }
}

/// Removes the cluster when this process ends. It waits on a pipe that only the end closes, be that a panic, an abort or
/// a kill; its own process group keeps a Ctrl-C away from it.
fn keeper(dir: &Path, name: &str) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("bash")
        .args(["-c", r#"cat; mkdir -p "${2%/*}"; cp "$1/log" "$2"; "$0" clean "$1""#])
        .args([&root().join(".ci/cluster"), dir, &root().join(format!("target/log/cluster-{name}"))])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash")
}

/// What a program prints that must succeed.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Vec<u8> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut pipe = child.stdin.take().expect("a pipe");
    // Written beside the reading: either pipe may fill up.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin).ok());
        child.wait_with_output().expect("its output")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All that a program printed.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout")
}

fn ci_cluster(command: &str, dir: &Path, args: &[&str]) -> String {
    let printed = run(Command::new(root().join(".ci/cluster")).arg(command).arg(dir).args(args), &[]);
    String::from_utf8(printed).expect("UTF-8 from .ci/cluster").trim_end().to_owned()
}
