//! What stands in a sidecar's way at its start: one line that names the thing, its value and the way
//! out, nothing touched, and the rest of the cluster goes on.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;

use pgha_chaos::plain;
use pgha_chaos::scene::Scene;
use pgha_chaos::skip;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_taken() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let at = scene.cluster.member(&scene.name)?.addresses;
    for (key, address) in [
        ("listen", at.raft),
        ("http.listen", at.http),
        ("proxy.read_write", at.read_write),
        ("proxy.read_only", at.read_only),
        ("postgres.listen", at.postgres),
    ] {
        let taken = TcpListener::bind(address)?;
        let address = address.to_string();
        let words = [key, &address, "taken", "stop that one"];
        scene.refused(1, &[], &words).await?;
        drop(taken);
    }
    // Of no interface of this host.
    let away = [("--http-listen", "192.0.2.1:8008")];
    let words = ["http.listen", "192.0.2.1:8008", "address of this host"];
    scene.refused(1, &away, &words).await?;
    scene.returns().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_directory_is_not_ours_to_use() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let postgres = scene.postgres()?;
    let shown = postgres.display().to_string();

    of_another_major_version(&scene, &postgres, &shown).await?;
    not_postgresql(&scene, &postgres, &shown).await?;
    if scene.cluster.account.switches() {
        of_another_user(&scene, &postgres).await?;
    } else {
        skip::say("of_another_user", "this is not root");
    }
    scene.returns().await
}

async fn of_another_major_version(
    scene: &Scene,
    postgres: &Path,
    shown: &str,
) -> anyhow::Result<()> {
    let file = postgres.join("PG_VERSION");
    let version = std::fs::read_to_string(&file)?;
    std::fs::write(&file, "12\n")?;
    let installed = format!("found is {}", version.trim());
    let words = [
        "postgres.data_dir",
        shown,
        "PostgreSQL 12",
        &installed,
        "postgres.bin_dir",
    ];
    let refused = scene.refused(1, &[], &words).await;
    std::fs::write(&file, version)?;
    refused
}

async fn not_postgresql(scene: &Scene, postgres: &Path, shown: &str) -> anyhow::Result<()> {
    let aside = postgres.with_file_name("elsewhere");
    std::fs::rename(postgres, &aside)?;
    scene.cluster.account.directory(postgres, 0o700)?;
    let file = postgres.join("accounts.xls");
    scene.cluster.account.file(&file, b"mine", 0o600)?;
    let words = ["postgres.data_dir", shown, "accounts.xls", "set another"];
    let refused = scene.refused(1, &[], &words).await;
    std::fs::remove_dir_all(postgres)?;
    std::fs::rename(&aside, postgres)?;
    refused
}

async fn of_another_user(scene: &Scene, postgres: &Path) -> anyhow::Result<()> {
    for (key, directory) in [
        ("postgres.data_dir", postgres.to_owned()),
        ("data_dir", scene.directory()?),
    ] {
        chown(&directory, Some(0), Some(0))?;
        let shown = format!("{key} = {} ", directory.display());
        let words = [&shown, "user id 0", "run pgha as its owner"];
        let refused = scene.refused(1, &[], &words).await;
        scene.cluster.account.own(&directory)?;
        refused?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_missing_or_incomplete() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let programs = scene.cluster.scratch.path().join("programs");
    scene.cluster.account.directory(&programs, 0o755)?;
    let shown = programs.display().to_string();
    let way_out = "install the server package";
    let bin_dir = [("--pg-bin-dir", shown.as_str())];
    let words = ["postgres.bin_dir", &shown, "postgres, initdb", way_out];
    scene.refused(1, &bin_dir, &words).await?;

    for program in [
        "postgres",
        "initdb",
        "pg_basebackup",
        "pg_controldata",
        "pg_ctl",
        "pg_waldump",
    ] {
        // Copied, as links would lead to the directory that has them all.
        std::fs::copy(plain::binaries()?.join(program), programs.join(program))?;
    }
    let words = ["postgres.bin_dir", &shown, "lacks pg_rewind:", way_out];
    scene.refused(1, &bin_dir, &words).await?;

    let words = ["postgres.bin_dir", "/nowhere", way_out];
    scene
        .refused(1, &[("--pg-bin-dir", "/nowhere")], &words)
        .await?;
    scene.returns().await
}

/// It must neither start beside the first nor take that one's PostgreSQL for a leftover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sidecar_has_the_directory() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let mut addresses = Vec::new();
    for _ in 0..5 {
        addresses.push(format!("127.0.0.1:{}", scene.cluster.ports.take()?));
    }
    let flags = [
        "--listen",
        "--http-listen",
        "--proxy-rw",
        "--proxy-ro",
        "--pg-listen",
    ];
    let elsewhere: Vec<(&str, &str)> = flags
        .into_iter()
        .zip(addresses.iter().map(String::as_str))
        .collect();
    let own = scene.cluster.scratch.path().join("second");
    scene.cluster.account.directory(&own, 0o700)?;
    let own = own.display().to_string();
    for victim in scene.cluster.names() {
        if victim == scene.name {
            continue;
        }
        let member = scene.cluster.member(&victim)?;
        let before = (
            member.sidecar_pid()?,
            member.guard_pid()?,
            member.postmaster_pid()?,
        );
        let data_dir = member.directory.display().to_string();
        let postgres = member.postgres_directory().display().to_string();

        let refusal = scene.run(&victim, &elsewhere).await?;
        let in_use = "in use by another sidecar";
        refusal.ends_with(1, &["data_dir", &data_dir, in_use, "stop that one"])?;

        let others = [
            elsewhere.clone(),
            vec![("--data-dir", &own), ("--pg-data-dir", &postgres)],
        ]
        .concat();
        let refusal = scene.run(&victim, &others).await?;
        let key = "postgres.data_dir";
        refusal.ends_with(1, &[key, &postgres, in_use, "stop that one"])?;

        let member = scene.cluster.member(&victim)?;
        let after = (
            member.sidecar_pid()?,
            member.guard_pid()?,
            member.postmaster_pid()?,
        );
        assert_eq!(before, after);
        assert!(!Path::new(&own).join("raft").exists());
        scene.goes_on().await?;
    }
    scene.returns().await
}
