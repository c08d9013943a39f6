//! `demo`: a broker in this process, both vendors simulated, the connector between them.
//!
//! Every webhook type goes in and is looked for on its topic; commands go in and their replies
//! are looked for; what is missing makes the demo fail.

mod steps;
mod table;
mod world;

use super::{CliError, Output, args, runtime};
use crate::app::signals;

pub(super) fn run(options: &args::Demo, output: &Output) -> Result<(), CliError> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let world = world::World::start().await?;
        output.line(world.introduction());
        let rows = steps::all(&world).await?;
        let missing = table::print(&rows, output);
        if options.keep_running {
            output.line(world.addresses());
            output.line("everything stays up until Ctrl-C");
            signals::first().await.map_err(CliError::failed)?;
        }
        world.stop().await?;
        if missing == 0 {
            output.line(format_args!("all {} came out as they should", rows.len()));
            return Ok(());
        }
        Err(CliError::Failed(format!(
            "{missing} of {} did not come out as they should",
            rows.len()
        )))
    });
    runtime.shutdown_background();
    done
}
