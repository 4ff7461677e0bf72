//! Whoever reads or writes whole rows, as every object mapper does, may: no column is a secret.

use stormops_tests::Db;
use stormops_tests::tenant::{acting_as, tenant};

#[test]
fn whole_rows_are_read_and_returned() {
    let db = Db::new("whole_rows");
    let (abc, mut session) = tenant(&db, "Abc");
    let written = "INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('model_call', 2) RETURNING *";
    for session in [&mut session, &mut acting_as(&db, abc, "admin")] {
        let row = session.query_one(written, &[]).expect("the row");
        assert_eq!(row.get::<_, String>("metric_name"), "model_call");
        for table in ["tenant_usage", "usage_keys", "usage_batches", "usage_rollups", "invoices", "invoice_lines"] {
            session.query(&format!("SELECT * FROM {table}"), &[]).unwrap_or_else(|e| panic!("{table}: {e:?}"));
        }
    }
    // Every table that an admin may read, it may read whole.
    let partly = "SELECT string_agg(DISTINCT table_name || ' ' || command, ', ') FROM stormops.role_matrix()
        WHERE command = 'SELECT' AND columns IS NOT NULL";
    assert_eq!(db.superuser().query_one(partly, &[]).expect("the matrix").get::<_, Option<String>>(0), None);
}
