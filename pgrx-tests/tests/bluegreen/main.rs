//! delivery/blue-green between two clusters, there and back, while clients write through a pool: no transaction fails, none
//! is lost, none is counted twice.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use postgres::Client;
use stormops_tests::pool::Pool;
use stormops_tests::{Cluster, Db, SUPERUSER, cluster, get, provision, said};
use uuid::Uuid;

/// delivery/blue-green, which must succeed; what it said.
#[track_caller]
fn blue_green(command: &str, args: &[&str]) -> String {
    let output = cluster().script("delivery/blue-green").arg(command).args(args).output().expect("a script");
    let said = said(&output);
    assert!(output.status.success(), "{command}: {said}");
    println!("{said}");
    said
}

struct Clients {
    stop: AtomicBool,
    written: AtomicI64,
}

impl Clients {
    /// One client: each transaction adds a property and meters an event. Returns the longest that one took.
    fn write(&self, mut session: Client, tenant: Uuid) -> Duration {
        let mut longest = Duration::ZERO;
        while !self.stop.load(SeqCst) {
            let begin = Instant::now();
            session
                .batch_execute(&format!(
                    "BEGIN; SET LOCAL app.current_tenant = '{tenant}';
                     INSERT INTO stormops.properties (external_id) VALUES (gen_random_uuid()::text);
                     SELECT stormops.record_usage('model_call', 1);
                     COMMIT"
                ))
                .expect("a client notices nothing but the time");
            longest = longest.max(begin.elapsed());
            self.written.fetch_add(1, SeqCst);
        }
        longest
    }
}

/// Properties, metered events and their sum, of all tenants.
fn counts(of: &Cluster, database: &str) -> (i64, i64, i64) {
    let counts = "SELECT (SELECT count(*) FROM stormops.properties), count(*), coalesce(sum(metric_value), 0)::bigint
        FROM stormops.tenant_usage WHERE metric_name = 'model_call'";
    let row = of.connect(SUPERUSER, database).query_one(counts, &[]).expect("counts");
    (row.get(0), row.get(1), row.get(2))
}

/// Waits until a database has what the other has.
fn alike(one: (&Cluster, &str), other: (&Cluster, &str)) {
    let begin = Instant::now();
    while counts(one.0, one.1) != counts(other.0, other.1) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the follower has what was written by now");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets the clients write for as long as it takes to see so many more transactions.
fn go_on(clients: &Clients, more: i64) {
    let (begin, until) = (Instant::now(), clients.written.load(SeqCst) + more);
    while clients.written.load(SeqCst) < until {
        assert!(begin.elapsed() < Duration::from_secs(60), "clients go on writing");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_moves_there_and_back_under_load() {
    let db = Db::new("blue");
    let tenants = ["Abc Roofing", "Best Roofs"].map(|name| provision(&db, name));
    let green = Cluster::beside("green");
    let name = db.name.as_str();
    green
        .connect(SUPERUSER, "postgres")
        .batch_execute(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0"))
        .expect("an empty database");
    let pool = Pool::start(4);
    let (here, there) = (cluster().address(name), green.address(name));
    let route = |from: &str, to: &str| {
        let settings = pool.settings();
        format!(
            "sed -i 's|host={from} |host={to} |' {} && psql -XAtq -d '{}' -c RELOAD",
            settings.display(),
            pool.console()
        )
    };
    let clients = Clients { stop: AtomicBool::new(false), written: AtomicI64::new(0) };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let (session, clients) = (pool.connect("tapp", name), &clients);
                scope.spawn(move || clients.write(session, tenants[n % 2]))
            })
            .collect();
        go_on(&clients, 50);
        blue_green("prepare", &[&here, &there]);
        assert!(blue_green("status", &[&here, &there]).contains("the second follows the first"));
        go_on(&clients, 50);
        let (console, forth) = (pool.console(), route(cluster().socket(), green.socket()));
        blue_green("switch", &[&here, &there, "--pool", &console, "--database", name, "--route", &forth]);
        let moved = clients.written.load(SeqCst);
        go_on(&clients, 50);
        assert!(blue_green("status", &[&here, &there]).contains("the first follows the second"));
        let events = counts(&green, name).1;
        assert!(events >= moved + 46, "{events}: clients write to the new side");
        let back = route(green.socket(), cluster().socket());
        blue_green("switch", &[&there, &here, "--pool", &console, "--database", name, "--route", &back]);
        go_on(&clients, 50);
        clients.stop.store(true, SeqCst);
        for writer in writers {
            println!("longest transaction of a client: {:?}", writer.join().expect("a client without an error"));
        }
    });
    let written = clients.written.load(SeqCst);
    assert_eq!(counts(cluster(), name), (written, written, written), "nothing lost, nothing twice");
    alike((cluster(), name), (&green, name));
    blue_green("finish", &[&here, &there]);
    let mut op = db.as_role("op");
    let rolled: i64 = get(&mut op, "SELECT events FROM stormops.rollup_usage()", &[]);
    assert_eq!(rolled, written);
    assert_eq!(get::<i64>(&mut op, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
}
