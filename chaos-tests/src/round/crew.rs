//! Everybody who watches a round: writers, clients of registers, a reader, the sampler.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::Cluster;
use crate::load::{self, Load, LoadOptions, Record};
use crate::reader::{Read, Reader};
use crate::registers::{self, Operation, Registers};
use crate::sampler::{self, Sampler, Seen};
use crate::sql::Target;
use crate::wait;

/// Writers of a round have numbers from the round's times this on.
pub(super) const WRITERS_MAX: i32 = 100;
/// Of these the clients of registers have the numbers from this on.
const REGISTERS: i32 = 50;
/// Between two rows of one writer.
const EVERY: Duration = Duration::from_millis(20);

/// Of a login and of an answer; see the clients of registers.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of one that waits out every freeze, and is told what was kept for it.
const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// Until the first port has made the tables.
const TABLES_WITHIN: Duration = Duration::from_secs(60);

/// All of them, at work.
pub(super) struct Crew {
    first_writer: i32,
    loads: Vec<Load>,
    registers: Registers,
    reader: Reader,
    sampler: Sampler,
}

/// What they were told.
pub(super) struct Told {
    /// The lowest number of a writer.
    pub first_writer: i32,
    /// Of each writer.
    pub records: Vec<Record>,
    /// When the clock of each writer began.
    pub origins: Vec<Instant>,
    /// Of the clients of registers, on the sampler's clock.
    pub operations: Vec<Operation>,
    /// Of the reader, on the sampler's clock.
    pub reads: Vec<Read>,
    /// Of the sampler.
    pub seen: Seen,
    /// When the sampler's clock began.
    pub origin: Instant,
    /// When the writers were told to stop.
    pub stopped: Instant,
}

/// Every table of the crew, through a port.
async fn make_tables(
    cluster: &Cluster,
    targets: &[Target],
    first_register: i32,
) -> anyhow::Result<()> {
    let port = targets.first().context("no ports")?;
    let session = port.connect(PATIENCE).await?;
    for table in [load::TABLE, sampler::TABLE] {
        session.run(table).await?;
    }
    registers::prepare(&session, first_register).await?;
    drop(session);
    // Who looks directly finds the tables on every server.
    cluster.wait_healthy(TABLES_WITHIN).await.map(drop)
}

impl Crew {
    /// Starts one writer for each member's port, which goes on to the next port when that fails; one more for
    /// each where something `freezes`, who waits for an answer for as long as it takes. Such a client proves
    /// nothing of a cut: its kernel sends again what the cut has dropped.
    pub(super) async fn begin(
        cluster: &Cluster,
        round: u32,
        freezes: bool,
    ) -> anyhow::Result<Self> {
        let first_writer = i32::try_from(round)? * WRITERS_MAX;
        let mut targets = cluster.read_write_except(&[])?;
        let make = || make_tables(cluster, &targets, first_writer + REGISTERS);
        wait::until("the tables", TABLES_WITHIN, make).await?;
        let mut loads = Vec::new();
        let patient = if freezes { targets.len() } else { 0 };
        for (index, writer) in (first_writer..).take(targets.len() + patient).enumerate() {
            let answer_within = if index < targets.len() {
                PATIENCE
            } else {
                LONG_PATIENCE
            };
            let options = LoadOptions {
                every: EVERY,
                connect_within: PATIENCE,
                answer_within,
                ..LoadOptions::new(writer, targets.clone())
            };
            loads.push(Load::resume(options));
            targets.rotate_left(1);
        }
        let origin = Instant::now();
        let registers = Registers::begin(&targets, first_writer + REGISTERS, origin);
        let reader = Reader::begin(targets, first_writer, origin);
        let sampler = Sampler::begin(cluster, origin)?;
        Ok(Self {
            first_writer,
            loads,
            registers,
            reader,
            sampler,
        })
    }

    /// Waits for so many more rows of all writers together.
    pub(super) async fn advance(&self, rows: usize, within: Duration) -> anyhow::Result<()> {
        let acknowledged = || self.loads.iter().map(Load::acknowledged).sum::<usize>();
        let goal = acknowledged() + rows;
        wait::until_true(&format!("{rows} more acknowledged rows"), within, || {
            acknowledged() >= goal
        })
        .await
    }

    /// Ends all; the sampler last, so that it has seen what the others were told.
    pub(super) async fn end(self) -> anyhow::Result<Told> {
        let stopped = Instant::now();
        let mut records = Vec::new();
        let mut origins = Vec::new();
        for load in self.loads {
            origins.push(load.origin());
            records.push(load.stop().await?);
        }
        let operations = self.registers.end().await?;
        let reads = self.reader.end().await?;
        let origin = self.sampler.origin();
        let seen = self.sampler.end().await?;
        Ok(Told {
            first_writer: self.first_writer,
            records,
            origins,
            operations,
            reads,
            seen,
            origin,
            stopped,
        })
    }
}
