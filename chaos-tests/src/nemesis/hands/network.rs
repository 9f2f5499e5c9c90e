//! Frames that the bridge drops, and bytes that a relay holds back.

use std::time::Duration;

use anyhow::Context;

use super::{Held, NoEffect};
use crate::cluster::Cluster;
use crate::nemesis::Dose;
use crate::netns::{Cut, Network, Relay};

const WITHIN: Duration = Duration::from_secs(60);

fn network(cluster: &Cluster) -> anyhow::Result<&Network> {
    cluster.network.as_ref().context("no namespaces to cut")
}

/// Begins to drop.
pub(super) fn cut(cluster: &Cluster, cuts: Vec<Cut>) -> anyhow::Result<Held> {
    for cut in &cuts {
        network(cluster)?.cut(*cut)?;
    }
    Ok(Held::Cuts(cuts))
}

/// Ends it; a cut through which nothing would have passed anyway cut nothing.
pub(super) fn mend(cluster: &Cluster, cuts: &[Cut]) -> anyhow::Result<()> {
    let mut dropped = 0;
    for cut in cuts {
        dropped += network(cluster)?.mend(*cut)?;
    }
    if dropped == 0 {
        return Err(NoEffect(format!("{cuts:?} dropped nothing")).into());
    }
    Ok(())
}

/// Puts a member behind a relay, unless it is there already.
pub(super) async fn prepare(cluster: &mut Cluster, name: &str) -> anyhow::Result<()> {
    if cluster.relays.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    super::operator::stop_member(cluster, name, WITHIN).await?;
    let uid = cluster.account.uid();
    let relay = Relay::begin(network(cluster)?, cluster.index(name)?, uid)?;
    cluster.relays.push((name.to_owned(), relay));
    cluster.member_mut(name)?.start()?;
    cluster.wait_healthy(WITHIN).await.map(drop)
}

fn relay<'a>(cluster: &'a Cluster, name: &str) -> anyhow::Result<&'a Relay> {
    let found = cluster.relays.iter().find(|(known, _)| known == name);
    found
        .map(|(_, relay)| relay)
        .with_context(|| format!("no relay for {name}"))
}

/// What a relay had held back before.
pub(in crate::nemesis) struct Late {
    name: String,
    held: u64,
}

/// Holds everything back.
pub(super) fn delay(cluster: &Cluster, name: &str, dose: Dose) -> anyhow::Result<Held> {
    let Dose::Delay(delay) = dose else {
        anyhow::bail!("latency without a measure");
    };
    let relay = relay(cluster, name)?;
    relay.set(delay);
    Ok(Held::Late(Late {
        name: name.to_owned(),
        held: relay.held(),
    }))
}

/// Ends it; an error where nothing came meanwhile.
pub(super) fn hurry(cluster: &Cluster, late: &Late) -> anyhow::Result<()> {
    let relay = relay(cluster, &late.name)?;
    relay.set(Duration::ZERO);
    anyhow::ensure!(
        relay.held() > late.held,
        "the relay had nothing to hold back"
    );
    Ok(())
}
