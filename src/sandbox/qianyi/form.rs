//! The request of Qianyi: multipart/form-data with exactly five fields, signed over the literal
//! text of `bizParam`.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use jiff::Timestamp;
use md5::{Digest, Md5};

use super::envelope::{message, outer_failure};
use crate::sandbox::exchange::Answer;
use crate::sandbox::settings::QianyiSettings;

/// The five fields, as far as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) app_id: Option<String>,
    pub(super) service_type: Option<String>,
    pub(super) biz_param: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) sign: Option<String>,
}

/// What is wrong with the form of a request, before anything it says is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    status: StatusCode,
    message: String,
}

impl Malformed {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// No code is documented for a request that is no form.
    pub(super) fn answer(&self) -> Answer {
        outer_failure(self.status, "DATA_INPUT_ERROR", &self.message)
    }
}

/// Reads the form without touching a byte of a value.
pub(super) async fn read(parts: Parts, body: Bytes) -> Result<Form, Malformed> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Malformed::new(status, "Content-Type must be multipart/form-data"));
    }
    let wrong = |message: String| Malformed::new(StatusCode::BAD_REQUEST, message);
    let request = Request::from_parts(parts, Body::from(body));
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|error| wrong(error.body_text()))?;
    let mut form = Form::default();
    while let Some(field) =
        multipart.next_field().await.map_err(|error| wrong(error.body_text()))?
    {
        let name = field.name().unwrap_or_default().to_owned();
        let slot = match name.as_str() {
            "appId" => &mut form.app_id,
            "serviceType" => &mut form.service_type,
            "bizParam" => &mut form.biz_param,
            "timestamp" => &mut form.timestamp,
            "sign" => &mut form.sign,
            // A secret in a field of its own would be a leak; any sixth field is refused.
            _ => return Err(wrong(format!("there is no field {name:?}"))),
        };
        let bytes = field.bytes().await.map_err(|error| wrong(error.body_text()))?;
        let value = String::from_utf8(bytes.to_vec())
            .map_err(|_| wrong(format!("the field {name} is not UTF-8")))?;
        if slot.replace(value).is_some() {
            return Err(wrong(format!("the field {name} comes twice")));
        }
    }
    Ok(form)
}

/// A request that was verified.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub(super) service_type: &'a str,
    pub(super) biz_param: &'a str,
}

/// The guide's steps 1 to 3: names sorted, joined without delimiters, the secret behind, MD5 in
/// lower case.
pub(super) fn sign(
    app_id: &str,
    biz_param: &str,
    service_type: &str,
    timestamp: &str,
    app_secret: &str,
) -> String {
    let text = format!(
        "appId={app_id}bizParam={biz_param}serviceType={service_type}timestamp={timestamp}{app_secret}"
    );
    hex::encode(Md5::digest(text.as_bytes()))
}

/// Verifies a form.
pub(super) fn verify<'a>(
    settings: &QianyiSettings,
    form: &'a Form,
    now: Timestamp,
) -> Result<Signed<'a>, Box<Answer>> {
    let refuse = |code: &str| Box::new(outer_failure(StatusCode::OK, code, message(code)));
    let input = |text: &str| Box::new(outer_failure(StatusCode::OK, "DATA_INPUT_ERROR", text));
    let given = |field: &'a Option<String>| field.as_deref().filter(|text| !text.is_empty());
    let app_id = given(&form.app_id).ok_or_else(|| refuse("APP_ID_CANNOT_BE_BLANK"))?;
    let service_type =
        given(&form.service_type).ok_or_else(|| refuse("SERVICE_TYPE_CANNOT_BE_BLANK"))?;
    let timestamp = given(&form.timestamp).ok_or_else(|| refuse("TIMESTAMP_CANNOT_BE_BLANK"))?;
    let sent = given(&form.sign).ok_or_else(|| refuse("SIGNATURE_CANNOT_BE_BLANK"))?;
    let biz_param = given(&form.biz_param).ok_or_else(|| input("bizParam不能为空"))?;
    if app_id != settings.app_id {
        return Err(refuse("APP_NOT_EXIST"));
    }
    if sent != sign(app_id, biz_param, service_type, timestamp, &settings.app_secret) {
        return Err(refuse("SIGNATURE_ERROR"));
    }
    let millis: Option<i64> = timestamp
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| timestamp.parse().ok())
        .flatten();
    let millis = millis.ok_or_else(|| input("timestamp must be digits"))?;
    if let Some(tolerance) = settings.clock_tolerance {
        let apart = now.as_millisecond().abs_diff(millis);
        if u128::from(apart) > tolerance.as_millis() {
            let text = "timestamp is not 13 digits of milliseconds close to the present";
            return Err(Box::new(outer_failure(StatusCode::OK, &settings.clock_code, text)));
        }
    }
    Ok(Signed { service_type, biz_param })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_samples_are_signed_alike() {
        // The long sample of the guide's older edition, with full-width brackets: the newer guide
        // shortened bizParam and kept the sign.
        let long = "{\"asnSkuVOList\":[{\"expectQuantity\":\"100\",\"sku\":\"SKU1230\",\
            \"purchasePrice\":\"10\",\"transferPrice\":\"100\",\"firstLegPrice\":\"100\"}],\
            \"warehouseName\":\"best warehouse（测试用）\",\"customNumber\":\"xx1224325212\",\
            \"trackNumber\":\"xx1223122\",\"remark\":\"xx122312\",\
            \"purchasePriceCurrency\":\"CNY\",\"firstLegPriceCurrency\":\"CNY\",\
            \"transferPriceCurrency\":\"CNY\"}";
        let table = [
            (
                "openApi_TEST",
                "CREATE_ASN_ORDER",
                "1662448537275",
                long,
                "b3dfeed438e36f1f89534ce415cf4113",
            ),
            (
                "TEST",
                "QUERY_ASN_LIST",
                "1756865700001",
                r#"{"page":1,"pageSize":3}"#,
                "72309a741bb0b39db6a8a1144bf1c9d9",
            ),
            (
                "TEST",
                "QUERY_SALES_ORDER_LIST",
                "1731742317",
                r#"{"onlineOrderNumber":"OUTBOUNDSMOKE7","page":1,"pageSize":100}"#,
                "ff4ae16851dc97222781c1975f6ef168",
            ),
            (
                "TEST",
                "QUERY_SIMPLE_LIST_INVENTORY_V2",
                "1731742317",
                r#"{"page":1,"pageSize":3,"warehouse":"best warehouse（测试用）"}"#,
                "26fff7cae9e2f3420f1aae8a1677be19",
            ),
        ];
        let now = Timestamp::UNIX_EPOCH;
        for (app_id, service_type, timestamp, biz_param, expected) in table {
            let computed = sign(app_id, biz_param, service_type, timestamp, "openApi_TOKEN");
            assert_eq!(computed, expected, "{service_type}");
            let settings = QianyiSettings {
                app_id: app_id.to_owned(),
                clock_tolerance: None,
                ..QianyiSettings::default()
            };
            let mut form = Form {
                app_id: Some(app_id.to_owned()),
                service_type: Some(service_type.to_owned()),
                biz_param: Some(biz_param.to_owned()),
                timestamp: Some(timestamp.to_owned()),
                sign: Some(expected.to_owned()),
            };
            assert!(verify(&settings, &form, now).is_ok());
            form.biz_param = Some(format!("{biz_param} "));
            assert_eq!(verify(&settings, &form, now).unwrap_err().code, "SIGNATURE_ERROR");
        }
    }
}
