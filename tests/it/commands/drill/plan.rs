//! What is sent under each key, and what has to come of it.

use std::fmt;

use serde_json::{Value, json};
use wms_connector::{
    avro::{self, Prefix},
    config::Config,
    domain::Operation,
    sandbox::{EffectKind, Vendor},
};

use crate::support::{
    app::{JFWMS, QIANYI},
    backend::Outgoing,
};

/// The second account of each vendor.
pub(super) const JFWMS_TWO: &str = "jf-two";
pub(super) const QIANYI_TWO: &str = "qy-two";

/// What a command does to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Exactly once, in the key's order.
    Once(EffectKind),
    /// The same where its reply says so; at most once where its reply is `UNKNOWN`.
    AtMostOnce(EffectKind),
    /// Nothing: it only asks.
    None,
}

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) operation: Operation,
    pub(super) vendor: Vendor,
    pub(super) document: String,
    pub(super) effect: Effect,
    pub(super) record: Outgoing,
}

/// Whose a key is, and where its commands go.
struct Key<'a> {
    config: &'a Config,
    name: String,
    vendor: Vendor,
    account: &'static str,
    avro: bool,
    /// The topic of all kinds, in which a key is in order across kinds.
    mixed: bool,
}

/// Of fifty keys this many are of an account of Qianyi, whose documented limits (10 orders a
/// second) would hold the others up.
const OF_QIANYI: [(usize, &str); 4] =
    [(7, QIANYI), (19, QIANYI_TWO), (32, QIANYI), (44, QIANYI_TWO)];

/// The commands of each key, in the order in which they are sent.
pub(super) fn all(config: &Config, commands: usize, keys: usize) -> Vec<Vec<Planned>> {
    let of_key = |k: usize| {
        let qianyi = OF_QIANYI.iter().find(|(place, _)| k % 50 == *place);
        let (vendor, account) = match qianyi {
            Some((_, account)) => (Vendor::Qianyi, *account),
            None => (Vendor::Jfwms, if k.is_multiple_of(2) { JFWMS } else { JFWMS_TWO }),
        };
        let mixed = k % 4 != 3;
        let key = Key {
            config,
            name: format!("K{k}"),
            vendor,
            account,
            avro: k.is_multiple_of(3),
            mixed,
        };
        let count = commands / keys + usize::from(k < commands % keys);
        (0..count)
            .map(|n| if mixed { key.of_all_kinds(n) } else { key.of_one_kind(k / 4, n) })
            .collect()
    };
    (0..keys).map(of_key).collect()
}

