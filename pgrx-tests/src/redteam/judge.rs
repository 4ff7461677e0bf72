//! Plays an attack in both databases and says what went wrong.

use std::collections::HashMap;

use super::CANARY;
use super::attack::{Attack, Expected, Step};
use super::session::{Answer, Session};
use super::stage::{Pair, Schema, Stage};

pub struct Verdict {
    pub attack: String,
    pub attacker: String,
    /// What the attacker learned or broke.
    pub leaks: Vec<String>,
    /// Where the last statement was not answered as the attack says it must be.
    pub unexpected: Vec<String>,
}

impl Verdict {
    pub fn red(&self) -> bool {
        !self.leaks.is_empty() || !self.unexpected.is_empty()
    }

    pub fn describe(&self) -> String {
        let lines = self.leaks.iter().map(|leak| format!("  leak: {leak}"));
        let lines = lines.chain(self.unexpected.iter().map(|answer| format!("  unexpected: {answer}")));
        format!("attack {} as {}:\n{}", self.attack, self.attacker, lines.collect::<Vec<_>>().join("\n"))
    }
}

/// One message, who sent it, and what became of it.
struct Line {
    speaker: String,
    /// In the victim's tenant, by right: what it reads there is no leak.
    by_right: bool,
    sql: String,
    answer: Answer,
    last: bool,
}

pub fn play(pair: &mut Pair, attack: &Attack, attacker: &str) -> Verdict {
    let mut verdict = Verdict {
        attack: format!("{} ({})", attack.id, attack.class),
        attacker: attacker.to_owned(),
        leaks: vec![],
        unexpected: vec![],
    };
    let before = [&pair.x, &pair.y].map(Stage::fingerprint);
    let [x, y] = [&pair.x, &pair.y].map(|stage| perform(stage, attack, attacker));
    let after = [&pair.x, &pair.y].map(Stage::fingerprint);
    if before != after && !attack.steps.iter().any(|step| matches!(step, Step::Session(name) if name == "victim")) {
        verdict.leaks.push(format!("the victim had {}\n    and has {}", before[0], after[0]));
    }
    compare(&x, &y, &mut verdict);
    for line in x.iter().filter(|line| line.last) {
        expect(&attack.expected, line, &mut verdict);
    }
    if !x.iter().any(|line| line.last) && pair.x.schema == Schema::Ours {
        verdict.unexpected.push("nothing was sent".to_owned());
    }
    // Others' work in a database stays, unless it is cleaned up; so does harm.
    let by_others = |step: &Step| matches!(step, Step::Session(name) if !is_attacker(name));
    let cleaned = match &attack.cleanup {
        Some(cleanup) => [&pair.x, &pair.y].iter().all(|stage| clean(stage, cleanup)) && harmless(pair, &before),
        None => before == after && !attack.steps.iter().any(by_others),
    };
    if !cleaned {
        pair.renew();
    }
    verdict
}

fn clean(stage: &Stage, cleanup: &[String]) -> bool {
    let statements: Vec<String> = cleanup.iter().flat_map(|statement| stage.expand(statement)).collect();
    stage.superuser().batch_execute(&statements.join("\n")).is_ok()
}

fn harmless(pair: &Pair, before: &[String; 2]) -> bool {
    [&pair.x, &pair.y].map(Stage::fingerprint) == *before
}

