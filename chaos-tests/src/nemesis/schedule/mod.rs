//! From a seed to what happens when, to whom, for how long.

mod draw;

use std::fmt;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::{Kind, Place};

/// How much of it, where a kind has a measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dose {
    /// It has none.
    None,
    /// So many of a hundred: of all frames, or where in the store.
    Percent(u8),
    /// Each takes so much longer.
    Delay(Duration),
    /// So many seconds ahead, or behind.
    Seconds(i64),
    /// So many thousandths of the true rate.
    RatePermille(u32),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Entry {
    /// When it strikes, from the moment the load runs.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// To whom.
    pub place: Place,
    /// How long it lasts; of a kill, how long until it is started again.
    pub length: Duration,
    /// How much.
    pub dose: Dose,
}

/// What happens in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// What it was drawn from, beside the kind.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// In the order of striking.
    pub entries: Vec<Entry>,
}

impl Schedule {
    /// The schedule of that kind, seed and round; always the same one.
    pub fn draw(kind: Kind, seed: u64, round: u64) -> Self {
        // Each kind and round has numbers of its own: one more kind changes no other.
        let name = kind
            .name()
            .bytes()
            .fold(0, |sum, byte| mix(sum, byte.into(), 1));
        let mut rng = StdRng::seed_from_u64(mix(seed, name, round));
        let mut entries = match kind {
            Kind::FlappingCut => draw::flapping(&mut rng),
            Kind::Mixed => draw::mixed(&mut rng),
            _ => vec![draw::entry(kind, &mut rng)],
        };
        if round == 0 && draw::is_anywhere(kind) {
            // However few rounds there are, one of them hits whom it matters most.
            for entry in &mut entries {
                entry.place = Place::Primary;
                entry.length = draw::first_length(kind, &mut rng).unwrap_or(entry.length);
            }
        }
        entries.sort_by_key(|entry| entry.at);
        Self {
            seed,
            kind,
            entries,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}:", self.seed)?;
        for entry in &self.entries {
            let (at, length) = (entry.at.as_secs_f64(), entry.length.as_secs_f64());
            let (kind, place) = (entry.kind.name(), entry.place);
            write!(f, " [{at:.2} s {kind}, {place}, {length:.2} s")?;
            match entry.dose {
                Dose::None => {}
                Dose::Percent(percent) => write!(f, ", {percent} %")?,
                Dose::Delay(delay) => write!(f, ", {delay:?} more")?,
                Dose::Seconds(seconds) => write!(f, ", {seconds:+} s")?,
                Dose::RatePermille(rate) => write!(f, ", {rate} permille")?,
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

const fn mix(seed: u64, kind: u64, round: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(kind.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(round.wrapping_mul(0x94d0_49bb_1331_11eb))
}

#[cfg(test)]
mod tests;
