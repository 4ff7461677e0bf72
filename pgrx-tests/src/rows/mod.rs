//! A row of every table, as text: it is known before there is a database to put it in.

use uuid::Uuid;

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
/// The database that holds rows of two tenants, and who they are: `twins::Twins` copies it.
pub(crate) const TEMPLATE: &str = "twins_template";
pub(crate) const ORG_NAMES: [&str; 2] = ["Alpha Roofing", "Bravo Roofing"];
const PARENTS: [&str; 5] = ["{storm}", "{property}", "{experiment}", "{run}", "{invoice}"];

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
    let Some((_, columns, values)) = all().find(|row| row.0 == table) else { panic!("src/rows/ lacks table {table}") };
    let values = values.replace("{id}", &id(n).to_string()).replace("{n}", &n.to_string());
    format!("INSERT INTO stormops.{table} AS r (tenant_id, {columns}) VALUES ('{tenant}', {values})")
}
