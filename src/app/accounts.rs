//! From the configuration of an account to its vendor: the only place that names every vendor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::StartError;
use crate::{
    config::{Account, Config, UnknownUsers, VendorSettings},
    domain::{AccountName, EventType},
    vendors::{Vendor, jfwms, qianyi},
    webhooks,
};

/// One account, ready for the pipelines.
#[derive(Debug, Clone)]
pub struct Connected {
    pub vendor: Arc<dyn Vendor>,
    /// What tells that two accounts share one client of the vendor.
    pub client: String,
    pub nonce_digits: u32,
    /// The vendor's documented limits: operation or service, calls, in each such time.
    pub limits: Vec<(String, u32, Duration)>,
}

/// Makes every account's vendor.
pub fn connect(config: &Config) -> Result<BTreeMap<AccountName, Connected>, StartError> {
    config
        .accounts
        .iter()
        .map(|(name, account)| Ok((name.clone(), connect_one(name, account)?)))
        .collect()
}

fn connect_one(name: &AccountName, account: &Account) -> Result<Connected, StartError> {
    // The text of a TOML error could quote a secret; the keys were checked by `config` before.
    let unreadable = |_error| StartError::Account {
        account: name.to_string(),
        reason: "its vendor's settings could not be read".to_owned(),
    };
    let refused = |reason: String| StartError::Account { account: name.to_string(), reason };
    Ok(match &account.vendor {
        VendorSettings::Jfwms(keys) => {
            let settings: jfwms::Settings = keys.read().map_err(unreadable)?;
            let client = settings.client_id.clone();
            let nonce_digits = settings.nonce_digits;
            let vendor = jfwms::Jfwms::new(name.clone(), settings)
                .map_err(|error| refused(error.to_string()))?;
            let client = format!("jfwms/{client}");
            Connected { vendor: Arc::new(vendor), client, nonce_digits, limits: Vec::new() }
        }
        VendorSettings::Qianyi(keys) => {
            let settings: qianyi::Settings = keys.read().map_err(unreadable)?;
            let client = format!("qianyi/{}", settings.app_id);
            let vendor = qianyi::Qianyi::new(name.clone(), settings)
                .map_err(|error| refused(error.to_string()))?;
            let limits = qianyi::operation_limits();
            Connected { vendor: Arc::new(vendor), client, nonce_digits: 2, limits }
        }
    })
}

/// What the webhook listener has to know of each account.
pub fn for_webhooks(
    config: &Config,
    accounts: &BTreeMap<AccountName, Connected>,
) -> Vec<webhooks::Account> {
    let strangers_are_ours = config.ingress.unknown_users == UnknownUsers::Account;
    let users = users_by_client(config, accounts);
    let mut topics_of = BTreeMap::new();
    accounts
        .iter()
        .filter_map(|(name, connected)| Some((name, connected, config.accounts.get(name)?)))
        .map(|(name, connected, account)| {
            let vendor = connected.vendor.name();
            let topics = topics_of.entry(vendor).or_insert_with(|| {
                let types = connected.vendor.event_types().iter();
                let topic = |t: &EventType| (t.name, config.topics.event(vendor, t.topic));
                Arc::new(types.map(topic).collect())
            });
            webhooks::Account {
                name: name.clone(),
                vendor: Arc::clone(&connected.vendor),
                path_secret: account.path_secret.clone(),
                allowed_sources: account.allowed_sources.clone(),
                topics: Arc::clone(topics),
                unrecognized_topic: config.topics.unrecognized(vendor),
                users: webhooks::Users {
                    accounts: users.get(connected.client.as_str()).cloned().unwrap_or_default(),
                    strangers_are_ours,
                },
            }
        })
        .collect()
}

/// The users that are configured for any account of each client: the vendor has one webhook
/// address a client, so each of its accounts may receive what belongs to another.
///
/// Made once for all accounts of a client: looking through all accounts for each of ten thousand
/// took most of a minute of the start.
fn users_by_client<'a>(
    config: &Config,
    accounts: &'a BTreeMap<AccountName, Connected>,
) -> BTreeMap<&'a str, Arc<BTreeMap<String, AccountName>>> {
    let mut users: BTreeMap<&str, BTreeMap<String, AccountName>> = BTreeMap::new();
    for (name, connected) in accounts {
        let Some(account) = config.accounts.get(name) else { continue };
        let of_client = users.entry(&connected.client).or_default();
        of_client.extend(account.user_ids.iter().map(|user| (user.clone(), name.clone())));
    }
    users.into_iter().map(|(client, users)| (client, Arc::new(users))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key the configuration knows is one the vendor's own settings know.
    #[test]
    fn every_key_of_an_account_reaches_its_vendor() {
        let text = r#"
            [accounts.jf]
            vendor = "jfwms"
            base_url = "https://test.jfwms.com"
            client_id = "c"
            client_secret = "s"
            client_secret_previous = "p"
            auth_domain = "d"
            access_token = "a"
            refresh_token = "r"
            user_id = 8
            user_ids = [8, "9"]
            timezone = "Asia/Shanghai"
            webhook_sign_names = ["sign", "x-sign"]
            webhook_sign_form = "text-secret-first"
            answer_code = "string"
            nonce_digits = 6
            [accounts.jf-2]
            vendor = "jfwms"
            base_url = "https://test.jfwms.com"
            client_id = "c"
            client_secret = "s"
            user_ids = ["10"]
            [accounts.qy]
            vendor = "qianyi"
            environment = "overseas"
            app_id = "a"
            app_secret = "s"
            app_secret_previous = "p"
        "#;
        let config = crate::config::load_text("test.toml", text, std::iter::empty()).unwrap();
        let accounts = connect(&config.config).unwrap();
        let name = AccountName::new("jf").unwrap();
        assert_eq!(accounts[&name].nonce_digits, 6);
        assert_eq!(accounts[&name].vendor.signature_forms(), ["text-secret-first"]);
        assert_eq!(
            accounts[&name].vendor.answer(crate::domain::Answer::Accepted),
            r#"{"code":"0","msg":""}"#
        );
        // Two accounts of one client know each other's users.
        let webhooks = for_webhooks(&config.config, &accounts);
        let jf = webhooks.iter().find(|account| account.name == name).unwrap();
        let users: Vec<_> =
            jf.users.accounts.iter().map(|(u, a)| (u.as_str(), a.as_str())).collect();
        assert_eq!(users, [("10", "jf-2"), ("8", "jf"), ("9", "jf")]);
    }
}
