//! What is wrong with a configuration: everything found in one go, one line each.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use super::tree::{Node, Origin, Value, join};

/// A configuration that cannot be used. `Display` shows every problem found, one line each:
/// where it stands, which key, what is wrong and how to mend it. Secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    pub(super) fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }

    /// The problems, one line each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has a problem:")?,
            n => write!(f, "the configuration has {n} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects problems while the sections are read, so that a person mends all of them at once.
pub(super) struct Problems {
    found: RefCell<Vec<String>>,
    /// Where each key was set last.
    origins: BTreeMap<String, Origin>,
}

impl Problems {
    /// Remembers where every key of the tree stands.
    pub(super) fn new(tree: &Node, found: Vec<String>) -> Self {
        let mut origins = BTreeMap::new();
        note_origins("", tree, &mut origins);
        Self { found: RefCell::new(found), origins }
    }

    /// A problem with a key; `what` follows the key's name in the sentence.
    pub(super) fn at(&self, path: &str, what: impl fmt::Display) {
        self.beside(path, path, what);
    }

    /// A problem with a key that is not there: `section` tells where it is missed.
    pub(super) fn beside(&self, section: &str, path: &str, what: impl fmt::Display) {
        let line = match self.origins.get(section) {
            Some(origin @ (Origin::File { .. } | Origin::Variable(_))) => {
                format!("{origin}: `{path}` {what}")
            }
            Some(Origin::Defaults) | None => format!("`{path}` {what}"),
        };
        self.found.borrow_mut().push(line);
    }

    /// Whether a person set the key, in the file or in the environment.
    pub(super) fn is_set(&self, path: &str) -> bool {
        matches!(self.origins.get(path), Some(Origin::File { .. } | Origin::Variable(_)))
    }

    /// The problems found, if any.
    pub(super) fn into_result(self) -> Result<(), ConfigError> {
        let problems = self.found.into_inner();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

fn note_origins(path: &str, node: &Node, origins: &mut BTreeMap<String, Origin>) {
    origins.insert(path.to_owned(), node.origin.clone());
    if let Value::Table(table) = &node.value {
        for (key, child) in table {
            note_origins(&join(path, key), child, origins);
        }
    }
}
