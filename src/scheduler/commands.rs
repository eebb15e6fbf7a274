//! What operators ask for.

use super::{Effect, Scheduler};
use crate::plan::{Outcome, Plan, Status, StepAt};
use crate::spec::{PodType, pod_instance_name};
use std::collections::BTreeMap;

/// An operator's command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// About a plan, a phase of it or a step of that.
    Plan {
        /// The plan's name.
        plan: String,
        /// The phase's name or id.
        phase: Option<String>,
        /// The step's name or id; only with a phase.
        step: Option<String>,
        /// What to do.
        command: PlanCommand,
    },
    /// About a pod instance.
    Pod {
        /// `<type>-<index>`.
        pod: String,
        /// What to do.
        command: PodCommand,
    },
}

/// What can be done with plans.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanCommand {
    /// Begin, with these parameters; a complete plan is done again.
    Start(BTreeMap<String, String>),
    /// Interrupt and begin anew at the next start.
    Stop,
    /// Go on.
    Continue,
    /// Begin nothing new.
    Interrupt,
    /// Count it as done.
    ForceComplete,
    /// Do it again.
    Restart,
}

/// What can be done with pod instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodCommand {
    /// End its tasks and start them again where they are.
    Restart,
    /// End its tasks, give its reservations and volumes up, and start anew anywhere.
    Replace,
}

/// A command that can't be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is nothing of that name.
    #[error("{kind} {name} not found")]
    NotFound {
        /// Plan, Phase, Step or Pod.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A step was named without its phase.
    #[error("Missing phase")]
    MissingPhase,
}

fn not_found(kind: &'static str, name: &str) -> CommandError {
    CommandError::NotFound { kind, name: name.to_owned() }
}

impl Scheduler {
    /// Carries out a command. The names are those of the tasks that it is about; `Already` means that nothing had to be done.
    pub fn command(
        &mut self,
        now: f64,
        command: &Command,
    ) -> Result<(Outcome, Vec<String>, Vec<Effect>), CommandError> {
        let (outcome, tasks) = match command {
            Command::Plan { plan, phase, step, command } => {
                (self.plan_command(now, plan, phase.as_deref(), step.as_deref(), command)?, Vec::new())
            }
            Command::Pod { pod, command } => (Outcome::Done, self.pod_command(now, pod, *command)?),
        };
        self.progress(now);
        Ok((outcome, tasks, self.take_effects()))
    }

    fn plan_command(
        &mut self,
        now: f64,
        name: &str,
        phase: Option<&str>,
        step: Option<&str>,
        command: &PlanCommand,
    ) -> Result<Outcome, CommandError> {
        let at = self.plans.iter().position(|p| p.name == name).ok_or_else(|| not_found("Plan", name))?;
        let status = self.plan_status(now, &self.plans[at]);
        let plan = &mut self.plans[at];
        match command {
            PlanCommand::Start(parameters) => {
                plan.start(now, parameters);
                Ok(Outcome::Done)
            }
            PlanCommand::Stop => {
                plan.stop();
                Ok(Outcome::Done)
            }
            PlanCommand::Continue => proceed(now, plan, status, phase),
            PlanCommand::Interrupt => interrupt(now, plan, status, phase),
            PlanCommand::ForceComplete => force_complete(now, plan, status, phase, step),
            PlanCommand::Restart => {
                let (outcome, steps) = restart(now, plan, status, phase, step)?;
                for instance in steps {
                    self.delays.remove(&instance);
                }
                Ok(outcome)
            }
        }
    }

    fn pod_command(&mut self, now: f64, pod: &str, command: PodCommand) -> Result<Vec<String>, CommandError> {
        let of_pod = self.tasks.iter().filter(|(_, t)| pod_instance_name(&t.pod, t.index) == pod);
        let tasks: Vec<_> =
            of_pod.map(|(instance, t)| (instance.clone(), t.info.task_id.clone(), t.is_live())).collect();
        let owner = self.tasks.values().find(|t| pod_instance_name(&t.pod, t.index) == pod);
        let (owner, index): (PodType, u32) =
            owner.map(|t| (t.pod.clone(), t.index)).ok_or_else(|| not_found("Pod", pod))?;
        if command == PodCommand::Replace {
            self.give_up_pod(&owner, index);
        }
        for (instance, id, live) in &tasks {
            self.delays.remove(instance);
            if *live {
                if let Some(task) = self.tasks.get_mut(instance) {
                    task.notes.restarting = true;
                }
                self.write_notes(instance);
                self.kill(now, id);
            }
        }
        Ok(tasks.into_iter().map(|(instance, ..)| instance).collect())
    }
}

