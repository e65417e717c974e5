//! Rates measured again and again.

use serde::{Deserialize, Serialize};

/// Samples of a rate, or of anything else of which more is better.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How large they are beside a limit that was sampled in turn with them, one for one: the median of the ratios, so that
    /// what slows both down for a while changes nothing. Zero where there is none.
    pub fn of(&self, limit: &Samples) -> f64 {
        let ratios = self.0.iter().zip(&limit.0).map(|(sample, limit)| sample / limit);
        ratios.collect::<Samples>().rate().median
    }

    /// The means of runs of `count` samples, the first of which start at `first` and then every `step`.
    #[must_use]
    pub fn means(&self, first: usize, count: usize, step: usize) -> Samples {
        let runs = (first..).step_by(step).map_while(|start| self.0.get(start..start + count));
        runs.map(|run| run.iter().sum::<f64>() / count as f64).collect()
    }

    /// What they say together; zeros where there is none.
    pub fn rate(&self) -> Rate {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { at(half) } else { (at(half.wrapping_sub(1)) + at(half)) / 2.0 };
        Rate { median, worst: at(0), best: at(sorted.len().wrapping_sub(1)) }
    }

    /// Half the spread of the middle half of the samples as a share of their median: how far a sample lies from it as a
    /// rule. Zero where there are fewer than three.
    pub fn spread(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let outside = (sorted.len() + 1) / 4;
        let middle = &sorted[outside..sorted.len() - outside];
        match middle {
            [first, .., last] if sorted.len() > 2 => (last - first) / 2.0 / self.rate().median,
            _ => 0.0,
        }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Samples(samples.into_iter().collect())
    }
}

/// The middle and the ends of some samples of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The median; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub worst: f64,
    /// The greatest.
    pub best: f64,
}

impl Rate {
    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Rate {
        Rate { median: self.median * factor, worst: self.worst * factor, best: self.best * factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let rate = |samples: &[f64]| Samples(samples.to_vec()).rate();
        assert_eq!(rate(&[]), Rate::default());
        assert_eq!(rate(&[3.0]), Rate { median: 3.0, worst: 3.0, best: 3.0 });
        assert_eq!(rate(&[9.0, 1.0, 2.0]), Rate { median: 2.0, worst: 1.0, best: 9.0 });
        assert_eq!(rate(&[9.0, 1.0, 2.0, 4.0]), Rate { median: 3.0, worst: 1.0, best: 9.0 });
    }

    #[test]
    fn ratios_are_of_samples_that_were_taken_together() {
        let of = |samples: &[f64], limits: &[f64]| Samples(samples.to_vec()).of(&Samples(limits.to_vec()));
        // The ratio of the medians is 1.
        assert_eq!(of(&[2.0, 4.0, 6.0], &[4.0, 8.0, 2.0]), 0.5);
        assert_eq!(of(&[2.0, 4.0], &[4.0, 4.0]), 0.75);
        assert_eq!(of(&[], &[]), 0.0);
    }

    #[test]
    fn means_are_of_whole_runs() {
        let samples = Samples(vec![1.0, 3.0, 5.0, 9.0, 10.0, 20.0, 7.0]);
        assert_eq!(samples.means(0, 2, 3), Samples(vec![2.0, 9.5]));
        assert_eq!(samples.means(1, 3, 2), Samples(vec![17.0 / 3.0, 13.0]));
        assert_eq!(samples.means(5, 3, 1), Samples::default());
    }

    #[test]
    fn the_spread_is_that_of_the_middle_half() {
        let spread = |samples: &[f64]| Samples(samples.to_vec()).spread();
        assert_eq!((spread(&[]), spread(&[3.0]), spread(&[3.0, 4.0])), (0.0, 0.0, 0.0));
        assert_eq!(spread(&[4.0, 4.0, 4.0, 4.0]), 0.0);
        // Of seven the outer two on each side are left out.
        assert_eq!(spread(&[90.0, 1.0, 9.0, 10.0, 11.0, 2.0, 30.0]), 0.1);
        assert_eq!(spread(&[1.0, 8.0, 10.0, 12.0, 99.0]), 0.2);
    }
}
