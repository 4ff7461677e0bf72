//! One person's request: what describes the house and its people goes, what was decided stays as numbers.

use stormops_tests::tenant::acting_as;
use stormops_tests::{fails_with, get};
use uuid::Uuid;

use super::life::{filled, inside, lines};

#[test]
fn a_property_is_erased_and_the_log_is_as_it_was() {
    let source = filled();
    let [a, b, closed] = source.tenants;
    let mut session = inside(&source.db, a);
    let one = "SELECT property_id FROM properties WHERE address LIKE '11 Main%'";
    let property: Uuid = get(&mut session, one, &[]);
    let decisions =
        format!("SELECT d::text FROM policy_decisions_log AS d WHERE property_id = '{property}' ORDER BY 1");
    let (decided, head) = (
        lines(&mut session, &decisions),
        "SELECT string_agg(hash, ' ' ORDER BY log) FROM stormops.log_head() WHERE log <> 'people'",
    );
    let head_before: String = get(&mut session, head, &[]);
    assert_eq!(decided.len(), 2);
    for role in ["crew_chief", "field_user", "viewer"] {
        let mut user = acting_as(&source.db, a, role);
        fails_with(user.query("SELECT stormops.erase_property($1)", &[&property]), "42501");
    }
    fails_with(inside(&source.db, b).query("SELECT stormops.erase_property($1)", &[&property]), "P0002");
    fails_with(source.db.as_role("op").query("SELECT stormops.erase_property($1)", &[&property]), "42501");
    fails_with(inside(&source.db, closed).query("SELECT stormops.erase_property($1)", &[&property]), "55000");
    fails_with(session.query("SELECT stormops.erase_property(NULL)", &[]), "P0002");

    let refused = "INSERT INTO contact_consents (property_id, channel, consented, source) VALUES ($1, 'door', false, 'Mrs Smith, on the phone')";
    session.execute(refused, &[&property]).expect("a refusal");
    let row = session.query_one("SELECT * FROM stormops.erase_property($1)", &[&property]).expect("an erasure");
    let kept = "SELECT bool_and(source IS NULL AND NOT consented) FROM contact_consents WHERE property_id = $1";
    assert!(get::<bool>(&mut session, kept, &[&property]), "that somebody refused is evidence, by which words is not");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
    let left = "SELECT jsonb_strip_nulls(to_jsonb(p))::text FROM properties AS p WHERE property_id = $1";
    let left: String = get(&mut session, left, &[&property]);
    assert!(
        left.contains("\"do_not_contact\": true") && left.contains("\"archived\"") && left.matches(':').count() < 10,
        "{left}"
    );
    assert_eq!(
        get::<i64>(&mut session, "SELECT count(*) FROM customer_journeys WHERE property_id = $1", &[&property]),
        0
    );
    let keys = "SELECT bool_and(idempotency_key = 'erased:' || outcome_id) FROM policy_outcomes WHERE property_id = $1";
    assert!(get::<bool>(&mut session, keys, &[&property]));
    assert_eq!(lines(&mut session, &decisions), decided, "decisions hold ids and numbers");
    assert_eq!(get::<String>(&mut session, head, &[]), head_before);
    assert!(get::<bool>(&mut session, "SELECT ok FROM stormops.verify_log()", &[]));
    let said = "SELECT reason FROM tenant_events WHERE action = 'erase_property'";
    assert!(get::<String>(&mut session, said, &[]).starts_with(&format!("property {property}: 1 journeys")));
    assert_eq!(
        get::<i64>(&mut inside(&source.db, b), "SELECT count(*) FROM properties WHERE address LIKE '11 Main%'", &[]),
        1
    );
    let again = session.query_one("SELECT * FROM stormops.erase_property($1)", &[&property]).expect("once more");
    assert_eq!((again.get::<_, i64>(0), again.get::<_, i64>(1)), (0, 0));
    source.db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'late')", &[&a]).expect("a suspension");
    fails_with(inside(&source.db, a).query("SELECT stormops.erase_property($1)", &[&property]), "55000");
}
