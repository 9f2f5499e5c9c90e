//! Which frames the bridge drops, as rules of nft.

use super::POSTGRES;

/// Which frames the bridge drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All from and to the host.
    Host(usize),
    /// All that the host sends.
    From(usize),
    /// All that the host is sent.
    To(usize),
    /// Between two hosts, both ways.
    Between(usize, usize),
    /// Connections to PostgreSQL itself between two hosts, both ways; all else passes.
    Replication(usize, usize),
    /// Connections to that port, whether of the host or by the host, both ways; all else passes.
    Port(usize, u16),
    /// So many (1 to 99) of a hundred frames from and to the host, at random.
    Loss(usize, u8),
}

/// Whose frames of a connection a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Those that the host sends.
    Sent(usize),
    /// Those that it is sent.
    Received(usize),
}

impl Way {
    fn matcher(self) -> String {
        match self {
            Self::Sent(host) => format!("iifname p{host}"),
            Self::Received(host) => format!("oifname p{host}"),
        }
    }

    const fn both(host: usize) -> [Self; 2] {
        [Self::Sent(host), Self::Received(host)]
    }
}

impl Cut {
    /// What the rules match; each is to be followed by what happens to the frames.
    pub(super) fn rules(self) -> Vec<String> {
        match self {
            Self::Host(host) => Way::both(host).map(Way::matcher).to_vec(),
            Self::From(host) => vec![Way::Sent(host).matcher()],
            Self::To(host) => vec![Way::Received(host).matcher()],
            Self::Between(one, other) => between(one, other).to_vec(),
            Self::Replication(one, other) => between(one, other)
                .into_iter()
                .flat_map(|hosts| on_port(&hosts, POSTGRES))
                .collect(),
            Self::Port(host, port) => Way::both(host)
                .into_iter()
                .flat_map(|way| on_port(&way.matcher(), port))
                .collect(),
            Self::Loss(host, percent) => Way::both(host)
                .map(|way| format!("{} numgen random mod 100 < {percent}", way.matcher()))
                .to_vec(),
        }
    }
}

fn between(one: usize, other: usize) -> [String; 2] {
    [(one, other), (other, one)].map(|(from, to)| format!("iifname p{from} oifname p{to}"))
}

/// The side that listens sends from the port, the other one to it.
fn on_port(hosts: &str, port: u16) -> [String; 2] {
    ["sport", "dport"].map(|side| format!("{hosts} ip protocol tcp tcp {side} {port}"))
}
