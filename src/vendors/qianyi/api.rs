//! One account of Qianyi: what it signs, sends, believes and answers.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    asn,
    check::missing,
    event::EVENT_TYPES,
    json, judge, look_up, order,
    settings::{Settings, SettingsError},
    sign::SignedRequest,
    webhook,
};
use crate::{
    domain::{
        AccountName, Answer, Attempt, Body, Command, Event, EventType, Faults, Findings, Invalid,
        LookUp, Method, PlannedCall, Refusal, Secret, SignatureHint, Unrecognized, Unverified,
        VendorAnswer, Verdict, Verified, Webhook,
        command::{Call, CancelAsn},
    },
    vendors::{OwnerOf, Vendor},
};

/// The most that a `serviceType` of a `call` may have.
const SERVICE_TYPE_MAX: usize = 100;

/// One account of Qianyi.
#[derive(Debug)]
pub struct Qianyi {
    account: AccountName,
    settings: Settings,
}

impl Qianyi {
    /// An account with its settings; refused where no signature of it would be worth anything.
    pub fn new(account: AccountName, settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self { account, settings: settings.validated()? })
    }

    /// The operation (`serviceType`) of a command's call, by which the vendor's limits count.
    pub fn service_type(command: &Command) -> &str {
        match command {
            Command::CreateOrder(c) => order::service_type(c),
            Command::CancelOrder(_) => "CLOSE_SALES_ORDER",
            Command::CreateAsn(_) => "CREATE_ASN_ORDER",
            Command::CancelAsn(_) => "CANCEL_ASN_ORDER",
            Command::Call(c) => c.service_type.as_deref().unwrap_or_default(),
        }
    }

    pub(super) fn account(&self) -> &AccountName {
        &self.account
    }

    pub(super) fn app_id(&self) -> &str {
        &self.settings.app_id
    }

    /// The live secrets, the present one first.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [Some(&self.settings.app_secret), self.settings.app_secret_previous.as_ref()]
            .into_iter()
            .flatten()
    }

    /// The signed call: the five fields of the guide, `bizParam` the literal text that is signed.
    fn plan(
        &self,
        path: &str,
        service_type: &str,
        biz_param: String,
        now: Timestamp,
    ) -> PlannedCall {
        let timestamp = now.as_millisecond().to_string();
        let signed = SignedRequest {
            app_id: self.app_id(),
            biz_param: &biz_param,
            service_type,
            timestamp: &timestamp,
        };
        let sign = signed.sign(&self.settings.app_secret);
        PlannedCall {
            method: Method::Post,
            path: format!("/api/v1/{path}"),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::Multipart(vec![
                ("appId", self.app_id().to_owned()),
                ("serviceType", service_type.to_owned()),
                ("bizParam", biz_param),
                ("timestamp", timestamp),
                ("sign", sign),
            ]),
        }
    }
}

