//! What follows from a decision for others: the report, the routes of the ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pgha_core::decide::{Decision, Heard};
use pgha_core::report::{MemberReport, MemberState, Role};
use pgha_core::{MemberName, Phase, Reason};
use pgha_proxy::{ReadOnlyAddress, ReadOnlyTarget, Route, Routes};
use pgha_raft::StateView;

use super::{Agent, Published};

/// Who has not been heard of for so long serves no reads for others.
const HEARD_MAX: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn publish(
        &self,
        report: Option<MemberReport>,
        decision: &Decision,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
    ) {
        let report = report.map(|report| MemberReport {
            applied_index: view.applied_index(),
            store_sequence: self.parts.raft.store_sequence(),
            ..report
        });
        self.set_routes(view, peers, report.as_ref());
        self.publish.send_if_modified(|published| {
            let news = published.report != report || published.why != decision.why;
            if news {
                let sequence = published.sequence + 1;
                let why = decision.why.clone();
                *published = Arc::new(Published {
                    report,
                    why,
                    sequence,
                    done: published.done,
                });
            }
            news
        });
    }

    fn set_routes(
        &self,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
        own: Option<&MemberReport>,
    ) {
        let settings = &view.state.settings;
        let routes = Routes {
            epoch: view.state.epoch,
            read_write: self.read_write(view, peers),
            read_only: self.read_only(view, peers, own),
            hold_timeout: Duration::from_millis(settings.proxy_hold_ms),
            fallback_to_primary: settings.read_fallback_to_primary,
        };
        let serves = own.is_some_and(|own| own.role == Role::Replica && readable(own));
        if let Err(error) = self.parts.admission.set(view.state.epoch, serves) {
            tracing::debug!(%error, "reads");
        }
        self.parts.routes.send_if_modified(|current| {
            let news = **current != routes;
            if news {
                *current = Arc::new(routes);
            }
            news
        });
    }

    fn read_write(&self, view: &StateView, peers: &BTreeMap<MemberName, Heard>) -> Route {
        if let Some(epoch) = self.local.gate_open
            && epoch == view.state.epoch
        {
            return Route::Local {
                postgres: self.dial(),
            };
        }
        let Phase::Primary(record) = &view.state.phase else {
            return Route::Hold {
                why: "no primary: one is being chosen".to_owned(),
            };
        };
        let says_open = peers
            .get(&record.node)
            .is_some_and(|heard| heard.report.gate_open == Some(record.epoch));
        let member = view.state.members.get(&record.node);
        match member {
            Some(member) if record.node != *self.site_name() && (record.opened || says_open) => {
                Route::Remote {
                    member: record.node.clone(),
                    address: member.addresses.proxy_read_write.clone(),
                    epoch: record.epoch,
                }
            }
            _ => Route::Hold {
                why: format!("{} is becoming primary", record.node),
            },
        }
    }

    fn read_only(
        &self,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
        own: Option<&MemberReport>,
    ) -> Vec<ReadOnlyTarget> {
        let now = pgha_guard::clock::now();
        let fresh = |heard: &&Heard| {
            heard.refused_at.is_none() && now < heard.at + HEARD_MAX && readable(&heard.report)
        };
        let primary = peers.values().map(|heard| &heard.report).chain(own);
        let end = primary
            .filter(|report| report.role == Role::Primary)
            .filter_map(|report| report.received)
            .max();
        let near = |report: &MemberReport| match (end, report.replayed) {
            (Some(end), Some(replayed)) => {
                replayed.bytes_behind(end) <= view.state.settings.read_max_lag
            }
            _ => true,
        };
        let mut targets = Vec::new();
        if let Some(own) = own.filter(|own| readable(own) && near(own)) {
            targets.push(ReadOnlyTarget {
                member: own.name.clone(),
                address: ReadOnlyAddress::Local {
                    postgres: self.dial(),
                },
                weight: 1,
            });
        }
        for heard in peers
            .values()
            .filter(fresh)
            .filter(|heard| near(&heard.report))
        {
            targets.push(ReadOnlyTarget {
                member: heard.report.name.clone(),
                address: ReadOnlyAddress::Remote {
                    address: heard.report.addresses.proxy_read_only.clone(),
                },
                weight: 1,
            });
        }
        targets
    }

    /// Where this host's own PostgreSQL is dialled.
    fn dial(&self) -> SocketAddr {
        let listen = self.parts.config.postgres.listen;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        SocketAddr::new(ip, listen.port())
    }
}

/// A replica that may be read: attached, or kept from following only because no quorum answers.
fn readable(report: &MemberReport) -> bool {
    report.role == Role::Replica
        && match report.state {
            MemberState::Streaming => true,
            MemberState::Fenced => report.reason == Some(Reason::NoQuorum),
            MemberState::Running
            | MemberState::Starting
            | MemberState::Cloning
            | MemberState::Rewinding
            | MemberState::Promoting
            | MemberState::Stopping
            | MemberState::Stopped
            | MemberState::Failed
            | MemberState::Unreachable => false,
        }
}
