//! Scenario files: a package's own tests, written as what happens to its scheduler and what it must do then.
//!
//! A scenario needs no cluster: its events go straight into the scheduler that also runs services, one second after the
//! other, and what the scheduler does is looked at. [`read`] makes a [`Scenario`] of a file, [`play`] an [`Outcome`] of that and
//! of what each run is started with. Called by `dagpkg simulate --scenario`.

mod check;
mod offers;
mod outcome;
mod play;
mod read;
mod templates;
#[cfg(test)]
mod tests;

pub use outcome::{Outcome, RunOutcome, Verdict};
pub use play::play;
pub use read::read;

use crate::finding::Source;
use crate::scheduler::{Command, PodCommand};
use crate::wire::TaskState;
use std::collections::BTreeMap;

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file.
    pub source: Source,
    /// What it shows, in words.
    pub about: Option<String>,
    /// The package's folder, relative to the file's; none if the file doesn't say.
    pub package: Option<String>,
    /// What is run, each on the state that the one before has left.
    pub runs: Vec<Run>,
}

/// One life of a scheduler.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Options of the package, `name.of.option=JSON`.
    pub options: Vec<String>,
    /// Variables of the scheduler's environment, over those that the package gives it.
    pub env: BTreeMap<String, String>,
    /// Parameters of the build.
    pub parameters: BTreeMap<String, String>,
    /// What happens, and what must be so then.
    pub ticks: Vec<Tick>,
}

/// One line of a run.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the file, from 1.
    pub column: usize,
    /// As it is written.
    pub text: String,
    /// What is done.
    pub action: Action,
}

/// What a tick does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Something happens.
    Send(Send),
    /// Something must be so.
    Expect(Expectation),
}

/// What happens to a scheduler.
#[derive(Clone, Debug)]
pub enum Send {
    /// The master accepts the framework.
    Register,
    /// The master makes offers.
    Offer(Wish),
    /// Offers come, and there are none.
    NoOffers,
    /// A task's state changes.
    Status {
        /// The task's instance name.
        task: String,
        /// Its state.
        state: TaskState,
        /// How its readiness check ended.
        readiness: Option<i32>,
        /// Its id, where that isn't the one of its last launch.
        task_id: Option<String>,
    },
    /// An operator's command.
    Command(Command),
    /// So many seconds pass.
    Wait(u32),
}

/// Which offers are made.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Each is as large as one instance of this pod needs.
    pub pod: String,
    /// How many there are, each of an agent of its own.
    pub count: u32,
    /// The agent's host name.
    pub hostname: Option<String>,
    /// Offers what this instance of the pod has reserved, where that is.
    pub reoffer: Option<u32>,
    /// The agent's region.
    pub region: Option<String>,
    /// The agent's zone.
    pub zone: Option<String>,
    /// The agent's attributes.
    pub attributes: Vec<(String, String)>,
}

/// What must be so.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// The last offer was declined.
    DeclinedLastOffer,
    /// Exactly these tasks were launched since something was sent last.
    Launched {
        /// Their instance names.
        tasks: Vec<String>,
        /// With so many calls.
        calls: Option<usize>,
    },
    /// Exactly the reservations of these tasks were given back since something was sent last.
    Unreserved(Vec<String>),
    /// A task was asked to end, so often in this run; at least once if no number is given.
    Killed {
        /// The task's instance name, or its id.
        task: TaskRef,
        /// How often.
        times: Option<usize>,
    },
    /// The master was asked since something was sent last how tasks are.
    Reconciled {
        /// How known tasks are, or all that the master knows.
        explicitly: bool,
    },
    /// Offers were asked for again, so often in this run.
    Revived(usize),
    /// Offers were said not to be wanted, so often in this run.
    Suppressed(usize),
    /// Every plan is complete, or was never started.
    AllPlansComplete,
    /// A plan's status.
    PlanStatus(String, String),
    /// A step's status.
    StepStatus {
        /// The plan.
        plan: String,
        /// The phase.
        phase: String,
        /// The step.
        step: String,
        /// Its status, as operators see it.
        status: String,
    },
    /// How many steps a plan has.
    StepCount(String, usize),
    /// Exactly these tasks are stored.
    KnownTasks(Vec<String>),
    /// A variable of a task's command; none if it must not have it.
    TaskEnv {
        /// The task's instance name.
        task: String,
        /// The variable.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// A task's state, as operators see it.
    TaskStatus(String, String),
    /// These tasks have one executor.
    SamePod(Vec<String>),
    /// The service, or its update, is refused, with this in the reasons.
    Refused(String),
}

/// A task, by one of its names.
#[derive(Clone, Debug)]
pub enum TaskRef {
    /// Its instance name: any of its launches.
    Name(String),
    /// Its id: one launch.
    Id(String),
}

impl Send {
    fn pod(pod: &str, command: PodCommand) -> Self {
        Self::Command(Command::Pod { pod: pod.to_owned(), command })
    }
}
