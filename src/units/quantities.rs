//! Times and sizes as written in a config file or an argument: a whole number and its unit.
//!
//! Knows nothing of the bounds they are used for; `limits` does.

use std::fmt;
use std::time::Duration;

use super::{self as units, Unit};
use crate::text::InvalidText;

/// A time with its unit: `500ms`, `1s`, `5m`, `1h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    milliseconds: u64,
}

/// A number of bytes with its unit: `512B`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize {
    bytes: u64,
}

/// A size, or a percentage of the total: `800MiB`, `80%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeOrPart {
    /// A number of bytes.
    Size(ByteSize),
    /// A percentage: 1 to 100.
    Percent(u8),
}

/// The longest number, in digits, that advice repeats.
const LONGEST_QUOTED: usize = 20;

impl TimeSpan {
    pub(crate) const fn from_milliseconds(milliseconds: u64) -> Self {
        Self { milliseconds }
    }

    /// Parses the time for which something is unused: in days, most likely.
    ///
    /// # Errors
    ///
    /// The fault, with what was probably meant.
    pub fn unused(text: &str) -> Result<Self, InvalidText> {
        let meant = |number: &str, unit: &str| match unit {
            "" => vec![format!("{number}d"), format!("{number}h")],
            _ => time_meant(number, unit),
        };
        time(text, meant)
    }

    /// Returns the time in milliseconds.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// Returns the time as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl ByteSize {
    pub(crate) const fn from_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        time(&text, time_meant)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        amount(&text, &units::SIZE, "size", "\"512B\", \"64KiB\", \"1MiB\" or \"2GiB\"", size_meant)
            .map(Self::from_bytes)
    }
}

impl TryFrom<String> for SizeOrPart {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let Some(number) = text.strip_suffix('%') else {
            let size = ByteSize::try_from(text).map(Self::Size);
            return size.map_err(|invalid| match invalid.advice {
                Some(advice) => InvalidText::new(invalid.what)
                    .advise(format!("{advice}; or a percentage, such as \"80%\"")),
                None => invalid,
            });
        };
        let number = number.trim();
        let is_whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(percent @ 1..=100) if is_whole && text.len() == number.len() + 1 => Ok(Self::Percent(percent)),
            Ok(1..=100) if is_whole => {
                Err(InvalidText::new("a part has no spaces").advise(format!("write \"{number}%\"")))
            }
            _ if is_whole => {
                Err(InvalidText::new("a part is 1% to 100%").advise("write one such as \"80%\""))
            }
            _ => Err(InvalidText::new("this is not a percentage")
                .advise("write a whole number and %, such as \"80%\"")),
        }
    }
}

impl fmt::Display for SizeOrPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&units::in_largest(self.milliseconds, &units::TIME))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&units::size(self.bytes))
    }
}

fn time(text: &str, meant: fn(&str, &str) -> Vec<String>) -> Result<TimeSpan, InvalidText> {
    let examples = "\"500ms\", \"1s\", \"5m\", \"1h\" or \"30d\"";
    amount(text, &units::TIME, "duration", examples, meant).map(TimeSpan::from_milliseconds)
}

/// Multiplies the number in `text` by its unit. For an unknown or missing unit, `meant` lists the likely
/// intended amounts, so that the advice can be typed as it is.
fn amount(
    text: &str,
    units: &[Unit],
    kind: &str,
    examples: &str,
    meant: fn(&str, &str) -> Vec<String>,
) -> Result<u64, InvalidText> {
    let examples = format!("write a whole number and its unit, such as {examples}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        return Err(InvalidText::new(format!("this is not a {kind}")).advise(examples));
    }
    if let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) {
        let product = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*size));
        return product.ok_or_else(|| InvalidText::new(format!("this {kind} is too large to count")));
    }
    let unit = unit.trim();
    let what = if unit.is_empty() { "needs its unit" } else { "has no such unit" };
    let meant = if number.len() > LONGEST_QUOTED { Vec::new() } else { meant(number, unit) };
    Err(InvalidText::new(format!("a {kind} {what}")).advise(match meant.as_slice() {
        [] => examples,
        [one] => format!("write \"{one}\""),
        several => format!("write \"{}\", whichever is meant", several.join("\" or \"")),
    }))
}

fn time_meant(number: &str, unit: &str) -> Vec<String> {
    let units: &[&str] = match unit.to_ascii_lowercase().as_str() {
        "" => &["s", "ms"],
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => &["ms"],
        "s" | "sec" | "secs" | "second" | "seconds" => &["s"],
        "m" | "min" | "mins" | "minute" | "minutes" => &["m"],
        "h" | "hr" | "hrs" | "hour" | "hours" => &["h"],
        "d" | "day" | "days" => &["d"],
        _ => &[],
    };
    units.iter().map(|unit| format!("{number}{unit}")).collect()
}

