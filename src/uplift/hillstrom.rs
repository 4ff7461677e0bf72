//! A fitted uplift model on a real trial: the published numbers of its ranking.
//!
//! `hillstrom.bin` is the ranking alone of the 42,693 customers of Hillstrom's trial of 2008 who got the women's e-mail
//! or none, by the score of a T-learner: best score first, three bits a customer, the lowest first: treated, visited,
//! whether the score is less than the one before. Equal scores stand in order of those bits. No attribute of a customer
//! is in it, and no score: none of these statistics looks at more than the order.

use super::curve;
use super::ranking::Ranking;
use super::rate::rate;
use super::trial::Trial;
use super::{assert_near, fixture::Raw};

const RANKING: &[u8] = include_bytes!("hillstrom.bin");
const CUSTOMERS: usize = 42_693;

fn customers() -> Vec<Raw> {
    let bit = |i: usize| RANKING[i / 8] >> (i % 8) & 1;
    let mut score = 0.0;
    let customer = |i| {
        score -= f64::from(bit(3 * i + 2));
        (score, bit(3 * i) == 1, f64::from(bit(3 * i + 1)), None)
    };
    (0..CUSTOMERS).map(customer).collect()
}

/// The counts that are known of the trial.
#[test]
fn these_are_hillstroms_customers() {
    let trial = Trial::of(customers().into_iter());
    let ranking = Ranking::new(&trial);
    assert_eq!((ranking.treated.cases, ranking.treated.events), (21_387, 3_238));
    assert_eq!((ranking.control.cases, ranking.control.events), (21_306, 2_262));
    assert_eq!(ranking.groups().count(), 30_996);
}

/// scikit-uplift 0.5.1: qini_auc_score, uplift_auc_score.
#[test]
fn the_curves_of_a_fitted_model() {
    let trial = Trial::of(customers().into_iter());
    let areas = curve::areas(&Ranking::new(&trial)).unwrap();
    assert_near(areas.qini.unwrap(), 0.06545938825410966, 1e-12);
    assert_near(areas.auuc.unwrap(), 0.029979019310585556, 1e-12);
}

/// scikit-uplift 0.5.1: uplift_at_k(strategy='overall').
#[test]
fn the_best_of_a_fitted_model() {
    let trial = Trial::of(customers().into_iter());
    let ranking = Ranking::new(&trial);
    for (share, uplift) in [(0.1, 0.056714283958377965), (0.2, 0.0737419167351841), (0.3, 0.07270210494817558)] {
        assert_near(ranking.top(share).unwrap().uplift(), uplift, 1e-12);
    }
}

/// The definition in numpy.
#[test]
fn the_rates_of_a_fitted_model() {
    let trial = Trial::of(customers().into_iter());
    let ranking = Ranking::new(&trial);
    let rate = rate(&ranking, &ranking.effects().unwrap());
    assert_near(rate.autoc.value, 0.0176018598865433, 1e-12);
    assert_near(rate.autoc.se.unwrap(), 0.003463208561, 1e-9);
    assert_near(rate.qini.value, 0.007824878049924572, 1e-12);
    assert_near(rate.qini.se.unwrap(), 0.000976460688, 1e-9);
}
