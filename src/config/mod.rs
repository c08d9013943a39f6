//! The configuration: defaults, then one TOML file, then the environment; checked as a whole.
//!
//! [`default.toml`](REFERENCE) is compiled in. It is the first layer and the reference: every key
//! with its default, its unit and its meaning. The environment of the process is read here and
//! nowhere else.

mod accounts;
mod admin;
mod check;
mod commands;
mod environment;
mod error;
mod ingress;
mod kafka;
mod schema_registry;
mod secrets;
mod section;
#[cfg(test)]
mod tests;
mod tokens;
mod topics;
mod tree;

use std::{collections::BTreeMap, ffi::OsString, fs, io, path::Path, rc::Rc, time::Duration};

pub use accounts::{Account, VendorKeys, VendorSettings};
pub use admin::Admin;
pub use commands::{Begin, Circuit, Commands, GroupProtocol, IgnoredFields, Retry};
pub use error::ConfigError;
pub use ingress::{Ingress, Retyped, Spool, UnknownUsers};
pub use kafka::Kafka;
pub use schema_registry::SchemaRegistry;
pub use tokens::{TokenStore, Tokens};
pub use topics::Topics;

use crate::domain::AccountName;

use error::Problems;
use secrets::Sources;
use section::{Context, Section};
use tree::{Node, Origin};

/// The commented defaults, which are also the reference of every key.
pub const REFERENCE: &str = include_str!("default.toml");

/// The file that is read when no other is named.
pub const DEFAULT_FILE: &str = "wms-connector.toml";

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long a shutdown may take. Default: 30 s.
    pub shutdown_timeout: Duration,
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[schema_registry]`
    pub schema_registry: SchemaRegistry,
    /// `[topics]`
    pub topics: Topics,
    /// `[ingress]`
    pub ingress: Ingress,
    /// `[admin]`
    pub admin: Admin,
    /// `[commands]`
    pub commands: Commands,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[accounts.NAME]`
    pub accounts: BTreeMap<AccountName, Account>,
}

/// A configuration, and what is allowed in it but perhaps not meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Sentences for the log and for `check`.
    pub warnings: Vec<String>,
}

/// Loads the configuration with the environment of this process.
pub fn load_from_process(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    load(file, process_environment(std::env::vars_os())?.into_iter())
}

/// Loads the configuration: the defaults, over them `file`, over that `environment`.
///
/// Without a `file` it is [`DEFAULT_FILE`], which need not exist; one that is named has to.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => load_text(&name, &text, environment),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => {
            load_text(&name, "", environment)
        }
        Err(error) => Err(ConfigError::one(format!(
            "{name}: cannot be read: {error}; name another file with --config"
        ))),
    }
}

/// Loads the configuration out of the text of a file; `name` stands in error messages.
pub fn load_text(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let environment: BTreeMap<String, String> = environment.collect();
    let syntax = |name: &str, (line, what): (usize, String)| {
        ConfigError::one(format!("{name}:{line}: is not TOML: {what}"))
    };
    let mut tree = tree::parse(REFERENCE, &|_| Origin::Defaults)
        .map_err(|error| syntax("default.toml", error))?;
    let file: Rc<str> = Rc::from(name);
    let over = tree::parse(text, &|line| Origin::File { name: Rc::clone(&file), line })
        .map_err(|error| syntax(name, error))?;
    tree::lay_over(&mut tree, over);
    let mut found = Vec::new();
    environment::lay_over(&mut tree, &environment, &mut found);

    let problems = Problems::new(&tree, found);
    let context = Context::new(problems, Sources { environment });
    let config = Config::read(&context, tree);
    context.note_unknown();
    if let Some(config) = &config {
        check::contradictions(config, &context.problems);
    }
    context.problems.into_result()?;
    match config {
        Some(config) => Ok(Loaded { warnings: check::warnings(&config), config }),
        None => Err(ConfigError::one("a section could not be read".to_owned())),
    }
}

impl Config {
    fn read(context: &Context, tree: Node) -> Option<Self> {
        let mut root = Section::new(context, String::new(), tree.value);
        let shutdown_timeout = root.duration("shutdown_timeout");
        let kafka = Kafka::read(root.section("kafka"));
        let schema_registry = SchemaRegistry::read(root.section("schema_registry"));
        let topics = Topics::read(root.section("topics"));
        let ingress = Ingress::read(root.section("ingress"));
        let admin = Admin::read(root.section("admin"));
        let commands = Commands::read(root.section("commands"));
        let tokens = Tokens::read(root.section("tokens"));
        let accounts = accounts::read(context, root.entries("accounts"));
        root.finish();

        let topics = topics?;
        let mut commands = commands?;
        if !context.problems.is_set("commands.reply_topics") {
            let replies = topics.replies();
            commands.reply_topics = vec![replies.clone(), format!("{replies}.*")];
        }
        Some(Self {
            shutdown_timeout: shutdown_timeout?,
            kafka: kafka?,
            schema_registry: schema_registry?,
            topics,
            ingress: ingress?,
            admin: admin?,
            commands,
            tokens: tokens?,
            accounts: accounts?,
        })
    }
}

/// The variables of a process as text. One of ours that is no text is a mistake to tell; others
/// may be anything and are left out.
fn process_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut all = Vec::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => all.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with(environment::PREFIX) => {
                return Err(ConfigError::one(format!("{name}: is not UTF-8 text")));
            }
            _ => {}
        }
    }
    Ok(all)
}

/// One variable of the process's environment: for a secret that a command line names.
pub fn environment_variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
