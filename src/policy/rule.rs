//! The decision rule of a risk attitude.

use crate::statistics::normal;

/// How many standard deviations of its uncertainty a score is moved before it is compared with
/// the break-even uplift.
///
/// With uplift ~ N(score, sd), P(uplift > breakeven) >= confidence exactly where
/// score + z * sd >= breakeven for z = the (1 - confidence) quantile of N(0, 1). Since z falls
/// as confidence rises, what a stricter mode treats a laxer one treats too.
pub fn attitude(confidence: f64) -> Option<f64> {
    (confidence > 0.0 && confidence < 1.0).then(|| normal::quantile(1.0 - confidence))
}

#[cfg(test)]
mod tests {
    use super::attitude;

    /// Quantiles of the standard normal distribution (scipy.stats.norm.ppf).
    #[test]
    fn attitudes_are_normal_quantiles() {
        let near = |confidence, expected: f64| {
            let z = attitude(confidence).unwrap();
            assert!((z - expected).abs() < 1e-12, "{confidence}: {z}");
        };
        near(0.95, -1.6448536269514729);
        near(0.5, 0.0);
        near(0.2, 0.8416212335729143);
    }

    #[test]
    fn stricter_moves_down_and_no_confidence_is_no_rule() {
        let zs: Vec<f64> = (1..100).map(|i| attitude(f64::from(i) / 100.0).unwrap()).collect();
        assert!(zs.windows(2).all(|pair| pair[0] > pair[1]));
        for bad in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
            assert_eq!(attitude(bad), None);
        }
    }
}
