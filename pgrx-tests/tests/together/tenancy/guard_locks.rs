//! Commands that are refused in the end, but stand in the queue for a table's lock until then, and all tenants behind
//! them.

use stormops_tests::fails_with;
use stormops_tests::twins::Twins;

const WAITED: &str = "55P03";

#[test]
fn a_refusal_does_not_wait_for_the_lock_of_all_tenants() {
    let twins = Twins::new("queue");
    let own = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app; SET ROLE app;
        CREATE TABLE own.list (a uuid, b uuid, c uuid);
        CREATE TABLE own.parts (LIKE stormops.policy_decisions_log) PARTITION BY LIST (tenant_id)";
    twins.db.superuser().batch_execute(own).expect("a schema");
    let mut other = twins.db.superuser();
    let writes = "BEGIN; LOCK TABLE stormops.storms, stormops.policy_decisions_log IN ROW EXCLUSIVE MODE";
    other.batch_execute(writes).expect("what the write of another tenant holds");
    for command in [
        "CREATE TRIGGER t BEFORE INSERT ON stormops.storms FOR EACH ROW EXECUTE FUNCTION own.f()",
        "CREATE RULE r AS ON INSERT TO stormops.storms DO INSTEAD NOTHING",
        "CREATE TABLE own.probe (a uuid, b uuid, FOREIGN KEY (a, b) REFERENCES stormops.storms)",
        "CREATE TEMP TABLE probe (a uuid REFERENCES stormops.storms) ON COMMIT DROP",
        "ALTER TABLE own.list ADD FOREIGN KEY (a, b) REFERENCES stormops.storms",
        "ALTER TABLE own.list ADD COLUMN d uuid REFERENCES stormops.storms",
        "ALTER TABLE own.parts ATTACH PARTITION stormops.policy_decisions_log DEFAULT",
        "CREATE TABLE own.part PARTITION OF stormops.policy_decisions_log DEFAULT",
        "LOCK TABLE stormops.storms IN SHARE MODE",
    ] {
        for (guard, expected) in [("on", "42501"), ("off", WAITED)] {
            let sql = format!("SET stormops.guard_locks = {guard}; SET lock_timeout = 50; SET ROLE app; {command}");
            fails_with(twins.db.superuser().batch_execute(&sql), expected);
        }
    }
}
