//! The environment as the layer above the file: `WMS_CONNECTOR__SECTION__KEY`.
//!
//! A variable's name cannot hold `-` or `.`, so both are written `_`. Which name is meant is looked
//! up among the names that exist; where two fold to one, the variable is refused, never guessed.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    rc::Rc,
};

use super::{
    section::nearest,
    topics,
    tree::{Node, Origin, Table, Value},
};

/// With what every variable of ours begins.
pub(super) const PREFIX: &str = "WMS_CONNECTOR__";

/// A name as the environment has it: lower case, `-` and `.` as `_`.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

/// Lays our variables over the tree. Problems are whole lines.
pub(super) fn lay_over(
    tree: &mut Node,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) {
    let ours: BTreeMap<&str, String> = environment
        .keys()
        .filter_map(|name| Some((name.as_str(), name.strip_prefix(PREFIX)?.to_lowercase())))
        .collect();
    let names = Names {
        variables: ours.values().map(String::as_str).collect(),
        accounts: folded_accounts(table(tree, &["accounts"])),
    };
    let mut seen: BTreeMap<Vec<String>, (Vec<String>, &str)> = BTreeMap::new();
    for (variable, name) in &ours {
        match path_of(tree, name, &names) {
            Ok(path) => match seen.entry(key_of(&path).to_vec()) {
                Entry::Occupied(set) => problems.push(format!(
                    "{variable}: sets the same key as {}; take one of the two away",
                    set.get().1
                )),
                Entry::Vacant(free) => {
                    free.insert((path, variable));
                }
            },
            Err(problem) => problems.push(format!("{variable}: {problem}")),
        }
    }
    for (path, variable) in seen.into_values() {
        if let Some(value) = environment.get(variable) {
            insert(tree, &path, &Rc::from(variable), value);
        }
    }
}

/// The names that every variable is looked up in: a thousand accounts may have a variable each.
struct Names<'a> {
    /// Of all variables, without the prefix, in lower case.
    variables: BTreeSet<&'a str>,
    /// The accounts of the file by their folded names.
    accounts: BTreeMap<String, Vec<String>>,
}

fn folded_accounts(accounts: Option<&Table>) -> BTreeMap<String, Vec<String>> {
    let mut folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in accounts.into_iter().flat_map(Table::keys) {
        folded.entry(fold(name)).or_default().push(name.clone());
    }
    folded
}

/// The key that a path sets: `x`, `x.file` and `x.env` are one.
fn key_of(path: &[String]) -> &[String] {
    match path {
        [key @ .., source] if source == "file" || source == "env" => key,
        whole => whole,
    }
}

/// Which key a variable's name (without the prefix, in lower case) means.
fn path_of(tree: &Node, name: &str, names: &Names<'_>) -> Result<Vec<String>, String> {
    let levels: Vec<&str> = name.split("__").collect();
    if levels.contains(&"") {
        return Err(format!(
            "has an empty name between its underscores; write {PREFIX}SECTION__KEY"
        ));
    }
    let owned = |levels: &[&str]| levels.iter().map(|level| (*level).to_owned()).collect();
    match levels.as_slice() {
        ["accounts", rest @ ..] if !rest.is_empty() => account_path(rest, names),
        ["kafka", map @ ("properties" | "producer" | "consumer"), property, rest @ ..] => {
            let existing = table(tree, &["kafka", map]).into_iter().flat_map(Table::keys);
            let property = meant(property, existing.map(String::as_str))?
                .unwrap_or_else(|| property.replace('_', "."));
            let mut path = vec!["kafka".to_owned(), (*map).to_owned(), property];
            path.extend::<Vec<String>>(owned(rest));
            Ok(path)
        }
        ["topics", "names", topic @ ..] if !topic.is_empty() => {
            let topic = topic.join("__");
            match meant(&topic, topics::default_names().iter().map(String::as_str))? {
                Some(topic) => Ok(vec!["topics".to_owned(), "names".to_owned(), topic]),
                None => {
                    let names: Vec<String> =
                        topics::default_names().iter().map(|name| fold(name)).collect();
                    let near = nearest(&topic, names.iter().map(String::as_str));
                    let near = near.unwrap_or_default().to_uppercase();
                    Err(format!(
                        "names no topic; the nearest known name is {PREFIX}TOPICS__NAMES__{near}"
                    ))
                }
            }
        }
        levels => Ok(owned(levels)),
    }
}

