//! What one transaction of a tenant may come to: how old it gets, what it gathers, and that what it entered by ends while
//! it goes on.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use postgres::{Client, Error};
use stormops_tests::tokens::{claims, jwks, now, signed, trust};
use stormops_tests::twins::Twins;
use stormops_tests::{cluster, enter, fails_with, get, sqlstate};

const TOO_OLD: &str = "25P04";
const TOO_MUCH: &str = "54000";

/// Where a transaction gets half a second old.
fn twins(name: &str) -> Twins {
    let twins = Twins::new(name);
    let ceiling = format!("ALTER DATABASE \"{}\" SET stormops.ceiling_transaction_age = '500ms'", twins.db.name);
    twins.db.superuser().batch_execute(&ceiling).expect("a superuser");
    twins
}

/// The error that a session ends with that goes on as told until it ends.
fn goes_on(mut session: Client, begin: &str, each: &str) -> Result<(), Error> {
    session.batch_execute(begin)?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(30)); // idle in its transaction
        session.batch_execute(each)?;
    }
    Ok(())
}

/// True for the server's word, and where the driver had no time to read it.
fn is_too_old(answer: &Result<(), Error>) -> bool {
    let Err(error) = answer else { return false };
    match error.as_db_error() {
        Some(error) => error.code().code() == TOO_OLD && error.hint().is_some(),
        None => error.is_closed(),
    }
}

#[test]
fn no_transaction_of_a_tenant_gets_older_whatever_it_does() {
    let twins = twins("old");
    twins.db.superuser().batch_execute("CREATE TABLE held ()").expect("a table");
    let mut holder = twins.db.superuser();
    holder.batch_execute("BEGIN; LOCK TABLE held").expect("a lock");
    let caught =
        "DO $$ BEGIN PERFORM pg_sleep(3); EXCEPTION WHEN others OR query_canceled THEN PERFORM pg_sleep(3); END $$";
    let endless = "DO $$ BEGIN LOOP BEGIN PERFORM 1; RAISE 'x'; EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$";
    for (begin, each) in [
        ("BEGIN", "SELECT 1"),
        ("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0", "SELECT 1"),
        ("BEGIN; SET LOCAL stormops_x.y = 1", "SHOW work_mem"),
        ("BEGIN; SAVEPOINT s", "ROLLBACK TO s"),
        ("BEGIN; INSERT INTO stormops.tenant_usage (metric_name, metric_value) SELECT 'x', 1 WHERE false", "SELECT 1"),
        ("BEGIN", "SELECT pg_sleep(3)"),
        ("SELECT pg_sleep(3)", "SELECT 1"),
        ("BEGIN", caught),
        (endless, "SELECT 1"),
        ("BEGIN", "TABLE held"), // which waits for its lock
        ("BEGIN; SELECT 1; COMMIT AND CHAIN", "SELECT 1"),
        ("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 1000)", "FETCH c"),
    ] {
        for role in ["app", "tapp"] {
            let begun = Instant::now();
            let answer = goes_on(twins.db.as_role(role), begin, each);
            assert!(is_too_old(&answer), "{role}: {begin}; {each}: {answer:?}");
            assert!(begun.elapsed() < Duration::from_millis(2500), "{role}: {begin}; {each}: {:?}", begun.elapsed());
        }
    }
    let log = cluster().log();
    assert!(log.matches("FATAL:  terminating connection: its transaction was open for too long").count() >= 24);
}

/// A client that has a statement analysed and leaves it at that holds the locks of it, in no block and without a timeout.
#[test]
fn a_statement_that_is_never_run_holds_its_locks_no_longer() {
    let twins = twins("parsed");
    let message = |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let mut socket = UnixStream::connect(format!("{}/.s.PGSQL.5432", cluster().socket())).expect("the server");
    let startup = format!("\0\x03\0\0user\0app\0database\0{}\0\0", twins.db.name);
    socket.write_all(&message(b"", startup.as_bytes())).expect("a startup packet");
    let insert = b"\0INSERT INTO stormops.tenant_usage (metric_name, metric_value) SELECT 'x', 1 WHERE false\0\0\0";
    socket.write_all(&[message(b"P", insert), message(b"H", b"")].concat()).expect("Parse and Flush");
    let begun = Instant::now();
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let mut told = Vec::new();
    socket.read_to_end(&mut told).expect("the end of the session");
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert!(told.windows(5).any(|window| window == TOO_OLD.as_bytes()));
}

