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
