//! What breaks: processes, links, disks, and work that is under way.

use pgha_core::decide::StopMode;

use crate::fault::Mend;
use crate::script::order::{Order, Part, Work};
use crate::script::play::{Stage, Told};
use crate::wal::RecordKind;

impl Stage {
    pub(super) fn damage(&mut self, order: Order) -> Told {
        match order {
            Order::Kill(part, who) => {
                let node = self.who(&who)?;
                return Ok(self.kill(part, node));
            }
            Order::StopPostgres(who) => {
                let node = self.who(&who)?;
                self.world.signal(node, StopMode::Fast, "stopped by hand");
            }
            Order::Freeze(part, who) => {
                let node = self.who(&who)?;
                self.world.freeze(node, part == Part::Node);
            }
            Order::Thaw(who) => {
                let node = self.who(&who)?;
                self.world.mend(Mend::Node(node));
                self.world.mend(Mend::Sidecar(node));
            }
            Order::Join => self.world.cut.iter_mut().for_each(|row| row.fill(false)),
            Order::CutOneWay(from, to) => {
                let (from, to) = (self.who(&from)?, self.who(&to)?);
                self.world.cut[from][to] = true;
            }
            Order::Cut(one, other) => {
                let (one, other) = (self.who(&one)?, self.who(&other)?);
                self.cut(one, other);
            }
            Order::CutOff(who) => {
                let node = self.who(&who)?;
                (0..self.world.nodes.len()).for_each(|other| self.cut(node, other));
            }
            Order::Hang(who) => {
                let node = self.who(&who)?;
                self.world.hang(node);
            }
            Order::Answer(who) => {
                let node = self.who(&who)?;
                if let Some(id) = self.world.nodes[node].postgres.as_ref().map(|p| p.id) {
                    self.world.unhang(node, id);
                }
            }
            Order::Fail(work, who) => {
                let node = self.who(&who)?;
                return self.fail(work, node);
            }
            other => return self.damage_disk(other),
        }
        Ok(Vec::new())
    }

    fn damage_disk(&mut self, order: Order) -> Told {
        match order {
            Order::Wipe(who) => {
                let node = self.who(&who)?;
                let ran = self.world.nodes[node].up;
                self.world.wipe(node, false);
                if !ran || self.world.nodes[node].up {
                    return Err(format!(
                        "{who} keeps its data: one running node is wiped in a script, and only where somebody else has the data"
                    ));
                }
            }
            Order::WipeStore(who) => {
                let node = self.who(&who)?;
                let ran = self.world.nodes[node].up;
                self.world.wipe_store(node);
                if !ran || self.world.nodes[node].up {
                    return Err(format!(
                        "{who} keeps its store: that of a running node is wiped, where three or more members all vote"
                    ));
                }
            }
            Order::RemoveData(who) => {
                let node = self.who(&who)?;
                if !self.world.remove_data(node) {
                    return Err(format!("{who} is no primary with a sidecar"));
                }
            }
            Order::RemoveWal(who) => {
                let node = self.who(&who)?;
                return self
                    .remove_wal(node)
                    .ok_or_else(|| format!("{who} is no primary that answers"));
            }
            Order::StallDisk(who) => {
                let node = self.who(&who)?;
                self.world.nodes[node].disk_stalls = true;
            }
            Order::MendDisk(who) => {
                let node = self.who(&who)?;
                self.world.mend(Mend::Disk(node));
            }
            other => return self.operate(other),
        }
        Ok(Vec::new())
    }

    fn kill(&mut self, part: Part, node: usize) -> Vec<String> {
        match part {
            Part::Node => self.world.die(node, true),
            Part::Sidecar => self.world.die(node, false),
            Part::Guard => self.world.guard_dies(node),
            Part::Postgres => self
                .world
                .signal(node, StopMode::Kill, "killed by somebody"),
        }
        self.half_made(node)
    }

    fn fail(&mut self, work: Work, node: usize) -> Told {
        if !self.works(node, work) {
            let name = &self.world.nodes[node].name;
            return Err(format!("{name} is at no such work now: wait for it"));
        }
        self.world.job_failed(node, "somebody broke it off");
        Ok(self.half_made(node))
    }

    /// What lies there is neither the old data nor the new, and PostgreSQL would not notice.
    fn half_made(&self, node: usize) -> Vec<String> {
        let n = &self.world.nodes[node];
        let text = || format!("{}: its data directory is half made", n.name);
        n.disk.marker.then(text).into_iter().collect()
    }

    fn cut(&mut self, one: usize, other: usize) {
        if one != other {
            self.world.cut[one][other] = true;
            self.world.cut[other][one] = true;
        }
    }

    /// A checkpoint where the slots may keep next to nothing: `max_slot_wal_keep_size` is too small.
    fn remove_wal(&mut self, node: usize) -> Option<Vec<String>> {
        let world = &mut self.world;
        if !world.nodes[node].writable() {
            return None;
        }
        let id = world.nodes[node].postgres.as_ref().map(|p| p.id);
        let streams = |n: &crate::node::Node| {
            let receiver = n.postgres.as_ref().and_then(|p| p.receiver.as_ref());
            let receiver = receiver.filter(|r| r.from == node && r.attached == id);
            receiver.map(|receiver| receiver.slot.clone())
        };
        let used: Vec<String> = world.nodes.iter().filter_map(streams).collect();
        let origin = world.fresh_id();
        let name = world.nodes[node].name.clone();
        let data = world.nodes[node].disk.data.as_mut()?;
        let timeline = data.timeline();
        data.append(112, timeline, RecordKind::Background, origin);
        data.control_timeline = timeline;
        data.redo = data.end();
        let needed = data.slots.iter().filter(|(slot, _)| used.contains(slot));
        let kept = needed.map(|(_, lsn)| *lsn).fold(data.end(), Ord::min);
        data.kept_from = data.kept_from.max(kept);
        let lost = data.slots.iter().filter(|(_, lsn)| **lsn < data.kept_from);
        let told = lost.map(|(slot, _)| format!("{name}: what {slot} kept is removed"));
        let told = told.collect();
        world.written(node);
        world.probe_soon(node);
        Some(told)
    }
}
