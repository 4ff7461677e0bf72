//! The columns of the tables as shipped, read from the statements that make them: the one place
//! where they are written down.

#[derive(Debug, PartialEq)]
pub struct Column<'a> {
    pub table: &'a str,
    pub name: &'a str,
    pub data_type: &'a str,
    pub not_null: bool,
}

/// What may follow a column's type.
const CONSTRAINTS: [&str; 6] = [" NOT NULL", " DEFAULT ", " CHECK ", " REFERENCES ", " PRIMARY KEY", " UNIQUE"];
/// What begins a line within CREATE TABLE that is no column.
const OTHERS: [&str; 6] = ["PRIMARY KEY", "FOREIGN KEY", "UNIQUE", "CHECK", "CONSTRAINT", "--"];
const SCHEMAS: [&str; 2] = ["stormops.", "stormops_internal."];

/// The columns that the statements of a script make.
pub fn columns(script: &str) -> Vec<Column<'_>> {
    let mut found = Vec::new();
    let mut table = None;
    for line in script.lines() {
        if let Some(made) = line.strip_prefix("CREATE TABLE IF NOT EXISTS ").and_then(unqualified) {
            // A partition has the columns of its parent.
            table = made.strip_suffix('(').map(str::trim);
        } else if line.starts_with(')') {
            table = None;
        } else if let Some((table, added)) = added(line) {
            found.extend(column(table, added));
        } else if let Some(gone) = dropped(line) {
            found.retain(|column: &Column| (column.table, column.name) != gone);
        } else if let (Some(table), Some(text)) = (table, line.strip_prefix("    ")) {
            found.extend(column(table, text));
        }
    }
    found
}

fn added(line: &str) -> Option<(&str, &str)> {
    let (table, column) = line.strip_prefix("ALTER TABLE ")?.split_once(" ADD COLUMN IF NOT EXISTS ")?;
    Some((unqualified(table)?, column))
}

/// Also within a DO block, which asks first whether the column is there.
fn dropped(line: &str) -> Option<(&str, &str)> {
    let (table, column) = line.trim_start().strip_prefix("ALTER TABLE ")?.split_once(" DROP COLUMN ")?;
    Some((unqualified(table)?, column.trim_start_matches("IF EXISTS ").trim_end_matches(';')))
}

/// What follows the name of one of StormOps' schemas.
fn unqualified(name: &str) -> Option<&str> {
    SCHEMAS.iter().find_map(|schema| name.strip_prefix(schema))
}

fn column<'a>(table: &'a str, text: &'a str) -> Option<Column<'a>> {
    if text.starts_with(' ') || OTHERS.iter().any(|other| text.starts_with(other)) {
        return None; // a constraint, or the rest of one
    }
    let (name, rest) = text.split_once(' ')?;
    let end = CONSTRAINTS.iter().filter_map(|constraint| rest.find(constraint)).min().unwrap_or(rest.len());
    let data_type = rest[..end].trim().trim_end_matches([',', ';']);
    let said = rest.split(" CHECK ").next().unwrap_or(rest); // a condition may say NOT NULL too
    let not_null = [" NOT NULL", " PRIMARY KEY"].iter().any(|constraint| said.contains(constraint));
    Some(Column { table, name, data_type, not_null })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "CREATE TABLE IF NOT EXISTS stormops.storms (
    tenant_id    uuid NOT NULL REFERENCES stormops.tenants,
    hail_size_in numeric(4, 2) CHECK (hail_size_in IS NOT NULL),
    west         double precision,
    arms         text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, storm_id),
    CHECK (north >= south)
);
CREATE TABLE IF NOT EXISTS stormops.log_default PARTITION OF stormops.log DEFAULT;
COMMENT ON TABLE stormops.storms IS 'text';
    indented outside
ALTER TABLE stormops.storms ADD COLUMN IF NOT EXISTS note text NOT NULL DEFAULT '';
    ALTER TABLE stormops.storms DROP COLUMN west;
ALTER TABLE stormops.storms DROP COLUMN IF EXISTS arms;";

    #[test]
    fn the_columns_of_a_script_are_read_with_type_and_null() {
        let read = columns(SCRIPT);
        let read: Vec<_> = read.iter().map(|c| (c.table, c.name, c.data_type, c.not_null)).collect();
        let expected = [
            ("storms", "tenant_id", "uuid", true),
            ("storms", "hail_size_in", "numeric(4, 2)", false),
            ("storms", "note", "text", true),
        ];
        assert_eq!(read, expected);
    }
}
