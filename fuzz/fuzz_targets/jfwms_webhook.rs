//! A JFWMS webhook: the bytes are the body. They are first taken as they come, then signed in one
//! of the forms; then everything in them has to be found in the record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wms_connector::{
    domain::{Refusal, Secret, SignatureHint, Webhook},
    vendors::{Vendor, jfwms::sign::WebhookForm},
};
use wms_connector_fuzz::{JFWMS, SECRET, account, oracle, received, written};

fuzz_target!(|body: &[u8]| {
    let vendor = &*JFWMS;
    let unsigned =
        vendor.verify(Webhook::new(received(body, Vec::new(), None)), SignatureHint::ANY);
    let refusal = unsigned.expect_err("what nobody signed is nobody's");
    // How far it gets without a signature says whether it is a frame at all.
    let is_frame = matches!(refusal, Refusal::NoSignature | Refusal::WrongSignature);
    let Ok(text) = std::str::from_utf8(body) else {
        assert!(!is_frame);
        return;
    };
    let Some(frame) = oracle::read(text) else {
        return;
    };
    let oracle::Node::Object(members) = &frame.node else {
        assert!(!is_frame);
        return;
    };
    let data: Vec<_> = members.iter().filter(|(name, _)| name == "data").collect();
    if !is_frame {
        return;
    }
    let [(_, data)] = data.as_slice() else { panic!("a frame has exactly one data") };

    let form = WebhookForm::ALL[body.len() % WebhookForm::ALL.len()];
    let sign = form.sign(data.text, &Secret::new(SECRET)).sign;
    let headers = vec![("sign".to_owned(), sign)];
    let webhook = Webhook::new(received(body, headers, None));
    let verified = vendor.verify(webhook, SignatureHint::ANY).expect("the sign is right");
    assert!(!verified.state().event_id.as_str().is_empty());
    let Ok(event) = vendor.decode(&verified, &|_| Some(account())) else { return };
    let fields = written(&event);
    if let Err(lost) = oracle::jfwms(text, event.event_type.name, &["sign"], &fields) {
        panic!("{lost}");
    }
});
