//! The members by name.

use std::collections::BTreeSet;

use anyhow::Context;

use super::Cluster;
use crate::member::Member;

impl Cluster {
    /// The names of all members.
    pub fn names(&self) -> BTreeSet<String> {
        self.members
            .iter()
            .map(|member| member.name.clone())
            .collect()
    }

    /// Index of the member of that name.
    pub fn index(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.members.iter().position(|member| member.name == name);
        found.with_context(|| format!("no member is called {name}"))
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        Ok(&self.members[self.index(name)?])
    }

    /// The member of that name, to do something to.
    pub fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        let index = self.index(name)?;
        Ok(&mut self.members[index])
    }

    /// Starts every member whose sidecar does not run, as a service manager would.
    pub fn restart_fallen(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if !member.is_up() {
                member.start()?;
            }
        }
        Ok(())
    }
}
