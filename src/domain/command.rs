//! The commands, vendor-neutral. The model is documented in `schemas/` and read by
//! `avro::command`, which gives precise errors and the JSON form these types deserialise from.

use std::fmt;

use bigdecimal::BigDecimal;
use jiff::{Timestamp, civil::Date};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    CreateOrder,
    CancelOrder,
    CreateAsn,
    CancelAsn,
    Call,
}

impl Operation {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 5] =
        [Self::CreateOrder, Self::CancelOrder, Self::CreateAsn, Self::CancelAsn, Self::Call];

    /// The name in topics, replies and metrics (`create-order`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateOrder => "create-order",
            Self::CancelOrder => "cancel-order",
            Self::CreateAsn => "create-asn",
            Self::CancelAsn => "cancel-asn",
            Self::Call => "call",
        }
    }

    /// The Avro record's full name, which is also the header `ce_type` (`wms.commands.CreateOrder`).
    pub const fn record(self) -> &'static str {
        match self {
            Self::CreateOrder => "wms.commands.CreateOrder",
            Self::CancelOrder => "wms.commands.CancelOrder",
            Self::CreateAsn => "wms.commands.CreateAsn",
            Self::CancelAsn => "wms.commands.CancelAsn",
            Self::Call => "wms.commands.Call",
        }
    }

    /// The operation of a record's full name.
    pub fn of_record(record: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.record() == record)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One command.
#[derive(Clone, PartialEq)]
pub enum Command {
    CreateOrder(Box<CreateOrder>),
    CancelOrder(CancelOrder),
    CreateAsn(Box<CreateAsn>),
    CancelAsn(CancelAsn),
    Call(Call),
}

impl Command {
    /// What it asks for.
    pub fn operation(&self) -> Operation {
        match self {
            Self::CreateOrder(_) => Operation::CreateOrder,
            Self::CancelOrder(_) => Operation::CancelOrder,
            Self::CreateAsn(_) => Operation::CreateAsn,
            Self::CancelAsn(_) => Operation::CancelAsn,
            Self::Call(_) => Operation::Call,
        }
    }

    /// The caller's id of the command, empty when it gave none.
    pub fn command_id(&self) -> &str {
        match self {
            Self::CreateOrder(c) => &c.command_id,
            Self::CancelOrder(c) => &c.command_id,
            Self::CreateAsn(c) => &c.command_id,
            Self::CancelAsn(c) => &c.command_id,
            Self::Call(c) => &c.command_id,
        }
    }

    /// The account it is for.
    pub fn account(&self) -> &str {
        match self {
            Self::CreateOrder(c) => &c.account,
            Self::CancelOrder(c) => &c.account,
            Self::CreateAsn(c) => &c.account,
            Self::CancelAsn(c) => &c.account,
            Self::Call(c) => &c.account,
        }
    }

    /// The moment after which it is not sent any more.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::CreateOrder(c) => c.expires_at,
            Self::CancelOrder(c) => c.expires_at,
            Self::CreateAsn(c) => c.expires_at,
            Self::CancelAsn(c) => c.expires_at,
            Self::Call(c) => c.expires_at,
        }
    }

    /// The caller's number of the document; a call has none.
    pub fn document_number(&self) -> Option<&str> {
        match self {
            Self::CreateOrder(c) => Some(&c.order_number),
            Self::CancelOrder(c) => Some(&c.order_number),
            Self::CreateAsn(c) => Some(&c.asn_number),
            Self::CancelAsn(c) => Some(&c.asn_number),
            Self::Call(_) => None,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Commands hold names, phones and addresses.
        f.debug_struct("Command")
            .field("operation", &self.operation())
            .field("account", &self.account())
            .field("document_number", &self.document_number())
            .finish_non_exhaustive()
    }
}

/// The bytes of a label or document; they never appear in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// An exact amount, at most four decimals (`decimal(18,4)`). Deserialises from its decimal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal(pub BigDecimal);

