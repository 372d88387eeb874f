//! Figures of several rounds, and ratios between programs. Pure: numbers in, numbers out.

/// The median and range of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle figure, or the mean of the two in the middle.
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` without any figure. Values that are not finite (a division by zero) are not figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), least, most })
    }

    /// Ratios of ours to theirs, each within one round. A machine that slows down from round to round slows
    /// both, which cancels out here, and would not in a ratio of medians.
    pub fn of_ratios(
        ours: impl IntoIterator<Item = f64>,
        theirs: impl IntoIterator<Item = f64>,
    ) -> Option<Self> {
        Self::of(ours.into_iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_middle_is_that_of_the_sorted_figures() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(of(&[7.0]), Some(Spread { median: 7.0, least: 7.0, most: 7.0 }));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn a_ratio_is_that_of_one_round() {
        // The machine was half as fast in the second round; theirs was never as fast as ours.
        let ratios = Spread::of_ratios([200.0, 100.0], [100.0, 50.0]);
        assert_eq!(ratios, Some(Spread { median: 2.0, least: 2.0, most: 2.0 }));
        assert_eq!(Spread::of_ratios([1.0], [0.0]), None);
    }
}
