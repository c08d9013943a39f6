//! `[accounts.NAME]`

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use crate::domain::{AccountName, Secret};

use super::{
    section::{Context, Section, nearest},
    topics::is_legal,
    tree::{Value, join, shown_text},
};

/// One account of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Where the vendor is called, without a slash at its end. Required, but for a Qianyi account
    /// that names an environment.
    pub base_url: String,
    /// The last part of the webhook's URL, which only the vendor knows. Default: none.
    pub path_secret: Option<Secret>,
    /// From where webhooks may come; empty: from anywhere. Default: empty.
    pub allowed_sources: Vec<IpNet>,
    /// What stands before the names of command topics of its own. Default: none.
    pub commands_prefix: Option<String>,
    /// The paths that `call` may use; `*` stands for any text. Default: empty, all.
    pub call_allow: Vec<String>,
    /// The users of this account; empty: all. Default: empty.
    pub user_ids: Vec<String>,
    /// The vendor and its own keys.
    pub vendor: VendorSettings,
}

/// An account's vendor with the keys that only this vendor has.
#[derive(Debug, Clone, PartialEq)]
pub enum VendorSettings {
    /// For the settings of `vendors::jfwms`.
    Jfwms(VendorKeys),
    /// For the settings of `vendors::qianyi`.
    Qianyi(VendorKeys),
}

impl VendorSettings {
    /// The vendor's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jfwms(_) => JFWMS.name,
            Self::Qianyi(_) => QIANYI.name,
        }
    }

    /// The vendor's own keys.
    pub fn keys(&self) -> &VendorKeys {
        match self {
            Self::Jfwms(keys) | Self::Qianyi(keys) => keys,
        }
    }
}

/// The keys of one vendor that are set, secrets resolved to text. `Debug` shows nothing of them.
#[derive(Clone, PartialEq)]
pub struct VendorKeys(toml::Table);

impl VendorKeys {
    /// The keys as the vendor's own type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, toml::de::Error> {
        self.0.clone().try_into()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}

impl fmt::Debug for VendorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the configuration knows of a vendor: enough to refuse a misspelt key or topic.
pub(super) struct Vendor {
    pub(super) name: &'static str,
    /// The last parts of its event topics' names.
    pub(super) event_topics: &'static [&'static str],
    keys: &'static [Key],
    settings: fn(VendorKeys) -> VendorSettings,
}

struct Key {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// What a vendor's key takes.
enum Kind {
    Text,
    Secret,
    Texts,
    /// A user's id, which the vendor writes as a number or as text.
    Id,
    /// An IANA time zone.
    Zone,
    OneOf(&'static [&'static str]),
    Between(i64, i64),
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: false }
}

const JFWMS: Vendor = Vendor {
    name: "jfwms",
    event_topics: &[
        "order",
        "storage",
        "return",
        "order-intercept",
        "inventory-count",
        "adjust",
        "move",
        "order-create",
        "order-cancel",
        "convert",
    ],
    keys: &[
        required("client_id", Kind::Text),
        required("client_secret", Kind::Secret),
        optional("client_secret_previous", Kind::Secret),
        optional("auth_domain", Kind::Text),
        optional("access_token", Kind::Secret),
        optional("refresh_token", Kind::Secret),
        optional("user_id", Kind::Id),
        optional("timezone", Kind::Zone),
        optional("webhook_sign_names", Kind::Texts),
        optional(
            "webhook_sign_form",
            Kind::OneOf(&[
                "raw-data-first",
                "raw-secret-first",
                "compact-data-first",
                "compact-secret-first",
                "text-data-first",
                "text-secret-first",
            ]),
        ),
        optional("answer_code", Kind::OneOf(&["number", "string"])),
        optional("nonce_digits", Kind::Between(2, 18)),
    ],
    settings: VendorSettings::Jfwms,
};

const QIANYI: Vendor = Vendor {
    name: "qianyi",
    event_topics: &["asn", "sales-order-shipping", "return-order", "tracking-package", "odo"],
    keys: &[
        required("app_id", Kind::Text),
        required("app_secret", Kind::Secret),
        optional("app_secret_previous", Kind::Secret),
    ],
    settings: VendorSettings::Qianyi,
};

