//! The stored form of one request: bytes under its key and, if the answer is large, parts under adjacent
//! keys.
//!
//! A record begins with a format number and the fingerprint, so that a later release can recognise this
//! format.

use bytes::{BufMut, Bytes, BytesMut};

use super::fingerprint::Fingerprint;
use crate::state::{Key, StateError, Store, Ttl, Value};
use crate::wire::{Code, CommandError, Outcome, Reply};

/// The number of this format.
const FORM: u8 = 1;

/// The length of everything before an answer's bytes: format, fingerprint, kind.
const HEAD_BYTES: usize = 1 + Fingerprint::BYTES + 1;

/// The longest answer stored in the record itself. A longer one is stored in parts of this size, so that no
/// write of an answer delays others for long.
pub(super) const PART_BYTES: usize = Value::DEFAULT_MAX_BYTES;

/// The size of a record of an answer in parts.
pub(super) const IN_PARTS_BYTES: usize = HEAD_BYTES + size_of::<u64>();

/// The state of a request. While the record is written, the answer stays with the caller that will send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<A = Reply> {
    /// The request began.
    Begun,
    /// The request was answered.
    Answered(A),
    /// The request was answered with this many bytes, stored in parts.
    InParts(u64),
    /// The request was answered, but the answer did not fit. No larger than [`Record::Begun`], which it
    /// replaces.
    NotKept,
}

impl Record<&Reply> {
    pub(super) fn encode(&self, fingerprint: Fingerprint) -> Result<Value, StateError> {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.content_bytes());
        bytes.put_u8(FORM);
        bytes.put_slice(fingerprint.as_bytes());
        match self {
            Self::Begun => bytes.put_u8(b'b'),
            Self::NotKept => bytes.put_u8(b'n'),
            Self::InParts(size) => {
                bytes.put_u8(b'p');
                bytes.put_u64_le(*size);
            }
            Self::Answered(Ok(body)) => {
                bytes.put_u8(b'a');
                bytes.put_slice(body);
            }
            Self::Answered(Err(error)) => {
                bytes.put_u8(b'e');
                put_line(error.code.as_str(), &mut bytes);
                put_line(error.outcome.as_str(), &mut bytes);
                bytes.put_slice(error.message.as_bytes());
            }
        }
        Value::within(bytes, HEAD_BYTES + PART_BYTES)
    }

    fn content_bytes(&self) -> usize {
        match self {
            Self::Answered(Ok(body)) => body.len(),
            Self::Answered(Err(error)) => 64 + error.message.len(),
            Self::Begun | Self::InParts(_) | Self::NotKept => size_of::<u64>(),
        }
    }
}

impl Record {
    /// Decodes a record, and the fingerprint of its request. An unreadable record, written by a later
    /// release, is read as begun, for an unknown request.
    pub(super) fn decode(bytes: Bytes) -> (Option<Fingerprint>, Self) {
        Self::read(bytes).map_or((None, Self::Begun), |(of, record)| (Some(of), record))
    }

    fn read(mut content: Bytes) -> Option<(Fingerprint, Self)> {
        if content.len() < HEAD_BYTES {
            return None;
        }
        let head = content.split_to(HEAD_BYTES);
        let [FORM, fingerprint @ .., kind] = &head[..] else { return None };
        let (fingerprint, kind) = (Fingerprint::from_bytes(fingerprint.try_into().ok()?), *kind);
        // Drops the only other reference to the bytes, so that they become the answer without a copy.
        drop(head);
        let record = match kind {
            b'b' => Self::Begun,
            b'n' => Self::NotKept,
            b'p' => Self::InParts(u64::from_le_bytes(content[..].try_into().ok()?)),
            b'a' => Self::Answered(Ok(content.into())),
            b'e' => Self::Answered(Err(error(&content)?)),
            _ => return None,
        };
        Some((fingerprint, record))
    }
}

fn put_line(text: &str, bytes: &mut BytesMut) {
    bytes.put_slice(text.as_bytes());
    bytes.put_u8(b'\n');
}

fn error(content: &[u8]) -> Option<CommandError> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines = text.splitn(3, '\n');
    let (code, outcome, message) = (lines.next()?, lines.next()?, lines.next()?);
    let code = Code::ALL.into_iter().find(|known| known.as_str() == code)?;
    let outcomes = [Outcome::NotRun, Outcome::Failed, Outcome::Unknown];
    let outcome = outcomes.into_iter().find(|known| known.as_str() == outcome)?;
    Some(CommandError { code, outcome, message: message.to_owned().into() })
}

