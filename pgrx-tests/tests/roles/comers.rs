//! A protected table's rights come and go with the roles that have use.

use stormops_tests::protected::{Protected, count, failing, protected};
use stormops_tests::{cluster, enter, fails_with};

use super::TURN;

#[test]
fn roles_that_come_and_go_are_given_and_lose_it() {
    let _turn = TURN.lock();
    let Protected { db, a, .. } = protected("comers");
    let role = format!("late_{}", std::process::id());
    let mut superuser = db.superuser();
    db.in_turn(&format!("CREATE ROLE {role} LOGIN; SELECT stormops.grant_usage('{role}', 'trusted_app'); ALTER ROLE {role} SET stormops.session_tenant = on"));
    let mut session = cluster().connect(&role, &db.name);
    enter(&mut session, a);
    assert_eq!(count(&mut session, "work.jobs"), 1);
    db.in_turn(&format!("SELECT stormops.revoke_usage('{role}')"));
    fails_with(session.query("SELECT * FROM work.jobs", &[]), "42501");
    assert_eq!(failing(&db), []);
    superuser.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).expect("nothing left of it");
}
