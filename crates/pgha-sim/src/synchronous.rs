//! P2, as far as it can be judged before synchronous modes are there: a commit that waited for every data
//! member is on every one of them from then on, whoever is promoted, and whatever an operator accepts.

use crate::check::Failure;
use crate::world::World;

impl World {
    /// When a PostgreSQL accepts connections: whether a restart, a clone or a rewind cost it anything.
    pub(crate) fn check_synchronous(&mut self, node: usize) {
        let n = &self.nodes[node];
        let Some(data) = n.disk.data.as_ref().filter(|_| self.profile.synchronous) else {
            return;
        };
        let has = |index: usize, chain: u64| data.wal.get(index).is_some_and(|r| r.chain == chain);
        let writes = self.acknowledged.iter();
        let lost = writes.filter(|w| !has(w.index, w.chain)).count();
        let member = n.name.to_string();
        self.count("synchronous data judged");
        if lost > 0 {
            self.fail(Failure::SynchronousDataLost { member, lost });
        }
    }
}
