//! Ports that no other test, and no outgoing connection, takes meanwhile.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;

use anyhow::Context;

/// Below Linux's range for outgoing connections (32768 and up): a port that `bind(0)` hands out can
/// be taken by any connection between the probe and the daemon's own bind.
const FIRST: u16 = 12_000;
/// Ports of one reservation.
const BLOCK: u16 = 40;
const BLOCKS: u16 = 500;
const REGISTRY: &str = "/tmp/pgha-test-ports";

/// A block of ports, held by a file lock as long as this lives, across processes.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    end: u16,
    _lock: nix::fcntl::Flock<File>,
}

impl Ports {
    /// Takes the first free block; starts at a place of its own per process to keep apart.
    pub fn reserve() -> anyhow::Result<Self> {
        let registry = Path::new(REGISTRY);
        std::fs::create_dir_all(registry)?;
        // Another account's tests share the registry; whose directory it is does not matter.
        let _ = open_to_all(registry);
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        for step in 0..BLOCKS {
            let block = (start + step) % BLOCKS;
            if let Some(lock) = lock(&registry.join(block.to_string()))? {
                let first = FIRST + block * BLOCK;
                return Ok(Self {
                    next: first,
                    end: first + BLOCK,
                    _lock: lock,
                });
            }
        }
        anyhow::bail!("all {BLOCKS} blocks of test ports are taken: see {REGISTRY}")
    }

    /// The next port of the block on which nobody listens.
    pub fn take(&mut self) -> anyhow::Result<u16> {
        while self.next < self.end {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                return Ok(port);
            }
        }
        anyhow::bail!("a cluster needs more than {BLOCK} ports")
    }
}

fn lock(path: &Path) -> anyhow::Result<Option<nix::fcntl::Flock<File>>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let _ = open_to_all(path);
    Ok(nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).ok())
}

fn open_to_all(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reservations_do_not_overlap() -> anyhow::Result<()> {
        let (mut one, mut other) = (Ports::reserve()?, Ports::reserve()?);
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            assert!(seen.insert(one.take()?));
            assert!(seen.insert(other.take()?));
        }
        Ok(())
    }
}
