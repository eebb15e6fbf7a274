//! Whether what is expected is so, and what is so instead.

use super::play::Player;
use super::{Expectation, TaskRef, Verdict};
use crate::plan::{Plan, Status};
use crate::wire::{Call, CallType, OperationType, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// How many steps are said why they do not go on.
const STEPS: usize = 3;

/// Looks whether an expectation is met.
pub fn check(player: &Player, expectation: &Expectation) -> Verdict {
    let met = match expectation {
        Expectation::DeclinedLastOffer => declined(player),
        Expectation::Launched { tasks, calls } => launched(player, tasks, *calls),
        Expectation::Unreserved(tasks) => unreserved(player, tasks),
        Expectation::Killed { task, times } => killed(player, task, *times),
        Expectation::Reconciled { explicitly } => reconciled(player, *explicitly),
        Expectation::Revived(times) => times_said("offers are asked for again", *times, player.revived),
        Expectation::Suppressed(times) => {
            times_said("offers are said not to be wanted", *times, player.suppressed)
        }
        Expectation::AllPlansComplete => all_complete(player),
        Expectation::PlanStatus(plan, status) => {
            plan_of(player, plan).and_then(|p| same(&format!("plan {plan}"), status, p.status().name()))
        }
        Expectation::StepStatus { plan, phase, step, status } => {
            step_status(player, plan, phase, step, status)
        }
        Expectation::StepCount(plan, count) => {
            plan_of(player, plan).and_then(|p| same(&format!("steps of {plan}"), count, p.steps().count()))
        }
        Expectation::KnownTasks(tasks) => {
            let known = player.scheduler().tasks().keys().map(String::as_str).collect();
            same_tasks("stored", tasks, &known)
        }
        Expectation::TaskEnv { task, name, value } => task_env(player, task, name, value.as_deref()),
        Expectation::TaskStatus(task, status) => task_status(player, task, status),
        Expectation::SamePod(tasks) => same_pod(player, tasks),
        Expectation::Refused(text) => {
            let errors = player.scheduler().plan("deploy").map(Plan::all_errors).unwrap_or_default();
            return refused(text, &errors.join("\n"));
        }
    };
    match met {
        Ok(()) => Verdict::Passed,
        Err(Not { expected, found }) => Verdict::Failed { expected, found },
    }
}

/// Whether the reasons why something is refused hold a text.
pub fn refused(text: &str, why: &str) -> Verdict {
    if why.contains(text) {
        return Verdict::Passed;
    }
    let found = if why.is_empty() { "it is accepted".to_owned() } else { why.to_owned() };
    Verdict::Failed { expected: format!("it is refused, with {text:?} among the reasons"), found }
}

/// What should be and isn't.
struct Not {
    expected: String,
    found: String,
}

type Met = Result<(), Not>;

fn not(expected: impl Into<String>, found: impl Into<String>) -> Not {
    Not { expected: expected.into(), found: found.into() }
}

fn same<T: PartialEq<U> + std::fmt::Display, U: std::fmt::Display>(what: &str, wanted: &T, is: U) -> Met {
    if *wanted == is { Ok(()) } else { Err(not(format!("{what}: {wanted}"), format!("{what}: {is}"))) }
}

fn times_said(what: &str, wanted: usize, is: usize) -> Met {
    same(&format!("how often {what} in this run"), &wanted, is)
}

fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.into_iter().collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn same_tasks(what: &str, wanted: &[String], is: &BTreeSet<&str>) -> Met {
    let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    if wanted == *is {
        return Ok(());
    }
    let said = |tasks: &BTreeSet<&str>| format!("{what}: {}", names(tasks.iter().copied()));
    Err(not(said(&wanted), said(is)))
}

fn operations(calls: &[Call], kind: OperationType) -> impl Iterator<Item = &crate::wire::Operation> {
    calls.iter().flat_map(|c| &c.accept).flat_map(|a| &a.operations).filter(move |o| o.r#type == kind)
}

fn declined(player: &Player) -> Met {
    let Some(last) = player.last_offers.last() else {
        return Err(not("the last offer is declined", "no offer was sent"));
    };
    let declined = player.calls.iter().flat_map(|c| &c.decline).flat_map(|d| &d.offer_ids);
    if declined.into_iter().any(|id| id == last) {
        return Ok(());
    }
    let used = player.calls.iter().flat_map(|c| &c.accept).any(|a| a.offer_ids.contains(last));
    let done = operations(&player.calls, OperationType::LaunchGroup).count();
    let found = match (used, done) {
        (true, 0) => "it is accepted, to give reservations back",
        (true, _) => "it is accepted, to launch tasks",
        (false, _) => "it is neither declined nor accepted",
    };
    Err(not(format!("the last offer ({last}) is declined"), found))
}

fn launched(player: &Player, tasks: &[String], calls: Option<usize>) -> Met {
    let groups =
        operations(&player.calls, OperationType::LaunchGroup).filter_map(|o| o.launch_group.as_ref());
    let is: BTreeSet<&str> = groups.flat_map(|g| &g.task_group.tasks).map(|t| t.name.as_str()).collect();
    same_tasks("launched", tasks, &is).map_err(|mut not| {
        not.found.push_str(&why(player));
        not
    })?;
    let with = player
        .calls
        .iter()
        .filter(|c| operations(std::slice::from_ref(c), OperationType::LaunchGroup).next().is_some());
    calls.map_or(Ok(()), |wanted| same("calls that launch tasks", &wanted, with.count()))
}

/// Why the first steps do not go on whose plans are under way.
fn why(player: &Player) -> String {
    let scheduler = player.scheduler();
    let open = scheduler.plans().iter().filter(|p| !p.is_interrupted()).flat_map(Plan::steps);
    let open = open.filter(|s| s.status() != Status::Complete).take(STEPS);
    let said = open.map(|step| {
        let reasons = scheduler.why(player.now, step).join("\n    ");
        format!("\n  {} ({}): {reasons}", step.name, step.status())
    });
    said.collect()
}

fn unreserved(player: &Player, tasks: &[String]) -> Met {
    let given = operations(&player.calls, OperationType::Unreserve).filter_map(|o| o.unreserve.as_ref());
    let ids: BTreeSet<&str> = given.flat_map(|u| &u.resources).filter_map(|r| r.resource_id()).collect();
    // What belongs to executors is nobody's own.
    let owners = ids.iter().filter_map(|id| player.owners.get(*id)).flatten().map(String::as_str);
    same_tasks("given back", tasks, &owners.collect())
}

fn killed(player: &Player, task: &TaskRef, times: Option<usize>) -> Met {
    let name = |id: &TaskId| player.names.get(id).map(String::as_str);
    let (what, is) = match task {
        TaskRef::Name(wanted) => {
            let kills = player.kills.iter().filter(|id| name(id) == Some(wanted));
            (wanted, kills.count())
        }
        TaskRef::Id(wanted) => (wanted, player.kills.iter().filter(|id| id.value == *wanted).count()),
    };
    match times {
        Some(times) => same(&format!("how often {what} is asked to end in this run"), &times, is),
        None if is > 0 => Ok(()),
        None => {
            let all: BTreeSet<&str> = player.kills.iter().map(|id| name(id).unwrap_or(&id.value)).collect();
            Err(not(format!("{what} is asked to end"), format!("asked to end: {}", names(all))))
        }
    }
}

fn reconciled(player: &Player, explicitly: bool) -> Met {
    let calls = player.calls.iter().filter(|c| c.r#type == CallType::Reconcile);
    let asked: Vec<bool> = calls.filter_map(|c| Some(!c.reconcile.as_ref()?.tasks.is_empty())).collect();
    if asked.contains(&explicitly) {
        return Ok(());
    }
    let how = |explicitly| if explicitly { "how known tasks are" } else { "how all tasks are" };
    let found = names(asked.iter().map(|explicitly| how(*explicitly)));
    Err(not(format!("the master is asked {}", how(explicitly)), format!("the master is asked: {found}")))
}

/// What operators have to start is complete, or waits to be started.
fn all_complete(player: &Player) -> Met {
    let open: BTreeMap<&str, &str> = player
        .scheduler()
        .plans()
        .iter()
        .filter(|p| p.status() != Status::Complete && !(p.is_interrupted() && is_untouched(p)))
        .map(|p| (p.name.as_str(), p.status().name()))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = open.iter().map(|(plan, status)| format!("{plan}: {status}")).collect();
    Err(not("all plans are complete", format!("{}{}", found.join(", "), why(player))))
}

fn is_untouched(plan: &Plan) -> bool {
    plan.steps().all(|step| matches!(step.status(), Status::Pending | Status::Waiting | Status::Complete))
}

fn plan_of<'p>(player: &'p Player, name: &str) -> Result<&'p Plan, Not> {
    let plans = || names(player.scheduler().plans().iter().map(|p| p.name.as_str()));
    player.scheduler().plan(name).ok_or_else(|| not(format!("a plan {name}"), format!("plans: {}", plans())))
}

fn step_status(player: &Player, plan: &str, phase: &str, step: &str, status: &str) -> Met {
    let plan = plan_of(player, plan)?;
    let phases: Vec<_> = plan.phases().filter(|p| p.name == phase).collect();
    if phases.is_empty() {
        let found = format!("phases: {}", names(plan.phases().map(|p| p.name.as_str())));
        return Err(not(format!("a phase {phase}"), found));
    }
    let steps = || phases.iter().flat_map(|p| p.steps());
    let Some(found) = steps().find(|s| s.name == step) else {
        let found = format!("steps: {}", names(steps().map(|s| s.name.as_str())));
        return Err(not(format!("a step {step}"), found));
    };
    let is = player.scheduler().step_status(found);
    let (name, now) = (&found.name, player.now);
    if is == status {
        return Ok(());
    }
    let is = std::iter::once(format!("step {name}: {is}"));
    let said: Vec<String> = is.chain(player.scheduler().why(now, found)).collect();
    Err(not(format!("step {name}: {status}"), said.join("\n  ")))
}

fn task_of<'p>(player: &'p Player, name: &str) -> Result<&'p crate::scheduler::Task, Not> {
    let known = || names(player.scheduler().tasks().keys().map(String::as_str));
    let task = player.scheduler().tasks().get(name);
    task.ok_or_else(|| not(format!("a task {name}"), format!("tasks: {}", known())))
}

