//! The webhooks that are measured: a stock type, signed, with as many lines as are asked for.

use std::fmt::Write as _;

use md5::{Digest, Md5};

pub const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";

/// The `number`th body with so many lines; no two are equal.
pub fn body(number: usize, lines: usize) -> String {
    let mut data = format!(
        r#"{{"warehouseCode":"YK","documentNo":"BSZ{number:07}","userId":3256,"finishTime":"2025-02-06T03:59:21.009","skuList":["#
    );
    for line in 0..lines {
        let comma = if line == 0 { "" } else { "," };
        write!(
            data,
            r#"{comma}{{"sku":"819-Dark GL {line}","total":{number},"locked":0,"available":{number},"nonGood":0,"totalChange":1,"lockedChange":null,"availableChange":null,"nonGoodChange":null}}"#
        )
        .unwrap();
    }
    data.push_str("]}");
    let signed = format!(r#"{{"data":{data},"clientSecret":"{SECRET}"}}"#);
    let sign = hex::encode(Md5::digest(signed));
    format!(r#"{{"timestamp":1738828761009,"type":"orderCreate","data":{data},"sign":"{sign}"}}"#)
}
