//! `send webhook|command`: what a vendor or a service would send, from a terminal.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use tokio::time::Instant;

use super::{
    CliError, Output,
    args::{CommandFormat, Send, SendCommand, SendWebhook},
    examples, runtime,
};
use crate::{
    app::{self, accounts, topics},
    avro::{self, CommandReader, Limits, Prefix},
    clock,
    config::Config,
    domain::{AccountName, CommandReply, Operation, Received, ReplyStatus},
    kafka::{From, OutgoingRecord, Publisher, TopicReader},
    webhooks::{self, Stays},
};

/// How long Kafka may take to confirm the command.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request to the connector may take.
const POST_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn run(config: Config, what: &Send, output: &Output) -> Result<(), CliError> {
    match what {
        Send::Webhook(options) => runtime()?.block_on(webhook(&config, options, output)),
        Send::Command(options) => runtime()?.block_on(command(&config, options, output)),
    }
}

fn read(file: &Path) -> Result<String, CliError> {
    fs::read_to_string(file)
        .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

/// What the webhook holds: a file's text, or the sample of the vendor's guide.
fn data(options: &SendWebhook, vendor: &str) -> Result<String, CliError> {
    let kind = &options.webhook_type;
    let Some(file) = &options.data_file else {
        let samples = examples::webhooks(vendor);
        let names: Vec<_> = samples.iter().map(|sample| sample.kind.clone()).collect();
        let sample = samples.into_iter().find(|sample| sample.kind == *kind);
        let sample = sample.ok_or_else(|| {
            CliError::Usage(format!("there is no sample of `{kind}`, but of {}", names.join(", ")))
        })?;
        return Ok(sample.data.to_owned());
    };
    let data = read(file)?;
    // A whole webhook within `data` would be signed and taken, and be nothing that anybody reads.
    let value: Option<serde_json::Value> = serde_json::from_str(&data).ok();
    let has = |name: &str| value.as_ref().is_some_and(|value| value.get(name).is_some());
    let (whole, inner) = match vendor {
        "jfwms" => (has("data") && has("type"), "data"),
        _ => (has("bizParam"), "bizParam"),
    };
    if whole {
        return Err(CliError::Usage(format!(
            "{} holds a whole webhook: give the value of its `{inner}` alone",
            file.display()
        )));
    }
    Ok(data)
}

async fn webhook(config: &Config, options: &SendWebhook, output: &Output) -> Result<(), CliError> {
    let name =
        AccountName::new(&options.account).map_err(|error| CliError::Usage(error.to_string()))?;
    let connected = accounts::connect(config).map_err(CliError::failed)?;
    let (Some(account), Some(settings)) = (connected.get(&name), config.accounts.get(&name)) else {
        return Err(CliError::Usage(format!("account `{name}` is not in the configuration")));
    };
    let data = data(options, account.vendor.name())?;
    let body = account
        .vendor
        .webhook_body(&options.webhook_type, &data, clock::now())
        .map_err(CliError::Usage)?;
    let fits = where_it_fits(config, &connected, &name, body.clone())?;
    let port = config.ingress.listen.port();
    let base = options.url.clone().unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
    let mut url = format!("{}/webhooks/{name}", base.trim_end_matches('/'));
    if let Some(secret) = &settings.path_secret {
        url = format!("{url}/{}", secret.expose());
    }
    let client = reqwest::Client::builder()
        .timeout(POST_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(CliError::failed)?;
    // The path secret stands in the URL: an error must not print it.
    let failed = |error: reqwest::Error| {
        let connecting = error.is_connect();
        let error = error.without_url();
        let reasons = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let reason = reasons.last().map(ToString::to_string).unwrap_or_default();
        CliError::Failed(if connecting {
            format!(
                "{base} does not answer: {reason}; is the connector running there? Name it with --url"
            )
        } else {
            format!("{base} did not answer: {reason}")
        })
    };
    let request = client.post(&url).header("content-type", "application/json").body(body);
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let text = response.text().await.map_err(failed)?;
    output.line(format_args!("HTTP {} {text}", status.as_u16()));
    if status.is_success() {
        output.line(fits);
    }
    if status.is_success() { Ok(()) } else { Err(CliError::Said) }
}

/// Where a webhook goes that the connector takes, as this version reads it: its answer is 200 also for
/// what fits no topic.
fn where_it_fits(
    config: &Config,
    connected: &BTreeMap<AccountName, app::Connected>,
    name: &AccountName,
    body: String,
) -> Result<String, CliError> {
    let accounts = accounts::for_webhooks(config, connected);
    let Some(account) = accounts.into_iter().find(|account| account.name == *name) else {
        return Err(CliError::Failed(format!("account `{name}` is not in the configuration")));
    };
    let received = Received {
        account: name.clone(),
        body: body.into(),
        headers: Vec::new(),
        query: Vec::new(),
        form: None,
        received_at: clock::now(),
    };
    Ok(match webhooks::event_of(&account, received) {
        Ok(event) => {
            let topic = account.topics.get(event.event_type.name).map_or("?", String::as_str);
            let key = event.document_number.as_deref().unwrap_or("none");
            format!("→ {topic}, key {key}, event {}", event.id.as_str())
        }
        Err(Stays::Still(reason)) => format!("→ {}: {reason}", account.unrecognized_topic),
        Err(other) => format!("→ {}: {other}", account.unrecognized_topic),
    })
}

async fn command(config: &Config, options: &SendCommand, output: &Output) -> Result<(), CliError> {
    let kinds = Operation::ALL.map(Operation::name);
    let (Some(kind), Some(file)) = (&options.kind, &options.file) else {
        return Err(CliError::Usage("a kind and --file are needed".to_owned()));
    };
    let operation = Operation::ALL
        .into_iter()
        .find(|o| o.name() == kind)
        .ok_or_else(|| CliError::Usage(format!("`{kind}` is none of {}", kinds.join(", "))))?;
    let text = read(file)?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{}: not JSON: {error}", file.display())))?;
    let registry = app::registry(config).map_err(CliError::failed)?;
    let account = json.get("account").and_then(serde_json::Value::as_str).unwrap_or_default();
    let own_prefix = AccountName::new(account)
        .ok()
        .and_then(|name| config.accounts.get(&name)?.commands_prefix.as_deref());
    let topic = config.topics.command(operation, own_prefix);
    let number = ["orderNumber", "asnNumber"]
        .iter()
        .find_map(|name| json.get(name).and_then(serde_json::Value::as_str));
    let key = options.key.clone().or_else(|| number.map(str::to_owned));
    let payload = match options.format {
        CommandFormat::Json => text.into_bytes(),
        CommandFormat::Avro => {
            let prefix = match &registry {
                None => Prefix::SingleObject,
                Some(registry) => {
                    let subjects: Vec<_> = topics::command_subjects(config)
                        .into_iter()
                        .filter(|subject| subject.name == format!("{topic}-value"))
                        .collect();
                    let ids = app::registry_ids(registry, &subjects, false)
                        .await
                        .map_err(CliError::failed)?;
                    let id = ids.get(operation.record()).copied();
                    Prefix::Confluent(id.ok_or_else(|| {
                        CliError::Failed(format!("`{topic}-value` holds no schema"))
                    })?)
                }
            };
            avro::encode_command(operation, &text, prefix).map_err(|faults| {
                // Each message names its field.
                let each = faults.all().map(|fault| format!("{}: {fault}", file.display()));
                CliError::Usage(each.collect::<Vec<_>>().join("\n"))
            })?
        }
    };

    let clients = app::client_settings(config);
    let replies = if options.wait {
        let (reader, topic) = (clients.reader(), config.topics.replies());
        let opened = tokio::task::spawn_blocking(move || {
            TopicReader::open(&reader, &[topic], From::End, PUBLISH_TIMEOUT)
        });
        Some(opened.await.map_err(CliError::failed)?.map_err(CliError::failed)?)
    } else {
        None
    };
    let publisher = Publisher::new(clients.producer(PUBLISH_TIMEOUT)).map_err(CliError::failed)?;
    let content_type = match options.format {
        CommandFormat::Avro => "application/avro",
        CommandFormat::Json => "application/json",
    };
    let record = OutgoingRecord {
        topic: topic.clone(),
        key: key.map(String::into_bytes),
        payload: Some(payload),
        headers: vec![
            ("ce_type".to_owned(), Some(operation.record().as_bytes().to_vec())),
            ("content-type".to_owned(), Some(content_type.as_bytes().to_vec())),
        ],
        ..OutgoingRecord::default()
    };
    let (partition, offset) =
        publisher.publish(record, PUBLISH_TIMEOUT).await.map_err(CliError::failed)?;
    let Some(replies) = replies else {
        output.line(format_args!("{topic} partition {partition} offset {offset}"));
        return Ok(());
    };
    let wanted = (topic, partition, offset);
    let deadline = Instant::now() + *options.timeout;
    let reader = CommandReader::new(registry, Limits::default());
    let reply = wait_for(replies, &reader, &wanted, deadline).await?;
    let json = avro::reply_json(&reply).map_err(CliError::failed)?;
    output.line(String::from_utf8_lossy(&json));
    match reply.status {
        ReplyStatus::Succeeded | ReplyStatus::Accepted => Ok(()),
        ReplyStatus::Rejected | ReplyStatus::Failed | ReplyStatus::Unknown => Err(CliError::Said),
    }
}

/// The reply to the command at these coordinates.
async fn wait_for(
    mut replies: TopicReader,
    reader: &CommandReader,
    wanted: &(String, i32, i64),
    deadline: Instant,
) -> Result<CommandReply, CliError> {
    while Instant::now() < deadline {
        let polled = tokio::task::spawn_blocking(move || {
            let record = replies.next(Duration::from_millis(200));
            (replies, record)
        });
        let (back, record) = polled.await.map_err(CliError::failed)?;
        replies = back;
        let Some(record) = record else { continue };
        let record = record.map_err(CliError::failed)?;
        let Some(payload) = &record.payload else { continue };
        // Another service's reply may be in a format of its own.
        let Ok(reply) = avro::read_reply(reader, payload).await else { continue };
        let found = (&reply.command_topic, reply.command_partition, reply.command_offset);
        if found == (&wanted.0, wanted.1, wanted.2) {
            return Ok(reply);
        }
    }
    let (topic, partition, offset) = wanted;
    Err(CliError::Failed(format!(
        "no reply to {topic} partition {partition} offset {offset} in time; it may still come"
    )))
}
