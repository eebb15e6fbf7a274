//! `dagpkg simulate`: what will happen when a service is deployed, shown without a cluster.

mod scenario;
mod trials;

use super::subject::SubjectArgs;
use super::tree;
use crate::api::plan_value;
use crate::finding::Report;
use crate::plan::{Phase, Plan, Status};
use crate::publish::files;
use crate::scheduler::{Config, Scheduler};
use crate::simulate::{Agent, Deployment, Settings, World, agents};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Deploy a service in virtual time on a virtual cluster, and show what happens.
///
/// It runs the scheduler that also runs the service; only cluster, clock and tasks are made up: tasks with the goal RUNNING
/// run on, others finish after a while, readiness checks pass. A scenario (--scenario) is a package's own test: a file that
/// says what happens to the scheduler, without any cluster, and what it must do then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 the deploy plan is COMPLETE, or waits for nothing but an operator, or every scenario has passed; 1 otherwise.

Examples:
  dagpkg simulate
  dagpkg simulate --svc svc/svc.yml --env NODE_COUNT=5 --agents 5
  dagpkg simulate --set node.count=7 --agents cluster.yml --output json
  dagpkg simulate --proceed
  dagpkg simulate --scenario tests/replace.yml --scenario tests/update.yml
  dagpkg simulate --seed 1 --runs 1000
  dagpkg simulate --seed 7 --faults agents,crash

A file of agents is a list, YAML or JSON:
  - {count: 2, cpus: 4, memory: 8192, disk: 50000, zone: a, attributes: {rack: r1}}
  - {cpus: 8, memory: 65536, disk: 50000, gpus: 1, mounts: [{size: 100000, profile: fast}],
     reserved: {slave_public: {cpus: 2, memory: 1024, ports: [[80, 80], [443, 443]]}}}")]
pub struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How many agents there are, each of which could hold the service, or a file that says what each has.
    #[arg(long, value_name = "NUMBER_OR_FILE", default_value = "3")]
    agents: String,
    /// Run this scenario file instead; can be given several times.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agents", "proceed"])]
    scenario: Vec<PathBuf>,
    /// Let plans that wait for an operator go on, as an operator would.
    #[arg(long)]
    proceed: bool,
    #[command(flatten)]
    trials: trials::TrialArgs,
    /// How the outcome is printed.
    #[arg(long, value_enum, default_value_t)]
    output: super::plan::Output,
}

