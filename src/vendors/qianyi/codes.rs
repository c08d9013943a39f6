//! Every code that Qianyi documents or shows, with what follows from it.
//!
//! The vendor's list is open: a code that is not here is a permanent refusal. A new variant does
//! not compile until somebody decides its class and category.

use crate::domain::ReplyCategory;

/// What a code means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The document's number is taken.
    AlreadyExists,
    /// Refused for good.
    Refused,
    /// The vendor is not able now; the call may have taken effect.
    Transient,
    /// The account cannot work as it is configured.
    Configuration,
}

macro_rules! codes {
    ($($variant:ident $text:literal $meaning:literal,)*) => {
        /// A documented code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// All of them, in the order of the documents: the table of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as the vendor writes it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it says.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    // System codes (Qianyi, 异常码).
    SystemError "SYSTEM_ERROR" "the vendor failed",
    SignatureError "SIGNATURE_ERROR" "the signature does not match",
    AppNotExist "APP_NOT_EXIST" "no such application in this environment",
    ServiceTypeNotExist "SERVICE_TYPE_NOT_EXIST" "no such operation",
    AppIdCannotBeBlank "APP_ID_CANNOT_BE_BLANK" "the application id is missing",
    SignatureCannotBeBlank "SIGNATURE_CANNOT_BE_BLANK" "the signature is missing",
    ServiceTypeCannotBeBlank "SERVICE_TYPE_CANNOT_BE_BLANK" "the operation is missing",
    TimestampCannotBeBlank "TIMESTAMP_CANNOT_BE_BLANK" "the timestamp is missing",
    ServiceTypeNotAllow "SERVICE_TYPE_NOT_ALLOW" "the operation is not authorised or absent",
    // Business codes (Qianyi, 异常码).
    SkuInventoryAllocateError "sku.inventory.allocate.error" "stock could not be allocated",
    LogisticsPlatformMappingIsBlank "logistics.platform.mapping.is.blank"
        "the logistics has no mapping to the platform",
    WarehouseSkuMappingNotExist "warehouse.sku.mapping.not.exist"
        "the SKU has no mapping to the warehouse",
    SkuInventoryMappingOff "sku.inventory.mapping.off" "the SKU's stock mapping is off",
    SkuInventoryShortNeedIncrease "sku.inventory.short.need.increase" "stock is short",
    CodLogisticsNotSupport "cod.logistics.not.support"
        "the logistics does not take cash on delivery",
    Thai9CurrencyNotSupport "thai9.currency.not.support" "the currency is not taken",
    OrderStatusCannotOperate "order.status.cannot.operate"
        "the order's status does not allow this",
    // Shown in samples and captured answers only.
    OrderIdExist "order.id.exist" "the order number exists",
    SkuNotExistsWithArgs "SKU_NOT_EXISTS_WITH_ARGS" "SKUs do not exist",
    ShopNotAuthorizedOrNotExist "SHOP_NOT_AUTHORIZED_OR_NOT_EXIST"
        "the shop is not authorised or does not exist",
    OdoStatusCanNotOperate "odo.status.can.not.operate"
        "the outbound order's status does not allow this",
    DataInputError "DATA_INPUT_ERROR" "the data is wrong",
    Auth001 "AUTH_001" "the signature does not match (the guide's example)",
}

impl Code {
    /// The documented code of that text.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.text() == text)
    }

    /// What it means for the caller.
    pub const fn class(self) -> Class {
        match self {
            Self::SystemError => Class::Transient,
            Self::OrderIdExist => Class::AlreadyExists,
            Self::SignatureError
            | Self::AppNotExist
            | Self::ServiceTypeNotExist
            | Self::AppIdCannotBeBlank
            | Self::SignatureCannotBeBlank
            | Self::ServiceTypeCannotBeBlank
            | Self::TimestampCannotBeBlank
            | Self::ServiceTypeNotAllow
            | Self::Auth001 => Class::Configuration,
            Self::SkuInventoryAllocateError
            | Self::LogisticsPlatformMappingIsBlank
            | Self::WarehouseSkuMappingNotExist
            | Self::SkuInventoryMappingOff
            | Self::SkuInventoryShortNeedIncrease
            | Self::CodLogisticsNotSupport
            | Self::Thai9CurrencyNotSupport
            | Self::OrderStatusCannotOperate
            | Self::SkuNotExistsWithArgs
            | Self::ShopNotAuthorizedOrNotExist
            | Self::OdoStatusCanNotOperate
            | Self::DataInputError => Class::Refused,
        }
    }

    /// The category of the reply it ends in.
    pub const fn category(self) -> ReplyCategory {
        match self {
            Self::SystemError => ReplyCategory::Unavailable,
            Self::OrderIdExist => ReplyCategory::Duplicate,
            Self::SignatureError
            | Self::AppNotExist
            | Self::ServiceTypeNotExist
            | Self::AppIdCannotBeBlank
            | Self::SignatureCannotBeBlank
            | Self::ServiceTypeCannotBeBlank
            | Self::TimestampCannotBeBlank
            | Self::ServiceTypeNotAllow
            | Self::Auth001 => ReplyCategory::Configuration,
            Self::SkuInventoryAllocateError | Self::SkuInventoryShortNeedIncrease => {
                ReplyCategory::OutOfStock
            }
            Self::OrderStatusCannotOperate | Self::OdoStatusCanNotOperate => {
                ReplyCategory::WrongState
            }
            Self::SkuNotExistsWithArgs | Self::ShopNotAuthorizedOrNotExist => {
                ReplyCategory::NotFound
            }
            Self::DataInputError => ReplyCategory::Invalid,
            Self::LogisticsPlatformMappingIsBlank
            | Self::WarehouseSkuMappingNotExist
            | Self::SkuInventoryMappingOff
            | Self::CodLogisticsNotSupport
            | Self::Thai9CurrencyNotSupport => ReplyCategory::Refused,
        }
    }

    /// The field of a create that it is about, where the code says so.
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::SkuNotExistsWithArgs
            | Self::SkuInventoryAllocateError
            | Self::SkuInventoryShortNeedIncrease
            | Self::SkuInventoryMappingOff
            | Self::WarehouseSkuMappingNotExist => Some("lines"),
            Self::ShopNotAuthorizedOrNotExist => Some("shop"),
            Self::LogisticsPlatformMappingIsBlank => Some("logistics.name"),
            Self::CodLogisticsNotSupport => Some("paymentMethod"),
            Self::Thai9CurrencyNotSupport => Some("currency"),
            Self::SystemError
            | Self::SignatureError
            | Self::AppNotExist
            | Self::ServiceTypeNotExist
            | Self::AppIdCannotBeBlank
            | Self::SignatureCannotBeBlank
            | Self::ServiceTypeCannotBeBlank
            | Self::TimestampCannotBeBlank
            | Self::ServiceTypeNotAllow
            | Self::OrderStatusCannotOperate
            | Self::OrderIdExist
            | Self::OdoStatusCanNotOperate
            | Self::DataInputError
            | Self::Auth001 => None,
        }
    }

    /// Whether the operation itself, and not the account, is what a configuration code refuses.
    /// A `call` names its operation, and must not stop the account by a typing error.
    pub(super) const fn refuses_the_operation(self) -> bool {
        matches!(
            self,
            Self::ServiceTypeNotExist | Self::ServiceTypeCannotBeBlank | Self::ServiceTypeNotAllow
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_text_and_an_unknown_one_is_not() {
        for code in Code::ALL {
            assert_eq!(Code::of(code.text()), Some(*code));
        }
        for unknown in ["", "0", "ORDER.ID.EXIST", "new.code"] {
            assert_eq!(Code::of(unknown), None, "{unknown}");
        }
    }

    /// The vendor's lists, and what was seen in samples and captured answers.
    #[test]
    fn every_documented_code_is_here() {
        let documented = "SYSTEM_ERROR SIGNATURE_ERROR APP_NOT_EXIST SERVICE_TYPE_NOT_EXIST \
            APP_ID_CANNOT_BE_BLANK SIGNATURE_CANNOT_BE_BLANK SERVICE_TYPE_CANNOT_BE_BLANK \
            TIMESTAMP_CANNOT_BE_BLANK SERVICE_TYPE_NOT_ALLOW sku.inventory.allocate.error \
            logistics.platform.mapping.is.blank warehouse.sku.mapping.not.exist \
            sku.inventory.mapping.off sku.inventory.short.need.increase cod.logistics.not.support \
            thai9.currency.not.support order.status.cannot.operate order.id.exist \
            SKU_NOT_EXISTS_WITH_ARGS SHOP_NOT_AUTHORIZED_OR_NOT_EXIST odo.status.can.not.operate \
            DATA_INPUT_ERROR AUTH_001";
        let listed: Vec<&str> = documented.split_whitespace().collect();
        let ours: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
        assert_eq!(ours, listed);
    }

    #[test]
    fn class_and_category_agree() {
        for code in Code::ALL {
            let agrees = match code.class() {
                Class::AlreadyExists => code.category() == ReplyCategory::Duplicate,
                Class::Transient => code.category() == ReplyCategory::Unavailable,
                Class::Configuration => code.category() == ReplyCategory::Configuration,
                Class::Refused => matches!(
                    code.category(),
                    ReplyCategory::Invalid
                        | ReplyCategory::NotFound
                        | ReplyCategory::OutOfStock
                        | ReplyCategory::Refused
                        | ReplyCategory::WrongState
                ),
            };
            assert!(agrees, "{code:?}");
        }
    }
}
