//! `docs/errors.md` has every SQLSTATE that the extension raises, and says of no other that it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use stormops_tests::{Db, get};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page: each state with its name, and whether it says that only PostgreSQL raises it.
fn page() -> BTreeMap<String, (String, bool)> {
    let text = fs::read_to_string(root().join("docs/errors.md")).expect("docs/errors.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| SQLSTATE"));
    let states = rows.flat_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (states, name, meaning) = (cells[1], cells[2].to_owned(), cells[3].to_owned());
        let theirs = meaning.starts_with("PostgreSQL's own");
        states.split(", ").map(move |state| (state.to_owned(), (name.clone(), theirs))).collect::<Vec<_>>()
    });
    states.collect()
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
}

fn sources(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    files(&root().join(folder), extension, &mut found);
    let ours = found.iter().filter(|path| {
        let path = path.to_string_lossy();
        !path.contains("released") && !path.contains("stormops--") && !path.contains("tests.rs")
    });
    ours.map(|path| fs::read_to_string(path).expect("a file")).collect()
}

/// The names of the conditions that the sources raise.
fn raised() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in sources("sql", "sql") {
        for after in text.split("ERRCODE = ").skip(1) {
            // A condition, or a CASE of them.
            let expression = after.split("MESSAGE = ").next().expect("a part");
            let outcomes = expression.split('\'').skip(1).step_by(2);
            names.extend(
                outcomes
                    .filter(|word| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                    .map(str::to_owned),
            );
        }
    }
    for text in sources("src", "rs") {
        for after in text.split("ERRCODE_").skip(1) {
            let name: String = after.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            names.insert(name.to_lowercase());
        }
    }
    // A line of the log, and faults of the library itself.
    names.remove("successful_completion");
    names.remove("internal_error");
    names
}

#[test]
fn the_page_has_every_state_that_is_raised_and_no_other() {
    let page = page();
    let ours: BTreeSet<_> = page.values().filter(|(_, theirs)| !theirs).map(|(name, _)| name.clone()).collect();
    // undefined_column comes out of a function's answer.
    let mut raised = raised();
    raised.insert("undefined_column".to_owned());
    assert_eq!(ours, raised);
    let db = Db::new("errors");
    let documented = "SELECT array_agg(DISTINCT e ORDER BY e) FROM stormops.reference, unnest(errors) AS e";
    let documented: Vec<String> = get(&mut db.superuser(), documented, &[]);
    let missing: Vec<_> = documented.iter().filter(|state| !page.contains_key(*state)).collect();
    assert!(missing.is_empty(), "raised by a call, and not on the page: {missing:?}");
}

/// Each name is that of its state, as the server has it.
#[test]
fn names_and_states_belong_together() {
    let db = Db::new("conditions");
    for (state, (name, _)) in page().into_iter().filter(|(state, _)| state != "26000") {
        let raise = format!("DO $$ BEGIN RAISE {name}; EXCEPTION WHEN SQLSTATE '{state}' THEN NULL; END $$");
        db.superuser().batch_execute(&raise).unwrap_or_else(|e| panic!("{name} is not {state}: {e:?}"));
    }
}
