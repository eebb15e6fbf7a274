//! What a config update will do, before it is done.
//!
//! Nothing of an update is computed a second time here: a scheduler is started on a state in which all of the service of
//! before is deployed, and what it then plans is the answer. Used by `dagpkg plan diff`.

use super::start::complete;
use super::state::{Writes, path};
use super::{Config, Effect, Scheduler, StartError, Stored, validate};
use crate::offer::label;
use crate::plan::{Plan, Requirement, Status, Step};
use crate::spec::{self, Change, Goal, PodSpec, PodType, Service, ServiceSpec, task_instance_name};
use crate::wire::{Labels, TaskInfo, TaskState, TaskStatus};

/// A service and what its scheduler is told.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The service.
    pub service: Service,
    /// The environment's settings.
    pub config: Config,
}

/// What an update will do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The scheduler right after the update; none if it refuses to start.
    scheduler: Option<Scheduler>,
    /// Why the update is refused, in the texts that the deploy plan then shows; empty if it isn't.
    pub refusals: Vec<String>,
    /// What differs beside the pods.
    pub service: Vec<Change>,
    /// The pods of before and after.
    pub pods: Vec<PodPreview>,
}

/// What an update changes about a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPreview {
    /// The pod.
    pub pod: PodType,
    /// How many instances there were; none if there was no such pod.
    pub before: Option<u32>,
    /// How many there will be; none if there is no such pod any more.
    pub after: Option<u32>,
    /// What differs, and whether it makes tasks start anew.
    pub changes: Vec<(Change, bool)>,
}

/// What becomes of a task of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is launched for the first time.
    Launch,
    /// It is ended and launched again.
    Restart,
    /// It has ended before and is run again.
    RunAgain,
}

/// Why there is nothing to say about an update.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreviewError {
    /// The service of before is none that could be deployed.
    #[error("the version of before cannot have been deployed: {0}")]
    Before(StartError),
    /// The new service is not even refused in order.
    #[error("the new version cannot be started: {0}")]
    After(StartError),
}

/// What an update from `old` to `new` will do.
pub fn preview(mut old: Deployment, mut new: Deployment) -> Result<Preview, PreviewError> {
    complete(&mut old.service.spec, &old.config);
    complete(&mut new.service.spec, &new.config);
    let before = old.service.spec.clone();
    let stored = deployed(old).map_err(PreviewError::Before)?;
    let after = new.service.spec.clone();
    let mut preview = Preview {
        scheduler: None,
        refusals: Vec::new(),
        service: spec::service_changes(&before, &after),
        pods: pods(&before, &after),
    };
    match Scheduler::start(new.config, new.service, &stored, [2; 16]) {
        Ok((scheduler, _)) => {
            let deploy = scheduler.plan("deploy");
            preview.refusals = deploy.map(|p| p.errors.clone()).unwrap_or_default();
            preview.scheduler = Some(scheduler);
        }
        Err(StartError::Refused(why)) => preview.refusals = why,
        Err(other) => return Err(PreviewError::After(other)),
    }
    Ok(preview)
}

/// The state after `old` was deployed, every task in its goal. What is left out of the messages no config update asks
/// for.
fn deployed(old: Deployment) -> Result<Stored, StartError> {
    let (scheduler, effects) = Scheduler::start(old.config, old.service, &Stored::new(), [1; 16])?;
    let mut writes = Writes::default();
    let (target, spec) = scheduler.target();
    for pod in &spec.pods {
        for (index, task) in (0..pod.count).flat_map(|i| pod.tasks.iter().map(move |t| (i, t))) {
            let name = task_instance_name(&pod.pod_type, index, &task.name);
            let mut labels = Labels::default();
            labels.set(label::TARGET_CONFIGURATION, target);
            labels.set(label::TASK_TYPE, pod.pod_type.as_str());
            labels.set(label::INDEX, index.to_string());
            let info = TaskInfo {
                name: name.clone(),
                task_id: name.as_str().into(),
                labels: Some(labels),
                ..TaskInfo::default()
            };
            let state = if task.goal == Goal::Running { TaskState::Running } else { TaskState::Finished };
            let status = TaskStatus { task_id: info.task_id.clone(), state, ..TaskStatus::default() };
            writes.set_json(format!("{}/{name}/{}", path::TASKS, path::TASK_INFO), &info);
            writes.set_json(format!("{}/{name}/{}", path::TASKS, path::TASK_STATUS), &status);
        }
    }
    writes.set(path::LAST_COMPLETED.to_owned(), b"DEPLOY".to_vec());
    let started = effects.into_iter().filter_map(|effect| match effect {
        Effect::Write(writes) => Some(writes),
        Effect::Call(_) => None,
    });
    let all = started.flatten().chain(writes.take());
    Ok(all.filter_map(|write| Some((write.path, write.value?))).collect())
}

