//! The spool's file: records in the order they came, each written to the disk before anybody is
//! told that it is kept. Everything here blocks.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::kafka::OutgoingRecord;

/// When it was spooled (milliseconds since the epoch), topic, key, payload, headers.
type Stored<'a> =
    (i64, &'a str, Option<&'a [u8]>, Option<&'a [u8]>, Vec<(&'a str, Option<&'a [u8]>)>);

/// What waits for Kafka, by sequence.
const WAITING: TableDefinition<'static, u64, Stored<'static>> = TableDefinition::new("waiting");
/// What Kafka refused. It is tried again later, and nothing waits for it meanwhile.
const ASIDE: TableDefinition<'static, u64, Stored<'static>> = TableDefinition::new("aside");

/// The pages kept in memory. What waits is read in order and once, so a cache buys little.
const CACHE_BYTES: usize = 4 << 20;

/// A record in the spool.
#[derive(Debug, Clone)]
pub struct Entry {
    pub sequence: u64,
    /// When it was spooled, milliseconds since the epoch.
    pub at: i64,
    pub record: OutgoingRecord,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    pub waiting: u64,
    pub aside: u64,
    pub bytes: u64,
    /// The next free sequence.
    pub next: u64,
}

/// Why a spool cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the spool {path} belongs to another process at work; give each process an \
         `ingress.spool.path` of its own"
    )]
    InUse { path: String },
    #[error(
        "the spool {path} cannot be opened: {reason}; mend the disk, or move the file away to \
         start with an empty one (the webhooks in it are then missing until it is put back)"
    )]
    Unusable { path: String, reason: String },
    #[error("the spool {path} cannot be read or written: {reason}")]
    Failed { path: String, reason: String },
}

/// The open file.
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The bytes of a record that count against the bound.
pub fn size(record: &OutgoingRecord) -> u64 {
    let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + optional(value));
    let bytes = record.topic.len() + optional(&record.key) + optional(&record.payload);
    (bytes + headers.sum::<usize>()) as u64
}

impl Store {
    /// Opens the file, or makes it; one that a killed process left behind is put in order first.
    /// Records that were set aside wait again.
    pub fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        let shown = || path.display().to_string();
        let unusable = |reason: String| StoreError::Unusable { path: shown(), reason };
        if let Err(error) = create_private(path) {
            return Err(unusable(error.to_string()));
        }
        let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: shown() },
            other => unusable(other.to_string()),
        })?;
        let store = Self { database, path: path.to_owned() };
        let contents = store.set_in_order().map_err(|error| unusable(error.to_string()))?;
        Ok((store, contents))
    }

    fn failed(&self, error: &redb::Error) -> StoreError {
        StoreError::Failed { path: self.path.display().to_string(), reason: error.to_string() }
    }

    fn set_in_order(&self) -> Result<Contents, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut contents = Contents::default();
        {
            let mut waiting = transaction.open_table(WAITING)?;
            let mut aside = transaction.open_table(ASIDE)?;
            while let Some((sequence, stored)) = aside.pop_first()? {
                waiting.insert(sequence.value(), stored.value())?;
            }
            for found in waiting.iter()? {
                let (sequence, stored) = found?;
                contents.waiting += 1;
                contents.next = sequence.value() + 1;
                contents.bytes += size(&read(stored.value()).1);
            }
        }
        transaction.commit()?;
        Ok(contents)
    }

    /// Writes records behind the others and waits until the disk has them.
    pub fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut waiting = transaction.open_table(WAITING)?;
                for entry in entries {
                    waiting.insert(entry.sequence, stored(entry))?;
                }
            }
            // Durable when it returns: redb's default is a sync of the file.
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.failed(&error))
    }

    /// The oldest records, at most so many.
    pub fn oldest(&self, count: usize) -> Result<Vec<Entry>, StoreError> {
        let read = || -> Result<Vec<Entry>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let waiting = transaction.open_table(WAITING)?;
            let mut entries = Vec::new();
            for found in waiting.iter()?.take(count) {
                let (sequence, stored) = found?;
                let (at, record) = read(stored.value());
                entries.push(Entry { sequence: sequence.value(), at, record });
            }
            Ok(entries)
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Forgets records that Kafka has.
    pub fn remove(&self, sequences: &[u64]) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut waiting = transaction.open_table(WAITING)?;
                for sequence in sequences {
                    waiting.remove(sequence)?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.failed(&error))
    }

    /// Lets nothing wait for a record that Kafka refused. It stays in the file.
    pub fn set_aside(&self, sequence: u64) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut waiting = transaction.open_table(WAITING)?;
                let mut aside = transaction.open_table(ASIDE)?;
                if let Some(stored) = waiting.remove(sequence)? {
                    aside.insert(sequence, stored.value())?;
                }
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.failed(&error))
    }

    /// Lets the records that were set aside wait again, in their old place: how many.
    pub fn take_up_again(&self) -> Result<u64, StoreError> {
        self.set_in_order().map(|contents| contents.waiting).map_err(|error| self.failed(&error))
    }
}

