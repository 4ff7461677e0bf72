//! Two samples counted over the same bins, and how far apart the counts are.

use super::scores::Scores;
use crate::statistics::chi_square;
use crate::statistics::sum::Sum;

/// Up to so many distinct values a score is taken as a label: each value is a bin.
const FEW_VALUES: usize = 20;
/// Else there are so many bins, at quantiles of the reference.
const BINS: usize = 10;

/// Of the smaller sample so many must be expected in a bin (Cochran 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// Counts of the current and the reference sample; no bin is empty in both.
pub struct Bins(Vec<(f64, f64)>);

impl Bins {
    /// Bins closed on the right, at the distinct values or at the reference's deciles.
    pub fn of(current: &Scores, reference: &Scores) -> Self {
        let edges = distinct(current, reference).unwrap_or_else(|| {
            let mut edges: Vec<f64> = (1..BINS).filter_map(|i| reference.quantile(i as f64 / BINS as f64)).collect();
            edges.dedup();
            edges.push(f64::INFINITY);
            edges
        });
        let mut below = (0, 0);
        let counts = edges.iter().map(|edge| {
            let to = (current.count_to(*edge), reference.count_to(*edge));
            let count = ((to.0 - below.0) as f64, (to.1 - below.1) as f64);
            below = to;
            count
        });
        Self(counts.filter(|(c, r)| c + r > 0.0).collect())
    }

    /// The same with neighbours put together until each expects five of the smaller sample, where scores count as one
    /// over the design effect: below that chi-square is no chi-square, and its statistics alarm where nothing moved.
    pub fn merged(&self, design_effect: f64) -> Self {
        let (n, m) = self.totals();
        let expected = |(c, r): (f64, f64)| (c + r) * n.min(m) / (n + m) / design_effect;
        let mut merged: Vec<(f64, f64)> = Vec::new();
        for (c, r) in &self.0 {
            match merged.last_mut().filter(|last| expected(**last) < LEAST_EXPECTED) {
                Some(last) => *last = (last.0 + c, last.1 + r),
                None => merged.push((*c, *r)),
            }
        }
        // The last may have found no neighbour after it.
        if merged.len() > 1
            && let Some(rest) = merged.pop_if(|last| expected(*last) < LEAST_EXPECTED)
            && let Some(last) = merged.last_mut()
        {
            *last = (last.0 + rest.0, last.1 + rest.1);
        }
        Self(merged)
    }

    fn totals(&self) -> (f64, f64) {
        self.0.iter().fold((0.0, 0.0), |(c, r), count| (c + count.0, r + count.1))
    }

