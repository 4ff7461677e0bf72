//! The scripts that PostgreSQL runs for `CREATE EXTENSION` and `ALTER EXTENSION ... UPDATE`, put together from `sql/`.
//!
//! Nobody edits a list to add a file: one in `sql/<domain>/` is code, in any order, since a function's body is read when
//! it is called; one in `sql/<domain>/tables/` makes tables, in the order of the domains and then of the names.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The domains, in the order in which their tables refer to each other.
pub const DOMAINS: [&str; 9] =
    ["tenancy", "field", "uplift", "experiment", "policy", "metering", "health", "portability", "stream"];

/// What the function that holds the statements of `tables/` is quoted with; no file may hold it.
const QUOTE: &str = "$tables$";

#[derive(Clone)]
pub struct File {
    /// Relative to `sql/`.
    pub name: String,
    pub text: String,
}

/// The files of `sql/`, in the order in which they are run.
pub struct Sources {
    /// The owner role and the schemas.
    pub first: File,
    /// Types and domains, which functions name in their declarations.
    pub types: File,
    /// Functions, aggregates and registers, in any order.
    pub code: Vec<File>,
    /// What `install()` runs.
    pub tables: Vec<File>,
    /// Grants, the record of what was shipped, `install()`.
    pub last: File,
    /// What `CREATE OR REPLACE` cannot change, dropped before an upgrade.
    pub retired: File,
}

impl Sources {
    /// Reads `sql/`. Errors: a file cannot be read, or stands where nobody would run it.
    pub fn read(sql: &Path) -> io::Result<Self> {
        let file = |name: &str| -> io::Result<File> {
            Ok(File { name: name.to_owned(), text: fs::read_to_string(sql.join(name))? })
        };
        let (mut code, mut tables) = (Vec::new(), Vec::new());
        for domain in DOMAINS {
            for path in below(&sql.join(domain))? {
                let name = path.strip_prefix(sql).map_err(io::Error::other)?.to_string_lossy().into_owned();
                let makes_tables = path.parent().is_some_and(|folder| folder.ends_with("tables"));
                let mut file = file(&name)?;
                if name == format!("{domain}/register.sql") {
                    file.text = format!("{}{}", of_domain(domain), file.text);
                }
                if makes_tables { &mut tables } else { &mut code }.push(file);
            }
        }
        if let Some(text) = tables.iter().find(|table| table.text.contains(QUOTE)) {
            return Err(io::Error::other(format!("{} holds {QUOTE}", text.name)));
        }
        let (first, types) = (file("first.sql")?, file("types.sql")?);
        Ok(Self { first, types, code, tables, last: file("last.sql")?, retired: file("retired.sql")? })
    }

    /// The parts of the script of `CREATE EXTENSION`, in their order.
    pub fn parts(&self) -> Vec<File> {
        let shipped = File { name: "shipped_tables".to_owned(), text: self.shipped_tables() };
        let files = [&self.first, &self.types].into_iter().chain(&self.code).cloned();
        files.chain([shipped, self.last.clone()]).collect()
    }

    /// The script of `CREATE EXTENSION`.
    pub fn install(&self) -> String {
        self.parts().iter().map(|part| format!("\n-- {}\n{}", part.name, part.text)).collect()
    }

    /// A function that gives the files of `tables/`: the script is all that an installation consists of, and an older
    /// script makes the older tables, whatever library runs it.
    fn shipped_tables(&self) -> String {
        let mut rows = String::new();
        for (place, file) in self.tables.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            let text = file.text.replace('\'', "''");
            let _ = write!(rows, "{separator}\n        ({place}, '{}', '{text}')", file.name);
        }
        format!(
            "CREATE FUNCTION stormops_internal.shipped_tables(OUT place integer, OUT file text, OUT statements text) RETURNS SETOF record\n    \
             LANGUAGE sql IMMUTABLE PARALLEL SAFE\n    \
             SET search_path = pg_catalog, pg_temp\n    \
             SET standard_conforming_strings = on\n    \
             AS {QUOTE}\n    SELECT t.* FROM (VALUES{rows}\n    ) AS t (place, file, statements)\n{QUOTE};\n\
             COMMENT ON FUNCTION stormops_internal.shipped_tables() IS 'The statements that make the tables of this version, in the order in which install() runs them. Each may run again at any time.';\n"
        )
    }
}

/// What a register says of functions is said of its domain's.
fn of_domain(domain: &str) -> String {
    format!("ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT '{domain}';\n")
}

/// The SQL files in a folder and below it, by name; none where there is no folder.
fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(below(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
