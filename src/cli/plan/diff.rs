//! `dagpkg plan diff`: what an update will do, before it is done.

use super::Output;
use crate::bootstrap::print::masked;
use crate::cli::subject::{GivenArgs, SubjectArgs};
use crate::cli::tree::Node;
use crate::plan::{Phase, Plan, Status, Step};
use crate::scheduler::{Config, Deployment, Fate, PodPreview, Preview, preview};
use crate::spec::Change;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say what an update will do, before it is done: which pods start anew, in what order and why, and what refuses it.
///
/// A version is a package's folder, a stub universe that `dagpkg build` wrote, a service file, or a JSON file of options
/// for the package of --universe or of this folder. The service of before is taken to be deployed completely. Values of
/// variables that look like secrets are hidden.
///
/// Exit codes: 0 the update will be done, 1 it is refused, or a version cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg plan diff --from installed.json --to mine.json
  dagpkg plan diff --from svc.yml --to new/svc.yml --env FRAMEWORK_NAME=weather
  dagpkg plan diff --from dist/1.0/stub-universe-weather.json --to . --output json")]
pub struct Args {
    /// The version that is deployed.
    #[arg(long, value_name = "FILE_OR_DIR")]
    from: PathBuf,
    /// The version that it is updated to.
    #[arg(long, value_name = "FILE_OR_DIR")]
    to: PathBuf,
    /// The package that files of options are for, and that gives service files their environment
    /// [default: the one in this folder, if there is one].
    #[arg(long, value_name = "DIR_OR_FILE")]
    universe: Option<PathBuf>,
    /// The service file of the package, where it is not found by itself.
    #[arg(long, value_name = "FILE")]
    svc: Option<PathBuf>,
    /// Options and variables of both versions.
    #[command(flatten)]
    given: GivenArgs,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs `dagpkg plan diff`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let old = args.deployment(&args.from)?;
    let new = args.deployment(&args.to)?;
    let name = new.service.spec.name.clone();
    let preview = preview(old, new)?;
    let text = match args.output {
        Output::Text => text(&name, &preview),
        Output::Json => format!("{:#}\n", data(&name, &preview)),
    };
    crate::cli::print(&text)?;
    Ok(if preview.refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    /// A version, as its scheduler will read it.
    fn deployment(&self, version: &Path) -> anyhow::Result<Deployment> {
        let subject = self.subject(version)?;
        let app = subject.app()?;
        if let Some(app) = &app {
            crate::cli::show(&app.unset);
        }
        let app = app.as_ref().map(|app| &app.app);
        let env = subject.environment(app);
        let service = subject.candidate(app)?.service;
        let config = Config::from_env(&env, &service.spec, 0)?;
        Ok(Deployment { service, config })
    }

    /// What a file or folder is, by its name and content.
    fn subject(&self, version: &Path) -> anyhow::Result<crate::cli::subject::Subject> {
        let kind = version.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let mut args = SubjectArgs { given: self.given.clone(), ..SubjectArgs::default() };
        if version.is_dir() {
            args.dir = Some(version.to_owned());
            return args.read();
        }
        let here = PathBuf::from("universe");
        let universe = self.universe.clone().or_else(|| here.join("package.json").is_file().then_some(here));
        args.svc.clone_from(&self.svc);
        if crate::scaffold::framework::is_yaml(&version.to_string_lossy()) {
            args.svc = Some(version.to_owned());
            args.universe = universe;
        } else if kind == "json" && is_stub_universe(version)? {
            args.universe = Some(version.to_owned());
        } else {
            args.given.options.push(version.to_owned());
            // the package's folder is the one that its universe folder is in
            let around = self.universe.as_deref().filter(|universe| universe.is_dir());
            args.dir = Some(around.and_then(Path::parent).unwrap_or(Path::new("")).to_owned());
            args.universe.clone_from(&self.universe);
        }
        args.read()
    }
}

fn is_stub_universe(file: &Path) -> anyhow::Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    // What is no JSON is told where it is read as options.
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(json.get("packages").is_some_and(Value::is_array))
}

/// Whether a pod's tasks have to start anew, to be as the new version says.
fn restarts(pod: &PodPreview) -> bool {
    pod.changes.iter().any(|(_, restarts)| *restarts)
}

fn text(name: &str, preview: &Preview) -> String {
    let refused = !preview.refusals.is_empty();
    let verdict = if refused { "is refused: what runs goes on as it is" } else { "is accepted" };
    let mut text = format!("The update of {name} {verdict}.\n");
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            // writing to a String cannot fail
            let _ = write!(text, "\n{title}\n{}\n", lines.join("\n"));
        }
    };
    section("Refused because of", preview.refusals.iter().map(|why| format!("  {why}")).collect());
    section("Service", preview.service.iter().map(|change| format!("  {}", line(change))).collect());
    section("Pods", preview.pods.iter().flat_map(|p| pod_lines(p, preview)).collect());
    section("Ended at once", preview.ended().into_iter().map(|task| format!("  {task}")).collect());
    for plan in preview.plans() {
        // writing to a String cannot fail
        let _ = write!(text, "\n{}", plan_node(preview, plan).render());
    }
    if !refused && preview.plans().is_empty() {
        text.push_str("\nNo task starts anew.\n");
    }
    text
}

