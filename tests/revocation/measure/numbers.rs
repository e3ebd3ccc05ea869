//! What is told of many measurements.

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the share `part` of them is.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Where the difference between the quantiles `part` of two series lies with a probability of 95 %: the
/// bootstrap's percentiles.
pub(crate) fn difference_interval(one: &[f64], other: &[f64], part: f64) -> (f64, f64) {
    use rand::RngExt as _;
    let mut random = rand::rng();
    let mut again = |values: &[f64]| -> Vec<f64> {
        values.iter().map(|_| values[random.random_range(0..values.len())]).collect()
    };
    let differences: Vec<f64> =
        (0..500).map(|_| quantile(&again(one), part) - quantile(&again(other), part)).collect();
    (quantile(&differences, 0.025), quantile(&differences, 0.975))
}
