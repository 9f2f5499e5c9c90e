//! Small worlds, checked in every order in which things can happen in them.
//!
//! Each line that begins with `MODEL` says of a world how many states it has, or of a naive rule what
//! catches it and after how many.

mod lease;
mod rules;
mod sync;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::lease::{Fact, LeaseModel};
use crate::rules::Rules;
use crate::sync::SyncModel;

/// Each check uses every core: one at a time is as fast, and needs less memory.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// To the terminal itself: of a test that passes the runner shows nothing that was printed.
fn tell(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{text}");
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// Every state that there is. Returns which of the things happen that should happen somewhere.
fn exhaust<M>(name: &str, model: M) -> BTreeSet<&'static str>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let _one = ONE_AT_A_TIME.lock();
    let begun = Instant::now();
    let checker = model.checker().threads(threads()).spawn_dfs().join();
    tell(&format!(
        "MODEL {name}: {} states, exhausted, depth {}, in {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
    ));
    let mut occurred = BTreeSet::new();
    for (property, path) in checker.discoveries() {
        let expectation = &checker.model().property(property).expectation;
        if *expectation == Expectation::Sometimes {
            occurred.insert(property);
        } else {
            panic!("{property} is broken by: {:?}", path.into_actions());
        }
    }
    occurred
}

/// `expected` occurs in some of the states, or nothing was checked.
fn holds(model: &LeaseModel, expected: &[Fact]) {
    exhaust(model.name, model.clone());
    for fact in expected {
        assert!(model.seen.occurred(*fact), "{fact:?} never occurred");
    }
}

/// A naive rule breaks this promise, in a world in which ours never do.
fn is_caught<M>(rule: impl Debug, world: &str, model: M, promise: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let _one = ONE_AT_A_TIME.lock();
    let begun = Instant::now();
    let checker = model.checker().threads(threads());
    let checker = checker.finish_when(HasDiscoveries::AnyOf([promise].into()));
    let checker = checker.spawn_bfs().join();
    let Some(path) = checker.discovery(promise) else {
        panic!("{rule:?} is not caught in {world}")
    };
    println!("{rule:?}: {:?}", path.into_actions());
    tell(&format!(
        "MODEL {rule:?}: caught by {promise} after {} states in {:.1} s ({world})",
        checker.unique_state_count(),
        begun.elapsed().as_secs_f64(),
    ));
}

fn breaks(model: LeaseModel, promise: &'static str) {
    is_caught(model.rules, model.name, model, promise);
}

#[test]
fn three_epochs_and_two_restarts_of_three_voters() {
    let model = LeaseModel::large("3 voters, 3 epochs, 2 restarts");
    let all = [
        Fact::LastEpochHeld,
        Fact::Released,
        Fact::Waited,
        Fact::PromisedToAnother,
    ];
    holds(&model, &all);
}

/// What [`lease::reduce`] argues: late messages show nothing that prompt ones do not.
#[test]
fn prompt_messages_show_all_that_late_ones_do() {
    let late = LeaseModel::late("3 voters, 2 epochs, 1 restart, late messages").observed();
    let prompt = LeaseModel::small("3 voters, 2 epochs, 1 restart, prompt messages").observed();
    holds(&late, &[Fact::LastEpochHeld, Fact::Released, Fact::Waited]);
    holds(
        &prompt,
        &[Fact::LastEpochHeld, Fact::Released, Fact::Waited],
    );
    let (late, prompt) = (late.seen.observations(), prompt.seen.observations());
    println!("{} observations of {}", late.len(), prompt.len());
    assert!(!late.is_empty());
    let missing: Vec<_> = late.difference(&prompt).collect();
    assert!(
        missing.is_empty(),
        "{} missing: {:?}",
        missing.len(),
        missing[0]
    );
}

#[test]
fn the_lease_was_made_longer() {
    let model = LeaseModel::lease_grew("3 voters, 2 epochs, 1 restart, lease doubled");
    holds(
        &model,
        &[Fact::LastEpochHeld, Fact::Waited, Fact::LeaseChanged],
    );
}

#[test]
fn the_lease_was_made_longer_and_is_made_shorter() {
    let model =
        LeaseModel::lease_shrinks("3 voters, 2 epochs, 1 restart, lease doubled and set back");
    holds(
        &model,
        &[Fact::LastEpochHeld, Fact::Waited, Fact::LeaseChanged],
    );
}

