//! Reading the plans that an author wrote, and the check that each of their steps can be carried out. Used only by
//! the rest of `spec`; what becomes of plans is `plan`'s matter.

use super::fields::{Fields, Text, brief};
use super::findings::Findings;
use super::model::{
    PhaseSpec, PhaseStrategy, PlanSpec, PlanStrategy, PodSpec, StepsSpec, TaskName, TaskSpec,
};
use super::pod::Places;
use super::yaml::{Key, Node, Span, Value};
use crate::finding::Code;
use std::cell::Cell;
use std::collections::HashMap;

/// Plans that the scheduler makes itself.
const RESERVED: [&str; 2] = ["recovery", "decommission"];

/// More launches of tasks than this are no plan: each is kept in memory, and a small file can ask for any number of them.
const MAX_LAUNCHES: usize = 500_000;

/// The pods by name, and how many launches their plans may still have.
struct Known<'p> {
    pods: HashMap<&'p str, KnownPod<'p>>,
    launches_left: Cell<usize>,
}

/// A pod, and its tasks by name.
struct KnownPod<'p> {
    spec: &'p PodSpec,
    tasks: HashMap<&'p str, &'p TaskSpec>,
}

impl<'p> KnownPod<'p> {
    fn new(spec: &'p PodSpec) -> Self {
        Self { spec, tasks: spec.tasks.iter().map(|task| (task.name.as_str(), task)).collect() }
    }
}

/// How many tasks a phase launches, in all instances of its pod. A pod without instances costs the reader as much as one
/// with a single one.
fn launches(steps: Option<&StepsSpec>, pod: &PodSpec) -> usize {
    let instances = usize::try_from(pod.count).unwrap_or(usize::MAX).max(1);
    let tasks = |lists: &Vec<Vec<TaskName>>| lists.iter().map(Vec::len).sum::<usize>();
    match steps {
        None => pod.tasks.len().saturating_mul(instances),
        Some(StepsSpec { by_index, default }) => {
            let others = default.as_ref().map_or(0, tasks).saturating_mul(instances);
            by_index.values().map(tasks).fold(others, usize::saturating_add)
        }
    }
}

/// Takes launches from those that are left; false when there are not so many.
fn take(left: &Cell<usize>, count: usize) -> bool {
    let rest = left.get().checked_sub(count);
    left.set(rest.unwrap_or_default());
    rest.is_some()
}

/// Says that pods have more tasks than can be launched.
fn check_size(findings: &Findings, pods: &[PodSpec], places: &[Places]) {
    let left = Cell::new(MAX_LAUNCHES);
    if let Some((_, place)) = pods.iter().zip(places).find(|(pod, _)| !take(&left, launches(None, pod))) {
        let message = format!("the pods up to this one have more than {MAX_LAUNCHES} tasks in all instances");
        let found = findings.at(&place.pod, Code::Limit, message);
        findings.add(found.help("lower `count`, or split the service"));
    }
}

/// Reads `plans`; without any, only checks the plan that would be generated.
pub(super) fn read(root: &mut Fields, pods: &[PodSpec], places: &[Places]) -> Vec<PlanSpec> {
    check_size(root.findings, pods, places);
    let Some(map) = root.named("plans") else {
        for (pod, place) in pods.iter().zip(places) {
            check_step(root.findings, &place.pod, pod, pod.tasks.iter());
        }
        return Vec::new();
    };
    if !map.entries.iter().any(|(key, _)| key.text == "deploy") {
        let found = root.findings.at(&map.span, Code::Plan, "there are plans, but none is called `deploy`");
        root.findings.add(found.help("add a plan `deploy`, or remove `plans` to have one generated"));
    }
    let known = Known {
        pods: pods.iter().map(|pod| (pod.pod_type.as_str(), KnownPod::new(pod))).collect(),
        launches_left: Cell::new(MAX_LAUNCHES),
    };
    let mut plans = Vec::new();
    for (key, fields) in map.entries {
        if RESERVED.contains(&key.text.as_str()) {
            let message = format!("the plan `{}` is made by the scheduler", key.text);
            fields.report(&key.span, Code::Plan, message, "choose another name");
        }
        plans.push(plan(key, fields, &known));
    }
    plans
}

