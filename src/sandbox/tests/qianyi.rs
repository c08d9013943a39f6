//! Qianyi: forms, signatures, envelopes, orders and ASNs.

use super::*;

/// The long sample of the guide's older edition, which its published signature belongs to.
const LONG: &str = "{\"asnSkuVOList\":[{\"expectQuantity\":\"100\",\"sku\":\"SKU1230\",\
    \"purchasePrice\":\"10\",\"transferPrice\":\"100\",\"firstLegPrice\":\"100\"}],\
    \"warehouseName\":\"best warehouse（测试用）\",\"customNumber\":\"xx1224325212\",\
    \"trackNumber\":\"xx1223122\",\"remark\":\"xx122312\",\"purchasePriceCurrency\":\"CNY\",\
    \"firstLegPriceCurrency\":\"CNY\",\"transferPriceCurrency\":\"CNY\"}";

fn with(fields: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_guides_sample_is_taken_and_a_changed_byte_is_not() {
    let sandbox = started(|settings| settings.qianyi.clock_tolerance = None).await;
    let mut fields = with(&[
        ("appId", "openApi_TEST"),
        ("serviceType", "CREATE_ASN_ORDER"),
        ("bizParam", LONG),
        ("timestamp", "1662448537275"),
        ("sign", "b3dfeed438e36f1f89534ce415cf4113"),
    ]);
    let outer = qianyi_outer(&sandbox, "asn", fields.clone()).await;
    assert_eq!((&outer["state"], &outer["errorCode"]), (&json!("success"), &json!("")), "{outer}");
    let inner: Value = serde_json::from_str(outer["bizContent"].as_str().unwrap()).unwrap();
    assert_eq!((&inner["notSuccess"], &inner["state"]), (&json!(false), &json!("success")));
    assert_eq!(inner["result"]["customNumber"], "xx1224325212");
    fields[2].1.push('\n');
    let outer = qianyi_outer(&sandbox, "asn", fields).await;
    assert_eq!(outer["errorCode"], "SIGNATURE_ERROR");
    assert_eq!(outer["bizContent"], Value::Null);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn line_ends_and_blanks_of_biz_param_are_signed_as_they_are() {
    let sandbox = quiet().await;
    let biz = "{\r\n    \"page\": 1,\r\n    \"pageSize\": 3\r\n}\n";
    let outer = qianyi_outer(&sandbox, "asn", qianyi_fields("QUERY_ASN_LIST", biz)).await;
    assert_eq!(outer["state"], "success", "{outer}");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_form_that_is_not_right_is_refused_with_the_vendors_code() {
    let sandbox = quiet().await;
    let right = || qianyi_fields("QUERY_ASN_LIST", "{}");
    let without =
        |name: &str| right().into_iter().filter(|(field, _)| *field != name).collect::<Vec<_>>();
    let changed = |name: &str, value: &str| {
        let mut fields = right();
        for (field, old) in &mut fields {
            if *field == name {
                value.clone_into(old);
            }
        }
        fields
    };
    let extra = || right().into_iter().chain([("appSecret", "x".to_owned())]).collect::<Vec<_>>();
    let twice = || right().into_iter().chain([("appId", "x".to_owned())]).collect::<Vec<_>>();
    let table = [
        ("asn", without("appId"), "APP_ID_CANNOT_BE_BLANK"),
        ("asn", without("serviceType"), "SERVICE_TYPE_CANNOT_BE_BLANK"),
        ("asn", without("timestamp"), "TIMESTAMP_CANNOT_BE_BLANK"),
        ("asn", without("sign"), "SIGNATURE_CANNOT_BE_BLANK"),
        ("asn", without("bizParam"), "DATA_INPUT_ERROR"),
        ("asn", changed("appId", "other"), "APP_NOT_EXIST"),
        ("asn", changed("timestamp", "1"), "SIGNATURE_ERROR"),
        ("asn", extra(), "DATA_INPUT_ERROR"),
        ("asn", twice(), "DATA_INPUT_ERROR"),
        ("asn", qianyi_fields("NO_SUCH", "{}"), "SERVICE_TYPE_NOT_EXIST"),
        ("salesOrder", right(), "SERVICE_TYPE_NOT_ALLOW"),
        ("asn", qianyi_fields("QUERY_ASN_LIST", "{"), "DATA_INPUT_ERROR"),
    ];
    for (path, fields, expected) in table {
        let outer = qianyi_outer(&sandbox, path, fields.clone()).await;
        assert_eq!(outer["errorCode"], expected, "{fields:?} {outer}");
        assert_eq!(outer["state"], "failure");
    }
    let stale = "1662448537275";
    let sign = qianyi_sign("openApi_TEST", "openApi_TOKEN", "QUERY_ASN_LIST", stale, "{}");
    let mut fields = changed("timestamp", stale);
    fields[4].1 = sign;
    assert_eq!(qianyi_outer(&sandbox, "asn", fields).await["errorCode"], "DATA_INPUT_ERROR");
    let url = format!("{}/api/v1/asn", sandbox.qianyi_url());
    let urlencoded = client().post(url).form(&right()).send().await.unwrap();
    assert_eq!(urlencoded.status(), 415, "it must be multipart");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_business_failure_comes_inside_an_outer_success() {
    let sandbox = quiet().await;
    let create = "CREATE_SALES_ORDER";
    let taken = qianyi(&sandbox, "salesOrder", create, &sales_order("SO-1")).await;
    assert_eq!(taken["result"]["status"], "WAIT_AUDIT");
    assert_eq!(taken["result"]["payTime"], 1_751_299_200_000_i64);
    let again = qianyi(&sandbox, "salesOrder", create, &sales_order("SO-1")).await;
    let expected = json!({"errorCode": "order.id.exist", "errorMsg": "订单号已存在",
        "notSuccess": true, "state": "failure"});
    assert_eq!(again, expected);
    let table = [
        (json!({"shop": "other"}), "SHOP_NOT_AUTHORIZED_OR_NOT_EXIST"),
        (json!({"currency": "HKD"}), "DATA_INPUT_ERROR"),
        (json!({"paymentMethod": "COD"}), "DATA_INPUT_ERROR"),
        (json!({"payTime": "yesterday"}), "DATA_INPUT_ERROR"),
        (json!({"buyer": {}}), "DATA_INPUT_ERROR"),
        (json!({"onlineOrderNumber": "x".repeat(51)}), "DATA_INPUT_ERROR"),
        (json!({"skuList": []}), "DATA_INPUT_ERROR"),
        (json!({"skuList": [{"sku": "A", "quantity": 1}]}), "DATA_INPUT_ERROR"),
    ];
    for (change, code) in table {
        let mut body = sales_order("SO-2");
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = qianyi(&sandbox, "salesOrder", create, &body).await;
        assert_eq!(refused["errorCode"], code, "{change} {refused}");
    }
    let mut body = sales_order("SO-2");
    body["skuList"] = json!([{"sku": "UNKNOWN-SKU", "payAmount": 1, "quantity": 1}]);
    let refused = qianyi(&sandbox, "salesOrder", create, &body).await;
    assert_eq!(refused["errorCode"], "SKU_NOT_EXISTS_WITH_ARGS");
    assert_eq!(refused["errorMsg"], "sku不存在，具体清单如下: UNKNOWN-SKU; ");
    body["skuList"] = json!([{"sku": "OUT-OF-STOCK", "payAmount": 1, "quantity": 1}]);
    let refused = qianyi(&sandbox, "salesOrder", "CREATE_AND_AUDIT_SALES_ORDER", &body).await;
    assert_eq!(refused["errorCode"], "sku.inventory.short.need.increase");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_order_is_audited_shipped_found_and_not_closed_any_more() {
    let sandbox = quiet().await;
    let place = "salesOrder";
    qianyi(&sandbox, place, "CREATE_SALES_ORDER", &sales_order("SO-1")).await;
    assert!(!sandbox.ship(Vendor::Qianyi, "SO-1"), "it is not audited");
    let body = sales_order("SO-1");
    assert_eq!(qianyi(&sandbox, place, "AUDIT_SALES_ORDER", &body).await["state"], "success");
    assert!(sandbox.ship(Vendor::Qianyi, "SO-1"));
    let closed = qianyi(&sandbox, place, "CLOSE_SALES_ORDER", &body).await;
    assert_eq!(closed["errorCode"], "order.status.cannot.operate");
    let asked = json!({"onlineOrderNumber": "SO-1,SO-9", "page": 1, "pageSize": 100});
    let found = qianyi(&sandbox, place, "QUERY_SALES_ORDER_LIST", &asked).await;
    assert_eq!((&found["total"], &found["result"][0]["status"]), (&json!(1), &json!("SHIPPED")));
    assert!(found["result"][0]["createTime"].is_i64());
    let asked = json!({"page": 1, "pageSize": 100});
    let refused = qianyi(&sandbox, place, "QUERY_SALES_ORDER_LIST", &asked).await;
    assert_eq!(refused["errorCode"], "DATA_INPUT_ERROR");
    let effects = [EffectKind::OrderCreated, EffectKind::OrderAudited, EffectKind::OrderShipped];
    assert_eq!(sandbox.books().effects_of(Vendor::Qianyi, "SO-1"), effects);
    qianyi(&sandbox, place, "CREATE_AND_AUDIT_SALES_ORDER", &sales_order("SO-2")).await;
    let closed = qianyi(&sandbox, place, "CLOSE_SALES_ORDER", &sales_order("SO-2")).await;
    assert_eq!(closed, json!({"notSuccess": false, "state": "success"}));
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_asn_is_merged_found_by_either_number_and_cancelled_once() {
    let sandbox = quiet().await;
    let taken = qianyi(&sandbox, "asn", "CREATE_ASN_ORDER", &asn("ASN-1")).await;
    let number = taken["result"]["asnNumber"].clone();
    assert_eq!(taken["result"]["asnSkuVOList"].as_array().unwrap().len(), 1);
    assert_eq!(taken["result"]["totalQuantity"], 5);
    for wanted in [&json!("ASN-1"), &number] {
        let asked = json!({"number": wanted, "page": 1, "pageSize": 10});
        let found = qianyi(&sandbox, "asn", "QUERY_ASN_LIST", &asked).await;
        assert_eq!(found["result"][0]["asnNumber"], number);
        assert!(found["result"][0]["createTime"].is_string(), "times of ASNs are text");
    }
    let refused = qianyi(&sandbox, "asn", "CREATE_ASN_ORDER", &asn("ASN-1")).await;
    assert_eq!(refused["errorCode"], "DATA_INPUT_ERROR");
    let by_number = json!({"asnNumber": number});
    let cancelled = qianyi(&sandbox, "asn", "CANCEL_ASN_ORDER", &by_number).await;
    assert_eq!(cancelled, json!({"notSuccess": false, "state": "success"}));
    let again = qianyi(&sandbox, "asn", "CANCEL_ASN_ORDER", &by_number).await;
    assert_eq!(again["errorCode"], "order.status.cannot.operate");
    let by_custom = json!({"asnNumber": "ASN-1"});
    let none = qianyi(&sandbox, "asn", "CANCEL_ASN_ORDER", &by_custom).await;
    assert_eq!(none["notSuccess"], true, "it takes the vendor's number only");
    let effects = [EffectKind::InboundCreated, EffectKind::InboundCancelled];
    assert_eq!(sandbox.books().effects_of(Vendor::Qianyi, "ASN-1"), effects);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_duplicate_asn_may_answer_the_number_that_exists() {
    let sandbox =
        started(|settings| settings.qianyi.duplicate_asn = DuplicateAsn::SameNumber).await;
    let first = qianyi(&sandbox, "asn", "CREATE_ASN_ORDER", &asn("ASN-1")).await;
    let second = qianyi(&sandbox, "asn", "CREATE_ASN_ORDER", &asn("ASN-1")).await;
    assert_eq!(first["result"]["asnNumber"], second["result"]["asnNumber"]);
    assert_eq!(sandbox.books().effects_of(Vendor::Qianyi, "ASN-1").len(), 1);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn stock_hides_empty_rows_unless_they_are_asked_for() {
    let sandbox = quiet().await;
    let mut asked = json!({"warehouse": "测试仓库", "skuList": ["SKU-1", "OUT-OF-STOCK"],
        "page": 1, "pageSize": 10});
    let service = "QUERY_SIMPLE_LIST_INVENTORY_V2";
    let rows = qianyi(&sandbox, "inventory", service, &asked).await;
    assert_eq!((&rows["total"], &rows["result"][0]["sku"]), (&json!(1), &json!("SKU-1")));
    asked["showEmpty"] = json!(true);
    assert_eq!(qianyi(&sandbox, "inventory", service, &asked).await["total"], 2);
    let warehouses = qianyi(&sandbox, "warehouse", "QUERY_WAREHOUSE_LIST", &json!({})).await;
    assert_eq!(warehouses["result"][1]["name"], "测试仓库");
    let shops = qianyi(&sandbox, "shop", "QUERY_SHOP_LIST", &json!({})).await;
    assert_eq!(shops["result"][0]["name"], "demo-shop");
    sandbox.shutdown().await;
}
