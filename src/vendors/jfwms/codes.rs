//! Every code of the vendor, with what it means for whoever called.
//!
//! The codes are those of the JFWMS guide (常见报错) and the further ones that were met in use
//! (no name: the guide does not list them). Texts are localised by the vendor, so only the code
//! decides.

use std::fmt::Write;

use crate::domain::ReplyCategory;

/// What a code decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Done.
    Success,
    /// Taken; the outcome comes as the webhook `orderIntercept`.
    Accepted,
    /// The order stands cancelled: done for a cancellation, refused for anything else.
    AlreadyCancelled,
    /// The document's number is taken: look it up and compare.
    Duplicate,
    /// No such document. In a look-up that proves nothing while the vendor may still be working.
    NotFound,
    /// Refused for good.
    Refused,
    /// Being processed: look before sending again.
    InProgress,
    /// The vendor is not able now.
    Transient,
    /// Renew the access token, then send again.
    SessionExpired,
    /// Correct the time, then send again.
    ClockSkew,
    /// Send again with a new nonce.
    NonceRepeated,
    /// Send again with a nonce of two digits.
    NonceFormat,
    /// The account cannot work as it is configured or authorised.
    Misconfigured,
}

macro_rules! codes {
    ($($number:literal $code:ident $name:literal $class:ident $category:ident $order:literal $asn:literal;)*) => {
        /// A code of the vendor.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $number, "` ", $name)] $code,)*
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The code of a number; `None` for one that nobody has met yet.
            pub fn of(number: i64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$code),)*
                    _ => None,
                }
            }

            /// Its number.
            pub const fn number(self) -> i64 {
                match self { $(Self::$code => $number),* }
            }

            /// Its name in the guide; empty where the guide does not list it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            /// What it decides.
            pub const fn class(self) -> Class {
                match self { $(Self::$code => Class::$class),* }
            }

            /// The category of a reply that ends with it.
            pub const fn category(self) -> ReplyCategory {
                match self { $(Self::$code => ReplyCategory::$category),* }
            }

            /// The field of an order command it is about.
            pub fn order_field(self) -> Option<&'static str> {
                let field = match self { $(Self::$code => $order),* };
                Some(field).filter(|field| !field.is_empty())
            }

            /// The field of an ASN command it is about.
            pub fn asn_field(self) -> Option<&'static str> {
                let field = match self { $(Self::$code => $asn),* };
                Some(field).filter(|field| !field.is_empty())
            }
        }
    };
}

