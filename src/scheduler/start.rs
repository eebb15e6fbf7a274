//! From what is stored and what is asked for to a running state: the config update and the plans.

use super::recovery::RECOVERY;
use super::sent::{Sent, Unheard};
use super::state::{Ids, Notes, Task, Writes, path};
use super::{
    Config, Counters, Effect, Scheduler, Tasks, Touched, Wanted, demand, release, replace, updates, validate,
};
use crate::offer::label;
use crate::plan::{self, BuildError, Due, Order, Plan, Plans, Requirement, Status, StepAt};
use crate::spec::{Goal, PlanSpec, Service, ServiceSpec};
use crate::wire::{TaskInfo, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The whole stored tree: values by path.
pub type Stored = BTreeMap<String, Vec<u8>>;

/// The layout of the stored tree that this program writes and reads.
const SCHEMA_VERSION: &str = "1";

/// Why a service can't start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StartError {
    /// The state is another service's.
    #[error(
        "the state belongs to the service {found:?}, this is {expected:?}; give each service a state of its own"
    )]
    OtherService {
        /// Whose it is.
        found: String,
        /// This service.
        expected: String,
    },
    /// The state was written by another version of the layout.
    #[error("the state has layout version {found:?}; this program reads version {SCHEMA_VERSION}")]
    OtherSchema {
        /// The version found.
        found: String,
    },
    /// A stored value can't be read.
    #[error("the stored value {path} can't be read: {why}")]
    Unreadable {
        /// Where.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Removal has begun.
    #[error("the service is being removed; finish that (set SDK_UNINSTALL) before it is installed again")]
    Uninstalling,
    /// The service can't be run, or not be changed to this.
    #[error("the service is refused:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// A plan can't be built.
    #[error("plan {plan}: {error}")]
    Plan {
        /// The plan.
        plan: String,
        /// Why.
        error: BuildError,
    },
}

impl Scheduler {
    /// Starts from what is stored. `seed` makes the ids of this run its own. The effects are what
    /// the config update has to store.
    pub fn start(
        config: Config,
        mut service: Service,
        stored: &Stored,
        seed: [u8; 16],
    ) -> Result<(Self, Vec<Effect>), StartError> {
        complete(&mut service.spec, &config);
        let configurations = read_configurations(stored)?;
        let mut tasks = Tasks::new(configurations.values().chain([&service.spec]));
        for task in read_tasks(stored)? {
            tasks.insert(task);
        }
        let mut scheduler = Self {
            config,
            service,
            target: text(stored, path::CONFIG_TARGET)?.unwrap_or_default(),
            configurations,
            framework_id: text(stored, path::FRAMEWORK_ID)?,
            tasks,
            plans: Plans::default(),
            deploy_noted: false,
            connected: false,
            reachable: true,
            master_region: None,
            reconciling: updates::Reconciling::default(),
            kills: Due::default(),
            waits: BTreeMap::new(),
            delayed: Due::default(),
            demand: demand::Demand::default(),
            replacements: replace::Replacements::default(),
            leaving: false,
            tidy_at: f64::NEG_INFINITY,
            gone: BTreeSet::new(),
            sent: Sent::default(),
            unheard: Unheard::default(),
            missing: BTreeMap::new(),
            left_over: json(stored, path::LEFT_OVER)?.unwrap_or_default(),
            outcomes: VecDeque::new(),
            counters: Counters::default(),
            properties: properties(stored),
            wanted: Wanted::default(),
            touched: Touched::default(),
            ids: Ids::new(seed),
            writes: Writes::default(),
            calls: Vec::new(),
        };
        let gone = scheduler.tasks.values().filter(|t| t.state() == TaskState::GoneByOperator);
        scheduler.gone = gone.map(|t| t.info.agent_id.clone()).collect();
        scheduler.check_owner(stored)?;
        let deployed_before = text(stored, path::LAST_COMPLETED)?.as_deref() == Some("DEPLOY");
        if scheduler.config.uninstall {
            if scheduler.framework_id.is_some() {
                scheduler.write(path::UNINSTALLING.to_owned(), b"true".to_vec());
            }
            let plan = scheduler.uninstall_plan();
            scheduler.plans.push(plan);
        } else {
            let plans = json(stored, path::PLANS)?;
            let errors = scheduler.update_config(deployed_before, plans)?;
            scheduler.build_plans(deployed_before, errors)?;
        }
        let effects = scheduler.take_effects();
        Ok((scheduler, effects))
    }

    fn check_owner(&mut self, stored: &Stored) -> Result<(), StartError> {
        let name = self.service.spec.name.clone();
        match text(stored, path::SERVICE_NAME)? {
            Some(found) if found != name => return Err(StartError::OtherService { found, expected: name }),
            Some(_) => {}
            None if self.config.uninstall => {}
            None => self.write(path::SERVICE_NAME.to_owned(), name.into_bytes()),
        }
        match text(stored, path::SCHEMA_VERSION)? {
            Some(found) if found != SCHEMA_VERSION => return Err(StartError::OtherSchema { found }),
            Some(_) => {}
            None if self.config.uninstall => {}
            None => self.write(path::SCHEMA_VERSION.to_owned(), SCHEMA_VERSION.into()),
        }
        if stored.contains_key(path::UNINSTALLING) && !self.config.uninstall {
            return Err(StartError::Uninstalling);
        }
        Ok(())
    }