/// The file holds names and addresses of people: it is made for its owner alone.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn stored(entry: &Entry) -> Stored<'_> {
    let OutgoingRecord { topic, key, payload, headers, .. } = &entry.record;
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    (entry.at, topic, key.as_deref(), payload.as_deref(), headers.collect())
}

fn read((at, topic, key, payload, headers): Stored<'_>) -> (i64, OutgoingRecord) {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), owned(value)));
    let record = OutgoingRecord {
        topic: topic.to_owned(),
        partition: None,
        key: owned(key),
        payload: owned(payload),
        headers: headers.collect(),
        timestamp: None,
    };
    (at, record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64) -> Entry {
        let record = OutgoingRecord {
            topic: "wms.jfwms.order".into(),
            key: sequence.is_multiple_of(2).then(|| b"key".to_vec()),
            payload: Some(vec![0, 255, u8::try_from(sequence).unwrap()]),
            headers: vec![("ce_id".into(), Some(b"1".to_vec())), ("none".into(), None)],
            ..OutgoingRecord::default()
        };
        Entry { sequence, at: 7, record }
    }

    fn sequences(store: &Store) -> Vec<u64> {
        store.oldest(100).unwrap().iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn records_come_back_as_they_were_in_order_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let (store, contents) = Store::open(&path).unwrap();
        assert_eq!(contents, Contents::default());
        let entries: Vec<_> = (0..5).map(entry).collect();
        store.append(&entries).unwrap();
        store.remove(&[0, 1]).unwrap();
        drop(store);
        let (store, contents) = Store::open(&path).unwrap();
        let bytes = (2..5).map(|n| size(&entry(n).record)).sum();
        assert_eq!(contents, Contents { waiting: 3, aside: 0, bytes, next: 5 });
        let found = store.oldest(2).unwrap();
        assert_eq!(found.len(), 2);
        for (found, sequence) in found.iter().zip(2..) {
            let expected = entry(sequence);
            assert_eq!((found.sequence, found.at), (sequence, 7));
            assert_eq!(found.record.topic, expected.record.topic);
            assert_eq!(found.record.key, expected.record.key);
            assert_eq!(found.record.payload, expected.record.payload);
            assert_eq!(found.record.headers, expected.record.headers);
        }
    }

    #[test]
    fn what_was_set_aside_is_kept_and_waits_again_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let (store, _) = Store::open(&path).unwrap();
        store.append(&(0..4).map(entry).collect::<Vec<_>>()).unwrap();
        store.set_aside(1).unwrap();
        assert_eq!(sequences(&store), [0, 2, 3]);
        assert_eq!(store.take_up_again().unwrap(), 4);
        assert_eq!(sequences(&store), [0, 1, 2, 3]);
        store.set_aside(2).unwrap();
        drop(store);
        let (store, contents) = Store::open(&path).unwrap();
        assert_eq!((contents.waiting, contents.next), (4, 4));
        assert_eq!(sequences(&store), [0, 1, 2, 3]);
    }

    #[test]
    fn a_file_has_one_process_and_a_broken_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let (store, _) = Store::open(&path).unwrap();
        let again = Store::open(&path).unwrap_err();
        assert!(matches!(again, StoreError::InUse { .. }), "{again}");
        drop(store);
        std::fs::write(&path, b"this is no spool, but somebody's file").unwrap();
        let broken = Store::open(&path).unwrap_err();
        assert!(matches!(broken, StoreError::Unusable { .. }), "{broken}");
        assert!(broken.to_string().contains("move the file away"), "{broken}");
        assert_eq!(std::fs::read(&path).unwrap(), b"this is no spool, but somebody's file");
    }
}
