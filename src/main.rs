//! Arguments, logs, exit code.

use std::process::ExitCode;

use clap::Parser;
use wms_connector::cli::{self, Arguments};

fn main() -> ExitCode {
    cli::main(Arguments::parse())
}
