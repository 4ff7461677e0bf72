//! The reference of what users call, `stormops.reference`: it is complete, every role may read it, and
//! `docs/reference.md` is made from it. `make reference` writes that file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use stormops_script::Sources;
use stormops_tests::{Db, ROLES, get};

/// Only read, and so shared.
fn catalogue() -> &'static Db {
    static CATALOGUE: OnceLock<Db> = OnceLock::new();
    CATALOGUE.get_or_init(|| Db::new("reference"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What breaks a rule.
fn list(query: &str) -> Vec<String> {
    let rows = catalogue().superuser().query(query, &[]).unwrap_or_else(|e| panic!("{query}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The SQL files below a folder of the repository.
fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sql_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files
}

/// The functions and aggregates that each domain's files make.
fn made_by_domain() -> BTreeMap<String, BTreeSet<String>> {
    let mut made = BTreeMap::<String, BTreeSet<String>>::new();
    let sources = Sources::read(&root().join("sql")).expect("sql/");
    for file in sources.code.iter().chain(&sources.tables) {
        let (domain, _) = file.name.split_once('/').expect("a folder");
        for line in file.text.lines().map(str::trim_start).filter(|line| line.starts_with("CREATE ")) {
            let made_here = line.split(['(', ' ']).filter_map(|word| word.strip_prefix("stormops."));
            made.entry(domain.to_owned()).or_default().extend(made_here.map(str::to_owned));
        }
    }
    made
}

#[test]
fn every_function_of_the_schema_is_in_a_register() {
    let forgotten = "SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE p.pronamespace = 'stormops'::regnamespace
            AND NOT EXISTS (SELECT FROM stormops_internal.granted_functions() AS f WHERE to_regprocedure(f.signature) = p.oid)";
    assert_eq!(list(forgotten), [""; 0], "say in sql/<domain>/register.sql who calls it; '{{}}': superusers only");
    let twice = "SELECT signature FROM stormops_internal.granted_functions() GROUP BY signature HAVING count(*) > 1";
    assert_eq!(list(twice), [""; 0]);
}

#[test]
fn a_function_is_registered_in_the_folder_that_makes_it() {
    let made = made_by_domain();
    let mut seen = 0;
    for row in catalogue().superuser().query("SELECT domain, name FROM stormops.reference", &[]).expect("rows") {
        let (domain, name): (String, String) = (row.get(0), row.get(1));
        // What write_registers() makes no file names.
        if made.values().any(|names| names.contains(&name)) {
            assert!(made[&domain].contains(&name), "{name} is in the register of {domain}");
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn comments_fit_a_screen_and_every_encoding() {
    let long = "SELECT call FROM stormops.reference WHERE length(description) > 400 OR description IS NULL";
    assert_eq!(list(long), [""; 0], "what is longer goes to docs/<domain>.md");
    let exotic = "SELECT d.description FROM pg_description AS d WHERE d.description ~ '[^\\x01-\\x7f]'";
    assert_eq!(list(exotic), [""; 0]);
    for file in sql_files(&root().join("sql")) {
        let text = fs::read_to_string(&file).expect("a file");
        // The bars of a dashboard are no message.
        for line in text.lines().filter(|line| !line.contains('\u{2581}')) {
            assert!(line.is_ascii(), "{}: {line}", file.display());
        }
    }
}

#[test]
fn whoever_has_use_may_read_it() {
    let all: i64 = get(&mut catalogue().superuser(), "SELECT count(*) FROM stormops.reference", &[]);
    for (role, kind) in ROLES {
        let read: i64 = get(&mut catalogue().as_role(role), "SELECT count(*) FROM stormops.reference", &[]);
        assert_eq!(read, all, "{role}");
        // And it tells the truth about who may call what.
        let wrong = format!(
            "SELECT f.signature FROM stormops_internal.granted_functions() AS f
             WHERE '{kind}' = ANY (f.kinds) <> has_function_privilege('{role}', f.signature, 'EXECUTE')"
        );
        assert_eq!(list(&wrong), [""; 0], "{role}");
    }
}

/// The text of a comment where Markdown would read something into it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('*', "\\*").replace('<', "&lt;")
}

/// A list in parentheses, on as many lines as it takes.
fn wrapped(text: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split_inclusive(", ") {
        if width + word.len() > 110 {
            lines.truncate(lines.trim_end().len());
            lines += "\n       ";
            width = 7;
        }
        width += word.len();
        lines += word;
    }
    lines
}

fn reference() -> String {
    let mut text = "# Reference\n\n\
        Every function that users call, by domain. Made from the catalogue by `make reference`: do not edit. In psql:\n\n\
        ```sql\nSELECT call, kinds, description FROM stormops.reference WHERE domain = 'policy';\n```\n\n\
        Calls are in schema `stormops`. A function without a set of rows returns one row. `app`, `trusted_app`, `operator` and\n\
        `monitor` are the [kinds of use](tenancy.md#four-kinds-of-use). SQLSTATEs are PostgreSQL's; those of missing tenants and\n\
        rights (0B000, 42501, 55000) are explained in [tenancy.md](tenancy.md#the-context).\n"
        .to_owned();
    let query = "SELECT domain, name, call, result, kinds, description FROM stormops.reference
        ORDER BY array_position('{tenancy,field,uplift,experiment,policy,metering,health,portability,stream}', domain), name, call";
    let mut last = String::new();
    for row in catalogue().superuser().query(query, &[]).expect("the reference") {
        let [domain, name, call, result, description] = [0, 1, 2, 3, 5].map(|column| row.get::<_, String>(column));
        if domain != last {
            let _ = write!(text, "\n## {domain}\n\nMore in [{domain}.md]({domain}.md).\n");
            last = domain;
        }
        let kinds: Vec<String> = row.get(4);
        let kinds = kinds.join(", ");
        let (says, errors) = description
            .find(" Error: ")
            .or_else(|| description.find(" Errors: "))
            .map_or((description.as_str(), None), |at| (&description[..at], Some(description[at..].trim())));
        let _ = write!(
            text,
            "\n### {name}\n\n```\n{}\n    -> {}\n```\n\nFor: {kinds}.\n\n{}\n",
            wrapped(&call),
            wrapped(&result),
            escaped(says)
        );
        if let Some(errors) = errors {
            let _ = write!(text, "\n{}\n", escaped(errors));
        }
    }
    text
}

#[test]
fn the_page_is_what_the_catalogue_says() {
    let page = root().join("docs/reference.md");
    let made = reference();
    if std::env::var_os("STORMOPS_WRITE").is_some() {
        fs::write(&page, &made).expect("docs/reference.md");
    }
    let written = fs::read_to_string(&page).expect("docs/reference.md");
    let differing = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert_eq!(differing, None, "`make reference` writes it anew");
    assert_eq!(made, written, "`make reference` writes it anew");
}
