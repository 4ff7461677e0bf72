use super::*;
use crate::statistics::draws::Draws;
use crate::uplift::sample::Row;

const MODE: &str = r#"{"confidence": 0.5, "exploration": 0.1, "holdout": 0.2, "breakeven_uplift": 0.05"#;

fn parameters(more: &str) -> target::Parameters {
    serde_json::from_str(&format!("{MODE}{more}}}")).unwrap()
}

fn rule(more: &str) -> Target {
    Target::Rule(Box::new(parameters(more)))
}

/// A world in which is known what every policy earns: conversions are 0.1, and the score more if treated. Logged by the
/// mode above.
fn logged(seed: u64, n: usize) -> Vec<Logged> {
    let mut draws = Draws::new(seed);
    let row = |i: usize| {
        let score = draws.next() * 0.4 - 0.1;
        let chance = 0.8 * if score >= 0.05 { 0.9 } else { 0.1 };
        let treated = draws.next() < chance;
        let converted = draws.next() < 0.1 + if treated { score } else { 0.0 };
        let propensity = if treated { chance } else { 1.0 - chance };
        let id = (i as u128).to_be_bytes();
        Logged::new(&id, (treated, propensity), (score, 0.05), converted, (None, None)).unwrap()
    };
    let mut rows: Vec<_> = (0..n).map(row).collect();
    rows.sort();
    rows
}

/// The mean of 0.1 + chance * (score - 0.05) over the scores of that world.
fn truth(target: &Target, rows: &[Logged]) -> f64 {
    let chances = target.chances(rows);
    let earned = rows.iter().zip(chances).map(|(row, chance)| 0.1 + chance * (row.score() - 0.05));
    earned.sum::<f64>() / rows.len() as f64
}

#[test]
fn the_estimates_are_right_within_their_errors() {
    let targets = [Target::Always(true), Target::Always(false), rule(""), rule(r#", "capacity": 250"#)];
    for target in &targets {
        let (mut off, mut covered) = ([0.0f64; 4], [0; 4]);
        for seed in 0..40 {
            let rows = logged(seed, 2000);
            let log = Log::new(&rows, parameters("").prices());
            let valuation = log.value(target);
            assert_eq!((valuation.status, valuation.unsupported_share), ("ok", Some(0.0)));
            let e = valuation.estimates.unwrap();
            for (i, found) in [e.ips, e.snips.unwrap(), e.direct, e.doubly_robust].into_iter().enumerate() {
                let z = (found.value - truth(target, &rows)) / found.se.unwrap();
                off[i] += z / 40.0;
                covered[i] += i32::from(z.abs() < 1.96);
            }
        }
        // Forty replays: the mean z has an error of 0.16. Direct may be biased, and knows nothing of it.
        for i in [0, 1, 3] {
            assert!(off[i].abs() < 0.6 && covered[i] >= 34, "{target:?}: {off:?}, {covered:?}");
        }
        assert!(covered[2] >= 28, "{target:?}: {off:?}, {covered:?}");
    }
}

#[test]
fn the_loggers_own_value_is_the_mean_of_what_happened() {
    let rows = logged(7, 3000);
    let log = Log::new(&rows, parameters("").prices());
    let valuation = log.value(&rule(""));
    let happened = rows.iter().map(|row| f64::from(row.converted()) - if row.treated() { 0.05 } else { 0.0 });
    let mean = happened.sum::<f64>() / rows.len() as f64;
    let e = valuation.estimates.unwrap();
    for value in [e.ips.value, e.snips.unwrap().value] {
        assert!((value - mean).abs() < 1e-12, "{value} is not {mean}");
    }
    assert!((e.effective - 3000.0).abs() < 1e-6 && (e.mean_weight.value - 1.0).abs() < 1e-12);
    assert_eq!(e.mean_weight.z(1.0), None, "weights that do not vary are no reason for suspicion");
}

#[test]
fn where_the_log_took_no_chance_it_has_no_answer() {
    let mut rows = logged(3, 2000);
    let sure = |treated, score: f64, i: u128| {
        Logged::new(&i.to_be_bytes(), (treated, 1.0), (score, 0.05), false, (None, None)).unwrap()
    };
    rows.push(sure(true, 0.2, 9001));
    rows.sort();
    let log = Log::new(&rows, parameters("").prices());
    let nobody = log.value(&Target::Always(false));
    assert_eq!(nobody.status, "unsupported");
    assert!(nobody.estimates.is_none() && nobody.unsupported_share.unwrap() > 0.0001);
    assert_eq!(log.value(&Target::Always(true)).status, "ok");
    let few = logged(4, 60);
    let log = Log::new(&few, parameters("").prices());
    let valuation = log.value(&Target::Always(true));
    assert!(valuation.status == "small_sample" && valuation.estimates.is_some());
    assert_eq!(Log::new(&[], parameters("").prices()).value(&Target::Always(true)).status, "no_rows");
}

#[test]
fn wrong_propensities_are_suspected() {
    let rows: Vec<_> = logged(5, 4000)
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let id = (i as u128).to_be_bytes();
            Logged::new(&id, (row.treated(), 0.7), (row.score(), 0.05), row.converted(), (None, None)).unwrap()
        })
        .collect();
    assert!(Log::new(&rows, parameters("").prices()).value(&Target::Always(true)).weights_suspect);
}

