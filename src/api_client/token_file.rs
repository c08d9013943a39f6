//! Tokens in a sealed file, for one process.
//!
//! The file is JSON, one sealed record an account, mode 0600. It is replaced as a whole: a
//! temporary file beside it is written, synced and renamed over it, then the folder is synced, so
//! that a crash at any moment leaves either the old file or the new one. Each write holds a lock
//! file, because `wms-connector authorize` may write while `run` is up.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{
    seal::{InvalidKey, SealingKeys},
    sealed_tokens::SealedTokens,
    token_store::{StoreError, StoredTokens, TokenStore, may_follow},
};
use crate::domain::{AccountName, Secret};

/// The file store (`[tokens] store = "file"`).
#[derive(Debug, Clone)]
pub struct FileTokenStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    keys: SealingKeys,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct TokenFile {
    format: u32,
    accounts: BTreeMap<String, SealedTokens>,
}

const FORMAT: u32 = 1;

impl FileTokenStore {
    /// A store at `tokens.path`, sealed with `tokens.key`; `tokens.previous_key` still opens.
    pub fn new(
        path: impl Into<PathBuf>,
        key: &Secret,
        previous_key: Option<&Secret>,
    ) -> Result<Self, InvalidKey> {
        let keys = SealingKeys::new(key, previous_key)?;
        Ok(Self { inner: Arc::new(Inner { path: path.into(), keys }) })
    }
}

impl TokenStore for FileTokenStore {
    fn load<'a>(
        &'a self,
        account: &'a AccountName,
    ) -> BoxFuture<'a, Result<Option<StoredTokens>, StoreError>> {
        let (inner, account) = (Arc::clone(&self.inner), account.clone());
        Box::pin(on_a_thread(move || inner.load(&account)))
    }

    fn save<'a>(
        &'a self,
        account: &'a AccountName,
        record: &'a StoredTokens,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (inner, account) = (Arc::clone(&self.inner), account.clone());
        let record = record.clone();
        Box::pin(on_a_thread(move || inner.save(&account, &record)))
    }
}

/// Files are read and synced on a thread that may wait.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Failed("the thread that reads the token file ended".to_owned())),
    }
}

impl Inner {
    fn load(&self, account: &AccountName) -> Result<Option<StoredTokens>, StoreError> {
        let file = self.read()?;
        let Some(entry) = file.accounts.get(account.as_str()) else { return Ok(None) };
        let opened = entry.open(&self.keys, account).map_err(|why| {
            let path = self.path.display();
            StoreError::Failed(format!("the tokens of `{account}` in {path} cannot be read: {why}"))
        });
        opened.map(Some)
    }

