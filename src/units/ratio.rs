//! A part of a whole, as a number from 0 to 1.

/// A part of a whole: 0 is none of it, 1 all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

/// It is never NaN.
impl Eq for Ratio {}

impl Ratio {
    /// Makes a ratio; `None` if `number` is not from 0 to 1.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        (0.0..=1.0).contains(&number).then_some(Self(number))
    }

    /// Returns it as a number from 0 to 1.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_from_none_to_all() {
        for number in [0.0, 0.01, 1.0] {
            assert_eq!(Ratio::new(number).map(Ratio::value), Some(number));
        }
        for number in [-0.01, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Ratio::new(number), None);
        }
    }
}
