//! The spool's file: records in the order they came, each written to the disk before anybody is
//! told that it is kept. Everything here blocks.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::usage::{Usage, source};
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
    pub record: OutgoingRecord,
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub waiting: u64,
    /// The same by topic.
    pub topics: BTreeMap<String, u64>,
    pub aside: u64,
    /// Of both.
    pub bytes: Usage,
    /// When the first that waits was spooled, milliseconds since the epoch.
    pub oldest: Option<i64>,
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
        "the spool {path} cannot be opened: {reason}; nothing in it was deleted. Mend the disk, or \
         move the file away to start with an empty one (the webhooks in it were answered as taken, \
         and are then missing until it is put back)"
    )]
    Unusable { path: String, reason: String },
    #[error(
        "the spool {path} cannot be made: {reason}; make its folder, and let the user of the \
         connector write there"
    )]
    NotMade { path: String, reason: String },
    #[error("the spool {path} cannot be read or written: {reason}")]
    Failed { path: String, reason: String },
}

/// The file. Whatever goes wrong, it is opened anew with the next use: after an I/O error the
/// database refuses everything else, and what the failed transaction left behind is counted again.
pub struct Store {
    path: PathBuf,
    database: Option<Database>,
    next: u64,
    contents: Contents,
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
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = || path.display().to_string();
        let unusable = |reason: String| StoreError::Unusable { path: shown(), reason };
        create_private(path).map_err(|error| not_made(path, &error))?;
        let (path_buf, contents) = (path.to_owned(), Contents::default());
        let mut store = Self { path: path_buf, database: None, next: 0, contents };
        match store.reopen() {
            Ok(()) => Ok(store),
            Err(redb::Error::DatabaseAlreadyOpen) => Err(StoreError::InUse { path: shown() }),
            Err(other) => Err(unusable(other.to_string())),
        }
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    fn reopen(&mut self) -> Result<(), redb::Error> {
        self.database = None;
        // Checked whole: a damaged file must be an error now, not a panic of the database later.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| {
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .create(&self.path)?;
            let (contents, next) = set_in_order(&database)?;
            Ok::<_, redb::Error>((database, contents, next))
        }));
        let damaged = |_| Err(redb::Error::Corrupted("it is damaged".to_owned()));
        let (database, contents, next) = opened.unwrap_or_else(damaged)?;
        (self.database, self.contents) = (Some(database), contents);
        self.next = self.next.max(next);
        Ok(())
    }

    /// Does something with the open file.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database, &mut Contents, &mut u64) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut done = if self.database.is_none() { self.reopen() } else { Ok(()) };
        let (mut contents, mut next) = (self.contents.clone(), self.next);
        let done = match (&self.database, &mut done) {
            (Some(database), Ok(())) => work(database, &mut contents, &mut next),
            (_, done) => Err(std::mem::replace(done, Ok(())).err().unwrap_or_else(closed)),
        };
        match done {
            Ok(value) => {
                (self.contents, self.next) = (contents, next);
                Ok(value)
            }
            Err(error) => {
                self.database = None;
                let path = self.path.display().to_string();
                Err(StoreError::Failed { path, reason: error.to_string() })
            }
        }
    }

    /// Writes records behind the others and waits until the disk has them.
    pub fn append(&mut self, at: i64, records: &[OutgoingRecord]) -> Result<(), StoreError> {
        self.with(|database, contents, next| {
            let transaction = database.begin_write()?;
            {
                let mut waiting = transaction.open_table(WAITING)?;
                for record in records {
                    waiting.insert(*next, stored(at, record))?;
                    *next += 1;
                    contents.bytes.add(source(record), size(record));
                    *contents.topics.entry(record.topic.clone()).or_default() += 1;
                }
            }
            count(&transaction, contents)?;
            // Durable when it returns: redb's default is a sync of the file.
            Ok(transaction.commit()?)
        })
    }

    /// The records from a sequence on: at most so many, at most so many bytes, but at least one.
    pub fn read(
        &mut self,
        from: u64,
        count: usize,
        mut bytes: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        self.with(|database, _, _| {
            let transaction = database.begin_read()?;
            let waiting = transaction.open_table(WAITING)?;
            let mut entries: Vec<Entry> = Vec::new();
            for found in waiting.range(from..)?.take(count) {
                let (sequence, stored) = found?;
                let record = read(stored.value());
                let size = size(&record);
                if size > bytes && !entries.is_empty() {
                    break;
                }
                bytes = bytes.saturating_sub(size);
                entries.push(Entry { sequence: sequence.value(), record });
            }
            Ok(entries)
        })
    }

    /// Forgets records that Kafka has, and lets nothing wait for those that it refused: they stay in
    /// the file.
    pub fn settle(&mut self, sent: &[u64], refused: &[u64]) -> Result<(), StoreError> {
        self.with(|database, contents, _| {
            let transaction = database.begin_write()?;
            {
                let mut waiting = transaction.open_table(WAITING)?;
                let mut aside = transaction.open_table(ASIDE)?;
                for sequence in sent {
                    if let Some(stored) = waiting.remove(sequence)? {
                        let record = read(stored.value());
                        contents.bytes.remove(source(&record), size(&record));
                        count_down(&mut contents.topics, &record.topic);
                    }
                }
                for sequence in refused {
                    if let Some(stored) = waiting.remove(sequence)? {
                        count_down(&mut contents.topics, stored.value().1);
                        aside.insert(sequence, stored.value())?;
                    }
                }
            }
            count(&transaction, contents)?;
            Ok(transaction.commit()?)
        })
    }

    /// Lets the records that were set aside wait again, in their old place.
    pub fn take_up_again(&mut self) -> Result<(), StoreError> {
        self.with(|database, contents, _| {
            (*contents, _) = set_in_order(database)?;
            Ok(())
        })
    }
}

