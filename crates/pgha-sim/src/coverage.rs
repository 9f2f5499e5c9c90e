//! What many runs must have met: a run in which nothing happened proves nothing.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::run::Summary;

/// Fewer runs than this need not have met everything.
pub const RUNS_MIN: u64 = 2000;
/// In one of so many of them the primary changed [`CHANGES_MIN`] times or more.
const EVENTFUL_OF: u64 = 4;
/// Changes of the primary in one run that count it as eventful: another one has opened than before.
pub const CHANGES_MIN: u64 = 3;

/// What a run is counted under that had [`CHANGES_MIN`] changes.
pub const EVENTFUL: &str = "run with three changes of primary";

/// What no run of the model can meet, and why; each has tests of its own beside the code. Printed with every
/// table, and a failure once it is met after all.
const NEVER: [(&str, &str); 6] = [
    ("refusal Exists", "formation is not modelled"),
    ("refusal Timeline", "one state machine assigns and checks"),
    (
        "refusal NoSuchEpoch",
        "one state machine keeps the journal and asks it",
    ),
    (
        "refusal Recovery",
        "it is written into the store that it was read from",
    ),
    ("renewal refused unbelievable_epoch", "nobody lies"),
    (
        "revoke promotion_failed",
        "a primary that neither opens nor gives up within a minute has lost its lease before",
    ),
];

/// Actions, outcomes, refusals and causes.
const MET: [&str; 105] = [
    "acknowledged write",
    "action Adopt",
    "action Assume",
    "action Begin checkpoint",
    "action Begin clone",
    "action Begin initialize",
    "action Begin promote",
    "action Begin rewind",
    "action Begin settle",
    "action CancelJob",
    "action CloseGate",
    "action DrainGate",
    "action DropLease",
    "action Follow",
    "action HoldLease",
    "action KeepSlots",
    "action OpenGate",
    "action Propose",
    "action Release",
    "action StartAttached",
    "action StartPrimary",
    "action StartStandby",
    "action Stop Fast",
    "action Stop Immediate",
    "action Stop Kill",
    "action TransferLeadership",
    "backends outlive their postmaster",
    "clone",
    "commit waits for a standby",
    "death after 0 actions",
    "death after 1 actions",
    "death after 2 actions",
    "death after 3 actions",
    "death after 4 actions",
    "fork given up",
    "guard kills at its deadline",
    "guard taken for dead",
    "job failed checkpoint",
    "job failed clone",
    "job failed initialize",
    "job failed promote",
    "job failed rewind",
    "job failed settle",
    "late commit",
    "loss judged",
    "loss measured",
    "loss of destroyed data judged",
    "loss of watched data judged",
    "not attached: removed",
    "release sent",
    "removed data noticed",
    "lost write",
    "message cut off",
    "message late",
    "message lost",
    "message twice",
    "membership joint",
    "membership settled",
    "membership stored",
    "opened",
    "opening with loss",
    "operator accepts loss",
    "orderly end",
    "primary by Initial",
    "primary by Promotion",
    "primary by Reinstatement",
    "primary by Restart",
    "promotion by hand",
    "promotion done",
    "promotion failed",
    "promotion that the synchronous rule allows",
    "promotion that the synchronous rule refuses",
    "proposal without quorum",
    "quorum recovered",
    "raft leader elected",
    "receiver attached",
    "refusal Epoch",
    "refusal Member",
    "refusal NoSuchMember",
    "refusal Phase",
    "refusal Setting",
    "refusal SettingsVersion",
    "release by guard",
    "renewal refused catching_up",
    "renewal refused dead",
    "renewal refused membership",
    "renewal refused old_epoch",
    "renewal refused promised",
    "renewal refused start_wait",
    "revoke holder_restarted",
    "revoke lease_expired",
    "revoke operator_failover",
    "revoke released",
    "revoke switchover",
    "rewind",
    "ruled out member asks for a place",
    "store ruled out at a start",
    "store ruled out while it was used",
    "store wiped",
    "synchronous data judged",
    "twin given up",
    "two leases by wild clocks",
    "unflushed WAL lost with the power",
    "wiped member taken back",
    EVENTFUL,
];

fn wanted() -> impl Iterator<Item = String> {
    let faults = Fault::ALL.map(|fault| format!("fault {fault:?}"));
    MET.iter().map(|what| (*what).to_owned()).chain(faults)
}

/// What no run met, and should have.
pub fn missing(summary: &Summary) -> Vec<String> {
    let mut missing: Vec<String> = wanted()
        .filter(|what| !summary.counts.contains_key(what))
        .collect();
    let never = NEVER.iter().map(|(what, _)| *what);
    let met = never.filter(|what| summary.counts.contains_key(*what));
    missing.extend(met.map(|what| format!("{what} was met: it is not to be in NEVER")));
    let eventful = summary.counts.get(EVENTFUL).copied().unwrap_or(0);
    let enough = summary.runs / EVENTFUL_OF;
    if eventful < enough {
        missing.push(format!(
            "{enough} runs with {CHANGES_MIN} changes of primary, only {eventful}"
        ));
    }
    missing
}

/// How often each of it was met, and in how many runs; what was not, too.
pub fn table(summary: &Summary) -> String {
    let met = summary.counts.keys().cloned();
    let all: BTreeSet<String> = wanted().chain(met).collect();
    let mut text = format!("{:<52} {:>12} {:>9}\n", "what", "times", "in runs");
    for what in all {
        let times = summary.counts.get(&what).copied().unwrap_or(0);
        let runs = summary.runs_with.get(&what).copied().unwrap_or(0);
        text.push_str(&format!("{what:<52} {times:>12} {runs:>9}\n"));
    }
    for (what, why) in NEVER {
        text.push_str(&format!("{what:<52}        never: {why}\n"));
    }
    text
}