/// All vendors.
pub(super) const VENDORS: [Vendor; 2] = [JFWMS, QIANYI];

/// Qianyi's environments (Qianyi guide, 环境配置).
const QIANYI_ENVIRONMENTS: [(&str, &str); 3] = [
    ("test", "https://gerp-test1.800best.com"),
    ("china", "https://www.qianyierp.com"),
    ("overseas", "https://asia.qianyierp.com"),
];

/// Reads all accounts.
pub(super) fn read(
    context: &Context,
    accounts: Vec<(String, Value)>,
) -> Option<BTreeMap<AccountName, Account>> {
    let mut all = BTreeMap::new();
    let mut complete = true;
    for (name, value) in accounts {
        let path = join("accounts", &name);
        let name = match AccountName::new(&name) {
            Ok(name) => Some(name),
            Err(error) => {
                context.problems.at(&path, format_args!("is no account: {error}"));
                None
            }
        };
        match (name, Account::read(Section::new(context, path, value))) {
            (Some(name), Some(account)) => {
                all.insert(name, account);
            }
            _ => complete = false,
        }
    }
    complete.then_some(all)
}

impl Account {
    fn read(mut section: Section<'_>) -> Option<Self> {
        // Without a vendor nothing says which keys are known.
        let vendor = read_vendor(&mut section)?;
        let path_secret = section.secret("path_secret");
        let allowed_sources = section.networks("allowed_sources");
        let commands_prefix = section.optional_text("commands_prefix");
        let call_allow = section.texts("call_allow");
        let base_url = match (vendor.settings)(VendorKeys(toml::Table::new())) {
            VendorSettings::Jfwms(_) => read_base_url(&mut section),
            VendorSettings::Qianyi(_) => read_environment(&mut section),
        };
        let mut keys = toml::Table::new();
        let mut complete = true;
        // JFWMS alone has users below an account; its own settings list them too.
        let user_ids = match vendor.name {
            "jfwms" => section.ids("user_ids"),
            _ => Some(Vec::new()),
        };
        if let Some(ids) = user_ids.as_ref().filter(|ids| !ids.is_empty()) {
            keys.insert("user_ids".to_owned(), ids.clone().into());
        }
        for key in vendor.keys {
            match key.read(&mut section) {
                Some(Some(value)) => {
                    keys.insert(key.name.to_owned(), value);
                }
                Some(None) => {}
                None => complete = false,
            }
        }
        if let Some(Some(prefix)) = &commands_prefix
            && (!is_legal(prefix) || prefix.ends_with('.'))
        {
            section.problem(
                "commands_prefix",
                format_args!(
                    "takes the beginning of a topic's name (letters, digits, `.`, `-`, `_`) \
                     without a dot at its end, found {}",
                    shown_text(prefix)
                ),
            );
            complete = false;
        }
        if let Some(Some(secret)) = &path_secret
            && !secret.expose().chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
        {
            section.problem(
                "path_secret",
                "stands in a URL and takes letters, digits, `-`, `.`, `_` and `~` only; make one \
                 with `openssl rand -hex 24`",
            );
            complete = false;
        }
        for token in ["access_token", "refresh_token"] {
            if keys.contains_key(token) && !keys.contains_key("user_id") {
                let user = section.key("user_id");
                section.problem(
                    token,
                    format_args!("needs `{user}` too: the vendor wants both together"),
                );
                complete = false;
            }
        }
        section.finish();
        let account = Self {
            base_url: base_url?,
            path_secret: path_secret?,
            allowed_sources: allowed_sources?,
            commands_prefix: commands_prefix?,
            call_allow: call_allow?,
            user_ids: user_ids?,
            vendor: (vendor.settings)(VendorKeys(keys)),
        };
        complete.then_some(account)
    }
}

