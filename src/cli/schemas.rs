//! `schemas check|register|show|export`.

use std::{fs, path::Path};

use super::{CliError, Output, runtime};
use crate::{
    app::{self, topics},
    avro::{Registry, State, schemas},
    config::Config,
};

pub(super) fn show(record: Option<&str>, output: &Output) -> Result<(), CliError> {
    match record {
        None => {
            for known in schemas::all().map_err(CliError::failed)? {
                output.line(known.record);
            }
        }
        Some(record) => {
            let all = schemas::all().map_err(CliError::failed)?;
            let known = all.iter().find(|known| known.record == record).ok_or_else(|| {
                CliError::Usage(format!(
                    "there is no record `{record}`; `wms-connector schemas show` lists them all"
                ))
            })?;
            output.line(known.source.trim_end());
        }
    }
    Ok(())
}

/// Writes the texts that are registered, a file a record, for clients that read a schema from a
/// file and look it up in a registry that compares texts byte for byte.
pub(super) fn export(folder: &Path, output: &Output) -> Result<(), CliError> {
    let failed = |path: &Path, error: std::io::Error| {
        CliError::Failed(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for known in schemas::all().map_err(CliError::failed)? {
        let path = folder.join(format!("{}.avsc", known.record));
        fs::write(&path, &known.text).map_err(|error| failed(&path, error))?;
        output.line(path.display());
    }
    Ok(())
}

/// Every subject, how it stands, one line each. Nothing is changed.
pub(super) fn check(config: &Config, output: &Output) -> Result<(), CliError> {
    let registry = registry(config)?;
    let subjects = topics::all_subjects(config);
    let states = runtime()?.block_on(registry.check_all(&subjects)).map_err(CliError::failed)?;
    let width = subjects.iter().map(|subject| subject.name.len()).max().unwrap_or(0);
    let (mut missing, mut another_text) = (0_u32, 0_u32);
    for state in states {
        let stands = match state.state {
            State::Present { id } => format!("present       id {id}"),
            State::PresentAsAnotherText { id } => {
                another_text += 1;
                format!("present       id {id}, as another text")
            }
            State::Compatible => "compatible    not registered".to_owned(),
            State::Missing => "missing".to_owned(),
            State::Incompatible { message } => format!("incompatible  {message}"),
        };
        missing += u32::from(!stands.starts_with("present"));
        output.line(format_args!("{:width$}  {stands}", state.subject.name));
    }
    if another_text > 0 {
        output.line(format_args!(
            "{another_text} are registered as a text that differs in blanks or order: the \
             connector works, but clients that look a schema up by its text may not find it; \
             `wms-connector schemas register` adds the text they post"
        ));
    }
    if missing == 0 {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "{missing} of {} subjects do not hold our schema; register those that fit with \
         `wms-connector schemas register`",
        subjects.len()
    )))
}

pub(super) fn register(config: &Config, output: &Output) -> Result<(), CliError> {
    let registry = registry(config)?;
    let subjects = topics::all_subjects(config);
    let ids = runtime()?
        .block_on(app::registry_ids(&registry, &subjects, true))
        .map_err(CliError::failed)?;
    output.line(format_args!(
        "{} subjects hold the schemas of {} records",
        subjects.len(),
        ids.len()
    ));
    Ok(())
}

fn registry(config: &Config) -> Result<Registry, CliError> {
    app::registry(config).map_err(CliError::failed)?.ok_or_else(|| {
        CliError::Usage(
            "no registry is configured: set `schema_registry.url` (without one the schemas are \
             in the folder `schemas/`, and `wms-connector schemas show` prints them)"
                .to_owned(),
        )
    })
}
