//! README.md does what it says: its ```sql blocks run as written, one psql session after the other, and print what the
//! ```text fence after a block shows; the files that it names exist.
//!
//! A block that begins with `-- as ROLE` runs as that role; one that does not stays in the session before it. What is
//! shown counts up to blanks, with every UUID and time equal to every other, and `…` for anything. A block that shows
//! an ERROR goes on after it; any other must succeed.
//!
//! In a cluster of its own: attest() in another database would report whom README.md trusts.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use stormops_tests::{SUPERUSER, cluster};

const MARK: &str = "-- block --";

struct Block {
    sql: String,
    shown: Option<String>,
}

/// The fenced blocks of a language, and the prose between all fences.
fn blocks(readme: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::<Block>::new(), String::new());
    let (mut last_was_sql, mut rest) = (false, readme);
    while let Some((before, after)) = rest.split_once("\n```") {
        let (language, after) = after.split_once('\n').unwrap_or((after, ""));
        let (content, after) = after.split_once("\n```").unwrap_or((after, ""));
        prose += before;
        last_was_sql = match (language, blocks.last_mut()) {
            ("sql", _) => {
                blocks.push(Block { sql: content.to_owned(), shown: None });
                true
            }
            ("text", Some(block)) if last_was_sql => {
                block.shown = Some(content.to_owned());
                false
            }
            _ => false,
        };
        rest = after;
    }
    (blocks, prose + rest)
}

/// The whole README as one psql script, which says where each block ends.
fn script(blocks: &[Block]) -> String {
    let mut role = SUPERUSER;
    let mut script = String::new();
    for block in blocks {
        let wanted = block.sql.lines().next().and_then(|line| line.strip_prefix("-- as ")).map_or(role, str::trim);
        if wanted != role {
            role = wanted;
            script += &format!("\\c - {role}\n");
        }
        let errors_end_it = !block.shown.as_ref().is_some_and(|shown| shown.contains("ERROR:"));
        script += &format!("\\set ON_ERROR_STOP {errors_end_it}\n{}\n\\echo '{MARK}'\n", block.sql);
    }
    script
}

/// A pattern at the beginning of a text: `h` a hexadecimal digit, `d` a digit, anything else itself.
fn begins(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, like)| match like {
            b'h' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            _ => byte == like,
        })
}

/// A text with what differs from run to run made equal: UUIDs, times, and the widths of columns.
fn masked(text: &str) -> String {
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let skipped = if begins(rest, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") {
            masked += "UUID";
            36
        } else if begins(rest, "dddd-dd-dd dd:dd:dd") || begins(rest, "dddd-dd-ddTdd:dd:dd") {
            masked += "TIME";
            19 + rest[19..].find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | ':' | 'Z')).unwrap_or(rest.len() - 19)
        } else {
            let same_again = matches!(next, ' ' | '-') && masked.ends_with(next);
            masked.extend((!same_again).then_some(next));
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    masked.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn agrees(printed: &str, shown: &str) -> bool {
    let (printed, shown) = (masked(printed), masked(shown));
    let mut parts = shown.split('…');
    let mut rest = printed.strip_prefix(parts.next().unwrap_or_default());
    let parts: Vec<&str> = parts.collect();
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        rest = rest.and_then(|rest| {
            if last { rest.strip_suffix(part).map(|_| "") } else { rest.split_once(part).map(|(_, rest)| rest) }
        });
    }
    rest == Some("")
}

/// Runs a README in a database of that name; Err says what is wrong with it.
fn check(readme: &str, database: &str) -> Result<(), String> {
    let (blocks, _) = blocks(readme);
    let create = format!("CREATE DATABASE {database}");
    cluster().connect(SUPERUSER, "postgres").batch_execute(&create).map_err(|e| e.to_string())?;
    let path = |kind: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{database}.{kind}"));
    fs::write(path("sql"), script(&blocks)).map_err(|e| e.to_string())?;
    // Read from stdin, psql names no file in its errors; both outputs go to one file, in the order of happening.
    let out = File::create(path("out")).map_err(|e| e.to_string())?;
    let mut psql: Command = cluster().program("psql", SUPERUSER, database);
    psql.args(["-X", "-q", "--pset=pager=off"]).stdin(File::open(path("sql")).map_err(|e| e.to_string())?);
    let ended =
        psql.stderr(out.try_clone().map_err(|e| e.to_string())?).stdout(out).status().map_err(|e| e.to_string())?;
    let printed = fs::read_to_string(path("out")).map_err(|e| e.to_string())?;
    let parts: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    for (i, block) in blocks.iter().enumerate() {
        let printed = parts.get(i).copied().unwrap_or_default();
        if parts.len() <= i + 1 || !ended.success() && parts.len() == i + 1 {
            return Err(format!("block {} fails:\n{}\n{printed}", i + 1, block.sql));
        }
        if let Some(shown) = &block.shown
            && !agrees(printed, shown)
        {
            return Err(format!("block {} prints something else than is shown:\n{}\n{printed}", i + 1, block.sql));
        }
    }
    if blocks.is_empty() { Err("there is nothing to run".to_owned()) } else { Ok(()) }
}

