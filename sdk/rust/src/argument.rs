//! Conversion of an argument's text to a value. It runs in every call, so no code allocates or formats.

use std::time::Duration;

/// A type that a command's argument or a value in the plugin's config can have.
///
/// ```
/// use lictor_plugin::FromArgument;
///
/// enum Color { Red, Blue }
///
/// impl FromArgument<'_> for Color {
///     const EXPECTED: &'static str = "red or blue";
///
///     fn from_argument(text: &mut String) -> Option<Self> {
///         match text.as_str() {
///             "red" => Some(Color::Red),
///             "blue" => Some(Color::Blue),
///             _ => None,
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the type of an argument or a config value",
    label = "implement `lictor_plugin::FromArgument` for it",
    note = "there are String, &str, integers, floats, bool, char and Duration"
)]
pub trait FromArgument<'a>: Sized {
    /// Description of a valid argument, worded to follow "NAME must be": `a whole number from 0 to 255`.
    const EXPECTED: &'static str;

    /// Reads the argument; `None` if it is not what is [expected](Self::EXPECTED). May take the text out.
    fn from_argument(text: &'a mut String) -> Option<Self>;
}

impl FromArgument<'_> for String {
    const EXPECTED: &'static str = "text";

    fn from_argument(text: &mut String) -> Option<Self> {
        Some(std::mem::take(text))
    }
}

impl<'a> FromArgument<'a> for &'a str {
    const EXPECTED: &'static str = "text";

    fn from_argument(text: &'a mut String) -> Option<Self> {
        Some(text)
    }
}

impl FromArgument<'_> for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_argument(text: &mut String) -> Option<Self> {
        match text.as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

impl FromArgument<'_> for char {
    const EXPECTED: &'static str = "one character";

    fn from_argument(text: &mut String) -> Option<Self> {
        let mut characters = text.chars();
        characters.next().filter(|_| characters.as_str().is_empty())
    }
}

macro_rules! whole_numbers {
    ($($number:ty: $expected:literal),+ $(,)?) => {$(
        impl FromArgument<'_> for $number {
            const EXPECTED: &'static str = $expected;

            fn from_argument(text: &mut String) -> Option<Self> {
                text.parse().ok()
            }
        }
    )+};
}

whole_numbers! {
    u8: "a whole number from 0 to 255",
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number from 0 to 18446744073709551615",
    u128: "a whole number, not negative",
    usize: "a whole number from 0 to 4294967295",
    i8: "a whole number from -128 to 127",
    i16: "a whole number from -32768 to 32767",
    i32: "a whole number from -2147483648 to 2147483647",
    i64: "a whole number from -9223372036854775808 to 9223372036854775807",
    i128: "a whole number",
    isize: "a whole number from -2147483648 to 2147483647",
}

macro_rules! decimal_numbers {
    ($($number:ty),+) => {$(
        /// Refuses infinity and NaN.
        impl FromArgument<'_> for $number {
            const EXPECTED: &'static str = "a number";

            fn from_argument(text: &mut String) -> Option<Self> {
                text.parse().ok().filter(|number: &$number| number.is_finite())
            }
        }
    )+};
}

decimal_numbers!(f32, f64);

/// A whole number with its unit: `500ms`, `10s`, `5m`, `2h` or `1d`.
impl FromArgument<'_> for Duration {
    const EXPECTED: &'static str = "a time such as 500ms, 10s, 5m, 2h or 1d";

    fn from_argument(text: &mut String) -> Option<Self> {
        duration(text)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'a> FromArgument<'a>>(text: &str) -> Option<T> {
        T::from_argument(&mut text.into())
    }

    #[test]
    fn times_have_a_unit() {
        let good = [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)];
        for (text, milliseconds) in good {
            assert_eq!(read(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s", "213503982334602d"] {
            assert_eq!(read::<Duration>(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!(read("255"), Some(255_u8));
        assert_eq!(read::<u8>("256"), None);
        assert_eq!(read("-128"), Some(-128_i8));
        assert_eq!(read::<u32>("-1"), None);
        assert_eq!(read::<u32>(" 1"), None);
        assert_eq!(read("1.5"), Some(1.5_f64));
        assert_eq!(read::<f64>("inf"), None);
        assert_eq!(read::<f64>("NaN"), None);
    }

    #[test]
    fn texts_characters_and_truths() {
        assert_eq!(read("a b"), Some(String::from("a b")));
        assert_eq!(<&str>::from_argument(&mut String::from("a b")), Some("a b"));
        assert_eq!(read("☃"), Some('☃'));
        assert_eq!((read::<char>(""), read::<char>("ab")), (None, None));
        assert_eq!((read("on"), read("false"), read::<bool>("1")), (Some(true), Some(false), None));
    }
}
