//! The SQL statements: row access for `rules`, and lookups for readers. Knows no rule and no transaction.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::fault::Fault;
use crate::state::rules::{self, Books, Row, Rows};
use crate::state::values::{Entry, Expiry, Key, Namespace, Page, Stat, Usage, Value};
use crate::state::version::Version;

/// An entry in a list: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// The version of its last write.
    pub version: Version,
    /// Its expiry; `None` is never.
    pub expires_at: Option<Expiry>,
    /// The size of its value in bytes.
    pub bytes: u64,
}

/// The rows of the namespace `id`.
pub(super) struct SqlRows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) id: i64,
}

impl Rows for SqlRows<'_> {
    type Fault = Fault;

    fn find(&mut self, key: &Key) -> Result<Option<Row>, Fault> {
        let sql =
            "SELECT version, expires_at, octet_length(value) FROM entry WHERE namespace = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = statement.query_row(params![self.id, key.as_str()], |row| {
            let (version, expires_at) = (version(row, 0)?, expiry(row, 1)?);
            Ok(Row { version, expires_at, value_bytes: unsigned(row.get(2)?) })
        });
        Ok(row.optional()?)
    }

    fn value(&mut self, key: &Key) -> Result<Value, Fault> {
        let sql = "SELECT value FROM entry WHERE namespace = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![self.id, key.as_str()], |row| value(row, 0))?)
    }

    fn put(
        &mut self,
        key: &Key,
        value: &Value,
        version: Version,
        expires_at: Option<Expiry>,
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO entry (namespace, key, version, expires_at, value) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT (namespace, key) DO UPDATE SET \
                   version = excluded.version, expires_at = excluded.expires_at, value = excluded.value";
        let (version, expires_at) = (signed(version.as_u64()), expires_at.map(|at| signed(at.as_ms())));
        let value: &[u8] = value.as_bytes();
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute(params![self.id, key.as_str(), version, expires_at, value])?;
        Ok(())
    }

    fn retime(&mut self, key: &Key, version: Version, expires_at: Option<Expiry>) -> Result<(), Fault> {
        let sql = "UPDATE entry SET version = ?3, expires_at = ?4 WHERE namespace = ?1 AND key = ?2";
        let (version, expires_at) = (signed(version.as_u64()), expires_at.map(|at| signed(at.as_ms())));
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute(params![self.id, key.as_str(), version, expires_at])?;
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> Result<(), Fault> {
        let sql = "DELETE FROM entry WHERE namespace = ?1 AND key = ?2";
        self.connection.prepare_cached(sql)?.execute(params![self.id, key.as_str()])?;
        Ok(())
    }

    fn remove_expired(&mut self, now_ms: u64, rows: usize) -> Result<Usage, Fault> {
        let sql = "DELETE FROM entry WHERE id IN \
                   (SELECT id FROM entry WHERE expires_at <= ?2 AND namespace = ?1 LIMIT ?3) \
                   RETURNING octet_length(key) + octet_length(value)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut removed = statement.query(params![self.id, signed(now_ms), signed(rows as u64)])?;
        let mut freed = Usage::default();
        while let Some(row) = removed.next()? {
            freed.add(Usage { keys: 1, bytes: unsigned(row.get(0)?) });
        }
        Ok(freed)
    }
}

/// Removes at most `rows` expired rows of any namespaces, and returns the namespace and usage of each.
pub(super) fn remove_expired(
    connection: &Connection,
    now_ms: u64,
    rows: usize,
) -> rusqlite::Result<Vec<(i64, Usage)>> {
    let sql = "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE expires_at <= ?1 LIMIT ?2) \
               RETURNING namespace, octet_length(key) + octet_length(value)";
    let mut statement = connection.prepare_cached(sql)?;
    let removed = statement.query_map(params![signed(now_ms), signed(rows as u64)], |row| {
        Ok((row.get(0)?, Usage { keys: 1, bytes: unsigned(row.get(1)?) }))
    })?;
    removed.collect()
}

/// Returns true if anything has expired. Writes nothing, so the check is cheap.
pub(super) fn has_expired(connection: &Connection, now_ms: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM entry WHERE expires_at <= ?1 LIMIT 1";
    connection.prepare_cached(sql)?.exists(params![signed(now_ms)])
}

/// The id of a namespace.
pub(super) fn namespace(connection: &Connection, namespace: &Namespace) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM namespace WHERE plugin = ?1 AND store = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let id = statement.query_row(params![&*namespace.plugin, &*namespace.store], |row| row.get(0));
    id.optional()
}

/// Returns the id of a namespace, and creates it if needed.
pub(super) fn make_namespace(connection: &Connection, wanted: &Namespace) -> rusqlite::Result<i64> {
    if let Some(id) = namespace(connection, wanted)? {
        return Ok(id);
    }
    let sql = "INSERT INTO namespace (plugin, store, keys, bytes, version) VALUES (?1, ?2, 0, 0, 0)";
    connection.prepare_cached(sql)?.execute(params![&*wanted.plugin, &*wanted.store])?;
    Ok(connection.last_insert_rowid())
}

/// The books of a namespace.
pub(super) fn books(connection: &Connection, id: i64) -> rusqlite::Result<Books> {
    let sql = "SELECT keys, bytes, version FROM namespace WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![id], |row| {
        let usage = Usage { keys: unsigned(row.get(0)?), bytes: unsigned(row.get(1)?) };
        Ok(Books { usage, version: unsigned(row.get(2)?) })
    })
}

