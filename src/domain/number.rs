//! Whole numbers, however JSON writes them. Pure.

/// The whole number that a decimal text is exactly: `26`, `26.0`, `2.6E+1`, `1e3`, `-0`. `None` where it
/// is no number, has a fraction, or does not fit: `26.5`, `1e999999999`, `0x1A`.
///
/// No float is involved: one holds 53 bits, and ids and codes have more.
pub fn whole(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain(before) || !plain(after) {
        return None;
    }
    let after = after.trim_end_matches('0');
    let all = format!("{before}{after}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // How many zeros follow the digits; fewer than none is a fraction, unless zeros can be cut.
    let zeros = exponent - i64::try_from(after.len()).ok()?;
    let shifted = if zeros >= 0 {
        // A text such as 1e999999999 must cost nothing.
        let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 20)?;
        format!("{sign}{significant}{}", "0".repeat(zeros))
    } else {
        let cut = usize::try_from(-zeros).ok()?;
        let kept = significant.len().checked_sub(cut)?;
        let (whole, fraction) = significant.split_at_checked(kept)?;
        if fraction.bytes().any(|b| b != b'0') {
            return None;
        }
        format!("{sign}{whole}")
    };
    shifted.parse().ok()
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|exponent: &i64| exponent.abs() <= 1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        for (text, read) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("-0.00e5", Some(0)),
            ("0e999999", Some(0)),
            ("26", Some(26)),
            ("26.0", Some(26)),
            ("+26", Some(26)),
            ("007", Some(7)),
            ("1.0E+2", Some(100)),
            ("1e3", Some(1000)),
            ("5.0019E4", Some(50019)),
            ("50019.000", Some(50019)),
            ("2600e-2", Some(26)),
            ("2650e-2", None),
            ("26.5", None),
            ("1e-1", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1e19", None),
            ("1e999999999", None),
            ("1e99999999999999999999", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("1 ", None),
            ("0x1A", None),
            ("１", None),
            ("NaN", None),
            ("1e1e1", None),
            ("1.0.0", None),
        ] {
            assert_eq!(whole(text), read, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_way_to_write_it_is_the_same_number(number in any::<i64>(), zeros in 0usize..8) {
            let zeros = "0".repeat(zeros);
            for text in [
                number.to_string(),
                format!("{number}.0{zeros}"),
                format!("{number}{zeros}e-{}", zeros.len()),
            ] {
                prop_assert_eq!(whole(&text), Some(number), "{}", text);
            }
        }

        #[test]
        fn nothing_panics(text in "[-+0-9.eE]{0,12}|.{0,6}") {
            whole(&text);
        }
    }
}
