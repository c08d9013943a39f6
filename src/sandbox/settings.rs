//! What a sandbox is started with. Every behaviour that the vendors leave undocumented is a field
//! here, so that a test can take either side.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::behaviour::Behaviour;

/// Everything a sandbox needs to start. The default listens on free ports of the loopback
/// interface and uses the credentials that the vendors publish in their guides.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Where the JFWMS server listens; port 0 takes a free one.
    pub jfwms_listen: SocketAddr,
    /// Where the Qianyi server listens; port 0 takes a free one.
    pub qianyi_listen: SocketAddr,
    /// Where the control server listens; port 0 takes a free one.
    pub control_listen: SocketAddr,
    /// The simulated JFWMS.
    pub jfwms: JfwmsSettings,
    /// The simulated Qianyi.
    pub qianyi: QianyiSettings,
    /// What both vendors know of goods.
    pub goods: Goods,
    /// What can be changed while the sandbox runs.
    pub behaviour: Behaviour,
    /// How much is remembered.
    pub limits: SandboxLimits,
    /// Seed of the random source of the faults: one seed, one drill.
    pub seed: u64,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            jfwms_listen: free,
            qianyi_listen: free,
            control_listen: free,
            jfwms: JfwmsSettings::default(),
            qianyi: QianyiSettings::default(),
            goods: Goods::default(),
            behaviour: Behaviour::default(),
            limits: SandboxLimits::default(),
            seed: 1,
        }
    }
}

/// The unit of `expireIn` and `refreshExpireIn`. The vendor does not document it, and the known
/// clients disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiryUnit {
    /// Seconds from now, as the newest known client reads it.
    #[default]
    Seconds,
    /// An absolute time in epoch milliseconds.
    EpochMillis,
    /// An absolute time in epoch seconds.
    EpochSeconds,
}

/// What a refresh does to the refresh token (undocumented).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshRotation {
    /// A new refresh token is issued and the old one ends at once: the hardest case for a client.
    #[default]
    Rotate,
    /// A new refresh token is issued and the old one stays valid.
    RotateKeepOld,
    /// The same refresh token comes back.
    Keep,
}

/// What makes a nonce a repeat (undocumented; the guide advises two digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonceScope {
    /// The same nonce of the same user within the window: the hardest case for a client.
    #[default]
    Nonce,
    /// The same nonce together with the same timestamp.
    NonceAndTimestamp,
}

/// Where a webhook of JFWMS carries its `sign` (undocumented).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignTransport {
    /// A member of the body, beside `data`.
    BodyField(String),
    /// An HTTP header.
    Header(String),
    /// A query parameter.
    Query(String),
}

impl Default for SignTransport {
    fn default() -> Self {
        Self::BodyField("sign".to_owned())
    }
}

/// How `data` stands in the signed JSON of a webhook of JFWMS (undocumented).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignForm {
    /// The very bytes that the body carries.
    #[default]
    Raw,
    /// Written anew without blanks.
    Compact,
    /// As a JSON string that holds the bytes of the body.
    Text,
}

/// Which key comes first in the signed JSON of a webhook of JFWMS (undocumented; a Java `HashMap`
/// gives `data` first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignOrder {
    /// `{"data":…,"clientSecret":…}`
    #[default]
    DataFirst,
    /// `{"clientSecret":…,"data":…}`
    SecretFirst,
}

/// A seller of the simulated JFWMS.
#[derive(Debug, Clone)]
pub struct JfwmsUser {
    /// The OMS user id.
    pub user_id: u64,
    /// The e-mail of the OMS account.
    pub email: String,
    /// What `domain` may be; known clients send the short name or the full address.
    pub domains: Vec<String>,
    /// The one-time authorisation tokens that the seller could copy from OMS; each works once.
    pub authorisation_tokens: Vec<String>,
}

/// A token that is valid from the start.
#[derive(Debug, Clone)]
pub struct FixtureToken {
    /// The token.
    pub token: String,
    /// Whose it is.
    pub user_id: u64,
    /// How long it lives; `None` takes the lifetime of its kind.
    pub lifetime: Option<Duration>,
}

