//! Attacks as they are written down: see `pgrx-tests/redteam/README.md`.

use std::path::Path;

/// What the last statement of an attack must answer, each time that it is sent.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nothing beyond what holds for every attack: no leak, no harm.
    Same,
    Rows(usize),
    /// The first column of its first row.
    Value(String),
    /// One of these SQLSTATEs, and a message that begins so.
    Refused(Vec<String>, String),
}

#[derive(Clone, Debug)]
pub enum Step {
    /// From here on another session speaks.
    Session(String),
    /// The session's transaction ends, and its next one works in this tenant, or in none: what a pool does.
    Pin(Option<char>),
    /// The attacker's session ends; another begins with these options and no tenant.
    Connect(String),
    /// One message of the simple protocol.
    Send(String),
}

#[derive(Clone, Debug)]
pub struct Attack {
    /// The number in the catalogue of attacks, with a letter where one number has several.
    pub id: String,
    /// The file, without its extension.
    pub class: String,
    pub attackers: Vec<String>,
    pub expected: Expected,
    /// `naive holds`, `naive skips`: what the naive schema is expected to do, unless it leaks.
    pub naive: Naive,
    pub proves: String,
    pub steps: Vec<Step>,
    /// What a superuser does afterwards, so that the databases are as before.
    pub cleanup: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naive {
    Leaks,
    Holds,
    Skips,
}

/// The attacks of every file in a folder below `pgrx-tests/redteam/`, in order.
pub fn attacks(folder: &str) -> Vec<Attack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("redteam").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let class = path.file_stem().expect("a name").to_string_lossy().into_owned();
        parse(&class, &std::fs::read_to_string(path).expect("a readable file"))
    };
    let attacks: Vec<Attack> = files.iter().flat_map(read).collect();
    let mut ids: Vec<&str> = attacks.iter().map(|attack| attack.id.as_str()).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "two attacks have one number: {ids:?}");
    attacks
}

fn parse(class: &str, text: &str) -> Vec<Attack> {
    let mut attacks: Vec<Attack> = Vec::new();
    let mut statement = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("--# ") {
            assert!(statement.is_empty(), "{class}: unfinished before {line}: {statement}");
            attacks.push(parse_header(class, header));
            continue;
        }
        let Some(attack) = attacks.last_mut() else { continue };
        if statement.is_empty() && line.starts_with("--") {
            attack.proves += line.trim_start_matches('-');
        } else if statement.is_empty() && line.starts_with('\\') {
            let (word, rest) = line[1..].split_once(' ').unwrap_or((&line[1..], ""));
            if word == "cleanup" {
                attack.cleanup = Some(Vec::new());
                continue;
            }
            attack.steps.push(match (word, rest.trim()) {
                ("pin", "none") => Step::Pin(None),
                ("pin", tenant) => Step::Pin(tenant.chars().next()),
                ("connect", options) => Step::Connect(options.to_owned()),
                (session, _) => Step::Session(session.to_owned()),
            });
        } else if !(statement.is_empty() && line.trim().is_empty()) {
            statement += line;
            statement.push('\n');
            // A statement ends with its line, except in a function's body.
            if line.trim_end().ends_with(';') && statement.matches("$$").count().is_multiple_of(2) {
                let statement = std::mem::take(&mut statement).trim_end().to_owned();
                match &mut attack.cleanup {
                    Some(cleanup) => cleanup.push(statement),
                    None => attack.steps.push(Step::Send(statement)),
                }
            }
        }
    }
    assert!(statement.is_empty(), "{class}: unfinished: {statement}");
    attacks
}

fn parse_header(class: &str, header: &str) -> Attack {
    let fields: Vec<&str> = header.split(" | ").map(str::trim).collect();
    let [id, _tag, attackers, expected, rest @ ..] = &fields[..] else {
        panic!("{class}: a header is `--# number | tag | attackers | expected`, not {header}")
    };
    let expected = match expected.split_once([' ', '=']) {
        None if *expected == "same" => Expected::Same,
        Some(("rows", n)) => Expected::Rows(n.parse().expect("rows=N")),
        Some(("value", value)) => Expected::Value(value.to_owned()),
        Some(("refused", error)) => {
            let (codes, message) = error.split_once(' ').unwrap_or((error, ""));
            Expected::Refused(codes.split('/').map(str::to_owned).collect(), message.to_owned())
        }
        _ => panic!("{class} {id}: unknown class {expected}"),
    };
    let naive = match rest {
        [] => Naive::Leaks,
        ["naive holds"] => Naive::Holds,
        ["naive skips"] => Naive::Skips,
        _ => panic!("{class} {id}: unknown {rest:?}"),
    };
    let attackers = attackers.split(", ").map(str::to_owned).collect();
    let (id, class) = ((*id).to_owned(), class.to_owned());
    Attack { id, class, attackers, expected, naive, proves: String::new(), steps: Vec::new(), cleanup: None }
}
