//! Tenants come, pause and go, by an operator's word, and each step is logged or does not happen.

use postgres::{Client, Row};
use stormops_tests::twins::Twins;
use stormops_tests::{Db, SUPERUSER, enter, fails_with, provision, sqlstate};
use uuid::Uuid;

const PROVISION: &str = "SELECT * FROM stormops.provision_tenant($1, $2, $3)";

fn events(db: &Db, tenant: Uuid) -> Vec<Row> {
    let events = "SELECT action, from_status, to_status, reason, actor, user_id FROM stormops.tenant_events
        WHERE tenant_id = $1 ORDER BY event_id";
    db.superuser().query(events, &[&tenant]).expect("events")
}

/// Everything that a refused call must leave as it was.
fn written(db: &Db) -> Vec<String> {
    let rows = "SELECT t::text FROM stormops.tenants AS t UNION ALL SELECT u::text FROM stormops.users AS u
        UNION ALL SELECT e::text FROM stormops.tenant_events AS e
        UNION ALL SELECT m::text FROM stormops.policy_modes AS m ORDER BY 1";
    db.superuser().query(rows, &[]).expect("rows").iter().map(|row| row.get(0)).collect()
}

fn step(client: &mut Client, action: &str, tenant: Option<Uuid>, reason: Option<&str>) -> Result<Row, postgres::Error> {
    let call = format!("SELECT from_status, to_status, changed_at = now() FROM stormops.{action}_tenant($1, $2)");
    client.query_one(&call, &[&tenant, &reason])
}

