//! What accounts cost that do nothing.

use std::fmt::Write as _;

use wms_connector::sandbox::{Sandbox, SandboxSettings};

use crate::support::{
    app::{self, Options},
    backend::TestEnv,
    binary::Files,
    suite::tests,
};

tests! {
    mock: an_idle_account_costs_little;
}

/// Of `/metrics`, and of memory after it was read, in bytes.
struct Cost {
    page: usize,
    resident: f64,
}

async fn cost(env: &TestEnv, sandbox: &Sandbox, accounts: usize) -> Cost {
    // A group each: none waits for what the other has left.
    let group = |name: &str| format!("group_id = \"{name}\"");
    let text = app::configuration_text(env, &Options::default(), sandbox);
    let prefix = env.prefix();
    let mut text = text.replace(&group(prefix), &group(&format!("{prefix}-{accounts}")));
    for n in 0..accounts / 2 {
        write!(
            text,
            "[accounts.jf-{n:05}]\nvendor = \"jfwms\"\nbase_url = \"http://127.0.0.1:9\"\n\
             client_id = \"c{n}\"\nclient_secret = \"s\"\naccess_token = \"a\"\nuser_id = \"{n}\"\n\
             user_ids = [\"{n}\"]\n\
             [accounts.qy-{n:05}]\nvendor = \"qianyi\"\nbase_url = \"http://127.0.0.1:9\"\n\
             app_id = \"a{n}\"\napp_secret = \"s\"\n"
        )
        .unwrap();
    }
    let files = Files::new(&text);
    let connector = files.start(&[]).await;
    connector.until_ready_is(200).await;
    connector.admin("/metrics").await;
    let page = connector.admin("/metrics").await.text;
    let resident =
        page.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident = resident.unwrap_or_else(|| panic!("{page}")).parse().unwrap();
    Cost { page: page.len(), resident }
}

async fn an_idle_account_costs_little(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    for topic in wms_connector::app::topics::all(
        &app::configuration(env, &Options::default(), &sandbox),
        1,
        1,
    ) {
        env.create_topic(&topic.name, 1).await;
    }
    let few = cost(env, &sandbox, 100).await;
    let many = cost(env, &sandbox, 2100).await;
    let page = (many.page - few.page) / 2000;
    let resident = (many.resident - few.resident) / 2000.0;
    println!("{page} bytes of metrics, {resident:.0} bytes of memory an account");
    assert!(page <= 1536, "{page} bytes of metrics an account");
    assert!(resident <= 8192.0, "{resident} bytes of memory an account");
    sandbox.shutdown().await;
}
