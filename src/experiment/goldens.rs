//! The numbers that the statistics are held to. Where no other source is named they are those of this project's
//! statistics notes, computed with the package beside each.

use super::bayes::{expected_loss, probability_better};
use super::compare::{Plan, Verdict, compare};
use super::power::{leads_per_arm, power};
use super::proportions::{Arm, fisher, newcombe, pooled_z, wilson};
use super::srm::{self, sample_ratio};
use super::{bernoulli, one_sided, relative, score, sequential};
use crate::statistics::multiplicity::benjamini_hochberg;
use crate::statistics::normal;

/// Hillstrom's women's e-mail against none: visits and purchases.
const VISITS: [u64; 4] = [3238, 21387, 2262, 21306];
const PURCHASES: [u64; 4] = [189, 21387, 122, 21306];
const Z: f64 = 1.959963984540054;

fn arms([x1, n1, x0, n0]: [u64; 4]) -> (Arm, Arm) {
    (Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap())
}

#[track_caller]
pub fn near(got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance * expected.abs().max(1e-300), "{got:e}, not {expected:e}");
}

#[track_caller]
pub fn near_pair(got: (f64, f64), expected: (f64, f64), tolerance: f64) {
    let far = (got.0 - expected.0).abs().max((got.1 - expected.1).abs());
    assert!(far <= tolerance, "{got:?}, not {expected:?}");
}

#[test]
fn z_test_is_that_of_statsmodels() {
    // statsmodels 0.15.0 proportions_ztest
    for (counts, z, p) in [
        (VISITS, 13.949180655258505, 3.1824031593349214e-44),
        (PURCHASES, 3.77956095835785, 0.00015710512910668448),
        ([60, 200, 40, 210], 2.5813343933679, 0.009841919883489151),
    ] {
        let (treated, control) = arms(counts);
        let got = pooled_z(treated, control).unwrap();
        near(got, z, 1e-9);
        near(normal::two_sided(got), p, 1e-9);
    }
}

#[test]
fn fisher_is_that_of_scipy() {
    // scipy 1.17.1 fisher_exact
    for (counts, p) in [
        ([0, 20, 5, 20], 0.04712404712404713),
        ([3, 10, 1, 12], 0.29323308270676685),
        ([20, 20, 0, 20], 1.4508889103849688e-11),
        ([2, 1000, 15, 900], 0.0008274998219143883),
        ([1, 1, 0, 1], 1.0),
        ([5, 5, 5, 5], 1.0),
    ] {
        let (treated, control) = arms(counts);
        near(fisher(treated, control), p, 1e-9);
    }
    // The last three: mpmath 1.4.1 at 80 digits.
    for (counts, p) in [
        ([9, 1_000_000, 30, 1_000_000], 0.0010649039972429669),
        ([9, 1_000_000, 25, 1_000_000], 0.009040613049986844),
        ([9, 1_000_000_000_000, 25, 1_000_000_000_000], 0.00904118549021458),
        ([9, 1_000_000_000_000_000, 25, 1_000_000_000_000_000], 0.009041185490786457),
    ] {
        let (treated, control) = arms(counts);
        near(fisher(treated, control), p, 1e-9);
    }
}

#[test]
fn intervals_of_rates_and_differences() {
    // statsmodels 0.15.0 proportion_confint(method='wilson')
    near_pair(wilson(Arm::new(0, 20).unwrap(), Z), (0.0, 0.1611251580528194), 1e-10);
    near_pair(wilson(Arm::new(3, 10).unwrap(), Z), (0.10779126740630104, 0.6032218525388546), 1e-10);
    // statsmodels 0.15.0 confint_proportions_2indep(method='newcomb')
    for (counts, expected) in [
        (VISITS, (0.03889409535998813, 0.051574342962213596)),
        ([0, 20, 5, 20], (-0.4687008776187441, -0.03776544556663031)),
        ([0, 20, 0, 20], (-0.1611251580528194, 0.1611251580528194)),
        ([1, 1, 0, 1], (-0.12210872068194178, 1.0)),
        ([60, 200, 40, 210], (0.02626994569133681, 0.19140333368211998)),
    ] {
        let (treated, control) = arms(counts);
        near_pair(newcombe(treated, control, Z), expected, 1e-10);
    }
}

#[test]
fn score_interval_is_miettinens_and_nurminens() {
    // A numeric constrained maximum, and diff-binom-confint 0.1.0 to its grid; not statsmodels.
    for (counts, expected) in [
        (VISITS, (0.03889837826933164, 0.05157926430750806)),
        ([5, 20, 5, 20], (-0.2720689392993352, 0.2720689392993352)),
        ([7, 10, 2, 12], (0.11367878512355076, 0.7953565891603016)),
        ([20, 20, 0, 20], (0.8206662925848571, 1.0)),
        ([7, 34, 1, 34], (0.027041626583446686, 0.3452912169662238)),
    ] {
        let (treated, control) = arms(counts);
        near_pair(score::interval(treated, control, Z), expected, 1e-9);
    }
}

