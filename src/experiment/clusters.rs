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

/// Difference of means with the cluster-robust standard error CR1, equal to that of a regression on the arm, and
/// Student's t with clusters - 1 degrees of freedom. None if an arm is empty or there are not two clusters.
pub fn robust(clusters: &[Cluster]) -> Option<Difference> {
    let sum = |part: fn(&Cluster) -> f64| clusters.iter().map(part).sum::<f64>();
    let (n1, n0) = (sum(|c| c.treated_n), sum(|c| c.control_n));
    let groups = clusters.iter().filter(|c| c.treated_n + c.control_n > 0.0).count() as f64;
    if n1 <= 0.0 || n0 <= 0.0 || groups < 2.0 || n1 + n0 <= 2.0 {
        return None;
    }
    let (p1, p0) = (sum(|c| c.treated_sum) / n1, sum(|c| c.control_sum) / n0);
    let spread: f64 = clusters
        .iter()
        .map(|c| {
            let score = (c.treated_sum - c.treated_n * p1) / n1 - (c.control_sum - c.control_n * p0) / n0;
            score * score
        })
        .sum();
    let n = n1 + n0;
    let variance = spread * groups / (groups - 1.0) * (n - 1.0) / (n - 2.0);
    (variance > 0.0).then(|| Difference::new(p1 - p0, variance.sqrt(), groups - 1.0))
}