/// One record of a topic less; a topic without any is not there.
pub(super) fn count_down(topics: &mut BTreeMap<String, u64>, topic: &str) {
    if let Some(count) = topics.get_mut(topic) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            topics.remove(topic);
        }
    }
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

/// Puts back what was set aside, and counts what there is: the contents, and the next sequence.
fn set_in_order(database: &Database) -> Result<(Contents, u64), redb::Error> {
    let transaction = database.begin_write()?;
    let (mut contents, mut next) = (Contents::default(), 0);
    {
        let mut waiting = transaction.open_table(WAITING)?;
        let mut aside = transaction.open_table(ASIDE)?;
        while let Some((sequence, stored)) = aside.pop_first()? {
            waiting.insert(sequence.value(), stored.value())?;
        }
        for found in waiting.iter()? {
            let (sequence, stored) = found?;
            next = sequence.value() + 1;
            let record = read(stored.value());
            contents.bytes.add(source(&record), size(&record));
            *contents.topics.entry(record.topic).or_default() += 1;
        }
    }
    count(&transaction, &mut contents)?;
    transaction.commit()?;
    Ok((contents, next))
}

/// What the tables hold within the transaction, but for the bytes.
fn count(transaction: &WriteTransaction, contents: &mut Contents) -> Result<(), redb::Error> {
    let waiting = transaction.open_table(WAITING)?;
    (contents.waiting, contents.aside) = (waiting.len()?, transaction.open_table(ASIDE)?.len()?);
    contents.oldest = waiting.first()?.map(|(_, stored)| stored.value().0);
    Ok(())
}

/// Whether a file could be made where there is none: one beside it is, and goes again.
pub fn can_be_made(path: &Path) -> Result<(), StoreError> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(format!(".{}.check", std::process::id()));
    let made = create_private(Path::new(&probe)).and_then(|()| std::fs::remove_file(&probe));
    made.map_err(|error| not_made(path, &error))
}

fn not_made(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::NotMade { path: path.display().to_string(), reason: error.to_string() }
}

/// The file holds names and addresses of people: it is its owner's alone, also one that was there
/// before.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // The name, too, has to outlive a power cut.
        Ok(_) => match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => std::fs::File::open(".")?.sync_all(),
        },
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => make_private(path),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = std::fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the spool's file was open to others; it is its owner's alone now");
    permissions.set_mode(0o600);
    std::fs::set_permissions(path, permissions)
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn stored(at: i64, record: &OutgoingRecord) -> Stored<'_> {
    let OutgoingRecord { topic, key, payload, headers, .. } = record;
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    (at, topic, key.as_deref(), payload.as_deref(), headers.collect())
}

