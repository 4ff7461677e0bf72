//! The red-team suite against the brief's own design: one policy a table, GRANT ALL, keys of one column. A suite that
//! found nothing there would prove nothing here.

use std::collections::BTreeMap;

use stormops_tests::cluster;
use stormops_tests::redteam::{Naive, Pair, Schema, attacks, play};

#[test]
fn the_naive_schema_leaks_class_by_class() {
    // Its setting is a placeholder, as it is for everybody without a library that defines it.
    let mut pair = Pair::new(Schema::Naive);
    cluster().configure(&["shared_preload_libraries = ''"]);
    pair.renew();

    let (mut found, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for attack in attacks("attacks").iter().filter(|attack| attack.naive != Naive::Skips) {
        // All roles are alike there.
        let verdict = play(&mut pair, attack, &attack.attackers[0]);
        if verdict.leaks.is_empty() == (attack.naive == Naive::Leaks) {
            wrong.push(format!("{:?} was due, but {}", attack.naive, verdict.describe()));
        }
        *found.entry(attack.class.clone()).or_default() += usize::from(!verdict.leaks.is_empty());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for class in [
        "a_context",
        "c_functions",
        "d_views",
        "e_writes",
        "f_pools",
        "g_shared",
        "i_engine",
        "j_lifecycle",
        "k_numbers",
    ] {
        assert!(found.get(class).is_some_and(|leaks| *leaks > 0), "{class}: {found:?}");
    }
}
