//! `dead-letters list|show|replay`: what could not be carried out, and sending it again.

mod listing;
mod replay;
mod selection;

use super::{CliError, Output, args::DeadLetters, runtime};
use crate::{app, config::Config};

use listing::{Accounts, Listing};
use selection::Selected;

pub(super) fn run(config: &Config, action: &DeadLetters, output: &Output) -> Result<(), CliError> {
    let runtime = runtime()?;
    let selected = |which| Selected::open(config, which, output);
    match action {
        DeadLetters::List(options) => {
            let registry = app::registry(config).map_err(CliError::failed)?;
            let accounts = Accounts::new(config, registry, runtime.handle().clone());
            let listing = Listing::new(accounts, options.json);
            let list = |letter| {
                output.line(listing.line(&letter));
                Ok(())
            };
            selected(&options.which)?.each(list).map(drop)
        }
        DeadLetters::Show(options) => {
            let show = |letter| {
                output.line(listing::shown(&letter, options.value, options.json));
                Ok(())
            };
            selected(&options.which)?.each(show).map(drop)
        }
        DeadLetters::Replay(options) => {
            replay::run(config, options, selected(&options.which)?, &runtime, output)
        }
    }
}
