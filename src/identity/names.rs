//! Names in certificates, in every text encoding that certificates have had.

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use crate::text::shown;

/// Maximum characters of a certificate's name shown.
pub const MAX_NAME_CHARS: usize = 64;

/// Shown in place of a missing or unreadable name.
pub(super) const UNKNOWN: &str = "<Unknown>";

/// The last entry of a name, escaped and truncated.
pub(super) fn last_name(name: &X509Name<'_>) -> String {
    let last = name.iter_attributes().last();
    let name = last.and_then(|entry| text(entry.attr_value())).filter(|name| !name.is_empty());
    name.map_or_else(|| UNKNOWN.to_owned(), |name| shown(&name, MAX_NAME_CHARS).to_string())
}

/// The whole subject of a certificate, such as `O=Example, CN=laptop`, escaped and truncated to `max_chars`.
#[must_use]
pub fn subject(certificate: &X509Certificate<'_>, max_chars: usize) -> String {
    let part = |parts: Vec<String>, between| parts.join(between);
    let levels = certificate.subject().iter().map(|level| part(level.iter().map(entry).collect(), " + "));
    shown(&part(levels.collect(), ", "), max_chars).to_string()
}

/// An entry of a name, such as `CN=laptop`.
fn entry(entry: &AttributeTypeAndValue<'_>) -> String {
    let kind = entry.attr_type();
    let kind = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
    format!("{kind}={}", text(entry.attr_value()).as_deref().unwrap_or(UNKNOWN))
}

/// The text of a value. T61 (Teletex) has several alphabets, but its writers meant Latin-1; so did those that
/// put non-ASCII bytes into an ASCII type.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    let latin = || bytes.iter().copied().map(char::from).collect::<String>();
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::NumericString | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            Some(std::str::from_utf8(bytes).map_or_else(|_| latin(), str::to_owned))
        }
        Tag::T61String => Some(latin()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
        }
        Tag::UniversalString => {
            let characters =
                bytes.chunks(4).map(|unit| char::from_u32(u32::from_be_bytes(unit.try_into().ok()?)));
            characters.collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::asn1_rs::FromDer;

    use super::*;

    #[test]
    fn a_text_is_read_in_each_encoding_and_nothing_is_made_of_half_a_character() {
        for (der, read) in [
            (&b"\x0c\x05caf\xc3\xa9"[..], Some("café")),
            (b"\x0c\x04caf\xe9", None),
            (b"\x13\x04cafe", Some("cafe")),
            (b"\x13\x04caf\xe9", Some("café")),
            (b"\x16\x01*", Some("*")),
            (b"\x14\x04caf\xe9", Some("café")),
            (b"\x1e\x08\0c\0a\0f\0\xe9", Some("café")),
            (b"\x1e\x04\xd8\x3d\xde\x00", Some("\u{1f600}")),
            (b"\x1e\x03\0c\0", None),
            (b"\x1e\x02\xd8\x3d", None),
            (b"\x1c\x08\0\0\0\xe9\0\x01\xf6\0", Some("é\u{1f600}")),
            (b"\x1c\x03\0\0\0", None),
            (b"\x1c\x04\0\0\xd8\0", None),
            (b"\x02\x01\x05", None),
        ] {
            let (_, value) = Any::from_der(der).unwrap();
            assert_eq!(text(&value).as_deref(), read, "{der:?}");
        }
    }
}
