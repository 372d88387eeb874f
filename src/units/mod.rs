//! Units of time and size, and amounts in words: a whole number and its unit, as people write and read them.

mod quantities;
mod ratio;

pub use self::quantities::{ByteSize, SizeOrPart, TimeSpan};
pub use self::ratio::Ratio;

/// A unit's name, and its size in the smallest unit.
pub type Unit = (&'static str, u64);

/// Units of time, in milliseconds, from the largest.
pub const TIME: [Unit; 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size, in bytes, from the largest.
pub const SIZE: [Unit; 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Formats `amount` in the largest of `units` that divides it.
#[must_use]
pub fn in_largest(amount: u64, units: &[Unit]) -> String {
    let fits = |(_, size): &&Unit| amount >= *size && amount.is_multiple_of(*size);
    let (unit, size) = units.iter().find(fits).or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", amount / size)
}

/// Formats a number of bytes, such as `64KiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    in_largest(bytes, &SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_in_the_largest_unit_that_divides_them() {
        for (bytes, words) in [(0, "0B"), (1, "1B"), (1025, "1025B"), (20 << 10, "20KiB"), (2 << 30, "2GiB")]
        {
            assert_eq!(size(bytes), words);
        }
        for (milliseconds, words) in [
            (0, "0ms"),
            (1500, "1500ms"),
            (90_000, "90s"),
            (60_000, "1m"),
            (82_800_000, "23h"),
            (86_400_000, "1d"),
            (90_000_000, "25h"),
        ] {
            assert_eq!(in_largest(milliseconds, &TIME), words);
        }
        assert_eq!(in_largest(7, &[]), "7");
    }
}