/// The path of a key of an account. An account that the file does not have is made when its
/// vendor is given too; else a misspelt name would silently become an account.
fn account_path(rest: &[&str], names: &Names<'_>) -> Result<Vec<String>, String> {
    let whole = rest.join("__");
    let known = || names.accounts.values().flatten();
    // A name may hold `__` itself: each beginning that ends before one may be an account's.
    let pairs = whole.as_bytes().windows(2).enumerate().filter(|(_, pair)| pair == b"__");
    let beginnings = pairs.filter_map(|(at, _)| names.accounts.get(whole.get(..at)?));
    let mut fitting = beginnings.flatten();
    let account = match (fitting.next(), fitting.next()) {
        (Some(account), None) => account.clone(),
        (Some(one), Some(two)) => {
            return Err(format!(
                "could mean the account `{one}` and the account `{two}`; rename one of them"
            ));
        }
        (None, _) => {
            let [name, ..] = rest else { return Err("names no account".to_owned()) };
            let vendor = format!("accounts__{name}__vendor");
            if !names.variables.contains(vendor.as_str()) {
                let near = match nearest(&name.replace('_', "-"), known().map(String::as_str)) {
                    Some(near) => format!("the nearest is `{near}`"),
                    None => "it has none".to_owned(),
                };
                return Err(format!(
                    "names no account of the file; {near}. To make an account here, set also {}{}",
                    PREFIX,
                    vendor.to_uppercase()
                ));
            }
            name.replace('_', "-")
        }
    };
    let key = whole.get(fold(&account).len() + 2..).unwrap_or_default();
    if key.is_empty() {
        return Err(format!(
            "names no key of the account `{account}`; write {PREFIX}ACCOUNTS__NAME__KEY"
        ));
    }
    let mut path = vec!["accounts".to_owned(), account];
    path.extend(key.split("__").map(str::to_owned));
    Ok(path)
}

/// The one of `names` that folds to `folded`.
fn meant<'a>(folded: &str, names: impl Iterator<Item = &'a str>) -> Result<Option<String>, String> {
    let fitting: BTreeSet<&str> = names.filter(|name| fold(name) == folded).collect();
    let mut fitting = fitting.into_iter();
    match (fitting.next(), fitting.next()) {
        (Some(one), Some(two)) => {
            Err(format!("could mean {one:?} and {two:?}; take one of them away"))
        }
        (one, _) => Ok(one.map(str::to_owned)),
    }
}

fn table<'a>(tree: &'a Node, path: &[&str]) -> Option<&'a Table> {
    let Value::Table(table) = &tree.value else { return None };
    match path {
        [] => Some(table),
        [key, rest @ ..] => self::table(table.get(*key)?, rest),
    }
}

/// Sets one value. What a table lies in the way of becomes that table: the one who reads the key
/// then says what it takes.
fn insert(node: &mut Node, path: &[String], variable: &Rc<str>, value: &str) {
    let origin = Origin::Variable(Rc::clone(variable));
    let [key, rest @ ..] = path else {
        *node = Node { value: Value::Variable(value.to_owned()), origin };
        return;
    };
    let is_source = |key: &str| key == "file" || key == "env";
    match &mut node.value {
        // `{ file = … }` of the file gives way to `…__ENV` as a whole: the two are one value.
        Value::Table(table) if rest.is_empty() && is_source(key) => {
            if table.keys().all(|key| is_source(key)) {
                table.clear();
                node.origin = origin.clone();
            }
        }
        Value::Table(_) => {}
        _ => *node = Node { value: Value::Table(Table::new()), origin: origin.clone() },
    }
    if let Value::Table(table) = &mut node.value {
        let empty = || Node { value: Value::Table(Table::new()), origin };
        insert(table.entry(key.clone()).or_insert_with(empty), rest, variable, value);
    }
}