/// Stores `body` in parts beside `key`, copying one at a time. Overwrites existing parts.
pub(super) async fn spread(store: &dyn Store, key: &Key, body: &[u8], ttl: Ttl) -> Result<(), StateError> {
    for (number, part) in body.chunks(PART_BYTES).enumerate() {
        let part = Value::new(Bytes::copy_from_slice(part))?;
        store.set(part_key(key, number)?, part, Some(ttl)).await?;
    }
    Ok(())
}

/// Reads the answer of `bytes` bytes whose parts are beside `key`; `None` if a part is missing.
pub(super) async fn gather(
    store: &dyn Store,
    key: &Key,
    bytes: usize,
) -> Result<Option<Vec<u8>>, StateError> {
    let mut body = Vec::with_capacity(bytes);
    for number in 0..bytes.div_ceil(PART_BYTES) {
        let Some(part) = store.get(&part_key(key, number)?).await? else { return Ok(None) };
        body.extend_from_slice(part.value.as_bytes());
    }
    Ok((body.len() == bytes).then_some(body))
}

/// Removes the parts of an answer of `bytes` bytes that were stored so far.
pub(super) async fn forget(store: &dyn Store, key: &Key, bytes: usize) -> Result<(), StateError> {
    for number in 0..bytes.div_ceil(PART_BYTES) {
        store.delete(part_key(key, number)?).await?;
    }
    Ok(())
}

/// A request's key never contains a space, so part keys can't collide with one.
fn part_key(key: &Key, number: usize) -> Result<Key, StateError> {
    Key::new(&format!("{} {number}", key.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> Fingerprint {
        Fingerprint::from_bytes(std::array::from_fn(|place| place as u8))
    }

    fn encoded(record: &Record) -> Bytes {
        let record = match record {
            Record::Begun => Record::Begun,
            Record::Answered(answer) => Record::Answered(answer),
            Record::InParts(bytes) => Record::InParts(*bytes),
            Record::NotKept => Record::NotKept,
        };
        record.encode(fingerprint()).unwrap().into_bytes()
    }

    #[test]
    fn what_is_kept_comes_back() {
        let mut records = vec![
            Record::Begun,
            Record::NotKept,
            Record::InParts(u64::MAX),
            Record::Answered(Ok(Vec::new())),
            Record::Answered(Ok(b"\0\xff\n".to_vec())),
        ];
        for code in Code::ALL {
            for outcome in [Outcome::NotRun, Outcome::Failed, Outcome::Unknown] {
                let message = "two\nlines \u{2603}".into();
                records.push(Record::Answered(Err(CommandError { code, outcome, message })));
            }
        }
        for record in records {
            assert_eq!(Record::decode(encoded(&record)), (Some(fingerprint()), record));
        }
    }

    #[test]
    fn that_there_was_no_room_needs_none() {
        assert!(encoded(&Record::NotKept).len() <= encoded(&Record::Begun).len());
    }

    #[test]
    fn what_cannot_be_read_has_begun() {
        let good = encoded(&Record::Answered(Err(CommandError::failed(Code::Denied, "no"))));
        let mut other_form = good.to_vec();
        other_form[0] = FORM + 1;
        let unknown_code = String::from_utf8_lossy(&good[HEAD_BYTES..]).replace("denied", "nosuch");
        let unknown_code = [&good[..HEAD_BYTES], unknown_code.as_bytes()].concat();
        for bytes in [&other_form[..], &unknown_code, &good[..HEAD_BYTES], &good[..3], b""] {
            let decoded = Record::decode(Bytes::copy_from_slice(bytes));
            assert_eq!(decoded, (None, Record::Begun), "{bytes:?}");
        }
    }

    #[test]
    fn the_largest_answer_of_one_record_fits() {
        assert!(Record::Answered(&Ok(vec![0; PART_BYTES])).encode(fingerprint()).is_ok());
        assert!(Record::Answered(&Ok(vec![0; PART_BYTES + 1])).encode(fingerprint()).is_err());
    }

    #[test]
    fn only_the_record_of_an_answer_in_parts_has_to_be_read_to_tell_its_size() {
        assert_eq!(encoded(&Record::InParts(7)).len(), IN_PARTS_BYTES);
        for (record, bytes) in
            [(Record::Begun, 0), (Record::NotKept, 0), (Record::Answered(Ok(vec![0; 99])), 99)]
        {
            assert_eq!(encoded(&record).len(), HEAD_BYTES + bytes);
        }
    }
}
