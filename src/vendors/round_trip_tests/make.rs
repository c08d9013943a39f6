//! Webhooks as nobody would write them by hand: made out of a row of choices, so that a failing one
//! shrinks.

/// What a known member holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text or a number.
    Text,
    /// A text that is there and not blank: of these one is the document's number.
    Number,
    /// A whole number, as number or text.
    Long,
    /// The same, and it may not be missing or null.
    RequiredLong,
    RequiredText,
    /// A time without a zone.
    Time,
    /// A time of Qianyi: epoch value or text.
    LooseTime,
    Status,
    /// Any JSON.
    Any,
}

/// One type of webhook: its members, and those of its lines.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) members: &'static [(&'static str, Kind)],
    pub(super) lines: Option<(&'static str, &'static [(&'static str, Kind)])>,
}

use Kind::*;

const STOCK: &[(&str, Kind)] = &[
    ("sku", RequiredText),
    ("total", RequiredLong),
    ("available", RequiredLong),
    ("locked", RequiredLong),
    ("nonGood", RequiredLong),
    ("totalChange", Long),
    ("availableChange", Long),
    ("lockedChange", Long),
    ("nonGoodChange", Long),
];

const DOCUMENT: &[(&str, Kind)] =
    &[("documentNo", Number), ("warehouseCode", Text), ("finishTime", Time), ("userId", Text)];

const fn document(name: &'static str) -> Form {
    Form { name, members: DOCUMENT, lines: Some(("skuList", STOCK)) }
}

/// The ten types of JFWMS.
pub(super) const JFWMS: &[Form] = &[
    Form {
        name: "order",
        members: &[
            ("erpNo", Number),
            ("warehouseCode", Text),
            ("status", Status),
            ("userId", Text),
        ],
        lines: Some(("skuList", STOCK)),
    },
    Form {
        name: "storage",
        members: &[
            ("erpNo", Number),
            ("warehouseCode", Text),
            ("putawayNo", Text),
            ("finishTime", Time),
            ("status", Status),
            ("userId", Text),
        ],
        lines: Some((
            "skuList",
            &[
                ("sku", RequiredText),
                ("skuCode", Text),
                ("num", RequiredLong),
                ("badNum", Long),
                ("thisTimeNum", Long),
            ],
        )),
    },
    Form {
        name: "return",
        members: &[
            ("erpNo", Number),
            ("warehouseCode", Text),
            ("status", Status),
            ("userId", Text),
        ],
        lines: Some(("skuList", &[("sku", RequiredText), ("num", RequiredLong), ("badNum", Long)])),
    },
    Form {
        name: "orderIntercept",
        members: &[("erpNo", Number), ("status", Status), ("userId", Text)],
        lines: None,
    },
    document("inventoryCount"),
    document("adjust"),
    document("move"),
    document("orderCreate"),
    document("orderCancel"),
    document("convert"),
];

/// The five pushes of Qianyi.
pub(super) const QIANYI: &[Form] = &[
    Form {
        name: "PUSH_ASN_ORDER",
        members: &[
            ("asnNumber", Number),
            ("customNumber", Text),
            ("trackNumber", Text),
            ("status", Text),
            ("finishedTime", LooseTime),
            ("snInfo", Any),
        ],
        lines: Some((
            "skuList",
            &[
                ("sku", Text),
                ("quantity", Long),
                ("goodNum", Long),
                ("damageNum", Long),
                ("batchNo", Text),
                ("mfgDate", Text),
                ("expDate", Text),
                ("originCountry", Text),
                ("barcode", Text),
                ("apiCustom", Text),
                ("skuNotes", Text),
            ],
        )),
    },
    Form {
        name: "PUSH_SALES_ORDER_SHIPPING_INFO",
        members: &[
            ("orderNumber", Number),
            ("onlineOrderNumber", Text),
            ("trackingNumber", Text),
            ("carrier", Text),
            ("shippingTime", LooseTime),
            ("status", Text),
        ],
        lines: None,
    },
    Form {
        name: "PUSH_RETURN_ORDER_INFO",
        members: &[
            ("returnNumber", Number),
            ("orderNumber", Text),
            ("onlineOrderNumber", Text),
            ("status", Text),
        ],
        lines: Some(("returnSkuList", &[("sku", Text), ("orderSkuId", Text), ("quantity", Long)])),
    },
    Form {
        name: "PUSH_TRACKING_PACKAGE",
        members: &[
            ("orderNumber", Number),
            ("onlineOrderId", Text),
            ("trackingNumber", Text),
            ("carrier", Text),
            ("status", Text),
        ],
        lines: None,
    },
    Form {
        name: "PUSH_ODO_ORDER",
        members: &[
            ("number", Number),
            ("customNumber", Text),
            ("trackNumber", Text),
            ("warehouseName", Text),
            ("type", Text),
            ("status", Text),
            ("shippingTime", LooseTime),
            ("carrier", Text),
        ],
        lines: Some((
            "skuList",
            &[
                ("sku", Text),
                ("title", Text),
                ("quantity", Long),
                ("unavailableQuantity", Long),
                ("apiCustom", Text),
            ],
        )),
    },
];

const NUMBERS: &[&str] = &[
    "7",
    "1.10",
    "12345678901234567890123",
    "1e400",
    "-0",
    "0",
    "-1.5E+3",
    "0.000000000000000000000000000001",
    "9223372036854775808",
    "-0.0",
];
const TEXTS: &[&str] = &[
    r#""A-1""#,
    r#""""#,
    r#"" ""#,
    r#""仓库（测试用）🚚""#,
    r#""\u4ed3\n\"\\\/\t\u0000""#,
    r#""\ud83d\ude9a""#,
    r#""null""#,
    r#""0012""#,
    r#""{\"a\":[1]}""#,
    "\"\u{7f}\u{2028}\u{feff}\"",
];
/// Texts that are none: they can only be kept as they came.
const HALVES: &[&str] = &[r#""\ud83d""#, r#""x\udc00y""#];
const LONGS: &[&str] = &[
    "3",
    "-1",
    "0",
    r#""5""#,
    r#""007""#,
    r#"" 12 ""#,
    "-0",
    "9223372036854775807",
    r#""+4""#,
    "26.0",
    "1.0E+2",
    r#""26.00""#,
];
const TIMES: &[&str] = &[
    r#""2025-02-07T08:07:56.908""#,
    r#""2025-02-07 08:07:56""#,
    r#""2025-02-07T08:07:56.9081""#,
    r#""2025-02-07T08:07:56.900000""#,
    r#""""#,
    "null",
    r#""1969-12-31T23:59:59.999""#,
];
const LOOSE_TIMES: &[&str] = &[
    "1753942939000",
    "1753942939",
    r#""1753942939000""#,
    r#""2025-08-01 10:13:55 123""#,
    r#""2025-08-01 10:13:55""#,
    r#""2025-08-01 10:13:55+08:00""#,
    r#""2025-08-01""#,
    r#""soon""#,
    "null",
    "true",
    "{}",
    "1e3",
    "-5",
];
const NAMES: &[&str] = &[
    "x",
    "y",
    "$.x",
    "$.$.x",
    "extra",
    "eventId",
    "account",
    "sentAt",
    "receivedAt",
    "finishedTimeLocal",
    "shippingTimeLocal",
    "中",
    r"\u0078",
    "",
    r"\ud83d\ude9a",
    "$serde_json::private::RawValue",
    "$serde_json::private::Number",
    "timestamp",
    "type",
    "data",
    "finishTime",
    "status",
    "sku",
    "skuList",
    "userId",
    "bizParam",
];

/// Makes JSON out of choices; when they run out it takes the simplest of everything.
pub(super) struct Maker(std::vec::IntoIter<u8>);

impl Maker {
    pub(super) fn new(choices: Vec<u8>) -> Self {
        Self(choices.into_iter())
    }

    pub(super) fn choose(&mut self, below: usize) -> usize {
        usize::from(self.0.next().unwrap_or_default()) % below
    }

    pub(super) fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.choose(of.len())]
    }

    fn blank(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\r\n    ", "\t"])
    }

    /// Any JSON value.
    pub(super) fn any(&mut self, depth: usize) -> String {
        match self.choose(if depth == 0 { 5 } else { 7 }) {
            0 | 1 => self.pick(NUMBERS).to_owned(),
            2 => self.pick(TEXTS).to_owned(),
            3 => self.pick(HALVES).to_owned(),
            4 => self.pick(&["null", "true", "false"]).to_owned(),
            5 => {
                let items: Vec<_> = (0..self.choose(3)).map(|_| self.any(depth - 1)).collect();
                format!("[{}]", items.join(self.pick(&[",", " , "])))
            }
            _ => {
                let members =
                    (0..self.choose(4)).map(|_| (self.pick(NAMES), self.any(depth - 1))).collect();
                self.object(members)
            }
        }
    }

    fn known(&mut self, kind: Kind) -> String {
        let from = match kind {
            Text => match self.choose(4) {
                0 => return "null".to_owned(),
                1 => NUMBERS,
                _ => TEXTS,
            },
            Number => &[r#""N-1""#, "7", r#""单号""#],
            RequiredText => match self.choose(3) {
                0 => NUMBERS,
                _ => TEXTS,
            },
            Long => match self.choose(3) {
                0 => return "null".to_owned(),
                _ => LONGS,
            },
            RequiredLong => LONGS,
            Time => TIMES,
            LooseTime => LOOSE_TIMES,
            Status => match self.choose(3) {
                0 => &["null", r#""null""#, r#""Shipped""#],
                _ => TEXTS,
            },
            Any => return self.any(2),
        };
        self.pick(from).to_owned()
    }

    /// An object of known members, and of others around them.
    fn level(
        &mut self,
        known: &[(&'static str, Kind)],
        lines: Option<(&'static str, String)>,
        spoilt: bool,
    ) -> String {
        let mut members: Vec<(&'static str, String)> = Vec::new();
        for (name, kind) in known {
            let needed = matches!(kind, RequiredLong | RequiredText | Number);
            if !needed && self.choose(4) == 0 {
                continue;
            }
            // Of a repeated member only the last has to be of its kind.
            if self.choose(6) == 1 {
                members.push((name, self.any(1)));
            }
            // A record can live without a member that is not needed, whatever its value is.
            let odd = if needed { spoilt && self.choose(8) == 1 } else { self.choose(5) == 1 };
            let value = if odd { self.any(2) } else { self.known(*kind) };
            members.push((name, value));
        }
        members.extend(lines);
        for _ in 0..self.choose(4) {
            let name = self.pick(NAMES);
            if known.iter().all(|(known, _)| *known != name) && name != "skuList" {
                let at = self.choose(members.len() + 1);
                members.insert(at, (name, self.any(3)));
            }
        }
        self.object(members)
    }

    fn object(&mut self, members: Vec<(&'static str, String)>) -> String {
        let mut text = String::from("{");
        for (i, (name, value)) in members.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let (a, b, c) = (self.blank(), self.blank(), self.blank());
            text.push_str(&format!("{comma}{a}\"{name}\"{b}:{c}{value}{a}"));
        }
        text + self.blank() + "}"
    }

    /// What a webhook of this type is about: `data`, or `bizParam`. A spoilt one may hold values
    /// of a wrong kind.
    pub(super) fn content(&mut self, form: &Form, spoilt: bool) -> String {
        let lines = form.lines.map(|(name, known)| {
            let lines: Vec<_> =
                (0..self.choose(4)).map(|_| self.level(known, None, spoilt)).collect();
            let empty = lines.is_empty() && self.choose(2) == 1;
            (name, if empty { "null".to_owned() } else { format!("[{}]", lines.join(" ,")) })
        });
        self.level(form.members, lines, spoilt)
    }

    /// Members to stand in the frame beside the vendor's own.
    pub(super) fn beside(&mut self, taken: &[&str]) -> Vec<(&'static str, String)> {
        let mut members = Vec::new();
        for _ in 0..self.choose(4) {
            let name = self.pick(NAMES);
            if !taken.contains(&name) {
                members.push((name, self.any(2)));
            }
        }
        members
    }

    /// A frame of members, in any order.
    pub(super) fn frame(&mut self, members: Vec<(&'static str, String)>) -> String {
        let mut shuffled: Vec<(&'static str, String)> = Vec::new();
        for member in members {
            // A repeated one must stay behind its earlier self: the last one counts.
            let first = shuffled.iter().rposition(|(name, _)| *name == member.0);
            let from = first.map_or(0, |at| at + 1);
            let at = from + self.choose(shuffled.len() + 1 - from);
            shuffled.insert(at, member);
        }
        self.blank().to_owned() + &self.object(shuffled) + self.blank()
    }
}
