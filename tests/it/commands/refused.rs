//! A refusal is an answer, not a dead letter; what would be refused is not sent.

use serde_json::{Value, json};
use wms_connector::{
    domain::Operation,
    sandbox::{Fault, FaultRule, Vendor},
};

use super::{
    desk::{At, Desk},
    samples::{self, Sample},
};
use crate::support::{
    app::{PATIENCE, QIANYI},
    backend::{Outgoing, TestEnv},
    suite::tests,
};

tests! {
    both: the_vendor_refuses, an_unknown_account, invalid_commands, every_fault_in_one_reply, an_avro_command_that_is_invalid,
        a_record_without_a_key, an_expired_command;
}

async fn the_vendor_refuses(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sku = |sample: Sample, sku: &str| sample.with("/lines/0/sku", sku);
    let plain_asn = |number: &str| {
        let sample = samples::qianyi_asn(number).with("/packing", "PARCEL");
        sample.with("/boxes", json!([]))
    };
    let audited = samples::qianyi_order("R-7")
        .with("/audit", true)
        .with("/warehouse", "测试仓库")
        .with("/lines/0/sku", "OUT-OF-STOCK");
    let field = Some("lines");
    let cases = [
        (sku(samples::small_order("R-1"), "UNKNOWN-SKU"), "NOT_FOUND", "50024", field),
        (sku(samples::small_order("R-2"), "OUT-OF-STOCK"), "OUT_OF_STOCK", "50026", field),
        (sku(samples::small_asn("R-3"), "UNKNOWN-SKU"), "NOT_FOUND", "10046", field),
        (
            samples::small_order("R-4").with("/warehouse", "Z"),
            "NOT_FOUND",
            "10041",
            Some("warehouse"),
        ),
        // Inside an outer success.
        (
            sku(samples::qianyi_order("R-5"), "UNKNOWN-SKU"),
            "NOT_FOUND",
            "SKU_NOT_EXISTS_WITH_ARGS",
            field,
        ),
        (sku(plain_asn("R-6"), "UNKNOWN-SKU"), "NOT_FOUND", "SKU_NOT_EXISTS_WITH_ARGS", field),
        (audited, "OUT_OF_STOCK", "sku.inventory.short.need.increase", field),
        (
            samples::qianyi_order("R-8").with("/shop", "nobody's"),
            "NOT_FOUND",
            "SHOP_NOT_AUTHORIZED_OR_NOT_EXIST",
            Some("shop"),
        ),
        // Not surely another thing than a number that is taken: looked up, and it is not there.
        (plain_asn("R-9").with("/warehouse", "nowhere"), "REFUSED", "DATA_INPUT_ERROR", None),
    ];
    for (sample, category, code, field) in cases {
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("REJECTED", category, 1, false), "{reply:#?}");
        assert_eq!(reply.text("vendorCode"), code, "{reply:#?}");
        assert!(!reply.text("vendorMessage").is_empty());
        assert!(reply.text("message").contains(code), "{reply:#?}");
        assert_eq!(reply.says["field"].as_str(), field, "{reply:#?}");
        assert_eq!(reply.text("documentNumber"), sample.number);
    }
    // A code that nobody knows is a refusal for good.
    let unknown = Fault::Refuse { code: "87654".to_owned(), message: None, inner: false };
    desk.fault(FaultRule::new(Vendor::Jfwms, "/api/order/create", unknown));
    let reply = desk.ask(desk.json(&samples::small_order("R-10"))).await;
    assert_eq!(reply.end(), ("REJECTED", "REFUSED", 1, false), "{reply:#?}");
    assert_eq!(reply.text("vendorCode"), "87654");
    let books = desk.books();
    assert_eq!((books.orders, books.asns), (vec![], vec![]));
    for operation in [Operation::CreateOrder, Operation::CreateAsn] {
        assert_eq!(desk.dead_letters(&desk.own(operation)).await, []);
    }
    desk.close().await;
}

