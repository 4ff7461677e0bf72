//! The decision log in many small blocks, where a test's runs would fill one.

use crate::Db;

/// Writes all decisions anew, fifty to a block.
#[track_caller]
pub fn in_small_blocks(db: &Db) {
    let again = "CREATE TEMPORARY TABLE were AS TABLE stormops.policy_decisions_log;
        DELETE FROM stormops.policy_decision_blocks;
        DELETE FROM stormops.policy_decision_rows;
        INSERT INTO stormops.policy_decision_rows SELECT * FROM were;
        SELECT stormops_internal.pack_rows(r.tenant_id, r.run_id, 50) FROM (SELECT DISTINCT tenant_id, run_id FROM were) AS r;
        DELETE FROM stormops.policy_decision_rows;
        ANALYZE stormops.policy_decision_blocks";
    db.superuser().batch_execute(again).expect("small blocks");
}

/// Writes the decisions of a run row by row, as 0.1.0 did.
#[track_caller]
pub fn as_rows(db: &Db, run: uuid::Uuid) {
    let again = format!(
        "INSERT INTO stormops.policy_decision_rows SELECT * FROM stormops.policy_decisions_log WHERE run_id = '{run}';
        DELETE FROM stormops.policy_decision_blocks WHERE run_id = '{run}'"
    );
    db.superuser().batch_execute(&again).expect("rows");
}
