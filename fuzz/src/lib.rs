//! What the fuzz targets share: the accounts, and whether anything of a webhook was lost.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use apache_avro::Schema;
use wms_connector::{
    avro::{Encoders, schemas},
    domain::{AccountName, Event, Received, Secret},
    vendors::{
        jfwms::{self, Jfwms},
        qianyi::{self, Qianyi},
    },
};

/// The judge of the property tests, the same file.
#[path = "../../src/vendors/round_trip_tests/oracle.rs"]
pub mod oracle;

pub const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";
pub const APP_ID: &str = "TEST";

pub fn account() -> AccountName {
    AccountName::new("fuzzed").expect("a name")
}

pub static JFWMS: LazyLock<Jfwms> = LazyLock::new(|| {
    let settings = format!("client_id = \"c\"\nclient_secret = \"{SECRET}\"");
    let settings: jfwms::Settings = toml::from_str(&settings).expect("settings");
    Jfwms::new(account(), settings).expect("an account")
});

pub static QIANYI: LazyLock<Qianyi> = LazyLock::new(|| {
    let settings = qianyi::Settings {
        app_id: APP_ID.to_owned(),
        app_secret: Secret::new(SECRET),
        app_secret_previous: None,
    };
    Qianyi::new(account(), settings).expect("an account")
});

pub fn received(
    body: &[u8],
    headers: Vec<(String, String)>,
    form: Option<Vec<(String, String)>>,
) -> Received {
    Received {
        account: account(),
        body: bytes::Bytes::copy_from_slice(body),
        headers,
        query: Vec::new(),
        form,
        received_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// Encodes the event as the connector does and decodes the datum with the schema alone.
pub fn written(event: &Event) -> oracle::Fields {
    static ENCODERS: LazyLock<Encoders> =
        LazyLock::new(|| Encoders::single_object().expect("encoders"));
    static SCHEMAS: LazyLock<Mutex<HashMap<&'static str, &'static Schema>>> =
        LazyLock::new(Mutex::default);
    let name = event.event_type.record;
    let bytes = ENCODERS.encode(name, &*event.record).expect("an event fits its schema");
    let mut schemas = SCHEMAS.lock().expect("no panic while it is held");
    let schema = schemas.entry(name).or_insert_with(|| {
        let text = &schemas::of_record(name).expect("a schema").text;
        Box::leak(Box::new(Schema::parse_str(text).expect("a schema")))
    });
    let datum = bytes.get(10..).expect("a prefix of ten bytes");
    oracle::decode(schema, datum).expect("what was written can be read")
}
