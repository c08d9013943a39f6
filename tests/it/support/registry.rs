//! A real schema registry: Apicurio, through Confluent's API, in memory, on a free loopback port.

use std::{
    future::Future,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{parts, process::Watched};

const PORT_ATTEMPTS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A registry that holds new schemas to `BACKWARD`. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Watched,
    folder: TempDir,
    url: String,
}

impl Registry {
    /// Starts a registry and returns when it answers (about five seconds). Blocks.
    pub(crate) fn start() -> Result<Self, String> {
        let parts = parts::java_parts()?.join("registry");
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let folder = parts::temporary_dir("registry-")?;
            let port = parts::free_port();
            let jar = format!("apicurio-registry-app-{}-runner.jar", parts::registry_version());
            let mut command = Command::new("java");
            command
                .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", &jar])
                .env("QUARKUS_HTTP_HOST", "127.0.0.1")
                .env("QUARKUS_HTTP_PORT", port.to_string())
                .current_dir(&parts);
            let output = folder.path().join("output.log");
            let process = Watched::start(&command, &output, Some(folder.path()))?;
            let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
            let mut registry = Self { process, folder, url };
            match registry.wait_until_ready() {
                Err(reason) if reason.contains("already in use") => last = reason,
                outcome => return outcome.map(|()| registry),
            }
        }
        Err(last)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let url = format!("{}/config", self.url);
        loop {
            let ended = self.process.has_ended();
            let body = json!({"compatibility": "BACKWARD"});
            let asked = blocking(async {
                let request = reqwest::Client::new().put(&url).json(&body);
                let response = request.timeout(Duration::from_secs(10)).send().await?;
                response.error_for_status().map(drop)
            });
            match asked {
                Ok(()) if !ended => return Ok(()),
                outcome if ended || Instant::now() > deadline => {
                    let log = parts::tail(&self.folder.path().join("output.log"));
                    return Err(format!("the registry did not start: {outcome:?}\n{log}"));
                }
                _ => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// What `schema_registry.url` is set to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Json, String> {
        let response = request.timeout(Duration::from_secs(20)).send().await;
        let response = response.map_err(|e| e.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|e| e.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
    }

    async fn post_schema(&self, path: &str, schema: &str) -> Result<Json, String> {
        let url = format!("{}/{path}", self.url);
        self.ask(reqwest::Client::new().post(url).json(&json!({"schema": schema}))).await
    }

    /// Registers a schema and returns its id.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Result<u32, String> {
        let answer = self.post_schema(&format!("subjects/{subject}/versions"), schema).await?;
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("no id in {answer}"))
    }

    /// The id of exactly this text under the subject, as a client looks it up that registers
    /// nothing.
    pub(crate) async fn look_up(&self, subject: &str, schema: &str) -> Result<u32, String> {
        let answer = self.post_schema(&format!("subjects/{subject}"), schema).await?;
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("no id in {answer}"))
    }

    /// Whether the schema may follow the newest one of the subject.
    pub(crate) async fn is_compatible(&self, subject: &str, schema: &str) -> Result<bool, String> {
        let path = format!("compatibility/subjects/{subject}/versions/latest");
        let answer = self.post_schema(&path, schema).await?;
        answer["is_compatible"].as_bool().ok_or_else(|| format!("no answer in {answer}"))
    }

    /// The text of the schema with this id.
    pub(crate) async fn schema(&self, id: u32) -> Result<String, String> {
        let url = format!("{}/schemas/ids/{id}", self.url);
        let answer = self.ask(reqwest::Client::new().get(url)).await?;
        answer["schema"].as_str().map(str::to_owned).ok_or_else(|| format!("no schema in {answer}"))
    }

    /// The names of all subjects.
    pub(crate) async fn subjects(&self) -> Result<Vec<String>, String> {
        let answer = self.ask(reqwest::Client::new().get(format!("{}/subjects", self.url))).await?;
        serde_json::from_value(answer).map_err(|e| e.to_string())
    }

    /// Decodes a value in the Confluent wire format with the schema that its id names.
    pub(crate) async fn decode(&self, framed: &[u8]) -> Result<Value, String> {
        let (id, mut datum) = unframe(framed)?;
        let schema = Schema::parse_str(&self.schema(id).await?).map_err(|e| e.to_string())?;
        let reader = GenericDatumReader::builder(&schema).build().map_err(|e| e.to_string())?;
        let value = reader.read_value(&mut datum).map_err(|e| e.to_string())?;
        if datum.is_empty() {
            Ok(value)
        } else {
            Err(format!("{} bytes are left over", datum.len()))
        }
    }

    /// The same as JSON, for comparing.
    pub(crate) async fn decode_json(&self, framed: &[u8]) -> Result<Json, String> {
        Json::try_from(self.decode(framed).await?).map_err(|e| e.to_string())
    }

    /// Encodes a value in the Confluent wire format with the schema of this id.
    pub(crate) async fn encode(&self, id: u32, value: impl Into<Value>) -> Result<Vec<u8>, String> {
        let schema = Schema::parse_str(&self.schema(id).await?).map_err(|e| e.to_string())?;
        let writer = GenericDatumWriter::builder(&schema).build().map_err(|e| e.to_string())?;
        let datum = writer.write_value_to_vec(value.into()).map_err(|e| e.to_string())?;
        Ok(frame(id, &datum))
    }
}

/// The Confluent wire format: `0x00`, the id in four bytes, the datum.
pub(crate) fn frame(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), datum].concat()
}

/// The id and the datum of a value in the Confluent wire format.
pub(crate) fn unframe(framed: &[u8]) -> Result<(u32, &[u8]), String> {
    match framed {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(format!("not in the Confluent wire format: {}", hex::encode(framed))),
    }
}

/// Waits for a future on a thread of its own, also from inside a runtime.
fn blocking<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for one probe");
        scope.spawn(move || runtime.block_on(future)).join().expect("the probe does not panic")
    })
}
