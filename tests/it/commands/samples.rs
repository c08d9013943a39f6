//! Commands with everything the vendor takes, and the vendor's body each has to become.

use serde_json::{Value, json};
use wms_connector::{
    domain::Operation,
    sandbox::{Books, EffectKind, KeptDocument, Vendor},
};

use crate::support::app::{JFWMS, QIANYI};

/// A command and what has to come of it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) vendor: Vendor,
    pub(super) operation: Operation,
    pub(super) number: String,
    pub(super) command: Value,
    /// The vendor's body.
    pub(super) asked: Value,
    pub(super) ignored: Value,
}

impl Sample {
    pub(super) fn account(&self) -> &'static str {
        match self.vendor {
            Vendor::Jfwms => JFWMS,
            Vendor::Qianyi => QIANYI,
        }
    }

    /// The document in the books.
    pub(super) fn kept<'a>(&self, books: &'a Books) -> Option<&'a KeptDocument> {
        match self.operation {
            Operation::CreateOrder => books.order(self.vendor, &self.number),
            _ => books.asn(self.vendor, &self.number),
        }
    }

    /// What it does to the document.
    pub(super) fn effect(&self) -> EffectKind {
        match self.operation {
            Operation::CreateOrder => EffectKind::OrderCreated,
            _ => EffectKind::InboundCreated,
        }
    }

    /// The path or serviceType of its call.
    pub(super) fn endpoint(&self) -> &'static str {
        match (self.vendor, self.operation) {
            (Vendor::Jfwms, Operation::CreateOrder) => "/api/order/create",
            (Vendor::Jfwms, _) => "/api/inbound/create",
            (Vendor::Qianyi, Operation::CreateOrder) => "CREATE_SALES_ORDER",
            (Vendor::Qianyi, _) => "CREATE_ASN_ORDER",
        }
    }

    /// The path or serviceType of its look-up.
    pub(super) fn look_up(&self) -> &'static str {
        match (self.vendor, self.operation) {
            (Vendor::Jfwms, Operation::CreateOrder) => "/api/order/get",
            (Vendor::Jfwms, _) => "/api/inbound/get",
            (Vendor::Qianyi, Operation::CreateOrder) => "QUERY_SALES_ORDER_LIST",
            (Vendor::Qianyi, _) => "QUERY_ASN_LIST",
        }
    }

    /// The same command with a member set to something else, by JSON pointer.
    pub(super) fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.command.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.to_owned(), value.into());
        self
    }
}

/// Every create of both vendors, the document's number beginning with `prefix`.
pub(super) fn all(prefix: &str) -> [Sample; 4] {
    [
        jfwms_order(&format!("{prefix}-jo")),
        jfwms_asn(&format!("{prefix}-ja")),
        qianyi_order(&format!("{prefix}-qo")),
        qianyi_asn(&format!("{prefix}-qa")),
    ]
}

/// A small order of JFWMS.
pub(super) fn small_order(number: &str) -> Sample {
    let command = json!({
        "account": JFWMS, "orderNumber": number, "platform": "shopify", "warehouse": "YK",
        "recipient": {"country": "US"}, "lines": [{"sku": "SKU-1", "quantity": 1}],
    });
    Sample { command, ..jfwms_order(number) }
}

/// A small inbound of JFWMS.
pub(super) fn small_asn(number: &str) -> Sample {
    let command = json!({
        "account": JFWMS, "asnNumber": number, "warehouse": "YK",
        "lines": [{"sku": "SKU-1", "quantity": 1}],
    });
    Sample { command, ..jfwms_asn(number) }
}

