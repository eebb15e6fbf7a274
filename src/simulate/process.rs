//! A scheduler and its store, as the runtime holds them: started from what is durable, and given events.
//!
//! What the runtime does with sockets and files is done here with values. Used by [`World`](super::World), and by
//! whoever wants to feed a scheduler events of his own.

use crate::scheduler::{Deployment, Effect, Event, Scheduler, StartError, Stored, store};
use crate::wire::Call;

/// A scheduler that runs, and its store.
#[derive(Clone, Debug)]
pub struct Process {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// What is durable.
    pub stored: Stored,
}

impl Process {
    /// Starts from what is stored, by the same path as the runtime. What the start has to store is still to be
    /// [performed](Self::perform).
    pub fn start(
        deployment: &Deployment,
        stored: Stored,
        run: u64,
    ) -> Result<(Self, Vec<Effect>), StartError> {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&run.to_be_bytes());
        let Deployment { service, config } = deployment.clone();
        let (scheduler, effects) = Scheduler::start(config, service, &stored, seed)?;
        Ok((Self { scheduler, stored }, effects))
    }

    /// Gives the scheduler an event at a time (seconds), stores what it wants stored, and returns its calls in order.
    pub fn send(&mut self, now: f64, event: Event) -> Vec<Call> {
        let effects = self.scheduler.handle(now, event);
        self.perform(effects)
    }

    /// Stores what is to be stored, and returns the calls in order.
    pub fn perform(&mut self, effects: Vec<Effect>) -> Vec<Call> {
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(writes) => store(&mut self.stored, &writes),
                Effect::Call(call) => calls.push(*call),
            }
        }
        calls
    }
}