fn pod_lines(pod: &PodPreview, preview: &Preview) -> Vec<String> {
    let count = |n: u32| format!("{n} instance{}", if n == 1 { "" } else { "s" });
    let what = match (pod.before, pod.after) {
        (None, after) => format!("new, {}", count(after.unwrap_or_default())),
        (Some(before), None) => format!("removed, {}", count(before)),
        (Some(_), Some(_)) if pod.changes.is_empty() => "unchanged".to_owned(),
        (Some(_), Some(_)) if !preview.refusals.is_empty() => "changed".to_owned(),
        (Some(_), Some(_)) if restarts(pod) && preview.launches(&pod.pod) => {
            "its tasks start anew".to_owned()
        }
        (Some(_), Some(1..)) if restarts(pod) => {
            "changed, but no step of the plan launches its tasks: they go on as they are".to_owned()
        }
        (Some(_), Some(_)) => "changed, its tasks go on".to_owned(),
    };
    let mut lines = vec![format!("  {}: {what}", pod.pod)];
    for (change, restarts) in &pod.changes {
        let effect = if *restarts { "" } else { " (nothing starts anew for this)" };
        lines.push(format!("    {}{effect}", line(change)));
    }
    lines
}

/// A change in a line, secrets hidden.
fn line(change: &Change) -> String {
    let Change { field, before, after } = change;
    match (before.as_ref(), after.as_ref()) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            let (before, after) = (before.lines(), after.lines());
            let at = before.clone().zip(after.clone()).position(|(a, b)| a != b);
            let at = at.unwrap_or_else(|| before.clone().count().min(after.clone().count()));
            let nth = |mut lines: std::str::Lines| lines.nth(at).map_or("(end)".to_owned(), short);
            format!("{field}, from line {}: {} → {}", at + 1, nth(before), nth(after))
        }
        (before, after) => {
            let shown = |value: Option<&Value>| match value {
                None => "(none)".to_owned(),
                Some(value) => short(&match hidden(field, value) {
                    Value::String(text) => text,
                    value => value.to_string(),
                }),
            };
            format!("{field}: {} → {}", shown(before), shown(after))
        }
    }
}

/// What is shown of a long text.
fn short(text: &str) -> String {
    const MOST: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MOST).collect();
    if cut.len() < text.trim_end().len() { format!("{cut}…") } else { cut }
}

/// A value without the secrets in it; `name` is that of its variable, or a path that ends with it.
fn hidden(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let name = name.rsplit('.').next().unwrap_or_default();
            Value::String(masked(name, text))
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), hidden(name, value))).collect()
        }
        value => value.clone(),
    }
}

fn plan_node(preview: &Preview, plan: &Plan) -> Node {
    let steps = |p: &Phase| p.steps().iter().filter(|s| s.status() != Status::Complete).count();
    let phase = |p: &Phase| {
        let open = p.steps().iter().filter(|s| s.status() != Status::Complete);
        Node {
            label: format!(
                "{} ({} strategy), {} of {} steps",
                p.name,
                p.strategy_name(),
                steps(p),
                p.steps().len()
            ),
            children: open.map(|step| step_node(preview, step)).collect(),
        }
    };
    let open = plan.phases().filter(|p| steps(p) > 0);
    Node {
        label: format!("{} ({} strategy)", plan.name, plan.strategy_name()),
        children: open.map(phase).collect(),
    }
}

fn step_node(preview: &Preview, step: &Step) -> Node {
    let fates: Vec<String> =
        preview.fates(step).iter().map(|(task, fate)| format!("{} {task}", word(*fate))).collect();
    let mut label = step.name.clone();
    if !fates.is_empty() {
        // writing to a String cannot fail
        let _ = write!(label, ": {}", fates.join(", "));
    }
    if step.interrupted {
        label.push_str("; waits for an operator");
    }
    for error in &step.errors {
        let _ = write!(label, "; error: {error}");
    }
    Node { label, children: Vec::new() }
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Launch => "launches",
        Fate::Restart => "restarts",
        Fate::RunAgain => "runs again",
    }
}

fn data(name: &str, preview: &Preview) -> Value {
    let change = |change: &Change| {
        let value = |v: &Option<Value>| v.as_ref().map(|v| hidden(&change.field, v));
        json!({ "field": change.field, "old": value(&change.before), "new": value(&change.after) })
    };
    let pod = |p: &PodPreview| {
        let changes = p.changes.iter().map(|(c, restarts)| {
            let mut shown = change(c);
            shown["restarts"] = json!(restarts);
            shown
        });
        json!({
            "pod": p.pod.as_str(),
            "oldCount": p.before,
            "newCount": p.after,
            "restarts": restarts(p) && (!preview.refusals.is_empty() || preview.launches(&p.pod)),
            "changes": changes.collect::<Vec<_>>(),
        })
    };
    json!({
        "service": name,
        "accepted": preview.refusals.is_empty(),
        "refusals": preview.refusals,
        "changes": preview.service.iter().map(change).collect::<Vec<_>>(),
        "pods": preview.pods.iter().map(pod).collect::<Vec<_>>(),
        "ended": preview.ended(),
        "plans": preview.plans().into_iter().map(|p| plan_data(preview, p)).collect::<Vec<_>>(),
    })
}

fn plan_data(preview: &Preview, plan: &Plan) -> Value {
    let step = |s: &Step| {
        let tasks = preview.fates(s).into_iter().map(|(task, fate)| {
            let action = match fate {
                Fate::Launch => "launch",
                Fate::Restart => "restart",
                Fate::RunAgain => "run-again",
            };
            json!({ "task": task, "action": action })
        });
        json!({
            "name": s.name,
            "status": s.status().name(),
            "errors": s.errors,
            "tasks": tasks.collect::<Vec<_>>(),
        })
    };
    let phase = |p: &Phase| {
        json!({
            "name": p.name,
            "strategy": p.strategy_name(),
            "steps": p.steps().iter().map(step).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": plan.name,
        "strategy": plan.strategy_name(),
        "phases": plan.phases().map(phase).collect::<Vec<_>>(),
    })
}
