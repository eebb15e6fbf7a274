//! What operators ask for.

use super::{Effect, Scheduler, Task, path};
use crate::plan::{Outcome, Phase, Plan, Status, Step, StepAt};
use crate::spec::pod_instance_name;
use std::collections::BTreeMap;

/// What the names of properties begin with that are files.
pub const FILE: &str = "file-";

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
    /// Keep a small file for the service.
    StoreFile {
        /// Its name, without slashes.
        name: String,
        /// What is in it.
        content: Vec<u8>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodCommand {
    /// End its tasks and start them again where they are.
    Restart,
    /// End its tasks, give its reservations and volumes up, and start anew anywhere.
    Replace,
    /// Let these tasks (all if none is named) do nothing, in place of their commands.
    Pause(Vec<String>),
    /// Let these tasks (all if none is named) do their work again.
    Resume(Vec<String>),
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
    /// The service is being removed: nothing of it is started again, or stored.
    #[error("the service is being removed: only its plan `deploy` takes commands, such as forceComplete")]
    BeingRemoved,
}

pub(super) fn not_found(kind: &'static str, name: &str) -> CommandError {
    CommandError::NotFound { kind, name: name.to_owned() }
}

impl Scheduler {
    /// Carries out a command. The names are those of the tasks that it is about; `Already` means that nothing had to be done.
    pub fn command(
        &mut self,
        now: f64,
        command: &Command,
    ) -> Result<(Outcome, Vec<String>, Vec<Effect>), CommandError> {
        self.wake(now);
        let (outcome, tasks) = match command {
            Command::Plan { plan, phase, step, command } => {
                (self.plan_command(plan, phase.as_deref(), step.as_deref(), command)?, Vec::new())
            }
            Command::Pod { .. } | Command::StoreFile { .. } if self.config.uninstall => {
                return Err(CommandError::BeingRemoved);
            }
            Command::Pod { pod, command } => (Outcome::Done, self.pod_command(now, pod, command)?),
            Command::StoreFile { name, content } => {
                self.write(format!("{}{FILE}{name}", path::PROPERTIES), content.clone());
                (Outcome::Done, Vec::new())
            }
        };
        self.progress(now, Vec::new());
        Ok((outcome, tasks, self.take_effects()))
    }

    fn plan_command(
        &mut self,
        name: &str,
        phase: Option<&str>,
        step: Option<&str>,
        command: &PlanCommand,
    ) -> Result<Outcome, CommandError> {
        let at = self.plans.position(name);
        let plan = at.and_then(|at| self.plans.get_mut(at)).ok_or_else(|| not_found("Plan", name))?;
        match command {
            PlanCommand::Start(parameters) => {
                plan.start(parameters);
                Ok(Outcome::Done)
            }
            PlanCommand::Stop => {
                plan.stop();
                Ok(Outcome::Done)
            }
            PlanCommand::Continue => proceed(plan, phase),
            PlanCommand::Interrupt => interrupt(plan, phase),
            PlanCommand::ForceComplete => force_complete(plan, phase, step),
            PlanCommand::Restart => {
                let (outcome, instances) = restart(plan, phase, step)?;
                for instance in instances {
                    self.forget_delay(&instance);
                }
                Ok(outcome)
            }
        }
    }

    fn pod_command(
        &mut self,
        now: f64,
        pod: &str,
        command: &PodCommand,
    ) -> Result<Vec<String>, CommandError> {
        let found =
            self.tasks.values().find(|t| pod_instance_name(&t.pod, t.index) == pod).map(Task::pod_instance);
        let found = found.ok_or_else(|| not_found("Pod", pod))?;
        match command {
            PodCommand::Pause(names) => return self.pause(now, &found, names, true),
            PodCommand::Resume(names) => return self.pause(now, &found, names, false),
            PodCommand::Replace => self.give_up_pod(&found),
            PodCommand::Restart => {}
        }
        let tasks: Vec<String> = self.tasks.of_pod(&found).map(Task::instance).collect();
        for instance in &tasks {
            self.restart_task(now, instance);
        }
        Ok(tasks)
    }

    /// Ends a task that runs. What keeps the service up then launches it again, without any delay.
    pub(super) fn restart_task(&mut self, now: f64, instance: &str) {
        self.forget_delay(instance);
        let Some(id) = self.tasks.get(instance).filter(|t| t.is_live()).map(|t| t.info.task_id.clone())
        else {
            return;
        };
        self.tasks.change(instance, |task| task.notes.restarting = true);
        self.write_notes(instance);
        self.kill(now, &id);
    }
}

/// The keys of the phases called `name`, or of the one with that id; at least one.
fn phases(plan: &Plan, name: &str) -> Result<Vec<usize>, CommandError> {
    let keys = |is: &dyn Fn(&Phase) -> bool| -> Vec<usize> {
        plan.keyed_phases().filter(|(_, p)| is(p)).map(|(key, _)| key).collect()
    };
    let by_id = keys(&|p| p.id == name);
    let found = if by_id.is_empty() { keys(&|p| p.name == name) } else { by_id };
    if found.is_empty() { Err(not_found("Phase", name)) } else { Ok(found) }
}

/// The first phase called `name`, or the one with that id.
fn phase<'a>(plan: &'a Plan, name: &str) -> Result<(usize, &'a Phase), CommandError> {
    let key = phases(plan, name)?.first().copied();
    let found = key.and_then(|key| Some((key, plan.phase(key)?)));
    found.ok_or_else(|| not_found("Phase", name))
}

