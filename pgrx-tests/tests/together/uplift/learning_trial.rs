//! The learner on a public trial, beside the learners of scikit-uplift and EconML: Hillstrom's women's e-mail against
//! none, visits, the chance of one half known. All are judged on the same five folds, by the definitions that
//! `uplift_metrics()` is held to. The peers' numbers are what `bench/learn_references.py hillstrom` printed, with
//! scikit-uplift 0.5.1, EconML 0.17.0 and LightGBM 4.6.0.

use std::io::Write;

use stormops_tests::{Db, get};

use crate::experiment::trial;

/// Learner, AUTOC, its standard error, the area of the Qini curve over n squared.
const PEERS: [(&str, f64, f64, f64); 5] = [
    ("EconML LinearDML", 0.0218731309, 0.002820609488, 0.004118951435),
    ("EconML CausalForestDML", 0.02292401642, 0.003303241973, 0.003734811059),
    ("EconML DRLearner, LightGBM", 0.02410256454, 0.003407236512, 0.004052009957),
    ("scikit-uplift TwoModels, LightGBM", 0.02192630118, 0.003491860634, 0.003785641196),
    ("scikit-uplift ClassTransformation, LightGBM", 0.01697988334, 0.003452531819, 0.003194302025),
];

#[test]
fn it_ranks_hillstroms_customers_as_well_as_the_best() {
    let db = Db::new("hillstrom_learned");
    let mut client = db.superuser();
    let columns = "recency int, history_segment text, history float8, mens int, womens int, zip_code text, newbie int,
        channel text, segment text, visit int, conversion int, spend float8, at int GENERATED ALWAYS AS IDENTITY";
    client.batch_execute(&format!("CREATE TABLE hillstrom ({columns})")).expect("a table");
    let copy = "COPY hillstrom (recency, history_segment, history, mens, womens, zip_code, newbie, channel, segment,
        visit, conversion, spend) FROM STDIN (FORMAT csv, HEADER)";
    let mut copy = client.copy_in(copy).expect("copy");
    copy.write_all(&trial("hillstrom")).expect("rows");
    copy.finish().expect("rows");
    let learn = "SELECT stormops_internal.learn_agg('{recency,history,mens,womens,newbie,zip_code,channel}', '{1,2,3,4,5}', '{1,2}',
            h.id, h.segment = 'Womens E-Mail', h.visit, 0.5, ARRAY[h.recency, h.history, h.mens, h.womens, h.newbie]::float8[],
            ARRAY[h.zip_code, h.channel])
        FROM (SELECT *, md5('hillstrom ' || at)::uuid AS id FROM hillstrom WHERE segment <> 'Mens E-Mail' ORDER BY 14) AS h";
    let learned: serde_json::Value = get(&mut client, learn, &[]);
    let report = &learned["report"];
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"));
    assert_eq!((number("n"), number("treated"), number("held")), (42_693.0, 21_387.0, 21_306.0));
    let (best, autoc, se, _) = PEERS.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("peers");
    assert!(number("autoc") > autoc - se, "{} of {best}'s {autoc} +- {se}: {report}", number("autoc"));
    let areas = PEERS.map(|peer| peer.3);
    assert!(areas.iter().filter(|area| number("qini_area") > **area).count() >= 3, "{areas:?}: {report}");
    assert!((number("slope") - 1.0).abs() < 3.0 * number("slope_se"), "{report}");
    assert!(number("calibration_error") < 2.0 * number("calibration_by_chance"), "{report}");
}