/// What a README names that is not there: targets of links, and code that is the path of a file.
fn missing(readme: &str, root: &Path) -> Vec<String> {
    let (_, prose) = blocks(readme);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let links = links.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let code = prose.split('`').skip(1).step_by(2).filter(|code| {
        let ending = code.rsplit_once('.').map_or("", |(_, ending)| ending);
        let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        plain
            && (code.ends_with('/')
                || code.contains('/') && ["md", "rs", "sql", "sh", "csv", "py", "toml"].contains(&ending))
    });
    let named = links.chain(code).map(|name| name.split('#').next().unwrap_or(name));
    named.filter(|name| !root.join(name).exists()).map(str::to_owned).collect()
}

const SAMPLE: &str = "# Sample
See [the licence](LICENSE), [the top](#sample), `pgrx-tests/tests/` and `SELECT 1/2`.
```sql
CREATE ROLE sample LOGIN;
CREATE TABLE t AS SELECT 1 AS x, gen_random_uuid() AS id, now() AS at;
GRANT SELECT ON t TO sample;
SELECT x AS kept FROM t \\gset
```
Prose with a `code`.
```sql
-- as sample
SELECT current_user, :kept AS x, id, at FROM t;
```
```text
 current_user | x |                  id                  |              at
--------------+---+--------------------------------------+-------------------------------
 sample       | 1 | 00000000-0000-4000-8000-000000000000 | 2026-01-01 12:00:00+00
(1 row)
```
```sql
DELETE FROM t;
```
```text
ERROR:  permission denied for table t
```
```sh
false
```
```sql
SELECT current_user AS still, random() AS chance;
```
```text
 still  | chance
--------+--------
 sample | …
(1 row)
```
";

#[test]
fn the_readme_runs_as_written() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    if let Err(complaint) = check(&readme, "readme") {
        panic!("{complaint}");
    }
}

#[test]
fn the_files_that_the_readme_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    assert_eq!(missing(&readme, &root), [""; 0]);
    assert_eq!(missing(SAMPLE, &root), [""; 0]);
    let bad =
        "[a](LICENSE#x), [b](docs/none.md#part), `sql/none.sql`, `none/`, `SELECT a/b`, [c](https://none.example)";
    assert_eq!(missing(bad, &root), ["docs/none.md", "sql/none.sql", "none/"]);
}

#[test]
fn a_readme_that_does_not_do_what_it_says_is_found_out() {
    assert_eq!(check(SAMPLE, "sample"), Ok(()));
    let lies = [
        ("| 1 |", "| 2 |", "block 2 prints something else"),
        ("(1 row)\n```\n```sql\nDELETE", "```\n```sql\nDELETE", "block 2 prints something else"),
        ("GRANT SELECT", "GRANT NONSENSE", "block 1 fails"),
        ("-- as sample", "-- as nobody_here", "block 2 fails"),
        ("denied for table t", "denied for table u", "block 3 prints something else"),
        ("ERROR:  permission denied for table t", "DELETE 1", "block 3 fails"),
        ("sample | …", "sample2 | …", "block 4 prints something else"),
    ];
    for (i, (truth, lie, complaint)) in lies.into_iter().enumerate() {
        assert_eq!(SAMPLE.matches(truth).count(), 1, "{truth}");
        // Roles are the cluster's, so each has one of its own.
        let readme = SAMPLE.replace(truth, lie).replace("sample", &format!("sample{i}"));
        let found = check(&readme, &format!("lie_{i}"));
        assert!(found.as_ref().is_err_and(|found| found.starts_with(complaint)), "{lie}: {found:?}");
    }
}
