//! The two envelopes of Qianyi: a business failure comes inside an outer success.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::sandbox::Shared;
use crate::sandbox::exchange::Answer;

/// A business failure: it goes inside an outer success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    /// What is wrong with the data. The vendor documents no codes for single fields;
    /// `DATA_INPUT_ERROR` is the example of its tables.
    pub(super) fn input(message: impl Into<String>) -> Self {
        Self { code: "DATA_INPUT_ERROR".to_owned(), message: message.into() }
    }
}

/// A business success, with what it gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Success {
    /// Nothing but the state.
    Done,
    /// One object.
    One(Value),
    /// A page, and how many there are altogether.
    Page(Vec<Value>, usize),
}

pub(super) type Outcome = Result<Success, Failure>;

/// The answer of an operation.
pub(super) fn answer(shared: &Shared, outcome: Outcome) -> Answer {
    let (code, inner) = match outcome {
        Ok(Success::Done) => ("0".to_owned(), json!({"notSuccess": false, "state": "success"})),
        Ok(Success::One(result)) => {
            ("0".to_owned(), json!({"notSuccess": false, "result": result, "state": "success"}))
        }
        Ok(Success::Page(result, total)) => {
            let inner =
                json!({"notSuccess": false, "result": result, "state": "success", "total": total});
            ("0".to_owned(), inner)
        }
        Err(failure) => {
            let inner = json!({
                "errorCode": failure.code,
                "errorMsg": failure.message,
                "notSuccess": true,
                "state": "failure",
            });
            (failure.code, inner)
        }
    };
    let outer = json!({
        "bizContent": inner.to_string(),
        "errorCode": shared.settings.qianyi.success_code,
        "errorMsg": "",
        "requestId": null,
        "state": "success",
    });
    Answer { status: StatusCode::OK, body: outer.to_string(), code, document: None }
}

/// An outer failure: the request did not reach the business.
pub(super) fn outer_failure(status: StatusCode, code: &str, message: &str) -> Answer {
    // As captured: this one refusal has neither bizContent nor requestId.
    let body = match code {
        "APP_NOT_EXIST" => {
            json!({"errorCode": code, "errorMsg": message, "state": "failure", "success": false})
        }
        _ => json!({
            "state": "failure",
            "errorCode": code,
            "errorMsg": message,
            "bizContent": null,
            "requestId": null,
        }),
    };
    Answer { status, body: body.to_string(), code: code.to_owned(), document: None }
}

/// The message of a code, as captured where it was seen.
pub(super) fn message(code: &str) -> &'static str {
    match code {
        "SYSTEM_ERROR" => "系统异常,请联系官方人员",
        "SIGNATURE_ERROR" => "签名错误",
        "APP_NOT_EXIST" => "app不存在",
        "SERVICE_TYPE_NOT_EXIST" => "serviceType不存在",
        "APP_ID_CANNOT_BE_BLANK" => "appId不能为空",
        "SIGNATURE_CANNOT_BE_BLANK" => "签名不能为空",
        "SERVICE_TYPE_CANNOT_BE_BLANK" => "serviceType不能为空",
        "TIMESTAMP_CANNOT_BE_BLANK" => "timestamp不能为空",
        "SERVICE_TYPE_NOT_ALLOW" => "serviceType没有权限或不存在",
        "order.id.exist" => "订单号已存在",
        "SHOP_NOT_AUTHORIZED_OR_NOT_EXIST" => "店铺无授权或不存在",
        "order.status.cannot.operate" => "订单状态不允许操作",
        "sku.inventory.short.need.increase" => "库存不足",
        _ => "refused by the sandbox",
    }
}
