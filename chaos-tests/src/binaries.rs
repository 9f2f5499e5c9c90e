//! Finds the programs under test and refuses ones that are older than their sources.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

/// The directory to take the programs from, whatever their age.
pub const BIN_DIR_VARIABLE: &str = "PGHA_BIN_DIR";

/// The real programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The daemon.
    pub pgha: PathBuf,
    /// The command line client.
    pub pgha_ctl: PathBuf,
}

impl Binaries {
    /// `PGHA_BIN_DIR`, or the directory of the build that this test belongs to.
    pub fn find() -> anyhow::Result<Self> {
        if let Some(directory) = std::env::var_os(BIN_DIR_VARIABLE) {
            return Self::within(Path::new(&directory));
        }
        let executable = std::env::current_exe().context("cannot tell this program's own path")?;
        let found = Self::within(build_directory(&executable))?;
        for program in [&found.pgha, &found.pgha_ctl] {
            refuse_stale(program)?;
        }
        Ok(found)
    }

    fn within(directory: &Path) -> anyhow::Result<Self> {
        let program = |name: &str| {
            let path = directory.join(name);
            anyhow::ensure!(
                path.is_file(),
                "{} does not exist: run `make build` (cargo does not build other packages' \
                 programs for a test), or set {BIN_DIR_VARIABLE}",
                path.display()
            );
            Ok(path)
        };
        Ok(Self {
            pgha: program("pgha")?,
            pgha_ctl: program("pgha-ctl")?,
        })
    }

    /// The same programs where the account can reach them: as they are, or copied into `directory`
    /// where a parent (a checkout below `/root`) is closed to others.
    pub fn reachable(&self, directory: &Path) -> anyhow::Result<Self> {
        if is_open_to_all(&self.pgha) {
            return Ok(self.clone());
        }
        let copy = |from: &Path, name: &str| -> anyhow::Result<PathBuf> {
            let to = directory.join(name);
            std::fs::copy(from, &to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
            Ok(to)
        };
        Ok(Self {
            pgha: copy(&self.pgha, "pgha")?,
            pgha_ctl: copy(&self.pgha_ctl, "pgha-ctl")?,
        })
    }
}

/// `target/debug` of `target/debug/deps/test-0123` and of `target/debug/pgha-bench`.
fn build_directory(executable: &Path) -> &Path {
    let parent = executable.parent().unwrap_or(executable);
    if parent.ends_with("deps") {
        parent.parent().unwrap_or(parent)
    } else {
        parent
    }
}

/// A test of yesterday's program proves nothing. Cargo lists what a program was made of beside it.
fn refuse_stale(program: &Path) -> anyhow::Result<()> {
    let built = modified(program)?;
    let list = program.with_extension("d");
    let text = std::fs::read_to_string(&list)
        .with_context(|| format!("{} is missing: run `make build`", list.display()))?;
    for source in sources(&text) {
        // A source that is gone makes cargo build again; so should we.
        let newer = modified(Path::new(source)).map_or(true, |changed| changed > built);
        anyhow::ensure!(
            !newer,
            "{} is older than {}: run `make build`",
            in_project(program).display(),
            in_project(Path::new(source)).display()
        );
    }
    Ok(())
}

/// As seen from the project's folder: the message is kept in results, which others read elsewhere.
fn in_project(path: &Path) -> &Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.and_then(|root| path.strip_prefix(root).ok())
        .unwrap_or(path)
}

/// The prerequisites of a make rule as cargo writes it: `target: source source`.
fn sources(rule: &str) -> impl Iterator<Item = &str> {
    rule.lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, sources)| sources.split_whitespace())
}

fn modified(path: &Path) -> anyhow::Result<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("cannot tell the age of {}", path.display()))
}

fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .all(|part| {
            std::fs::metadata(part).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_directory_is_above_deps() {
        let of = |path| build_directory(Path::new(path)).to_owned();
        assert_eq!(of("/t/debug/deps/formation-1f"), Path::new("/t/debug"));
        assert_eq!(of("/t/release/pgha-bench"), Path::new("/t/release"));
    }

    #[test]
    fn a_make_rule_names_its_sources() {
        let found: Vec<_> = sources("/t/pgha: /s/a.rs /s/b.rs\n").collect();
        assert_eq!(found, ["/s/a.rs", "/s/b.rs"]);
    }

    #[test]
    fn a_program_older_than_a_source_is_refused() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let (program, source) = (
            directory.path().join("pgha"),
            directory.path().join("main.rs"),
        );
        std::fs::write(&program, "")?;
        std::fs::write(&source, "")?;
        std::fs::write(
            directory.path().join("pgha.d"),
            format!("{}: {}\n", program.display(), source.display()),
        )?;
        let now = SystemTime::now();
        let hour = std::time::Duration::from_secs(3600);
        std::fs::File::options()
            .write(true)
            .open(&program)?
            .set_modified(now)?;
        std::fs::File::options()
            .write(true)
            .open(&source)?
            .set_modified(now - hour)?;
        refuse_stale(&program)?;
        std::fs::File::options()
            .write(true)
            .open(&source)?
            .set_modified(now + hour)?;
        assert!(refuse_stale(&program).is_err());
        Ok(())
    }
}