fn task_env(player: &Player, task: &str, name: &str, value: Option<&str>) -> Met {
    let found = task_of(player, task)?;
    let variables = found.info.command.iter().flat_map(|c| &c.environment).flat_map(|e| &e.variables);
    let is = variables.into_iter().find(|v| v.name == name);
    let is = is.map(|v| v.value.as_deref().unwrap_or("a secret"));
    let said = |value: Option<&str>| match value {
        Some(value) => format!("{name}={value} in the environment of {task}"),
        None => format!("no {name} in the environment of {task}"),
    };
    if is == value { Ok(()) } else { Err(not(said(value), said(is))) }
}

fn task_status(player: &Player, task: &str, status: &str) -> Met {
    let is = player.scheduler().task_status(task_of(player, task)?).unwrap_or("none");
    let wanted = status.trim_start_matches("TASK_");
    if is == wanted { Ok(()) } else { Err(not(format!("{task}: {wanted}"), format!("{task}: {is}"))) }
}

fn same_pod(player: &Player, tasks: &[String]) -> Met {
    let mut executors = BTreeMap::<&str, Vec<&str>>::new();
    for name in tasks {
        let task = task_of(player, name)?;
        let executor = task.info.executor.as_ref().map_or("none", |e| e.executor_id.value.as_str());
        executors.entry(executor).or_default().push(name);
    }
    if executors.len() <= 1 && !executors.contains_key("none") {
        return Ok(());
    }
    let found: Vec<String> =
        executors.iter().map(|(id, tasks)| format!("{id}: {}", tasks.join(", "))).collect();
    Err(not(format!("one executor has {}", tasks.join(", ")), found.join("; ")))
}
