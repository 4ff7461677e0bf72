//! A real PgBouncer in front of the cluster, in transaction mode.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use crate::{ROLES, SUPERUSER, cluster};

pub struct Pool {
    process: Child,
    port: u16,
}

impl Pool {
    /// So many connections to the server for each role and database, however many clients there are.
    pub fn start(connections: usize) -> Self {
        let dir = PathBuf::from(cluster().socket());
        let (port, file) = (6432, |name: &str| dir.join(name).display().to_string());
        let roles = ROLES.iter().map(|(role, _)| *role).chain([SUPERUSER]);
        let users: Vec<String> = roles.map(|role| format!("\"{role}\" \"\"")).collect();
        std::fs::write(file("users.txt"), users.join("\n")).expect("the list of users");
        let settings = format!(
            "[databases]\n* = host={0} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = {port}\nunix_socket_dir = {0}\n\
             auth_type = trust\nauth_file = {1}\nadmin_users = {SUPERUSER}\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 100\nlog_connections = 0\nlog_disconnections = 0\n",
            dir.display(),
            file("users.txt"),
        );
        std::fs::write(file("pgbouncer.ini"), settings).expect("its settings");
        let mut command = Command::new("pgbouncer");
        // It refuses to run as root, as the server does.
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
        if root {
            command.args(["-u", "postgres"]);
        }
        let process = command.arg("-q").arg(file("pgbouncer.ini")).current_dir("/").stdin(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|e| panic!("pgbouncer: {e}: run `.ci/setup test`"));
        Self { process, port }
    }

    /// Where its console is, as its administrator.
    pub fn console(&self) -> String {
        format!("host={} port={} user={SUPERUSER} dbname=pgbouncer", cluster().socket(), self.port)
    }

    /// Its settings, which it reads again when its console says RELOAD.
    pub fn settings(&self) -> PathBuf {
        PathBuf::from(cluster().socket()).join("pgbouncer.ini")
    }

    /// Waits for it to listen.
    #[track_caller]
    pub fn connect(&self, role: &str, database: &str) -> Client {
        let mut config = Config::new();
        config.host(cluster().socket()).port(self.port).user(role).dbname(database);
        let begin = Instant::now();
        loop {
            match config.connect(NoTls) {
                Ok(client) => return client,
                Err(e) if begin.elapsed() > Duration::from_secs(20) => panic!("{role} through the pool: {e:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // The cluster's directory is removed only without files that are not its own.
        for file in ["users.txt", "pgbouncer.ini", &format!(".s.PGSQL.{}", self.port)] {
            std::fs::remove_file(PathBuf::from(cluster().socket()).join(file)).ok();
        }
    }
}