    fn save(&self, account: &AccountName, record: &StoredTokens) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut file = self.read()?;
        let stored = file.accounts.get(account.as_str()).map(|entry| entry.version);
        may_follow(stored, record.version)?;
        let sealed =
            SealedTokens::of(record, &self.keys, account, rand::random()).ok_or_else(|| {
                StoreError::Failed("the tokens are too large to be sealed".to_owned())
            })?;
        file.format = FORMAT;
        file.accounts.insert(account.as_str().to_owned(), sealed);
        self.replace(&file)
    }

    fn read(&self) -> Result<TokenFile, StoreError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(TokenFile::default()),
            Err(error) => return Err(failed(&self.path, "cannot be read", &error)),
        };
        // The parser's own message might quote the file.
        let file: TokenFile = serde_json::from_slice(&bytes).map_err(|_| self.unknown())?;
        if file.format == FORMAT { Ok(file) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> StoreError {
        let path = self.path.display();
        StoreError::Failed(format!(
            "{path} is not a token file of this version; move it away and authorise again"
        ))
    }

    /// Held while the file is read, changed and replaced.
    fn lock(&self) -> Result<File, StoreError> {
        let path = beside(&self.path, ".lock");
        let file = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(&path)
            .map_err(|error| failed(&path, "cannot be opened", &error))?;
        file.lock().map_err(|error| failed(&path, "cannot be locked", &error))?;
        Ok(file)
    }

    fn replace(&self, file: &TokenFile) -> Result<(), StoreError> {
        let json = serde_json::to_vec_pretty(file).map_err(|error| {
            StoreError::Failed(format!("the tokens cannot be written: {error}"))
        })?;
        let temporary = beside(&self.path, &format!(".{:016x}.tmp", rand::random::<u64>()));
        let written = private(OpenOptions::new().create_new(true).write(true))
            .open(&temporary)
            .and_then(|mut out| {
                out.write_all(&json)?;
                out.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            // The temporary file may not even exist; the first error is the one to tell.
            fs::remove_file(&temporary).ok();
            return Err(failed(&self.path, "cannot be written", &error));
        }
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        // Without this a crash could bring the old file back, with a refresh token that is spent.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed(folder, "cannot be synced", &error))
    }
}

/// Readable by the process's own user alone, from the moment it exists.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    StoreError::Failed(format!("{} {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::{super::token_store::TokenState, *};
    use crate::domain::Tokens;

    fn account(name: &str) -> AccountName {
        AccountName::new(name).unwrap()
    }

    fn key(byte: u8) -> Secret {
        Secret::new(STANDARD.encode([byte; 32]))
    }

    fn record(version: u64) -> StoredTokens {
        StoredTokens {
            version,
            state: TokenState::Settled,
            current: Tokens {
                access_token: Secret::new("the-access-token"),
                user_id: "8".to_owned(),
                expires_at: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
                refresh_token: Some(Secret::new("the-refresh-token")),
                refresh_expires_at: None,
            },
            previous: None,
            obtained_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn what_is_saved_is_loaded_again_and_nothing_of_it_lies_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let store = FileTokenStore::new(&path, &key(1), None).unwrap();
        assert_eq!(store.load(&account("a")).await, Ok(None));
        let mut second = record(2);
        second.previous = Some(record(1).current);
        store.save(&account("a"), &record(1)).await.unwrap();
        store.save(&account("b"), &record(5)).await.unwrap();
        store.save(&account("a"), &second).await.unwrap();
        let again = FileTokenStore::new(&path, &key(1), None).unwrap();
        assert_eq!(again.load(&account("a")).await, Ok(Some(second)));
        assert_eq!(again.load(&account("b")).await, Ok(Some(record(5))));

        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("the-access-token") && !text.contains("the-refresh-token"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["tokens.json", "tokens.json.lock"], "no temporary file is left");
    }

    #[tokio::test]
    async fn a_write_that_does_not_follow_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileTokenStore::new(folder.path().join("t"), &key(1), None).unwrap();
        store.save(&account("a"), &record(4)).await.unwrap();
        for version in [1, 3, 4] {
            let saved = store.save(&account("a"), &record(version)).await;
            assert_eq!(saved, Err(StoreError::Superseded), "{version}");
        }
        assert_eq!(store.load(&account("a")).await, Ok(Some(record(4))));
        // What lay between was lost with the disk; a person's has a version far above.
        for version in [6, 1_795_000_000_000] {
            store.save(&account("a"), &record(version)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn keys_are_rotated_and_a_wrong_one_says_how_to_mend_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let first = FileTokenStore::new(&path, &key(1), None).unwrap();
        first.save(&account("a"), &record(1)).await.unwrap();
        let both = FileTokenStore::new(&path, &key(2), Some(&key(1))).unwrap();
        assert_eq!(both.load(&account("a")).await, Ok(Some(record(1))));
        let second = FileTokenStore::new(&path, &key(2), None).unwrap();
        let error = second.load(&account("a")).await.unwrap_err().to_string();
        assert!(error.contains("`tokens.previous_key`"), "{error}");
        both.save(&account("a"), &record(2)).await.unwrap();
        assert_eq!(second.load(&account("a")).await, Ok(Some(record(2))));
    }

    #[tokio::test]
    async fn an_entry_moved_to_another_account_or_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let store = FileTokenStore::new(&path, &key(1), None).unwrap();
        store.save(&account("a"), &record(1)).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for (from, to, name) in [("\"a\"", "\"b\"", "b"), ("\"version\": 1", "\"version\": 2", "a")]
        {
            fs::write(&path, text.replace(from, to)).unwrap();
            let error = store.load(&account(name)).await.unwrap_err().to_string();
            assert!(error.contains("changed after it was sealed"), "{error}");
        }
        fs::write(&path, "{}").unwrap();
        assert!(matches!(store.load(&account("a")).await, Err(StoreError::Failed(_))));
    }
}
