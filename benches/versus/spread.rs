//! Figures of several rounds, and how one program's stand to another's. Pure: numbers in, numbers out.

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// None where there is no figure. What is not finite (a division by nothing) is no figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), least, most })
    }

    /// Ours over theirs, each in one round. A machine that gets slower from round to round slows both, and so drops out,
    /// which it does not in a ratio of medians.
    pub fn of_ratios(
        ours: impl IntoIterator<Item = f64>,
        theirs: impl IntoIterator<Item = f64>,
    ) -> Option<Self> {
        Self::of(ours.into_iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}
