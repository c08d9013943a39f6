//! Qianyi's two envelopes (Qianyi guide, 响应格式).
//!
//! The outer one says whether the call was taken; the inner one, a JSON string in `bizContent`,
//! whether the work was done. A business failure comes inside an outer success, sometimes without
//! a code, so success is both of them good.

use super::json::{self, Members};
use crate::domain::{VendorAnswer, whole};

/// What an answer's body says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Success(Success),
    Failure(Failure),
    /// Not an answer of Qianyi's.
    Unreadable,
}

/// Both envelopes are good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Success {
    pub(super) request_id: Option<String>,
    /// The inner envelope's text, where there is one.
    pub(super) content: Option<String>,
}

/// One of the envelopes is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) request_id: Option<String>,
    /// Whether the operation itself failed, inside an outer success.
    pub(super) inner: bool,
}

impl Success {
    /// The inner envelope's members; `None` where it is not an object.
    pub(super) fn inner(&self) -> Option<Members<'_>> {
        json::members(self.content.as_deref()?)
    }
}

/// Reads an answer's body.
pub(super) fn read(answer: &VendorAnswer) -> Reading {
    let Some(outer) = answer.text().and_then(json::members) else {
        return Reading::Unreadable;
    };
    let state = text(&outer, "state");
    let request_id = text(&outer, "requestId");
    let content = json::last(&outer, "bizContent").and_then(content);
    let inner = content.as_deref().and_then(json::members);
    let outer_good = match state.as_deref() {
        Some("success") => code(&outer).is_none(),
        Some("failure") => false,
        // Neither word: who answers so has not said what became of the call.
        _ => return Reading::Unreadable,
    };
    if !outer_good {
        let inner = inner.unwrap_or_default();
        return Reading::Failure(Failure {
            code: code(&outer).or_else(|| code(&inner)),
            message: text(&outer, "errorMsg").or_else(|| text(&inner, "errorMsg")),
            request_id,
            inner: false,
        });
    }
    match inner {
        Some(inner) if failed(&inner) => Reading::Failure(Failure {
            code: code(&inner),
            message: text(&inner, "errorMsg"),
            request_id,
            inner: true,
        }),
        _ => Reading::Success(Success { request_id, content }),
    }
}

/// `bizContent` is a JSON string; an object in its place stands for itself.
fn content(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => json::string(raw).filter(|text| !text.trim().is_empty()),
        b'{' | b'[' => Some(raw.to_owned()),
        _ => None,
    }
}

fn failed(inner: &Members<'_>) -> bool {
    text(inner, "notSuccess").as_deref() == Some("true")
        || text(inner, "state").as_deref() == Some("failure")
        || code(inner).is_some()
}

/// The code, if it is one: the guide shows "0" for success, real answers an empty text; a zero is one
/// however it is written.
fn code(members: &Members<'_>) -> Option<String> {
    text(members, "errorCode").filter(|code| whole(code.trim()) != Some(0))
}

/// A member's text, unless it is empty.
pub(super) fn text(members: &Members<'_>, name: &str) -> Option<String> {
    json::last(members, name).and_then(json::scalar).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_bytes(body: &[u8]) -> Reading {
        read(&VendorAnswer {
            status: 200,
            retry_after: None,
            date: None,
            content_type: None,
            body: body.to_vec(),
        })
    }

    /// Zero is success however it is written, in both envelopes; nothing else is.
    #[test]
    fn a_code_is_zero_however_it_is_written() {
        for (code, success) in [
            ("0", true),
            ("0.0", true),
            ("0e0", true),
            ("-0.00", true),
            ("\"0\"", true),
            ("\"0.0\"", true),
            ("\"\"", true),
            ("null", true),
            ("0.1", false),
            ("10", false),
            ("\"0x0\"", false),
            ("\"zero\"", false),
        ] {
            let outer = format!(r#"{{"state":"success","errorCode":{code},"bizContent":"{{}}"}}"#);
            let inner = json!({"state": "success", "errorCode": "HERE"}).to_string();
            let inner = inner.replace("\"HERE\"", code);
            let inner = json!({"state": "success", "bizContent": inner}).to_string();
            for body in [outer, inner] {
                let is_success = matches!(read_bytes(body.as_bytes()), Reading::Success(_));
                assert_eq!(is_success, success, "{body}");
            }
        }
    }

    /// Answers as the vendor's documents and captured traffic show them.
    #[test]
    fn both_envelopes_are_read() {
        let success = |content: Option<&str>| {
            Reading::Success(Success { request_id: None, content: content.map(str::to_owned) })
        };
        let failure = |code: Option<&str>, message: Option<&str>, inner| {
            Reading::Failure(Failure {
                code: code.map(str::to_owned),
                message: message.map(str::to_owned),
                request_id: None,
                inner,
            })
        };
        for (body, reading) in [
            (
                r#"{"state":"success","errorCode":"","errorMsg":"","bizContent":"{\"notSuccess\":false,\"state\":\"success\"}","requestId":null}"#,
                success(Some(r#"{"notSuccess":false,"state":"success"}"#)),
            ),
            (
                r#"{"errorCode":"0","errorMsg":"","state":"success","bizContent":"{\"orderId\":\"12345\"}"}"#,
                success(Some(r#"{"orderId":"12345"}"#)),
            ),
            (
                r#"{"errorCode":0,"state":"success","bizContent":{"a":1.10}}"#,
                success(Some(r#"{"a":1.10}"#)),
            ),
            (r#"{"state":"success","bizContent":null}"#, success(None)),
            (
                r#"{"state":"success","bizContent":"{\"errorCode\":\"order.id.exist\",\"errorMsg\":\"订单号已存在\",\"notSuccess\":true,\"state\":\"failure\"}","requestId":null}"#,
                failure(Some("order.id.exist"), Some("订单号已存在"), true),
            ),
            (
                r#"{"state":"success","bizContent":"{\"errorMsg\":\"x\",\"notSuccess\":true}"}"#,
                failure(None, Some("x"), true),
            ),
            (
                r#"{"state":"success","bizContent":"{\"state\":\"failure\"}"}"#,
                failure(None, None, true),
            ),
            (
                r#"{"errorCode":"APP_NOT_EXIST","errorMsg":"app不存在","state":"failure","success":false}"#,
                failure(Some("APP_NOT_EXIST"), Some("app不存在"), false),
            ),
            (
                r#"{"state":"failure","errorCode":"SYSTEM_ERROR","errorMsg":"系统异常,请联系官方人员","bizContent":null,"requestId":null}"#,
                failure(Some("SYSTEM_ERROR"), Some("系统异常,请联系官方人员"), false),
            ),
            (r#"{"state":"success","errorCode":"X"}"#, failure(Some("X"), None, false)),
            (r#"{"state":"maybe"}"#, Reading::Unreadable),
            ("{}", Reading::Unreadable),
            ("<html>", Reading::Unreadable),
            ("", Reading::Unreadable),
        ] {
            for body in [body.to_owned(), format!("\u{feff}{body}")] {
                assert_eq!(read_bytes(body.as_bytes()), reading, "{body}");
            }
        }
        assert_eq!(read_bytes(b"\xff"), Reading::Unreadable);
    }
}
