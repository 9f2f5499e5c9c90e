//! Keys, values, refusals.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn every_key_can_be_set_to_what_it_shows() {
    let settings = Settings::default();
    for (key, value) in settings.values() {
        let mut copy = settings.clone();
        copy.set(&key, &value).expect("its own value is accepted");
        assert_eq!(copy, settings, "{key}");
    }
    assert_eq!(KEYS.len(), settings.values().len());
}

#[test]
fn refuses_with_key_value_and_way_out() {
    let mut settings = Settings::default();
    for (key, value) in [
        ("lease_ms", "1009"),
        ("lease_ms", "60001"),
        ("lease_ms", "soon"),
        ("max_lag_on_failover", "-1"),
        ("max_lag_on_failover", "99999999999TiB"),
        ("proxy.hold_ms", "1h"),
        ("on_primary_crash", "maybe"),
        ("sync.mode", "strict"),
        ("leese_ms", "1500"),
        ("postgres.parameters.fsync", "off"),
        ("postgres.parameters.Recovery_Target", "immediate"),
        ("postgres.parameters.wal_level", "minimal"),
        ("postgres.parameters.work_mem", "4MB\nfsync = off"),
        ("postgres.parameters.x y", "1"),
    ] {
        let error = settings.set(key, value).expect_err(key).to_string();
        assert!(error.contains(key) && error.contains(value), "{error}");
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn a_parameter_is_unset_by_the_name_that_set_it() {
    let mut settings = Settings::default();
    let key = "postgres.parameters.Work_Mem";
    settings.set(key, "8MB").expect("valid");
    assert_eq!(settings.postgres_parameters["work_mem"], "8MB");
    settings.unset(key).expect("valid");
    assert_eq!(settings, Settings::default());
}

#[test]
fn lowering_the_lease_keeps_the_ceiling() {
    let mut settings = Settings::default();
    settings.set("lease_ms", "3000").expect("valid");
    settings.set("lease_ms", "1010").expect("valid");
    assert_eq!(settings.lease_ceiling_ms, 3000);
    assert!(settings.start_wait() >= Duration::from_millis(3000));
}

proptest! {
    #[test]
    fn sizes_round_trip(bytes: u64) {
        prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
    }
}

/// Keys that there are, spelled in any way, and keys that there are not.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&KEYS).prop_map(str::to_owned),
        "postgres\\.parameters\\.[a-zA-Z_.]{0,20}",
        any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,20}(B|kB|KiB|MiB|GiB|TiB)?",
        "(on|off|true|false|auto|async)",
        any::<String>()
    ]
}

proptest! {
    /// Nothing is taken in half, and what is taken can be shown, set again and unset.
    #[test]
    fn any_key_and_value_are_taken_whole_or_not_at_all(
        changes in prop::collection::vec((key(), value(), any::<bool>()), 1..6),
    ) {
        let mut settings = Settings::default();
        for (key, value, unset) in changes {
            let before = settings.clone();
            let done = if unset { settings.unset(&key) } else { settings.set(&key, &value) };
            if let Err(error) = done {
                prop_assert!(!error.to_string().contains('\n'), "{error}");
                prop_assert_eq!(&settings, &before);
            }
            let mut again = settings.clone();
            for (key, value) in settings.values() {
                again.set(&key, &value).expect("its own value is accepted");
            }
            prop_assert_eq!(&again, &settings);
            let json = serde_json::to_vec(&settings).expect("written");
            prop_assert_eq!(serde_json::from_slice::<Settings>(&json).expect("read"), settings.clone());
        }
    }
}
