//! After everything is mended: the cluster becomes whole in time, then nobody does anything.

use std::time::Duration;

use pgha_core::invariant;
use pgha_core::journal::Cause;
use pgha_core::lineage::Position;
use pgha_core::report::MemberState;
use pgha_core::state::Fitness;
use pgha_core::{Command, MemberKind, Reason, Settings};

use crate::check::Failure;
use crate::node::Node;
use crate::time::{MS, Nanos, SECOND};
use crate::world::World;

/// After everything is mended the cluster has this long to become whole.
/// A promotion that hangs (30 s) and a replica that finds its WAL gone (30 s) are within it.
const RECOVERY_MAX: Nanos = 90 * SECOND;
/// Then this long until nothing moves any more.
const SETTLING: Nanos = 8 * SECOND;
/// Then nothing may move for this long.
const QUIET: Nanos = 10 * SECOND;
/// What only an operator may end, he ends after this long.
const OPERATOR_PATIENCE: Nanos = 10 * SECOND;

impl World {
    /// Once the cluster is whole and settled nobody does anything.
    pub fn check_quiet(&mut self, node: usize, action: &str) {
        if let Some(since) = self.whole_since
            && self.now > since + SETTLING
        {
            let member = self.nodes[node].name.to_string();
            let action = action.to_owned();
            self.fail(Failure::NotQuiet { member, action });
        }
    }

    /// After the mending: is the cluster whole, and if not, how long may it take?
    pub fn watch_recovery(&mut self) {
        let Some(healed) = self.healed else { return };
        match self.incomplete() {
            None => {
                if self.whole_since.is_none() {
                    self.whole_since = Some(self.now);
                    let ms = (self.now - healed) / MS;
                    self.trace(None, || format!("whole after {ms} ms"));
                }
            }
            Some(what) => {
                let settled = self
                    .whole_since
                    .is_some_and(|since| self.now > since + SETTLING);
                if !settled {
                    self.whole_since = None;
                }
                let overdue = self.now > healed + RECOVERY_MAX;
                if overdue && self.only_promoted_by_hand() {
                    self.count("only data left that was promoted by hand");
                    self.hopeless = true;
                    return;
                }
                if settled {
                    let seconds = (self.now - healed) / SECOND;
                    return self.fail(Failure::NotWhole { seconds, what });
                }
                let [waited, most] = [self.now - healed, RECOVERY_MAX].map(Duration::from_nanos);
                self.check(invariant::no_endless_wait(Some(&what), waited, most));
                if overdue {
                    return;
                }
                self.operator_helps(healed);
            }
        }
    }

    /// Whether the run has come to its end.
    pub fn is_over(&self) -> bool {
        let quiet = self
            .whole_since
            .is_some_and(|since| self.now > since + SETTLING + QUIET);
        quiet || self.hopeless
    }

    /// All other data is gone or followed it, and what is left cannot prove what it is: an operator has to
    /// look at it.
    fn only_promoted_by_hand(&self) -> bool {
        let data = |n: &Node| n.disk.data.clone().filter(|_| !n.disk.marker);
        let left = self.nodes.iter().filter_map(|n| Some((n, data(n)?)));
        let mut left = left.peekable();
        let somebody_was = self.nodes.iter().any(|n| n.promoted_by_hand);
        let was_or_followed = |n: &Node, position: &Position| {
            let given_to_nobody = self.truth.lineage.path_to(position.timeline).is_none();
            n.promoted_by_hand || (somebody_was && given_to_nobody)
        };
        // Copied since from somebody who could prove it, it is as good as any.
        let is_unfit = |n: &Node, position: &Position| {
            let fitness = self.truth.fitness(&n.name, position);
            matches!(fitness, Fitness::Unfit { .. }) && was_or_followed(n, position)
        };
        left.peek().is_some() && left.all(|(n, data)| is_unfit(n, &data.position()))
    }

