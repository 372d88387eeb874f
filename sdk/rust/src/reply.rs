//! Conversion of a command's value to the bytes of its reply.

use std::borrow::Cow;

use crate::Failure;

/// A type that a command can return.
///
/// Implemented for texts and bytes as they are, numbers in decimal, `bool` as `true` or `false`, `()` as an
/// empty reply, `Option`, of which `None` is the failure `not-found`, and `Result` with any error that
/// converts into a [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a command can't return `{Self}`",
    label = "implement `lictor_plugin::IntoReply` for it",
    note = "there are (), texts, bytes, numbers, bool, char, Option, and Result with an error that turns into a `Failure`"
)]
pub trait IntoReply {
    /// Converts the value to the reply, or to a failure.
    fn into_reply(self) -> Result<Vec<u8>, Failure>;
}

impl IntoReply for () {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }
}

impl IntoReply for Vec<u8> {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self)
    }
}

impl IntoReply for &[u8] {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self.to_owned())
    }
}

impl IntoReply for String {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self.into_bytes())
    }
}

impl IntoReply for &str {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self.as_bytes().to_owned())
    }
}

impl IntoReply for Cow<'_, str> {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self.into_owned().into_bytes())
    }
}

impl IntoReply for bool {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        (if self { "true" } else { "false" }).into_reply()
    }
}

macro_rules! as_text {
    ($($number:ty),+) => {$(
        impl IntoReply for $number {
            fn into_reply(self) -> Result<Vec<u8>, Failure> {
                Ok(self.to_string().into_bytes())
            }
        }
    )+};
}

as_text!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, char);

impl<T: IntoReply> IntoReply for Option<T> {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        self.ok_or_else(|| Failure::not_found("not found"))?.into_reply()
    }
}

impl<T: IntoReply, E: Into<Failure>> IntoReply for Result<T, E> {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        self.map_err(Into::into)?.into_reply()
    }
}

/// For a command that only fails.
impl IntoReply for Failure {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Err(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_bytes() {
        assert_eq!(().into_reply().unwrap(), b"");
        assert_eq!("a".into_reply().unwrap(), b"a");
        assert_eq!((-5_i64).into_reply().unwrap(), b"-5");
        assert_eq!(0.5_f64.into_reply().unwrap(), b"0.5");
        assert_eq!(true.into_reply().unwrap(), b"true");
        assert_eq!(Some("a").into_reply().unwrap(), b"a");
        assert_eq!(None::<String>.into_reply().unwrap_err().code(), "not-found");
        assert_eq!(Err::<(), _>("no").into_reply().unwrap_err().message(), "no");
        assert_eq!(Ok::<_, Failure>(Some(1)).into_reply().unwrap(), b"1");
    }
}
