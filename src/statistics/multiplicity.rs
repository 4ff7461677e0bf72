//! Many comparisons at once.

/// The p-values of Benjamini and Hochberg (1995), in the order given; None stays None and does not count.
pub fn benjamini_hochberg(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p_values.iter().enumerate().filter_map(|(i, p)| p.map(|p| (i, p))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let tests = order.len() as f64;
    let mut adjusted = vec![None; p_values.len()];
    let mut least = 1.0f64;
    for (rank, (place, p)) in order.into_iter().enumerate().rev() {
        least = least.min(p * tests / (rank as f64 + 1.0));
        adjusted[place] = Some(least);
    }
    adjusted
}
