//! Which direct writes to a server no promise covers.

use std::time::{Duration, Instant};

use super::Blows;
use crate::nemesis::{Blow, Kind};
use crate::sampler::Excuse;

/// A guard that was frozen kills what it has to within this after it runs again.
const KILLED_WITHIN: Duration = Duration::from_secs(1);
/// A primary that somebody promoted by hand is fenced within this, once its sidecar runs.
const FENCED_WITHIN: Duration = Duration::from_secs(3);

/// What no promise covers (design 4, P1; faults 56). A frozen guard kills nothing before it is thawed,
/// and a sidecar that is frozen or down fences nobody before it runs again.
pub(super) fn excuses(blows: &Blows, origin: Instant) -> Vec<Excuse> {
    let now = Instant::now();
    let ended = |blow: &Blow| blow.ended.unwrap_or(now);
    let mut excuses = Vec::new();
    for blow in blows {
        let promoted = match blow.entry.kind {
            Kind::GuardFrozen | Kind::NodeFrozen | Kind::AllFrozen => false,
            Kind::PromotedByHand => true,
            // A kind that is forgotten here is held to every promise: that is found out.
            _ => continue,
        };
        for victim in &blow.victims {
            let until = if promoted {
                let on_it = blows.iter().filter(|other| other.victims.contains(victim));
                on_it.map(ended).max().unwrap_or(now) + FENCED_WITHIN
            } else {
                ended(blow) + KILLED_WITHIN
            };
            excuses.push(Excuse {
                member: victim.clone(),
                from: blow.struck.saturating_duration_since(origin),
                until: until.saturating_duration_since(origin),
            });
        }
    }
    excuses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_promoted_by_hand_is_excused_until_its_sidecar_ran_again() {
        let origin = Instant::now();
        let blow = |kind, victim, struck, ended| Blow::example(kind, victim, origin, struck, ended);
        let blows = vec![
            blow(Kind::SidecarFrozen, "n1", 500, 4_000),
            blow(Kind::SidecarKilled, "n2", 500, 9_000),
            blow(Kind::PromotedByHand, "n1", 1_000, 1_001),
        ];
        let excuse = |member: &str, from, until| Excuse {
            member: member.to_owned(),
            from: Duration::from_millis(from),
            until: Duration::from_millis(until),
        };
        assert_eq!(excuses(&blows, origin), [excuse("n1", 1_000, 7_000)]);
        let blows = vec![blow(Kind::GuardFrozen, "n3", 100, 2_000)];
        assert_eq!(excuses(&blows, origin), [excuse("n3", 100, 3_000)]);
    }
}
