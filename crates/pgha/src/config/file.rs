//! The configuration file: YAML, flattened to the keys of the table.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::ConfigError;
use super::keys::{KEYS, Key, Kind, closest, find};

/// Items of each key in the file, by the key's name.
pub(super) type FileValues = BTreeMap<&'static str, Vec<String>>;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<FileValues, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        key: "config",
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text)
}

/// Reads the text of a file that was found at `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<FileValues, ConfigError> {
    // `on` and `off` are words of PostgreSQL here, not YAML 1.1 booleans.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let syntax = |what: String| ConfigError::Syntax {
        path: path.to_owned(),
        what: what.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let root = serde_saphyr::from_str_with_options::<Node>(text, options)
        .map_err(|error| syntax(explain(error.without_snippet())))?;
    let mut values = FileValues::new();
    match root {
        Node::Null => {}
        Node::Map(entries) => collect(path, "", entries, &mut values)?,
        Node::Text(_) | Node::Fraction(_) | Node::List(_) => {
            return Err(syntax("the top level is not a mapping of keys".to_owned()));
        }
    }
    Ok(values)
}

/// The library's words, but for what only a programmer could follow.
fn explain(error: &serde_saphyr::Error) -> String {
    let serde_saphyr::Error::DuplicateMappingKey {
        key: Some(key),
        location,
    } = error
    else {
        return error.to_string();
    };
    let line = location.line();
    format!("key `{key}` stands there twice, the second time in line {line}; keep one")
}

fn collect(
    path: &Path,
    section: &str,
    entries: Vec<(String, Node)>,
    values: &mut FileValues,
) -> Result<(), ConfigError> {
    for (name, node) in entries {
        let name = if section.is_empty() {
            name
        } else {
            format!("{section}.{name}")
        };
        let is_section = KEYS.iter().any(|key| within(key, &name));
        match (find(&name), node) {
            // A key without a value reads as null: as good as absent.
            (Some(_), Node::Null) => {}
            (Some(key), node) => {
                let items = items(key, node)?;
                if values.insert(key.name, items).is_some() {
                    let what =
                        "it stands twice in the file, nested and with dots; keep one".to_owned();
                    return Err(ConfigError::Refused {
                        key: key.name,
                        what,
                    });
                }
            }
            (None, Node::Null) if is_section => {}
            (None, Node::Map(nested)) if is_section => collect(path, &name, nested, values)?,
            (None, _) => return Err(unknown(path, section, name)),
        }
    }
    Ok(())
}

fn within(key: &Key, section: &str) -> bool {
    key.name
        .strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn unknown(path: &Path, section: &str, name: String) -> ConfigError {
    let siblings: Vec<&str> = KEYS
        .iter()
        .filter(|key| section.is_empty() || within(key, section))
        .map(|key| key.name)
        .collect();
    // Somebody may have written the flag's or the variable's name.
    let as_flag = name.replace('_', "-");
    let hint = KEYS
        .iter()
        .find(|key| key.flag() == Some(as_flag.as_str()))
        .map(|key| key.name)
        .or_else(|| closest(&name, KEYS.iter().map(|key| key.name)));
    ConfigError::UnknownKey {
        path: path.to_owned(),
        key: name,
        hint: hint.map_or_else(String::new, |hint| format!(", did you mean `{hint}`?")),
        accepted: siblings.join(", "),
    }
}

fn items(key: &'static Key, node: Node) -> Result<Vec<String>, ConfigError> {
    let refused = |what: String| {
        Err(ConfigError::Refused {
            key: key.name,
            what,
        })
    };
    match (key.kind, node) {
        (Kind::Pairs, Node::Map(entries)) => pairs(key, "", entries),
        (Kind::Peers, Node::Map(entries)) => entries
            .into_iter()
            .map(|(name, node)| Ok(format!("{name}={}", text(key, node)?)))
            .collect(),
        (Kind::Pairs | Kind::Peers | Kind::Lines, Node::List(nodes)) => {
            nodes.into_iter().map(|node| text(key, node)).collect()
        }
        (Kind::Pairs, Node::Text(_) | Node::Fraction(_)) => refused(
            "expected a mapping such as `lease_ms: 1500`, or a list of `key=value`".to_owned(),
        ),
        (
            Kind::Text | Kind::Switch | Kind::Peers | Kind::Lines | Kind::Secret,
            Node::Text(text),
        ) => Ok(key.split(&text)),
        (_, Node::Fraction(number)) => refused(format!(
            "YAML reads {number} as a number and may change it; put it in quotes"
        )),
        (_, Node::Map(_)) => refused(format!("found a mapping, expected {}", key.value)),
        (_, Node::List(_)) => refused(format!("found a list, expected {}", key.value)),
        (_, Node::Null) => Ok(Vec::new()),
    }
}

/// Settings nested as `sync: {mode: async}` mean the same as `sync.mode: async`.
fn pairs(
    key: &'static Key,
    section: &str,
    entries: Vec<(String, Node)>,
) -> Result<Vec<String>, ConfigError> {
    let mut items = Vec::new();
    for (name, node) in entries {
        let name = if section.is_empty() {
            name
        } else {
            format!("{section}.{name}")
        };
        match node {
            Node::Map(nested) => items.extend(pairs(key, &name, nested)?),
            // A number with a fraction keeps its value in PostgreSQL, however it is written.
            Node::Fraction(number) => items.push(format!("{name}={number}")),
            Node::Text(value) => items.push(format!("{name}={value}")),
            Node::Null | Node::List(_) => {
                let what = format!("`{name}` needs one value, for example `{name}: 1`");
                return Err(ConfigError::Refused {
                    key: key.name,
                    what,
                });
            }
        }
    }
    Ok(items)
}

fn text(key: &'static Key, node: Node) -> Result<String, ConfigError> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Null | Node::Fraction(_) | Node::Map(_) | Node::List(_) => {
            let what = format!("an item is not plain text; expected {}", key.value);
            Err(ConfigError::Refused {
                key: key.name,
                what,
            })
        }
    }
}

/// A YAML document as far as a configuration uses it.
#[derive(Debug, PartialEq)]
enum Node {
    Null,
    Text(String),
    Fraction(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Fraction(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}