/// The simulated JFWMS.
#[derive(Debug, Clone)]
pub struct JfwmsSettings {
    /// The developer's client id; default the guide's.
    pub client_id: String,
    /// The developer's secret; default the guide's.
    pub client_secret: String,
    /// The sellers; default one with the guide's user id 8.
    pub users: Vec<JfwmsUser>,
    /// Access tokens valid from the start; default the guide's.
    pub access_tokens: Vec<FixtureToken>,
    /// Refresh tokens valid from the start.
    pub refresh_tokens: Vec<FixtureToken>,
    /// Lifetime of an access token; default 24 h (guide, section 2.3).
    pub access_token_lifetime: Duration,
    /// Lifetime of a refresh token; default 365 d (guide, section 2.3).
    pub refresh_token_lifetime: Duration,
    /// Unit of `expireIn` and `refreshExpireIn`.
    pub expiry_unit: ExpiryUnit,
    /// What a refresh does to the refresh token.
    pub rotation: RefreshRotation,
    /// Whether a refresh ends the access tokens issued before; default no (undocumented).
    pub refresh_revokes_access: bool,
    /// How far a timestamp may be from the vendor's clock; `None` checks nothing. Default 5 min
    /// (code 10028 is documented, the window is not).
    pub clock_tolerance: Option<Duration>,
    /// The longest nonce; more digits are 10024. Default 18.
    pub nonce_max_digits: usize,
    /// What makes a nonce a repeat.
    pub nonce_scope: NonceScope,
    /// How long a nonce is remembered; default 5 min.
    pub nonce_window: Duration,
    /// The warehouse codes; default `YK`, `01` and `A`, the guide's samples.
    pub warehouses: Vec<String>,
    /// Countries that answer 50007 although they are two letters.
    pub unsupported_countries: BTreeSet<String>,
    /// Whether an offline order (type 2) needs `logisticsName` and `trackingNo` (50004, 50005 are
    /// documented, their condition is not). Default no.
    pub offline_needs_logistics: bool,
    /// Where a webhook carries its signature.
    pub sign_transport: SignTransport,
    /// How `data` stands in what is signed.
    pub sign_form: SignForm,
    /// Which key comes first in what is signed.
    pub sign_order: SignOrder,
    /// Whether webhooks write `data` with blanks and line breaks, so that the raw and the compact
    /// form differ. Default no.
    pub spaced_data: bool,
}

impl Default for JfwmsSettings {
    fn default() -> Self {
        let fixture =
            |token: &str| FixtureToken { token: token.to_owned(), user_id: 8, lifetime: None };
        Self {
            client_id: "fe73489a9b5948dbafd07e7b28d6e268".to_owned(),
            client_secret: "4a506ccaf37e400bac4a42d2dc5f600a".to_owned(),
            users: vec![JfwmsUser {
                user_id: 8,
                email: "seller@example.com".to_owned(),
                domains: vec!["demo".to_owned(), "https://demo.jfwms.com".to_owned()],
                authorisation_tokens: (1..=9).map(|n| format!("sandbox-one-time-{n}")).collect(),
            }],
            access_tokens: vec![fixture("1b56814f081c432cb82751be145261d3")],
            refresh_tokens: vec![fixture("sandbox-refresh-token")],
            access_token_lifetime: Duration::from_secs(24 * 3600),
            refresh_token_lifetime: Duration::from_secs(365 * 24 * 3600),
            expiry_unit: ExpiryUnit::default(),
            rotation: RefreshRotation::default(),
            refresh_revokes_access: false,
            clock_tolerance: Some(Duration::from_secs(300)),
            nonce_max_digits: 18,
            nonce_scope: NonceScope::default(),
            nonce_window: Duration::from_secs(300),
            warehouses: ["YK", "01", "A"].map(str::to_owned).to_vec(),
            unsupported_countries: BTreeSet::new(),
            offline_needs_logistics: false,
            sign_transport: SignTransport::default(),
            sign_form: SignForm::default(),
            sign_order: SignOrder::default(),
            spaced_data: false,
        }
    }
}

/// What a second `CREATE_ASN_ORDER` with a known `customNumber` answers (undocumented).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DuplicateAsn {
    /// An inner failure with this code.
    Refuse(String),
    /// Success with the number of the ASN that exists; nothing new is made.
    SameNumber,
}

/// A warehouse of the simulated Qianyi, which names warehouses by name.
#[derive(Debug, Clone)]
pub struct QianyiWarehouse {
    /// The name, as requests give it.
    pub name: String,
    /// The code, as stock rows show it.
    pub code: String,
}

/// How a push of Qianyi travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PushFormat {
    /// form-data, the vendor's default.
    #[default]
    FormData,
    /// JSON, after the vendor has enabled it.
    Json,
}