/// The phases called `name`, or the one with that id.
fn phases(plan: &Plan, name: &str) -> Result<Vec<usize>, CommandError> {
    let by_id: Vec<usize> = (0..plan.phases.len()).filter(|i| plan.phases[*i].id == name).collect();
    let by_name = (0..plan.phases.len()).filter(|i| plan.phases[*i].name == name).collect();
    let found: Vec<usize> = if by_id.is_empty() { by_name } else { by_id };
    if found.is_empty() { Err(not_found("Phase", name)) } else { Ok(found) }
}

fn step_at(plan: &Plan, phase: &str, step: &str) -> Result<StepAt, CommandError> {
    let phase = phases(plan, phase)?[0];
    let steps = &plan.phases[phase].steps;
    let found = steps.iter().position(|s| s.id == step).or_else(|| steps.iter().position(|s| s.name == step));
    found.map(|step| StepAt { phase, step }).ok_or_else(|| not_found("Step", step))
}

fn proceed(now: f64, plan: &mut Plan, status: Status, phase: Option<&str>) -> Result<Outcome, CommandError> {
    let idle = |s: Status| s.is_running() || s == Status::Complete;
    let Some(name) = phase else {
        if idle(status) {
            return Ok(Outcome::Already);
        }
        plan.strategy.interrupted = false;
        return Ok(Outcome::Done);
    };
    let found = phases(plan, name)?;
    if found.iter().all(|i| idle(plan.phases[*i].status(now, &[]))) {
        return Ok(Outcome::Already);
    }
    for i in found {
        plan.phases[i].proceed();
    }
    Ok(Outcome::Done)
}

fn interrupt(
    now: f64,
    plan: &mut Plan,
    status: Status,
    phase: Option<&str>,
) -> Result<Outcome, CommandError> {
    let Some(name) = phase else {
        if plan.strategy.interrupted || status == Status::Complete {
            return Ok(Outcome::Already);
        }
        plan.strategy.interrupted = true;
        return Ok(Outcome::Done);
    };
    let found = phases(plan, name)?;
    let held = |i: &usize| plan.phases[*i].strategy.is_interrupted(&plan.phases[*i].steps, now);
    let complete = |i: &usize| plan.phases[*i].status(now, &[]) == Status::Complete;
    if found.iter().all(held) || found.iter().all(complete) {
        return Ok(Outcome::Already);
    }
    for i in found {
        plan.phases[i].interrupt();
    }
    Ok(Outcome::Done)
}

/// What a command on a plan, a phase or a step is about: how far that is, and the steps in it. `status` is the plan's.
fn targets(
    now: f64,
    plan: &Plan,
    status: Status,
    phase: Option<&str>,
    step: Option<&str>,
) -> Result<(Status, Vec<StepAt>), CommandError> {
    match (phase, step) {
        (None, Some(_)) => Err(CommandError::MissingPhase),
        (Some(phase), Some(step)) => {
            let at = step_at(plan, phase, step)?;
            Ok((plan.phases[at.phase].steps[at.step].status(now), vec![at]))
        }
        (Some(name), None) => {
            let phase = phases(plan, name)?[0];
            let steps = (0..plan.phases[phase].steps.len()).map(|step| StepAt { phase, step });
            Ok((plan.phases[phase].status(now, &[]), steps.collect()))
        }
        (None, None) => Ok((status, all_steps(plan))),
    }
}

fn force_complete(
    now: f64,
    plan: &mut Plan,
    status: Status,
    phase: Option<&str>,
    step: Option<&str>,
) -> Result<Outcome, CommandError> {
    let (was, targets) = targets(now, plan, status, phase, step)?;
    if was == Status::Complete {
        return Ok(Outcome::Already);
    }
    for at in targets {
        if let Some(step) = plan.step_mut(at) {
            step.force_complete();
        }
    }
    Ok(Outcome::Done)
}

fn all_steps(plan: &Plan) -> Vec<StepAt> {
    let phases = plan.phases.iter().enumerate();
    phases.flat_map(|(phase, p)| (0..p.steps.len()).map(move |step| StepAt { phase, step })).collect()
}

/// Also gives the task instances of the restarted steps.
fn restart(
    now: f64,
    plan: &mut Plan,
    status: Status,
    phase: Option<&str>,
    step: Option<&str>,
) -> Result<(Outcome, Vec<String>), CommandError> {
    let (was, targets) = targets(now, plan, status, phase, step)?;
    // What is restarted as a whole also goes on by itself.
    match (phase, step) {
        (Some(name), None) => {
            let at = phases(plan, name)?[0];
            plan.phases[at].strategy.interrupted = false;
        }
        (None, None) => plan.strategy.interrupted = false,
        _ => {}
    }
    if was == Status::Pending {
        return Ok((Outcome::Already, Vec::new()));
    }
    let mut instances = Vec::new();
    for at in targets {
        let Some(step) = plan.step_mut(at) else { continue };
        step.restart();
        if let Some(r) = step.requirement() {
            instances.extend(r.tasks.iter().map(|t| crate::spec::task_instance_name(&r.pod, r.index, t)));
        }
    }
    Ok((Outcome::Done, instances))
}
