//! What is kept of one request: bytes under its key, and, where the answer is large, parts of it under keys beside that.
//!
//! A record begins with the form's number and the fingerprint, so that a later release can tell its own form from this.

use bytes::{BufMut, Bytes, BytesMut};

use super::Answer;
use super::fingerprint::Fingerprint;
use crate::state::{Key, StateError, Store, Ttl, Value};
use crate::wire::{Code, CommandError, Outcome};

/// The number of this form.
const FORM: u8 = 1;

/// What stands before an answer's bytes: form, fingerprint, kind.
const HEAD_BYTES: usize = 1 + Fingerprint::BYTES + 1;

/// The longest answer that stands in its record; a longer one is kept in parts of this size, so that no write of an answer
/// holds up the writes of others for long.
pub(super) const PART_BYTES: usize = Value::DEFAULT_MAX_BYTES;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It began.
    Begun,
    /// It was answered so.
    Answered(Answer),
    /// It was answered with so many bytes, which are kept in parts.
    InParts(u64),
    /// It was answered, and there was no room for the answer. Not larger than [`Record::Begun`], whose place it takes.
    NotKept,
}

impl Record {
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

    /// The record in `bytes`, and of which request it is. What can't be read, since a later release wrote it, is something
    /// that began, of whatever request.
    pub(super) fn decode(bytes: &[u8]) -> (Option<Fingerprint>, Self) {
        Self::read(bytes).map_or((None, Self::Begun), |(of, record)| (Some(of), record))
    }

    fn read(bytes: &[u8]) -> Option<(Fingerprint, Self)> {
        let (head, content) = bytes.split_at_checked(HEAD_BYTES)?;
        let [FORM, fingerprint @ .., kind] = head else { return None };
        let record = match kind {
            b'b' => Self::Begun,
            b'n' => Self::NotKept,
            b'p' => Self::InParts(u64::from_le_bytes(content.try_into().ok()?)),
            b'a' => Self::Answered(Ok(content.to_vec())),
            b'e' => Self::Answered(Err(error(content)?)),
            _ => return None,
        };
        Some((Fingerprint::from_bytes(fingerprint.try_into().ok()?), record))
    }

    fn content_bytes(&self) -> usize {
        match self {
            Self::Answered(Ok(body)) => body.len(),
            Self::Answered(Err(error)) => 64 + error.message.len(),
            Self::Begun | Self::InParts(_) | Self::NotKept => size_of::<u64>(),
        }
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

/// Keeps `body` in parts beside `key`. Whatever is there already is written over.
pub(super) async fn spread(store: &dyn Store, key: &Key, body: Vec<u8>, ttl: Ttl) -> Result<(), StateError> {
    let mut rest = Bytes::from(body);
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        let part = rest.split_to(rest.len().min(PART_BYTES));
        store.set(part_key(key, number)?, Value::new(part)?, Some(ttl)).await?;
    }
    Ok(())
}

/// The answer of `bytes` bytes whose parts are beside `key`; nothing where any is not there.
pub(super) async fn gather(store: &dyn Store, key: &Key, bytes: u64) -> Result<Option<Vec<u8>>, StateError> {
    let Ok(bytes) = usize::try_from(bytes) else { return Ok(None) };
    let mut body = Vec::with_capacity(bytes);
    for number in 0..bytes.div_ceil(PART_BYTES) {
        let Some(part) = store.get(&part_key(key, number)?).await? else { return Ok(None) };
        body.extend_from_slice(part.value.as_bytes());
    }
    Ok((body.len() == bytes).then_some(body))
}

/// Takes away the parts of an answer of `bytes` bytes that were kept so far.
pub(super) async fn forget(store: &dyn Store, key: &Key, bytes: usize) -> Result<(), StateError> {
    for number in 0..bytes.div_ceil(PART_BYTES) {
        store.delete(part_key(key, number)?).await?;
    }
    Ok(())
}

/// No request's key has a space.
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
            assert_eq!(Record::decode(&encoded(&record)), (Some(fingerprint()), record));
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
            assert_eq!(Record::decode(bytes), (None, Record::Begun), "{bytes:?}");
        }
    }

    #[test]
    fn the_largest_answer_of_one_record_fits() {
        assert!(Record::Answered(Ok(vec![0; PART_BYTES])).encode(fingerprint()).is_ok());
        assert!(Record::Answered(Ok(vec![0; PART_BYTES + 1])).encode(fingerprint()).is_err());
    }
}
