//! The standard error of a difference when neighbours share hail, crews and roofs.

use super::moments::Difference;

/// What one cluster has of both arms: leads and the sum of their measure.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    pub treated_n: f64,
    pub treated_sum: f64,
    pub control_n: f64,
    pub control_sum: f64,
}

/// Below so many clusters, or half as many with leads of an arm, the robust error is too small.
const FEW: usize = 30;

/// How many clusters have leads: of either arm, of the treated, of the control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    pub all: usize,
    treated: usize,
    control: usize,
}

impl Groups {
    pub fn of(clusters: &[Cluster]) -> Self {
        let count = |has: fn(&Cluster) -> bool| clusters.iter().filter(|c| has(c)).count();
        Self {
            all: count(|c| c.treated_n + c.control_n > 0.0),
            treated: count(|c| c.treated_n > 0.0),
            control: count(|c| c.control_n > 0.0),
        }
    }

    pub fn are_few(self) -> bool {
        self.all < FEW || self.treated.min(self.control) < FEW / 2
    }
}

/// Means of the arms, None if one is empty.
pub fn means(clusters: &[Cluster]) -> Option<(f64, f64)> {
    let sum = |part: fn(&Cluster) -> f64| clusters.iter().map(part).sum::<f64>();
    let (n1, n0) = (sum(|c| c.treated_n), sum(|c| c.control_n));
    (n1 > 0.0 && n0 > 0.0).then(|| (sum(|c| c.treated_sum) / n1, sum(|c| c.control_sum) / n0))
}

/// Difference of means with the cluster-robust standard error CR1, equal to that of a regression on the arm, and
/// Student's t with clusters - 1 degrees of freedom. None unless each arm is in two clusters: what one cluster has of an
/// arm equals the arm's mean, and its error would be zero.
pub fn robust(clusters: &[Cluster]) -> Option<Difference> {
    let sum = |part: fn(&Cluster) -> f64| clusters.iter().map(part).sum::<f64>();
    let (n1, n0) = (sum(|c| c.treated_n), sum(|c| c.control_n));
    let found = Groups::of(clusters);
    if found.treated < 2 || found.control < 2 || n1 + n0 <= 2.0 {
        return None;
    }
    let groups = found.all as f64;
    let (p1, p0) = means(clusters)?;
    let spread: f64 = clusters
        .iter()
        .map(|c| {
            let score = (c.treated_sum - c.treated_n * p1) / n1 - (c.control_sum - c.control_n * p0) / n0;
            score * score
        })
        .sum();
    let n = n1 + n0;
    let variance = spread * groups / (groups - 1.0) * (n - 1.0) / (n - 2.0);
    // Of clusters that are all alike only rounding is left.
    let size = clusters.iter().map(|c| c.treated_sum.abs() / n1 + c.control_sum.abs() / n0).sum::<f64>();
    (variance > (1e-14 * size).powi(2)).then(|| Difference::new(p1 - p0, variance.sqrt(), groups - 1.0))
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
