//! The choice of the requests that are traced.

use crate::units::Ratio;

/// Chooses a ratio of what comes, at random and independently of each other.
///
/// The gap to the next choice is drawn instead of a number for each request, so that a request that is not
/// chosen costs a subtraction.
#[derive(Clone, Debug)]
pub struct Sampler {
    ratio: Ratio,
    /// Requests before the next that is chosen.
    gap: u64,
}

impl Sampler {
    /// Chooses `ratio` of what comes.
    #[must_use]
    pub fn new(ratio: Ratio) -> Self {
        Self { ratio, gap: gap(ratio) }
    }

    /// Returns true if the next one is chosen.
    #[inline]
    pub fn chooses(&mut self) -> bool {
        match self.gap.checked_sub(1) {
            Some(less) => {
                self.gap = less;
                false
            }
            None => {
                self.gap = gap(self.ratio);
                true
            }
        }
    }
}

/// Draws the number of those that are not chosen before one is.
#[cold]
fn gap(ratio: Ratio) -> u64 {
    // From 0, which is left out, to 1.
    let random = 1.0 - fastrand::f64();
    let gap = random.ln() / (-ratio.value()).ln_1p();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; 0 for no number")]
    let gap = gap as u64;
    if ratio.value() > 0.0 { gap } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_chosen() {
        const OF: u32 = 200_000;
        for (ratio, least, most) in [(0.0, 0, 0), (1.0, OF, OF), (0.5, 98_000, 102_000), (0.01, 1_700, 2_300)]
        {
            let mut sampler = Sampler::new(Ratio::new(ratio).unwrap());
            let chosen = (0..OF).filter(|_| sampler.chooses()).count();
            assert!((least as usize..=most as usize).contains(&chosen), "{chosen} of {OF} at {ratio}");
        }
    }

    /// A connection of few requests is chosen as often as one of many.
    #[test]
    fn the_first_is_chosen_as_often_as_any() {
        let first = (0..100_000).filter(|_| Sampler::new(Ratio::new(0.1).unwrap()).chooses()).count();
        assert!((9_400..10_600).contains(&first), "{first}");
    }
}