/// Nothing that came in between keeps it, an error under a savepoint neither; the session ends while it is idle.
#[test]
fn whoever_waits_for_a_tenant_waits_no_longer() {
    let twins = twins("idle");
    twins.db.superuser().batch_execute("CREATE TABLE free (a int); GRANT ALL ON free TO app, tapp").expect("a table");
    for script in ["INSERT INTO free VALUES (1)", "INSERT INTO free VALUES (1); SAVEPOINT s; SELECT 1/0"] {
        let mut session = twins.db.as_role("app");
        session.batch_execute("BEGIN").expect("a transaction");
        let answer = session.simple_query(script);
        assert!(["00000", "22012"].contains(&sqlstate(&answer)));
        let mut waiting = twins.db.superuser();
        waiting.batch_execute("SET lock_timeout = '3s'; LOCK TABLE free").ok();
        waiting.batch_execute("BEGIN; LOCK TABLE free; ROLLBACK").expect("a lock, once the tenant's session is over");
        assert!(session.batch_execute("SELECT 1").is_err());
    }
}

#[test]
fn nobody_else_and_no_younger_transaction_is_ended() {
    let twins = twins("young");
    for (role, begin, each) in [
        ("app", "SELECT 1", "SELECT 1"),
        ("app", "SELECT 1", "BEGIN; SELECT 1; COMMIT"),
        ("app", "SELECT 1", "BEGIN; SAVEPOINT s; SELECT 1; ROLLBACK"),
        ("op", "BEGIN", "SELECT 1"),
        ("mon", "BEGIN", "SELECT 1"),
        ("nobody", "BEGIN", "SELECT 1"),
        ("postgres", "BEGIN", "SELECT 1"),
    ] {
        let answer = goes_on(twins.db.as_role(role), begin, each);
        assert_eq!(sqlstate(&answer), "00000", "{role}: {begin}; {each}: {answer:?}");
    }
    let committing = "DO $$ BEGIN FOR i IN 1 .. 30 LOOP PERFORM pg_sleep(0.05); COMMIT; END LOOP; END $$";
    twins.db.as_role("app").batch_execute(committing).expect("thirty transactions");
    // As a tenant's role a superuser is bound, and an operator in a tenant.
    let answer = goes_on(twins.db.superuser(), "BEGIN; SET LOCAL ROLE app", "SELECT 1");
    assert!(is_too_old(&answer), "{answer:?}");
    let mut operator = twins.db.as_role("op");
    let open = "SELECT grant_id FROM stormops.open_break_glass($1, 'a look', 'T-1')";
    let grant: uuid::Uuid = get(&mut operator, open, &[&twins.a]);
    let answer = goes_on(operator, &format!("BEGIN; SELECT stormops.break_glass('{grant}')"), "SELECT 1");
    assert!(is_too_old(&answer), "{answer:?}");
}