fn size_meant(number: &str, unit: &str) -> Vec<String> {
    let units: &[&str] = match unit.to_ascii_lowercase().as_str() {
        // A large number without a unit is most likely bytes.
        "" => match number.parse() {
            Ok(bytes @ 1024..) => return vec![ByteSize { bytes }.to_string()],
            _ => &["MiB", "KiB", "B"],
        },
        "b" | "byte" | "bytes" => &["B"],
        "k" | "kb" | "ki" | "kib" => &["KiB"],
        "m" | "mb" | "mi" | "mib" => &["MiB"],
        "g" | "gb" | "gi" | "gib" => &["GiB"],
        _ => &[],
    };
    units.iter().map(|unit| format!("{number}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<u64, InvalidText> {
        TimeSpan::try_from(text.to_owned()).map(TimeSpan::milliseconds)
    }

    fn size(text: &str) -> Result<u64, InvalidText> {
        ByteSize::try_from(text.to_owned()).map(ByteSize::bytes)
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("1s", 1_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(time(text), Ok(milliseconds));
        }
        for (text, advice) in [
            ("5", "write \"5s\""),
            ("5 s", "write \"5s\""),
            ("5sec", "write \"5s\""),
            ("5min", "write \"5m\""),
            ("5S", "write \"5s\""),
            ("5days", "write \"5d\""),
            ("5D", "write \"5d\""),
            ("1.5s", "whole number"),
            ("1h30m", "whole number"),
            ("-1s", "whole number"),
            ("", "whole number"),
            ("s", "whole number"),
            ("1w", "whole number"),
            ("1d12h", "whole number"),
            ("1_000ms", "whole number"),
        ] {
            let invalid = time(text).unwrap_err();
            assert!(invalid.advice.as_ref().is_some_and(|a| a.contains(advice)), "{text}: {invalid:?}");
        }
        let unused = |text| TimeSpan::unused(text).map_err(|invalid| invalid.advice.unwrap());
        assert_eq!(unused("30d"), Ok(TimeSpan::from_milliseconds(2_592_000_000)));
        assert_eq!(unused("30"), Err("write \"30d\" or \"30h\", whichever is meant".to_owned()));
        assert_eq!(unused("30 days"), Err("write \"30d\"".to_owned()));
        assert!(time("99999999999999999999999s").unwrap_err().what.contains("too large"));
        assert!(time("18446744073709551615h").unwrap_err().what.contains("too large"));
        assert!(time("18446744073709551615d").unwrap_err().what.contains("too large"));
    }

    #[test]
    fn sizes_are_a_number_and_a_binary_unit() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for (text, advice) in [
            ("64", "write \"64MiB\" or"),
            ("1048576", "write \"1MiB\""),
            ("64MB", "write \"64MiB\""),
            ("64M", "write \"64MiB\""),
            ("64mib", "write \"64MiB\""),
            ("64 KiB", "write \"64KiB\""),
            ("1.5GiB", "whole number"),
            ("1TiB", "whole number"),
        ] {
            let invalid = size(text).unwrap_err();
            assert!(invalid.advice.as_ref().is_some_and(|a| a.contains(advice)), "{text}: {invalid:?}");
        }
    }

    #[test]
    fn a_part_is_a_whole_number_of_hundredths() {
        let part = |text: &str| SizeOrPart::try_from(text.to_owned());
        for text in ["1%", "80%", "100%", "512MiB"] {
            assert_eq!(part(text).unwrap().to_string(), text);
        }
        for (text, what, advice) in [
            ("0%", "1% to 100%", "80%"),
            ("101%", "1% to 100%", "80%"),
            ("999999999999%", "1% to 100%", "80%"),
            ("80 %", "no spaces", "write \"80%\""),
            (" 80%", "no spaces", "write \"80%\""),
            ("80.5%", "not a percentage", "whole number"),
            ("-1%", "not a percentage", "whole number"),
            ("+80%", "not a percentage", "whole number"),
            ("%", "not a percentage", "whole number"),
            ("80", "needs its unit", "or a percentage, such as \"80%\""),
            ("0.8", "not a size", "or a percentage, such as \"80%\""),
            ("80%%", "not a percentage", "whole number"),
        ] {
            let invalid = part(text).unwrap_err();
            let advised = invalid.advice.as_ref().is_some_and(|told| told.contains(advice));
            assert!(invalid.what.contains(what) && advised, "{text}: {invalid:?}");
        }
    }
}
