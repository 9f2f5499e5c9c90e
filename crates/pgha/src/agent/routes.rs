//! The routes of the ports: where writes go, who may be read.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pgha_core::decide::Heard;
use pgha_core::report::{MemberReport, MemberState, Role};
use pgha_core::{Member, MemberKind, MemberName, Phase, Reason};
use pgha_proxy::{ReadOnlyAddress, ReadOnlyTarget, Route, Routes};
use pgha_raft::StateView;

use super::Agent;
use crate::lag::end_of_primary;

/// Who has not been heard of for so long serves no reads for others.
const HEARD_MAX: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn set_routes(
        &self,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
        own: Option<&MemberReport>,
    ) {
        let settings = &view.state.settings;
        let (read_only, unfit_to_read) = self.replicas(view, peers, own);
        let routes = Routes {
            epoch: view.state.epoch,
            read_write: self.read_write(view, peers),
            read_only,
            unfit_to_read,
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
        let quorum = self.role.borrow().quorum_fresh;
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
            _ if !quorum => Route::Hold {
                why: Reason::NoQuorum.sentence().to_owned(),
            },
            _ => Route::Hold {
                why: format!("{} is becoming primary", record.node),
            },
        }
    }

    /// Who may serve new reads, and the other members with data that are not known to be primary.
    fn replicas(
        &self,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
        own: Option<&MemberReport>,
    ) -> (Vec<ReadOnlyTarget>, Vec<ReadOnlyTarget>) {
        let now = pgha_guard::clock::now();
        let fresh = |heard: &&Heard| heard.refused_at.is_none() && now < heard.at + HEARD_MAX;
        let reports = peers.values().map(|heard| &heard.report).chain(own);
        let end = end_of_primary(&view.state, reports);
        let near = |report: &MemberReport| match (end, report.replayed) {
            (Some(end), Some(replayed)) => {
                replayed.bytes_behind(end) <= view.state.settings.read_max_lag
            }
            _ => true,
        };
        let mut fit = Vec::new();
        let mut unfit = Vec::new();
        let with_data = |(_, member): &(_, &Member)| member.kind == MemberKind::Data;
        for (name, member) in view.state.members.iter().filter(with_data) {
            let is_own = own.is_some_and(|own| own.name == *name);
            let heard = peers.get(name).filter(fresh).map(|heard| &heard.report);
            let report = if is_own { own } else { heard };
            if report.is_some_and(|report| report.role == Role::Primary) {
                continue;
            }
            let address = if is_own {
                ReadOnlyAddress::Local {
                    postgres: self.dial(),
                }
            } else {
                let heard = report.map(|report| &report.addresses);
                let address = heard.unwrap_or(&member.addresses).proxy_read_only.clone();
                ReadOnlyAddress::Remote { address }
            };
            let target = ReadOnlyTarget {
                member: name.clone(),
                address,
                weight: 1,
            };
            if report.is_some_and(|report| readable(report) && near(report)) {
                fit.push(target);
            } else {
                unfit.push(target);
            }
        }
        (fit, unfit)
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
