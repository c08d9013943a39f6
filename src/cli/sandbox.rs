//! `sandbox`: both vendors, simulated, until Ctrl-C or SIGTERM.

use super::{CliError, Output, args, runtime};
use crate::{
    app::signals,
    sandbox::{JfwmsSettings, QianyiSettings, Sandbox, SandboxSettings},
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
        let (jfwms, qianyi) = (settings.jfwms.clone(), settings.qianyi.clone());
        let sandbox = Sandbox::start(settings).await.map_err(CliError::failed)?;
        output.line(format_args!("JFWMS   {}", sandbox.jfwms_url()));
        output.line(format_args!("Qianyi  {}", sandbox.qianyi_url()));
        output.line(format_args!("control {}/books, /faults, /webhooks", sandbox.control_url()));
        credentials(&jfwms, &qianyi, output);
        output.line("Ctrl-C ends it.");
        signals::first().await.map_err(CliError::failed)?;
        sandbox.shutdown().await;
        Ok(())
    })
}

/// What an account needs to call it, and a person to authorise: the samples that the vendors' guides
/// print, which open nothing but this sandbox.
fn credentials(jfwms: &JfwmsSettings, qianyi: &QianyiSettings, output: &Output) {
    output.line("");
    output.line("# an account of each, for the configuration (samples of the vendors' guides)");
    output.line(format_args!("jfwms:  client_id = \"{}\"", jfwms.client_id));
    output.line(format_args!("        client_secret = \"{}\"", jfwms.client_secret));
    if let Some(token) = jfwms.access_tokens.first() {
        output.line(format_args!("        access_token = \"{}\"", token.token));
        output.line(format_args!("        user_id = \"{}\"", token.user_id));
    }
    output.line(format_args!("qianyi: app_id = \"{}\"", qianyi.app_id));
    output.line(format_args!("        app_secret = \"{}\"", qianyi.app_secret));
    output.line(format_args!("        shops: {}", qianyi.shops.join(", ")));
    for user in &jfwms.users {
        let (first, last) = (user.authorisation_tokens.first(), user.authorisation_tokens.last());
        if let (Some(first), Some(last)) = (first, last) {
            output.line(format_args!(
                "authorize: --email {}, domain {}, one-time tokens {first} to {last}, each once",
                user.email,
                user.domains.join(" or ")
            ));
        }
    }
    output.line("");
}
