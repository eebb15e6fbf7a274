//! Reading the plans that an author wrote, and the check that each of their steps can be carried out. Used only by
//! the rest of `spec`; what becomes of plans is `plan`'s matter.

use super::diagnostic::Code;
use super::fields::{Fields, Text, brief};
use super::model::{
    PhaseSpec, PhaseStrategy, PlanSpec, PlanStrategy, PodSpec, StepsSpec, TaskName, TaskSpec,
};
use super::yaml::{Key, Node, Span, Value, nearest};
use std::collections::HashMap;

/// Plans that the scheduler makes itself.
const RESERVED: [&str; 2] = ["recovery", "decommission"];

/// Reads `plans`; without any, only checks the plan that would be generated.
pub(super) fn read(root: &mut Fields, pods: &[PodSpec], pod_places: &[Span]) -> Vec<PlanSpec> {
    let Some(map) = root.map("plans") else {
        for (pod, place) in pods.iter().zip(pod_places) {
            check_step(root, place, pod, pod.tasks.iter());
        }
        return Vec::new();
    };
    if !map.names().iter().any(|(key, _)| key.text == "deploy") {
        let found = map.findings.error(&map.span, Code::Plan, "there are plans, but none is called `deploy`");
        map.findings.add(found.help("add a plan `deploy`, or remove `plans` to have one generated"));
    }
    let mut plans = Vec::new();
    for (key, node) in map.names() {
        if RESERVED.contains(&key.text.as_str()) {
            let message = format!("the plan `{}` is made by the scheduler", key.text);
            map.error(&key.span, Code::Plan, message, "choose another name");
        }
        if let Some(fields) = map.named(key, node) {
            plans.push(plan(key, fields, pods));
        }
    }
    plans
}

fn plan(key: &Key, mut fields: Fields, pods: &[PodSpec]) -> PlanSpec {
    let strategies = [("serial", PlanStrategy::Serial), ("parallel", PlanStrategy::Parallel)];
    let strategy = fields.word("strategy", &strategies).unwrap_or(PlanStrategy::Serial);
    let mut phases = Vec::new();
    match fields.map("phases") {
        Some(map) => {
            if map.names().is_empty() {
                let message = format!("the plan `{}` has no phases", brief(&key.text));
                map.error(&map.span, Code::Empty, message, "add a phase with a `pod`");
            }
            for (key, node) in map.names() {
                if let Some(fields) = map.named(key, node) {
                    phases.extend(phase(key, fields, pods));
                }
            }
        }
        None if !fields.has("phases") => fields.missing("phases"),
        None => {}
    }
    fields.finish();
    PlanSpec { name: key.text.clone(), strategy, phases }
}

fn phase(key: &Key, mut fields: Fields, pods: &[PodSpec]) -> Option<PhaseSpec> {
    let strategies = [
        ("serial", PhaseStrategy::Serial),
        ("parallel", PhaseStrategy::Parallel),
        ("canary", PhaseStrategy::SerialCanary),
        ("serial-canary", PhaseStrategy::SerialCanary),
        ("parallel-canary", PhaseStrategy::ParallelCanary),
    ];
    let strategy = fields.word("strategy", &strategies).unwrap_or(PhaseStrategy::Serial);
    let name = fields.required_text("pod");
    let items = fields.list("steps");
    let phase = name.and_then(|name| {
        let pod = find_pod(&fields, &name, pods)?;
        let steps = (!items.is_empty()).then(|| steps(&fields, items, pod));
        if steps.is_none() {
            check_step(&fields, &key.span, pod, pod.tasks.iter());
        }
        Some(PhaseSpec { name: key.text.clone(), pod: pod.pod_type.clone(), strategy, steps })
    });
    fields.finish();
    phase
}

fn find_pod<'p>(fields: &Fields, name: &Text, pods: &'p [PodSpec]) -> Option<&'p PodSpec> {
    let found = pods.iter().find(|pod| pod.pod_type.as_str() == name.text);
    if found.is_none() {
        let help = match nearest(name.text, pods.iter().map(|p| p.pod_type.as_str())) {
            Some(like) => format!("did you mean `{like}`?"),
            None => "name one of the keys below `pods`".to_owned(),
        };
        fields.error(&name.span, Code::NoSuch, format!("there is no pod `{}`", brief(name.text)), help);
    }
    found
}

