//! From the text of a scenario file to a [`Scenario`]. Every mistake is told with its place; unknown keys are mistakes.

use super::{Action, Expectation, Run, Scenario, Send, TaskRef, Tick, Wish};
use crate::finding::{Code, Report, Severity, Source};
use crate::plan::Status;
use crate::scheduler::{Command, PlanCommand, PodCommand};
use crate::spec::yaml::{self, Key, Node, Value};
use crate::spec::{Findings, env_name};
use crate::template::Place;
use crate::wire::TaskState;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

/// The keys beside `runs`, which a file with one run writes at its root.
const RUN_KEYS: [&str; 5] = ["options", "env", "pod-env", "parameters", "ticks"];
/// The keys of the root.
const ROOT_KEYS: [&str; 8] = ["about", "package", "options", "env", "pod-env", "parameters", "ticks", "runs"];
/// What can be sent.
const SENDS: [&str; 10] =
    ["register", "offer", "no-offers", "status", "replace", "restart", "pause", "resume", "plan", "wait"];
/// What can be expected.
const EXPECTATIONS: [&str; 17] = [
    "declined-last-offer",
    "launched",
    "unreserved",
    "killed",
    "not-killed",
    "reconciled",
    "revived",
    "suppressed",
    "all-plans-complete",
    "plan",
    "step",
    "step-count",
    "known-tasks",
    "task-env",
    "task-status",
    "same-pod",
    "refused",
];
/// What operators see of steps whose pods are paused.
const PAUSED: [&str; 2] = ["PAUSED", "PAUSING"];
/// The most offers of one tick, and the longest wait (seconds).
const MOST: i64 = 100_000;

/// Reads a scenario file.
pub fn read(source: &Source) -> Result<Scenario, Report> {
    let findings = Findings::new(source);
    let root = yaml::read(&source.text, &findings);
    let scenario = root.map(|root| Reader { source, findings: &findings }.scenario(&root));
    let found = findings.into_vec();
    match scenario {
        Some(scenario) if found.iter().all(|f| f.severity == Severity::Warning) => Ok(scenario),
        _ => Err(Report(found)),
    }
}

struct Reader<'a> {
    source: &'a Source,
    findings: &'a Findings<'a>,
}

/// The keys of a mapping.
struct Map<'n> {
    /// What it is, for messages.
    what: String,
    span: Range<usize>,
    entries: &'n [(Key, Node)],
}

impl<'n> Map<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// Whether a key is there, with or without a value.
    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.text == key)
    }
}

