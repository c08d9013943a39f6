//! The signature of calls and pushes (Qianyi guide, 签名生成步骤).
//!
//! `md5Hex("appId=…bizParam=…serviceType=…timestamp=…" + appSecret)`, without delimiters, over the
//! literal text of `bizParam`: blanks and line ends count, so nothing is ever serialised again.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::domain::Secret;

/// What is signed of a call or a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRequest<'a> {
    /// The application's id.
    pub app_id: &'a str,
    /// The JSON text, byte for byte as it is sent.
    pub biz_param: &'a str,
    /// The name of the operation or push.
    pub service_type: &'a str,
    /// The time as it is sent, 13 digits.
    pub timestamp: &'a str,
}

impl SignedRequest<'_> {
    /// The exact string that is signed, with `secret` at its end: the real one, or `***` for
    /// showing.
    pub fn string(&self, secret: &str) -> String {
        let mut string = String::new();
        self.each_part(secret, |part| string.push_str(part));
        string
    }

    /// The signature: 32 lower-case hex digits.
    pub fn sign(&self, secret: &Secret) -> String {
        hex::encode(self.digest(secret))
    }

    /// Whether `sign` is this request's signature with one of the secrets: hex in either case,
    /// compared in constant time, every secret tried.
    pub(super) fn is_signed_by<'s>(
        &self,
        sign: &str,
        secrets: impl IntoIterator<Item = &'s Secret>,
    ) -> bool {
        let Ok(given) = hex::decode(sign) else { return false };
        let mut matches = subtle::Choice::from(0);
        for secret in secrets {
            matches |= self.digest(secret).as_slice().ct_eq(&given);
        }
        matches.into()
    }

    fn digest(&self, secret: &Secret) -> [u8; 16] {
        let mut hash = Md5::new();
        self.each_part(secret.expose(), |part| hash.update(part.as_bytes()));
        hash.finalize().into()
    }

    fn each_part(&self, secret: &str, mut part: impl FnMut(&str)) {
        for text in [
            "appId=",
            self.app_id,
            "bizParam=",
            self.biz_param,
            "serviceType=",
            self.service_type,
            "timestamp=",
            self.timestamp,
            secret,
        ] {
            part(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUIDE_LONG: &str = include_str!("samples/guide-create-asn.json");
    const PUSH_SHIPPING: &str = include_str!("samples/push-sales-order-shipping-info.json");

    /// The vendor's own samples; `openApi_TOKEN` is the secret of all of them.
    #[test]
    fn the_vendors_samples_are_reproduced() {
        for (app_id, service_type, timestamp, biz_param, sign) in [
            // The guide's long sample: the brackets are full-width.
            (
                "openApi_TEST",
                "CREATE_ASN_ORDER",
                "1662448537275",
                GUIDE_LONG,
                "b3dfeed438e36f1f89534ce415cf4113",
            ),
            // The guide's short sample still shows the long one's sign; this is its own.
            (
                "openApi_TEST",
                "CREATE_ASN_ORDER",
                "1662448537275",
                r#"{"asnSkuVOList":[{"expectQuantity":"100","sku":"SKU1230"}],"warehouseName":"测试仓库"}"#,
                "46bc640fe3d0e2866afde2980fe85392",
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
            (
                "TEST",
                "PUSH_SALES_ORDER_SHIPPING_INFO",
                "1754272685482",
                PUSH_SHIPPING,
                "7cbc7305af85fb2eed308866c4fbaf89",
            ),
        ] {
            let request = SignedRequest { app_id, biz_param, service_type, timestamp };
            assert_eq!(request.sign(&Secret::new("openApi_TOKEN")), sign, "{service_type}");
        }
    }

    #[test]
    fn the_string_is_the_guides_and_can_hide_the_secret() {
        let request = SignedRequest {
            app_id: "openApi_TEST",
            biz_param: "{\"a\":1}\r\n",
            service_type: "CREATE_ASN_ORDER",
            timestamp: "1662448537275",
        };
        assert_eq!(
            request.string("***"),
            "appId=openApi_TESTbizParam={\"a\":1}\r\nserviceType=CREATE_ASN_ORDER\
             timestamp=1662448537275***"
        );
    }

    #[test]
    fn a_signature_is_hex_in_either_case_with_either_secret() {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let request = SignedRequest {
            app_id: "TEST",
            biz_param: "{}",
            service_type: "PUSH_ASN_ORDER",
            timestamp: "1",
        };
        for (sign, accepted) in [
            (request.sign(&new), true),
            (request.sign(&old), true),
            (request.sign(&old).to_uppercase(), true),
            (request.sign(&Secret::new("other")), false),
            (String::new(), false),
            (request.sign(&new).chars().skip(2).collect(), false),
            (format!("{}00", request.sign(&new)), false),
            ("zz".repeat(16), false),
        ] {
            assert_eq!(request.is_signed_by(&sign, [&new, &old]), accepted, "{sign}");
        }
    }

    proptest! {
        #[test]
        fn any_change_of_one_byte_is_refused(
            biz_param in "[ -~]{1,80}",
            secret in "[ -~]{1,40}",
            at in any::<prop::sample::Index>(),
            flip in 1u8..128,
            in_secret in any::<bool>(),
        ) {
            let request = |biz_param, secret: &str| {
                let request = SignedRequest {
                    app_id: "TEST",
                    biz_param,
                    service_type: "PUSH_ASN_ORDER",
                    timestamp: "1662448537275",
                };
                (request, Secret::new(secret))
            };
            let (signed, right) = request(&biz_param, &secret);
            let sign = signed.sign(&right);
            prop_assert!(signed.is_signed_by(&sign, [&right]));

            let mut changed = if in_secret { secret.clone() } else { biz_param.clone() }.into_bytes();
            let at = at.index(changed.len());
            changed[at] ^= flip;
            let changed = String::from_utf8(changed).unwrap();
            let (other, wrong) = if in_secret {
                request(&biz_param, &changed)
            } else {
                request(&changed, &secret)
            };
            prop_assert!(!other.is_signed_by(&sign, [&wrong]));
        }
    }
}
