//! A tenant that uses something, and the operator who bills it.

use postgres::Client;
use uuid::Uuid;

use crate::{Db, enter, provision};

pub struct Billed {
    pub db: Db,
    pub tenant: Uuid,
    pub op: Client,
}

/// A tenant of tier standard, there since December 2023.
pub fn billed(name: &str) -> Billed {
    let db = Db::new(name);
    let tenant = provision(&db, "Abc Roofing");
    db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z'")
        .expect("an older tenant");
    let op = db.as_role("op");
    Billed { db, tenant, op }
}

impl Billed {
    /// Records an event as the application does.
    #[track_caller]
    pub fn meter(&self, metric: &str, value: &str, at: &str) {
        let mut app = self.db.as_role("tapp");
        enter(&mut app, self.tenant);
        let event = "INSERT INTO stormops.tenant_usage (metric_name, metric_value, recorded_at)";
        app.batch_execute(&format!("{event} VALUES ('{metric}', {value}, '{at}')")).expect("an event");
    }

    #[track_caller]
    pub fn price(&mut self, arguments: &str) {
        self.op.batch_execute(&format!("SELECT stormops.set_price({arguments})")).expect("a price");
    }

    /// kind, metric, quantity and amount of each line that the month would have.
    #[track_caller]
    pub fn lines(&mut self, period: &str) -> Vec<String> {
        self.op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
        let lines = "SELECT concat_ws(' ', kind, metric_name, trim_scale(quantity), amount)
            FROM stormops.preview_invoice($1, $2) ORDER BY line";
        self.op.query(lines, &[&self.tenant, &period]).expect("a preview").iter().map(|row| row.get(0)).collect()
    }

    /// A draft of the month.
    #[track_caller]
    pub fn draft(&mut self, period: &str) -> Uuid {
        let draft = "SELECT invoice_id FROM stormops.generate_invoice($1, $2)";
        self.op.query_one(draft, &[&self.tenant, &period]).expect("a draft").get(0)
    }

    /// Finalizes it; its number.
    #[track_caller]
    pub fn finalize(&mut self, invoice: Uuid) -> i64 {
        let finalize = "SELECT invoice_number FROM stormops.finalize_invoice($1)";
        self.op.query_one(finalize, &[&invoice]).expect("a final invoice").get(0)
    }

    /// One text about it, as the superuser.
    #[track_caller]
    pub fn about(&self, expression: &str, invoice: Uuid) -> String {
        let query = format!("SELECT ({expression})::text FROM stormops.invoices AS i WHERE i.invoice_id = $1");
        self.db.superuser().query_one(&query, &[&invoice]).expect("an invoice").get(0)
    }

    /// Whether the raw events prove it, else the line and what differs.
    #[track_caller]
    pub fn verdict(&mut self, invoice: Uuid) -> String {
        let verify = "SELECT CASE WHEN verified THEN 'verified' ELSE concat_ws(': ', first_difference, what) END
            FROM stormops.verify_invoice($1)";
        self.op.query_one(verify, &[&invoice]).expect("a verdict").get(0)
    }
}

/// kind, metric, quantity and amount of the lines of `i`.
pub const LINES: &str =
    "SELECT string_agg(concat_ws(' ', l.kind, l.metric_name, trim_scale(l.quantity), l.amount), '; ' ORDER BY l.line)
    FROM stormops.invoice_lines AS l WHERE l.invoice_id = i.invoice_id";
