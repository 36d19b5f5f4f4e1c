//! Means over seeds, with what they may be off by.

use crate::rng::Seeded;

use super::fleet::to_f64;

/// Resamples of one interval.
const RESAMPLES: usize = 2_000;

/// A mean, and between what nineteen of twenty such means would lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Of how many.
    pub n: usize,
}

impl Interval {
    /// Of one value per seed, by bootstrap over seeds: 2,000 resamples, drawn the same way each time. `None` of
    /// nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values)?;
        let mut draws = Seeded::new(1);
        let n = u32::try_from(values.len()).ok()?;
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let sum: f64 = (0..n).map(|_| values[draws.below(n) as usize]).sum();
                sum / f64::from(n)
            })
            .collect();
        means.sort_by(f64::total_cmp);
        Some(Self {
            mean,
            low: quantile(&means, 0.025)?,
            high: quantile(&means, 0.975)?,
            n: values.len(),
        })
    }
}

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    let n = to_f64(u64::try_from(values.len()).ok()?);
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / n)
}

/// The value that `part` of sorted values are at most (nearest rank); `None` of nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank: from 1 to the length of the slice"
)]
pub fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (to_f64(sorted.len() as u64) * part).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// Jain's index: 1 where all are equal, 1/n where one has everything. `None` of nothing.
pub fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|it| it * it).sum();
    (squares > 0.0).then(|| sum * sum / (to_f64(values.len() as u64) * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_small_samples_are_exact() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.99), Some(99.0));
        assert_eq!(quantile(&sorted, 0.0), Some(1.0));
        assert_eq!(quantile(&sorted, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(jain(&[1.0, 1.0, 1.0, 1.0]), Some(1.0));
        assert_eq!(jain(&[4.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(Interval::of(&[]), None);
    }

    #[test]
    fn an_interval_holds_its_mean_and_narrows_with_more_seeds() {
        let few = Interval::of(&[1.0, 5.0, 9.0]).unwrap();
        let many: Vec<f64> = [1.0, 5.0, 9.0].repeat(20);
        let many = Interval::of(&many).unwrap();
        for it in [few, many] {
            assert!(it.low <= it.mean && it.mean <= it.high, "{it:?}");
        }
        assert!(many.high - many.low < (few.high - few.low) / 2.0);
        assert_eq!(
            Interval::of(&[3.0]).unwrap().low.to_bits(),
            3.0_f64.to_bits()
        );
    }
}