/// `steps`: a list of mappings with one entry each, an instance or `default` → a list of lists of tasks.
fn steps(fields: &Fields, items: &[Node], pod: &PodSpec) -> StepsSpec {
    let mut steps = StepsSpec::default();
    // a list with items that cannot be read says nothing about which instances are missing
    let mut readable = true;
    for item in items {
        let Value::Map(entries) = &item.value else {
            fields.wrong(
                item,
                Code::Shape,
                "steps",
                format!("holds {}", item.kind()),
                "`default: [[task], [task]]`",
            );
            readable = false;
            continue;
        };
        let [(key, node)] = entries.as_slice() else {
            let message = format!("must hold one instance in each item, and this has {}", entries.len());
            fields.wrong(item, Code::Shape, "steps", message, "`default: [[task], [task]]`");
            readable = false;
            continue;
        };
        let tasks = task_lists(fields, node, pod);
        let again = match key.text.parse::<u32>() {
            Ok(index) => steps.by_index.insert(index, tasks).is_some(),
            Err(_) if key.text == "default" => steps.default.replace(tasks).is_some(),
            Err(_) => {
                let message = format!("`{}` is not an instance of a pod", brief(&key.text));
                let found = fields.findings.error(&key.span, Code::Form, message);
                fields.findings.add(found.expected("a number from 0, or `default`"));
                readable = false;
                false
            }
        };
        if again {
            let message = format!("the steps of `{}` are there twice", key.text);
            fields.error(&key.span, Code::DuplicateKey, message, "put all of them into one list");
        }
    }
    if readable
        && steps.default.is_none()
        && let Some(index) = (0..pod.count).find(|index| !steps.by_index.contains_key(index))
    {
        let message = format!("no steps for instance {index} of pod `{}`", pod.pod_type);
        fields.error(
            &fields.span,
            Code::Plan,
            message,
            format!("add `- default: [...]` or `- {index}: [...]`"),
        );
    }
    steps
}

fn task_lists(fields: &Fields, node: &Node, pod: &PodSpec) -> Vec<Vec<TaskName>> {
    let expected = "a list of lists, `[[first], [second, third]]`";
    let Value::List(lists) = &node.value else {
        fields.wrong(node, Code::Shape, "steps", format!("holds {}", node.kind()), expected);
        return Vec::new();
    };
    let mut steps = Vec::new();
    for list in lists {
        let Value::List(names) = &list.value else {
            fields.wrong(
                list,
                Code::Shape,
                "steps",
                format!("holds {} where a step's tasks belong", list.kind()),
                expected,
            );
            continue;
        };
        let tasks: Vec<&TaskSpec> = names.iter().filter_map(|name| find_task(fields, name, pod)).collect();
        check_step(fields, &list.span, pod, tasks.iter().copied());
        steps.push(tasks.iter().map(|task| task.name.clone()).collect());
    }
    steps
}

fn find_task<'p>(fields: &Fields, node: &Node, pod: &'p PodSpec) -> Option<&'p TaskSpec> {
    let name = fields.scalar("steps", node)?;
    if let Some(task) = pod.tasks.iter().find(|task| task.name.as_str() == name.text) {
        return Some(task);
    }
    let help = match nearest(name.text, pod.tasks.iter().map(|t| t.name.as_str())) {
        Some(like) => format!("did you mean `{like}`?"),
        None => "name one of the keys below the pod's `tasks`".to_owned(),
    };
    let message = format!("the pod `{}` has no task `{}`", pod.pod_type, brief(name.text));
    fields.error(&name.span, Code::NoSuch, message, help);
    None
}

/// Tasks that are launched together need resources and names of their own.
fn check_step<'p>(fields: &Fields, place: &Span, pod: &PodSpec, tasks: impl Iterator<Item = &'p TaskSpec>) {
    let mut sets = HashMap::new();
    let mut prefixes = HashMap::new();
    for task in tasks {
        let set = &task.resource_set.id;
        let prefix = task.discovery.as_ref().and_then(|d| d.prefix.as_ref());
        // a set that was not found has no name, and has been reported
        let same_set = Some(set)
            .filter(|set| !set.is_empty())
            .and_then(|set| sets.insert(set, &task.name))
            .map(|other| (other, format!("the resource set `{set}`")));
        let same_prefix = prefix.and_then(|prefix| {
            prefixes
                .insert(prefix, &task.name)
                .map(|other| (other, format!("the discovery prefix `{prefix}`")))
        });
        if let Some((other, shared)) = same_set.or(same_prefix) {
            let PodSpec { pod_type, .. } = pod;
            let message = format!(
                "one step launches `{other}` and `{}` of pod `{pod_type}`, which share {shared}",
                task.name
            );
            let help = "launch them in different steps of a plan, or give each its own";
            fields.error(place, Code::Plan, message, help);
        }
    }
}
