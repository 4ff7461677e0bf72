//! Each defence is there for a reason: taken away alone, it lets an attack of the red-team suite succeed.

use std::collections::BTreeSet;

use stormops_tests::redteam::{Attack, Pair, Schema, attacks, play};

/// `redteam/mutations.sql`: what is taken away and how, how it comes back, and which attacks notice.
struct Mutation {
    defence: &'static str,
    removal: Vec<&'static str>,
    undo: Vec<&'static str>,
    noticed_by: Vec<(&'static str, &'static str, usize)>,
}

fn mutations() -> Vec<Mutation> {
    let text = include_str!("../../redteam/mutations.sql");
    text.split("\n--# ").skip(1).map(parse).collect()
}

fn parse(text: &'static str) -> Mutation {
    let (header, body) = text.split_once('\n').expect("a header");
    let (defence, noticed_by) = header.split_once(" | ").expect("--# defence | attacks");
    let noticed_by = noticed_by.split(", ").map(|attack| {
        let [id, attacker, least] = attack.split(' ').collect::<Vec<_>>()[..] else { panic!("{header}") };
        (id, attacker, least.parse().expect("a number of statements"))
    });
    let (removal, undo) = body.split_once("\\undo\n").unwrap_or((body, ""));
    let statements = |text: &'static str| text.lines().filter(|line| !line.trim().is_empty()).collect();
    Mutation { defence, removal: statements(removal), undo: statements(undo), noticed_by: noticed_by.collect() }
}

/// In how many statements an attack succeeds.
fn red(pair: &mut Pair, attacks: &[Attack], id: &str, attacker: &str) -> usize {
    let attack = attacks.iter().find(|attack| attack.id == id).unwrap_or_else(|| panic!("no attack {id}"));
    let verdict = play(pair, attack, attacker);
    verdict.leaks.len().max(verdict.unexpected.len())
}

/// One test for all, in one thread: roles are the cluster's.
#[test]
fn each_defence_is_missed() {
    let (attacks, mut pair) = (attacks("attacks"), Pair::new(Schema::Ours));
    let (mut missed, mut played) = (Vec::new(), BTreeSet::new());
    for Mutation { defence, removal, undo, noticed_by } in mutations() {
        pair.mutate(&removal);
        for (id, attacker, least) in noticed_by {
            let red = red(&mut pair, &attacks, id, attacker);
            if red < least {
                missed
                    .push(format!("without \"{defence}\" attack {id} as {attacker} succeeds {red} times, not {least}"));
            }
            played.insert((id, attacker));
        }
        pair.restore(&undo);
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // With everything back in its place all of them fail again.
    for (id, attacker) in played {
        assert_eq!(red(&mut pair, &attacks, id, attacker), 0, "attack {id} as {attacker}, nothing taken away");
    }
}
