//! The rows of guardrails: those that a tenant begins with, who may set them, and which are refused.

use stormops_tests::tenant::{acting_as, session, tenant};
use stormops_tests::{Db, fails_with, get, provision, sqlstate};

#[test]
fn a_new_tenant_has_the_guardrails_of_its_tier_and_an_older_one_when_it_asks() {
    let db = Db::new("default_guardrails");
    let mut op = db.as_role("op");
    for (tier, most) in [("trial", 3), ("standard", 4), ("enterprise", 6)] {
        let provisioned = "SELECT tenant_id FROM stormops.provision_tenant($1, $1, $1 || '@abc.example')";
        let mut session = session(&db, op.query_one(provisioned, &[&tier]).expect("a tenant").get(0));
        let rows = "SELECT string_agg(concat_ws(' ', kind, most, days, enabled), '; ' ORDER BY kind) FROM guardrails";
        let expected = format!("consent t; experiment_control t; frequency_cap {most} 30 t");
        assert_eq!(get::<String>(&mut session, rows, &[]), expected);
        session.batch_execute("DELETE FROM guardrails WHERE kind <> 'consent'").expect("an admin");
        let add = "SELECT stormops.add_default_guardrails()";
        assert_eq!(get::<Vec<String>>(&mut session, add, &[]), ["contacts in a month", "controls of experiments"]);
        assert_eq!(get::<String>(&mut session, rows, &[]), expected);
        assert!(get::<Vec<String>>(&mut session, add, &[]).is_empty());
    }
}

#[test]
fn guardrails_are_their_tenants_admins() {
    let db = Db::new("guardrail_roles");
    let abc = provision(&db, "Abc");
    let mut other = tenant(&db, "Other").1;
    for (role, may) in [("viewer", false), ("field_user", false), ("crew_chief", false), ("admin", true)] {
        let mut session = acting_as(&db, abc, role);
        assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM guardrails", &[]), 3, "{role} reads");
        let changed = session.execute("UPDATE guardrails SET enabled = false", &[]).expect("an update");
        assert_eq!(changed, if may { 3 } else { 0 }, "{role}");
        for (statement, refused) in [
            ("INSERT INTO guardrails (name, kind) VALUES ('mine', 'consent')", "42501"),
            ("SELECT stormops.add_default_guardrails()", "42501"),
        ] {
            assert_eq!(
                sqlstate(&session.execute(statement, &[])),
                if may { "00000" } else { refused },
                "{role}: {statement}"
            );
        }
        let say = session.execute("INSERT INTO contact_consents (property_id, channel, consented) SELECT property_id, 'door', false FROM properties", &[]);
        say.expect("there is no property");
        assert_eq!(
            session.execute("DELETE FROM guardrails WHERE name = 'mine'", &[]).expect("a deletion"),
            u64::from(may),
            "{role}"
        );
    }
    assert_eq!(
        get::<i64>(&mut other, "SELECT count(*) FROM guardrails WHERE enabled", &[]),
        3,
        "another tenant's stay"
    );
    let mut admin = session(&db, abc);
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    assert_eq!(get::<i64>(&mut admin, "SELECT count(*) FROM guardrails", &[]), 3);
    for statement in
        ["INSERT INTO guardrails (name, kind) VALUES ('mine', 'consent')", "SELECT stormops.add_default_guardrails()"]
    {
        assert!(["55000", "42501"].contains(&sqlstate(&admin.execute(statement, &[]))), "{statement}");
    }
}

#[test]
fn a_guardrail_that_makes_no_sense_is_refused() {
    let db = Db::new("bad_guardrails");
    let mut session = tenant(&db, "Abc").1;
    for (columns, values, refused) in [
        ("kind", "'whim'", "23514"),
        ("kind, most", "'frequency_cap', 3", "23514"),
        ("kind, most, days", "'frequency_cap', -1, 30", "23514"),
        ("kind, most, days", "'frequency_cap', 3, 0", "23514"),
        ("kind, most, days, metres", "'frequency_cap', 3, 30, 5", "23514"),
        ("kind, metres, days", "'spacing', 1001, 30", "23514"),
        ("kind, amount, days", "'budget', 100, 30", "23514"),
        ("kind, amount, days, contact_cost", "'budget', 'NaN', 30, 1", "23514"),
        ("kind, amount, days, contact_cost", "'budget', 100, 30, 0", "23514"),
        ("kind, time_zone", "'quiet_window', 'UTC'", "23514"),
        ("kind, from_date", "'quiet_window', '2026-01-01'", "23514"),
        ("kind, time_zone, from_date", "'quiet_window', 'UTC', 'infinity'", "23514"),
        ("kind, time_zone, from_date", "'quiet_window', 'Mars/Olympus', '2026-01-01'", "22023"),
        ("kind, time_zone, weekdays", "'quiet_window', 'UTC', '{8}'", "23514"),
        ("kind, time_zone, weekdays", "'quiet_window', 'UTC', '{}'", "23514"),
        ("kind, time_zone, from_time", "'quiet_window', 'UTC', '22:00'", "23514"),
        ("kind, time_zone, from_time, until_time", "'quiet_window', 'UTC', '22:00', '22:00'", "23514"),
        ("kind, channel", "'experiment_control', 'door'", "23514"),
        ("kind, from_time, until_time", "'consent', '22:00', '23:00'", "23514"),
    ] {
        let insert =
            session.execute(&format!("INSERT INTO guardrails (name, {columns}) VALUES ('bad', {values})"), &[]);
        assert_eq!(sqlstate(&insert), refused, "{columns}: {values}");
    }
    fails_with(session.execute("UPDATE guardrails SET kind = 'consent'", &[]), "42501");
    fails_with(session.execute("INSERT INTO guardrails (name, kind) VALUES ('who refused', 'consent')", &[]), "23505");
    let many = "INSERT INTO guardrails (name, kind) SELECT i, 'consent' FROM generate_series(1, $1::int) AS i";
    fails_with(session.execute(many, &[&48]), "54000");
    session.execute(many, &[&47]).expect("fifty");
}
