//! A set of synchronous standbys.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// How PostgreSQL chooses among the listed standbys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `ANY count (...)`: whichever confirm first.
    Quorum,
    /// `FIRST count (...)`: the first of the list that are connected.
    Priority,
}

/// What `synchronous_standby_names` lists. `N` names a standby.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncSet<N> {
    names: Vec<N>,
    count: usize,
    method: Method,
}

/// A set that PostgreSQL could never satisfy, or that says something twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncSetError {
    /// No commit would ever be acknowledged.
    #[error("sync.count {count} is more than the {names} standbys listed: list more, or lower it")]
    TooMany {
        /// How many a commit would wait for.
        count: usize,
        /// How many are listed.
        names: usize,
    },
    /// The same name, listed twice.
    #[error("a standby is listed twice: list it once")]
    Twice,
}

impl<N: Ord + Clone> SyncSet<N> {
    /// `names` in the order of their priority; `count` of them are waited for. With a count of 0 no
    /// commit waits.
    pub fn new(names: Vec<N>, count: usize, method: Method) -> Result<Self, SyncSetError> {
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            return Err(SyncSetError::Twice);
        }
        if count > names.len() {
            let names = names.len();
            return Err(SyncSetError::TooMany { count, names });
        }
        Ok(Self {
            names,
            count,
            method,
        })
    }

    /// Everybody who is listed, in the order of their priority.
    pub fn names(&self) -> &[N] {
        &self.names
    }

    /// How many a commit waits for.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How they are chosen.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Whether `name` is listed.
    pub fn lists(&self, name: &N) -> bool {
        self.names.contains(name)
    }

    /// The priority that a walsender with this configuration gives to its own standby: the lower, the
    /// earlier it is chosen. `None`: it does not count.
    pub fn priority(&self, name: &N) -> Option<usize> {
        let at = self.names.iter().position(|listed| listed == name)?;
        match self.method {
            Method::Quorum => Some(1),
            Method::Priority => Some(at + 1),
        }
    }

    /// Whether everybody listed here is listed there too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.names.iter().all(|name| other.lists(name))
    }

    /// Whether one configuration may follow another at once: a change of the count, or of the names to
    /// more of them or fewer, or of their order and the method.
    pub fn is_one_step_from(&self, from: &Self) -> bool {
        let kept = |of: &Self, with: &Self| -> Vec<N> {
            let kept = of.names.iter().filter(|name| with.lists(name));
            kept.cloned().collect()
        };
        let nested = self.is_within(from) || from.is_within(self);
        let names = self.names.len() != from.names.len();
        let count = self.count != from.count;
        let choice = self.method != from.method || kept(self, from) != kept(from, self);
        nested && usize::from(names) + usize::from(count) + usize::from(choice) <= 1
    }
}
