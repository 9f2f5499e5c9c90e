//! `pgha-ctl dsn`: what to put into an application's configuration.

use clap::ValueEnum;
use serde::Serialize;

use super::status;
use crate::cli::DsnArgs;
use crate::error::CtlError;
use crate::output::{Output, write_out};
use crate::session::Session;
use crate::view::status::Status;

/// The notation of a connection string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notation {
    /// `host=... port=...`
    Libpq,
    /// `postgresql://...`
    Uri,
}

/// A connection string in both notations (PostgreSQL manual, 34.1.1 "Connection Strings").
#[derive(Debug, PartialEq, Serialize)]
struct Dsn {
    libpq: String,
    uri: String,
}

pub(crate) async fn run(session: &Session, output: Output, args: &DsnArgs) -> Result<(), CtlError> {
    let dsn = build(&status::ask(session).await?, args)?;
    match (output, args.notation) {
        (Output::Table, Some(Notation::Libpq)) => write_out(&format!("{}\n", dsn.libpq)),
        (Output::Table, Some(Notation::Uri)) => write_out(&format!("{}\n", dsn.uri)),
        (Output::Table | Output::Json | Output::Yaml, _) => output.print(&dsn, |dsn| {
            format!("libpq: {}\nuri:   {}\n", dsn.libpq, dsn.uri)
        }),
    }
}

fn build(status: &Status, args: &DsnArgs) -> Result<Dsn, CtlError> {
    let port_of = |member: &crate::view::status::Member| {
        if args.read_only {
            member.proxy_ro.clone()
        } else {
            member.proxy_rw.clone()
        }
    };
    let addresses: Vec<String> = status.members.iter().filter_map(port_of).collect();
    if addresses.is_empty() {
        let by = &status.answered_by;
        return Err(CtlError::Refused(format!(
            "{by} knows no member's ports yet; see `pgha-ctl status`"
        )));
    }
    // Through the read-only port a session may reach the primary or a replica.
    let target = if args.read_only { "any" } else { "read-write" };
    Ok(Dsn {
        libpq: libpq(&addresses, args, target),
        uri: uri(&addresses, args, target),
    })
}

fn libpq(addresses: &[String], args: &DsnArgs, target: &str) -> String {
    let pairs = addresses
        .iter()
        .map(|address| address.rsplit_once(':').unwrap_or((address, "")));
    let (hosts, ports): (Vec<&str>, Vec<&str>) = pairs
        .map(|(host, port)| (host.trim_matches(['[', ']']), port))
        .unzip();
    let user = args
        .user
        .as_ref()
        .map_or_else(String::new, |user| format!(" user={}", quoted(user)));
    format!(
        "host={} port={} dbname={}{user} target_session_attrs={target}",
        hosts.join(","),
        ports.join(","),
        quoted(&args.dbname),
    )
}

/// A value of a keyword/value string; quotes and backslashes are escaped by a backslash.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn uri(addresses: &[String], args: &DsnArgs, target: &str) -> String {
    let user = args
        .user
        .as_ref()
        .map_or_else(String::new, |user| format!("{}@", percent(user)));
    let (hosts, dbname) = (addresses.join(","), percent(&args.dbname));
    format!("postgresql://{user}{hosts}/{dbname}?target_session_attrs={target}")
}

/// Everything but the unreserved characters of RFC 3986, section 2.3.
fn percent(value: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| {
        if unreserved(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    value.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use pgha_proto::v1;

    use super::*;

    fn status(addresses: &[&str]) -> Status {
        let members = addresses.iter().map(|address| v1::MemberStatus {
            addresses: Some(v1::Addresses {
                proxy_read_write: (*address).to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        });
        Status::from(v1::StatusReply {
            members: members.collect(),
            ..Default::default()
        })
    }

    fn args(dbname: &str, user: Option<&str>) -> DsnArgs {
        DsnArgs {
            dbname: dbname.to_owned(),
            user: user.map(str::to_owned),
            read_only: false,
            notation: None,
        }
    }

    #[test]
    fn hosts_that_need_brackets_and_names_that_need_quotes() {
        let dsn = build(
            &status(&["db1:5432", "[2001:db8::1]:6432"]),
            &args("my db", Some("o'b\\c@d")),
        );
        let dsn = dsn.expect("two members");
        assert_eq!(
            dsn.libpq,
            r"host=db1,2001:db8::1 port=5432,6432 dbname='my db' user='o\'b\\c@d' target_session_attrs=read-write"
        );
        assert_eq!(
            dsn.uri,
            "postgresql://o%27b%5Cc%40d@db1:5432,[2001:db8::1]:6432/my%20db?target_session_attrs=read-write"
        );
    }

    #[test]
    fn refuses_where_no_port_is_known() {
        assert_eq!(
            build(&status(&[]), &args("postgres", None))
                .expect_err("none")
                .exit_code(),
            1
        );
    }
}
