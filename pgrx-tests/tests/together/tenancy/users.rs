//! Users of a tenant: who adds, changes and removes them, and that an admin always stays.

use std::time::{Duration, Instant};

use postgres::{Client, Error, Row};
use stormops_tests::twins::{Twins, id};
use stormops_tests::{Db, ROLES, SUPERUSER, cluster, enter, fails_with, get, provision, sqlstate};
use uuid::Uuid;

const ADD: &str = "SELECT stormops.add_user($1, $2, $3, $4)";
const REMOVE: &str = "SELECT stormops.remove_user($1, 'left')";

/// A session in tenant A that acts for this user of it.
fn acting(twins: &Twins, user: Option<Uuid>) -> Client {
    let mut client = twins.db.as_role("tapp");
    enter(&mut client, twins.a);
    let user = user.map_or(String::new(), |user| user.to_string());
    client.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("a trusted role");
    client
}

fn admin(twins: &Twins) -> Uuid {
    let admin = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin'";
    twins.db.superuser().query_one(admin, &[&twins.a]).expect("one admin").get(0)
}

fn add(client: &mut Client, email: &str, role: &str) -> Uuid {
    client.query_one(ADD, &[&email, &role, &None::<&str>, &None::<Uuid>]).expect("a user").get(0)
}

/// Users and events of both tenants: what a refused call leaves as it was.
fn written(twins: &Twins) -> Vec<String> {
    let rows =
        "SELECT u::text FROM stormops.users AS u UNION ALL SELECT e::text FROM stormops.tenant_events AS e ORDER BY 1";
    twins.db.superuser().query(rows, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

fn last_event(twins: &Twins) -> Row {
    let event = "SELECT action, from_status, to_status, reason, user_id, actor, acting_user FROM stormops.tenant_events
        WHERE tenant_id = $1 ORDER BY happened_at DESC LIMIT 1";
    twins.db.superuser().query_one(event, &[&twins.a]).expect("an event")
}

#[test]
fn an_admin_the_application_and_an_operator_manage_users_and_each_act_is_logged() {
    let twins = Twins::new("manage");
    let admin = admin(&twins);
    let sessions = [
        (acting(&twins, Some(admin)), "tapp", Some(admin), None),
        (acting(&twins, None), "tapp", None, None),
        (acting(&twins, None), "tapp", None, Some(twins.a)),
        (twins.db.as_role("op"), "op", None, Some(twins.a)),
    ];
    for (number, (mut client, role, acts, tenant)) in sessions.into_iter().enumerate() {
        let email = format!("Ann{number}@Example.COM");
        let user: Uuid = client.query_one(ADD, &[&email, &"viewer", &Some("Ann Lee"), &tenant]).expect("a user").get(0);
        for (call, action, from, to, reason) in [
            (None, "add_user", None, Some("viewer"), None),
            (
                Some("SELECT stormops.set_user_role($1, 'crew_chief', $2)"),
                "set_user_role",
                Some("viewer"),
                Some("crew_chief"),
                None,
            ),
            (
                Some("SELECT stormops.remove_user($1, 'left', $2)"),
                "remove_user",
                Some("crew_chief"),
                None,
                Some("left"),
            ),
        ] {
            call.map(|call| client.execute(call, &[&user, &tenant]).expect("a change"));
            let event = last_event(&twins);
            assert_eq!((event.get(0), event.get(1), event.get(2), event.get(3)), (action, from, to, reason));
            assert_eq!((event.get(4), event.get(5), event.get(6)), (user, role, acts), "{action}");
        }
        let row = "SELECT email, full_name, role, removed_at IS NOT NULL FROM stormops.users
            WHERE tenant_id = $1 AND user_id = $2";
        let row = twins.db.superuser().query_one(row, &[&twins.a, &user]).expect("the row stays");
        assert_eq!((row.get(0), row.get(1)), (format!("Ann{number}@example.com").as_str(), "Ann Lee"));
        assert_eq!((row.get::<_, Option<&str>>(2), row.get(3)), (None, true));
        add(&mut acting(&twins, None), &email, "viewer"); // the address is free again
    }
}

#[test]
fn a_user_who_is_not_well_described_is_not_added() {
    let twins = Twins::new("describe");
    let before = written(&twins);
    let mut client = acting(&twins, None);
    let long = "a".repeat(201);
    let (email, role, name, own) = (Some("new@b.example"), Some("viewer"), None, None);
    for (email, role, name, tenant, expected) in [
        (None, role, name, own, "22023"),
        (Some(""), role, name, own, "22023"),
        (Some("no address"), role, name, own, "22023"),
        (Some("a\u{200b}@b.example"), role, name, own, "22023"),
        (email, None, name, own, "22004"),
        (email, Some("owner"), name, own, "22023"),
        (email, Some("Admin"), name, own, "22023"),
        (email, Some(""), name, own, "22023"),
        (email, role, Some(""), own, "22023"),
        (email, role, Some("A\u{202e}B"), own, "22023"),
        (email, role, Some(long.as_str()), own, "22023"),
        // As A has it (see twins), and in capitals.
        (Some("twin1@twin.example"), role, name, own, "23505"),
        (Some("TWIN1@TWIN.example"), role, name, own, "23505"),
        (email, role, name, Some(twins.b), "42501"),
        (email, role, name, Some(Uuid::nil()), "42501"),
    ] {
        let error = fails_with(client.query(ADD, &[&email, &role, &name, &tenant]), expected);
        assert!(error.hint().is_some(), "{}", error.message());
    }
    assert_eq!(written(&twins), before);
    // What only B has is free in A.
    add(&mut client, "twin2@twin.example", "viewer");
}

#[test]
fn only_a_present_user_of_the_tenant_is_changed() {
    let twins = Twins::new("present");
    let mut client = acting(&twins, None);
    let removed = add(&mut client, "gone@b.example", "viewer");
    client.execute(REMOVE, &[&removed]).expect("a removal");
    let before = written(&twins);
    // User 2 is one of B.
    for user in [None, Some(removed), Some(id(2)), Some(id(9))] {
        for call in ["SELECT stormops.set_user_role($1, 'viewer')", REMOVE] {
            assert!(fails_with(client.query(call, &[&user]), "P0002").hint().is_some());
        }
    }
    for role in [None, Some("owner")] {
        let expected = if role.is_none() { "22004" } else { "22023" };
        fails_with(client.query("SELECT stormops.set_user_role($1, $2)", &[&id(1), &role]), expected);
    }
    for call in ["set_user_role($1, 'viewer', $2)", "remove_user($1, 'left', $2)"] {
        fails_with(client.query(&format!("SELECT stormops.{call}"), &[&id(2), &twins.b]), "42501");
    }
    assert_eq!(written(&twins), before);
}

#[test]
fn the_last_admin_stays() {
    let twins = Twins::new("last");
    let (first, mut client) = (admin(&twins), acting(&twins, None));
    let second = add(&mut client, "second@b.example", "admin");
    client.execute(REMOVE, &[&first]).expect("another admin stays");
    let before = written(&twins);
    for role in ["crew_chief", "field_user", "viewer"] {
        fails_with(client.query("SELECT stormops.set_user_role($1, $2)", &[&second, &role]), "55000");
    }
    let error = fails_with(client.query(REMOVE, &[&second]), "55000");
    assert!(error.hint().is_some());
    fails_with(acting(&twins, Some(second)).query(REMOVE, &[&second]), "55000");
    fails_with(twins.db.as_role("op").query("SELECT stormops.remove_user($1, 'x', $2)", &[&second, &twins.a]), "55000");
    assert_eq!(written(&twins), before);
    client.execute("SELECT stormops.set_user_role($1, 'admin')", &[&second]).expect("what is so already");
}

/// Two sessions remove the two last admins: whoever comes second waits for the first, and then finds the other gone.
#[test]
fn of_two_last_admins_one_stays_when_both_go_at_the_same_moment() {
    for (level, refusals) in [
        ("READ COMMITTED", &["55000"][..]),
        // The second one's snapshot still shows the first: it must not trust it.
        ("REPEATABLE READ", &["55000", "40001"]),
        ("SERIALIZABLE", &["55000", "40001"]),
    ] {
        let twins = Twins::new("race");
        let (one, mut first) = (admin(&twins), acting(&twins, None));
        let (two, mut second) = (add(&mut first, "two@b.example", "admin"), acting(&twins, None));
        for client in [&mut first, &mut second] {
            client
                .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM stormops.users"))
                .expect("a snapshot");
        }
        first.execute(REMOVE, &[&one]).expect("the first of two");
        let pid: i32 = second.query_one("SELECT pg_backend_pid()", &[]).expect("a backend").get(0);
        let late = std::thread::spawn(move || -> Result<(), Error> {
            second.execute(REMOVE, &[&two])?;
            second.batch_execute("COMMIT")
        });
        waits_for_a_lock(&twins, pid);
        first.batch_execute("COMMIT").expect("the first of two");
        let error = late.join().expect("a thread").expect_err("the last admin went");
        assert!(refusals.contains(&error.code().expect("an answer").code()), "{level}: {error:?}");
        assert_eq!(admin(&twins), two, "{level}");
    }
}

fn waits_for_a_lock(twins: &Twins, pid: i32) {
    let (mut superuser, start) = (twins.db.superuser(), Instant::now());
    let waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1";
    while superuser.query_one(waits, &[&pid]).expect("a session").get::<_, Option<bool>>(0) != Some(true) {
        assert!(start.elapsed() < Duration::from_secs(20), "the second session did not wait for the first");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// In Turkish the small letter of I is ı.
#[test]
fn what_is_one_address_in_one_locale_is_one_in_every() {
    let mut server = cluster().connect(SUPERUSER, "postgres");
    let create =
        "CREATE DATABASE turkish TEMPLATE template0 ENCODING UTF8 LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C'";
    if let Err(error) = server.batch_execute(create) {
        assert_eq!(sqlstate::<()>(&Err(error)), "0A000", "only a server without ICU is excused");
        return;
    }
    let db = Db { name: "turkish".to_owned() };
    let grants = ROLES.map(|(role, kind)| format!("SELECT stormops.grant_usage('{role}', '{kind}');")).concat();
    db.in_turn(&format!("CREATE EXTENSION stormops; {grants}"));
    let tenant = provision(&db, "Insaat");
    let mut superuser = db.superuser();
    assert_eq!(get::<String>(&mut superuser, "SELECT lower('I')", &[]), "ı");
    let add = "SELECT stormops.add_user($1, 'viewer', NULL, $2)";
    superuser.execute(add, &[&"INFO@ABC.example", &tenant]).expect("a user");
    for same in ["info@abc.example", "Info@Abc.example"] {
        fails_with(superuser.execute(add, &[&same, &tenant]), "23505");
    }
    let insert = "INSERT INTO stormops.users (tenant_id, email, role) VALUES ($1, 'info@abc.example', 'viewer')";
    fails_with(superuser.execute(insert, &[&tenant]), "23505");
    let odd = "SELECT count(*) FROM pg_policy WHERE polname !~ '^[a-z_]+$'";
    assert_eq!(get::<i64>(&mut superuser, odd, &[]), 0);
    let failing = "SELECT string_agg(property || ': ' || evidence, E'\n') FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";
    assert_eq!(get::<Option<String>>(&mut superuser, failing, &[]), None);
}