/// mpmath 1.4.1 at 80 digits: the greatest likelihood by halving, the ends of the interval by halving.
#[test]
fn score_interval_keeps_its_digits() {
    let n = 1_000_000_000;
    for (counts, expected) in [
        ([5, n, 7, n], (-1.0032955683495702e-08, 5.5460710403714745e-09)),
        ([5, 1000 * n, 0, 1000 * n], (1.1585411793091074e-12, 1.170575768306802e-11)),
        ([3, 1_000_000 * n, 9, 10_000 * n], (-1.7076433437962766e-12, -4.704895499929704e-13)),
        ([n - 10, n, n - 3, n], (-1.5746748114359183e-08, 7.82894946656968e-11)),
    ] {
        let (treated, control) = arms(counts);
        let (low, high) = score::interval(treated, control, Z);
        near(low, expected.0, 1e-7);
        near(high, expected.1, 1e-7);
    }
    let (treated, control) = arms([5, n, 7, n]);
    near(score::z(treated, control, 1e-8), -2.7906979948673745, 1e-9);
}

#[test]
fn promise_is_judged_by_the_score_test() {
    for (counts, z, as_low, verdict) in [
        (VISITS, -1.4726587790527486, Some(0.07042153339761553), Verdict::Inconclusive),
        ([12, 200, 10, 200], -1.6587572523971659, Some(0.048582358730090036), Verdict::Anomaly),
        ([30, 120, 9, 110], 2.4430466, None, Verdict::Ok),
    ] {
        let (treated, control) = arms(counts);
        near(score::z(treated, control, 0.05), z, if as_low.is_some() { 1e-9 } else { 1e-7 });
        if let Some(as_low) = as_low {
            near(one_sided::tails(treated, control, 0.05).as_low, as_low, 1e-9);
        }
        let plan = Plan { alpha: 0.05, promised: 0.05, planned_n: 5000.0 };
        assert_eq!(compare(treated, control, plan).contrast.unwrap().verdict, verdict);
    }
}

#[test]
fn relative_lift() {
    let (treated, control) = arms(VISITS);
    let (lift, se) = relative::delta_method(treated, control).unwrap();
    near(lift, 0.4260550702669102, 1e-10); // gbstats 0.8.0
    near(se, 0.03655896674077684, 1e-10);
    let (low, high) = relative::log_interval(treated, control, Z).unwrap();
    near_pair((low + 1.0, high + 1.0), (1.3561712234724586, 1.4995400493949955), 1e-10); // statsmodels 0.15.0
    let (treated, control) = arms([0, 20, 5, 20]);
    let (low, high) = relative::log_interval(treated, control, Z).unwrap();
    near_pair((low, high + 1.0), (-1.0, 1.53986732125576), 1e-10); // its 'log-adjusted', upper end
    // An arm that converted throughout: statsmodels 0.15.0 proportion_confint(method='wilson'), put together in numpy.
    for (counts, expected) in [
        ([20, 20, 20, 20], (-0.16112515805281957, 0.19207294103470662)),
        ([20, 20, 10, 20], (0.36708019748972864, 2.3411515366241353)),
        ([1, 1, 10, 20], (-0.6013890218207991, 2.3411515366241353)),
    ] {
        let (treated, control) = arms(counts);
        near_pair(relative::log_interval(treated, control, Z).unwrap(), expected, 1e-10);
    }
    let (treated, control) = arms([5, 20, 0, 20]);
    assert!(relative::delta_method(treated, control).is_none());
    assert!(relative::log_interval(treated, control, Z).is_none());
}

#[test]
fn planning() {
    // R 4.2 power.prop.test(p1, p2, power = 0.8)
    for (rate, lift, leads) in [(0.20, 0.05, 1093.739), (0.0, 0.1, 73.37427), (0.5, 0.25, 57.67)] {
        near(leads_per_arm(rate, lift, 0.05).unwrap(), leads, 1e-4);
    }
    assert!((power(0.20, 0.05, leads_per_arm(0.20, 0.05, 0.05).unwrap(), 0.05) - 0.8).abs() < 1e-5);
    near(power(0.10616724866, 0.005, 21306.0, 0.05), 0.3815602592948381, 1e-9); // power_proportions_2indep
    assert!(leads_per_arm(0.2, 0.0, 0.05).is_none() && leads_per_arm(0.9, 0.2, 0.05).is_none());
}