/// No vendor was asked and nothing is in the dead letters.
async fn without_a_call(desk: &Desk<'_>) {
    assert_eq!(desk.books().requests, []);
    for topic in [desk.own(Operation::CreateOrder), desk.own(Operation::CreateAsn), desk.mixed()] {
        assert_eq!(desk.dead_letters(&topic).await, []);
    }
}

async fn an_unknown_account(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::small_order("U-1").with("/account", "jf-mian");
    for record in [desk.json(&sample), desk.avro(&desk.mixed(), &sample)] {
        let reply = desk.ask(record).await;
        assert_eq!(reply.end(), ("REJECTED", "CONFIGURATION", 0, false), "{reply:#?}");
        assert!(reply.text("message").contains("jf-mian"), "{reply:#?}");
        assert_eq!((reply.text("account"), reply.text("vendor")), ("jf-mian", ""));
        assert_eq!(reply.text("operation"), "create-order");
        assert_eq!(reply.text("documentNumber"), "U-1");
    }
    without_a_call(&desk).await;
    desk.close().await;
}

async fn invalid_commands(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let without = |mut sample: Sample, member: &str| {
        sample.command.as_object_mut().unwrap().remove(member).unwrap();
        sample
    };
    let order = || samples::small_order("V-1");
    let asn = || samples::small_asn("V-1");
    let qianyi = || samples::qianyi_order("V-1");
    // The command, its field, words of the message.
    let cases: Vec<(Sample, &str, &[&str])> = vec![
        // What the model says.
        (without(order(), "orderNumber"), "orderNumber", &["missing"]),
        (without(order(), "recipient"), "recipient", &["missing"]),
        (order().with("/wherehouse", "YK"), "wherehouse", &["warehouse"]),
        (order().with("/lines/0/qantity", 1), "lines[0].qantity", &["quantity"]),
        (order().with("/lines/0/quantity", "many"), "lines[0].quantity", &["whole number"]),
        (order().with("/lines", "none"), "lines", &["array"]),
        (order().with("/amount", "1.23456"), "amount", &[]),
        (qianyi().with("/paymentMethod", "CASH"), "paymentMethod", &["COD"]),
        (qianyi().with("/paidAt", "yesterday"), "paidAt", &[]),
        (asn().with("/packing", "BOX"), "packing", &["BOXES"]),
        // What the vendors' documents say.
        (without(order(), "warehouse"), "warehouse", &["JFWMS"]),
        (order().with("/recipient/country", "USA"), "recipient.country", &["ISO 3166"]),
        (order().with("/audit", true), "audit", &["no place"]),
        (order().with("/lines/0/quantity", 0), "lines[0].quantity", &["1"]),
        (order().with("/orderNumber", "x".repeat(101)), "orderNumber", &["100"]),
        (asn().with("/packing", "BOXES"), "boxes", &["BOXES"]),
        (without(qianyi(), "shop"), "shop", &["Qianyi"]),
        (qianyi().with("/orderNumber", "仓".repeat(51)), "orderNumber", &["50"]),
        (qianyi().with("/warehouse", "测试仓库"), "warehouse", &["no place"]),
    ];
    let mut commands: Vec<At> = Vec::new();
    for (sample, ..) in &cases {
        commands.push(desk.send(desk.json(sample)).await);
    }
    for (reply, (sample, field, words)) in desk.replies(&commands).await.iter().zip(&cases) {
        let what = format!("{field} of {}: {reply:#?}", sample.command);
        assert_eq!(reply.end(), ("REJECTED", "INVALID", 0, false), "{what}");
        assert_eq!(reply.says["field"], *field, "{what}");
        for word in *words {
            assert!(reply.text("message").contains(word), "no {word:?}: {what}");
        }
        assert_eq!(reply.text("account"), sample.account(), "{what}");
        assert_eq!(reply.text("operation"), sample.operation.name(), "{what}");
    }
    without_a_call(&desk).await;
    desk.close().await;
}

