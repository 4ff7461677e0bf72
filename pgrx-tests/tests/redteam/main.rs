//! The red-team suite against StormOps: no attack learns, changes or hinders anything of another tenant.

use std::sync::{Mutex, OnceLock};

use stormops_tests::redteam::{Attack, CANARY, CLOSE_COMMANDS, OPEN_COMMANDS, Pair, Schema, Verdict, attacks, play};
use stormops_tests::{cluster, twins};

/// One pair for all: attacks take turns, since what they do to roles is the cluster's.
fn pair() -> std::sync::MutexGuard<'static, Pair> {
    static PAIR: OnceLock<Mutex<Pair>> = OnceLock::new();
    let pair = PAIR.get_or_init(|| Mutex::new(Pair::new(Schema::Ours)));
    pair.lock().unwrap_or_else(|broken| {
        let mut pair = broken.into_inner();
        pair.renew();
        pair
    })
}

fn verdicts(attacks: &[Attack]) -> Vec<Verdict> {
    let pair = &mut *pair();
    attacks
        .iter()
        .flat_map(|attack| attack.attackers.iter().map(move |who| (attack, who)))
        .map(|(attack, who)| play(pair, attack, who))
        .collect()
}

#[track_caller]
fn all_fail(attacks: &[Attack]) {
    assert!(!attacks.is_empty());
    let red: Vec<String> = verdicts(attacks).iter().filter(|v| v.red()).map(Verdict::describe).collect();
    assert!(red.is_empty(), "{} attacks succeed:\n{}", red.len(), red.join("\n"));
}

macro_rules! classes {
    ($($class:ident)*) => {
        $(#[test]
        fn $class() {
            let mut attacks = attacks("attacks");
            attacks.retain(|attack| attack.class == stringify!($class));
            all_fail(&attacks);
        })*

        #[test]
        fn every_file_is_played() {
            for attack in attacks("attacks") {
                assert!([$(stringify!($class)),*].contains(&attack.class.as_str()), "{}", attack.class);
            }
        }
    };
}

classes! { a_context b_roles c_functions d_views e_writes f_pools g_shared i_engine j_lifecycle k_numbers l_packaging }

/// True if the library has a setting or a function of this name.
fn library_has(question: &str) -> bool {
    pair().x.superuser().query_one(question, &[]).expect("an answer").get(0)
}

/// What the guard refuses. Strict as soon as the library has its switches; until then it says what is open.
#[test]
fn the_guard() {
    if library_has("SELECT EXISTS (SELECT FROM pg_settings WHERE name LIKE 'stormops.guard%')") {
        pair().mutate(&[CLOSE_COMMANDS]);
        all_fail(&attacks("guard"));
        pair().restore(&[OPEN_COMMANDS]);
    } else {
        for verdict in verdicts(&attacks("guard")).iter().filter(|verdict| verdict.red()) {
            eprintln!("open without the guard: {}", verdict.describe());
        }
    }
}

/// Each of its switches, off alone, lets an attack succeed.
#[test]
fn each_switch_of_the_guard_is_missed() {
    let mut attacks = attacks("guard");
    attacks.extend(
        stormops_tests::redteam::attacks("attacks").into_iter().filter(|a| ["109", "183", "10b"].contains(&&*a.id)),
    );
    let pair = &mut *pair();
    let switches = "SELECT name FROM pg_settings WHERE name LIKE 'stormops.guard%' AND vartype = 'bool' ORDER BY name";
    let switches = pair.x.superuser().query(switches, &[]).expect("settings");
    for switch in switches.iter().map(|row| row.get::<_, String>(0)) {
        let set =
            |to: &str| format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {to}', current_database()); END $$;");
        pair.mutate(&[CLOSE_COMMANDS, &set(&format!("SET {switch} = off"))]);
        let missed = attacks.iter().any(|attack| play(pair, attack, attack.attackers.last().expect("one")).red());
        pair.restore(&[&set(&format!("RESET {switch}")), OPEN_COMMANDS]);
        assert!(missed, "no attack succeeds without {switch}");
    }
}

#[test]
fn the_login() {
    if library_has("SELECT to_regproc('stormops.login') IS NOT NULL") {
        all_fail(&attacks("login"));
    } else {
        eprintln!("not played: this library has no login()");
    }
}

/// 199: a dump by an application is refused, or is its own tenant's.
#[test]
fn a_dump_by_an_application_shows_nothing() {
    let pair = pair();
    for role in ["app", "tapp"] {
        for option in ["--enable-row-security", "--data-only"] {
            let dump = cluster().program("pg_dump", role, &pair.x.db.name).args(["-n", "stormops", option]).output();
            let dump = dump.expect("pg_dump");
            let text = String::from_utf8_lossy(&dump.stdout);
            assert!(
                !dump.status.success() && !text.contains(CANARY) && !text.contains(&twins::id(2).to_string()),
                "{role} {option}"
            );
        }
    }
}
