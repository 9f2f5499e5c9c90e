//! Roles that pgha makes, and their passwords.

use std::time::Duration;

use pgha_core::Secret;
use postgres_protocol::password::scram_sha_256;

use super::{Session, SessionError};
use crate::config::{quote_identifier, quote_literal};

/// What `pg_rewind` executes on its source where it is no superuser (manual, "pg_rewind", Notes).
const REWIND_FUNCTIONS: [&str; 4] = [
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// Keeps statements with verifiers out of logs and statistics, for one transaction. The last two
/// belong to extensions; without them they are names that nobody reads.
const SILENCE: &str = "\
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
SET LOCAL pg_stat_statements.track_utility = off;
SET LOCAL pgaudit.log = 'none';\n";

impl Session {
    /// Makes the replication role, or brings it to what it should be: login, replication, the four
    /// functions of `pg_rewind` in this database, and no more.
    pub async fn ensure_replication_role(
        &self,
        name: &str,
        password: &Secret,
        limit: Duration,
    ) -> Result<(), SessionError> {
        let (role, literal) = (quote_identifier(name)?, quote_literal(name)?);
        let exists = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {literal}");
        let verb = if self.value(&exists, limit).await?.is_some() {
            "ALTER"
        } else {
            "CREATE"
        };
        let verifier = verifier(password)?;
        let grants: String = REWIND_FUNCTIONS
            .iter()
            .map(|function| format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};\n"))
            .collect();
        self.in_silence(
            &format!(
                "{verb} ROLE {role} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE \
                 PASSWORD {verifier};\n{grants}"
            ),
            limit,
        )
        .await
    }

    /// Sets a role's password. PostgreSQL sees a SCRAM verifier only, never the password.
    pub async fn set_password(
        &self,
        name: &str,
        password: &Secret,
        limit: Duration,
    ) -> Result<(), SessionError> {
        let sql = format!(
            "ALTER ROLE {} PASSWORD {};\n",
            quote_identifier(name)?,
            verifier(password)?
        );
        self.in_silence(&sql, limit).await
    }

    async fn in_silence(&self, sql: &str, limit: Duration) -> Result<(), SessionError> {
        let done = self
            .query(&format!("BEGIN;\n{SILENCE}{sql}COMMIT;"), limit)
            .await;
        if done.is_err() {
            // Otherwise every later statement of the kept session would be refused.
            self.query("ROLLBACK", limit).await?;
        }
        done.map(|_| ())
    }
}

fn verifier(password: &Secret) -> Result<String, SessionError> {
    Ok(quote_literal(&scram_sha_256(password.expose().as_bytes()))?)
}
