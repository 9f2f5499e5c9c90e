//! Wall clocks that are wrong, for everything of a member: sidecar, guard, PostgreSQL.
//!
//! Only the wall clock: leases rest on the rate of `CLOCK_BOOTTIME`, so a wrong rate of that breaks what
//! they assume, and is the simulator's to play (decision 0019).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use super::Held;
use crate::cluster::Cluster;
use crate::nemesis::Dose;
use crate::plain;

const WITHIN: Duration = Duration::from_secs(60);
const TRUE: &str = "+0";

/// A clock that was set.
pub(in crate::nemesis) struct Wrong {
    name: String,
    dose: Dose,
    since: Instant,
}

/// The multithreaded variant, where Debian and Ubuntu have it.
fn library() -> anyhow::Result<PathBuf> {
    let found = std::fs::read_dir("/usr/lib")?.flatten().find_map(|entry| {
        let path = entry.path().join("faketime/libfaketimeMT.so.1");
        path.is_file().then_some(path)
    });
    found.context("no libfaketime: run deploy/dev/install.sh")
}

/// Why no clock can be set here, if so.
pub(in crate::nemesis) fn obstacle() -> Option<String> {
    library().err().map(|error| error.to_string())
}

fn file(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.scratch.path().join(format!("{name}.clock"))
}

fn write(cluster: &Cluster, name: &str, setting: &str) -> anyhow::Result<()> {
    let file = file(cluster, name);
    let next = file.with_extension("next");
    cluster.account.file(&next, setting.as_bytes(), 0o644)?;
    // At once: nobody may read half of it.
    std::fs::rename(&next, &file).with_context(|| file.display().to_string())
}

/// Starts a member anew with a clock that can be set.
pub(super) async fn prepare(cluster: &mut Cluster, name: &str) -> anyhow::Result<()> {
    let file = file(cluster, name);
    if file.exists() {
        return Ok(());
    }
    super::operator::stop_member(cluster, name, WITHIN).await?;
    write(cluster, name, TRUE)?;
    let environment: Vec<(String, String)> = [
        ("LD_PRELOAD", library()?.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let programs = cluster.scratch.path().join(format!("{name}-programs"));
    wrap_postgres(&programs, &environment)?;
    let member = cluster.member_mut(name)?;
    member.environment = environment;
    member.set_flag("--pg-bin-dir", &programs.display().to_string());
    member.start()?;
    cluster.wait_healthy(WITHIN).await.map(drop)
}

/// The guard starts PostgreSQL with an environment of its own, so the server is behind a script that
/// adds the clock to it; all other programs are as they are.
fn wrap_postgres(directory: &Path, environment: &[(String, String)]) -> anyhow::Result<()> {
    use std::os::unix::fs::{PermissionsExt, symlink};
    std::fs::create_dir(directory)?;
    let real = plain::binaries()?;
    for entry in std::fs::read_dir(&real)?.flatten() {
        if entry.file_name() != "postgres" {
            symlink(entry.path(), directory.join(entry.file_name()))?;
        }
    }
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in environment {
        script.push_str(&format!("export {name}={value}\n"));
    }
    script.push_str(&format!("exec {}/postgres \"$@\"\n", real.display()));
    let path = directory.join("postgres");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Sets it.
pub(super) fn set(cluster: &Cluster, name: &str, dose: Dose) -> anyhow::Result<Held> {
    let setting = match dose {
        Dose::Seconds(seconds) => format!("{seconds:+}"),
        Dose::RatePermille(rate) => format!("+0 x{}", f64::from(rate) / 1000.0),
        Dose::None | Dose::Percent(_) | Dose::Delay(_) => {
            anyhow::bail!("a clock without a measure")
        }
    };
    write(cluster, name, &setting)?;
    Ok(Held::Clock(Wrong {
        name: name.to_owned(),
        dose,
        since: Instant::now(),
    }))
}

/// Sets it right; an error where it had not been wrong.
pub(super) async fn reset(cluster: &Cluster, wrong: Wrong) -> anyhow::Result<()> {
    let seen = ahead(cluster, &wrong.name).await;
    write(cluster, &wrong.name, TRUE)?;
    let elapsed = wrong.since.elapsed().as_secs_f64();
    let seen = seen?;
    let plausible = match wrong.dose {
        // The library looks at its file once a second.
        Dose::Seconds(seconds) => (seen - seconds as f64).abs() < 5.0,
        // It counts the rate from the start of each process.
        Dose::RatePermille(rate) => {
            let gained = (f64::from(rate) / 1000.0 - 1.0) * elapsed;
            seen / gained > 0.5
        }
        Dose::None | Dose::Percent(_) | Dose::Delay(_) => false,
    };
    anyhow::ensure!(
        plausible,
        "{:?}: the clock was {seen:.2} s ahead",
        wrong.dose
    );
    let maps = format!("/proc/{}/maps", cluster.member(&wrong.name)?.sidecar_pid()?);
    let wrapped = std::fs::read_to_string(maps)?.contains("libfaketime");
    anyhow::ensure!(wrapped, "the sidecar has the true clock");
    Ok(())
}

/// How far PostgreSQL's wall clock is ahead, in seconds.
async fn ahead(cluster: &Cluster, name: &str) -> anyhow::Result<f64> {
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let there: f64 = cluster.direct(name)?.value(sql).await?;
    let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(there - here.as_secs_f64())
}
