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
    /// The install scripts of the versions that were released, as they were; installed too, so that an upgrade can be tried.
    pub released: Vec<File>,
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
        let released = below(&sql.join("released"))?
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .map(|name| Ok(File { name: name.to_owned(), text: fs::read_to_string(sql.join("released").join(name))? }))
            .collect::<io::Result<_>>()?;
        let (first, types, last) = (file("first.sql")?, file("types.sql")?, file("last.sql")?);
        Ok(Self { first, types, code, tables, last, retired: file("retired.sql")?, released })
    }

    /// The parts of the script of `CREATE EXTENSION`, in their order.
    pub fn parts(&self) -> Vec<File> {
        let shipped = File { name: "shipped_tables".to_owned(), text: self.shipped_tables() + &self.shipped_types() };
        let files = [&self.first, &self.types].into_iter().chain(&self.code).cloned();
        files.chain([shipped, self.last.clone()]).collect()
    }

    /// The script of `CREATE EXTENSION`.
    pub fn install(&self) -> String {
        self.parts().iter().map(with_name).collect()
    }

    /// The script of `ALTER EXTENSION ... UPDATE`, from any released version: the same statements, where a function
    /// takes the place of the older one. `last.sql` drops the functions that this version no longer has.
    pub fn upgrade(&self) -> String {
        let replacing = |part: &File| {
            let statements = part.text.split_inclusive('\n').map(|line| match line.split_once(' ') {
                Some(("CREATE", rest)) if rest.starts_with("FUNCTION ") || rest.starts_with("AGGREGATE ") => {
                    format!("CREATE OR REPLACE {rest}")
                }
                _ => line.to_owned(),
            });
            with_name(&File { name: part.name.clone(), text: statements.collect() })
        };
        std::iter::once(with_name(&self.retired)).chain(self.parts().iter().map(replacing)).collect()
    }

    /// Every file that PostgreSQL reads for this version, but the control file.
    pub fn files(&self, version: &str) -> Vec<File> {
        let install = File { name: format!("stormops--{version}.sql"), text: self.install() };
        std::iter::once(install).chain(self.upgrades(version)).chain(self.released.iter().cloned()).collect()
    }

    /// The upgrade scripts, one from each released version.
    pub fn upgrades(&self, version: &str) -> Vec<File> {
        let from = |file: &File| {
            let older = file.name.strip_prefix("stormops--")?.strip_suffix(".sql").filter(|older| *older != version)?;
            Some(File { name: format!("stormops--{older}--{version}.sql"), text: self.upgrade() })
        };
        self.released.iter().filter_map(from).collect()
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

    /// A function that gives the types of `types.sql`, for `attest()` to compare: an upgrade does not make them anew.
    fn shipped_types(&self) -> String {
        let made =
            self.types.text.split("CREATE ").filter(|made| made.starts_with("TYPE ") || made.starts_with("DOMAIN "));
        let statements: Vec<_> = made.filter_map(|made| Some(format!("CREATE {};", made.split_once(';')?.0))).collect();
        format!(
            "CREATE FUNCTION stormops_internal.shipped_types() RETURNS text\n    \
             LANGUAGE sql IMMUTABLE PARALLEL SAFE\n    \
             SET search_path = pg_catalog, pg_temp\n    \
             SET standard_conforming_strings = on\n    \
             AS {QUOTE}SELECT '{}'{QUOTE};\n\
             COMMENT ON FUNCTION stormops_internal.shipped_types() IS 'The statements that make the types of this version.';\n",
            statements.join("\n").replace('\'', "''")
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

fn with_name(part: &File) -> String {
    format!("\n-- {}\n{}", part.name, part.text)
}