fn plan(key: &Key, mut fields: Fields, known: &Known) -> PlanSpec {
    let strategy = match fields.word("strategy") {
        Some("parallel") => PlanStrategy::Parallel,
        _ => PlanStrategy::Serial,
    };
    let mut phases = Vec::new();
    if let Some(map) = fields.named("phases") {
        if map.is_empty {
            let message = format!("the plan `{}` has no phases", brief(&key.text));
            fields.report(&map.span, Code::Empty, message, "add a phase with a `pod`");
        }
        phases.extend(map.entries.into_iter().filter_map(|(key, fields)| phase(key, fields, known)));
    }
    fields.finish();
    PlanSpec { name: key.text.clone(), strategy, phases }
}

fn phase(key: &Key, mut fields: Fields, known: &Known) -> Option<PhaseSpec> {
    let strategy = match fields.word("strategy") {
        Some("parallel") => PhaseStrategy::Parallel,
        Some("canary" | "serial-canary") => PhaseStrategy::SerialCanary,
        Some("parallel-canary") => PhaseStrategy::ParallelCanary,
        _ => PhaseStrategy::Serial,
    };
    let name = fields.text("pod");
    let items = fields.list("steps");
    let phase = name.and_then(|name| {
        let pod = find_pod(&fields, &name, known)?;
        let steps = (!items.is_empty()).then(|| steps(&fields, items, pod));
        if !take(&known.launches_left, launches(steps.as_ref(), pod.spec)) {
            let message = format!("the phases up to this one launch more than {MAX_LAUNCHES} tasks");
            fields.report(&key.span, Code::Limit, message, "write fewer phases for large pods");
            return None;
        }
        if steps.is_none() {
            check_step(fields.findings, &key.span, pod.spec, pod.spec.tasks.iter());
        }
        let (name, pod) = (key.text.clone(), pod.spec.pod_type.clone());
        Some(PhaseSpec { name, pod, strategy, steps })
    });
    fields.finish();
    phase
}

fn find_pod<'k, 'p>(fields: &Fields, name: &Text, known: &'k Known<'p>) -> Option<&'k KnownPod<'p>> {
    let found = known.pods.get(name.text);
    if found.is_none() {
        let help = match fields.findings.nearest(name.text, known.pods.keys().copied()) {
            Some(like) => format!("did you mean `{like}`?"),
            None => "name one of the keys below `pods`".to_owned(),
        };
        fields.report(&name.span, Code::NoSuch, format!("there is no pod `{}`", brief(name.text)), help);
    }
    found
}

/// `steps`: a list of mappings with one entry each, an instance or `default` → a list of lists of tasks.
fn steps(fields: &Fields, items: &[Node], pod: &KnownPod) -> StepsSpec {
    let expected = "`default: [[task], [task]]`";
    let mut steps = StepsSpec::default();
    // a list with items that cannot be read says nothing about which instances are missing
    let mut readable = true;
    for item in items {
        let Value::Map(entries) = &item.value else {
            fields.wrong(item, Code::Shape, "steps", format!("holds {}", item.kind()), expected);
            readable = false;
            continue;
        };
        let [(key, node)] = entries.as_slice() else {
            let what = format!("must hold one instance in each item, and this has {}", entries.len());
            fields.wrong(item, Code::Shape, "steps", what, expected);
            readable = false;
            continue;
        };
        readable &= add_steps(fields, &mut steps, key, node, pod);
    }
    let pod = pod.spec;
    if readable
        && steps.default.is_none()
        && let Some(index) = (0..pod.count).find(|index| !steps.by_index.contains_key(index))
    {
        let message = format!("no steps for instance {index} of pod `{}`", brief(&pod.pod_type.0));
        let help = format!("add `- default: [...]` or `- {index}: [...]`");
        fields.report(&fields.span, Code::Plan, message, help);
    }
    steps
}

