//! The peer list: who forms the cluster.

use std::collections::BTreeMap;
use std::fmt;

use pgha_core::MemberName;

use super::address::HostPort;
use super::names::{parse_member, slot_form};

/// More voters only make each commit slower.
const PEERS_MAX: usize = 7;
const EXPECTED: &str =
    "expected NAME=HOST:PORT items, for example n1=10.0.0.1:7400,n2=10.0.0.2:7400";

/// Members of a new cluster with their gRPC addresses. A set: equal in whatever order it was written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct PeerList(BTreeMap<MemberName, HostPort>);

impl PeerList {
    pub(super) fn parse(items: &[String]) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for item in items {
            let (name, address) = parse_item(item)?;
            refuse_twins(&peers, &name, &address)?;
            peers.insert(name, address);
        }
        if peers.len() > PEERS_MAX {
            let found = peers.len();
            return Err(format!(
                "{found} members were found, at most {PEERS_MAX} are accepted"
            ));
        }
        if peers.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        Ok(Self(peers))
    }

    /// How many members it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no list was given: a cluster of one.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The address of that member.
    pub(crate) fn address(&self, name: &MemberName) -> Option<&HostPort> {
        self.0.get(name)
    }

    /// All members by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&MemberName, &HostPort)> {
        self.0.iter()
    }
}

fn parse_item(item: &str) -> Result<(MemberName, HostPort), String> {
    let (name, address) = item.split_once('=').ok_or_else(|| EXPECTED.to_owned())?;
    let in_item = |what: String| format!("in {item:?} {what}");
    let name = parse_member(name.trim()).map_err(in_item)?;
    let address = address.trim().parse().map_err(in_item)?;
    Ok((name, address))
}

fn refuse_twins(
    peers: &BTreeMap<MemberName, HostPort>,
    name: &MemberName,
    address: &HostPort,
) -> Result<(), String> {
    for (other_name, other_address) in peers {
        if other_name == name {
            return Err(format!(
                "member {name} is listed twice; give each member one entry"
            ));
        }
        if other_address == address {
            return Err(format!(
                "{other_name} and {name} have the same address {address}"
            ));
        }
        // They would share one replication slot.
        if slot_form(other_name) == slot_form(name) {
            let slot = slot_form(name);
            return Err(format!(
                "{other_name} and {name} are both {slot} as a replication slot; rename one"
            ));
        }
    }
    Ok(())
}

impl fmt::Display for PeerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, address)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{name}={address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PeerList, String> {
        PeerList::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn order_and_case_of_hosts_do_not_matter() {
        let one = parse("n1=a:1,n2=B:2").expect("valid");
        let other = parse(" n2 = b:2 , n1=A:1").expect("valid");
        assert_eq!(one, other);
        assert_eq!(one.to_string(), "n1=a:1,n2=b:2");
    }

    #[test]
    fn refuses_with_the_item_that_is_wrong() {
        for (text, word) in [
            ("n1", "NAME=HOST:PORT"),
            ("n1=a:1,n2=b", "\"n2=b\""),
            ("n1=a:1,n 2=b:1", "\"n 2=b:1\""),
            ("n1=a:1,n1=b:1", "listed twice"),
            ("n1=a:1,n2=A:1", "same address"),
            ("n-1=a:1,n_1=b:1", "replication slot"),
            (
                "a=a:1,b=a:2,c=a:3,d=a:4,e=a:5,f=a:6,g=a:7,h=a:8",
                "at most 7",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