fn read((_at, topic, key, payload, headers): Stored<'_>) -> OutgoingRecord {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), owned(value)));
    OutgoingRecord {
        topic: topic.to_owned(),
        partition: None,
        key: owned(key),
        payload: owned(payload),
        headers: headers.collect(),
        timestamp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> OutgoingRecord {
        OutgoingRecord {
            topic: "wms.jfwms.order".into(),
            key: number.is_multiple_of(2).then(|| b"key".to_vec()),
            payload: Some(vec![0, 255, number]),
            headers: vec![
                ("ce_id".into(), Some(b"1".to_vec())),
                ("none".into(), None),
                ("ce_source".into(), Some(b"/jfwms/a".to_vec())),
            ],
            ..OutgoingRecord::default()
        }
    }

    fn records(numbers: std::ops::Range<u8>) -> Vec<OutgoingRecord> {
        numbers.map(record).collect()
    }

    fn bytes(numbers: &[u8]) -> u64 {
        numbers.iter().map(|number| size(&record(*number))).sum()
    }

    fn usage(numbers: &[u8]) -> Usage {
        let mut usage = Usage::default();
        usage.add("/jfwms/a", bytes(numbers));
        usage
    }

    fn contents(waiting: u64, aside: u64, bytes: Usage) -> Contents {
        let topics = BTreeMap::from([("wms.jfwms.order".to_owned(), waiting)]);
        Contents { waiting, topics, aside, bytes, oldest: Some(7) }
    }

    fn sequences(store: &mut Store) -> Vec<u64> {
        let entries = store.read(0, 100, u64::MAX).unwrap();
        entries.iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn records_come_back_as_they_were_in_order_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.contents(), &Contents::default());
        store.append(6, &records(0..2)).unwrap();
        store.append(7, &records(2..5)).unwrap();
        store.settle(&[0, 1], &[]).unwrap();
        let contents = contents(3, 0, usage(&[2, 3, 4]));
        assert_eq!(store.contents(), &contents);
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.contents(), &contents);
        let found = store.read(0, 2, u64::MAX).unwrap();
        assert_eq!(found.len(), 2);
        for (found, number) in found.iter().zip(2..) {
            let expected = record(number);
            assert_eq!(found.sequence, u64::from(number));
            assert_eq!(found.record.topic, expected.topic);
            assert_eq!(found.record.key, expected.key);
            assert_eq!(found.record.payload, expected.payload);
            assert_eq!(found.record.headers, expected.headers);
        }
        store.append(8, &records(9..10)).unwrap();
        assert_eq!(sequences(&mut store), [2, 3, 4, 5]);
    }

    #[test]
    fn what_was_set_aside_is_kept_and_waits_again_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut store = Store::open(&path).unwrap();
        store.append(7, &records(0..4)).unwrap();
        store.settle(&[], &[1]).unwrap();
        assert_eq!(sequences(&mut store), [0, 2, 3]);
        let all = contents(3, 1, usage(&[0, 1, 2, 3]));
        assert_eq!(store.contents(), &all);
        store.take_up_again().unwrap();
        assert_eq!(sequences(&mut store), [0, 1, 2, 3]);
        store.settle(&[0], &[2]).unwrap();
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!((store.contents().waiting, store.contents().aside), (3, 0));
        assert_eq!(sequences(&mut store), [1, 2, 3]);
    }

    #[test]
    fn a_batch_is_bounded_and_never_empty_while_something_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("spool")).unwrap();
        store.append(7, &records(0..9)).unwrap();
        assert_eq!(store.read(0, 4, u64::MAX).unwrap().len(), 4);
        assert_eq!(store.read(0, 9, bytes(&[0, 1, 2])).unwrap().len(), 3);
        assert_eq!(store.read(0, 9, 1).unwrap().len(), 1);
        assert_eq!(store.read(8, 9, u64::MAX).unwrap()[0].sequence, 8);
        assert!(store.read(9, 9, u64::MAX).unwrap().is_empty());
    }

    #[test]
    fn a_file_has_one_process_and_a_damaged_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut store = Store::open(&path).unwrap();
        store.append(7, &records(0..50)).unwrap();
        let again = Store::open(&path).unwrap_err();
        assert!(matches!(again, StoreError::InUse { .. }), "{again}");
        drop(store);
        let sound = std::fs::read(&path).unwrap();
        let noise: Vec<u8> = sound.iter().map(|byte| byte ^ 0x5a).collect();
        let mut holes = sound.clone();
        holes.iter_mut().skip(4096).for_each(|byte| *byte = 0);
        let cut = sound[..sound.len() / 3].to_vec();
        for damaged in [b"this is no spool, but somebody's file".to_vec(), noise, holes, cut] {
            std::fs::write(&path, &damaged).unwrap();
            let broken = Store::open(&path).unwrap_err();
            assert!(matches!(broken, StoreError::Unusable { .. }), "{broken}");
            assert!(broken.to_string().contains("move the file away"), "{broken}");
            assert!(std::fs::read(&path).unwrap().len() >= damaged.len(), "{broken}");
        }
        std::fs::write(&path, &sound).unwrap();
        assert_eq!(Store::open(&path).unwrap().contents().waiting, 50);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_open_to_others_is_closed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(Store::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        drop(Store::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
    }

    /// After an I/O error the database wants to be opened again; the spool does that by itself.
    #[test]
    fn a_failure_is_no_reason_to_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("spool")).unwrap();
        store.append(7, &records(0..3)).unwrap();
        let failed = store.with(|database, contents, next| {
            // Written by a transaction whose end nobody learns.
            let transaction = database.begin_write()?;
            transaction.open_table(WAITING)?.insert(*next, stored(7, &record(3)))?;
            transaction.commit()?;
            contents.waiting += 7;
            Err::<(), _>(redb::Error::PreviousIo)
        });
        assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
        store.append(8, &records(4..5)).unwrap();
        assert_eq!(sequences(&mut store), [0, 1, 2, 3, 4]);
        assert_eq!(store.contents().waiting, 5);
        assert_eq!(store.contents().bytes, usage(&[0, 1, 2, 3, 4]));
    }
}
