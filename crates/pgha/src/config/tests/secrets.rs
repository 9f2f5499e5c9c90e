//! Secrets: given in one place, shown in none.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::{args, around, flags, refusal};
use crate::config::*;

#[test]
fn the_password_comes_from_one_place_and_is_never_shown() {
    let advertise = ["--advertise", "a:1"];
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"s3cret\n").expect("written");
    let path = file.path().to_str().expect("text");
    let from_file = [&advertise[..], &["--pg-superuser-password-file", path]].concat();
    let variable = [("PGHA_PG_SUPERUSER_PASSWORD", "s3cret")];
    for config in [
        flags(&from_file),
        Config::load(&args(&advertise), &around(&variable)),
    ] {
        let config = config.expect("valid");
        assert_eq!(
            config
                .postgres
                .superuser_password
                .as_ref()
                .map(|secret| secret.expose()),
            Some("s3cret")
        );
        let table = report(&config, ReportFormat::Table);
        let shown = format!("{config:?}{table}{}", report(&config, ReportFormat::Json));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let both = Config::load(&args(&from_file), &around(&variable));
    assert!(refusal(both).contains("give one of them"));
    std::fs::write(file.path(), "s3cret\nsecond\n").expect("written");
    let text = refusal(flags(&from_file));
    assert!(
        text.contains("one line") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "s3cret").expect("written");
    let path = file.path().to_str().expect("text");
    let load =
        || flags(&["--advertise", "a:1", "--pg-superuser-password-file", path]).expect("valid");
    let warning = Warning::ReadableSecret {
        path: file.path().to_owned(),
    };
    assert!(!load().warnings.contains(&warning));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644))
        .expect("own file");
    assert!(load().warnings.contains(&warning));
}
