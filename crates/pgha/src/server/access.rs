//! The generated files that say who may log in, and how this member does elsewhere.

use std::collections::BTreeSet;

use pgha_core::ClusterState;
use pgha_postgres::config::{HbaAddress, HbaOptions, Passfile, write_authentication};

use super::Site;

impl Site {
    /// Writes the generated files that depend on who the members are. True where they changed.
    pub(crate) fn write_access(&self, state: &ClusterState) -> anyhow::Result<bool> {
        std::fs::create_dir_all(&self.layout.conf_dir)?;
        let before = std::fs::read(self.layout.hba_file()).ok();
        let members: BTreeSet<HbaAddress> = state
            .data_members()
            .filter_map(|(_, member)| member.addresses.postgres.rsplit_once(':'))
            .map(|(host, _)| host.parse())
            .collect::<Result<_, _>>()?;
        let options = HbaOptions {
            system_user: pgha_postgres::effective_user_name().unwrap_or_default(),
            superuser: self.superuser.clone(),
            replication_user: self.replication_user.clone(),
            members: members.into_iter().collect(),
            direct: self.direct,
            user_lines: self.user_hba.clone(),
        };
        write_authentication(&self.layout, &options)?;
        let passfile = Passfile {
            user: &self.replication_user,
            password: &state.replication_secret,
        };
        passfile.write(&self.layout.passfile())?;
        Ok(before != std::fs::read(self.layout.hba_file()).ok())
    }
}
