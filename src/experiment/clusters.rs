//! The standard error of a difference when neighbours share hail, crews and roofs.

use super::moments::{Difference, ENOUGH_VALUES, Moments};
use crate::statistics::sum::effective_number;

/// What one cluster has of both arms: leads and the sum of their measure.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    pub treated_n: f64,
    pub treated_sum: f64,
    pub control_n: f64,
    pub control_sum: f64,
}

/// Below so many clusters, or half as many with leads of an arm, the robust error is known too badly.
const FEW: usize = 30;

/// How many clusters have leads: of either arm, of the treated, of the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    pub all: usize,
    treated: usize,
    control: usize,
    /// Of how many equal clusters the leads of the arm that has the fewest would be (Kish 1965).
    effective: f64,
}

impl Groups {
    pub fn of(clusters: &[Cluster]) -> Self {
        let count = |has: fn(&Cluster) -> bool| clusters.iter().filter(|c| has(c)).count();
        let effective = |leads: fn(&Cluster) -> f64| {
            let leads = clusters.iter().map(leads);
            effective_number(leads.clone().sum(), leads.map(|n| n * n).sum())
        };
        Self {
            all: count(|c| c.treated_n + c.control_n > 0.0),
            treated: count(|c| c.treated_n > 0.0),
            control: count(|c| c.control_n > 0.0),
            effective: effective(|c| c.treated_n).min(effective(|c| c.control_n)),
        }
    }

    /// Few clusters, or few that hold most of an arm's leads: then what leads of a cluster share may outweigh all that
    /// the error allows for.
    pub fn are_few(self) -> bool {
        self.all < FEW || self.effective < FEW as f64 / 2.0
    }
}

/// Means of the arms, None if one is empty.
pub fn means(clusters: &[Cluster]) -> Option<(f64, f64)> {
    let sum = |part: fn(&Cluster) -> f64| clusters.iter().map(part).sum::<f64>();
    let (n1, n0) = (sum(|c| c.treated_n), sum(|c| c.control_n));
    (n1 > 0.0 && n0 > 0.0).then(|| (sum(|c| c.treated_sum) / n1, sum(|c| c.control_sum) / n0))
}

/// What one cluster weighs in the difference: of each arm its share, corrected for how far it pulls the arm's mean
/// after itself, by the square root of what its leverage leaves (CR2).
struct Pull {
    treated: f64,
    control: f64,
}

impl Pull {
    fn of(share_of_treated: f64, share_of_control: f64) -> Self {
        Self { treated: 1.0 / (1.0 - share_of_treated).sqrt(), control: 1.0 / (1.0 - share_of_control).sqrt() }
    }
}

/// Difference of means with the bias-reduced cluster-robust standard error CR2 and Student's t with Satterthwaite's
/// degrees of freedom (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018), equal to those of a regression on the
/// arm: where few clusters hold most leads, these alone keep the level. None unless each arm is in two clusters: what
/// one cluster has of an arm equals the arm's mean, and its error would be zero.
pub fn robust(clusters: &[Cluster]) -> Option<Difference> {
    let sum = |part: fn(&Cluster) -> f64| clusters.iter().map(part).sum::<f64>();
    let (n1, n0) = (sum(|c| c.treated_n), sum(|c| c.control_n));
    let found = Groups::of(clusters);
    if found.treated < 2 || found.control < 2 {
        return None;
    }
    let (p1, p0) = means(clusters)?;
    let (mut variance, mut freedom) = (0.0, Freedom::default());
    for c in clusters {
        let (of_treated, of_control) = (c.treated_n / n1, c.control_n / n0);
        let pull = Pull::of(of_treated, of_control);
        let (treated, control) = (c.treated_sum / n1 - of_treated * p1, c.control_sum / n0 - of_control * p0);
        variance += (treated * pull.treated - control * pull.control).powi(2);
        freedom.add(
            of_treated / n1 + of_control / n0,
            of_treated * pull.treated / n1.sqrt(),
            of_control * pull.control / n0.sqrt(),
        );
    }
    // Of clusters that are all alike only rounding is left.
    let size = clusters.iter().map(|c| c.treated_sum.abs() / n1 + c.control_sum.abs() / n0).sum::<f64>();
    let known = variance > (1e-14 * size).powi(2) && freedom.value().is_finite();
    known.then(|| Difference::new(p1 - p0, variance.sqrt(), freedom.value()))
}

/// Satterthwaite's degrees of freedom of that variance, if leads vary alike: the square of the trace over the trace of
/// the square of a matrix with a row for each cluster, d on its diagonal and -(u u' + v v') beside it.
#[derive(Default)]
struct Freedom {
    trace: f64,
    trace_of_square: f64,
    /// Sums over the clusters so far, of u squared, u times v, v squared.
    uu: f64,
    uv: f64,
    vv: f64,
}

impl Freedom {
    fn add(&mut self, d: f64, u: f64, v: f64) {
        self.trace += d;
        // With each of the clusters before: the square of what stands beside the diagonal, twice.
        self.trace_of_square += d * d + 2.0 * (u * u * self.uu + 2.0 * u * v * self.uv + v * v * self.vv);
        self.uu += u * u;
        self.uv += u * v;
        self.vv += v * v;
    }

    fn value(&self) -> f64 {
        self.trace * self.trace / self.trace_of_square
    }
}

/// Whether the always-valid sequence, which relies on many clusters, may be claimed.
pub fn allow_looks(clusters: &[Cluster]) -> bool {
    let sums = |of: fn(&Cluster) -> (f64, f64)| {
        let mut moments = Moments::default();
        clusters.iter().map(of).filter(|(n, _)| *n > 0.0).for_each(|(_, sum)| moments.push(sum, 0.0));
        moments
    };
    let arms = [sums(|c| (c.treated_n, c.treated_sum)), sums(|c| (c.control_n, c.control_sum))];
    let spread = |arm: &Moments| arm.effective_values() >= ENOUGH_VALUES.min(arm.n / 2.0);
    !Groups::of(clusters).are_few() && arms.iter().all(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(treated: (f64, f64), control: (f64, f64)) -> Cluster {
        Cluster { treated_n: treated.0, treated_sum: treated.1, control_n: control.0, control_sum: control.1 }
    }

    /// Forty clusters of control and one of the treated: a regression's error is that of the control alone.
    #[test]
    fn one_cluster_of_an_arm_has_no_error() {
        let mut clusters: Vec<Cluster> = (0..40).map(|i| cluster((0.0, 0.0), (5.0, f64::from(i % 4)))).collect();
        clusters.push(cluster((50.0, 30.0), (0.0, 0.0)));
        assert!(robust(&clusters).is_none());
        clusters.push(cluster((50.0, 10.0), (0.0, 0.0)));
        assert!(robust(&clusters).is_some() && Groups::of(&clusters).are_few());
        clusters.extend((0..13).map(|_| cluster((50.0, 10.0), (0.0, 0.0))));
        assert!(!Groups::of(&clusters).are_few());
        // Clusters without leads are none.
        let mut empty = vec![cluster((0.0, 0.0), (0.0, 0.0)); 40];
        empty.extend([cluster((5.0, 2.0), (5.0, 1.0)), cluster((5.0, 3.0), (5.0, 0.0))]);
        assert!(Groups::of(&empty).all == 2 && Groups::of(&empty).are_few());
    }

    #[test]
    fn clusters_that_are_alike_show_no_error() {
        for n in 1..50 {
            let each = cluster((f64::from(n), 0.1 * f64::from(n)), (7.0, 0.3 * 7.0));
            assert!(robust(&vec![each; 40]).is_none());
        }
    }
}
