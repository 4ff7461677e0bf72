//! Two tenants whose rows have the same ids and keys in every table.

use postgres::{Error, SimpleQueryMessage};
use uuid::Uuid;

use crate::db::Db;
use crate::rows::{ORG_NAMES, TEMPLATE, rows};

pub use crate::rows::{id, insert, insert_below};

pub struct Twins {
    pub db: Db,
    /// Has row 1 of every table.
    pub a: Uuid,
    /// Has the same rows 1, and rows 2 that A lacks.
    pub b: Uuid,
    /// Every table of the role matrix, every parent before its children.
    pub tables: Vec<&'static str>,
}

impl Twins {
    pub fn new(name: &str) -> Self {
        let db = Db::copy(name, TEMPLATE);
        let mut superuser = db.superuser();
        let tenant = |org_name: &str| format!("SELECT tenant_id FROM stormops.tenants WHERE org_name = '{org_name}'");
        let [a, b] =
            ORG_NAMES.map(|name| superuser.query_one(&tenant(name), &[]).expect("a tenant of the template").get(0));
        let tables: Vec<&str> = std::iter::once("tenants").chain(rows()).collect();
        let unknown = "SELECT DISTINCT table_name FROM stormops.role_matrix() WHERE table_name <> ALL ($1)";
        let unknown = superuser.query(unknown, &[&tables]).expect("the role matrix");
        assert!(unknown.is_empty(), "src/rows/ lacks a table: {unknown:?}");
        Self { db, a, b, tables }
    }

    /// What a script gives in a session of its own: the first column of all its rows. It is sent as one message, after
    /// `$a` and `$b` in it became the tenants' ids, and `ENTER` the statement that sets one of them.
    pub fn run(&self, role: &str, script: &str) -> Result<Vec<String>, Error> {
        let script = script.replace("ENTER ", "SET app.current_tenant = ").replace("$a", &format!("'{}'", self.a));
        let messages = self.db.as_role(role).simple_query(&script.replace("$b", &format!("'{}'", self.b)))?;
        let value = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
            _ => None,
        };
        Ok(messages.iter().filter_map(value).collect())
    }

    /// How many rows of a tenant there really are.
    pub fn count(&self, table: &str, tenant: Uuid) -> usize {
        let count = format!("SELECT count(*) FROM stormops.{table} WHERE tenant_id = '{tenant}'");
        self.db.superuser().query_one(&count, &[]).expect("a count").get::<_, i64>(0) as usize
    }

    /// Every value of every row of a tenant.
    pub fn contents(&self, tenant: Uuid) -> Vec<String> {
        let mut superuser = self.db.superuser();
        let rows =
            |table: &&str| format!("SELECT r::text FROM stormops.{table} AS r WHERE tenant_id = '{tenant}' ORDER BY 1");
        let read = |table: &&str| superuser.query(&rows(table), &[]).expect("rows");
        self.tables.iter().flat_map(read).map(|row| row.get(0)).collect()
    }
}
