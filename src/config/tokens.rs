//! `[tokens]`

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::domain::Secret;

use super::section::Section;

/// Where the tokens of the vendors are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// In which kind of store. Default: the topic.
    pub store: TokenStore,
    /// The file of the store `File`, where it is always set. Default: none.
    pub path: Option<PathBuf>,
    /// What seals them: 32 bytes as 64 hex digits or as base64. Default: none.
    pub key: Option<Secret>,
    /// What sealed them before. Default: none.
    pub previous_key: Option<Secret>,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStore {
    /// The topic `connector.tokens`, for any number of processes.
    Topic,
    /// A file, for one process.
    File,
}

impl Tokens {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let store =
            section.choice("store", &[("topic", TokenStore::Topic), ("file", TokenStore::File)]);
        let path = section.optional_path("path");
        let key = read_key(&mut section, "key");
        let previous_key = read_key(&mut section, "previous_key");
        if let (Some(TokenStore::File), Some(None)) = (store, &path) {
            section.problem("store", "is \"file\" and needs `tokens.path`, the name of that file");
        }
        section.finish();
        Some(Self { store: store?, path: path?, key: key?, previous_key: previous_key? })
    }
}

fn read_key(section: &mut Section<'_>, name: &'static str) -> Option<Option<Secret>> {
    let Some(secret) = section.secret(name)? else { return Some(None) };
    let decoded = match hex::decode(secret.expose()) {
        Ok(bytes) => Some(bytes),
        Err(_) => BASE64_STANDARD.decode(secret.expose()).ok(),
    };
    if decoded.is_some_and(|bytes| bytes.len() == 32) {
        return Some(Some(secret));
    }
    section.problem(
        name,
        "takes 32 random bytes as 64 hex digits or as base64 (`openssl rand -hex 32`), found \
         something else",
    );
    None
}
