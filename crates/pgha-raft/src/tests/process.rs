//! A member in a process of its own.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::{Cluster, serve};
use crate::{Binding, Options, RaftNode, RaftService, Store};

const DIR: &str = "PGHA_TEST_NODE_DIR";
const BINDING: &str = "PGHA_TEST_NODE_BINDING";
const ADDRESS: &str = "PGHA_TEST_NODE_ADDRESS";

/// A member that runs until its parent is gone.
#[tokio::test]
#[ignore = "child process of the tests below"]
async fn child() {
    let var = |name| std::env::var(name).unwrap();
    let binding: Binding = serde_json::from_str(&var(BINDING)).unwrap();
    let store = Store::open(Path::new(&var(DIR))).unwrap();
    store.bind(binding).await.unwrap();
    let service = RaftService::new();
    serve(&var(ADDRESS), service.clone());
    let _node = RaftNode::start(store, Options::default(), &service)
        .await
        .unwrap();
    let parent_gone = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = parent_gone.await;
}

pub(super) struct Process {
    child: Child,
}

impl Process {
    pub(super) fn start(cluster: &Cluster, id: u64) -> Self {
        let member = &cluster.members[&id];
        let binding = Binding {
            raft_id: member.formed.raft_id,
            ..cluster.binding.clone()
        };
        let name = module_path!().split_once("::").unwrap().1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", &format!("{name}::child")])
            .env(DIR, &member.dir)
            .env(BINDING, serde_json::to_string(&binding).unwrap())
            .env(ADDRESS, &member.formed.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// CPU time it has used so far, in clock ticks, and resident memory in KiB (proc(5)).
    pub(super) fn usage(&self) -> (u64, u64) {
        let read =
            |name| std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap();
        let stat = read("stat");
        let behind_name = stat.rsplit_once(") ").unwrap().1;
        let fields: Vec<&str> = behind_name.split(' ').collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = read("status");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        (ticks, kib)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
