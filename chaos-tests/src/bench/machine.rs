//! The machine that a figure was measured on.

use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    pub(super) postgres: String,
    /// Whether the programs were built with optimisation.
    pub(super) release: bool,
}

impl Machine {
    /// Asks the kernel, the processor and PostgreSQL.
    pub fn look() -> anyhow::Result<Self> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let kib = memory
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0_u64);
        let version = std::process::Command::new(crate::plain::binaries()?.join("postgres"))
            .arg("--version")
            .output()?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            cpu: model
                .unwrap_or_default()
                .trim_start_matches(['\t', ' ', ':'])
                .to_owned(),
            memory_bytes: kib * 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            postgres: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            release: !cfg!(debug_assertions),
        })
    }
}

/// The load average of one minute.
pub(super) fn load_of_a_minute() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}
