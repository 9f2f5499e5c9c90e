//! The statements of a probe. All in one message, so one round trip and one snapshot of time.
//!
//! Only functions, no views: the views over sessions join `pg_authid` and `pg_database`, so a
//! lock on one of those would make a living PostgreSQL look hung. Columns are named as in all of
//! 13 to 18.

/// Role, positions and control data. `pg_is_in_recovery` is evaluated once, as it may change
/// between two calls.
const BASE: &str = "\
SELECT r AS in_recovery,
 CASE WHEN NOT r THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) END AS walfile,
 CASE WHEN NOT r THEN pg_catalog.pg_current_wal_lsn() END AS current_lsn,
 CASE WHEN NOT r THEN pg_catalog.pg_current_wal_flush_lsn() END AS flush_lsn,
 CASE WHEN r THEN pg_catalog.pg_last_wal_receive_lsn() END AS receive_lsn,
 CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() END AS replay_lsn,
 CASE WHEN r THEN pg_catalog.pg_is_wal_replay_paused() END AS replay_paused,
 (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint AS started_at,
 (extract(epoch FROM pg_catalog.pg_conf_load_time()) * 1000000)::bigint AS loaded_at,
 (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_identifier,
 (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) AS control_timeline,
 (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()) AS recovery_timeline,
 (SELECT min(wait_event) FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup')
  AS startup_wait
FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS recovery;\n";

const RECEIVER: &str = "\
SELECT pid, status, received_tli, flushed_lsn, slot_name, sender_host, sender_port,
 (extract(epoch FROM pg_catalog.clock_timestamp() - last_msg_receipt_time) * 1000)::bigint AS silent_ms
FROM pg_catalog.pg_stat_get_wal_receiver() WHERE pid IS NOT NULL;\n";

const SENDERS: &str = "\
SELECT w.pid, a.application_name, w.state, w.sent_lsn, w.flush_lsn, w.replay_lsn, w.sync_priority,
 w.sync_state, (extract(epoch FROM a.backend_start) * 1000000)::bigint AS started_at
FROM pg_catalog.pg_stat_get_wal_senders() AS w
JOIN pg_catalog.pg_stat_get_activity(NULL) AS a ON a.pid = w.pid
ORDER BY w.pid;\n";

const SLOTS: &str = "\
SELECT slot_name, slot_type, active, active_pid, restart_lsn, wal_status
FROM pg_catalog.pg_get_replication_slots() ORDER BY slot_name;\n";

pub(super) fn probe() -> String {
    [BASE, RECEIVER, SENDERS, SLOTS].concat()
}

/// The end of WAL that is safe on this node's disk, and nothing else.
pub(super) const FLUSH_LSN: &str = "\
SELECT CASE WHEN r
 THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
 ELSE pg_catalog.pg_current_wal_flush_lsn() END
FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS recovery";
