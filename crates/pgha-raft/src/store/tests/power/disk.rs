//! A disk that keeps what was synced, and of the rest whatever it likes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;

use super::trace::{Call, Step};

/// The unit that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What becomes of what was not synced.
pub(super) enum Unsynced<'a> {
    /// All of it is gone.
    Lost,
    /// Some writes are there, some in part, some not, in no order; of the names in a directory, some
    /// of the first changes.
    Some(&'a mut StdRng),
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Put(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

#[derive(Clone)]
enum Node {
    File {
        durable: Vec<u8>,
        /// Step that made it, whether that step has ended, and what it did.
        unsynced: Vec<(u64, bool, Change)>,
        position: usize,
    },
    Dir {
        durable: BTreeMap<String, usize>,
        now: BTreeMap<String, usize>,
        unsynced: Vec<NameChange>,
    },
}

/// All below one directory, which itself is there.
pub(super) struct ModelDisk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// What each running sync will have covered: the calls that had ended when it began.
    syncs: HashMap<u64, (usize, Vec<u64>, usize)>,
}

impl ModelDisk {
    /// The directory as it is, all of it durable.
    pub(super) fn new(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            syncs: HashMap::new(),
        };
        disk.load(root);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let id = self.nodes.len();
        if !path.is_dir() {
            let durable = fs::read(path).unwrap();
            self.nodes.push(Node::file(durable));
            return id;
        }
        self.nodes.push(Node::dir(BTreeMap::new()));
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            names.insert(name, self.load(&entry.path()));
        }
        self.nodes[id] = Node::dir(names);
        id
    }

    /// Takes one step; what is outside of the directory is passed over.
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Begins(
                id,
                Call::Write {
                    path,
                    bytes,
                    offset,
                },
            ) => {
                self.write(*id, path, bytes, *offset);
            }
            Step::Begins(id, Call::Sync(path)) => self.begin_sync(*id, path),
            Step::Begins(..) => {}
            Step::Ends(id, Call::Write { path, .. }) => self.end_write(*id, path),
            Step::Ends(id, Call::Sync(_)) => self.end_sync(*id),
            Step::Ends(id, Call::SetLength { path, bytes }) => {
                self.set_length(*id, path, usize::try_from(*bytes).unwrap());
            }
            Step::Ends(
                id,
                Call::Open {
                    path,
                    create,
                    truncate,
                },
            ) => {
                self.open(*id, path, *create, *truncate);
            }
            Step::Ends(_, Call::MakeDir(path)) => self.make(path, Node::dir(BTreeMap::new())),
            Step::Ends(_, Call::Rename(from, to)) => self.rename(from, to),
            Step::Ends(_, Call::Remove(path)) => self.remove(path),
        }
    }

    /// Writes the directory as the disk would hold it if the power went now.
    pub(super) fn write_out(&self, to: &Path, unsynced: &mut Unsynced<'_>) {
        self.write_node(0, to, unsynced);
    }

    fn write_node(&self, id: usize, to: &Path, left: &mut Unsynced<'_>) {
        match &self.nodes[id] {
            Node::File {
                durable, unsynced, ..
            } => {
                let mut bytes = durable.clone();
                if let Unsynced::Some(random) = left {
                    for (_, _, change) in unsynced {
                        apply_some(&mut bytes, change, random);
                    }
                }
                fs::write(to, bytes).unwrap();
            }
            Node::Dir {
                durable, unsynced, ..
            } => {
                let mut names = durable.clone();
                if let Unsynced::Some(random) = left {
                    let count = random.random_range(0..=unsynced.len());
                    unsynced[..count]
                        .iter()
                        .for_each(|change| rename_in(&mut names, change));
                }
                fs::create_dir_all(to).unwrap();
                for (name, id) in names {
                    self.write_node(id, &to.join(name), left);
                }
            }
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let below = path.strip_prefix(&self.root).ok()?;
        let found = below.iter().try_fold(0, |id, name| match &self.nodes[id] {
            Node::Dir { now, .. } => now.get(name.to_str()?).copied(),
            Node::File { .. } => None,
        });
        // A file that is open and has no name any more is lost by any loss of power.
        let gone = path.to_string_lossy().ends_with("(deleted)");
        assert!(found.is_some() || gone, "{} is not known", path.display());
        found
    }

    fn write(&mut self, id: u64, path: &Path, bytes: &[u8], offset: Option<u64>) {
        let Some(node) = self.find(path) else { return };
        let Node::File {
            unsynced, position, ..
        } = &mut self.nodes[node]
        else {
            panic!("{} is a directory", path.display());
        };
        let at = offset.map_or(*position, |offset| usize::try_from(offset).unwrap());
        if offset.is_none() {
            *position = at + bytes.len();
        }
        unsynced.push((id, false, Change::Write(at, bytes.to_vec())));
    }

    fn end_write(&mut self, id: u64, path: &Path) {
        let Some(node) = self.find(path) else { return };
        if let Node::File { unsynced, .. } = &mut self.nodes[node] {
            for (_, ended, _) in unsynced.iter_mut().filter(|(step, ..)| *step == id) {
                *ended = true;
            }
        }
    }

    fn set_length(&mut self, id: u64, path: &Path, bytes: usize) {
        let Some(node) = self.find(path) else { return };
        if let Node::File { unsynced, .. } = &mut self.nodes[node] {
            unsynced.push((id, true, Change::Length(bytes)));
        }
    }

    fn open(&mut self, id: u64, path: &Path, create: bool, truncate: bool) {
        if !path.starts_with(&self.root) {
            return;
        }
        let (dir, name) = self.parent(path);
        let Node::Dir { now, .. } = &self.nodes[dir] else {
            panic!("{} is below a file", path.display());
        };
        if create && !now.contains_key(&name) {
            return self.make(path, Node::file(Vec::new()));
        }
        if truncate {
            self.set_length(id, path, 0);
        }
        let node = self.find(path).unwrap();
        if let Node::File { position, .. } = &mut self.nodes[node] {
            *position = 0;
        }
    }

    fn begin_sync(&mut self, id: u64, path: &Path) {
        let Some(node) = self.find(path) else { return };
        let covered = match &self.nodes[node] {
            Node::File { unsynced, .. } => {
                let ended = unsynced.iter().filter(|(_, ended, _)| *ended);
                (node, ended.map(|(step, ..)| *step).collect(), 0)
            }
            Node::Dir { unsynced, .. } => (node, Vec::new(), unsynced.len()),
        };
        self.syncs.insert(id, covered);
    }

    fn end_sync(&mut self, id: u64) {
        let Some((node, steps, names)) = self.syncs.remove(&id) else {
            return;
        };
        match &mut self.nodes[node] {
            Node::File {
                durable, unsynced, ..
            } => {
                let all = std::mem::take(unsynced);
                let (covered, left) = all.into_iter().partition(|(step, ..)| steps.contains(step));
                *unsynced = left;
                let covered: Vec<(u64, bool, Change)> = covered;
                covered
                    .iter()
                    .for_each(|(_, _, change)| apply(durable, change));
            }
            Node::Dir {
                durable, unsynced, ..
            } => {
                // Another sync of it may have ended in between.
                let names = names.min(unsynced.len());
                unsynced
                    .drain(..names)
                    .for_each(|change| rename_in(durable, &change));
            }
        }
    }

    fn parent(&self, path: &Path) -> (usize, String) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (self.find(path.parent().unwrap()).unwrap(), name)
    }

    fn change_names(&mut self, dir: usize, change: NameChange) {
        let Node::Dir { now, unsynced, .. } = &mut self.nodes[dir] else {
            panic!("a file has no names in it");
        };
        rename_in(now, &change);
        unsynced.push(change);
    }

    fn make(&mut self, path: &Path, node: Node) {
        if !path.starts_with(&self.root) {
            return;
        }
        let (dir, name) = self.parent(path);
        let id = self.nodes.len();
        self.nodes.push(node);
        self.change_names(dir, NameChange::Put(name, id));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let Some(id) = self.find(from) else { return };
        let ((dir, old), (other, new)) = (self.parent(from), self.parent(to));
        assert_eq!(
            dir,
            other,
            "from one directory to another: {}",
            from.display()
        );
        self.change_names(dir, NameChange::Rename(old, new, id));
    }

    fn remove(&mut self, path: &Path) {
        if self.find(path).is_some() {
            let (dir, name) = self.parent(path);
            self.change_names(dir, NameChange::Remove(name));
        }
    }
}

impl Node {
    fn file(durable: Vec<u8>) -> Self {
        Self::File {
            durable,
            unsynced: Vec::new(),
            position: 0,
        }
    }

    fn dir(durable: BTreeMap<String, usize>) -> Self {
        Self::Dir {
            now: durable.clone(),
            durable,
            unsynced: Vec::new(),
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Write(at, new) => {
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
    }
}

/// Wholly, not at all, or sector by sector.
fn apply_some(bytes: &mut Vec<u8>, change: &Change, random: &mut StdRng) {
    let torn = match random.random_range(0..3) {
        0 => return,
        1 => return apply(bytes, change),
        _ => change,
    };
    let Change::Write(at, new) = torn else { return };
    let mut start = 0;
    while start < new.len() {
        let end = ((at + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
        let end = end.min(new.len());
        if random.random() {
            apply(bytes, &Change::Write(at + start, new[start..end].to_vec()));
        }
        start = end;
    }
}

fn rename_in(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Put(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
        NameChange::Rename(old, new, id) => {
            names.remove(old);
            names.insert(new.clone(), *id);
        }
    }
}