impl Decimal {
    /// Reads the text of a number, at most 18 digits of which at most four are decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let number: BigDecimal = text.trim().parse().ok()?;
        let number = number.normalized();
        let (digits, scale) = number.as_bigint_and_exponent();
        let digits = digits.to_string().trim_start_matches('-').len();
        let whole = i64::try_from(digits).ok()? - scale;
        (scale <= 4 && whole <= 14).then_some(Self(number))
    }

    /// The number without an exponent (`1.5`, `1000`).
    pub fn plain(&self) -> String {
        self.0.to_plain_string()
    }

    /// How many decimals it has.
    pub fn decimals(&self) -> i64 {
        self.0.normalized().as_bigint_and_exponent().1.max(0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a decimal(18,4)"))
    }
}

/// A moment; deserialises from milliseconds since the epoch.
fn moment<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    Option::<i64>::deserialize(deserializer)?
        .map(Timestamp::from_millisecond)
        .transpose()
        .map_err(serde::de::Error::custom)
}

/// Members merged into the vendor's body as they are; they win over the mapped ones.
pub type VendorFields = Map<String, Value>;

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOrder {
    #[serde(default)]
    pub command_id: String,
    pub account: String,
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
    pub order_number: String,
    #[serde(default)]
    pub platform_order_number: Option<String>,
    #[serde(default)]
    pub platform: Option<String>,
    #[serde(default)]
    pub shop: Option<String>,
    #[serde(default)]
    pub warehouse: Option<String>,
    #[serde(default)]
    pub audit: bool,
    pub recipient: Recipient,
    #[serde(default)]
    pub logistics: Option<Logistics>,
    #[serde(default)]
    pub document: Option<Document>,
    #[serde(default)]
    pub currency: Option<String>,
    #[serde(default)]
    pub amount: Option<Decimal>,
    #[serde(default)]
    pub freight: Option<Decimal>,
    #[serde(default)]
    pub payment_method: PaymentMethod,
    #[serde(default)]
    pub cod_amount: Option<Decimal>,
    #[serde(default, deserialize_with = "moment")]
    pub paid_at: Option<Timestamp>,
    #[serde(default)]
    pub buyer_note: Option<String>,
    #[serde(default)]
    pub seller_note: Option<String>,
    #[serde(default)]
    pub picking_note: Option<String>,
    pub lines: Vec<OrderLine>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipient {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub phone: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    #[serde(default)]
    pub province: Option<String>,
    #[serde(default)]
    pub city: Option<String>,
    #[serde(default)]
    pub district: Option<String>,
    #[serde(default)]
    pub post_code: Option<String>,
    #[serde(default)]
    pub address1: Option<String>,
    #[serde(default)]
    pub address2: Option<String>,
    #[serde(default)]
    pub house_number: Option<String>,
    #[serde(default)]
    pub buyer_id: Option<String>,
    #[serde(default)]
    pub tax_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogisticsKind {
    Platform,
    Offline,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logistics {
    #[serde(default)]
    pub kind: Option<LogisticsKind>,
    #[serde(default)]
    pub id: Option<i64>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub tracking_number: Option<String>,
    #[serde(default)]
    pub label_url: Option<String>,
    #[serde(default)]
    pub label: Option<Label>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LabelType {
    Pdf,
    Png,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Label {
    pub content: Content,
    #[serde(rename = "type")]
    pub label_type: LabelType,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    pub content: Content,
    #[serde(rename = "type")]
    pub document_type: LabelType,
    pub name: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentMethod {
    #[default]
    PayOnline,
    Cod,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderLine {
    pub sku: String,
    pub quantity: i64,
    #[serde(default)]
    pub unit_price: Option<Decimal>,
    #[serde(default)]
    pub paid_amount: Option<Decimal>,
    #[serde(default)]
    pub shipping_price: Option<Decimal>,
    #[serde(default)]
    pub promotion_discount: Option<Decimal>,
    #[serde(default)]
    pub customs: Option<Customs>,
    #[serde(default)]
    pub batch: Option<Batch>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Customs {
    #[serde(default)]
    pub hs_code: Option<String>,
    #[serde(default)]
    pub name_zh: Option<String>,
    #[serde(default)]
    pub name_en: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    #[serde(default)]
    pub number: Option<String>,
    #[serde(default)]
    pub manufactured_on: Option<Date>,
    #[serde(default)]
    pub expires_on: Option<Date>,
    #[serde(default)]
    pub origin_country: Option<String>,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelOrder {
    #[serde(default)]
    pub command_id: String,
    pub account: String,
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
    pub order_number: String,
    #[serde(default)]
    pub shop: Option<String>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Packing {
    #[default]
    Parcel,
    Boxes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    Sea,
    Air,
    Express,
    Land,
    Charter,
    Rail,
    Other,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Condition {
    #[default]
    Good,
    Damaged,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAsn {
    #[serde(default)]
    pub command_id: String,
    pub account: String,
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
    pub asn_number: String,
    pub warehouse: String,
    #[serde(default)]
    pub tracking_numbers: Vec<String>,
    #[serde(default, deserialize_with = "moment")]
    pub expected_at: Option<Timestamp>,
    #[serde(default)]
    pub remark: Option<String>,
    #[serde(default)]
    pub packing: Packing,
    #[serde(default)]
    pub currency: Option<String>,
    #[serde(default)]
    pub first_leg_currency: Option<String>,
    #[serde(default)]
    pub transfer_currency: Option<String>,
    #[serde(default)]
    pub send_to_warehouse: Option<bool>,
    #[serde(default)]
    pub transport: Option<Transport>,
    #[serde(default)]
    pub container_model: Option<String>,
    pub lines: Vec<AsnLine>,
    #[serde(default)]
    pub boxes: Vec<AsnBox>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AsnLine {
    pub sku: String,
    pub quantity: i64,
    #[serde(default)]
    pub purchase_price: Option<Decimal>,
    #[serde(default)]
    pub first_leg_price: Option<Decimal>,
    #[serde(default)]
    pub transfer_price: Option<Decimal>,
    #[serde(default)]
    pub condition: Condition,
    #[serde(default)]
    pub per_box: Option<i32>,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub batch: Option<Batch>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

/// `Box` in the schemas; renamed here because Rust has a `Box` of its own.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AsnBox {
    pub number: i32,
    #[serde(default)]
    pub weight_grams: Option<Decimal>,
    #[serde(default)]
    pub length_cm: Option<Decimal>,
    #[serde(default)]
    pub width_cm: Option<Decimal>,
    #[serde(default)]
    pub height_cm: Option<Decimal>,
    pub lines: Vec<BoxLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BoxLine {
    pub sku: String,
    pub quantity: i64,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelAsn {
    #[serde(default)]
    pub command_id: String,
    pub account: String,
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
    pub asn_number: String,
    #[serde(default)]
    pub vendor_reference: Option<String>,
    #[serde(default)]
    pub vendor_fields: VendorFields,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    #[serde(default)]
    pub command_id: String,
    pub account: String,
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<Timestamp>,
    pub path: String,
    #[serde(default)]
    pub service_type: Option<String>,
    /// JSON text, sent as it is.
    pub body: String,
    #[serde(default)]
    pub idempotent: bool,
}

macro_rules! redacted_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

// Whatever holds a person's data, or may, shows its name alone.
redacted_debug!(
    CreateOrder,
    Recipient,
    Logistics,
    Label,
    Document,
    OrderLine,
    Customs,
    CancelOrder,
    CreateAsn,
    AsnLine,
    AsnBox,
    CancelAsn,
    Call
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_at_most_eighteen_digits_and_four_decimals() {
        for (text, plain) in [
            ("1.10", Some("1.1")),
            ("0", Some("0")),
            ("-3.5", Some("-3.5")),
            ("12345678901234.5678", Some("12345678901234.5678")),
            ("1e3", Some("1000")),
            ("0.00001", None),
            ("123456789012345", None),
            ("1e15", None),
            ("abc", None),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.plain()).as_deref(), plain, "{text}");
        }
    }
}
