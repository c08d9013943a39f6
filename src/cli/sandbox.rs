//! `sandbox`: both vendors, simulated, until Ctrl-C or SIGTERM.

use super::{CliError, Output, args, runtime};
use crate::{
    app::signals,
    sandbox::{Sandbox, SandboxSettings},
};

pub(super) fn run(options: &args::Sandbox, output: &Output) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let mut settings = SandboxSettings {
            jfwms_listen: options.jfwms,
            qianyi_listen: options.qianyi,
            control_listen: options.control,
            ..SandboxSettings::default()
        };
        settings.behaviour.jfwms.webhook_url.clone_from(&options.jfwms_webhook_url);
        settings.behaviour.qianyi.push_url.clone_from(&options.qianyi_push_url);
        let sandbox = Sandbox::start(settings).await.map_err(CliError::failed)?;
        output.line(format_args!("JFWMS   {}", sandbox.jfwms_url()));
        output.line(format_args!("Qianyi  {}", sandbox.qianyi_url()));
        output.line(format_args!("control {}/books, /faults, /webhooks", sandbox.control_url()));
        output.line("The credentials are the samples of the vendors' guides. Ctrl-C ends it.");
        signals::first().await.map_err(CliError::failed)?;
        sandbox.shutdown().await;
        Ok(())
    })
}