pub(super) fn jfwms_order(number: &str) -> Sample {
    let command = json!({
        "account": JFWMS, "orderNumber": number, "platformOrderNumber": "P-1",
        "platform": "shopify", "shop": "极风旗舰店", "warehouse": "YK",
        "recipient": {
            "name": "张三", "phone": "13800000000", "email": "zhang@example.com", "country": "US",
            "province": "CA", "city": "Los Angeles", "district": "Downtown", "postCode": "90001",
            "address1": "1 Main St", "address2": "Apt 2", "taxId": "T-1",
        },
        "logistics": {
            "kind": "OFFLINE", "id": 12, "name": "USPS", "trackingNumber": "TN-1",
            "labelUrl": "https://example.com/label.pdf",
        },
        "currency": "USD", "amount": "25.50", "freight": 3, "buyerNote": "please hurry",
        "sellerNote": "易碎", "pickingNote": "double box",
        "lines": [
            {
                "sku": "SKU-1", "quantity": 2, "unitPrice": "12.7500", "paidAmount": 25.5,
                "customs": {"hsCode": "6109", "nameZh": "T恤", "nameEn": "T-shirt"},
                "vendorFields": {"lineOfCaller": [1, 2.50]},
            },
            {"sku": "SKU-1", "quantity": 1},
        ],
        "vendorFields": {"ofCaller": {"n": 1.10}},
    });
    let asked = json!({
        "warehouse": "YK", "erpNo": number, "platform": "shopify", "platformOrderNo": "P-1",
        "shopName": "极风旗舰店", "buyerName": "张三", "buyerPhone": "13800000000",
        "recipientEmail": "zhang@example.com", "recipientCountry": "US",
        "recipientProvince": "CA", "recipientCity": "Los Angeles", "recipientArea": "Downtown",
        "zipCode": "90001", "recipientAddress": "1 Main St", "recipientAddress2": "Apt 2",
        "taxId": "T-1", "type": 2, "logisticsId": 12, "logisticsName": "USPS",
        "trackingNo": "TN-1", "labelUrl": "https://example.com/label.pdf", "currency": "USD",
        "amount": 25.5, "note": "易碎", "pickingNote": "double box",
        "skuList": [
            {
                "sku": "SKU-1", "num": 2, "unitPrice": 12.75, "hsCode": "6109",
                "itemNameCn": "T恤", "itemNameEn": "T-shirt", "lineOfCaller": [1, 2.50],
            },
            {"sku": "SKU-1", "num": 1},
        ],
        "ofCaller": {"n": 1.10},
    });
    Sample {
        vendor: Vendor::Jfwms,
        operation: Operation::CreateOrder,
        number: number.to_owned(),
        command,
        asked,
        ignored: json!(["freight", "buyerNote", "lines[0].paidAmount"]),
    }
}

pub(super) fn jfwms_asn(number: &str) -> Sample {
    let command = json!({
        "account": JFWMS, "asnNumber": number, "warehouse": "YK",
        "trackingNumbers": ["T-1", "T-2"], "expectedAt": "2026-12-01T02:03:04Z",
        "remark": "二楼", "packing": "BOXES", "currency": "USD",
        "lines": [{"sku": "SKU-1", "quantity": 3, "notes": "fragile"}],
        "boxes": [
            {
                "number": 2, "weightGrams": "1500.5", "lengthCm": 10, "widthCm": 20,
                "heightCm": "30.25", "lines": [{"sku": "SKU-1", "quantity": 1}],
            },
            {"number": 1, "lines": [{"sku": "SKU-1", "quantity": 2}]},
        ],
    });
    let asked = json!({
        "erpNo": number, "warehouse": "YK", "trackingNo": "T-1,T-2",
        "expectedTime": "2026-12-01 10:03:04", "remark": "二楼", "receiptType": 2,
        "skuList": [{"sku": "SKU-1", "count": 3}],
        "boxList": [
            {"skuVos": [{"sku": "SKU-1", "count": 2}]},
            {
                "weight": 1500.5, "length": 10, "width": 20, "height": 30.25,
                "skuVos": [{"sku": "SKU-1", "count": 1}],
            },
        ],
    });
    Sample {
        vendor: Vendor::Jfwms,
        operation: Operation::CreateAsn,
        number: number.to_owned(),
        command,
        asked,
        ignored: json!(["currency", "lines[0].notes"]),
    }
}

