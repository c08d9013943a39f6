//! Where secrets come from: the text itself, a file or the environment.

use std::{collections::BTreeMap, fs, io};

use crate::domain::Secret;

use super::tree::Value;

/// What stands outside the configuration and is referred to by it.
pub(super) struct Sources {
    /// All variables of the process.
    pub(super) environment: BTreeMap<String, String>,
}

impl Sources {
    /// The secret a value stands for; `None` for an empty text. The error follows the key's name
    /// in a sentence and never shows the secret.
    pub(super) fn secret(&self, value: &Value) -> Result<Option<Secret>, String> {
        if let Some(text) = value.text() {
            return Ok((!text.is_empty()).then(|| Secret::new(text)));
        }
        let wrong = || {
            format!(
                "is a secret and takes text, {{ file = \"…\" }} or {{ env = \"…\" }}, found {}",
                value.kind()
            )
        };
        let Value::Table(table) = value else { return Err(wrong()) };
        let mut entries = table.iter();
        let (Some((source, node)), None) = (entries.next(), entries.next()) else {
            return Err(format!("{} of another shape", wrong()));
        };
        let name = match node.value.text() {
            Some(name) if !name.is_empty() => name,
            _ => return Err(format!("{} of another shape", wrong())),
        };
        let (text, from) = match source.as_str() {
            "file" => match read(name) {
                Ok(text) => (text, format!("the file {name:?}")),
                Err(error) => {
                    return Err(format!("is to be read from the file {name:?}: {error}"));
                }
            },
            "env" => match self.environment.get(name) {
                Some(text) => (text.clone(), format!("the environment variable {name}")),
                None => {
                    return Err(format!(
                        "is to come from the environment variable {name}, which is not set"
                    ));
                }
            },
            _ => return Err(format!("{} of another shape", wrong())),
        };
        if text.is_empty() {
            return Err(format!("comes from {from}, which is empty"));
        }
        Ok(Some(Secret::new(text)))
    }
}

/// A secret's file. Editors and `echo` put one newline at the end, which is cut.
fn read(name: &str) -> io::Result<String> {
    let mut text = fs::read_to_string(name)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
