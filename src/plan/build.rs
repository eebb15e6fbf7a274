//! From what an author wrote to plans.

use super::{Order, Phase, Plan, Recovery, Requirement, Status, Step, Strategy};
use crate::spec::{
    PhaseSpec, PhaseStrategy, PlanSpec, PlanStrategy, PodSpec, ServiceSpec, StepsSpec, TaskName,
};
use std::collections::BTreeMap;

/// A plan that can't be built from what was written. `spec` reports these with their place; here they only guard.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// A phase's pod doesn't exist.
    #[error("phase {phase}: there is no pod {pod}")]
    NoSuchPod {
        /// The phase.
        phase: String,
        /// The pod.
        pod: String,
    },
    /// A pod instance has no steps.
    #[error("phase {phase}: no steps for instance {index} and no default")]
    NoSteps {
        /// The phase.
        phase: String,
        /// The instance.
        index: u32,
    },
    /// A step's task doesn't exist.
    #[error("phase {phase}: pod {pod} has no task {task}")]
    NoSuchTask {
        /// The phase.
        phase: String,
        /// The pod.
        pod: String,
        /// The task.
        task: String,
    },
}

/// The generated `deploy` plan of a service that names none: pod after pod, instance after instance, all tasks of one
/// together.
pub fn default_deploy(spec: &ServiceSpec) -> PlanSpec {
    let phases = spec.pods.iter().map(|pod| PhaseSpec {
        name: pod.pod_type.0.clone(),
        pod: pod.pod_type.clone(),
        strategy: PhaseStrategy::Serial,
        steps: None,
    });
    PlanSpec { name: "deploy".to_owned(), strategy: PlanStrategy::Serial, phases: phases.collect() }
}

/// A plan that an author wrote. `is_complete` says which launches have nothing left to do.
pub fn from_spec(
    plan: &PlanSpec,
    spec: &ServiceSpec,
    id: &mut dyn FnMut() -> String,
    is_complete: &dyn Fn(&Requirement) -> bool,
) -> Result<Plan, BuildError> {
    let mut phases = Vec::with_capacity(plan.phases.len());
    for phase in &plan.phases {
        phases.push(build_phase(phase, spec, id, is_complete)?);
    }
    let order = match plan.strategy {
        PlanStrategy::Serial => Order::Serial,
        PlanStrategy::Parallel => Order::Parallel,
    };
    Ok(Plan::new(plan.name.clone(), phases, order))
}

fn build_phase(
    phase: &PhaseSpec,
    spec: &ServiceSpec,
    id: &mut dyn FnMut() -> String,
    is_complete: &dyn Fn(&Requirement) -> bool,
) -> Result<Phase, BuildError> {
    let pod = spec
        .pod(&phase.pod)
        .ok_or_else(|| BuildError::NoSuchPod { phase: phase.name.clone(), pod: phase.pod.0.clone() })?;
    let mut steps = Vec::new();
    // Custom steps of a parallel phase are chained per instance; instances don't wait for each other.
    let mut parents = Vec::new();
    for index in 0..pod.count {
        let first = steps.len();
        for tasks in steps_of(phase, pod, index)? {
            let mut step = launch(pod, index, tasks, id);
            if step.errors.is_empty() && step.requirement().is_some_and(is_complete) {
                step.set_status(Status::Complete);
            }
            parents.push((first..steps.len()).collect());
            steps.push(step);
        }
    }
    let serial = matches!(phase.strategy, PhaseStrategy::Serial | PhaseStrategy::SerialCanary);
    let order = match (serial, &phase.steps) {
        (true, _) => Order::Serial,
        (false, None) => Order::Parallel,
        (false, Some(_)) => Order::Dependency(parents),
    };
    let strategy = match phase.strategy {
        PhaseStrategy::Serial | PhaseStrategy::Parallel => Strategy::new(order),
        PhaseStrategy::SerialCanary | PhaseStrategy::ParallelCanary => Strategy::canary(order, &mut steps),
    };
    Ok(Phase::new(id(), phase.name.clone(), steps, strategy))
}

fn all_tasks(pod: &PodSpec) -> Vec<TaskName> {
    pod.tasks.iter().map(|t| t.name.clone()).collect()
}

fn steps_of(phase: &PhaseSpec, pod: &PodSpec, index: u32) -> Result<Vec<Vec<TaskName>>, BuildError> {
    let Some(StepsSpec { by_index, default }) = &phase.steps else { return Ok(vec![all_tasks(pod)]) };
    let steps = by_index
        .get(&index)
        .or(default.as_ref())
        .ok_or_else(|| BuildError::NoSteps { phase: phase.name.clone(), index })?;
    for task in steps.iter().flatten() {
        if pod.task(task).is_none() {
            let (phase, pod, task) = (phase.name.clone(), pod.pod_type.0.clone(), task.0.clone());
            return Err(BuildError::NoSuchTask { phase, pod, task });
        }
    }
    Ok(steps.clone())
}

/// A step that launches `tasks`; tasks that can't run at the same time make it an error, as in the SDK.
fn launch(pod: &PodSpec, index: u32, tasks: Vec<TaskName>, id: &mut dyn FnMut() -> String) -> Step {
    let mut errors = Vec::new();
    let specs: Vec<_> = tasks.iter().filter_map(|t| pod.task(t)).collect();
    for (i, a) in specs.iter().enumerate() {
        for b in specs.iter().skip(i + 1) {
            if a.resource_set.id == b.resource_set.id {
                let set = &a.resource_set.id;
                errors.push(format!(
                    "tasks {} and {} of pod {} share the resource set {set}, so one step can't launch both; give \
                     them steps of their own",
                    a.name, b.name, pod.pod_type
                ));
            }
            let prefix = |t: &crate::spec::TaskSpec| t.discovery.as_ref().and_then(|d| d.prefix.clone());
            if let (Some(x), Some(y)) = (prefix(a), prefix(b))
                && x == y
            {
                errors.push(format!(
                    "tasks {} and {} of pod {} have the discovery prefix {x}, so one step can't launch both",
                    a.name, b.name, pod.pod_type
                ));
            }
        }
    }
    let (recovery, env) = (Recovery::None, BTreeMap::new());
    let resource_sets = specs.iter().map(|t| t.resource_set.id.clone()).collect();
    let pod = pod.pod_type.clone();
    let mut step = Step::launch(id(), Requirement { pod, index, tasks, resource_sets, recovery, env });
    step.errors = errors;
    step
}