fn read_vendor(section: &mut Section<'_>) -> Option<&'static Vendor> {
    static ALL: [Vendor; 2] = VENDORS;
    let names = ALL.iter().map(|vendor| format!("{:?}", vendor.name));
    let takes = names.collect::<Vec<_>>().join(" or ");
    let name = section.parsed("vendor", &takes, |value| value.text().map(str::to_owned))?;
    let vendor = ALL.iter().find(|vendor| vendor.name == name);
    if vendor.is_none() {
        let near = nearest(&name, ALL.iter().map(|vendor| vendor.name)).unwrap_or_default();
        section.problem(
            "vendor",
            format_args!("takes {takes}, found {}; the nearest is {near:?}", shown_text(&name)),
        );
    }
    vendor
}

fn read_base_url(section: &mut Section<'_>) -> Option<String> {
    let url = section.url("base_url")?;
    let takes = "the vendor's address, such as \"https://test.jfwms.com\"";
    let Some(url) = url else {
        section.missing("base_url", takes);
        return None;
    };
    without_api(section, url)
}

fn read_environment(section: &mut Section<'_>) -> Option<String> {
    let url = section.url("base_url");
    let environment = section.optional_text("environment");
    let (url, environment) = (url?, environment?);
    let known = QIANYI_ENVIRONMENTS.map(|(name, _)| format!("{name:?}")).join(", ");
    match (url, environment) {
        (Some(url), None) => without_api(section, url),
        (None, Some(environment)) => {
            let found = QIANYI_ENVIRONMENTS.iter().find(|(name, _)| *name == environment);
            if found.is_none() {
                section.problem(
                    "environment",
                    format_args!("takes one of {known}, found {}", shown_text(&environment)),
                );
            }
            found.map(|(_, url)| (*url).to_owned())
        }
        (Some(_), Some(_)) => {
            let url = section.key("base_url");
            section
                .problem("environment", format_args!("and `{url}` say the same; keep one of them"));
            None
        }
        (None, None) => {
            section.missing("environment", &format!("one of {known}; or set `base_url`"));
            None
        }
    }
}

/// The connector adds the path itself; given twice, every call would be a 404.
fn without_api(section: &Section<'_>, url: String) -> Option<String> {
    let twice = ["/api", "/api/v1"].into_iter().find(|end| url.ends_with(end));
    if let Some(end) = twice {
        section.problem("base_url", format_args!("ends before {end}, which is added to it"));
        return None;
    }
    Some(url)
}

impl Key {
    /// The key's value, if it is set; `None` when a problem was noted.
    fn read(&self, section: &mut Section<'_>) -> Option<Option<toml::Value>> {
        let text = |text: Option<String>| text.map(toml::Value::String);
        let value = match &self.kind {
            Kind::Text => text(section.optional_text(self.name)?),
            Kind::Secret => {
                text(section.secret(self.name)?.map(|secret| secret.expose().to_owned()))
            }
            Kind::Texts => {
                let texts = section.texts(self.name)?;
                (!texts.is_empty()).then(|| texts.into())
            }
            Kind::Id => text(section.optional(self.name, "a user's id", id)?),
            Kind::Zone => {
                let takes = "a time zone's IANA name, such as \"Asia/Shanghai\"";
                text(section.optional(self.name, takes, |value| {
                    let name = value.text()?;
                    TimeZone::get(name).is_ok().then(|| name.to_owned())
                })?)
            }
            Kind::OneOf(words) => {
                let takes = format!("one of {}", quoted(words));
                text(section.optional(self.name, &takes, |value| {
                    let text = value.text()?;
                    words.contains(&text).then(|| text.to_owned())
                })?)
            }
            Kind::Between(least, most) => {
                let takes = format!("a whole number from {least} to {most}");
                section
                    .optional(self.name, &takes, |value| {
                        value.integer().filter(|number| (*least..=*most).contains(number))
                    })?
                    .map(toml::Value::Integer)
            }
        };
        if self.required && value.is_none() {
            section.missing(
                self.name,
                match self.kind {
                    Kind::Secret => "a secret: text, { file = \"…\" } or { env = \"…\" }",
                    _ => "text",
                },
            );
            return None;
        }
        Some(value)
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// A user's id as text.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::Integer(number) if *number >= 0 => Some(number.to_string()),
        _ => value.text().filter(|text| !text.is_empty()).map(str::to_owned),
    }
}
