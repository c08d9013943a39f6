//! `sign`: computes a signature without calling anybody.

use std::{fs, path::Path};

use serde::Serialize;

use super::{
    CliError, Output,
    args::{
        DataForm, MemberOrder, SecretSource, Sign, SignJfwmsCall, SignJfwmsWebhook, SignQianyi,
    },
};
use crate::{
    config,
    domain::Secret,
    vendors::{
        jfwms::sign::{CallHeaders, DataAs, WebhookForm},
        qianyi::SignedRequest,
    },
};

/// What stands where a secret or token would.
const HIDDEN: &str = "***";

/// A signature and the text it was computed from, secrets hidden.
#[derive(Debug, Serialize)]
struct Signature {
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<&'static str>,
    string: String,
    sign: String,
}

pub(super) fn run(what: &Sign, output: &Output) -> Result<(), CliError> {
    match what {
        Sign::JfwmsCall(options) => {
            print(&[jfwms_call(options)?], options.json, output);
        }
        Sign::JfwmsWebhook(options) => {
            print(&jfwms_webhook(options)?, options.json, output);
        }
        Sign::Qianyi(options) => {
            print(&[qianyi(options)?], options.json, output);
        }
    }
    Ok(())
}

fn jfwms_call(options: &SignJfwmsCall) -> Result<Signature, CliError> {
    let secret = secret(&options.secret)?;
    let access_token = Secret::new(secret_text(&options.access_token_file)?);
    let signed = CallHeaders {
        client_id: &options.client_id,
        access_token: &access_token,
        user_id: &options.user_id,
        timestamp: &options.timestamp,
        nonce: &options.nonce,
        path: &options.path,
    }
    .sign(&secret);
    Ok(Signature { form: None, string: signed.shown, sign: signed.sign })
}

/// The asked form, or every form with the likeliest one first: an operator who compares them
/// with a captured webhook finds out what the vendor really signs.
fn jfwms_webhook(options: &SignJfwmsWebhook) -> Result<Vec<Signature>, CliError> {
    let secret = secret(&options.secret)?;
    let data = read_text(&options.data_file)?;
    let every = options.form.is_none() && options.order.is_none();
    let wanted = |form: &WebhookForm| {
        let data = match options.form.unwrap_or(DataForm::Raw) {
            DataForm::Raw => DataAs::Raw,
            DataForm::Compact => DataAs::Compact,
            DataForm::Text => DataAs::Text,
        };
        let first = options.order.unwrap_or(MemberOrder::DataFirst) == MemberOrder::DataFirst;
        every || (form.data() == data && form.data_first() == first)
    };
    Ok(WebhookForm::ALL
        .into_iter()
        .filter(wanted)
        .map(|form| {
            let signed = form.sign(&data, &secret);
            Signature { form: Some(form.name()), string: signed.shown, sign: signed.sign }
        })
        .collect())
}

fn qianyi(options: &SignQianyi) -> Result<Signature, CliError> {
    let secret = secret(&options.secret)?;
    let biz_param = read_text(&options.biz_param_file)?;
    let request = SignedRequest {
        app_id: &options.app_id,
        biz_param: &biz_param,
        service_type: &options.service_type,
        timestamp: &options.timestamp,
    };
    Ok(Signature { form: None, string: request.string(HIDDEN), sign: request.sign(&secret) })
}

/// Two lines, `string: …` and `sign: …`; further forms follow with their names.
fn print(signatures: &[Signature], json: bool, output: &Output) {
    let Some((first, others)) = signatures.split_first() else { return };
    if json {
        let mut object = serde_json::json!({ "string": first.string, "sign": first.sign });
        if !others.is_empty() {
            object["forms"] = serde_json::json!(signatures);
        }
        output.line(object);
        return;
    }
    if let (Some(form), false) = (first.form, others.is_empty()) {
        output.line(format_args!("form: {form}"));
    }
    output.line(format_args!("string: {}", escaped(&first.string)));
    output.line(format_args!("sign: {}", first.sign));
    for signature in others {
        output.line("");
        output.line(format_args!("form: {}", signature.form.unwrap_or_default()));
        output.line(format_args!("string: {}", escaped(&signature.string)));
        output.line(format_args!("sign: {}", signature.sign));
    }
}

/// Control characters as escapes, so that a line end inside the text is seen.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn secret(source: &SecretSource) -> Result<Secret, CliError> {
    match (&source.secret_file, &source.secret_env) {
        (Some(file), _) => Ok(Secret::new(secret_text(file)?)),
        (None, Some(name)) => config::environment_variable(name)
            .map(Secret::new)
            .ok_or_else(|| CliError::Usage(format!("the environment variable {name} is not set"))),
        (None, None) => Err(CliError::Usage("give --secret-file or --secret-env".to_owned())),
    }
}

/// A secret's file; an editor's one trailing newline is not part of the secret.
fn secret_text(file: &Path) -> Result<String, CliError> {
    let mut text = read_text(file)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A file's text as it is.
fn read_text(file: &Path) -> Result<String, CliError> {
    let bytes =
        fs::read(file).map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|_| CliError::Usage(format!("{}: not UTF-8", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_seen_and_text_is_not_touched() {
        assert_eq!(escaped("a\r\n\t仓（\"\\"), "a\\r\\n\\t仓（\"\\");
    }
}