#[test]
fn the_voters_change() {
    let model = LeaseModel::voters_change("3 of 4 voters, 2 epochs, one voter replaced");
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
fn a_voter_is_taken_in_late() {
    let model = LeaseModel::taken_in_late("3 of 4 voters, 2 epochs, one voter taken in late");
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

/// A quorum of those who know of no promise that the only voter of before still keeps.
#[test]
fn two_voters_are_taken_in_late() {
    let model = LeaseModel::two_taken_in_late("1 to 3 voters, 2 epochs, two voters taken in late");
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
#[ignore = "a minute on two cores: make model-long"]
fn two_voters_are_taken_in_late_and_one_starts_again() {
    let model = LeaseModel::two_taken_in_late_and_restart(
        "1 to 3 voters, 2 epochs, 1 restart, two voters taken in late",
    );
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

/// Who stored it early has waited, while the others granted by the one before: what it grants by it must
/// not count in the one after it, which comes before those grants are over.
#[test]
fn some_store_a_membership_early() {
    let model =
        LeaseModel::stored_early("3 of 4 voters, 2 epochs, some stored the joint one early");
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
#[ignore = "a minute on two cores: make model-long"]
fn two_store_a_membership_early_and_one_is_named_again() {
    let model = LeaseModel::stored_early_and_named_again(
        "3 of 4 voters, 3 epochs, two stored the joint one early",
    );
    // A later epoch than the first can be held only where a rule is broken: all others wait.
    let facts = [Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
fn a_change_of_the_voters_is_taken_back() {
    let model =
        LeaseModel::voters_change_back("3 of 4 voters, 2 epochs, a joint membership taken back");
    let facts = [Fact::LastEpochHeld, Fact::VotersChanged, Fact::TakenBack];
    holds(&model, &facts);
}

#[test]
fn the_voters_change_slowly() {
    let model =
        LeaseModel::voters_change_slowly("3 of 4 voters, 2 epochs, joint while promises lapse");
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
#[ignore = "five minutes on two cores: make model-long"]
fn the_voters_change_in_both_steps() {
    let model = LeaseModel::voters_change_in_both_steps(
        "3 of 4 voters, 2 epochs, one voter replaced while promises lapse",
    );
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

#[test]
#[ignore = "a minute on two cores: make model-long"]
fn the_voters_change_and_one_starts_again() {
    let model = LeaseModel::voters_change_and_restart(
        "3 of 4 voters, 2 epochs, 1 restart, joint while promises lapse",
    );
    let facts = [Fact::LastEpochHeld, Fact::Waited, Fact::VotersChanged];
    holds(&model, &facts);
}

const ONE_GATE: &str = "P1 one gate";
const EPOCHS_GROW: &str = "P6 epochs grow";

#[test]
fn every_naive_rule_is_caught() {
    let small = || LeaseModel::small("3 voters, 2 epochs, 1 restart");
    let quiet = || LeaseModel::without_restarts("3 voters, 2 epochs");
    let late = || LeaseModel::late_without_restarts("3 voters, 2 epochs, late messages");
    let grew = || LeaseModel::lease_grew("lease doubled");
    let shrinks = || LeaseModel::lease_shrinks("lease doubled and set back");
    let voters = || LeaseModel::voters_change("one voter replaced").naming(&[1]);
    let joint = || LeaseModel::voters_change_slowly("joint while promises lapse");
    breaks(small().by(Rules::NoStartWait), ONE_GATE);
    breaks(small().by(Rules::EpochNotKept), EPOCHS_GROW);
    breaks(small().by(Rules::ReleasedBeforeEmpty), ONE_GATE);
    breaks(quiet().by(Rules::SilenceProves), ONE_GATE);
    breaks(late().by(Rules::CountsFromAnswer), ONE_GATE);
    breaks(grew().by(Rules::OwnSettingsCount), ONE_GATE);
    breaks(shrinks().by(Rules::CeilingForgotten), ONE_GATE);
    breaks(voters().by(Rules::MembershipIdAlone), ONE_GATE);
    breaks(joint().by(Rules::OnlyTheNewHalf), ONE_GATE);
    breaks(voters().by(Rules::LearnersGrant), ONE_GATE);
}

const NONE_LOST: &str = "P2 no lost acknowledged write";

fn three_standbys(name: &'static str) -> SyncModel {
    SyncModel::new(name, 3, &[1, 2], 1, 1)
}

fn two_standbys(name: &'static str) -> SyncModel {
    SyncModel::new(name, 2, &[0, 1, 2], 2, 2)
}

#[test]
fn synchronous_sets_change_under_load() {
    let worlds = [
        three_standbys("sync: 3 standbys, 1 step, 1 commit"),
        three_standbys("sync: 3 standbys, 1 change of anything, 1 commit").in_large_steps(),
        two_standbys("sync: 2 standbys, 2 steps, 2 commits"),
    ];
    for world in worlds {
        let occurred = exhaust(world.name, world);
        assert_eq!(occurred.len(), 1, "nothing acknowledged was ever promoted");
    }
}

#[test]
fn every_naive_rule_of_synchronous_sets_is_caught() {
    use crate::sync::Rules;
    let caught = |rules, world: SyncModel| {
        is_caught(rules, world.name, world.by(rules), NONE_LOST);
    };
    let step = || three_standbys("sync: 3 standbys, 1 step");
    let anything = three_standbys("sync: 3 standbys, 1 change of anything");
    caught(Rules::EnoughOfBothSets, anything.in_large_steps());
    caught(Rules::NewSetOnly, step());
    caught(Rules::DoneWhenTold, step());
    caught(Rules::DoneWithoutFlush, step());
    caught(Rules::NoBarrier, two_standbys("sync: 2 standbys, 2 steps"));
}
