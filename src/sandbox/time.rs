//! The vendors' clocks, and the forms in which they write the time.

use jiff::tz::{self, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The vendor's time: ours, shifted.
pub(super) fn vendor_now(offset_ms: i64) -> Timestamp {
    let now = crate::clock::now();
    now.checked_add(SignedDuration::from_millis(offset_ms)).unwrap_or(now)
}

/// The form of the `Date` header and of a dated `Retry-After` (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `yyyy-MM-dd HH:mm:ss` in UTC+8, where both vendors are at home.
pub(super) fn text_time(at: Timestamp) -> String {
    at.to_zoned(home()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The form of `finishTime`: milliseconds, no zone.
pub(super) fn finish_time(at: Timestamp) -> String {
    at.to_zoned(home()).strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// Whether a text is a `yyyy-MM-dd HH:mm:ss` that exists.
pub(super) fn is_text_time(text: &str) -> bool {
    text.len() == 19 && jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).is_ok()
}

/// Milliseconds of a `yyyy-MM-dd HH:mm:ss` in UTC+8, with `+08:00` behind it or not, or of a
/// date alone; Qianyi's own samples show all three.
pub(super) fn home_millis(text: &str) -> Option<i64> {
    let local = text.strip_suffix("+08:00").unwrap_or(text);
    let civil = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", local).or_else(|_| {
        jiff::civil::Date::strptime("%Y-%m-%d", local).map(|date| date.at(0, 0, 0, 0))
    });
    Some(civil.ok()?.to_zoned(home()).ok()?.timestamp().as_millisecond())
}

fn home() -> TimeZone {
    TimeZone::fixed(tz::offset(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_vendors_write_them() {
        let at = Timestamp::from_millisecond(1_751_299_200_123).unwrap();
        assert_eq!(http_date(at), "Mon, 30 Jun 2025 16:00:00 GMT");
        assert_eq!(text_time(at), "2025-07-01 00:00:00");
        assert_eq!(finish_time(at), "2025-07-01T00:00:00.123");
    }

    #[test]
    fn times_are_read_as_the_vendors_read_them() {
        // The date alone is from the vendor's sample of CREATE_SALES_ORDER.
        for text in ["2025-07-01", "2025-07-01 00:00:00", "2025-07-01 00:00:00+08:00"] {
            assert_eq!(home_millis(text), Some(1_751_299_200_000), "{text}");
        }
        assert_eq!(home_millis("2025-07-01T00:00:00Z"), None);
        assert!(is_text_time("2025-02-28 23:59:59"));
        assert!(!is_text_time("2025-02-30 00:00:00"));
        assert!(!is_text_time("2025-2-3 00:00:00"));
    }
}
