//! PostgreSQL's own parameters: which of them an operator may set.

use super::Settings;

const OWNED_BY_PGHA: [&str; 18] = [
    "data_directory",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "restart_after_crash",
    "restore_command",
    "synchronous_standby_names",
    "unix_socket_directories",
    "unix_socket_permissions",
    "wal_log_hints",
    "external_pid_file",
];

impl Settings {
    pub(super) fn set_parameter(&mut self, name: &str, value: &str) -> Result<(), String> {
        let lower = name.to_ascii_lowercase();
        let well_formed = !lower.is_empty()
            && lower.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && lower
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if !well_formed {
            return Err("a parameter's name has letters, digits, `_` and `.` only".to_owned());
        }
        if OWNED_BY_PGHA.contains(&lower.as_str()) || lower.starts_with("recovery_") {
            return Err("pgha owns this parameter; leave it out".to_owned());
        }
        if lower == "wal_level" && !matches!(value, "replica" | "logical") {
            return Err("accepted is replica or logical".to_owned());
        }
        if value.chars().any(char::is_control) {
            return Err("a value has no line breaks or other control characters".to_owned());
        }
        self.postgres_parameters.insert(lower, value.to_owned());
        Ok(())
    }
}
