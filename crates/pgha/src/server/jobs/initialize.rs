//! Makes the first data directory of a cluster.

use std::path::Path;

use anyhow::Context as _;
use pgha_core::Secret;
use pgha_core::decide::JobDone;
use pgha_postgres::{InitdbOptions, initdb};

use super::{JobContext, STALL_MAX};

pub(super) async fn initialize(context: &JobContext) -> anyhow::Result<JobDone> {
    let site = context.worker.site();
    let password = match &context.superuser_password {
        Some(password) => password.clone(),
        None => drawn_password(&context.password_path)?,
    };
    let options = InitdbOptions {
        superuser: site.superuser.clone(),
        password,
        locale: "C.UTF-8".to_owned(),
        epoch: context.state.epoch,
        stall_limit: STALL_MAX,
    };
    initdb(&site.installation, &site.layout, &options).await?;
    site.mark_fresh()?;
    site.mark(&context.state);
    Ok(JobDone::Initialized)
}

/// The superuser's password where nobody gave one: drawn once, in a file that only its owner reads.
fn drawn_password(path: &Path) -> anyhow::Result<Secret> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Ok(text) = std::fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(Secret::new(text.trim().to_owned()));
    }
    let text = format!("{:032x}", rand::random::<u128>());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    tracing::info!(path = %path.display(), "the superuser's password was drawn; it is in this file");
    Ok(Secret::new(text))
}