/// The pods of both, those of the new service in their order before those that it no longer has.
fn pods(before: &ServiceSpec, after: &ServiceSpec) -> Vec<PodPreview> {
    let gone = before.pods.iter().filter(|p| after.pod(&p.pod_type).is_none());
    let pod = |p: &PodSpec| {
        let (old, new) = (before.pod(&p.pod_type), after.pod(&p.pod_type));
        PodPreview {
            pod: p.pod_type.clone(),
            before: old.map(|p| p.count),
            after: new.map(|p| p.count),
            changes: old.zip(new).map(|(old, new)| changes(old, new)).unwrap_or_default(),
        }
    };
    after.pods.iter().chain(gone).map(pod).collect()
}

/// What differs between two pods; what differs for running tasks too makes them start anew.
fn changes(old: &PodSpec, new: &PodSpec) -> Vec<(Change, bool)> {
    let for_tasks = spec::pod_changes(&validate::for_tasks(old), &validate::for_tasks(new));
    let all = spec::pod_changes(old, new).into_iter();
    all.map(|change| (change.clone(), for_tasks.contains(&change))).collect()
}

impl Preview {
    /// The plans that the update makes, and are not complete from the beginning: `deploy`, `decommission`. None if it is
    /// refused.
    pub fn plans(&self) -> Vec<&Plan> {
        let accepted = self.scheduler.iter().filter(|_| self.refusals.is_empty());
        let plans = accepted.flat_map(Scheduler::plans);
        plans.filter(|p| !p.is_interrupted() && p.status() != Status::Complete).collect()
    }

    /// What becomes of the tasks of a step; nothing if it is complete already.
    pub fn fates(&self, step: &Step) -> Vec<(String, Fate)> {
        let open = step.requirement().filter(|_| step.status() != Status::Complete);
        let (Some(scheduler), Some(Requirement { pod, index, tasks, .. })) = (&self.scheduler, open) else {
            return Vec::new();
        };
        let fate = |name| {
            let instance = task_instance_name(pod, *index, name);
            let fate = match scheduler.tasks().get(&instance).map(super::Task::state) {
                None => Fate::Launch,
                Some(state) if state.is_terminal() => Fate::RunAgain,
                Some(_) => Fate::Restart,
            };
            (instance, fate)
        };
        tasks.iter().map(fate).collect()
    }

    /// Whether a plan launches tasks of a pod. One that changes is left as it is where the author's plan for updates does
    /// not name it.
    pub fn launches(&self, pod: &PodType) -> bool {
        let mut open =
            self.plans().into_iter().flat_map(Plan::steps).filter(|s| s.status() != Status::Complete);
        open.any(|step| step.requirement().is_some_and(|r| r.pod == *pod))
    }

    /// Tasks of pods that stay, which the service no longer has: they are ended at once, in no plan's order.
    pub fn ended(&self) -> Vec<String> {
        let accepted = self.scheduler.iter().filter(|_| self.refusals.is_empty());
        accepted.flat_map(|s| s.unneeded().map(super::Task::instance)).collect()
    }
}