pub(super) fn qianyi_order(number: &str) -> Sample {
    let command = json!({
        "account": QIANYI, "orderNumber": number, "shop": "demo-shop", "platform": "shopify",
        "recipient": {
            "name": "Ada Lovelace", "phone": "123", "email": "ada@example.com", "country": "GB",
            "province": "London", "city": "London", "district": "Camden", "postCode": "NW1",
            "address1": "1 Main St", "address2": "Flat 2", "houseNumber": "7", "buyerId": "b-1",
        },
        "logistics": {
            "name": "DHL", "trackingNumber": "TN-1",
            "label": {"content": "JVBERg==", "type": "PDF"},
        },
        "document": {"content": "iVBORw==", "type": "PNG", "name": "发票.png"},
        "currency": "GBP", "freight": "3.50", "paidAt": "2026-11-01T00:00:00Z",
        "buyerNote": "谢谢", "sellerNote": "gift",
        "lines": [{
            "sku": "SKU-1", "quantity": 2, "unitPrice": "5.25", "paidAmount": "10.5",
            "shippingPrice": 1, "promotionDiscount": "0.5",
            "batch": {
                "number": "B-1", "manufacturedOn": "2026-01-02", "expiresOn": "2027-01-02",
                "originCountry": "CN",
            },
        }],
    });
    let asked = json!({
        "shop": "demo-shop", "onlineOrderNumber": number, "paymentMethod": "PAY_ONLINE",
        "freight": 3.5, "currency": "GBP", "buyerMessage": "谢谢", "sellerRemarks": "gift",
        "payTime": "2026-11-01 08:00:00+08:00", "logisticsSelected": "DHL",
        "trackingNumber": "TN-1", "shippingLabel": "JVBERg==", "imgType": "PDF",
        "documentFile": "iVBORw==", "documentType": "PNG", "documentName": "发票.png",
        "buyer": {
            "buyerId": "b-1", "receiverName": "Ada Lovelace", "phone": "123",
            "email": "ada@example.com", "country": "UK", "province": "London", "city": "London",
            "district": "Camden", "postCode": "NW1", "address1": "1 Main St",
            "address2": "Flat 2", "houseNumber": "7",
        },
        "skuList": [{
            "sku": "SKU-1", "quantity": 2, "payAmount": 10.5, "paymentPrice": 5.25,
            "shippingPrice": 1, "promotionDiscount": 0.5, "batchNo": "B-1",
            "mfgDate": "2026-01-02", "expDate": "2027-01-02", "originCountry": "CN",
        }],
    });
    Sample {
        vendor: Vendor::Qianyi,
        operation: Operation::CreateOrder,
        number: number.to_owned(),
        command,
        asked,
        ignored: json!(["platform"]),
    }
}

pub(super) fn qianyi_asn(number: &str) -> Sample {
    let command = json!({
        "account": QIANYI, "asnNumber": number, "warehouse": "测试仓库",
        "trackingNumbers": ["T-1"], "expectedAt": "2026-12-01T02:03:04Z", "remark": "二楼",
        "packing": "BOXES", "currency": "USD", "firstLegCurrency": "USD",
        "transferCurrency": "CNY", "sendToWarehouse": true, "transport": "AIR",
        "containerModel": "40HQ",
        "lines": [{
            "sku": "SKU-1", "quantity": 4, "purchasePrice": "9.9", "firstLegPrice": "1.25",
            "transferPrice": "2.1234", "condition": "DAMAGED", "perBox": 2, "notes": "fragile",
        }],
        "boxes": [{
            "number": 1, "weightGrams": 1500, "lengthCm": "10.5", "widthCm": 20, "heightCm": 30,
            "lines": [{"sku": "SKU-1", "quantity": 4}],
        }],
    });
    let asked = json!({
        "warehouseName": "测试仓库", "customNumber": number, "trackNumber": "T-1",
        "remark": "二楼", "purchasePriceCurrency": "USD", "firstLegPriceCurrency": "USD",
        "transferPriceCurrency": "CNY", "sendWarehouseFlag": "Y",
        "preArriveTime": "2026-12-01 10:03:04", "shippingType": "02", "containerModel": "40HQ",
        "asnSkuVOList": [{
            "sku": "SKU-1", "purchasePrice": 9.9, "firstLegPrice": 1.25, "transferPrice": 2.1234,
            "expectQuantity": 4, "skuStatus": "DAMAGE", "perBoxQuantity": 2,
            "skuNotes": "fragile",
        }],
        "asnMarkVOList": [{
            "boxNumber": 1, "asnMarkSkuVOList": [{"sku": "SKU-1", "quantity": 4}],
            "length": 10.5, "width": 20, "height": 30, "weight": 1.5,
        }],
    });
    Sample {
        vendor: Vendor::Qianyi,
        operation: Operation::CreateAsn,
        number: number.to_owned(),
        command,
        asked,
        ignored: json!([]),
    }
}