    pub fn degrees_of_freedom(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    fn shares(&self) -> impl Iterator<Item = (f64, f64)> {
        let (n, m) = self.totals();
        self.0.iter().map(move |(c, r)| (c / n, r / m))
    }

    /// The population stability index. Where a bin is empty in one sample, half a row is added to
    /// each (Jeffreys), since the plain index would be infinite.
    pub fn psi(&self) -> f64 {
        let empty = self.0.iter().any(|(c, r)| *c == 0.0 || *r == 0.0);
        self.psi_with(if empty { 0.5 } else { 0.0 })
    }

    pub fn psi_with(&self, added: f64) -> f64 {
        let (n, m) = self.totals();
        let all = added * self.0.len() as f64;
        Sum::of(self.0.iter().map(|(c, r)| {
            let (c, r) = ((c + added) / (n + all), (r + added) / (m + all));
            (c - r) * (c / r).ln()
        }))
    }

    /// P(index >= psi) if nothing moved: PSI / (1/n + 1/m) is about chi-square (Yurdakul and Naranjo 2020).
    pub fn psi_p_value(&self, psi: f64) -> Option<f64> {
        let (n, m) = self.totals();
        chi_square::sf(psi / (1.0 / n + 1.0 / m), self.degrees_of_freedom())
    }

    /// The Jensen-Shannon distance to base 2, from 0 to 1.
    pub fn jensen_shannon(&self) -> f64 {
        let part = |p: f64, q: f64| if p > 0.0 { p * (p / (0.5 * (p + q))).ln() } else { 0.0 };
        let divergence = Sum::of(self.shares().map(|(c, r)| part(c, r) + part(r, c)));
        (divergence.max(0.0) / (2.0 * std::f64::consts::LN_2)).sqrt()
    }

    /// The Hellinger distance, from 0 to 1.
    pub fn hellinger(&self) -> f64 {
        (Sum::of(self.shares().map(|(c, r)| (c.sqrt() - r.sqrt()).powi(2))) / 2.0).sqrt()
    }

    /// Pearson's statistic of homogeneity: both samples are samples, the reference too.
    pub fn chi2(&self) -> f64 {
        let (n, m) = self.totals();
        Sum::of(self.0.iter().map(|(c, r)| {
            let (expected_c, expected_r) = ((c + r) * n / (n + m), (c + r) * m / (n + m));
            (c - expected_c).powi(2) / expected_c + (r - expected_r).powi(2) / expected_r
        }))
    }
}

/// The distinct values of both samples, if there are few.
fn distinct(a: &Scores, b: &Scores) -> Option<Vec<f64>> {
    let mut all = Vec::new();
    for scores in [a, b] {
        let mut rest = &*scores.rows;
        while let Some(first) = rest.first() {
            all.push(first.value());
            rest = &rest[rest.partition_point(|score| score <= first)..];
            if all.len() > 2 * FEW_VALUES {
                return None;
            }
        }
    }
    all.sort_by(f64::total_cmp);
    all.dedup();
    (all.len() <= FEW_VALUES).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::assert_near;

    /// psi-inference 0.1.0: psi_pvalue and psi_critical_value at n = m = 32,000.
    #[test]
    fn the_index_has_a_p_value() {
        let bins = Bins(vec![(3200.0, 3200.0); 10]);
        assert_near(bins.psi_p_value(0.0004807985439357805).unwrap(), 0.5653786263378904, 1e-9);
        assert_near(bins.psi_p_value(0.001057436100288778).unwrap(), 0.05, 1e-9);
    }

    /// Hillstrom's customers by the deciles of the old ones' history, new against old: the index as psi-inference 0.1.0
    /// has it, and with half a row more in each bin; distances and chi-square of scipy 1.17.1.
    #[test]
    fn bins_of_hillstroms_customers() {
        let new = [3925, 2336, 3389, 3146, 3051, 2225, 2086, 1810, 1075, 9101].map(f64::from);
        let old = [4022, 2350, 3185, 3187, 3184, 3187, 3184, 3186, 3185, 3186].map(f64::from);
        let bins = Bins(new.into_iter().zip(old).collect());
        assert_near(bins.psi(), 0.3157752839599368, 1e-12);
        assert_near(bins.psi_with(0.5), 0.3156767031388151, 1e-12);
        assert_near(bins.jensen_shannon(), 0.23401142162857436, 1e-12);
        assert_near(bins.hellinger(), 0.1967104923299024, 1e-12);
        assert_near(bins.chi2(), 4680.795011256327, 1e-12);
    }

    #[test]
    fn bins_that_expect_few_are_put_together() {
        let bins = |counts: &[(f64, f64)]| Bins(counts.to_vec());
        let merged = bins(&[(1.0, 90.0), (0.0, 40.0), (9.0, 70.0), (20.0, 100.0), (0.0, 1.0)]).merged(1.0);
        assert_eq!(merged.0, [(1.0, 90.0), (9.0, 110.0), (20.0, 101.0)]);
        assert_eq!(bins(&[(4.0, 9.0), (3.0, 9.0)]).merged(1.0).degrees_of_freedom(), 0, "nothing to compare");
        let enough = [(50.0, 60.0), (50.0, 40.0)];
        assert_eq!((bins(&enough).merged(1.0).0, bins(&enough).merged(30.0).0.len()), (enough.to_vec(), 1));
        assert!(bins(&[]).merged(1.0).0.is_empty());
    }

    #[test]
    fn equal_scores_are_one_bin() {
        let bins = Bins::of(&Scores::of(&[0.2; 5]), &Scores::of(&[0.2; 7]));
        assert_eq!((bins.psi(), bins.chi2(), bins.degrees_of_freedom()), (0.0, 0.0, 0));
        assert_eq!((bins.psi_p_value(0.0), bins.jensen_shannon(), bins.hellinger()), (None, 0.0, 0.0));
    }

    #[test]
    fn few_values_are_labels() {
        // scipy 1.17.1: chi2_contingency([[3, 1], [1, 5]], correction=False).
        let bins = Bins::of(&Scores::of(&[0.1, 0.1, 0.1, 0.5]), &Scores::of(&[0.1, 0.5, 0.5, 0.5, 0.5, 0.5]));
        assert_near(bins.chi2(), 3.4027777777777777, 1e-12);
        let apart = Bins::of(&Scores::of(&[0.1, 0.1]), &Scores::of(&[0.5, 0.5, 0.5]));
        assert!(apart.psi().is_finite() && (apart.jensen_shannon() - 1.0).abs() < 1e-12);
    }
}