/// Adds the steps of one instance, or of all that have none of their own; false when `key` is neither.
fn add_steps(fields: &Fields, steps: &mut StepsSpec, key: &Key, node: &Node, pod: &KnownPod) -> bool {
    let tasks = task_lists(fields, node, pod);
    let again = match key.text.parse::<u32>() {
        Ok(index) => {
            if index >= pod.spec.count {
                let message = format!("there is no instance {index}: the pod has {}", pod.spec.count);
                fields.report(&key.span, Code::NoEffect, message, "raise the pod's `count`, or remove this");
            }
            steps.by_index.insert(index, tasks).is_some()
        }
        Err(_) if key.text == "default" => steps.default.replace(tasks).is_some(),
        Err(_) => {
            let message = format!("`{}` is not an instance of a pod", brief(&key.text));
            let found = fields.findings.at(&key.span, Code::Form, message);
            fields.findings.add(found.expected("a number from 0, or `default`"));
            return false;
        }
    };
    if again {
        let message = format!("the steps of `{}` are there twice", key.text);
        fields.report(&key.span, Code::DuplicateKey, message, "put all of them into one list");
    }
    true
}

fn task_lists(fields: &Fields, node: &Node, pod: &KnownPod) -> Vec<Vec<TaskName>> {
    let expected = "a list of lists, `[[first], [second, third]]`";
    let Value::List(lists) = &node.value else {
        fields.wrong(node, Code::Shape, "steps", format!("holds {}", node.kind()), expected);
        return Vec::new();
    };
    let mut steps = Vec::new();
    for list in lists {
        let Value::List(names) = &list.value else {
            let what = format!("holds {} where a step's tasks belong", list.kind());
            fields.wrong(list, Code::Shape, "steps", what, expected);
            continue;
        };
        if names.is_empty() {
            let message = "this step launches no task";
            fields.report(&list.span, Code::NoEffect, message, "name a task, or remove the list");
            continue;
        }
        let tasks: Vec<&TaskSpec> = names.iter().filter_map(|name| find_task(fields, name, pod)).collect();
        check_step(fields.findings, &list.span, pod.spec, tasks.iter().copied());
        steps.push(tasks.iter().map(|task| task.name.clone()).collect());
    }
    steps
}

fn find_task<'p>(fields: &Fields, node: &Node, pod: &KnownPod<'p>) -> Option<&'p TaskSpec> {
    let name = fields.scalar("steps", node)?;
    if let Some(task) = pod.tasks.get(name.text) {
        return Some(task);
    }
    let help = match fields.findings.nearest(name.text, pod.tasks.keys().copied()) {
        Some(like) => format!("did you mean `{like}`?"),
        None => "name one of the keys below the pod's `tasks`".to_owned(),
    };
    let message = format!("the pod `{}` has no task `{}`", brief(&pod.spec.pod_type.0), brief(name.text));
    fields.report(&name.span, Code::NoSuch, message, help);
    None
}

/// Tasks that are launched together need resources and names of their own.
fn check_step<'p>(
    findings: &Findings,
    place: &Span,
    pod: &PodSpec,
    tasks: impl Iterator<Item = &'p TaskSpec>,
) {
    let mut sets = HashMap::new();
    let mut prefixes = HashMap::new();
    for task in tasks {
        // a set that was not found has no name, and has been reported
        let set = Some(task.resource_set.id.as_str()).filter(|set| !set.is_empty());
        let prefix = task.discovery.as_ref().and_then(|d| d.prefix.as_deref());
        let same_set = set.and_then(|set| Some((sets.insert(set, task)?, "the resource set", set)));
        let same_prefix =
            prefix.and_then(|prefix| Some((prefixes.insert(prefix, task)?, "the discovery prefix", prefix)));
        for (other, what, name) in same_set.into_iter().chain(same_prefix).take(1) {
            let message = format!(
                "one step launches `{}` and `{}` of pod `{}`, which share {what} `{}`",
                brief(&other.name.0),
                brief(&task.name.0),
                brief(&pod.pod_type.0),
                brief(name)
            );
            let help = "launch them in different steps of a plan, or give each its own";
            findings.add(findings.at(place, Code::StepConflict, message).help(help));
        }
    }
}