// number, variant, the guide's name, class, category, field of an order, field of an ASN
codes! {
    -1 Retry "" Transient Unavailable "" "";
    0 Success "SUCCESS" Success None "" "";
    1 ServiceError "SERVICE_ERROR" Transient Unavailable "" "";
    10000 Parameter "" Refused Invalid "" "";
    10001 RequestParamsError "REQUEST_PARAMS_ERROR" Refused Invalid "" "";
    10002 InvalidAccessToken "INVALID_ACCESS_TOKEN" SessionExpired Unauthorized "" "";
    10003 InvalidRefreshToken "INVALID_REFRESH_TOKEN" Misconfigured Unauthorized "" "";
    10004 AccessTokenMissing "ACCESS_TOKEN_CANNOT_NULL" SessionExpired Unauthorized "" "";
    10005 RefreshTokenMissing "REFRESH_TOKEN_CANNOT_NULL" Misconfigured Unauthorized "" "";
    10006 ClientIdMissing "CLIENT_ID_CANNOT_NULL" Misconfigured Configuration "" "";
    10007 ClientSecretMissing "CLIENT_SECRET_CANNOT_NULL" Misconfigured Configuration "" "";
    10008 ClientAppInvalid "CLIENT_APP_NOT_FIND_OR_INVALID" Misconfigured Configuration "" "";
    10009 AuthorisationMissing "CANNOT_FIND_APP_AUTH_INFO" Misconfigured Unauthorized "" "";
    10010 AddressNotAllowed "NOT_INT_WRITE_LIST" Misconfigured Configuration "" "";
    10011 UnknownEmail "REQUEST_EMAIL_ERROR" Misconfigured Unauthorized "" "";
    10012 WrongPassword "REQUEST_PASSWORD_ERROR" Misconfigured Unauthorized "" "";
    10013 UnknownDomain "REQUEST_DOMAIN_ERROR" Misconfigured Configuration "" "";
    10014 UnknownApp "REQUEST_APP_ERROR" Misconfigured Configuration "" "";
    10015 TokenInvalid "" SessionExpired Unauthorized "" "";
    10016 TokenExpired "" SessionExpired Unauthorized "" "";
    10017 RetryLater "" Transient Unavailable "" "";
    10018 RetryLaterToo "" Transient Unavailable "" "";
    10021 SignMissing "SIGN_CANNOT_NULL" Misconfigured Configuration "" "";
    10022 NonceMissing "NONCE_CANNOT_NULL" Misconfigured Configuration "" "";
    10023 TimestampMissing "TIMESTAMP_CANNOT_NULL" Misconfigured Configuration "" "";
    10024 NonceFormat "NONCE_FORMAT_ERROR" NonceFormat Configuration "" "";
    10025 TimestampFormat "TIMESTAMP_FORMAT_ERROR" Misconfigured Configuration "" "";
    10026 SignWrong "SIGN_ERROR" Misconfigured Configuration "" "";
    10027 NonceRepeated "REPEAT_SUBMIT" NonceRepeated Unavailable "" "";
    10028 TimestampInvalid "TIMESTAMP_INVALID" ClockSkew Configuration "" "";
    10029 UserIdFormat "USER_ID_FORMAT_ERROR" Misconfigured Configuration "" "";
    10030 AuthorisationCodeInvalid "INVALID_AUTH_CODE" Misconfigured Unauthorized "" "";
    10040 AccountDisabled "OMS_ACCOUNT_DISABLE" Misconfigured Configuration "" "";
    10041 WarehouseUnknown "OMS_WAREHOUSE_NOT_EXIST" Refused NotFound "warehouse" "warehouse";
    10042 WarehouseClosed "OMS_USER_WAREHOUSE_CLOSED" Refused Refused "warehouse" "warehouse";
    10043 WarehouseMissing "OMS_WAREHOUSE_NO_EMPTY" Refused Invalid "warehouse" "warehouse";
    10044 WarehouseNotReceiving "OMS_WAREHOUSE_PROHIBIT_RECEIVE" Refused Refused "warehouse" "warehouse";
    10045 NoBillingPlan "OMS_FEE_TEMPLATE_NOT_EXIST" Refused Refused "" "";
    10046 SkuUnknown "OMS_SKU_NOT_EXIST" Refused NotFound "lines" "lines";
    10047 SkuBanned "OMS_SKU_PROHIBIT_RECEIVE" Refused Refused "lines" "lines";
    10048 WarehouseNotSelling "OMS_WAREHOUSE_PROHIBIT_SALE" Refused Refused "warehouse" "warehouse";
    10049 Arrears "OMS_INSUFFICIENT_EXPENSES" Refused Refused "" "";
    10050 WarehouseNotThere "" Refused NotFound "warehouse" "warehouse";
    10051 WarehouseNotPermitted "" Refused Refused "warehouse" "warehouse";
    10052 ParameterToo "" Refused Invalid "" "";
    20000 ProductSkuMissing "MERCHANT_SKU_NO_EMPTY" Refused Invalid "" "";
    20001 ProductNameMissing "MERCHANT_SKU_NAME_EMPTY" Refused Invalid "" "";
    20002 ProductCodeMissing "MERCHANT_SKU_CODE_EMPTY" Refused Invalid "" "";
    20003 ProductSkuExists "MERCHANT_SKU_IS_EXIST" Refused Duplicate "" "";
    20004 ProductCodeExists "MERCHANT_SKU_CODE_EXIST" Refused Duplicate "" "";
    20005 ProductMeasuresIncomplete "MERCHANT_LENGTH_WIDTH_HEIGHT_ERROR" Refused Invalid "" "";
    20006 ProductNameTooLong "MERCHANT_NAME_NO_LENGTH_ERROR" Refused Invalid "" "";
    20007 ProductUnknown "MERCHANT_SKU_NOT_EXIST" Refused NotFound "" "";
    20008 ProductWeightRange "MERCHANT_WEIGHT_RANGE" Refused Invalid "" "";
    20009 ProductSizeRange "MERCHANT_SIZE_RANGE" Refused Invalid "" "";
    20022 InterceptForbidden "MERCHANT_ORDER_INTERCEPT_ERROR" Refused Refused "" "";
    20023 InterceptApplied "MERCHANT_ORDER_INTERCEPT_APPLY" Accepted None "" "";
    30001 InventorySkuUnknown "INVENTORY_SKU_NOT_EXIST" Refused NotFound "lines" "lines";
    40000 InboundNumberMissing "INBOUND_ERP_NO_EMPTY" Refused Invalid "" "asnNumber";
    40001 InboundNumberExists "INBOUND_ERP_NO_EXIST" Duplicate Duplicate "" "asnNumber";
    40002 InboundSkuMissing "INBOUND_SKU_INFO_EMPTY" Refused Invalid "" "lines";
    40003 InboundCountMissing "INBOUND_SKU_COUNT_EMPTY" Refused Invalid "" "lines";
    40004 InboundUnknown "INBOUND_NOT_EXIST" NotFound NotFound "" "asnNumber";
    40005 InboundNotCancellable "INBOUND_STATUS_COUNT_NOT_CANCEL" Refused WrongState "" "";
    50000 LabelUrlMissing "OT_LABEL_URL_EMPTY" Refused Invalid "logistics.labelUrl" "";
    50001 LabelUrlTooLong "OT_LABEL_URL_TOO_LONG" Refused Invalid "logistics.labelUrl" "";
    50002 CountryMissing "OT_RECIPIENT_COUNTRY_EMPTY" Refused Invalid "recipient.country" "";
    50003 OrderNumberMissing "OT_ERP_NO_EMPTY" Refused Invalid "orderNumber" "";
    50004 LogisticsNameMissing "OT_LOGISTICS_NAME_EMPTY" Refused Invalid "logistics.name" "";
    50005 TrackingNumberMissing "OT_TRACKING_NO_EMPTY" Refused Invalid "logistics.trackingNumber" "";
    50006 AddressTooLong "OT_RECIPIENT_ADDRESS_TOO_LONG" Refused Invalid "recipient.address1" "";
    50007 CountryCode "OT_COUNTRY_CODE_ERROR" Refused Invalid "recipient.country" "";
    50008 OrderNumberTooLong "OT_ERP_NO_TOO_LONG" Refused Invalid "orderNumber" "";
    50009 PlatformOrderNumberTooLong "OT_PLATFORM_ORDER_NO_TOO_LONG" Refused Invalid "platformOrderNumber" "";
    50010 BuyerNameTooLong "OT_BUYER_NAME_TOO_LONG" Refused Invalid "recipient.name" "";
    50011 BuyerPhoneTooLong "OT_BUYER_PHONE_TOO_LONG" Refused Invalid "recipient.phone" "";
    50012 ProvinceTooLong "OT_RECIPIENT_PROVINCE_TOO_LONG" Refused Invalid "recipient.province" "";
    50013 CityTooLong "OT_RECIPIENT_CITY_TOO_LONG" Refused Invalid "recipient.city" "";
    50014 ZipCodeTooLong "OT_ZIP_CODE_TOO_LONG" Refused Invalid "recipient.postCode" "";
    50015 LogisticsNameTooLong "OT_LOGISTICS_NAME_TOO_LONG" Refused Invalid "logistics.name" "";
    50016 TrackingNumberTooLong "OT_TRACKING_NO_TOO_LONG" Refused Invalid "logistics.trackingNumber" "";
    50017 OrderUnknown "OT_ORDER_NOT_EXIST" NotFound NotFound "orderNumber" "";
    50018 OrderShipped "OT_ORDER_STATUS_COUNT_NOT_CANCEL" Refused WrongState "" "";
    50019 OrderNumberExists "OT_ORDER_ERP_NO_EXIST" Duplicate Duplicate "orderNumber" "";
    50020 LogisticsUnknown "OT_LOGISTICS_NOT_EXIST" Refused NotFound "logistics" "";
    50021 LogisticsClosed "OT_LOGISTICS_CLOSED" Refused Refused "logistics" "";
    50022 OrderSkuMissing "OT_SKU_EMPTY" Refused Invalid "lines" "";
    50023 OrderCountWrong "OT_SKU_NUM_ERROR" Refused Invalid "lines" "";
    50024 OrderSkuUnknown "OT_SKU_NUM_NOT_EXIST" Refused NotFound "lines" "";
    50025 LogisticsCountry "OT_LOGISTICS_SHIP_COUNTRY_ERROR" Refused Refused "recipient.country" "";
    50026 NotEnoughStock "OT_SKU_NOT_ENOUGH_STOCK" Refused OutOfStock "lines" "";
    50027 OrderCancelled "OT_ORDER_IS_CANCELED" AlreadyCancelled WrongState "" "";
    50028 TooManyAsked "OT_ORDER_query_max" Refused Invalid "" "";
    50038 BeingProcessed "" InProgress Uncertain "" "";
    50060 CancelConstraint "" Refused WrongState "" "";
    50071 OrderNotFound "" NotFound NotFound "orderNumber" "";
}