    /// Makes the service file the target, or keeps the old target, with the plans that belong to it, and says why.
    fn update_config(
        &mut self,
        deployed_before: bool,
        plans: Option<Vec<PlanSpec>>,
    ) -> Result<Vec<String>, StartError> {
        let old = self.configurations.get(&self.target).cloned();
        let mut errors = validate::update(old.as_ref(), &self.service.spec, deployed_before);
        if !self.config.service_account {
            errors.extend(validate::without_account(&self.service.spec));
        }
        errors.extend(validate::too_large(&self.service));
        errors.extend(self.config.dcos.into_iter().flat_map(|r| release::unsupported(&self.service.spec, r)));
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if !errors.is_empty() {
            let Some(old) = old.filter(|_| !errors.iter().any(|e| e.fatal)) else {
                return Err(StartError::Refused(texts));
            };
            self.service.spec = old;
            // Those of the refused file may be about pods and tasks that there are not.
            if let Some(plans) = plans {
                self.service.plans = plans;
            }
            return Ok(texts);
        }
        if old.as_ref() != Some(&self.service.spec) {
            self.target = self.ids.uuid();
            let spec = self.service.spec.clone();
            self.writes.set_json(format!("{}/{}", path::CONFIGURATIONS, self.target), &spec);
            self.configurations.insert(self.target.clone(), spec);
            self.write(path::CONFIG_TARGET.to_owned(), self.target.clone().into_bytes());
        }
        if plans.as_ref() != Some(&self.service.plans) {
            self.writes.set_json(path::PLANS.to_owned(), &self.service.plans);
        }
        self.adopt_unchanged();
        self.forget_configurations();
        Ok(Vec::new())
    }

    /// Tasks whose pod is the same under the target are of the target from now on, and so need no restart.
    fn adopt_unchanged(&mut self) {
        let mut adopted = Vec::new();
        for (instance, task) in self.tasks.all() {
            let own = task.config_id().filter(|c| *c != self.target);
            let Some(own) = own else { continue };
            let before = self.configurations.get(own).and_then(|c| c.pod(&task.pod));
            let after = self.service.spec.pod(&task.pod);
            let same = matches!((before, after), (Some(a), Some(b)) if validate::same_tasks(a, b));
            if same || task.notes.permanently_failed {
                adopted.push(instance.clone());
            }
        }
        for instance in adopted {
            self.tasks.change(&instance, |task| {
                let labels = task.info.labels.get_or_insert_default();
                labels.set(label::TARGET_CONFIGURATION, self.target.clone());
            });
            self.write_task(&instance);
        }
    }

    fn forget_configurations(&mut self) {
        let used: BTreeSet<&str> = self.tasks.values().filter_map(Task::config_id).collect();
        let unused =
            self.configurations.keys().filter(|id| **id != self.target && !used.contains(id.as_str()));
        for id in unused.cloned().collect::<Vec<_>>() {
            self.configurations.remove(&id);
            self.writes.remove(format!("{}/{id}", path::CONFIGURATIONS));
        }
    }

    fn build_plans(&mut self, deployed_before: bool, errors: Vec<String>) -> Result<(), StartError> {
        let spec = self.service.spec.clone();
        let written = |name: &str| self.service.plans.iter().find(|p| p.name == name).cloned();
        let update = written("update").filter(|_| deployed_before);
        let deploy = update.or_else(|| written("deploy")).unwrap_or_else(|| plan::default_deploy(&spec));
        let deploy = PlanSpec { name: "deploy".to_owned(), ..deploy };
        let mut deploy = self.build_plan(&deploy, &spec, true)?;
        deploy.errors = errors;
        for at in deploy.places().collect::<Vec<_>>() {
            self.resume(&mut deploy, at);
        }
        self.plans.push(deploy);
        self.plans.push(Plan::new(RECOVERY, Vec::new(), Order::Parallel));
        let decommission = self.decommission_plan();
        if let Some(decommission) = decommission {
            self.plans.push(decommission);
        }
        for other in self.service.plans.clone() {
            if other.name == "deploy" || other.name == "update" {
                continue;
            }
            // Whoever starts it wants all of it done, canaries first and in its order; what is complete when an order is
            // fixed is no link of it.
            let mut plan = self.build_plan(&other, &spec, false)?;
            plan.interrupt();
            self.plans.push(plan);
        }
        Ok(())
    }

    /// Builds a plan; steps have nothing left to do where tasks are as they should be, if what is `deployed` counts.
    fn build_plan(
        &mut self,
        written: &PlanSpec,
        spec: &ServiceSpec,
        deployed: bool,
    ) -> Result<Plan, StartError> {
        let mut ids = self.ids.clone();
        let is_complete = |r: &Requirement| deployed && self.is_deployed(r);
        let plan = plan::from_spec(written, spec, &mut || ids.uuid(), &is_complete);
        self.ids = ids;
        plan.map_err(|error| StartError::Plan { plan: written.name.clone(), error })
    }

