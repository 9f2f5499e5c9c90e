//! Settings that PostgreSQL takes over at its next start only.

use std::time::Duration;

use pgha_chaos::member::Part;
use pgha_chaos::sql::Target;
use pgha_chaos::{Cluster, ClusterOptions, wait};

const WITHIN: Duration = Duration::from_secs(90);
const CONNECTIONS: &str = "137";

/// The primary crashes and is started in place with more connections than its replicas run with: they pause
/// their replay, and would serve old rows for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_follow_a_primary_that_was_started_with_higher_settings() -> anyhow::Result<()> {
    let options = ClusterOptions::new(3).initial("on_primary_crash", "restart");
    let mut cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let set = format!("postgres.parameters.max_connections={CONNECTIONS}");
    cluster
        .ctl()
        .done(&["settings", "set", &set, "--yes"])
        .await?;
    wait::until("the members to take it over", WITHIN, || async {
        let text = cluster
            .ctl()
            .done(&["--output", "json", "settings", "show"])
            .await?;
        anyhow::ensure!(text.stdout.contains("\"max_connections\""), "{text:?}");
        Ok(())
    })
    .await?;
    cluster.member_mut(&primary)?.kill(Part::Postmaster)?;
    let port = cluster.read_write(&primary)?;
    wait::until("a primary with more connections", WITHIN, || {
        runs_with_more(&port)
    })
    .await?;
    port.run("CREATE TABLE after_it (n int)").await?;
    for name in cluster.names() {
        let server = cluster.direct(&name)?;
        wait::until(&format!("{name} to follow"), WITHIN, || async {
            runs_with_more(&server).await?;
            server.run("TABLE after_it").await
        })
        .await?;
    }
    cluster.wait_healthy(WITHIN).await?;
    cluster.finish();
    Ok(())
}

async fn runs_with_more(server: &Target) -> anyhow::Result<()> {
    let value: String = server
        .value("SELECT current_setting('max_connections')")
        .await?;
    anyhow::ensure!(value == CONNECTIONS, "max_connections is {value}");
    Ok(())
}