/// Runs `dagpkg simulate`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.scenario.is_empty() {
        return scenario::run(&args.subject, &args.scenario, args.output);
    }
    let deployment = deployment(&args.subject)?;
    let machines = machines(&args.agents, &deployment)?;
    if args.trials.is_wanted() {
        return args.trials.run(deployment, machines, args.output == super::plan::Output::Json);
    }
    let settings = Settings { proceed: args.proceed, ..Settings::default() };
    let mut world = World::new(machines, deployment, settings);
    world.run();
    if let Some(problem) = world.problem() {
        bail!("the scheduler does not start: {problem}");
    }
    let scheduler = world.scheduler().context("the scheduler does not run")?;
    let verdict = Verdict::of(&world, scheduler);
    super::print(&match args.output {
        super::plan::Output::Text => verdict.text(&world, scheduler),
        super::plan::Output::Json => {
            format!("{}\n", serde_json::to_string_pretty(&verdict.json(&world, scheduler))?)
        }
    })?;
    Ok(if verdict.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the scheduler would be started with.
fn deployment(subject: &SubjectArgs) -> anyhow::Result<Deployment> {
    let subject = subject.read_without_downloads()?;
    let app = subject.app()?;
    if let Some(app) = &app {
        super::show(&app.unset);
    }
    let app = app.map(|app| app.app);
    let loaded = subject.service(app.as_ref())?;
    super::show(&loaded.findings);
    let env = subject.environment(app.as_ref());
    let port = env.get("PORT_API").and_then(|port| port.parse().ok()).unwrap_or(8080);
    let config = Config::from_env(&env, &loaded.service.spec, port)?;
    Ok(Deployment { service: loaded.service, config })
}

/// The agents: so many that suit the service, or those of a file.
fn machines(text: &str, deployment: &Deployment) -> anyhow::Result<Vec<agents::Machine>> {
    if let Ok(count) = text.parse::<u32>() {
        return Ok(agents::suited_to(&deployment.service, &deployment.config, count));
    }
    let source = files::read_source(Path::new(text))?;
    let help = "give a number, or a file that describes agents";
    let source = source.with_context(|| format!("{text}: there is no such file\n  help: {help}"))?;
    Ok(agents::read(&source).map_err(|report: Report| report)?)
}

/// How it ended.
struct Verdict {
    deploy: Status,
    /// Nothing but an operator is waited for.
    waits_for_operator: bool,
    /// Steps of the deploy and recovery plans that do not go on, and why.
    stuck: Vec<Stuck>,
}

struct Stuck {
    plan: String,
    phase: String,
    step: String,
    status: Status,
    reasons: Vec<String>,
}

impl Verdict {
    fn of(world: &World, scheduler: &Scheduler) -> Self {
        let deploy = world.deploy_status().unwrap_or(Status::Error);
        let mut stuck = Vec::new();
        for plan in scheduler.plans().iter().filter(|plan| is_automatic(plan)) {
            for phase in plan.phases() {
                for step in phase.steps().iter().filter(|s| s.status() != Status::Complete) {
                    stuck.push(Stuck {
                        plan: plan.name.clone(),
                        phase: phase.name.clone(),
                        step: step.name.clone(),
                        status: step.status(),
                        reasons: scheduler.why(world.now(), step),
                    });
                }
            }
        }
        Self { deploy, waits_for_operator: waits_for_operator(scheduler, deploy), stuck }
    }

    fn good(&self) -> bool {
        self.deploy == Status::Complete || self.waits_for_operator
    }

    fn summary(&self, world: &World) -> String {
        let agents = world.cluster.agents.len();
        let agents = format!("{agents} agent{}", if agents == 1 { "" } else { "s" });
        let deployed = world.story.lines().iter().rfind(|l| l.text == "plan deploy is COMPLETE");
        match (deployed, self.waits_for_operator) {
            (Some(line), _) if self.deploy == Status::Complete => {
                format!("The service is deployed on {agents} after {:.1} s.", line.at)
            }
            (_, true) => format!(
                "On {agents} the deployment goes on until it waits for an operator; --proceed lets it go on."
            ),
            _ => {
                format!("On {agents} the service is not deployed: plan deploy stays {}.", self.deploy.name())
            }
        }
    }

    fn text(&self, world: &World, scheduler: &Scheduler) -> String {
        let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        let mut text = String::new();
        for line in world.story.lines() {
            // writing to a String cannot fail
            let _ = writeln!(text, "{:>9.2} s  {}", line.at, line.text);
        }
        for plan in scheduler.plans() {
            let value = plan_value(scheduler, plan, world.now());
            let _ = write!(text, "\n{}", tree::plan(&plan.name, &value, colour));
        }
        let why: Vec<&Stuck> = self.stuck.iter().filter(|s| !s.reasons.is_empty()).collect();
        if !why.is_empty() {
            text.push_str("\nWhat does not go on:\n");
        }
        for stuck in why {
            let Stuck { plan, phase, step, status, reasons } = stuck;
            let _ = writeln!(text, "- {step} (plan {plan}, phase {phase}) is {}", status.name());
            for reason in reasons {
                let _ = writeln!(text, "    {reason}");
            }
        }
        let _ = writeln!(text, "\n{}", self.summary(world));
        text
    }

    fn json(&self, world: &World, scheduler: &Scheduler) -> Value {
        let plans: serde_json::Map<String, Value> = scheduler
            .plans()
            .iter()
            .map(|p| (p.name.clone(), plan_value(scheduler, p, world.now())))
            .collect();
        let stuck = self.stuck.iter().map(|s| {
            json!({
                "plan": s.plan, "phase": s.phase, "step": s.step, "status": s.status.name(), "reasons": s.reasons,
            })
        });
        let tasks = world.cluster.tasks.values().map(|task| {
            json!({
                "id": task.info.task_id.value,
                "name": task.info.name,
                "agent": task.info.agent_id.value,
                "state": task.state.wire_name(),
                "ready": task.ready,
            })
        });
        json!({
            "service": scheduler.service_name(),
            "deployed": self.deploy == Status::Complete,
            "waits_for_operator": self.waits_for_operator,
            "summary": self.summary(world),
            "seconds": world.now(),
            "agents": world.cluster.agents.values().map(Agent::host).collect::<Vec<_>>(),
            "plans": plans,
            "stuck": stuck.collect::<Vec<_>>(),
            "tasks": tasks.collect::<Vec<_>>(),
            "timeline": world.story.lines(),
        })
    }
}

/// Whether a plan goes on without an operator's start: not one of the author's own.
fn is_automatic(plan: &Plan) -> bool {
    matches!(plan.name.as_str(), "deploy" | "recovery" | "decommission")
}

/// Whether everything that is not done waits for an operator, or for something that does.
fn waits_for_operator(scheduler: &Scheduler, deploy: Status) -> bool {
    let mut held = scheduler.plan("deploy").into_iter().flat_map(Plan::phases).flat_map(Phase::steps);
    deploy == Status::Waiting
        && held.all(|s| matches!(s.status(), Status::Complete | Status::Pending | Status::Waiting))
}
