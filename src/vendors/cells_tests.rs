//! The tables of fields of a create, cell by cell: what becomes of each field at each vendor. Every
//! field of the schemas has its row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Vendor, jfwms, qianyi};
use crate::domain::{AccountName, Attempt, Body, Command, Invalid, Secret};

/// What a cell of the table says.
enum Cell {
    /// It is sent: the place in the vendor's body, and what stands there.
    Sent(&'static str, Value),
    /// `·`: it has no place and only informs.
    Informs,
    /// `–`: it has no place and changes the shipment or the money.
    NoPlace,
}

use Cell::{Informs, NoPlace, Sent};

struct Row {
    field: &'static str,
    value: Value,
    jfwms: Cell,
    qianyi: Cell,
    /// What must be set as well for the field to make sense.
    beside: Vec<(&'static str, Value)>,
}

fn row(field: &'static str, value: Value, jfwms: Cell, qianyi: Cell) -> Row {
    Row { field, value, jfwms, qianyi, beside: Vec::new() }
}

impl Row {
    fn beside(mut self, field: &'static str, value: Value) -> Self {
        self.beside.push((field, value));
        self
    }
}

/// 2025-06-30 16:00:00 UTC.
const MOMENT: i64 = 1_751_299_200_000;

fn order_rows() -> Vec<Row> {
    let text = |field, jfwms, qianyi| {
        row(field, json!("V"), Sent(jfwms, json!("V")), Sent(qianyi, json!("V")))
    };
    let money = || json!("12.3450");
    let exact = || json!(12.345);
    vec![
        text("orderNumber", "/erpNo", "/onlineOrderNumber"),
        row("platformOrderNumber", json!("V"), Sent("/platformOrderNo", json!("V")), Informs),
        row("platform", json!("V"), Sent("/platform", json!("V")), Informs),
        text("shop", "/shopName", "/shop"),
        row("warehouse", json!("V"), Sent("/warehouse", json!("V")), NoPlace),
        text("recipient.name", "/buyerName", "/buyer/receiverName"),
        text("recipient.phone", "/buyerPhone", "/buyer/phone"),
        text("recipient.email", "/recipientEmail", "/buyer/email"),
        row(
            "recipient.country",
            json!("GB"),
            Sent("/recipientCountry", json!("GB")),
            Sent("/buyer/country", json!("UK")),
        ),
        text("recipient.province", "/recipientProvince", "/buyer/province"),
        text("recipient.city", "/recipientCity", "/buyer/city"),
        text("recipient.district", "/recipientArea", "/buyer/district"),
        text("recipient.postCode", "/zipCode", "/buyer/postCode"),
        text("recipient.address1", "/recipientAddress", "/buyer/address1"),
        text("recipient.address2", "/recipientAddress2", "/buyer/address2"),
        row("recipient.houseNumber", json!("V"), NoPlace, Sent("/buyer/houseNumber", json!("V"))),
        row("recipient.buyerId", json!("V"), Informs, Sent("/buyer/buyerId", json!("V"))),
        row("recipient.taxId", json!("V"), Sent("/taxId", json!("V")), NoPlace),
        row("logistics.kind", json!("PLATFORM"), Sent("/type", json!(1)), Informs),
        row("logistics.kind", json!("OFFLINE"), Sent("/type", json!(2)), Informs)
            .beside("recipient.name", json!("N")),
        row("logistics.id", json!(7), Sent("/logisticsId", json!(7)), NoPlace),
        text("logistics.name", "/logisticsName", "/logisticsSelected"),
        text("logistics.trackingNumber", "/trackingNo", "/trackingNumber"),
        row("logistics.labelUrl", json!("V"), Sent("/labelUrl", json!("V")), NoPlace),
        row(
            "logistics.label",
            json!({"content": "AQI=", "type": "PNG"}),
            NoPlace,
            Sent("/shippingLabel", json!("AQI=")),
        ),
        row(
            "logistics.label",
            json!({"content": "AQI=", "type": "PDF"}),
            NoPlace,
            Sent("/imgType", json!("PDF")),
        ),
        row(
            "document",
            json!({"content": "AQI=", "type": "PNG", "name": "V"}),
            NoPlace,
            Sent("/documentFile", json!("AQI=")),
        ),
        row(
            "document",
            json!({"content": "AQI=", "type": "PNG", "name": "V"}),
            NoPlace,
            Sent("/documentType", json!("PNG")),
        ),
        row(
            "document",
            json!({"content": "AQI=", "type": "PNG", "name": "V"}),
            NoPlace,
            Sent("/documentName", json!("V")),
        ),
        row(
            "currency",
            json!("PHP"),
            Sent("/currency", json!("PHP")),
            Sent("/currency", json!("PHP")),
        ),
        row("amount", money(), Sent("/amount", exact()), Informs),
        row("freight", money(), Informs, Sent("/freight", exact())),
        row("paymentMethod", json!("COD"), NoPlace, Sent("/paymentMethod", json!("COD")))
            .beside("codAmount", money()),
        row("codAmount", money(), NoPlace, Sent("/codPayAmount", exact())),
        row("paidAt", json!(MOMENT), Informs, Sent("/payTime", json!("2025-07-01 00:00:00+08:00"))),
        row("buyerNote", json!("V"), Informs, Sent("/buyerMessage", json!("V"))),
        text("sellerNote", "/note", "/sellerRemarks"),
        row("pickingNote", json!("V"), Sent("/pickingNote", json!("V")), NoPlace),
        text("lines[0].sku", "/skuList/0/sku", "/skuList/0/sku"),
        row(
            "lines[0].quantity",
            json!(9),
            Sent("/skuList/0/num", json!(9)),
            Sent("/skuList/0/quantity", json!(9)),
        ),
        row(
            "lines[0].unitPrice",
            money(),
            Sent("/skuList/0/unitPrice", exact()),
            Sent("/skuList/0/paymentPrice", exact()),
        ),
        row("lines[0].paidAmount", money(), Informs, Sent("/skuList/0/payAmount", exact())),
        row("lines[0].shippingPrice", money(), Informs, Sent("/skuList/0/shippingPrice", exact())),
        row(
            "lines[0].promotionDiscount",
            money(),
            Informs,
            Sent("/skuList/0/promotionDiscount", exact()),
        ),
        row(
            "lines[0].customs",
            json!({"hsCode": "V", "nameZh": "中", "nameEn": "E"}),
            Sent("/skuList/0/hsCode", json!("V")),
            Informs,
        ),
        row(
            "lines[0].customs",
            json!({"hsCode": "V", "nameZh": "中", "nameEn": "E"}),
            Sent("/skuList/0/itemNameCn", json!("中")),
            Informs,
        ),
        row(
            "lines[0].customs",
            json!({"hsCode": "V", "nameZh": "中", "nameEn": "E"}),
            Sent("/skuList/0/itemNameEn", json!("E")),
            Informs,
        ),
        row(
            "lines[0].batch",
            json!({"number": "V"}),
            NoPlace,
            Sent("/skuList/0/batchNo", json!("V")),
        ),
        row(
            "lines[0].batch",
            json!({"manufacturedOn": "2025-01-02"}),
            NoPlace,
            Sent("/skuList/0/mfgDate", json!("2025-01-02")),
        ),
        row(
            "lines[0].batch",
            json!({"expiresOn": "2026-01-02"}),
            NoPlace,
            Sent("/skuList/0/expDate", json!("2026-01-02")),
        ),
        row(
            "lines[0].batch",
            json!({"originCountry": "CN"}),
            NoPlace,
            Sent("/skuList/0/originCountry", json!("CN")),
        ),
    ]
}

fn asn_rows() -> Vec<Row> {
    let one_box = || {
        json!([{"number": 4, "weightGrams": "1500.5", "lengthCm": "1.5", "widthCm": "2.5",
            "heightCm": "3.5", "lines": [{"sku": "S1", "quantity": 2}]}])
    };
    let boxed = |jfwms, jfwms_value, qianyi, qianyi_value| {
        row("boxes", one_box(), Sent(jfwms, jfwms_value), Sent(qianyi, qianyi_value))
            .beside("packing", json!("BOXES"))
    };
    let money = || json!("12.30");
    let exact = || json!(12.3);
    let currency = |field, qianyi| row(field, json!("PHP"), Informs, Sent(qianyi, json!("PHP")));
    let price = |field, qianyi| row(field, money(), Informs, Sent(qianyi, exact()));
    let mut rows = vec![
        row("asnNumber", json!("V"), Sent("/erpNo", json!("V")), Sent("/customNumber", json!("V"))),
        row(
            "warehouse",
            json!("V"),
            Sent("/warehouse", json!("V")),
            Sent("/warehouseName", json!("V")),
        ),
        row(
            "trackingNumbers",
            json!(["V"]),
            Sent("/trackingNo", json!("V")),
            Sent("/trackNumber", json!("V")),
        ),
        row(
            "expectedAt",
            json!(MOMENT),
            Sent("/expectedTime", json!("2025-06-30 09:00:00")),
            Sent("/preArriveTime", json!("2025-07-01 00:00:00")),
        ),
        row("remark", json!("V"), Sent("/remark", json!("V")), Sent("/remark", json!("V"))),
        row(
            "packing",
            json!("BOXES"),
            Sent("/receiptType", json!(2)),
            Sent("/asnMarkVOList/0/boxNumber", json!(4)),
        )
        .beside("boxes", one_box()),
        currency("currency", "/purchasePriceCurrency"),
        currency("firstLegCurrency", "/firstLegPriceCurrency"),
        currency("transferCurrency", "/transferPriceCurrency"),
        row("sendToWarehouse", json!(true), Informs, Sent("/sendWarehouseFlag", json!("Y"))),
        row("sendToWarehouse", json!(false), NoPlace, Sent("/sendWarehouseFlag", json!("N"))),
        row("containerModel", json!("45'"), Informs, Sent("/containerModel", json!("45'"))),
        row(
            "lines[0].sku",
            json!("V"),
            Sent("/skuList/0/sku", json!("V")),
            Sent("/asnSkuVOList/0/sku", json!("V")),
        ),
        row(
            "lines[0].quantity",
            json!(9),
            Sent("/skuList/0/count", json!(9)),
            Sent("/asnSkuVOList/0/expectQuantity", json!(9)),
        ),
        price("lines[0].purchasePrice", "/asnSkuVOList/0/purchasePrice"),
        price("lines[0].firstLegPrice", "/asnSkuVOList/0/firstLegPrice"),
        price("lines[0].transferPrice", "/asnSkuVOList/0/transferPrice"),
        row(
            "lines[0].condition",
            json!("DAMAGED"),
            NoPlace,
            Sent("/asnSkuVOList/0/skuStatus", json!("DAMAGE")),
        ),
        row("lines[0].perBox", json!(4), Informs, Sent("/asnSkuVOList/0/perBoxQuantity", json!(4))),
        row("lines[0].notes", json!("V"), Informs, Sent("/asnSkuVOList/0/skuNotes", json!("V"))),
        row(
            "lines[0].batch",
            json!({"number": "V"}),
            NoPlace,
            Sent("/asnSkuVOList/0/batchNo", json!("V")),
        ),
        boxed("/boxList/0/weight", json!(1500.5), "/asnMarkVOList/0/weight", json!(1.5005)),
        boxed("/boxList/0/length", json!(1.5), "/asnMarkVOList/0/length", json!(1.5)),
        boxed("/boxList/0/width", json!(2.5), "/asnMarkVOList/0/width", json!(2.5)),
        boxed("/boxList/0/height", json!(3.5), "/asnMarkVOList/0/height", json!(3.5)),
        boxed(
            "/boxList/0/skuVos",
            json!([{"sku": "S1", "count": 2}]),
            "/asnMarkVOList/0/asnMarkSkuVOList",
            json!([{"sku": "S1", "quantity": 2}]),
        ),
    ];
    let transports = ["SEA", "AIR", "EXPRESS", "LAND", "CHARTER", "RAIL", "OTHER"];
    for (transport, code) in transports.into_iter().zip(["01", "02", "03", "04", "05", "06", "08"])
    {
        let sent = Sent("/shippingType", json!(code));
        rows.push(row("transport", json!(transport), Informs, sent));
    }
    rows
}

/// Sets a value at a path such as `lines[0].sku`.
fn set(command: &mut Value, path: &str, value: Value) {
    let mut place = command;
    for part in path.split('.') {
        let (name, first) = match part.strip_suffix("[0]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        if place.get(name).is_none() {
            place[name] = json!({});
        }
        place = &mut place[name];
        if first {
            place = &mut place[0];
        }
    }
    *place = value;
}

fn command(order: bool, command: Value) -> Command {
    if order {
        Command::CreateOrder(serde_json::from_value(command).unwrap())
    } else {
        Command::CreateAsn(serde_json::from_value(command).unwrap())
    }
}

/// The vendor's body of a command.
fn body(vendor: &dyn Vendor, command: &Command) -> Value {
    let attempt = Attempt {
        now: jiff::Timestamp::UNIX_EPOCH,
        nonce: 0,
        nonce_digits: 9,
        tokens: None,
        vendor_reference: None,
    };
    match vendor.call(command, &attempt).body {
        Body::Json(text) => serde_json::from_str(&text).unwrap(),
        Body::Multipart(fields) => {
            let text = fields.iter().find(|(name, _)| *name == "bizParam").map(|(_, text)| text);
            serde_json::from_str(text.unwrap()).unwrap()
        }
        other @ Body::Empty => panic!("{other:?}"),
    }
}

fn vendors() -> [Box<dyn Vendor>; 2] {
    // Not China's zone, so that a fixed +08:00 and the account's own are told apart.
    let settings = toml::from_str(
        "client_id = \"c\"\nclient_secret = \"s\"\ntimezone = \"America/Los_Angeles\"",
    );
    let name = |name| AccountName::new(name).unwrap();
    let secret = qianyi::Settings {
        app_id: "a".to_owned(),
        app_secret: Secret::new("s"),
        app_secret_previous: None,
    };
    [
        Box::new(jfwms::Jfwms::new(name("jf"), settings.unwrap()).unwrap()),
        Box::new(qianyi::Qianyi::new(name("qy"), secret).unwrap()),
    ]
}

/// A command that the vendor takes as it is, with as little as that needs.
fn base(vendor: &str, order: bool) -> Value {
    match (vendor, order) {
        ("jfwms", true) => json!({
            "account": "a", "orderNumber": "N", "platform": "p", "warehouse": "w",
            "recipient": {"country": "US"}, "lines": [{"sku": "S1", "quantity": 2}],
        }),
        (_, true) => json!({
            "account": "a", "orderNumber": "N", "shop": "s", "currency": "USD", "paidAt": 0,
            "recipient": {"name": "n", "country": "US", "province": "p", "city": "c",
                "postCode": "1", "address1": "a"},
            "lines": [{"sku": "S1", "quantity": 2, "paidAmount": "1"}],
        }),
        ("jfwms", false) => json!({
            "account": "a", "asnNumber": "N", "warehouse": "w",
            "lines": [{"sku": "S1", "quantity": 2}],
        }),
        (_, false) => json!({
            "account": "a", "asnNumber": "N", "warehouse": "w", "currency": "USD",
            "lines": [{"sku": "S1", "quantity": 2, "purchasePrice": "1"}],
        }),
    }
}

#[test]
fn every_cell_of_the_tables() {
    for vendor in vendors() {
        for (order, rows) in [(true, order_rows()), (false, asn_rows())] {
            for row in rows {
                let what = format!("{} {} = {}", vendor.name(), row.field, row.value);
                let jfwms = vendor.name() == "jfwms";
                let cell = if jfwms { row.jfwms } else { row.qianyi };
                let mut given = base(vendor.name(), order);
                let untouched = body(&*vendor, &command(order, given.clone()));
                set(&mut given, row.field, row.value);
                // What cannot stand alone at this vendor has company.
                if matches!(cell, Sent(..)) {
                    for (field, value) in row.beside {
                        set(&mut given, field, value);
                    }
                }
                let command = command(order, given);
                let checked = vendor.check(&command);
                match cell {
                    Sent(place, value) => {
                        assert!(checked.is_ok(), "{what}: {checked:?}");
                        let body = body(&*vendor, &command);
                        assert_eq!(body.pointer(place), Some(&value), "{what} in {body}");
                    }
                    Informs => {
                        assert_eq!(checked, Ok(vec![row.field.to_owned()]), "{what}");
                        assert_eq!(body(&*vendor, &command), untouched, "{what}");
                    }
                    NoPlace => {
                        let Err(faults) = checked else { panic!("{what}: {checked:?}") };
                        assert!(faults.further.is_empty(), "{what}: {faults:?}");
                        let Invalid { field, message } = faults.first;
                        assert_eq!(field.as_deref(), Some(row.field), "{what}");
                        assert!(message.contains(row.field), "{message}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_audit_at_once_takes_what_its_table_says() {
    let [jfwms, qianyi] = vendors();
    let mut given = base("qianyi", true);
    for (field, value) in [
        ("audit", json!(true)),
        ("warehouse", json!("W")),
        ("logistics.name", json!("AUTO")),
        ("lines[0].unitPrice", json!("1")),
    ] {
        set(&mut given, field, value);
    }
    let audited = command(true, given);
    // With it only `payAmount` exists.
    assert_eq!(qianyi.check(&audited), Ok(vec!["lines[0].unitPrice".to_owned()]));
    let body = body(&*qianyi, &audited);
    for (place, value) in [
        ("/warehouse", Some(json!("W"))),
        ("/logistics", Some(json!("AUTO"))),
        ("/logisticsSelected", None),
        ("/skuList/0/payAmount", Some(json!(1))),
        ("/skuList/0/paymentPrice", None),
    ] {
        assert_eq!(body.pointer(place), value.as_ref(), "{place} in {body}");
    }
    let mut given = base("jfwms", true);
    set(&mut given, "audit", json!(true));
    let refused = jfwms.check(&command(true, given)).unwrap_err();
    assert_eq!(refused.first.field.as_deref(), Some("audit"));
}

/// The paths of a schema's fields, down to the records that a table gives as one.
fn fields(schema: &str) -> BTreeSet<String> {
    fn walk(
        schema: &Value,
        path: &str,
        named: &mut BTreeMap<String, Value>,
        into: &mut BTreeSet<String>,
    ) {
        match schema {
            Value::Array(variants) => {
                for variant in variants.iter().filter(|variant| *variant != "null") {
                    walk(variant, path, named, into);
                }
            }
            Value::String(name) if named.contains_key(name) => {
                let record = named[name].clone();
                walk(&record, path, named, into);
            }
            Value::Object(members) => match members["type"].as_str() {
                Some("array") => walk(&members["items"], &format!("{path}[0]"), named, into),
                Some("record") => {
                    let name = members["name"].as_str().unwrap().to_owned();
                    named.insert(name.clone(), schema.clone());
                    // Given as one in the tables.
                    if ["Label", "Document", "Customs", "Batch", "Box"].contains(&name.as_str()) {
                        into.insert(path.trim_end_matches("[0]").to_owned());
                        return;
                    }
                    for field in members["fields"].as_array().unwrap() {
                        let name = field["name"].as_str().unwrap();
                        let path = if path.is_empty() {
                            name.to_owned()
                        } else {
                            format!("{path}.{name}")
                        };
                        walk(&field["type"], &path, named, into);
                    }
                }
                _ => {
                    into.insert(path.to_owned());
                }
            },
            _ => {
                into.insert(path.trim_end_matches("[0]").to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&serde_json::from_str(schema).unwrap(), "", &mut BTreeMap::new(), &mut found);
    found
}

#[test]
fn every_field_of_the_schemas_has_its_row() {
    for (schema, rows) in [
        (include_str!("../../schemas/wms.commands.CreateOrder.avsc"), order_rows()),
        (include_str!("../../schemas/wms.commands.CreateAsn.avsc"), asn_rows()),
    ] {
        let mut fields = fields(schema);
        // On every command; of no table; tested above.
        for common in
            ["commandId", "account", "expiresAt", "vendorFields", "lines[0].vendorFields", "audit"]
        {
            fields.remove(common);
        }
        let rows: BTreeSet<String> = rows.iter().map(|row| row.field.to_owned()).collect();
        assert_eq!(rows, fields);
    }
}
