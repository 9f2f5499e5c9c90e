//! The read-write port of the primary's own member beside HAProxy and beside nothing.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::bench::figures::{Figure, Unit, median};
use crate::cluster::Cluster;
use crate::options::ClusterOptions;
use crate::{plain, process, wait};

/// Interleaved, so that what else the machine does hits all alike.
const ROUNDS: usize = 5;
const SECONDS: &str = "5";
const SCALE: &str = "10";
const TITLES: [&str; 3] = ["direct", "pgha", "HAProxy"];

/// One kind of load: title, pgbench's script, clients.
const WORKLOADS: [(&str, &str, &str); 4] = [
    ("select-only, 1 client", "select-only", "1"),
    ("select-only, 16 clients", "select-only", "16"),
    ("select-only, 200 clients", "select-only", "200"),
    ("TPC-B, 16 clients", "tpcb-like", "16"),
];

struct HaProxy {
    child: Child,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Transactions a second, and the proxy's processor time for each.
struct Sample {
    tps: f64,
    cpu_us: Option<f64>,
}

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let options = ClusterOptions::new(1).initial("postgres.parameters.max_connections", 300);
    let mut cluster = Cluster::start_with(options).await?;
    let at = cluster.members[0].addresses;
    let port = cluster.ports.take()?;
    let haproxy = start_haproxy(&cluster, port, at.postgres.port()).await?;
    let bench = Pgbench {
        password: cluster.read_write("n1")?.password,
    };
    bench.run(
        at.postgres.port(),
        &["--initialize", "--quiet", "--scale", SCALE],
    )?;
    let sidecar = cluster.members[0].sidecar_pid()?;
    let haproxy_pid = i32::try_from(haproxy.child.id())?;
    let paths = [
        (at.postgres.port(), None),
        (at.read_write.port(), Some(sidecar)),
        (port, Some(haproxy_pid)),
    ];
    let mut figures = Vec::new();
    for (title, script, clients) in WORKLOADS {
        let mut samples: [Vec<Sample>; 3] = Default::default();
        for round in 0..ROUNDS {
            for step in 0..paths.len() {
                // Each path is first, second and last in turn.
                let which = (round + step) % paths.len();
                let (port, proxy) = paths[which];
                samples[which].push(bench.sample(port, proxy, script, clients)?);
            }
        }
        figures.extend(compare(title, &samples));
    }
    drop(haproxy);
    cluster.finish();
    Ok(figures)
}

fn compare(title: &str, samples: &[Vec<Sample>; 3]) -> Vec<Figure> {
    let tps = |which: usize| {
        samples[which]
            .iter()
            .map(|sample| sample.tps)
            .collect::<Vec<_>>()
    };
    let cpu = |which: usize| {
        samples[which]
            .iter()
            .filter_map(|sample| sample.cpu_us)
            .collect::<Vec<_>>()
    };
    let [direct, pgha, haproxy] = [0, 1, 2].map(|which| median(&tps(which)).unwrap_or(f64::NAN));
    let (own, other) = (cpu(1), cpu(2));
    let limit = median(&other);
    let told = [0, 1, 2].map(|which| {
        format!(
            "{} {:.0}/s",
            TITLES[which],
            median(&tps(which)).unwrap_or(0.0)
        )
    });
    vec![
        Figure::new(
            format!("{title}: TPS, pgha to HAProxy"),
            Unit::Ratio,
            vec![pgha / haproxy],
        )
        .at_least(1.0)
        .note(format!(
            "{}; to direct: pgha {:.2}, HAProxy {:.2}; aim 1.1 x HAProxy",
            told.join(", "),
            pgha / direct,
            haproxy / direct
        )),
        Figure::new(
            format!("{title}: proxy CPU for a transaction"),
            Unit::Microseconds,
            own,
        )
        .below(limit, None)
        .note(format!("HAProxy {:.1} us", limit.unwrap_or(f64::NAN))),
    ]
}

struct Pgbench {
    password: String,
}

impl Pgbench {
    fn sample(
        &self,
        port: u16,
        proxy: Option<i32>,
        script: &str,
        clients: &str,
    ) -> anyhow::Result<Sample> {
        let before = proxy.and_then(process::cpu_time);
        let text = self.run(
            port,
            &[
                "--builtin",
                script,
                "--client",
                clients,
                "--jobs",
                "2",
                "--time",
                SECONDS,
            ],
        )?;
        let after = proxy.and_then(process::cpu_time);
        let find = |start: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(start));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            word.and_then(|word| word.parse().ok())
                .with_context(|| text.clone())
        };
        let transactions = find("number of transactions actually processed: ")?;
        let spent = after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before));
        Ok(Sample {
            tps: find("tps = ")?,
            cpu_us: spent.map(|spent| spent.as_micros() as f64 / transactions),
        })
    }

    fn run(&self, port: u16, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(plain::binaries()?.join("pgbench"))
            .args([
                "--no-vacuum",
                "--host",
                "127.0.0.1",
                "--username",
                "postgres",
                "--port",
            ])
            .arg(port.to_string())
            .args(arguments)
            .arg("postgres")
            .env("PGPASSWORD", &self.password)
            .stdin(Stdio::null())
            .output()
            .context("pgbench does not start")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "pgbench {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }
}

/// The like of what people run today: TCP mode, a thread for each core, nothing else set.
async fn start_haproxy(cluster: &Cluster, port: u16, server: u16) -> anyhow::Result<HaProxy> {
    let path: PathBuf = cluster.scratch.path().join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 4000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n\
         listen postgres\n  bind 127.0.0.1:{port}\n  server primary 127.0.0.1:{server}\n"
    );
    std::fs::write(&path, text)?;
    let child = Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .spawn()
        .context("haproxy does not start: run deploy/dev/install.sh bench")?;
    let haproxy = HaProxy { child };
    wait::until("HAProxy", Duration::from_secs(10), || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        Ok(())
    })
    .await?;
    Ok(haproxy)
}
