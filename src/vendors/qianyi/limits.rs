//! The documented rate limits (Qianyi, 限流规则), per operation.
//!
//! Whether they count per application or per customer, and what a throttled call is answered, the
//! vendor does not say.

use std::time::Duration;

/// So many calls in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The `serviceType`; empty for [`OTHER_CALLS`].
    pub service_type: &'static str,
    /// Calls allowed within `per`.
    pub calls: u32,
    /// The time in which they are counted.
    pub per: Duration,
}

const fn limit(service_type: &'static str, calls: u32, seconds: u64) -> Limit {
    Limit { service_type, calls, per: Duration::from_secs(seconds) }
}

/// The operations with a limit of their own.
pub const LIMITS: [Limit; 4] = [
    limit("CREATE_SALES_ORDER", 100, 10),
    limit("CREATE_RETURN_ORDER", 100, 10),
    limit("QUERY_SALES_ORDER_LIST", 100, 60),
    limit("QUERY_RETURN_ORDER_LIST", 100, 60),
];

/// Every other operation.
pub const OTHER_CALLS: Limit = limit("", 200, 10);

/// The limit of an operation.
pub fn limit_of(service_type: &str) -> Limit {
    LIMITS.into_iter().find(|limit| limit.service_type == service_type).unwrap_or(OTHER_CALLS)
}

/// The limits by the connector's own names of its calls; `*` is every other call.
pub fn operation_limits() -> Vec<(String, u32, Duration)> {
    [
        ("create-order", limit_of("CREATE_SALES_ORDER")),
        ("look-up-order", limit_of("QUERY_SALES_ORDER_LIST")),
        ("*", OTHER_CALLS),
    ]
    .map(|(name, limit)| (name.to_owned(), limit.calls, limit.per))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_its_own_limit_or_the_common_one() {
        for (service_type, calls, seconds) in [
            ("CREATE_SALES_ORDER", 100, 10),
            ("QUERY_SALES_ORDER_LIST", 100, 60),
            ("CREATE_ASN_ORDER", 200, 10),
            ("QUERY_SALES_ORDER_NUMBER_LIST", 200, 10),
        ] {
            let limit = limit_of(service_type);
            assert_eq!((limit.calls, limit.per.as_secs()), (calls, seconds), "{service_type}");
        }
    }
}