/// A sender mends a command once, not once a fault: what cannot be read, and what the vendor would refuse.
async fn every_fault_in_one_reply(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let order = samples::small_order("F-1").with("/account", QIANYI);
    let misread = samples::small_order("F-2").with("/shopp", "x").with("/recipient/country", 7);
    for (sample, first, fields) in [
        (
            order,
            "shop",
            vec!["shop", "warehouse", "recipient.name", "recipient.province", "paidAt"],
        ),
        (misread, "shopp", vec!["shopp", "recipient.country"]),
    ] {
        let reply = desk.ask(desk.json(&sample)).await;
        assert_eq!(reply.end(), ("REJECTED", "INVALID", 0, false), "{reply:#?}");
        assert_eq!(reply.text("field"), first, "{reply:#?}");
        let result: Value = serde_json::from_str(reply.text("result")).unwrap();
        let faults = result["faults"].as_array().unwrap();
        let more = format!("{} more", faults.len() - 1);
        assert!(reply.text("message").contains(&more), "{reply:#?}");
        for field in fields {
            let fault = faults.iter().find(|fault| fault["field"] == field);
            let message =
                fault.unwrap_or_else(|| panic!("{field} in {reply:#?}"))["message"].as_str();
            assert!(message.unwrap().contains(field), "{reply:#?}");
        }
    }
    // One fault is no list.
    let one = desk.ask(desk.json(&samples::small_order("F-3").with("/warehouse", ""))).await;
    assert_eq!((one.text("field"), &one.says["result"]), ("warehouse", &Value::Null), "{one:#?}");
}

async fn an_avro_command_that_is_invalid(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::small_order("V-2").with("/recipient/country", "");
    let reply = desk.ask(desk.avro(&desk.own(sample.operation), &sample)).await;
    assert_eq!(reply.end(), ("REJECTED", "INVALID", 0, false), "{reply:#?}");
    assert_eq!(reply.text("field"), "recipient.country");
    without_a_call(&desk).await;
    desk.close().await;
}

async fn a_record_without_a_key(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::small_order("W-1");
    let record = Outgoing::to(desk.mixed()).header("ce_type", sample.operation.record());
    let reply = desk.ask(record.value(sample.command.to_string())).await;
    assert_eq!(reply.end(), ("REJECTED", "INVALID", 0, false), "{reply:#?}");
    assert!(reply.text("message").contains("key"), "{reply:#?}");
    assert_eq!(reply.record.key, None);
    without_a_call(&desk).await;
    // On its own topic it has no order, and is carried out.
    let record = Outgoing::to(desk.own(sample.operation)).value(sample.command.to_string());
    let reply = desk.ask(record).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    desk.close().await;
}

async fn an_expired_command(env: &TestEnv) {
    let desk = Desk::open(env).await;
    let sample = samples::small_order("X-1").with("/expiresAt", "2020-01-01T00:00:00Z");
    let reply = desk.ask(desk.json(&sample)).await;
    assert_eq!(reply.end(), ("FAILED", "EXPIRED", 0, false), "{reply:#?}");
    assert_eq!(desk.books().requests, []);
    // It failed, so it is a dead letter: with a later `expiresAt` it can be sent again.
    let dlq = desk.app.config.topics.dlq(&desk.own(sample.operation));
    let letters = env.read_all(&dlq, 1, PATIENCE).await;
    assert_eq!(letters[0].value(), sample.command.to_string().as_bytes());
    assert_eq!(letters[0].header("wms_attempts"), Some("0"));

    let sample = samples::small_order("X-2").with("/expiresAt", "2126-01-01T00:00:00Z");
    let reply = desk.ask(desk.json(&sample)).await;
    assert_eq!(reply.end(), ("SUCCEEDED", "NONE", 1, false), "{reply:#?}");
    desk.close().await;
}
