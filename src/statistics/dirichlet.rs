//! The evidence of counts against weights, mixed over all weights that a Dirichlet distribution about them allows.

use super::gamma::{deviance, stirling_error};

/// ln of the Bayes factor against `weights` (they sum to 1): the Dirichlet-multinomial likelihood of the counts over the
/// multinomial one. `concentration`: how near to the weights the prior is.
///
/// The logarithms of gammas are written out by Stirling's formula and their large parts cancelled by hand: what is left
/// is the deviance of the counts with the prior's from their means, and small corrections.
///
/// `arms`: count and weight of each.
pub fn ln_evidence(arms: &[(f64, f64)], concentration: f64) -> f64 {
    let total: f64 = arms.iter().map(|(count, _)| count).sum();
    let after = concentration + total;
    let mut evidence = 0.0;
    for (count, weight) in arms {
        let (prior, posterior) = (concentration * weight, concentration * weight + count);
        if prior <= 0.0 {
            return f64::INFINITY; // a weight of 0, which one count rules out
        }
        evidence += deviance(posterior, after * weight) - (count / prior).ln_1p() / 2.0;
        evidence += stirling_error(posterior) - stirling_error(prior);
    }
    evidence + (total / concentration).ln_1p() / 2.0 - stirling_error(after) + stirling_error(concentration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// mpmath 1.4.1 at 60 digits, by log-gamma functions.
    #[test]
    fn large_counts_keep_their_digits() {
        let evidence =
            |counts: [f64; 2], weight: f64, c| ln_evidence(&[(counts[0], weight), (counts[1], 1.0 - weight)], c);
        for (counts, weight, concentration, expected) in REFERENCE {
            assert_near(evidence(counts, weight, concentration), expected, 1e-9);
        }
        assert!(evidence([0.0, 0.0], 0.3, 50.0).abs() < 1e-14);
    }

    const REFERENCE: [([f64; 2], f64, f64, f64); 5] = [
        ([5.0, 999999999999995.0], 6e-15, 730.5, -25.93403121040121),
        ([9e11, 1.0001e11], 0.9, 1e4, 440.77302670124396),
        ([3.0, 17.0], 0.2, 0.01, -5.7962797120342),
        ([0.0, 1000.0], 1e-4, 50.0, 0.08473436220032461),
        ([5200.0, 4800.0], 0.5, 1e4, 3.6538806657425464),
    ];
}
