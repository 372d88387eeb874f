//! Formatting of figures: three digits, since the fourth is noise, and a unit that fits. Pure.

use super::spread::Spread;

/// Quantity that a figure counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// A count, or a count per second.
    Count,
    /// Nanoseconds.
    Time,
    /// Bytes.
    Size,
    /// One quantity over another.
    Ratio,
    /// A part of a whole, 0 to 1.
    Share,
}

/// Placeholder for a missing figure.
pub const NOTHING: &str = "–";

impl Unit {
    /// Returns the divisor and the suffix for figures of about this size.
    fn scale(self, figure: f64) -> (f64, &'static str) {
        let steps: &[(f64, &str)] = match self {
            Self::Count | Self::Ratio => &[(1.0, "")],
            Self::Share => &[(0.01, " %")],
            Self::Time => &[(1.0, " ns"), (1e3, " µs"), (1e6, " ms"), (1e9, " s")],
            Self::Size => &[(1.0, " B"), (1e3, " KB"), (1e6, " MB"), (1e9, " GB")],
        };
        let fits = |&&(step, _): &&(f64, &str)| figure >= step * 0.9995;
        steps.iter().rev().find(fits).copied().unwrap_or(steps[0])
    }

    /// Formats as `82.3 µs`.
    pub fn of(self, figure: f64) -> String {
        let (step, unit) = self.scale(figure);
        format!("{}{unit}", digits(figure / step))
    }

    /// Formats as `82.3 µs (80.1–85.0)`, in the unit of the median.
    pub fn of_spread(self, spread: Option<Spread>) -> String {
        let Some(Spread { median, least, most }) = spread else { return NOTHING.into() };
        let (step, unit) = self.scale(median);
        if least == most {
            return self.of(median);
        }
        format!("{}{unit} ({}–{})", digits(median / step), digits(least / step), digits(most / step))
    }
}

/// Formats a non-negative number in three digits: `54,300`, `820`, `82.3`, `1.25`, `0.08`.
pub fn digits(number: f64) -> String {
    if number < 9.995 {
        return format!("{number:.2}");
    }
    if number < 99.95 {
        return format!("{number:.1}");
    }
    let step = 10_f64.powf(number.log10().floor() - 2.0).max(1.0);
    let whole = format!("{:.0}", (number / step).round() * step);
    let mut written = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{NOTHING, Unit, digits};
    use crate::spread::Spread;

    #[test]
    fn numbers_have_three_digits() {
        let written = |number: f64| digits(number);
        assert_eq!(written(54_321.0), "54,300");
        assert_eq!(written(1_234_567.0), "1,230,000");
        assert_eq!(written(999.6), "1,000");
        assert_eq!(written(123.4), "123");
        assert_eq!(written(99.96), "100");
        assert_eq!(written(82.34), "82.3");
        assert_eq!(written(1.2549), "1.25");
        assert_eq!(written(0.0), "0.00");
    }

    #[test]
    fn the_unit_fits_the_middle() {
        assert_eq!(Unit::Time.of(82_340.0), "82.3 µs");
        assert_eq!(Unit::Time.of(999_900.0), "1.00 ms");
        assert_eq!(Unit::Size.of(19_400.0), "19.4 KB");
        assert_eq!(Unit::Share.of(0.97), "97.0 %");
        let spread = Spread { median: 950_000.0, least: 900_000.0, most: 1_200_000.0 };
        assert_eq!(Unit::Time.of_spread(Some(spread)), "950 µs (900–1,200)");
        assert_eq!(Unit::Ratio.of_spread(Some(Spread { median: 2.0, least: 2.0, most: 2.0 })), "2.00");
        assert_eq!(Unit::Count.of_spread(None), NOTHING);
    }
}