    /// Lets a step go on with tasks that were launched for it before this start; they are not launched again.
    fn resume(&self, plan: &mut Plan, at: StepAt) {
        let Some(step) = plan.step(at).filter(|s| s.status() != Status::Complete) else { return };
        let Some(requirement) = step.requirement() else { return };
        let Some(pod) = self.service.spec.pod(&requirement.pod) else { return };
        let tasks = requirement.tasks.iter().map(|name| {
            let instance = crate::spec::task_instance_name(&requirement.pod, requirement.index, name);
            let (task, spec) = (self.tasks.get(&instance)?, pod.task(name)?);
            let current = spec.goal == Goal::Once || task.config_id() == Some(&self.target);
            let usable = current && task.was_launched() && !task.notes.permanently_failed;
            usable
                .then(|| (name.clone(), task.info.task_id.clone(), task.state(), spec.goal, task.is_ready()))
        });
        if let Some(tasks) = tasks.collect::<Option<Vec<_>>>() {
            plan.change(at, |step| step.resume(tasks));
        }
    }

    /// Whether a step has nothing left to do: its tasks have reached their goals, or are for recovery to bring back.
    fn is_deployed(&self, requirement: &Requirement) -> bool {
        let Some(pod) = self.service.spec.pod(&requirement.pod) else { return false };
        requirement.tasks.iter().all(|name| {
            let instance = crate::spec::task_instance_name(&requirement.pod, requirement.index, name);
            let (Some(task), Some(spec)) = (self.tasks.get(&instance), pod.task(name)) else { return false };
            // What was never up is not recovery's.
            let was_up = !task.notes.unconfirmed && self.stays_up(task);
            let for_recovery = task.notes.permanently_failed && was_up;
            for_recovery || task.has_reached_goal(spec, &self.target)
        })
    }
}

/// Adds what the environment says to what the file says.
pub(super) fn complete(spec: &mut ServiceSpec, config: &Config) {
    spec.region.clone_from(&config.region);
    spec.role = Some(config.role.clone());
    spec.replacement_failure_policy = spec.replacement_failure_policy.or(config.replacement);
}

fn text(stored: &Stored, path: &str) -> Result<Option<String>, StartError> {
    let Some(bytes) = stored.get(path) else { return Ok(None) };
    let text = String::from_utf8(bytes.clone());
    text.map(Some).map_err(|e| StartError::Unreadable { path: path.to_owned(), why: e.to_string() })
}

fn json<T: serde::de::DeserializeOwned>(stored: &Stored, path: &str) -> Result<Option<T>, StartError> {
    let Some(bytes) = stored.get(path) else { return Ok(None) };
    let value = serde_json::from_slice(bytes);
    value.map(Some).map_err(|e| StartError::Unreadable { path: path.to_owned(), why: e.to_string() })
}

/// The names directly below a path.
fn children<'a>(stored: &'a Stored, path: &str) -> BTreeSet<&'a str> {
    let prefix = format!("{path}/");
    let below =
        stored.range(prefix.clone()..).map(|(p, _)| p.as_str()).take_while(|p| p.starts_with(&prefix));
    below.filter_map(|p| p.get(prefix.len()..)?.split('/').next()).collect()
}

fn properties(stored: &Stored) -> BTreeMap<String, Vec<u8>> {
    let named = |(path, value): (&String, &Vec<u8>)| {
        Some((path.strip_prefix(path::PROPERTIES)?.to_owned(), value.clone()))
    };
    stored.iter().filter_map(named).collect()
}

fn read_configurations(stored: &Stored) -> Result<BTreeMap<String, ServiceSpec>, StartError> {
    let mut configurations = BTreeMap::new();
    for id in children(stored, path::CONFIGURATIONS) {
        if let Some(spec) = json(stored, &format!("{}/{id}", path::CONFIGURATIONS))? {
            configurations.insert(id.to_owned(), spec);
        }
    }
    Ok(configurations)
}

fn read_tasks(stored: &Stored) -> Result<Vec<Task>, StartError> {
    let mut tasks = Vec::new();
    for instance in children(stored, path::TASKS) {
        let at = |name: &str| format!("{}/{instance}/{name}", path::TASKS);
        let Some(info) = json::<TaskInfo>(stored, &at(path::TASK_INFO))? else { continue };
        let status: Option<TaskStatus> = json(stored, &at(path::TASK_STATUS))?;
        let notes: Notes = json(stored, &at(path::TASK_NOTES))?.unwrap_or_default();
        let label = |key| info.labels.as_ref().and_then(|l| l.get(key));
        let index = label(label::INDEX).and_then(|i| i.parse().ok());
        let (Some(pod), Some(index)) = (label(label::TASK_TYPE), index) else {
            let why = "its labels name no pod".to_owned();
            return Err(StartError::Unreadable { path: at(path::TASK_INFO), why });
        };
        let name = instance.strip_prefix(&format!("{pod}-{index}-")).unwrap_or(instance).into();
        tasks.push(Task { pod: pod.into(), index, name, info, status, notes });
    }
    Ok(tasks)
}