fn perform(stage: &Stage, attack: &Attack, attacker: &str) -> Vec<Line> {
    let mut sessions: HashMap<String, Session> = HashMap::new();
    let (mut speaker, mut tenants) = ("attacker".to_owned(), HashMap::from([("victim".to_owned(), 'B')]));
    let mut lines: Vec<Line> = Vec::new();
    let mut shut_out = None;
    for (number, step) in attack.steps.iter().enumerate() {
        let who = if is_attacker(&speaker) { attacker } else { &speaker };
        if let Step::Connect(options) = step {
            let options = stage.expand(options).remove(0);
            sessions.remove(&speaker);
            let opened = Session::open(stage, who, &options);
            let refused = opened.as_ref().err().and_then(|e| e.as_db_error()).map(|e| e.code().code().to_owned());
            let text = format!("session {}", refused.as_deref().unwrap_or("begins"));
            let error = refused.map(|code| (code, String::new()));
            shut_out.clone_from(&error);
            lines.push(line(&speaker, false, options, Answer { text, rows: vec![], error }));
            if let Ok(session) = opened {
                sessions.insert(speaker.clone(), session);
            }
        }
        if let Step::Session(name) = step {
            name.clone_into(&mut speaker);
        }
        let pins = matches!(step, Step::Pin(_));
        let who = if is_attacker(&speaker) { attacker } else { &speaker }.to_owned();
        if (pins || matches!(step, Step::Send(_))) && !sessions.contains_key(&speaker) {
            if let Some((code, _)) = shut_out.clone() {
                let answer = Answer { text: "not let in".to_owned(), rows: vec![], error: Some((code, String::new())) };
                let mut line = line(&speaker, false, String::new(), answer);
                line.last = number + 1 == attack.steps.len();
                lines.push(line);
                continue;
            }
            let mut session = Session::open(stage, &who, "").unwrap_or_else(|e| panic!("{who}: {e:?}"));
            let tenant = tenants.get(&speaker).copied().unwrap_or('A');
            let inside = ["app", "tapp", "viewer", "owner", "victim"].contains(&who.as_str());
            if inside {
                session.pin(stage, &who, Some(tenant));
            }
            sessions.insert(speaker.clone(), session);
        }
        let Some(session) = sessions.get_mut(&speaker) else { continue };
        match step {
            Step::Pin(tenant) => {
                session.pin(stage, &who, *tenant);
                tenants.insert(speaker.clone(), tenant.unwrap_or('-'));
            }
            Step::Send(sql) => {
                let by_right = !is_attacker(&speaker) || tenants.get(&speaker) == Some(&'B');
                for sql in stage.expand(sql) {
                    let mut answer = session.send(&sql);
                    answer.text = answer.text.replace(&stage.db.name, "the database");
                    let mut line = line(&speaker, by_right, sql, answer);
                    line.last = number + 1 == attack.steps.len();
                    lines.push(line);
                }
            }
            _ => {}
        }
    }
    lines
}

fn is_attacker(speaker: &str) -> bool {
    ["attacker", "second"].contains(&speaker)
}

fn line(speaker: &str, by_right: bool, sql: String, answer: Answer) -> Line {
    Line { speaker: speaker.to_owned(), by_right, sql, answer, last: false }
}

fn compare(x: &[Line], y: &[Line], verdict: &mut Verdict) {
    for (x, y) in x.iter().zip(y) {
        let codes = [x, y].map(|line| line.answer.error.as_ref().map(|error| error.0.as_str()));
        if x.by_right {
            // Whoever is not the attacker must be able to do its work, and the same in both.
            if let (Some(code), false) = (codes[0], is_attacker(&x.speaker)) {
                verdict.leaks.push(format!("{} is hindered: {code} {}\n    {}", x.speaker, x.sql, x.answer.text));
            }
            continue;
        }
        if x.answer.text != y.answer.text {
            verdict
                .leaks
                .push(format!("{}\n    with the victim: {}\n    without: {}", x.sql, x.answer.text, y.answer.text));
        }
        for line in [x, y] {
            if line.answer.text.contains(CANARY) {
                verdict.leaks.push(format!("{}\n    shows {}", line.sql, line.answer.text));
            }
        }
    }
    if x.len() != y.len() {
        verdict.leaks.push(format!("{} messages with the victim, {} without", x.len(), y.len()));
    }
}

fn expect(expected: &Expected, line: &Line, verdict: &mut Verdict) {
    let answer = &line.answer;
    let met = match expected {
        Expected::Same => true,
        Expected::Rows(rows) => answer.error.is_none() && answer.rows.len() == *rows,
        Expected::Value(value) => answer.rows.first().is_some_and(|row| row.split('|').next() == Some(value)),
        Expected::Refused(codes, begins) => {
            answer.error.as_ref().is_some_and(|(code, message)| codes.contains(code) && message.starts_with(begins))
        }
    };
    if !met {
        verdict.unexpected.push(format!("{}\n    {expected:?}, but: {}", line.sql, answer.text));
    }
}