fn step_at(plan: &Plan, phase_name: &str, step: &str) -> Result<StepAt, CommandError> {
    let (key, phase) = phase(plan, phase_name)?;
    let steps = phase.steps();
    let found = steps.iter().position(|s| s.id == step).or_else(|| steps.iter().position(|s| s.name == step));
    found.map(|step| StepAt { phase: key, step }).ok_or_else(|| not_found("Step", step))
}

fn proceed(plan: &mut Plan, phase: Option<&str>) -> Result<Outcome, CommandError> {
    let idle = |s: Status| s.is_running() || s == Status::Complete;
    let Some(name) = phase else {
        if idle(plan.status()) {
            return Ok(Outcome::Already);
        }
        plan.proceed();
        return Ok(Outcome::Done);
    };
    let found = phases(plan, name)?;
    if found.iter().filter_map(|key| plan.phase(*key)).all(|p| idle(p.status())) {
        return Ok(Outcome::Already);
    }
    for key in found {
        plan.proceed_phase(key);
    }
    Ok(Outcome::Done)
}

fn interrupt(plan: &mut Plan, phase: Option<&str>) -> Result<Outcome, CommandError> {
    let Some(name) = phase else {
        if plan.is_interrupted() || plan.status() == Status::Complete {
            return Ok(Outcome::Already);
        }
        plan.interrupt();
        return Ok(Outcome::Done);
    };
    let found = phases(plan, name)?;
    let all = |is: &dyn Fn(&Phase) -> bool| found.iter().filter_map(|key| plan.phase(*key)).all(is);
    if all(&Phase::is_interrupted) || all(&|p| p.status() == Status::Complete) {
        return Ok(Outcome::Already);
    }
    for key in found {
        plan.interrupt_phase(key);
    }
    Ok(Outcome::Done)
}

/// What a command on a plan, a phase or a step is about: how far that is, and the steps in it.
fn targets(
    plan: &Plan,
    phase_name: Option<&str>,
    step: Option<&str>,
) -> Result<(Status, Vec<StepAt>), CommandError> {
    match (phase_name, step) {
        (None, Some(_)) => Err(CommandError::MissingPhase),
        (Some(name), Some(step)) => {
            let at = step_at(plan, name, step)?;
            let status = plan.step(at).map(Step::status).ok_or_else(|| not_found("Step", step))?;
            Ok((status, vec![at]))
        }
        (Some(name), None) => {
            let (key, phase) = phase(plan, name)?;
            let steps = (0..phase.steps().len()).map(|step| StepAt { phase: key, step });
            Ok((phase.status(), steps.collect()))
        }
        (None, None) => Ok((plan.status(), plan.places().collect())),
    }
}

fn force_complete(plan: &mut Plan, phase: Option<&str>, step: Option<&str>) -> Result<Outcome, CommandError> {
    let (was, targets) = targets(plan, phase, step)?;
    if was == Status::Complete {
        return Ok(Outcome::Already);
    }
    for at in targets {
        plan.change(at, Step::force_complete);
    }
    Ok(Outcome::Done)
}

/// Also gives the task instances of the restarted steps.
fn restart(
    plan: &mut Plan,
    phase_name: Option<&str>,
    step: Option<&str>,
) -> Result<(Outcome, Vec<String>), CommandError> {
    let (was, targets) = targets(plan, phase_name, step)?;
    // What is restarted as a whole also goes on by itself.
    match (phase_name, step) {
        (Some(name), None) => plan.resume_phase(phase(plan, name)?.0),
        (None, None) => plan.proceed(),
        _ => {}
    }
    if was == Status::Pending {
        return Ok((Outcome::Already, Vec::new()));
    }
    let mut instances = Vec::new();
    for at in targets {
        plan.change(at, Step::restart);
        if let Some(r) = plan.step(at).and_then(Step::requirement) {
            instances.extend(r.tasks.iter().map(|t| crate::spec::task_instance_name(&r.pod, r.index, t)));
        }
    }
    Ok((Outcome::Done, instances))
}
