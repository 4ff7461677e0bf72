//! Two tenants whose rows have the same ids and keys in every table.

use postgres::{Error, SimpleQueryMessage};
use uuid::Uuid;

use crate::db::Db;

mod experiment;
mod field;
mod health;
mod metering;
mod policy;
mod tenancy;
mod uplift;

/// Table, columns and values of a row. `{n}` is the number of the row and `{id}` its UUID; `{storm}`, `{property}`,
/// `{experiment}`, `{run}` and `{invoice}` are its parents.
type Row = (&'static str, &'static str, &'static str);

/// Every parent before its children: a domain refers to those before it.
const DOMAINS: [&[Row]; 7] =
    [tenancy::ROWS, field::ROWS, uplift::ROWS, experiment::ROWS, policy::ROWS, metering::ROWS, health::ROWS];
/// The database that `Twins::new` copies, and whom it holds.
pub(crate) const TEMPLATE: &str = "twins_template";
pub(crate) const ORG_NAMES: [&str; 2] = ["Alpha Roofing", "Bravo Roofing"];
const PARENTS: [&str; 5] = ["{storm}", "{property}", "{experiment}", "{run}", "{invoice}"];

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
        assert!(unknown.is_empty(), "src/twins/ lacks a table: {unknown:?}");
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

/// The tables that have rows here, every parent before its children.
pub fn rows() -> impl Iterator<Item = &'static str> {
    all().map(|row| row.0)
}

fn all() -> impl Iterator<Item = &'static Row> {
    DOMAINS.into_iter().flatten()
}

/// What the two tenants' rows come to, once they are there: `tenants` says their ids.
pub(crate) fn script([a, b]: [Uuid; 2]) -> String {
    let numbered = [(a, 1), (b, 1), (b, 2)];
    let rows = numbered.iter().flat_map(|&(tenant, n)| rows().map(move |table| insert(table, tenant, n, n)));
    rows.collect::<Vec<_>>().join(";\n")
}

/// The statement that inserts row `n` of a table, under the alias `r`, below parents of another number.
pub fn insert(table: &str, tenant: Uuid, n: u8, parents: u8) -> String {
    PARENTS.iter().fold(template(table, tenant, n), |sql, parent| sql.replace(parent, &id(parents).to_string()))
}

/// For each parent that row `n` of a table has: the statement that hangs it on the parent of another number.
pub fn insert_below(table: &str, tenant: Uuid, n: u8, parent_number: u8) -> Vec<String> {
    let template = template(table, tenant, n);
    let children = PARENTS.iter().filter(|parent| template.contains(*parent));
    let hang = |on: &&str| {
        let number = |parent: &&str| if parent == on { parent_number } else { 1 };
        PARENTS.iter().fold(template.clone(), |sql, parent| sql.replace(parent, &id(number(parent)).to_string()))
    };
    children.map(hang).collect()
}

/// The UUID of row `n`.
pub fn id(n: u8) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
}

fn template(table: &str, tenant: Uuid, n: u8) -> String {
    let Some((_, columns, values)) = all().find(|row| row.0 == table) else { panic!("src/twins/ lacks table {table}") };
    let values = values.replace("{id}", &id(n).to_string()).replace("{n}", &n.to_string());
    format!("INSERT INTO stormops.{table} AS r (tenant_id, {columns}) VALUES ('{tenant}', {values})")
}