    pub(crate) fn incomplete(&self) -> Option<String> {
        let Some(record) = self.truth.primary() else {
            return Some(format!(
                "no primary: {:?} {}",
                self.truth.phase,
                self.states()
            ));
        };
        if !record.opened {
            return Some(format!("{} has not opened: {}", record.node, self.states()));
        }
        let primary = self.index_of(&record.node);
        let data = primary.and_then(|primary| self.nodes[primary].disk.data.as_ref());
        let (Some(primary), Some(data)) = (primary, data) else {
            return Some(format!("the primary {} has no data", record.node));
        };
        if self.truth.handover.is_some() {
            return Some("a handover is under way".to_owned());
        }
        if let Some(missing) = self.members_missing() {
            return Some(missing);
        }
        let end = data.end();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(sidecar) = &node.sidecar else {
                return Some(format!("{} does not run", node.name));
            };
            let good = match node.kind {
                MemberKind::Witness => true,
                MemberKind::Data if index == primary => {
                    sidecar.gate.may_pass(record.epoch, node.now(self.now))
                }
                MemberKind::Data => {
                    sidecar.why.state == MemberState::Streaming
                        && node
                            .disk
                            .data
                            .as_ref()
                            .is_some_and(|data| data.end().bytes_behind(end) < 64 << 10)
                }
            };
            if !good {
                return Some(self.states());
            }
        }
        None
    }

    fn states(&self) -> String {
        let of = |node: &Node| {
            node.sidecar.as_ref().map_or_else(
                || format!("{}: down", node.name),
                |s| {
                    let why = &s.why;
                    format!(
                        "{}: {:?} {:?} {:?} {:?}",
                        node.name, why.state, why.reason, why.detail, why.cluster
                    )
                },
            )
        };
        self.nodes.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// Whether something happened in this run that only an operator may answer for: data or stores that are
    /// gone, a history that nobody assigned, a limit that leaves no room.
    fn may_need_operator(&self) -> bool {
        let damaged = |n: &Node| n.destroyed_at.is_some() || n.promoted_by_hand;
        let destroyed = self.nodes.iter().any(damaged);
        let counted = |what: &str| self.counts.contains_key(what);
        let usual = Settings::default().max_lag_on_failover;
        destroyed
            || counted("store wiped")
            || counted("quorum recovered")
            || self.truth.settings.max_lag_on_failover < usual
    }

    /// A loss beyond the limit, and a target that is not there, are an operator's to accept.
    fn operator_helps(&mut self, healed: Nanos) {
        if self.now < healed + OPERATOR_PATIENCE * u64::from(self.operator_helped + 1) {
            return;
        }
        let Some(leader) = self.raft.leader else {
            return;
        };
        let stuck = self.nodes[leader].sidecar.as_ref().and_then(|s| {
            let (reason, text) = s.why.cluster.as_ref()?;
            let his = matches!(reason, Reason::LagTooHigh | Reason::NoCandidate);
            his.then_some(text.clone())
        });
        // As the sentence says; of data that has left the line there may be no other.
        let advised = |text: &str, name: &str| {
            text.contains(&format!("--to {name} "))
                || text.contains(&format!("{name}: it left the cluster's line"))
        };
        let target = stuck.and_then(|text| {
            let mut names = self.nodes.iter().map(|n| n.name.clone());
            names.find(|name| advised(&text, name.as_str()))
        });
        if let Some(target) = target {
            self.operator_helped += 1;
            self.count("operator accepts loss");
            if !self.may_need_operator() {
                self.count("operator accepts loss where nothing was destroyed");
            }
            let cause = Cause::OperatorFailover {
                target,
                allow_data_loss: true,
            };
            let command = Command::Revoke(pgha_core::command::Revoke {
                expected: self.truth.epoch,
                cause,
                leader: self.nodes[leader].name.clone(),
                at: String::new(),
                steps: Vec::new(),
            });
            self.propose(leader, command);
        }
    }
}