#[test]
fn sample_ratio_mismatch() {
    let equal = [1.0 / 3.0; 3];
    let hillstrom = sample_ratio(&[21387, 21307, 21306], &equal).unwrap();
    near(hillstrom.p, 0.9036929575604196, 1e-9);
    assert_eq!(hillstrom.verdict, srm::Verdict::Ok);
    let off = sample_ratio(&[5200, 4800], &[0.5, 0.5]).unwrap();
    near(off.p, 6.334248366623988e-05, 1e-9);
    near(off.ln_bayes_factor, 3.6538806656899396, 1e-8); // ssrm-test 0.1.5
    near(off.sequential_p, 0.02589046135170989, 1e-8);
    assert_eq!(off.verdict, srm::Verdict::Alarm);
    near(sample_ratio(&[560, 440], &[0.5, 0.5]).unwrap().ln_bayes_factor, 0.606960586535024, 1e-8);
    // An arm without a weight is no degree of freedom.
    near(sample_ratio(&[5200, 4800, 0], &[0.5, 0.5, 0.0]).unwrap().p, 6.334248366623988e-05, 1e-9);
    assert_eq!(sample_ratio(&[3, 2], &[0.5, 0.5]).unwrap().verdict, srm::Verdict::TooFew);
    assert_eq!(sample_ratio(&[0, 0], &[0.5, 0.5]).unwrap().p, 1.0);
    assert!(sample_ratio(&[5], &[1.0]).is_none() && sample_ratio(&[5, 5], &[1.0, f64::NAN]).is_none());
}

#[test]
fn confidence_sequence_is_that_of_gbstats_and_confseq() {
    let rho = sequential::rho(5000.0, 0.05);
    near(rho, 0.03984006677137368, 1e-12);
    let parts = |counts| {
        let (treated, control) = arms(counts);
        let se = (treated.variance() + control.variance()).sqrt();
        (treated.rate() - control.rate(), se, (treated.n + control.n) as f64)
    };
    let (d, se, n) = parts(VISITS);
    near(sequential::half_width(se, n, rho, 0.05), 0.010417028924336161, 1e-12);
    near(sequential::p_value(d, se, n, rho), 1.1646540401833723e-41, 1e-10);
    let (d, se, n) = parts(PURCHASES);
    near(sequential::half_width(se, n, rho, 0.05), 0.002649544398197517, 1e-12);
    near(sequential::ln_evidence(d, se, n, rho).exp(), 138.56752317665516, 1e-12);
    near(sequential::p_value(d, se, n, rho), 0.007216698235452568, 1e-12);
    assert!(sequential::one_sided_width(se, n, rho, 0.05) < sequential::half_width(se, n, rho, 0.05));
    // The mSPRT of Johari et al. is the same evidence: its tau is rho times the standard deviation of one lead.
    let tau = 0.01;
    near(sequential::ln_evidence(d, se, n, tau / (se * n.sqrt())).exp(), 99.62808763679251, 1e-12);
}

#[test]
fn beta_binomial_interval_is_that_of_confseq() {
    let interval = bernoulli::interval(Arm::new(3238, 21387).unwrap(), 5000.0, 0.05, 0.05);
    near_pair(interval, (0.14380871612592955, 0.15917603888832077), 1e-10); // bernoulli_confidence_interval
}

#[test]
fn bayes() {
    let (treated, control) = arms([12, 100, 8, 100]);
    near(probability_better(treated, control), 0.8215916929287, 1e-9);
    near(probability_better(control, treated), 1.0 - 0.8215916929287, 1e-9);
    let (treated, control) = arms([50, 1_000_000, 20, 1_000_000]);
    near(probability_better(treated, control), 0.9998484547986687, 1e-12);
    let (most, _) = arms([100_000, 1 << 53, 0, 1]);
    near(probability_better(most, most), 0.5, 1e-9);
    let (treated, control) = arms(PURCHASES);
    near(probability_better(treated, control), 0.99992384902, 1e-9);
    assert!(expected_loss(treated, control) < 1e-6 && expected_loss(control, treated) > 0.003);
}

#[test]
fn multiplicity() {
    let given = [0.01, 0.04, 0.03, 0.005, 0.2].map(Some);
    for (got, expected) in benjamini_hochberg(&given).into_iter().zip([0.025, 0.05, 0.05, 0.025, 0.2]) {
        near(got.unwrap(), expected, 1e-12);
    }
    assert_eq!(benjamini_hochberg(&[None, Some(0.5), None]), [None, Some(0.5), None]);
    // scipy 1.17.1: scipy.stats.false_discovery_control.
    let given = [0.01, 0.2, 0.03, 0.04, 0.5].map(Some);
    for (got, expected) in benjamini_hochberg(&given).into_iter().zip([0.05, 0.25, 2.0 / 30.0, 2.0 / 30.0, 0.5]) {
        near(got.unwrap(), expected, 1e-12);
    }
    assert!(benjamini_hochberg(&[]).is_empty());
}

#[test]
fn exact_test_is_the_greatest_over_the_nuisance() {
    // Enumerated with numpy, the greatest by scipy 1.17.1 minimize_scalar around the best of 2,001 rates.
    for (counts, as_low, as_high) in [
        ([7, 10, 2, 12], 0.9999888922103559, 0.01718648297796195),
        ([0, 9, 5, 14], 0.017318969372389963, 1.0),
        ([0, 3, 4, 400], 0.7838321642526432, 1.0),
        ([90, 900, 3, 29], 0.19460635722954234, 1.0),
    ] {
        let (treated, control) = arms(counts);
        let tails = one_sided::tails(treated, control, 0.05);
        near(tails.as_low, as_low, 1e-5);
        near(tails.as_high, as_high, 1e-5);
    }
}
