//! Refusals of JFWMS with the messages of the guide, section 5 ("常见报错").

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::sandbox::exchange::Answer;

/// A refusal by code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refusal {
    /// With the guide's message.
    pub(super) fn new(code: u32) -> Self {
        Self { code, message: message(code).to_owned() }
    }

    /// With the guide's message about something: in its place, or behind it.
    pub(super) fn about(code: u32, what: &str) -> Self {
        let text = message(code);
        let message = match text.contains("%s") {
            true => text.replace("%s", what),
            false => format!("{text}: {what}"),
        };
        Self { code, message }
    }

    pub(super) fn answer(&self) -> Answer {
        envelope(StatusCode::OK, &self.code.to_string(), &self.message, Value::Null)
    }
}

/// `{code, message, data, requestId}`, as in the guide's sample answer.
pub(super) fn envelope(status: StatusCode, code: &str, message: &str, data: Value) -> Answer {
    let number = code.parse::<i64>().map_or_else(|_| json!(code), |number| json!(number));
    let request_id = format!("{:032x}", rand::random::<u128>());
    let body = json!({"code": number, "message": message, "data": data, "requestId": request_id});
    Answer { status, body: body.to_string(), code: code.to_owned(), document: None }
}

/// The guide's message of a code.
pub(super) fn message(code: u32) -> &'static str {
    match code {
        1 => "服务异常,请稍后重试",
        10001 => "Request parameter error",
        10002 => "Invalid ACCESS TOKEN ",
        10003 => "Invalid REFRESH TOKEN",
        10004 => "ACCESS TOKEN empty",
        10005 => "REFRESH TOKEN empty",
        10006 => "CLIENT ID empty",
        10007 => "CLIENT SECRET empty",
        10008 => "Invalid client app info",
        10009 => "Invalid client auth info",
        10010 => "Request ip not in whitelist",
        10011 => "could not find any user by the email",
        10012 => "wrong password",
        10013 => "could not find domain info",
        10014 => "could not find valid app info",
        10021 => "SIGN 不能为空",
        10022 => "NONCE 不能为空",
        10023 => "TIMESTAMP 不能为空",
        10024 => "NONCE 格式异常",
        10025 => "TIMESTAMP 格式异常",
        10026 => "签名错误",
        10027 => "重复提交",
        10028 => "时间戳失效",
        10029 => "USER ID 格式异常",
        10030 => "Invalid authorization identification code",
        10040 => "OMS account has been deactivated, please contact the warehouse",
        10041 => "Warehouse not identified, please contact the warehouse",
        10042 => "The warehouse status has been closed, please contact the warehouse!",
        10043 => "warehouse is required",
        10044 => "The warehouse has suspended receiving goods. Please contact the warehouse",
        10045 => {
            "The warehouse has not yet assigned a billing plan for you. Please contact the \
             warehouse!"
        }
        10046 => {
            "Some products in the document do not exist in the warehouse. Please push the \
             products first!"
        }
        10047 => "sku(%s) has been banned by the warehouse. Please contact the warehouse!",
        10048 => "The warehouse has suspended receiving orders, please contact the warehouse!",
        10049 => {
            "Creation failed! You are in arrears. Please log in to the OMS system to recharge or \
             contact the warehouse"
        }
        20022 => {
            "The warehouse does not allow interception of orders, interception of orders failed!"
        }
        20023 => "Order interception has been applied and is under review by the warehouse!",
        30001 => "No corresponding product was found in the warehouse system",
        40000 => "erp no is required",
        40001 => "erp no is exist",
        40002 => "sku is required",
        40003 => "sku count is required",
        40004 => "No receipt found in the warehouse system!",
        40005 => "The current status (%s) does not allow cancellation of the receipt order",
        50000 => "label url is required",
        50001 => "label url up to 2048 characters",
        50002 => "recipient country is required",
        50003 => "erp no is required",
        50004 => "logistics name is required",
        50005 => "tracking no is required",
        50006 => "recipient address up to 300 characters",
        50007 => {
            "The country is currently not supported, or the country needs to transmit a two \
             character code"
        }
        50008 => "erp no up to 100 characters",
        // The guide repeats the message of 50008 here.
        50009 => "erp no up to 100 characters",
        50010 => "buyer name up to 100 characters",
        50011 => "buyer phone up to 100 characters",
        50012 => "recipient province up to 100 characters",
        50013 => "recipient city up to 100 characters",
        50014 => "zip code up to 100 characters",
        50015 => "logistics name up to 100 characters",
        50016 => "tracking no up to 100 characters",
        50017 => "The order was not found in the warehouse!",
        50018 => "The order has been shipped, please contact logistics interception",
        50019 => "ERP order number already exists",
        50020 => "Logistics does not exist, please contact the warehouse",
        50021 => "Logistics method not enabled",
        50022 => "sku is required",
        50023 => "sku num error",
        50024 => "Product SKU: %s do not exist in the warehouse, please push the product first!",
        50025 => "Logistics cannot be sent to the recipient country",
        50026 => "Not enough stock,Please check!",
        50027 => "Order cancelled",
        50028 => "Query up to 100 pieces of data at once",
        _ => "refused by the sandbox",
    }
}