#[test]
fn a_new_tenant_has_its_admin_its_modes_and_its_event() {
    let db = Db::new("provision");
    let mut op = db.as_role("op");
    for (name, tier) in [("  ABC   Roofing ", "trial"), ("Šťastný & Søn (2) 屋根", "enterprise")] {
        let made = op.query_one(PROVISION, &[&name, &tier, &"Ann.Lee+x@Example.COM"]).expect("a tenant");
        let (tenant, admin): (Uuid, Uuid) = (made.get("tenant_id"), made.get("admin_user_id"));
        assert_eq!((tenant.get_version_num(), made.get::<_, &str>("status")), (7, "active"));
        let mut superuser = db.superuser();
        let row = "SELECT t.org_name, t.tier, t.status, t.trial_ends_at - t.created_at = '30 days',
                u.email, u.role, (SELECT count(*) FROM stormops.policy_modes AS m WHERE m.tenant_id = t.tenant_id)
            FROM stormops.tenants AS t JOIN stormops.users AS u USING (tenant_id)
            WHERE t.tenant_id = $1 AND u.user_id = $2";
        let row = superuser.query_one(row, &[&tenant, &admin]).expect("one admin");
        assert_eq!(row.get::<_, &str>(0), name.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!((row.get(1), row.get(2), row.get(3)), (tier, "active", (tier == "trial").then_some(true)));
        assert_eq!((row.get(4), row.get(5), row.get(6)), ("Ann.Lee+x@example.com", "admin", 3i64));
        let events = events(&db, tenant);
        assert_eq!(events.iter().map(|event| event.get(0)).collect::<Vec<&str>>(), ["provision", "add_user"]);
        assert!(events.iter().all(|event| event.get::<_, &str>("actor") == "op"));
        assert_eq!(events[1].get::<_, Uuid>("user_id"), admin);
    }
}

#[test]
fn a_name_that_people_would_confuse_with_another_is_taken() {
    let db = Db::new("names");
    let tenant = provision(&db, "ABC Roofing");
    let mut op = db.as_role("op");
    for closed in [false, true] {
        let before = written(&db);
        for twin in [
            "ABC Roofing",
            "abc roofing",
            " ABC   Roofing\u{a0}",
            "ABC\u{3000}Roofing",
            "\u{410}\u{412}\u{421} Roofing",    // Cyrillic
            "\u{ff21}\u{ff22}\u{ff23} Roofing", // fullwidth
            "\u{1d400}BC Roofing",              // mathematical bold
        ] {
            let error = fails_with(op.query(PROVISION, &[&twin, &"standard", &"a@b.example"]), "23505");
            assert!(error.detail().is_some() && error.hint().is_some(), "{twin}");
        }
        assert_eq!(written(&db), before);
        if !closed {
            step(&mut op, "close", Some(tenant), Some("gone")).expect("a step");
        }
    }
}

#[test]
fn a_tenant_that_is_not_well_described_is_not_made() {
    let db = Db::new("refused");
    provision(&db, "ABC Roofing");
    let before = written(&db);
    let mut op = db.as_role("op");
    let (name, tier, email) = (Some("DEF Roofing"), Some("standard"), Some("a@b.example"));
    let long = |length: usize| "a".repeat(length);
    let (long_name, long_email) =
        (long(201), format!("a@{}.example", [long(60), long(60), long(60), long(62)].join(".")));
    let mut refused = vec![(None, tier, email, "22004"), (name, None, email, "22004"), (name, tier, None, "22004")];
    let invisible = ["A\u{200b}C", "A\u{ad}C", "A\u{202e}C", "A\u{2060}C", "A\nC", "A\u{feff}C"];
    for bad in ["", "   ", "...", "\u{a0}", &long_name].into_iter().chain(invisible) {
        refused.push((Some(bad), tier, email, "22023"));
    }
    for bad in ["", "gold", "Standard", " trial", &long_name] {
        refused.push((name, Some(bad), email, "22023"));
    }
    for bad in [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b",
        "a b@c.example",
        "a@b..example",
        "Ann <a@b.example>",
        "a@[127.0.0.1]",
        "a@b.example\n",
        "a@b.example, c@d.example",
        "a\u{200b}@b.example",
        &long_email,
    ] {
        refused.push((name, tier, Some(bad), "22023"));
    }
    for (name, tier, email, expected) in refused {
        let error = fails_with(op.query(PROVISION, &[&name, &tier, &email]), expected);
        assert!(error.hint().is_some(), "{name:?} {tier:?} {email:?}: {}", error.message());
    }
    assert_eq!(written(&db), before);
    op.query_one(PROVISION, &[&long(200), &"standard", &"a@b.example"]).expect("the longest name");
}

#[test]
fn each_legal_step_is_taken_and_logged_and_no_other() {
    let db = Db::new("steps");
    let mut op = db.as_role("op");
    let legal = [
        ("suspend", "active", "suspended"),
        ("reactivate", "suspended", "active"),
        ("close", "active", "closed"),
        ("close", "suspended", "closed"),
    ];
    for (number, (status, way)) in
        [("active", &[][..]), ("suspended", &["suspend"]), ("closed", &["close"])].into_iter().enumerate()
    {
        for action in ["suspend", "reactivate", "close"] {
            let tenant = provision(&db, &format!("{action} {number}"));
            for action in way {
                step(&mut op, action, Some(tenant), Some("way")).expect("a step");
            }
            let before = written(&db);
            let answer = step(&mut op, action, Some(tenant), Some("payment_failed"));
            let Some((_, from, to)) = legal.into_iter().find(|(legal, from, _)| (*legal, *from) == (action, status))
            else {
                let error = fails_with(answer, "55000");
                assert!(error.hint().is_some());
                assert_eq!(written(&db), before, "{action} of {status}");
                continue;
            };
            let row = answer.expect("a legal step");
            assert_eq!((row.get(0), row.get(1), row.get(2)), (from, to, true));
            let events = events(&db, tenant);
            let last = events.last().expect("an event");
            assert_eq!((last.get("action"), last.get("from_status"), last.get("to_status")), (action, from, to));
            assert_eq!((last.get("reason"), last.get("actor")), ("payment_failed", "op"));
        }
    }
}

#[test]
fn a_step_needs_a_tenant_and_a_reason() {
    let twins = Twins::new("reasons");
    let before = written(&twins.db);
    let mut op = twins.db.as_role("op");
    let long = "x".repeat(501);
    for action in ["suspend", "reactivate", "close"] {
        for (tenant, reason, expected) in [
            (None, Some("r"), "22004"),
            (Some(twins.a), None, "22004"),
            (Some(twins.a), Some(""), "22023"),
            (Some(twins.a), Some("  "), "22023"),
            (Some(twins.a), Some(long.as_str()), "22023"),
            (Some(Uuid::nil()), Some("r"), "P0002"),
        ] {
            // Its reason has a default, which NULL and '' mean too.
            let expected = if action == "reactivate" && matches!(reason, None | Some("")) { "55000" } else { expected };
            assert!(fails_with(step(&mut op, action, tenant, reason), expected).hint().is_some());
        }
        for role in ["app", "tapp", "mon"] {
            let mut other = twins.db.as_role(role);
            fails_with(step(&mut other, action, Some(twins.a), Some("r")), "42501");
        }
    }
    assert_eq!(written(&twins.db), before);
}

/// The trigger holds whoever it is: a superuser who mistakes the table is stopped too.
#[test]
fn nobody_deletes_a_tenant_or_takes_an_illegal_step() {
    let twins = Twins::new("superuser");
    let empty = provision(&twins.db, "Without Rows");
    twins.run("op", "SELECT stormops.close_tenant($b, 'gone')").expect("a step");
    let before = written(&twins.db);
    for script in [
        "DELETE FROM stormops.tenants",
        "DELETE FROM stormops.tenants WHERE tenant_id = $b",
        &format!("DELETE FROM stormops.tenants WHERE tenant_id = '{empty}'"),
        "TRUNCATE stormops.tenants CASCADE",
        "UPDATE stormops.tenants SET status = 'active' WHERE tenant_id = $b",
        "UPDATE stormops.tenants SET status = 'suspended' WHERE tenant_id = $b",
        &format!("UPDATE stormops.tenants SET tenant_id = stormops.new_id() WHERE tenant_id = '{empty}'"),
        "INSERT INTO stormops.tenants (org_name, name_key, tier, status) VALUES ('x', 'x', 'standard', 'suspended')",
        "MERGE INTO stormops.tenants USING (SELECT) AS x ON true WHEN MATCHED THEN DELETE",
    ] {
        assert_eq!(sqlstate(&twins.run(SUPERUSER, script)), "55000", "{script}");
    }
    assert_eq!(written(&twins.db), before);
}

#[test]
fn one_transaction_may_provision_two_tenants_and_take_both_back() {
    let db = Db::new("two");
    let mut op = db.as_role("op");
    for keep in [false, true] {
        let mut transaction = op.transaction().expect("a transaction");
        for name in ["First", "Second"] {
            transaction.query_one(PROVISION, &[&name, &"trial", &"a@b.example"]).expect("a tenant");
        }
        if keep { transaction.commit() } else { transaction.rollback() }.expect("its end");
        let listed = op.query("SELECT org_name, users FROM stormops.list_tenants()", &[]).expect("tenants");
        let listed: Vec<(&str, i64)> = listed.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(listed, if keep { vec![("First", 1), ("Second", 1)] } else { vec![] });
    }
}

#[test]
fn an_export_counts_every_table_for_those_who_may_see_it() {
    let twins = Twins::new("export");
    let export = "SELECT table_name || ' ' || row_count FROM stormops.export_tenant_data($1)";
    let mut op = twins.db.as_role("op");
    for (tenant, other) in [(twins.a, twins.b), (twins.b, twins.a)] {
        let mut real: Vec<_> = twins
            .tables
            .iter()
            .chain(&["policy_decisions_log"])
            .map(|t| format!("{t} {}", twins.count(t, tenant)))
            .collect();
        real.sort_unstable();
        let lines = |rows: Vec<Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>();
        assert_eq!(lines(op.query(export, &[&tenant]).expect("an operator's export")), real);
        let mut client = twins.db.as_role("tapp");
        enter(&mut client, tenant);
        for argument in [None, Some(tenant)] {
            assert_eq!(lines(client.query(export, &[&argument]).expect("a tenant's own export")), real);
        }
        for other in [other, Uuid::nil()] {
            assert!(fails_with(client.query(export, &[&other]), "42501").hint().is_some());
        }
    }
    fails_with(op.query(export, &[&Uuid::nil()]), "P0002");
    fails_with(op.query(export, &[&None::<Uuid>]), "0B000");
    fails_with(twins.run("tapp", "SELECT stormops.export_tenant_data($a)"), "0B000");
}
