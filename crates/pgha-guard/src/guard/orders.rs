//! What the sidecar orders. Each order is either refused, and changes nothing, or carried out.

use pgha_core::{Epoch, Mono};

use super::knock::Door;
use super::postmaster;
use super::state::{Guard, Phase, Primary, Role};
use crate::clock;
use crate::lock::GuardLock;
use crate::message::{EmptyCause, Event, Order, Refusal, Start, StartRole};
use crate::release::ReleaseRoute;
use crate::secret::Secret;

impl Guard {
    pub(super) fn take_orders(&mut self) {
        if let Some(control) = &mut self.control {
            control.flush();
            control.fill();
        }
        while let Some(order) = self.control.as_mut().and_then(|control| control.next()) {
            self.obey(order);
        }
        if self
            .control
            .as_ref()
            .is_some_and(|control| control.is_closed())
        {
            self.control = None;
            self.lose_sidecar();
        }
    }

    /// Without its sidecar a primary has no gate and no lease, so it ends at once; a standby goes
    /// on until the next sidecar knocks at the door.
    fn lose_sidecar(&mut self) {
        match (&self.phase, &self.role) {
            (Phase::Running, Role::Primary(_)) => {
                self.begin_emptying(EmptyCause::SidecarGone, clock::now());
            }
            (Phase::AwaitingAck { .. }, _) => self.release_unacknowledged(),
            (Phase::Running, Role::Standby(_)) | (Phase::Emptying(_) | Phase::Idle, _) => {}
        }
    }

    fn obey(&mut self, order: Order) {
        let name = order.name();
        let done = match order {
            Order::Ack { epoch } => {
                self.acknowledge(epoch);
                Ok(())
            }
            Order::Assume {
                epoch,
                secret,
                route,
            } => self.assume(epoch, secret, route),
            Order::Empty { epoch } => self.empty_as_ordered(epoch),
            Order::Quit => self.quit(),
            Order::Route { epoch, route } => self.reroute(epoch, route),
            Order::Signal { epoch, signal } => self
                .admit(epoch)
                .and_then(|()| self.running())
                .map(|()| self.signal_postmaster(signal)),
            Order::StandDown { epoch } => self.stand_down(epoch),
            Order::Start(start) => self.start(&start),
        };
        if let Err(why) = done {
            let order = name.to_owned();
            self.say(&Event::Refused { order, why });
        }
    }

    /// Refuses what is of the past, and remembers what is not.
    fn admit(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        let seen = self.seen;
        if epoch < seen {
            return Err(Refusal::Stale { epoch, seen });
        }
        self.seen = epoch;
        Ok(())
    }

    fn running(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Running => Ok(()),
            Phase::AwaitingAck { .. } | Phase::Emptying(_) | Phase::Idle => {
                Err(Refusal::NotRunning)
            }
        }
    }

    /// The deadline under which a primary of `epoch` may run.
    fn permit(&self, epoch: Epoch) -> Result<Mono, Refusal> {
        if epoch <= self.ended {
            return Err(Refusal::Used { epoch });
        }
        self.lease_of(epoch)
    }

    fn assume(&mut self, epoch: Epoch, secret: Secret, route: ReleaseRoute) -> Result<(), Refusal> {
        self.admit(epoch)?;
        self.running()?;
        let kill_at = self.permit(epoch)?;
        let was_standby = match &self.role {
            Role::Primary(primary) => primary.was_standby && primary.epoch == epoch,
            Role::Standby(_) => true,
        };
        self.role = Role::Primary(Primary {
            epoch,
            secret,
            route,
            kill_at,
            was_standby,
        });
        self.stamp();
        self.say(&Event::Assumed { epoch });
        Ok(())
    }

    fn stand_down(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        self.admit(epoch)?;
        self.running()?;
        match &self.role {
            Role::Primary(primary) if primary.epoch == epoch && primary.was_standby => {}
            Role::Primary(_) | Role::Standby(_) => return Err(Refusal::NotThatPrimary { epoch }),
        }
        self.ended = epoch;
        self.role = Role::Standby(epoch);
        self.say(&Event::StoodDown { epoch });
        Ok(())
    }

    fn reroute(&mut self, epoch: Epoch, new: ReleaseRoute) -> Result<(), Refusal> {
        self.admit(epoch)?;
        match &mut self.role {
            Role::Primary(primary) if primary.epoch == epoch => {
                primary.route = new;
                Ok(())
            }
            Role::Primary(_) | Role::Standby(_) => Err(Refusal::NotThatPrimary { epoch }),
        }
    }

    fn empty_as_ordered(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        self.admit(epoch)?;
        self.running()?;
        self.begin_emptying(EmptyCause::Ordered, clock::now());
        Ok(())
    }

    fn quit(&mut self) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Emptying(_) | Phase::Running => return Err(Refusal::TreeNotEmpty),
            Phase::AwaitingAck { .. } => self.release_unacknowledged(),
            Phase::Idle => {}
        }
        self.leaving = true;
        Ok(())
    }

    fn start(&mut self, start: &Start) -> Result<(), Refusal> {
        let epoch = start.role.epoch();
        self.admit(epoch)?;
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        match &self.phase {
            Phase::Emptying(_) | Phase::Running => {
                let epoch = self.role.epoch();
                return Err(Refusal::AlreadyRunning { epoch });
            }
            Phase::AwaitingAck { .. } | Phase::Idle => {}
        }
        let lock = self.take_lock()?;
        // As late as can be: taking the lock may have touched a slow disk.
        let role = self.role_of(&start.role)?;
        let pid = postmaster::spawn(start, &lock).map_err(|error| Refusal::Spawn {
            program: start.program.clone(),
            error: error.to_string(),
        })?;
        // A sidecar that starts the next tree has seen the last one's end, and left its release.
        self.release_unacknowledged();
        self.lock = Some(lock);
        self.postmaster = Some(pid);
        self.role = role;
        self.phase = Phase::Running;
        self.stamp();
        let primary = matches!(self.role, Role::Primary(_));
        self.say(&Event::Started {
            pid,
            epoch,
            primary,
        });
        Ok(())
    }

    fn role_of(&self, role: &StartRole) -> Result<Role, Refusal> {
        match role {
            StartRole::Primary {
                epoch,
                secret,
                route,
            } => Ok(Role::Primary(Primary {
                epoch: *epoch,
                secret: secret.clone(),
                route: route.clone(),
                kill_at: self.permit(*epoch)?,
                was_standby: false,
            })),
            StartRole::Standby { epoch } => Ok(Role::Standby(*epoch)),
        }
    }

    fn take_lock(&mut self) -> Result<GuardLock, Refusal> {
        let lock = GuardLock::try_take(&self.options.lock_path)
            .map_err(|error| Refusal::Locked(error.to_string()))?;
        if self.door.is_none() {
            let run_dir = &self.options.run_dir;
            let door = Door::open(run_dir).map_err(|error| {
                Refusal::Files(format!(
                    "no guard.pid and guard.sock in {run_dir:?}: {error}"
                ))
            })?;
            self.door = Some(door);
        }
        Ok(lock)
    }
}