/// What they lock takes room that all sessions of the cluster share.
#[test]
fn a_transaction_gathers_no_more_than_its_share() {
    let twins = Twins::new("share");
    let many = |n: usize, each: &str| format!("DO $do$ BEGIN FOR i IN 1 .. {n} LOOP {each} END LOOP; END $do$");
    let table = "EXECUTE format('CREATE TEMP TABLE t%s () ON COMMIT DROP', i);";
    let columns = |kind: &str| (0..101).map(|n| format!("c{n} {kind}")).collect::<Vec<_>>().join(", ");
    let deep = |n: usize| (0..n).map(|n| format!("SAVEPOINT s{n}")).collect::<Vec<_>>().join("; ");
    for (script, expected) in [
        (many(100, table), "00000"),
        (many(101, table), TOO_MUCH),
        (many(101, "CREATE TEMP TABLE t () ON COMMIT DROP; DROP TABLE t;"), TOO_MUCH),
        (
            many(
                101,
                "BEGIN CREATE TEMP TABLE t () ON COMMIT DROP; RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END;",
            ),
            TOO_MUCH,
        ),
        (many(101, "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 AS a; DROP TABLE t;"), TOO_MUCH),
        (format!("CREATE TEMP TABLE t ({}) ON COMMIT DROP", columns("int UNIQUE")), TOO_MUCH),
        (format!("CREATE TEMP TABLE t ({}) ON COMMIT DROP", columns("serial")), TOO_MUCH),
        (
            format!("BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; {}", many(101, "CREATE INDEX ON t (a);")),
            TOO_MUCH,
        ),
        (format!("BEGIN; {}; ROLLBACK", deep(1000)), "00000"),
        (format!("BEGIN; {}; ROLLBACK", deep(1001)), TOO_MUCH),
        ("BEGIN; CREATE TEMP TABLE t () ON COMMIT DROP; COMMIT; ".repeat(120), "00000"),
    ] {
        for role in ["app", "tapp"] {
            let answer = twins.db.as_role(role).batch_execute(&script);
            assert_eq!(sqlstate(&answer), expected, "{role}: {}: {answer:?}", &script[..script.len().min(150)]);
        }
        assert_eq!(sqlstate(&twins.db.as_role("nobody").batch_execute(&script)), "00000");
    }
    let lifted = "SET stormops.ceiling_new_relations = 0; SET ROLE app";
    let mut superuser = twins.db.superuser();
    superuser.batch_execute(lifted).expect("a superuser");
    superuser.batch_execute(&many(101, table)).expect("no ceiling");
}

/// All statements of one message, and of one function, have the moment at which it came.
#[test]
fn what_has_ended_ends_the_next_statement_of_a_message_too() {
    let twins = Twins::new("message");
    trust(&twins.db, &jwks(), "");
    let mut operator = twins.db.as_role("op");
    let user = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin' LIMIT 1";
    let user: uuid::Uuid = get(&mut twins.db.superuser(), user, &[&twins.a]);
    for script in [
        "TABLE stormops.storms; SELECT pg_sleep(2.2); TABLE stormops.storms",
        "TABLE stormops.storms; SELECT pg_sleep(2.2); SELECT stormops.current_tenant()",
        "DO $$ BEGIN PERFORM FROM stormops.storms; PERFORM pg_sleep(2.2); PERFORM FROM stormops.storms; END $$",
        "DECLARE c CURSOR FOR SELECT 1 FROM stormops.storms, generate_series(1, 9); FETCH 1 FROM c; SELECT pg_sleep(2.2); FETCH 1 FROM c",
    ] {
        // Thirty seconds are forgiven: two are left, and then one.
        let mut claims = claims(twins.a, user);
        claims["exp"] = (now() - 28).into();
        let token = signed("ed", &claims);
        let open = "SELECT grant_id FROM stormops.open_break_glass($1, 'a look', 'T-1', '2 seconds')";
        let login = format!("BEGIN; SELECT stormops.login('{token}'); {script}");
        fails_with(twins.db.as_role("app").batch_execute(&login), "28000");
        let grant: uuid::Uuid = get(&mut operator, open, &[&twins.a]);
        let look = format!("BEGIN; SELECT stormops.break_glass('{grant}'); {script}");
        fails_with(twins.db.as_role("op").batch_execute(&look), "28000");
    }
    let mut session = twins.db.as_role("tapp");
    enter(&mut session, twins.a);
    session.batch_execute("BEGIN; TABLE stormops.storms; SELECT pg_sleep(0.1); TABLE stormops.storms").expect("no end");
}
