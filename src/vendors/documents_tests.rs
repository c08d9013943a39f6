//! Holds the examples of `docs/commands.md` to what the vendors' checks take.

use serde_json::Value;

use super::{Vendor, jfwms, qianyi};
use crate::domain::{AccountName, Command, Secret};

const PAGE: &str = include_str!("../../docs/commands.md");

/// The page's orders: what stands in a block of JSON and has lines.
fn orders() -> Vec<Value> {
    let blocks = PAGE.split("```json").skip(1).filter_map(|rest| rest.split("```").next());
    let values = blocks.filter_map(|block| serde_json::from_str::<Value>(block).ok());
    values
        .filter(|value| value.get("orderNumber").is_some() && value.get("lines").is_some())
        .collect()
}

#[test]
fn the_pages_orders_work_for_the_vendor_they_are_for() {
    let name = AccountName::new("a").unwrap();
    let settings = toml::from_str("client_id = \"c\"\nclient_secret = \"s\"").unwrap();
    let jfwms = jfwms::Jfwms::new(name.clone(), settings).unwrap();
    let settings = qianyi::Settings {
        app_id: "a".to_owned(),
        app_secret: Secret::new("s"),
        app_secret_previous: None,
    };
    let qianyi = qianyi::Qianyi::new(name, settings).unwrap();
    let vendors: [(&str, &dyn Vendor); 2] = [("jf-main", &jfwms), ("qy-main", &qianyi)];
    let orders = orders();
    for (account, vendor) in vendors {
        let mut of_account = orders.iter().filter(|order| order["account"] == account);
        let order = of_account.next().unwrap_or_else(|| panic!("no order for {account}"));
        let Ok(order) = serde_json::from_value(with_millis(order.clone())) else {
            panic!("no command: {order}");
        };
        let command = Command::CreateOrder(Box::new(order));
        assert_eq!(vendor.check(&command).unwrap(), Vec::<String>::new(), "{account}");
    }
}

/// The common form has moments as milliseconds, and amounts as text.
fn with_millis(mut order: Value) -> Value {
    if let Some(text) = order["paidAt"].as_str() {
        let moment: jiff::Timestamp = text.parse().unwrap();
        order["paidAt"] = moment.as_millisecond().into();
    }
    order
}