/// The simulated Qianyi.
#[derive(Debug, Clone)]
pub struct QianyiSettings {
    /// The application; default the guide's.
    pub app_id: String,
    /// Its secret; default the guide's.
    pub app_secret: String,
    /// Authorised shops, by name.
    pub shops: Vec<String>,
    /// The warehouses.
    pub warehouses: Vec<QianyiWarehouse>,
    /// How far a timestamp may be from the vendor's clock; `None` checks nothing but digits.
    /// Default 5 min, which the guide only advises.
    pub clock_tolerance: Option<Duration>,
    /// The code for a timestamp outside the tolerance (none is documented).
    pub clock_code: String,
    /// The outer `errorCode` of a success: real answers show "", the guide shows "0".
    pub success_code: String,
    /// What a duplicate `customNumber` answers.
    pub duplicate_asn: DuplicateAsn,
    /// The inner code where the vendor documents none (unknown order or ASN).
    pub not_found_code: String,
    /// Whether an `onlineOrderNumber` is unique across shops; default no, per shop (undocumented).
    pub unique_across_shops: bool,
    /// Whether an order is audited as it is created (samples show both). Default no.
    pub auto_audit: bool,
    /// Whether an ASN needs `purchasePriceCurrency` and `purchasePrice`, as the table says; the
    /// guide's short sample leaves them out. Default yes.
    pub asn_needs_prices: bool,
    /// How pushes travel.
    pub push_format: PushFormat,
}

impl Default for QianyiSettings {
    fn default() -> Self {
        let warehouse = |name: &str, code: &str| QianyiWarehouse {
            name: name.to_owned(),
            code: code.to_owned(),
        };
        Self {
            app_id: "openApi_TEST".to_owned(),
            app_secret: "openApi_TOKEN".to_owned(),
            shops: ["demo-shop", "测试店铺"].map(str::to_owned).to_vec(),
            warehouses: vec![
                warehouse("best warehouse（测试用）", "BW01"),
                warehouse("测试仓库", "CS01"),
            ],
            clock_tolerance: Some(Duration::from_secs(300)),
            clock_code: "DATA_INPUT_ERROR".to_owned(),
            success_code: String::new(),
            duplicate_asn: DuplicateAsn::Refuse("DATA_INPUT_ERROR".to_owned()),
            not_found_code: "DATA_INPUT_ERROR".to_owned(),
            unique_across_shops: false,
            auto_audit: false,
            asn_needs_prices: true,
            push_format: PushFormat::default(),
        }
    }
}

/// What both vendors know of goods.
#[derive(Debug, Clone)]
pub struct Goods {
    /// The SKUs that exist; `None` accepts any.
    pub known: Option<BTreeSet<String>>,
    /// SKUs that do not exist.
    pub unknown: BTreeSet<String>,
    /// SKUs that exist and are out of stock.
    pub out_of_stock: BTreeSet<String>,
    /// What each SKU has in each warehouse before anything happens.
    pub initial_stock: i64,
}

impl Goods {
    pub(super) fn exists(&self, sku: &str) -> bool {
        !self.unknown.contains(sku) && self.known.as_ref().is_none_or(|known| known.contains(sku))
    }
}

impl Default for Goods {
    fn default() -> Self {
        Self {
            known: None,
            unknown: BTreeSet::from(["UNKNOWN-SKU".to_owned()]),
            out_of_stock: BTreeSet::from(["OUT-OF-STOCK".to_owned()]),
            initial_stock: 1_000_000,
        }
    }
}

/// How much a sandbox remembers.
#[derive(Debug, Clone)]
pub struct SandboxLimits {
    /// Requests in the log; the oldest are forgotten. Default 20,000.
    pub requests: usize,
    /// Webhooks in the log; the oldest are forgotten. Default 20,000.
    pub webhooks: usize,
    /// Webhooks waiting to be delivered; more are dropped and counted. Default 10,000.
    pub pending_webhooks: usize,
    /// Orders and inbounds of one vendor; more are refused. Default 200,000.
    pub documents: usize,
    /// Nonces remembered; the oldest are forgotten. Default 200,000.
    pub nonces: usize,
    /// The largest request body in bytes. Default 8 MiB.
    pub body: usize,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            requests: 20_000,
            webhooks: 20_000,
            pending_webhooks: 10_000,
            documents: 200_000,
            nonces: 200_000,
            body: 8 * 1024 * 1024,
        }
    }
}