/// Writes the books of a namespace.
pub(super) fn write_books(connection: &Connection, id: i64, books: &Books) -> rusqlite::Result<()> {
    let sql = "UPDATE namespace SET keys = ?2, bytes = ?3, version = ?4 WHERE id = ?1";
    let Books { usage, version } = books;
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![id, signed(usage.keys), signed(usage.bytes), signed(*version)])?;
    Ok(())
}

/// Reads a live entry.
pub(super) fn entry(
    connection: &Connection,
    id: i64,
    key: &Key,
    now_ms: u64,
) -> Result<Option<Entry>, Fault> {
    let sql = "SELECT version, expires_at, value FROM entry WHERE namespace = ?1 AND key = ?2 \
               AND (expires_at IS NULL OR expires_at > ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    let entry = statement.query_row(params![id, key.as_str(), signed(now_ms)], |row| {
        Ok(Entry { version: version(row, 0)?, expires_at: expiry(row, 1)?, value: value(row, 2)? })
    });
    Ok(entry.optional()?)
}

/// Reads live entries from a single snapshot.
pub(super) fn entries(
    connection: &Connection,
    id: i64,
    keys: &[Key],
    now_ms: u64,
) -> Result<Vec<Option<Entry>>, Fault> {
    let begins = connection.is_autocommit();
    let _snapshot = begins.then(|| connection.unchecked_transaction()).transpose()?;
    let mut bytes = 0;
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        let entry = entry(connection, id, key, now_ms)?;
        bytes += entry.as_ref().map_or(0, |entry| entry.value.as_bytes().len());
        rules::check_bytes(bytes)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads the version and size of a live entry; SQLite reads no page of the value for it.
pub(super) fn stat(connection: &Connection, id: i64, key: &Key, now_ms: u64) -> Result<Option<Stat>, Fault> {
    let sql = "SELECT version, octet_length(value) FROM entry WHERE namespace = ?1 AND key = ?2 \
               AND (expires_at IS NULL OR expires_at > ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    let stat = statement.query_row(params![id, key.as_str(), signed(now_ms)], |row| {
        let bytes = usize::try_from(unsigned(row.get(1)?)).unwrap_or(usize::MAX);
        Ok(Stat { version: version(row, 0)?, bytes })
    });
    Ok(stat.optional()?)
}

/// Reads one page of the live keys.
pub(super) fn page(
    connection: &Connection,
    id: i64,
    now_ms: u64,
    prefix: &str,
    cursor: Option<&Key>,
    limit: usize,
) -> Result<Page, Fault> {
    let sql = "SELECT key FROM entry WHERE namespace = ?1 AND key >= ?2 AND key > ?3 \
               AND (expires_at IS NULL OR expires_at > ?4) ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    // No key is empty, so all are after "".
    let after = cursor.map_or("", Key::as_str);
    let mut rows = statement.query(params![id, prefix, after, signed(now_ms)])?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(|error| Fault::Broken(error.into()))?;
        if !text.starts_with(prefix) {
            break;
        }
        if page.keys.len() == limit {
            page.next = page.keys.last().cloned();
            break;
        }
        page.keys.push(Key::new(text)?);
    }
    Ok(page)
}

/// Lists all namespaces with their usage.
pub(super) fn namespaces(connection: &Connection) -> rusqlite::Result<Vec<(Namespace, Usage)>> {
    let sql = "SELECT plugin, store, keys, bytes FROM namespace ORDER BY plugin, store";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (plugin, store): (String, String) = (row.get(0)?, row.get(1)?);
        let usage = Usage { keys: unsigned(row.get(2)?), bytes: unsigned(row.get(3)?) };
        Ok((Namespace::new(&plugin, &store), usage))
    })?;
    rows.collect()
}

/// Lists at most `limit` live entries whose keys begin with `prefix` and come after `after`, without their
/// values.
pub(super) fn listed(
    connection: &Connection,
    id: i64,
    now_ms: u64,
    (prefix, after, limit): (&str, Option<&Key>, usize),
) -> Result<Vec<Listed>, Fault> {
    let sql = "SELECT key, version, expires_at, octet_length(value) FROM entry WHERE namespace = ?1 \
               AND key >= ?2 AND key > ?3 AND (expires_at IS NULL OR expires_at > ?4) ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    // No key is empty, so all are after "".
    let after = after.map_or("", Key::as_str);
    let mut rows = statement.query(params![id, prefix, after, signed(now_ms)])?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()?.filter(|_| listed.len() < limit) {
        let text = row.get_ref(0)?.as_str().map_err(|error| Fault::Broken(error.into()))?;
        if !text.starts_with(prefix) {
            break;
        }
        let key = Key::new(text)?;
        let (version, expires_at) = (version(row, 1)?, expiry(row, 2)?);
        listed.push(Listed { key, version, expires_at, bytes: unsigned(row.get(3)?) });
    }
    Ok(listed)
}

fn version(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Version> {
    Ok(Version::from_u64(unsigned(row.get(column)?)))
}

fn expiry(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<Expiry>> {
    let ms: Option<i64> = row.get(column)?;
    Ok(ms.map(|ms| Expiry::kept(unsigned(ms))))
}

fn value(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Value> {
    let bytes = row.get_ref(column)?;
    Ok(Value::kept(bytes.as_blob().map_err(rusqlite::Error::from)?))
}

/// SQLite's integers are signed; ours never come near the end of their range.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
