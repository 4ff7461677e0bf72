//! The numbers that the statistics of means are held to, computed with the package beside each.

use super::clusters::{Cluster, robust};
use super::goldens::{near, near_pair};
use super::moments::{Moments, cuped, welch};

/// Fifteen leads: measure and covariate.
fn fixture() -> (Moments, Moments) {
    let collect = |pairs: &[(f64, f64)]| {
        let mut moments = Moments::default();
        pairs.iter().for_each(|(y, x)| moments.push(*y, *x));
        moments
    };
    let treated = [(3., 2.), (0., 1.), (7., 6.), (4., 3.), (9., 8.), (1., 2.), (5., 4.), (8., 9.)];
    let control = [(1., 1.), (2., 3.), (0., 1.), (5., 6.), (3., 2.), (6., 7.), (2., 3.)];
    (collect(&treated), collect(&control))
}

#[test]
fn welch_and_cuped() {
    let (treated, control) = fixture();
    let plain = welch(&treated, &control).unwrap();
    near(plain.p(), 0.19832797499337657, 1e-9); // scipy 1.17.1 ttest_ind(equal_var=False)
    near(plain.df, 12.167305993721623, 1e-9);
    near_pair(plain.interval(0.05), (-1.1444871282448554, 4.965915699673427), 1e-9);
    let (slope, adjusted) = cuped(&treated, &control).unwrap();
    // statsmodels 0.15.0 OLS(y ~ treated + x): the slope is that within the arms. gbstats 0.8.0 takes it over both
    // together, 1.00735, in which an effect of the treatment has its part.
    near(slope, 0.9726438073824241, 1e-9);
    near(adjusted.estimate, 0.8512272812441439, 1e-9);
    near(adjusted.se, 0.49952295481905196, 1e-9); // Welch's way with unequal arms; OLS, with one variance, 0.51018
    // Equal arms: all of OLS.
    let collect = |pairs: &[(f64, f64)]| {
        let mut moments = Moments::default();
        pairs.iter().for_each(|(y, x)| moments.push(*y, *x));
        moments
    };
    let seven = collect(&[(3., 2.), (0., 1.), (7., 6.), (4., 3.), (9., 8.), (1., 2.), (5., 4.)]);
    let (slope, adjusted) = cuped(&seven, &control).unwrap();
    near(slope, 1.0564516129032264, 1e-9);
    near(adjusted.estimate, 0.9758064516129026, 1e-9);
    near(adjusted.se, 0.4911226948657732, 1e-9);
    let flat = Moments { m2_x: 0.0, c_xy: 0.0, ..treated };
    assert_eq!(cuped(&flat, &Moments { mean_x: flat.mean_x, m2_x: 0.0, c_xy: 0.0, ..control }).unwrap().0, 0.0);
}

#[test]
fn moments_merge_in_any_way_and_do_not_cancel() {
    let mut whole = Moments::default();
    let mut parts = [Moments::default(); 3];
    for i in 0..3000 {
        let (y, x) = (1e9 + f64::from(i % 7), 1e9 + f64::from(i % 11));
        whole.push(y, x);
        parts[i as usize % 3].push(y, x);
    }
    parts[0].push(f64::NAN, 1.0);
    let merged = parts[2].merge(Moments::default()).merge(parts[0]).merge(parts[1]);
    assert_eq!((merged.n, merged.n_invalid), (3000.0, 1.0));
    near(merged.variance_y().unwrap(), whole.variance_y().unwrap(), 1e-9);
    near(whole.variance_y().unwrap(), 4.0, 1e-2);
    near(merged.c_xy, whole.c_xy, 1e-4);
}

/// CR2 and Satterthwaite's degrees of freedom by their definition, with the hat matrix of each cluster's rows, in numpy
/// 2.4.6. The estimate is that of statsmodels 0.15.0; its CR1, with clusters - 1 degrees, says 0.2036 with 4 of the first
/// and 0.0281 with 19 of the second, of whose leads two clusters hold most: p = 0.039.
#[test]
fn cluster_robust_is_that_of_bell_and_mccaffrey() {
    let few = [(3., 2., 2., 0.), (4., 1., 1., 1.), (0., 0., 5., 2.), (2., 2., 3., 1.), (6., 3., 0., 0.)];
    let treated = [0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 2, 0, 1, 1].map(f64::from);
    let control = [0, 2, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 2, 0, 1, 0, 1].map(f64::from);
    let mut unequal = vec![(100., 24., 0., 0.), (0., 0., 90., 16.)];
    unequal.extend(treated.into_iter().zip(control).map(|(s1, s0)| (2., s1, 3., s0)));
    for (clusters, estimate, se, df, p) in [
        (few.to_vec(), 0.1696969696969695, 0.1985357021285924, 3.6811743085797395, 0.44474187789096253),
        (unequal, 0.0625, 0.031172003371432055, 4.015985693322366, 0.11517466683270784),
    ] {
        let cluster = |(treated_n, treated_sum, control_n, control_sum)| Cluster {
            treated_n,
            treated_sum,
            control_n,
            control_sum,
        };
        let clusters: Vec<Cluster> = clusters.into_iter().map(cluster).collect();
        let got = robust(&clusters).unwrap();
        near(got.estimate, estimate, 1e-12);
        near(got.se, se, 1e-12);
        near(got.df, df, 1e-12);
        near(got.p(), p, 1e-9);
    }
    assert!(robust(&[]).is_none());
}
