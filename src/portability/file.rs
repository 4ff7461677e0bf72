//! A file of a tenant's rows, read line by line and believed in nothing: its form, its counts and its digests.
//!
//! ```text
//! {"format":"stormops tenant","version":1,"tenant_id":"..."}
//! {"table":"storms","columns":["storm_id","name"]}
//! ["storms","...","Hail"]
//! {"manifest":[{"table":"storms","columns":["storm_id","name"],"rows":1,"sha256":"..."}],"tenant_id":"...","rows":1}
//! ```
//!
//! `sha256` is that of the table's rows, each with the line feed after it. No row has a `tenant_id`: the file says it once,
//! so that no row in it can be another tenant's.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub const FORMAT: &str = "stormops tenant";
pub const VERSION: u32 = 1;
/// Of a line that is no row, in bytes.
const LONGEST: usize = 8 << 20;
/// Of a line that is a row: what the server's own jsonb can hold.
const LONGEST_ROW: usize = 256 << 20;
const MOST_TABLES: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    tenant_id: String,
}

#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub table: String,
    pub columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    manifest: Vec<Entry>,
    tenant_id: String,
    rows: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    table: String,
    columns: Vec<String>,
    rows: u64,
    sha256: String,
}

/// What a line says.
pub enum Line {
    Tenant(Uuid),
    Table(Table),
    Row,
    End,
}

/// Why a file is refused.
pub struct Fault {
    pub message: String,
    /// It may be right, but is more than one call takes.
    pub too_large: bool,
}

/// What came of a table so far.
struct Read {
    table: Table,
    /// How each of its rows begins.
    beginning: Vec<u8>,
    rows: u64,
    sum: Sha256,
}

#[derive(Default)]
pub struct Reader {
    tenant: Option<Uuid>,
    tables: Vec<Read>,
    lines: u64,
    ended: bool,
}

impl Reader {
    /// Takes in the next line, without its line feed.
    pub fn take(&mut self, line: &str) -> Result<Line, Fault> {
        self.lines += 1;
        if self.ended {
            return Err(self.fault("comes after the manifest, which is the last line"));
        }
        if line.len() > if line.starts_with('[') { LONGEST_ROW } else { LONGEST } {
            return Err(Fault { too_large: true, ..self.fault("is longer than a line can be") });
        }
        if self.tenant.is_none() {
            return self.header(line).map(Line::Tenant);
        }
        if line.starts_with('[') {
            return self.row(line).map(|()| Line::Row);
        }
        if line.starts_with("{\"table\"") {
            return self.table(line).map(Line::Table);
        }
        self.manifest(line)?;
        self.ended = true;
        Ok(Line::End)
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|read| read.rows).sum()
    }

    pub fn tables(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tables.iter().map(|read| (read.table.table.as_str(), read.rows))
    }

    /// An error unless the manifest has been read.
    pub fn whole(&self) -> Result<(), Fault> {
        if self.ended { Ok(()) } else { Err(self.fault("is the last one, and is no manifest: the file is cut short")) }
    }

    fn fault(&self, what: &str) -> Fault {
        Fault { message: format!("line {} {what}", self.lines), too_large: false }
    }

    fn header(&mut self, line: &str) -> Result<Uuid, Fault> {
        let header: Header =
            serde_json::from_str(line).map_err(|_| self.fault("is no header of a tenant's exported rows"))?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(self.fault("says a format that this version does not read"));
        }
        let tenant = Uuid::try_parse(&header.tenant_id).ok().filter(|id| id.to_string() == header.tenant_id);
        self.tenant = tenant;
        tenant.ok_or_else(|| self.fault("has no tenant_id as a UUID is written"))
    }

    fn table(&mut self, line: &str) -> Result<Table, Fault> {
        let table: Table =
            serde_json::from_str(line).map_err(|_| self.fault("does not say a table and its columns"))?;
        if self.tables.iter().any(|read| read.table.table == table.table) {
            return Err(self.fault("begins a table a second time"));
        }
        if self.tables.len() == MOST_TABLES {
            return Err(Fault { too_large: true, ..self.fault("begins one table too many") });
        }
        let mut beginning = vec![b'['];
        super::values::text(&mut beginning, &table.table);
        self.tables.push(Read { table: table.clone(), beginning, rows: 0, sum: Sha256::new() });
        Ok(table)
    }

    fn row(&mut self, line: &str) -> Result<(), Fault> {
        match self.tables.last_mut() {
            Some(read) if line.as_bytes().starts_with(&read.beginning) => {
                read.rows += 1;
                read.sum.update(line);
                read.sum.update(b"\n");
                Ok(())
            }
            _ => Err(self.fault("is a row of another table than the one that began")),
        }
    }

    fn manifest(&self, line: &str) -> Result<(), Fault> {
        let manifest: Manifest = serde_json::from_str(line).map_err(|_| self.fault("is no row, table or manifest"))?;
        let same = |(entry, read): (&Entry, &Read)| {
            (&entry.table, &entry.columns, entry.rows) == (&read.table.table, &read.table.columns, read.rows)
                && entry.sha256 == hex(&read.sum.clone().finalize())
        };
        let of_tenant = self.tenant.is_some_and(|tenant| tenant.to_string() == manifest.tenant_id);
        if let Some((entry, _)) = manifest.manifest.iter().zip(&self.tables).find(|pair| !same(*pair)) {
            let table: String = entry.table.chars().take(63).collect();
            return Err(self.fault(&format!("is a manifest that the rows of table \"{table}\" do not match")));
        }
        if manifest.manifest.len() != self.tables.len() || manifest.rows != self.rows() || !of_tenant {
            return Err(self.fault("is a manifest of other tables, rows or another tenant"));
        }
        Ok(())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
