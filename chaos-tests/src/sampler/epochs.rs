//! Which epoch a write belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Open, Seen};

/// Takes from each write the epoch that its member's gate was not open for afterwards as well: in
/// between another one may have begun.
///
/// Through the port of another member a write reaches the primary's gate, so the member that counts is
/// the one whose server took it.
pub(super) fn confirm(seen: &mut Seen, members: &BTreeMap<String, String>) {
    let mut by_member: BTreeMap<&str, Vec<&Open>> = BTreeMap::new();
    for open in &seen.open {
        by_member.entry(&open.member).or_default().push(open);
    }
    for write in &mut seen.writes {
        let member = members.get(&write.server.address);
        let looks = member.and_then(|name| by_member.get(name.as_str()));
        let after = looks.and_then(|looks| next(looks, write.ended));
        write.epoch = write.epoch.filter(|epoch| after == Some(*epoch));
    }
}

/// What the first look from then on told; one member's looks follow each other.
fn next(looks: &[&Open], from: Duration) -> Option<u64> {
    let at = looks.partition_point(|open| open.sent < from);
    looks.get(at).map(|open| open.epoch)
}

#[cfg(test)]
mod tests {
    use super::super::{Server, Via, Write};
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn an_epoch_is_kept_where_the_gate_of_the_server_had_it_before_and_after() {
        let write = |address: &str, ended, epoch| Write {
            via: Via::Port("n2".to_owned()),
            sent: ms(ended - 1),
            ended: ms(ended),
            server: Server {
                address: address.to_owned(),
                started_us: 1,
                timeline: 1,
            },
            epoch,
        };
        let open = |member: &str, epoch, sent| Open {
            member: member.to_owned(),
            epoch,
            sent: ms(sent),
            ended: ms(sent + 1),
        };
        let mut seen = Seen {
            writes: vec![
                write("one", 10, Some(4)),
                write("one", 30, Some(4)),
                write("one", 31, None),
                write("one", 90, Some(5)),
                write("two", 10, Some(4)),
                write("nobody's", 10, Some(4)),
            ],
            open: vec![open("n1", 4, 20), open("n2", 6, 20), open("n1", 5, 50)],
            ..Seen::default()
        };
        let members = [("one", "n1"), ("two", "n2")];
        let members = members.map(|(at, name)| (at.to_owned(), name.to_owned()));
        confirm(&mut seen, &members.into());
        let epochs: Vec<Option<u64>> = seen.writes.iter().map(|write| write.epoch).collect();
        assert_eq!(epochs, [Some(4), None, None, None, None, None]);
    }
}
