//! The registry at start: every schema is there, or registered now where that is allowed.

use std::{collections::HashMap, fs, path::Path};

use crate::{
    avro::{
        Credentials, Registry, RegistryError, RegistrySettings, SchemaError, State, Subject,
        schemas,
    },
    config::{Config, SchemaRegistry},
    domain::Secret,
};

/// Why records cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum SchemasError {
    #[error("`schema_registry.{key}`: {file} cannot be read: {reason}")]
    File { key: &'static str, file: String, reason: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(
        "the registry does not hold every schema:\n{}\nregister what fits with `wms-connector \
         schemas register`, or set `schema_registry.auto_register`",
        problems.join("\n")
    )]
    NotRegistered { problems: Vec<String> },
}

impl SchemasError {
    /// Whether waiting may help: the registry is away, nothing is wrong with the schemas.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Registry(RegistryError::Unavailable(_)) => true,
            Self::Registry(
                RegistryError::Settings(_)
                | RegistryError::Unauthorized(_)
                | RegistryError::NotFound(_)
                | RegistryError::Refused { .. }
                | RegistryError::Unusable { .. },
            )
            | Self::File { .. }
            | Self::Schema(_)
            | Self::NotRegistered { .. } => false,
        }
    }
}

/// The registry of the configuration, if it names one. Nothing is asked yet.
pub fn registry(config: &Config) -> Result<Option<Registry>, SchemasError> {
    let settings = &config.schema_registry;
    let Some(url) = &settings.url else { return Ok(None) };
    let ca_pem = match &settings.ca_file {
        Some(file) => Some(read("ca_file", file)?),
        None => None,
    };
    let identity_pem = match (&settings.client_cert_file, &settings.client_key_file) {
        (Some(certificate), Some(key)) => {
            let key = read("client_key_file", key)?;
            let key = Secret::new(String::from_utf8_lossy(&key).into_owned());
            Some((read("client_cert_file", certificate)?, key))
        }
        (None, _) | (_, None) => None,
    };
    Ok(Some(Registry::new(RegistrySettings {
        credentials: credentials(settings),
        ca_pem,
        identity_pem,
        timeout: settings.timeout,
        ..RegistrySettings::new(url.clone())
    })?))
}

fn credentials(settings: &SchemaRegistry) -> Option<Credentials> {
    if let Some(token) = &settings.bearer_token {
        return Some(Credentials::Bearer(token.clone()));
    }
    let user = settings.username.clone()?;
    let password = settings.password.clone().unwrap_or_else(|| Secret::new(""));
    Some(Credentials::Basic { user, password })
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, SchemasError> {
    fs::read(file).map_err(|error| SchemasError::File {
        key,
        file: file.display().to_string(),
        reason: error.to_string(),
    })
}

/// The registry's id of every record. Registers what is missing and fits, if `register` says so;
/// otherwise everything has to be there. All problems are said at once.
pub async fn registry_ids(
    registry: &Registry,
    subjects: &[Subject],
    register: bool,
) -> Result<HashMap<String, u32>, SchemasError> {
    let mut ids = HashMap::new();
    let mut problems = Vec::new();
    for found in registry.check_all(subjects).await? {
        let Subject { name, record } = found.subject;
        match found.state {
            State::Present { id } => {
                ids.entry(record).or_insert(id);
            }
            State::PresentAsAnotherText { id } if !register => {
                ids.entry(record).or_insert(id);
            }
            State::Compatible if !register => {
                problems.push(format!("  {name}: {record} fits and is not registered"));
            }
            State::Missing if !register => {
                problems.push(format!("  {name}: {record} is not registered"));
            }
            State::PresentAsAnotherText { .. } | State::Compatible | State::Missing => {
                match registry.register(&name, &schemas::of_record(&record)?.text).await {
                    Ok(id) => {
                        tracing::info!(subject = name, record, id, "schema registered");
                        ids.entry(record).or_insert(id);
                    }
                    // The registry's rule for this subject says no: the others are registered
                    // all the same, and this one is named.
                    Err(RegistryError::Refused { status, message }) => problems
                        .push(format!("  {name}: {record} was refused (HTTP {status}): {message}")),
                    Err(error) => return Err(error.into()),
                }
            }
            State::Incompatible { message } => {
                problems.push(format!("  {name}: {record} does not fit: {message}"));
            }
        }
    }
    if problems.is_empty() { Ok(ids) } else { Err(SchemasError::NotRegistered { problems }) }
}
