//! What holds for every command, not only for those that somebody thought of.

use proptest::prelude::*;

use super::{
    super::{
        super::{
            encode::Prefix,
            produce::encode_command,
            scalar,
            shape::{Field, Type, TypeId},
        },
        *,
    },
    ORDER, read,
};

/// Makes a command of the JSON form, guided by the schema; the bytes are the choices.
struct Maker<'a> {
    shape: &'a Shape,
    choices: std::iter::Copied<std::slice::Iter<'a, u8>>,
}

impl Maker<'_> {
    fn choose(&mut self, below: u8) -> u8 {
        self.choices.next().unwrap_or_default() % below
    }

    fn word(&mut self) -> String {
        let words = ["", "A-1", "极风", "\"\\\n", "🚚", "null", "0012"];
        words[usize::from(self.choose(7))].to_owned()
    }

    fn free(&mut self) -> Value {
        let texts = ["null", "1.10", "\"t\"", "{\"a\":[1e400,{}]}", "123456789012345678901", "[]"];
        serde_json::from_str(texts[usize::from(self.choose(6))]).unwrap()
    }

    fn value(&mut self, id: TypeId, field: Option<&Field>) -> Value {
        let shape = self.shape;
        match shape.get(id) {
            Type::Record(record) => Value::Object(
                record
                    .fields
                    .iter()
                    .filter_map(|field| {
                        let left_out = field.default.is_some() && self.choose(3) == 0;
                        (!left_out)
                            .then(|| (field.name.clone(), self.value(field.type_id, Some(field))))
                    })
                    .collect(),
            ),
            Type::Union(variants) => match self.choose(3) {
                0 => Value::Null,
                _ => self.value(variants[1], field),
            },
            Type::Array(items) => (0..self.choose(3)).map(|_| self.value(*items, None)).collect(),
            Type::Map(_) => (0..self.choose(3)).map(|n| (format!("m{n}"), self.free())).collect(),
            Type::String if field.is_some_and(|field| field.name == "body") => self.free(),
            Type::String => Value::from(self.word()),
            Type::Boolean => Value::Bool(self.choose(2) == 1),
            Type::Int => Value::from(i32::from(self.choose(255)) - 100),
            Type::Long => Value::from(i64::from(self.choose(255)) + 1 + (i64::MAX >> 1)),
            Type::Decimal { .. } => {
                let texts = ["0", "-1.5", "12345678901234.5678", "1e3", "0.0001", "1.10"];
                let text = texts[usize::from(self.choose(6))];
                if self.choose(2) == 0 {
                    Value::from(text)
                } else {
                    serde_json::from_str(text).unwrap()
                }
            }
            Type::Date => {
                let days = i32::from(self.choose(255)) * 100 - 5_000;
                Value::from(scalar::epoch_date(days).unwrap().to_string())
            }
            Type::Timestamp(_) => match self.choose(2) {
                0 => Value::from("2026-01-31T08:00:00.123+08:00"),
                _ => Value::from(i64::from(self.choose(255)) * 10_000_000_000 - 5_000_000),
            },
            Type::Bytes => Value::from(["", "AAE=", "////"][usize::from(self.choose(3))]),
            Type::Enum { symbols, .. } => {
                let index = usize::from(self.choose(255)) % symbols.len();
                Value::from(symbols[index].as_str())
            }
            other => panic!("commands have no {}", other.describe()),
        }
    }
}

fn make(operation: Operation, choices: &[u8]) -> String {
    let shape = &schemas::of_record(operation.record()).unwrap().shape;
    let mut maker = Maker { shape, choices: choices.iter().copied() };
    maker.value(shape.root(), None).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn json_and_avro_give_the_same_command(
        choices in proptest::collection::vec(any::<u8>(), 0..300),
        extra in any::<u8>(),
    ) {
        for operation in Operation::ALL {
            let json = make(operation, &choices);
            let from_json = read(Some(operation), None, json.as_bytes()).unwrap();
            let avro = encode_command(operation, &json, Prefix::SingleObject).unwrap();
            let from_avro = read(None, None, &avro).unwrap();
            prop_assert_eq!(&from_avro.command, &from_json.command);
            prop_assert!(from_json.json && !from_avro.json);

            // Cut anywhere, or followed by anything, it is refused.
            for end in 0..avro.len() {
                let cut = read(Some(operation), None, &avro[..end]);
                prop_assert!(matches!(cut, Err(ReadError::Unreadable { .. })), "{} {:?}", end, cut);
            }
            let longer = [&avro[..], &[extra]].concat();
            let longer = read(Some(operation), None, &longer);
            prop_assert!(matches!(longer, Err(ReadError::Unreadable { .. })), "{:?}", longer);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        operation in 0_usize..5,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        framed in any::<bool>(),
    ) {
        let operation = Operation::ALL[operation];
        if framed {
            let known = schemas::of_record(operation.record()).unwrap();
            bytes = [Prefix::SingleObject.bytes(known), bytes].concat();
        }
        let result = read(Some(operation), None, &bytes);
        prop_assert!(result.is_err() || !bytes.is_empty());
    }

    #[test]
    fn no_changed_byte_of_json_makes_it_panic(place in 0..ORDER.len(), byte in any::<u8>()) {
        let mut bytes = ORDER.as_bytes().to_vec();
        bytes[place] = byte;
        let result = read(Some(Operation::CreateOrder), None, &bytes);
        prop_assert!(result.is_ok() || result.is_err_and(|error| !error.to_string().is_empty()));
    }
}