#[test]
fn money_is_a_propertys_own_or_the_policys_and_never_mixed_with_jobs() {
    let own = |i: u128, margin, cost| {
        Logged::new(&i.to_be_bytes(), (i.is_multiple_of(2), 0.5), (0.1, 0.05), i.is_multiple_of(4), (margin, cost))
            .unwrap()
    };
    let rows =
        [own(1, Some(1000.0), Some(50.0)), own(2, None, None), own(3, None, Some(0.0)), own(4, Some(10.0), None)];
    let prices = parameters(r#", "margin": 200, "contact_cost": 20"#).prices();
    let of = |i: usize| (prices.of(&rows[i]).margin, prices.of(&rows[i]).cost);
    assert_eq!([of(0), of(1), of(2), of(3)], [(1000.0, 50.0), (200.0, 20.0), (200.0, 0.0), (10.0, 20.0)]);
    assert!(Log::new(&rows, prices).in_money());
    let jobs = parameters("").prices();
    assert_eq!(jobs.of(&rows[1]), target::Price { margin: 1.0, cost: 0.05, in_money: false });
    assert_eq!(Log::new(&rows, jobs).value(&Target::Always(true)).status, "mixed_units");
}

#[test]
fn a_limit_takes_the_best_and_swaps_a_fixed_number() {
    let rows = logged(11, 1000);
    let chances = rule(r#", "capacity": 100"#).chances(&rows);
    let inside = 0.8 * 0.9;
    let outside = 0.8 * 10.0 / 900.0;
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(chances[..100].iter().all(|&c| near(c, inside)) && chances[100..].iter().all(|&c| near(c, outside)));
    let budget = rule(r#", "margin": 100, "contact_cost": 2.5, "budget": 26"#).chances(&rows);
    assert_eq!(budget.iter().filter(|&&c| near(c, 0.8 * 0.9)).count(), 10);
    let none = rule(r#", "margin": 100, "contact_cost": 90, "capacity": 10"#).chances(&rows);
    assert!(none.iter().all(|&c| c == 0.0), "nobody is wanted, so nobody changes places");
}

#[test]
fn a_gain_is_paired() {
    let rows = logged(12, 4000);
    let log = Log::new(&rows, parameters("").prices());
    let [all, none] = [true, false].map(|treat| log.value(&Target::Always(treat)));
    let difference = gain(&all.parts, &none.parts).unwrap();
    let value = |v: &Valuation| v.estimates.as_ref().unwrap().doubly_robust.value;
    assert!((difference.value - (value(&all) - value(&none))).abs() < 1e-12);
    assert!((difference.value - 0.05).abs() < 4.0 * difference.se.unwrap());
    assert_eq!(gain(&[], &none.parts), None);
}

#[test]
fn what_is_no_decision_is_left_out() {
    let new = |propensity, score, sd, margin| {
        Logged::new(&[0; 16], (true, propensity), (score, sd), true, (margin, None)).is_some()
    };
    assert!(new(1.0, -1.0, 1.0, None));
    for (propensity, score, sd, margin) in [
        (0.0, 0.1, 0.1, None),
        (-0.5, 0.1, 0.1, None),
        (1.5, 0.1, 0.1, None),
        (f64::NAN, 0.1, 0.1, None),
        (0.5, 1.1, 0.1, None),
        (0.5, f64::NAN, 0.1, None),
        (0.5, 0.1, 0.0, None),
        (0.5, 0.1, 0.1, Some(f64::INFINITY)),
        (0.5, 0.1, 0.1, Some(-2.0)),
    ] {
        assert!(!new(propensity, score, sd, margin), "{propensity} {score} {sd} {margin:?}");
    }
    assert!(logged(1, 20).iter().all(Row::is_valid));
}

#[test]
fn parameters_outside_their_ranges_are_named() {
    for (more, word) in [
        (r#", "margin": 0"#, "margin"),
        (r#", "capacity": 0"#, "capacity"),
        (r#", "budget": -1"#, "budget"),
        (r#", "contact_cost": 1e10"#, "contact_cost"),
    ] {
        assert!(parameters(more).fault().unwrap().starts_with(word), "{more}");
    }
    assert_eq!(parameters(r#", "z": 0, "policy_mode": "x", "default_sd": 0.1, "outcome_days": 9"#).fault(), None);
    assert!(serde_json::from_str::<target::Parameters>(r#"{"confidence": 0.5}"#).is_err());
}
