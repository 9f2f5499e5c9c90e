//! Wrong configuration: exit 2, one line that names key, value and way out, and nothing touched.

use std::path::PathBuf;

use pgha_chaos::account::Account;
use pgha_chaos::binaries::Binaries;
use pgha_chaos::refusal::{self, Refusal};
use pgha_chaos::scratch::Scratch;
use pgha_chaos::skip;

struct Desk {
    account: Account,
    pgha: PathBuf,
    scratch: Scratch,
}

impl Desk {
    fn new() -> anyhow::Result<Self> {
        let account = Account::detect()?;
        let scratch = Scratch::new(&account)?;
        let pgha = Binaries::find()?.reachable(scratch.path())?.pgha;
        Ok(Self {
            account,
            pgha,
            scratch,
        })
    }

    /// `pgha run` with flags that are right by themselves, then those of the case.
    async fn run(&self, flags: &[&str]) -> anyhow::Result<Refusal> {
        let directory = self.scratch.path().join("data");
        let directory = directory.display().to_string();
        let mut arguments = vec!["run".to_owned()];
        for (flag, value) in [
            ("--name", "n1"),
            ("--data-dir", &directory),
            ("--listen", "127.0.0.1:7400"),
            ("--http-listen", "127.0.0.1:8008"),
            ("--proxy-rw", "127.0.0.1:5432"),
            ("--proxy-ro", "127.0.0.1:7432"),
            ("--pg-listen", "127.0.0.1:5433"),
        ] {
            if !flags.contains(&flag) {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        refusal::run(&self.account, &self.pgha, &arguments).await
    }

    fn config(&self, text: &str) -> anyhow::Result<String> {
        let path = self.scratch.path().join("pgha.yaml");
        self.account.file(&path, text.as_bytes(), 0o644)?;
        Ok(path.display().to_string())
    }

    /// Nothing was made but what this test made.
    fn untouched(&self) -> anyhow::Result<()> {
        let there = self.scratch.path().join("data").exists();
        anyhow::ensure!(!there, "a refused start made its data directory");
        Ok(())
    }
}

#[tokio::test]
async fn flags() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let peers = "n1=127.0.0.1:7400,n2=127.0.0.1:7401,n3=127.0.0.1:7402";
    let cases: &[(&[&str], &[&str])] = &[
        (&["--listen", "somewhere"], &["listen", "somewhere"]),
        (&["--listen", "127.0.0.1:99999"], &["listen", "99999"]),
        (&["--name", "two words"], &["name", "two words"]),
        (&["--cluster", "a/b"], &["cluster", "a/b"]),
        (&["--peers", "n1:7400"], &["peers", "n1:7400"]),
        (&["--peers", peers, "--name", "n4"], &["peers", "n4"]),
        (
            &[
                "--peers",
                "n1=127.0.0.1:7400,n2=127.0.0.1:7401,n2=127.0.0.1:7402",
            ],
            &["peers", "n2"],
        ),
        (
            &["--peers", "n1=127.0.0.1:7400,n2=127.0.0.1:7400"],
            &["peers", "127.0.0.1:7400"],
        ),
        (&["--listen", "0.0.0.0:7400"], &["advertise", "0.0.0.0"]),
        (&["--proxy-rw", "127.0.0.1:5433"], &["5433"]),
        (&["--initial", "lease_ms=500"], &["lease_ms", "500", "1010"]),
        (&["--initial", "lease_ms"], &["initial", "lease_ms"]),
        (&["--initial", "leas_ms=1500"], &["leas_ms"]),
        (&["--initial", "postgres.parameters.fsync=off"], &["fsync"]),
        (&["--initial", "postgres.parameters.port=1"], &["port"]),
        (&["--initial", "sync.mode=maybe"], &["sync.mode", "maybe"]),
        (
            &["--pg-superuser-password-file", "/nowhere/p"],
            &["superuser_password_file", "/nowhere/p"],
        ),
        (&["--config", "/nowhere/pgha.yaml"], &["/nowhere/pgha.yaml"]),
    ];
    for (flags, words) in cases {
        let refusal = desk.run(flags).await?;
        refusal
            .says(2, words)
            .map_err(|error| error.context(format!("{flags:?}")))?;
        desk.untouched()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let cases: &[(&str, &[&str])] = &[
        (
            "proxy:\n  read_wrote: 127.0.0.1:1\n",
            &["read_wrote", "read_write"],
        ),
        ("clutser: main\n", &["clutser", "cluster"]),
        ("cluster: [a, b\n", &["pgha.yaml"]),
        ("witness: perhaps\n", &["witness", "perhaps"]),
        (
            "postgres:\n  hba: [\"host all all 127.0.0.0/8 trust\"]\n",
            &["hba", "trust"],
        ),
        (
            "postgres:\n  hba: [\"host all all 0.0.0.0/0 trust\"]\n",
            &["hba", "trust"],
        ),
        ("postgres:\n  hba: [\"nonsense\"]\n", &["hba", "nonsense"]),
    ];
    for (text, words) in cases {
        let path = desk.config(text)?;
        let refusal = desk.run(&["--config", &path]).await?;
        refusal
            .says(2, words)
            .map_err(|error| error.context((*text).to_owned()))?;
        desk.untouched()?;
    }
    Ok(())
}

/// Every client of the ports has a member's address: such a line admits everybody.
#[tokio::test]
async fn a_line_that_trusts_the_members_network() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let peers = "n1=10.7.0.1:7400,n2=10.7.0.2:7400,n3=10.7.0.3:7400";
    for line in [
        "host all all 10.7.0.0/24 trust",
        "host all all 10.7.0.2/32 trust",
        "host all all 10.7.0.3 255.255.255.255 trust",
        "hostssl all all samenet trust",
        "host all all all password",
        "local all all trust",
    ] {
        let path = desk.config(&format!("postgres:\n  hba: [\"{line}\"]\n"))?;
        let flags = ["--config", &path, "--peers", peers];
        let refusal = desk.run(&flags).await?;
        let words = ["postgres.hba", line, "members' addresses", "scram-sha-256"];
        refusal
            .says(2, &words)
            .map_err(|error| error.context(line))?;
        desk.untouched()?;
    }
    Ok(())
}

#[tokio::test]
async fn check_config_says_the_same() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    let path = desk.config("postgres:\n  hba: [\"host all all 127.0.0.1/32 trust\"]\n")?;
    let arguments = [
        "check-config",
        "--listen",
        "127.0.0.1:7400",
        "--config",
        &path,
    ];
    let arguments = arguments.map(str::to_owned);
    let refusal = refusal::run(&desk.account, &desk.pgha, &arguments).await?;
    refusal.says(2, &["hba", "trust"])
}

#[tokio::test]
async fn root_is_refused() -> anyhow::Result<()> {
    let desk = Desk::new()?;
    if !desk.account.switches() {
        skip::say("root_is_refused", "this is not root");
        return Ok(());
    }
    let directory = desk.scratch.path().join("data").display().to_string();
    let arguments = [
        "run",
        "--listen",
        "127.0.0.1:7400",
        "--data-dir",
        &directory,
    ];
    let refusal = refusal::run_as_caller(&desk.pgha, &arguments.map(str::to_owned)).await?;
    refusal.says(2, &["root", "setpriv"])?;
    desk.untouched()
}
