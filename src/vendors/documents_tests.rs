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

/// Both vendors.
fn vendors() -> (jfwms::Jfwms, qianyi::Qianyi) {
    let name = AccountName::new("a").unwrap();
    let settings = toml::from_str("client_id = \"c\"\nclient_secret = \"s\"").unwrap();
    let jfwms = jfwms::Jfwms::new(name.clone(), settings).unwrap();
    let settings = qianyi::Settings {
        app_id: "a".to_owned(),
        app_secret: Secret::new("s"),
        app_secret_previous: None,
    };
    (jfwms, qianyi::Qianyi::new(name, settings).unwrap())
}

/// The page's order for an account.
fn order_for(account: &str) -> Command {
    let orders = orders();
    let order = orders.iter().find(|order| order["account"] == account);
    let order = order.unwrap_or_else(|| panic!("no order for {account}"));
    let Ok(order) = serde_json::from_value(with_millis(order.clone())) else {
        panic!("no command: {order}");
    };
    Command::CreateOrder(Box::new(order))
}

#[test]
fn the_pages_orders_work_for_the_vendor_they_are_for() {
    let (jfwms, qianyi) = vendors();
    let vendors: [(&str, &dyn Vendor); 2] = [("jf-main", &jfwms), ("qy-main", &qianyi)];
    for (account, vendor) in vendors {
        assert_eq!(vendor.check(&order_for(account)).unwrap(), Vec::<String>::new(), "{account}");
    }
}

/// What the order of one vendor lacks for the other, or has too much, is said at once.
#[test]
fn an_order_for_the_other_vendor_is_refused_once() {
    let (jfwms, qianyi) = vendors();
    let fields = |vendor: &dyn Vendor, account: &str| -> Vec<String> {
        let faults = vendor.check(&order_for(account)).unwrap_err();
        faults.all().map(|fault| fault.field.clone().unwrap_or_default()).collect()
    };
    assert_eq!(
        fields(&qianyi, "jf-main"),
        [
            "shop",
            "warehouse",
            "recipient.province",
            "recipient.city",
            "recipient.postCode",
            "paidAt",
        ]
    );
    assert_eq!(fields(&jfwms, "qy-main"), ["platform", "warehouse"]);
}

/// The common form has moments as milliseconds, and amounts as text.
fn with_millis(mut order: Value) -> Value {
    if let Some(text) = order["paidAt"].as_str() {
        let moment: jiff::Timestamp = text.parse().unwrap();
        order["paidAt"] = moment.as_millisecond().into();
    }
    order
}