impl Reader<'_> {
    fn add(&self, span: &Range<usize>, code: Code, message: impl Into<String>) {
        self.findings.add(self.findings.at(span, code, message));
    }

    /// The mapping that a node is. `known` are the keys that it may have; any if there are none.
    fn map<'n>(&self, node: &'n Node, what: &str, known: &[&str]) -> Map<'n> {
        let entries: &[_] = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar { .. } if node.is_null() => &[],
            _ => {
                let message = format!("{what} must be a mapping, and this is {}", node.kind());
                self.add(&node.span, Code::Shape, message);
                &[]
            }
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.is_empty() && !known.contains(&&*key.text)) {
            self.unknown(key, &format!("a key of {what}"), known);
        }
        Map { what: what.to_owned(), span: node.span.clone(), entries }
    }

    fn unknown(&self, key: &Key, what: &str, known: &[&str]) {
        let help = match self.findings.nearest(&key.text, known.iter().copied()) {
            Some(like) => format!("did you mean `{like}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let message = format!("`{}` is not {what}", key.text);
        self.findings.add(self.findings.at(&key.span, Code::UnknownKey, message).help(help));
    }

    fn text(&self, node: &Node, what: impl Display) -> Option<String> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
            _ => {
                let message = format!("{what} must be a text, and this is {}", node.kind());
                self.add(&node.span, Code::Shape, message);
                None
            }
        }
    }

    /// The text at a key; an error where it is missing.
    fn needed(&self, map: &Map, key: &str) -> Option<String> {
        self.present(map, key).and_then(|node| self.text(node, format_args!("`{key}`")))
    }

    /// The value of a key; an error where it is missing.
    fn present<'n>(&self, map: &Map<'n>, key: &str) -> Option<&'n Node> {
        let node = map.get(key);
        if node.is_none() {
            self.add(&map.span, Code::Missing, format!("{} needs `{key}`", map.what));
        }
        node
    }

    fn optional(&self, map: &Map, key: &str) -> Option<String> {
        map.get(key).and_then(|node| self.text(node, format_args!("`{key}`")))
    }

    fn number(&self, node: &Node, what: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(node, what)?;
        let (least, most) = (*range.start(), *range.end());
        match text.parse::<i64>() {
            Ok(number) if range.contains(&number) => Some(number),
            Ok(_) => {
                let found = self.findings.at(&node.span, Code::OutOfRange, format!("{what} is out of range"));
                self.findings.add(found.expected(format!("an integer from {least} to {most}")));
                None
            }
            Err(_) => {
                self.add(
                    &node.span,
                    Code::ScalarType,
                    format!("{what} must be an integer, and this is `{text}`"),
                );
                None
            }
        }
    }

    fn count(&self, node: &Node, what: &str) -> Option<usize> {
        self.number(node, what, 0..=MOST).and_then(|n| usize::try_from(n).ok())
    }

    /// One of some words, in any case.
    fn word(&self, node: &Node, what: &str, words: &[&str]) -> Option<String> {
        let text = self.text(node, what)?;
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let finding = self.findings.at(&node.span, Code::NotOneOf, format!("{what} cannot be `{text}`"));
            self.findings.add(finding.expected(words.join(", ")));
        }
        found.map(|word| (*word).to_owned())
    }

    /// A list of texts; a text alone is a list of one.
    fn texts(&self, node: &Node, what: &str) -> Vec<String> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text(item, what)).collect(),
            Value::Scalar { .. } if node.is_null() => Vec::new(),
            _ => self.text(node, what).into_iter().collect(),
        }
    }

    /// Names and their texts; nothing is an empty text.
    fn pairs(&self, node: Option<&Node>, what: &str) -> Vec<(String, String)> {
        let Some(node) = node else { return Vec::new() };
        let entries = self.map(node, what, &[]).entries;
        let pair = |(key, node): &(Key, Node)| {
            let text = if node.is_null() { Some(String::new()) } else { self.text(node, &*key.text) };
            Some((key.text.clone(), text?))
        };
        entries.iter().filter_map(pair).collect()
    }

    fn scenario(&self, root: &Node) -> Scenario {
        let root = self.map(root, "a scenario", &ROOT_KEYS);
        let runs = match root.get("runs") {
            Some(node) => {
                if let Some((key, _)) = root.entries.iter().find(|(key, _)| key.text == "ticks") {
                    self.add(
                        &key.span,
                        Code::Conflict,
                        "`ticks` beside `runs`: write them into one of the runs",
                    );
                }
                let shared = self.run(&root);
                let run = |node| self.joined(&shared, &self.map(node, "a run", &RUN_KEYS));
                self.list(node, "`runs`").iter().map(run).collect()
            }
            None => vec![self.run(&root)],
        };
        if runs.iter().all(|run| run.ticks.is_empty()) && self.findings.no_errors() {
            self.add(&root.span, Code::Missing, "a scenario needs `ticks`, or `runs` with some");
        }
        let text = |key| self.optional(&root, key);
        Scenario { source: self.source.clone(), about: text("about"), package: text("package"), runs }
    }

    fn list<'n>(&self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.add(&node.span, Code::Shape, format!("{what} must be a list, and this is {}", node.kind()));
        &[]
    }

    /// A run, over what all runs share.
    fn joined(&self, shared: &Run, map: &Map) -> Run {
        let own = self.run(map);
        let over = |shared: &BTreeMap<String, String>, own: BTreeMap<String, String>| {
            shared.clone().into_iter().chain(own).collect()
        };
        Run {
            options: shared.options.iter().cloned().chain(own.options).collect(),
            env: over(&shared.env, own.env),
            parameters: over(&shared.parameters, own.parameters),
            ticks: own.ticks,
        }
    }

    fn run(&self, map: &Map) -> Run {
        let mut run = Run::default();
        if let Some(node) = map.get("options") {
            self.map(node, "`options`", &[]);
            flatten("", &node.data(), &mut run.options);
        }
        run.env.extend(self.pairs(map.get("env"), "`env`"));
        run.parameters.extend(self.pairs(map.get("parameters"), "`parameters`"));
        let pods =
            map.get("pod-env").map(|node| self.map(node, "`pod-env`", &[]).entries).unwrap_or_default();
        for (pod, variables) in pods {
            for (name, value) in self.pairs(Some(variables), &format!("`pod-env.{}`", pod.text)) {
                // The way in which a scheduler is told so.
                run.env.insert(format!("TASKCFG_{}_{name}", env_name(&pod.text)), value);
            }
        }
        if let Some(node) = map.get("ticks") {
            run.ticks = self.list(node, "`ticks`").iter().flat_map(|node| self.ticks(node)).collect();
        }
        run
    }

    /// The ticks of an item: a `send`, or each thing that an `expect` lists.
    fn ticks(&self, node: &Node) -> Vec<Tick> {
        let help = "write `- send: …` or `- expect: …`";
        let map = self.map(node, "a tick", &["send", "expect"]);
        let [(verb, what)] = map.entries else {
            let found = self.findings.at(&node.span, Code::Shape, "a tick is one `send` or one `expect`");
            self.findings.add(found.help(help));
            return Vec::new();
        };
        let nothing =
            Node { span: what.span.clone(), value: Value::Scalar { text: String::new(), plain: true } };
        let alone;
        let entries: &[(Key, Node)] = match &what.value {
            Value::Map(entries) => entries,
            Value::Scalar { text, .. } if !what.is_null() => {
                alone = [(Key { text: text.clone(), span: what.span.clone() }, nothing)];
                &alone
            }
            _ => &[],
        };
        if entries.is_empty() || verb.text == "send" && entries.len() > 1 {
            let message = format!("`{}` needs a name of what, and what belongs to it", verb.text);
            self.add(&what.span, Code::Shape, message);
            return Vec::new();
        }
        let mut ticks = Vec::new();
        for (key, node) in entries {
            let actions: Vec<Action> = match verb.text.as_str() {
                "send" => self.send(key, node).into_iter().map(Action::Send).collect(),
                "expect" => self.expect(key, node).into_iter().map(Action::Expect).collect(),
                _ => Vec::new(),
            };
            ticks.extend(actions.into_iter().map(|action| self.tick(&verb.text, key, node, action)));
        }
        ticks
    }

    fn tick(&self, verb: &str, key: &Key, node: &Node, action: Action) -> Tick {
        let place = Place::of(&self.source.text, key.span.start);
        let written =
            self.source.text.get(key.span.start..node.span.end.max(key.span.end)).unwrap_or(&key.text);
        let text = written.split_whitespace().collect::<Vec<_>>().join(" ");
        Tick { line: place.line, column: place.column, text: format!("{verb} {text}"), action }
    }

    fn send(&self, key: &Key, node: &Node) -> Option<Send> {
        let what = format!("`{}`", key.text);
        match key.text.as_str() {
            "register" => Some(Send::Register),
            "no-offers" => Some(Send::NoOffers),
            "wait" => {
                let seconds = self.number(node, &what, 1..=MOST)?;
                Some(Send::Wait(u32::try_from(seconds).unwrap_or_default()))
            }
            "offer" => self.offer(node),
            "status" => self.status(node),
            "replace" => Some(Send::pod(&self.text(node, what)?, PodCommand::Replace)),
            "restart" => Some(Send::pod(&self.text(node, what)?, PodCommand::Restart)),
            "pause" | "resume" => self.pause(node, key.text == "pause"),
            "plan" => self.plan(node),
            _ => {
                self.unknown(key, "something to send", &SENDS);
                None
            }
        }
    }

    fn offer(&self, node: &Node) -> Option<Send> {
        let known = ["pod", "count", "hostname", "reoffer", "region", "zone", "attributes"];
        if let Value::Scalar { .. } = node.value {
            return Some(Send::Offer(Wish { pod: self.text(node, "`offer`")?, count: 1, ..Wish::default() }));
        }
        let map = self.map(node, "`offer`", &known);
        let number = |key: &str, least| map.get(key).and_then(|node| self.number(node, key, least..=MOST));
        let number = |key, least| number(key, least).and_then(|n| u32::try_from(n).ok());
        Some(Send::Offer(Wish {
            pod: self.needed(&map, "pod")?,
            count: number("count", 1).unwrap_or(1),
            hostname: self.optional(&map, "hostname"),
            reoffer: number("reoffer", 0),
            region: self.optional(&map, "region"),
            zone: self.optional(&map, "zone"),
            attributes: self.pairs(map.get("attributes"), "`attributes`"),
        }))
    }

    fn status(&self, node: &Node) -> Option<Send> {
        let map = self.map(node, "`status`", &["task", "state", "readiness-exit-code", "task-id"]);
        let task = self.needed(&map, "task")?;
        let state = self.state(self.present(&map, "state")?)?;
        let readiness = map
            .get("readiness-exit-code")
            .and_then(|node| self.number(node, "`readiness-exit-code`", -255..=255))
            .and_then(|code| i32::try_from(code).ok());
        Some(Send::Status { task, state, readiness, task_id: self.optional(&map, "task-id") })
    }

    /// A task's state, with or without `TASK_`.
    fn state(&self, node: &Node) -> Option<TaskState> {
        let text = self.text(node, "`state`")?.to_ascii_uppercase();
        let name = format!("TASK_{}", text.trim_start_matches("TASK_"));
        let state = TaskState::ALL.into_iter().find(|state| state.wire_name() == name);
        if state.is_none() {
            let names: Vec<&str> = TaskState::ALL.into_iter().map(TaskState::wire_name).collect();
            let found = self.findings.at(&node.span, Code::NotOneOf, format!("there is no state `{text}`"));
            self.findings.add(found.expected(names.join(", ")));
        }
        state
    }

    fn pause(&self, node: &Node, pause: bool) -> Option<Send> {
        let (pod, tasks) = if let Value::Scalar { .. } = node.value {
            (self.text(node, "a pod instance")?, Vec::new())
        } else {
            let map = self.map(node, "a pause", &["pod", "tasks"]);
            let tasks = map.get("tasks").map(|node| self.texts(node, "`tasks`")).unwrap_or_default();
            (self.needed(&map, "pod")?, tasks)
        };
        let command = if pause { PodCommand::Pause(tasks) } else { PodCommand::Resume(tasks) };
        Some(Send::pod(&pod, command))
    }

    fn plan(&self, node: &Node) -> Option<Send> {
        let map = self.map(node, "`plan`", &["plan", "command", "phase", "step", "parameters"]);
        let words = ["start", "stop", "continue", "interrupt", "force-complete", "restart"];
        let command = self.present(&map, "command")?;
        let command = match self.word(command, "`command`", &words)?.as_str() {
            "start" => {
                PlanCommand::Start(self.pairs(map.get("parameters"), "`parameters`").into_iter().collect())
            }
            "stop" => PlanCommand::Stop,
            "continue" => PlanCommand::Continue,
            "interrupt" => PlanCommand::Interrupt,
            "force-complete" => PlanCommand::ForceComplete,
            _ => PlanCommand::Restart,
        };
        let (plan, phase) = (self.needed(&map, "plan")?, self.optional(&map, "phase"));
        Some(Send::Command(Command::Plan { plan, phase, step: self.optional(&map, "step"), command }))
    }

    fn expect(&self, key: &Key, node: &Node) -> Vec<Expectation> {
        use Expectation as E;
        let what = format!("`{}`", key.text);
        let one = |expectation: Option<Expectation>| expectation.into_iter().collect();
        match key.text.as_str() {
            "declined-last-offer" => vec![E::DeclinedLastOffer],
            "all-plans-complete" => vec![E::AllPlansComplete],
            "launched" => vec![self.launched(node)],
            "unreserved" => vec![E::Unreserved(self.texts(node, &what))],
            "killed" => self.killed(node),
            "not-killed" => {
                let never = |task| E::Killed { task: TaskRef::Name(task), times: Some(0) };
                self.texts(node, &what).into_iter().map(never).collect()
            }
            "reconciled" => {
                let how = self.word(node, &what, &["explicitly", "implicitly"]);
                one(how.map(|how| E::Reconciled { explicitly: how == "explicitly" }))
            }
            "revived" => one(self.count(node, &what).map(E::Revived)),
            "suppressed" => one(self.count(node, &what).map(E::Suppressed)),
            "plan" => self.plan_statuses(node),
            "step" => self.steps(node),
            "step-count" => self.step_counts(node),
            "known-tasks" => vec![E::KnownTasks(self.texts(node, &what))],
            "task-env" => self.task_env(node),
            "task-status" => {
                let statuses = self.pairs(Some(node), &what).into_iter();
                statuses.map(|(task, status)| E::TaskStatus(task, status.to_ascii_uppercase())).collect()
            }
            "same-pod" => vec![E::SamePod(self.texts(node, &what))],
            "refused" => one(self.text(node, what).map(E::Refused)),
            _ => {
                self.unknown(key, "something to expect", &EXPECTATIONS);
                Vec::new()
            }
        }
    }

    fn launched(&self, node: &Node) -> Expectation {
        if !matches!(node.value, Value::Map(_)) {
            return Expectation::Launched { tasks: self.texts(node, "`launched`"), calls: None };
        }
        let map = self.map(node, "`launched`", &["tasks", "calls"]);
        let tasks = map.get("tasks").map(|node| self.texts(node, "`tasks`")).unwrap_or_default();
        let calls = map.get("calls").and_then(|node| self.count(node, "`calls`"));
        Expectation::Launched { tasks, calls }
    }

    fn killed(&self, node: &Node) -> Vec<Expectation> {
        if !matches!(node.value, Value::Map(_)) {
            let once = |task| Expectation::Killed { task: TaskRef::Name(task), times: None };
            return self.texts(node, "`killed`").into_iter().map(once).collect();
        }
        let map = self.map(node, "`killed`", &["task", "task-id", "times"]);
        let times = map.get("times").and_then(|node| self.count(node, "`times`"));
        let task = match (map.has("task"), map.has("task-id")) {
            (true, false) => self.needed(&map, "task").map(TaskRef::Name),
            (false, true) => self.needed(&map, "task-id").map(TaskRef::Id),
            _ => {
                self.add(&map.span, Code::Conflict, "`killed` needs either `task` or `task-id`");
                None
            }
        };
        task.map(|task| Expectation::Killed { task, times }).into_iter().collect()
    }

    /// A status of a plan or step.
    fn status_name(&self, node: &Node) -> Option<String> {
        let words: Vec<&str> = Status::ALL.into_iter().map(Status::name).chain(PAUSED).collect();
        self.word(node, "a status", &words)
    }

    fn plan_statuses(&self, node: &Node) -> Vec<Expectation> {
        let statuses = self.map(node, "`plan`", &[]).entries.iter();
        let status = |(plan, node): &(Key, Node)| {
            Some(Expectation::PlanStatus(plan.text.clone(), self.status_name(node)?))
        };
        statuses.filter_map(status).collect()
    }

    fn steps(&self, node: &Node) -> Vec<Expectation> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let step = |node| {
            let map = self.map(node, "`step`", &["plan", "phase", "step", "status"]);
            let status = self.present(&map, "status");
            Some(Expectation::StepStatus {
                plan: self.optional(&map, "plan").unwrap_or_else(|| "deploy".to_owned()),
                phase: self.needed(&map, "phase")?,
                step: self.needed(&map, "step")?,
                status: self.status_name(status?)?,
            })
        };
        items.iter().filter_map(step).collect()
    }

    fn step_counts(&self, node: &Node) -> Vec<Expectation> {
        let counts = self.map(node, "`step-count`", &[]).entries.iter();
        let count = |(plan, node): &(Key, Node)| {
            Some(Expectation::StepCount(plan.text.clone(), self.count(node, "a count")?))
        };
        counts.filter_map(count).collect()
    }

    fn task_env(&self, node: &Node) -> Vec<Expectation> {
        let mut expected = Vec::new();
        for (task, node) in self.map(node, "`task-env`", &[]).entries {
            for (name, node) in self.map(node, "the variables of a task", &[]).entries {
                let value = if node.is_null() { None } else { self.text(node, "a value") };
                expected.push(Expectation::TaskEnv {
                    task: task.text.clone(),
                    name: name.text.clone(),
                    value,
                });
            }
        }
        expected
    }
}

/// Options as settings, `name.of.option=JSON`: nested ones under names joined by dots, as a user may write them, too.
fn flatten(name: &str, value: &serde_json::Value, settings: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) if name.is_empty() || !fields.is_empty() => {
            for (key, value) in fields {
                let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&below, value, settings);
            }
        }
        value => settings.push(format!("{name}={value}")),
    }
}
