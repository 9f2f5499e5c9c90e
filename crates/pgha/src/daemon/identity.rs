//! Whether this process was started as the member that its Raft store belongs to. The others know that
//! member by what they have stored: what only this process knows, they would never reach.

use anyhow::bail;
use pgha_core::{Addresses, Member, MemberKind, RaftId};
use pgha_raft::{Binding, RaftNode};

use crate::config::Config;

/// Refuses the store of another member or cluster.
pub(super) fn check(config: &Config, binding: &Binding) -> anyhow::Result<()> {
    let dir = config.raft_dir();
    let dir = dir.display();
    if binding.cluster != config.cluster {
        bail!(
            "{dir} belongs to cluster {:?}, --cluster is {:?}: correct the name, or use another --data-dir",
            binding.cluster,
            config.cluster
        );
    }
    let listed = binding.members.iter();
    let mut own = listed.filter(|member| member.raft_id == binding.raft_id);
    if let Some(own) = own.find(|member| member.name != config.name) {
        bail!(
            "{dir} belongs to member {}, --name is {}: correct the name, or use another --data-dir",
            own.name,
            config.name
        );
    }
    Ok(())
}

/// Resolves to what is wrong once the cluster's state is known, if something is.
pub(super) async fn differs(raft: &RaftNode, config: &Config, raft_id: RaftId) -> String {
    let mut state = raft.state();
    loop {
        let known = state.borrow_and_update().state.clone();
        let own = known.members.iter().find(|(_, m)| m.raft_id == raft_id);
        if let Some((name, member)) = own {
            match difference(config, member) {
                Some(what) => {
                    return format!("{name} is known to the others with {what}");
                }
                None => std::future::pending().await,
            }
        }
        if state.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn difference(config: &Config, known: &Member) -> Option<String> {
    let now = config.addresses();
    let was_witness = known.kind == MemberKind::Witness;
    if config.witness != was_witness {
        return Some(format!(
            "witness = {was_witness}, and was started with {}: start it as before",
            config.witness
        ));
    }
    let changed = changed(&known.addresses, &now);
    (!changed.is_empty()).then(|| {
        format!(
            "other addresses: {}. Start it as before, or, to have it come back with the new ones, move {} \
             away first while the others run",
            changed.join(", "),
            config.raft_dir().display()
        )
    })
}

fn changed(known: &Addresses, now: &Addresses) -> Vec<String> {
    [
        ("gRPC", &known.raft, &now.raft),
        ("PostgreSQL", &known.postgres, &now.postgres),
        ("HTTP", &known.http, &now.http),
        (
            "read-write port",
            &known.proxy_read_write,
            &now.proxy_read_write,
        ),
        (
            "read-only port",
            &known.proxy_read_only,
            &now.proxy_read_only,
        ),
    ]
    .into_iter()
    .filter(|(_, known, now)| known != now)
    .map(|(what, known, now)| format!("{what} {known}, and was started with {now}"))
    .collect()
}
