//! Medians, and how sure of them one can be.

/// A median, and the interval in which the true one lies with 95 % probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Estimate {
    /// Of these values, of which there is at least one.
    ///
    /// The interval is that of the order statistics, which assumes nothing of the distribution: with nine values
    /// it reaches from the second to the eighth. With fewer than six it reaches from the least to the greatest,
    /// which is less than 95 %.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let skipped = skipped(values.len());
        let median = (values.get(last / 2)? + values.get(last.div_ceil(2))?) / 2.0;
        Some(Self { median, low: *values.get(skipped)?, high: *values.get(last - skipped)? })
    }

    /// Of the ratio of the medians of such pairs, of which there is at least one.
    ///
    /// The interval is that of a bootstrap: the ratio of as many pairs drawn from these with replacement, again and
    /// again. A single pair's ratio says nothing where noise makes its second value almost nothing.
    pub(super) fn of_ratio(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratio = |pairs: &[(f64, f64)]| {
            let one = Self::of(pairs.iter().map(|(one, _)| *one))?;
            let other = Self::of(pairs.iter().map(|(_, other)| *other))?;
            Some(one.median / other.median)
        };
        Self::bootstrapped(ratio(pairs)?, |draw| ratio(&draw.as_many(pairs)))
    }

    /// Of the ratio of two medians whose values do not belong together in pairs.
    pub(super) fn of_unpaired_ratio(ones: &[f64], others: &[f64]) -> Option<Self> {
        let median = |values: &[f64]| Some(Self::of(values.iter().copied())?.median);
        Self::bootstrapped(median(ones)? / median(others)?, |draw| {
            Some(median(&draw.as_many(ones))? / median(&draw.as_many(others))?)
        })
    }

    fn bootstrapped(median: f64, drawn: impl Fn(&mut Draw) -> Option<f64>) -> Option<Self> {
        let mut draw = Draw(1);
        let mut ratios: Vec<f64> = (0..DRAWS).filter_map(|_| drawn(&mut draw)).collect();
        ratios.sort_by(f64::total_cmp);
        let outside = DRAWS / 40;
        Some(Self { median, low: *ratios.get(outside)?, high: *ratios.get(DRAWS - 1 - outside)? })
    }
}

/// How often a bootstrap draws.
const DRAWS: usize = 2000;

/// Numbers without a pattern that matters here, the same in each run (Knuth's MMIX generator).
struct Draw(u64);

impl Draw {
    /// As many as these, drawn from them with replacement.
    fn as_many<T: Copy>(&mut self, values: &[T]) -> Vec<T> {
        values.iter().filter_map(|_| values.get(self.below(values.len())).copied()).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// How many of the least and of the greatest of `count` values are outside the interval.
fn skipped(count: usize) -> usize {
    // The chance that `below` of `count` values are under the median, summed from none upwards.
    let count_f = count as f64;
    let (mut chance, mut outside) = (0.5_f64.powf(count_f), 0.0);
    for below in 0..count / 2 {
        outside += chance;
        if outside * 2.0 > 0.05 {
            return below.saturating_sub(1);
        }
        chance *= (count_f - below as f64) / (below as f64 + 1.0);
    }
    (count / 2).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_textbooks() {
        let expected = [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (25, 7)];
        for (count, outside) in expected {
            assert_eq!(skipped(count), outside, "{count}");
        }
    }

    #[test]
    fn a_ratio_is_that_of_the_medians_and_lies_in_its_interval() {
        let pairs: Vec<(f64, f64)> = (1..=31).map(|n| (f64::from(n), f64::from(2 * n))).collect();
        let ratio = Estimate::of_ratio(&pairs).unwrap();
        assert_eq!(ratio, Estimate { median: 0.5, low: 0.5, high: 0.5 });
        let noisy: Vec<(f64, f64)> = (0..31).map(|n| (f64::from(n % 5), f64::from(n % 7))).collect();
        let ratio = Estimate::of_ratio(&noisy).unwrap();
        assert!(ratio.low < ratio.median && ratio.median < ratio.high, "{ratio:?}");
        assert_eq!(Estimate::of_ratio(&[]), None);
        let few: Vec<f64> = (90..=110).map(f64::from).collect();
        let ratio = Estimate::of_unpaired_ratio(&few, &[1.0, 3.0, 2.0]).unwrap();
        assert!(ratio.median == 50.0 && ratio.low < 40.0 && ratio.high > 60.0, "{ratio:?}");
        assert_eq!(Estimate::of_unpaired_ratio(&few, &[]), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        let estimate = Estimate::of([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]);
        assert_eq!(estimate, Some(Estimate { median: 5.0, low: 2.0, high: 8.0 }));
        assert_eq!(Estimate::of([1.0, 2.0]), Some(Estimate { median: 1.5, low: 1.0, high: 2.0 }));
        assert_eq!(Estimate::of([]), None);
    }
}