impl Vendor for Qianyi {
    fn name(&self) -> &'static str {
        "qianyi"
    }

    fn event_types(&self) -> &'static [EventType] {
        EVENT_TYPES
    }

    fn signature_forms(&self) -> &'static [&'static str] {
        &[webhook::SIGNATURE_FORM]
    }

    fn verify(
        &self,
        webhook: Webhook<Unverified>,
        hint: SignatureHint,
    ) -> Result<Webhook<Verified>, Refusal> {
        webhook::verify(self, webhook, hint)
    }

    fn reread(&self, webhook: Webhook<Unverified>) -> Result<Webhook<Verified>, Refusal> {
        webhook::reread(self, webhook)
    }

    fn decode(
        &self,
        webhook: &Webhook<Verified>,
        owner: OwnerOf<'_>,
    ) -> Result<Event, Unrecognized> {
        webhook::decode(webhook, owner)
    }

    fn answer(&self, answer: Answer) -> String {
        webhook::answer(answer)
    }

    fn webhook_body(
        &self,
        type_name: &str,
        data: &str,
        now: jiff::Timestamp,
    ) -> Result<String, String> {
        json::well_formed(data).map_err(|_malformed| "bizParam is not JSON".to_owned())?;
        let timestamp = now.as_millisecond().to_string();
        let request = SignedRequest {
            app_id: self.app_id(),
            biz_param: data,
            service_type: type_name,
            timestamp: &timestamp,
        };
        let sign = request.sign(&self.settings.app_secret);
        Ok(serde_json::json!({
            "appId": self.app_id(), "bizParam": data, "serviceType": type_name,
            "timestamp": timestamp, "sign": sign,
        })
        .to_string())
    }

    fn check(&self, command: &Command) -> Result<Vec<String>, Faults> {
        match command {
            Command::CreateOrder(c) => order::check(c),
            Command::CancelOrder(c) => order::check_cancel(c).map(|()| Vec::new()),
            Command::CreateAsn(c) => asn::check(c).map(|()| Vec::new()),
            Command::CancelAsn(c) => asn::check_cancel(c).map(|()| Vec::new()),
            Command::Call(c) => check_call(c).map(|()| Vec::new()),
        }
    }

    fn needs_reference(&self, command: &Command) -> bool {
        matches!(command, Command::CancelAsn(c) if reference(c).is_none())
    }

    fn call(&self, command: &Command, attempt: &Attempt<'_>) -> PlannedCall {
        let text = |body: Map<String, Value>| Value::Object(body).to_string();
        let (path, biz_param) = match command {
            Command::CreateOrder(c) => ("salesOrder", text(order::body(c))),
            Command::CancelOrder(c) => ("salesOrder", text(order::cancel_body(c))),
            Command::CreateAsn(c) => ("asn", text(asn::body(c))),
            Command::CancelAsn(c) => {
                // The caller found the number before (`needs_reference`). Without one the vendor
                // refuses the call, and nothing is cancelled.
                let number = reference(c).or(attempt.vendor_reference).unwrap_or_default();
                ("asn", text(asn::cancel_body(c, number)))
            }
            Command::Call(c) => (c.path.as_str(), c.body.clone()),
        };
        self.plan(path, Self::service_type(command), biz_param, attempt.now)
    }

    fn judge(&self, command: &Command, answer: &VendorAnswer) -> Verdict {
        judge::judge(command, answer)
    }

    fn look_up(&self, command: &Command, attempt: &Attempt<'_>) -> Option<PlannedCall> {
        let (path, service_type, body) = look_up::query(command)?;
        Some(self.plan(path, service_type, Value::Object(body).to_string(), attempt.now))
    }

    fn judge_look_up(&self, command: &Command, answer: &VendorAnswer) -> LookUp {
        look_up::judge_look_up(command, answer)
    }
}

/// The vendor's number, where the command gives it.
fn reference(cancel: &CancelAsn) -> Option<&str> {
    cancel.vendor_reference.as_deref().filter(|reference| !reference.is_empty())
}

/// Checks what a caller sends on its own account: path, operation and a JSON text.
fn check_call(call: &Call) -> Result<(), Faults> {
    let mut findings = Findings::default();
    if call.path.is_empty() || !call.path.chars().all(|c| c.is_ascii_alphabetic()) {
        findings.add(Invalid::field(
            "path",
            "`path` is the part after `/api/v1/`, letters only, such as `salesOrder`",
        ));
    }
    let service_type = call.service_type.as_deref().unwrap_or_default();
    if service_type.is_empty() {
        findings.add(missing("serviceType", "serviceType"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if service_type.len() > SERVICE_TYPE_MAX || !service_type.chars().all(plain) {
        findings.add(Invalid::field(
            "serviceType",
            "`serviceType` is letters, digits and `_` only, such as `QUERY_SHOP_LIST`",
        ));
    }
    findings.note(json::well_formed(&call.body).map_err(|malformed| {
        let message = match malformed {
            json::Malformed::NotJson => "`body` is not JSON: Qianyi takes JSON text only",
            json::Malformed::TooDeep => "`body` is nested deeper than 64 levels: flatten it",
        };
        Invalid::field("body", message)
    }));
    findings.or(())
}