/// What an unknown code means: refused for good. To send again what the vendor refused for a
/// reason that we do not know could only repeat the refusal.
pub const UNKNOWN: (Class, ReplyCategory) = (Class::Refused, ReplyCategory::Refused);

/// The table for the documentation, in Markdown.
pub fn table() -> String {
    let mut table =
        String::from("| code | the guide's name | class | category |\n|---|---|---|---|\n");
    let row =
        |table: &mut String, number: &str, name: &str, class: Class, category: ReplyCategory| {
            // As a reply writes it; neither this nor writing to a string can fail.
            let category = serde_json::to_value(category).unwrap_or_default();
            let category = category.as_str().unwrap_or_default();
            writeln!(table, "| {number} | {name} | {class:?} | `{category}` |").unwrap_or_default();
        };
    for code in Code::ALL {
        let name = if code.name().is_empty() { "not in the guide" } else { code.name() };
        row(&mut table, &code.number().to_string(), name, code.class(), code.category());
    }
    row(&mut table, "any other", "", UNKNOWN.0, UNKNOWN.1);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for code in Code::ALL {
            assert_eq!(Code::of(code.number()), Some(*code));
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.number()));
        assert_eq!(Code::of(2), None);
    }

    #[test]
    fn the_design_names_these() {
        for (number, class, category) in [
            (0, Class::Success, ReplyCategory::None),
            (50026, Class::Refused, ReplyCategory::OutOfStock),
            (50018, Class::Refused, ReplyCategory::WrongState),
            (50017, Class::NotFound, ReplyCategory::NotFound),
            (50071, Class::NotFound, ReplyCategory::NotFound),
            (50019, Class::Duplicate, ReplyCategory::Duplicate),
            (40001, Class::Duplicate, ReplyCategory::Duplicate),
            (10028, Class::ClockSkew, ReplyCategory::Configuration),
            (10027, Class::NonceRepeated, ReplyCategory::Unavailable),
            (10024, Class::NonceFormat, ReplyCategory::Configuration),
            (20023, Class::Accepted, ReplyCategory::None),
        ] {
            let code = Code::of(number).unwrap();
            assert_eq!((code.class(), code.category()), (class, category), "{number}");
        }
    }

    /// The guide's table, word by word.
    const GUIDE: &str = include_str!("samples/codes.txt");

    #[test]
    fn the_guides_table_is_whole() {
        let mut listed = Vec::new();
        for line in GUIDE.lines() {
            let (name, rest) = line.split_once('(').unwrap();
            let number: i64 = rest.split_once(',').unwrap().0.parse().unwrap();
            let code = Code::of(number).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(code.name(), name, "{number}");
            listed.push(number);
        }
        assert_eq!(listed.len(), 83);
        let further: Vec<i64> =
            Code::ALL.iter().map(|c| c.number()).filter(|n| !listed.contains(n)).collect();
        // Success, and what was met in use and is not in the guide.
        let met =
            [-1, 0, 10000, 10015, 10016, 10017, 10018, 10050, 10051, 10052, 50038, 50060, 50071];
        assert_eq!(further, met);
    }

    #[test]
    fn class_and_category_agree() {
        use ReplyCategory as C;
        for code in Code::ALL {
            let agrees = match code.class() {
                Class::Success | Class::Accepted => code.category() == C::None,
                Class::AlreadyCancelled => code.category() == C::WrongState,
                Class::Duplicate => code.category() == C::Duplicate,
                Class::NotFound => code.category() == C::NotFound,
                Class::InProgress => code.category() == C::Uncertain,
                Class::Transient | Class::NonceRepeated => code.category() == C::Unavailable,
                Class::SessionExpired => code.category() == C::Unauthorized,
                Class::ClockSkew | Class::NonceFormat => code.category() == C::Configuration,
                Class::Misconfigured => {
                    matches!(code.category(), C::Configuration | C::Unauthorized)
                }
                Class::Refused => matches!(
                    code.category(),
                    C::Invalid
                        | C::NotFound
                        | C::OutOfStock
                        | C::Refused
                        | C::WrongState
                        | C::Duplicate
                ),
            };
            assert!(agrees, "{code:?}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_code() {
        let table = table();
        assert_eq!(table.lines().count(), Code::ALL.len() + 3);
        assert!(table.contains("| 50026 | OT_SKU_NOT_ENOUGH_STOCK | Refused | `OUT_OF_STOCK` |"));
    }
}