impl Key<'_> {
    /// A life of documents: made, taken back, made again.
    fn of_all_kinds(&self, n: usize) -> Planned {
        let document = |at: usize| format!("{}-{}-{at}", self.name, n / 10);
        match n % 10 {
            0 => self.create_order(&document(0)),
            1 => self.cancel_order(&document(0)),
            2 => self.create_asn(&document(2)),
            3 => self.cancel_asn(&document(2)),
            4 => self.create_order(&document(4)),
            5 => self.call_that_creates(&document(5)),
            6 => self.create_asn(&document(6)),
            7 => self.cancel_order(&document(4)),
            8 => self.call_that_asks(&document(4)),
            _ => self.cancel_asn(&document(6)),
        }
    }

    /// A topic of its own has one kind, and Kafka keeps no order between topics.
    fn of_one_kind(&self, kind: usize, n: usize) -> Planned {
        let document = format!("{}-{n}", self.name);
        match kind % 3 {
            0 => self.create_order(&document),
            1 => self.create_asn(&document),
            _ => self.call_that_creates(&document),
        }
    }

    fn planned(
        &self,
        operation: Operation,
        document: &str,
        effect: Effect,
        mut command: Value,
    ) -> Planned {
        command["account"] = self.account.into();
        let topic = match self.mixed {
            true => self.config.topics.mixed_commands(None),
            false => self.config.topics.command(operation, None),
        };
        let record = Outgoing::to(topic).key(&self.name);
        let text = command.to_string();
        let record = if self.avro {
            let value = avro::encode_command(operation, &text, Prefix::SingleObject);
            record.value(value.unwrap())
        } else if self.mixed {
            record.header("ce_type", operation.record()).value(text)
        } else {
            record.value(text)
        };
        Planned { operation, vendor: self.vendor, document: document.to_owned(), effect, record }
    }

    fn create_order(&self, number: &str) -> Planned {
        let command = match self.vendor {
            Vendor::Jfwms => json!({
                "orderNumber": number, "platform": "shopify", "warehouse": "YK",
                "recipient": {"country": "US"}, "lines": [{"sku": "SKU-1", "quantity": 1}],
            }),
            Vendor::Qianyi => json!({
                "orderNumber": number, "shop": "demo-shop", "currency": "USD",
                "paidAt": "2026-11-01T00:00:00Z",
                "recipient": {
                    "name": "Ada Lovelace", "country": "US", "province": "CA", "city": "LA",
                    "postCode": "90001", "address1": "1 Main St",
                },
                "lines": [{"sku": "SKU-1", "quantity": 1, "paidAmount": "10.5"}],
            }),
        };
        let effect = Effect::Once(EffectKind::OrderCreated);
        self.planned(Operation::CreateOrder, number, effect, command)
    }

    fn cancel_order(&self, number: &str) -> Planned {
        let command = match self.vendor {
            Vendor::Jfwms => json!({"orderNumber": number}),
            Vendor::Qianyi => json!({"orderNumber": number, "shop": "demo-shop"}),
        };
        let effect = Effect::Once(EffectKind::OrderCancelled);
        self.planned(Operation::CancelOrder, number, effect, command)
    }

    fn create_asn(&self, number: &str) -> Planned {
        let command = match self.vendor {
            Vendor::Jfwms => json!({
                "asnNumber": number, "warehouse": "YK",
                "lines": [{"sku": "SKU-1", "quantity": 1}],
            }),
            Vendor::Qianyi => json!({
                "asnNumber": number, "warehouse": "测试仓库", "currency": "USD",
                "lines": [{"sku": "SKU-1", "quantity": 1, "purchasePrice": "9.9"}],
            }),
        };
        let effect = Effect::Once(EffectKind::InboundCreated);
        self.planned(Operation::CreateAsn, number, effect, command)
    }

    fn cancel_asn(&self, number: &str) -> Planned {
        let effect = Effect::Once(EffectKind::InboundCancelled);
        self.planned(Operation::CancelAsn, number, effect, json!({"asnNumber": number}))
    }

    /// An order that is made by a call: the connector cannot look it up, so it is sent at most
    /// once.
    fn call_that_creates(&self, number: &str) -> Planned {
        let command = match self.vendor {
            Vendor::Jfwms => json!({
                "path": "/api/order/create",
                "body": {
                    "erpNo": number, "platform": "shopify", "warehouse": "YK",
                    "recipientCountry": "US", "skuList": [{"sku": "SKU-1", "num": 1}],
                },
            }),
            Vendor::Qianyi => json!({
                "path": "salesOrder", "serviceType": "CREATE_SALES_ORDER",
                "body": {
                    "onlineOrderNumber": number, "shop": "demo-shop", "currency": "USD",
                    "paymentMethod": "PAY_ONLINE", "payTime": "2026-11-01 08:00:00+08:00",
                    "buyer": {
                        "receiverName": "Ada Lovelace", "country": "US", "province": "CA",
                        "city": "LA", "postCode": "90001", "address1": "1 Main St",
                    },
                    "skuList": [{"sku": "SKU-1", "quantity": 1, "payAmount": 10.5}],
                },
            }),
        };
        let effect = Effect::AtMostOnce(EffectKind::OrderCreated);
        self.planned(Operation::Call, number, effect, command)
    }

    fn call_that_asks(&self, number: &str) -> Planned {
        let command = match self.vendor {
            Vendor::Jfwms => json!({
                "path": "/api/order/get", "body": {"erpNo": number}, "idempotent": true,
            }),
            Vendor::Qianyi => json!({
                "path": "salesOrder", "serviceType": "QUERY_SALES_ORDER_LIST",
                "body": {"onlineOrderNumber": number, "page": 1, "pageSize": 10},
                "idempotent": true,
            }),
        };
        self.planned(Operation::Call, number, Effect::None, command)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.vendor, self.operation.name(), self.document)
    }
}
