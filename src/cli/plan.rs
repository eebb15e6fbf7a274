//! `dagpkg plan …`: looks at a service's plans and steers them, through the scheduler's HTTP API; `diff` needs none.
//!
//! The commands are the ones that DC/OS service command lines have, and the `dcos` subcommand of a package runs the
//! same code; see `service_cli`.

mod diff;

use super::service_client::{Answer, Hints, ServiceClient, ServiceError, Tls};
use super::tree;
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `dagpkg plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg plan show deploy
  dagpkg plan --url http://127.0.0.1:8080 pause deploy
  dagpkg plan diff --from installed.json --to mine.json")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Running(PlanCommand),
    Diff(diff::Args),
}

/// Which scheduler is meant.
#[derive(Debug, clap::Args)]
struct Target {
    /// Address of the scheduler's API, for instance http://127.0.0.1:8080 or https://cluster/service/dagflow
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["service", "run"])]
    url: Option<String>,
    /// Name of the service in the cluster that `dagpkg up` runs [default: the one that it installed]
    #[arg(long, global = true, value_name = "NAME")]
    service: Option<String>,
    /// Folder of the cluster that `dagpkg up` runs
    #[arg(long, global = true, value_name = "DIR", default_value = "run")]
    run: PathBuf,
}

/// What is done with a plan.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PlanCommand {
    /// Print the names of the plans, as JSON
    #[command(after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan list")]
    List,
    /// Print a plan with its phases and steps and how far they are
    #[command(
        visible_alias = "status",
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan show deploy"
    )]
    Show {
        /// Name of the plan, for instance deploy
        plan: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// The same as --output json
        #[arg(long, conflicts_with = "output")]
        json: bool,
    },
    /// Start a plan from its beginning
    #[command(
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan start backup -p BUCKET=nightly -p KEEP=7"
    )]
    Start {
        /// Name of the plan
        plan: String,
        /// A parameter for the tasks of the plan; can be given several times
        #[arg(short, long = "params", value_name = "NAME=VALUE", value_parser = parameter)]
        params: Vec<(String, String)>,
    },
    /// Stop a plan and set it back to its beginning
    #[command(after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan stop backup")]
    Stop {
        /// Name of the plan
        plan: String,
    },
    /// Start no further steps of a plan, or of one phase of it
    #[command(
        visible_alias = "interrupt",
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan pause deploy\n  plan pause deploy web"
    )]
    Pause {
        /// Name of the plan
        plan: String,
        /// Name or id of the phase
        phase: Option<String>,
    },
    /// Go on with a plan, or with one phase of it
    #[command(
        visible_alias = "continue",
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan resume deploy\n  plan resume deploy web"
    )]
    Resume {
        /// Name of the plan
        plan: String,
        /// Name or id of the phase
        phase: Option<String>,
    },
    /// Run a plan, a phase or a step again, whatever its state
    #[command(
        visible_alias = "restart",
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan force-restart deploy\n  plan force-restart deploy web 'web-0:[server]'"
    )]
    ForceRestart {
        /// Name of the plan
        plan: String,
        /// Name or id of the phase
        phase: Option<String>,
        /// Name or id of the step
        step: Option<String>,
    },
    /// Take a step to be complete, whatever its state
    #[command(
        visible_alias = "force",
        after_help = "Examples, after `dagpkg` or `dcos SERVICE`:\n  plan force-complete deploy web 'web-0:[server]'"
    )]
    ForceComplete {
        /// Name of the plan
        plan: String,
        /// Name or id of the phase
        phase: String,
        /// Name or id of the step
        step: String,
    },
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A `NAME=VALUE`; the value may hold further equals signs.
fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Runs `dagpkg plan`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let command = match args.command {
        Command::Running(command) => command,
        Command::Diff(args) => return diff::run(&args),
    };
    let client = args.target.client()?;
    let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let text = block_on(execute(&client, command, colour))??;
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs something asynchronous on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

impl Target {
    fn client(self) -> anyhow::Result<ServiceClient> {
        let token = std::env::var("DCOS_ACS_TOKEN").ok();
        let (url, service) = match self.url {
            Some(url) => (url, String::new()),
            None => in_running_cluster(&self.run, self.service)?,
        };
        let hints = Hints {
            service,
            choose_service: "give another with `--service` or `--url`",
            log_in: "give a token in the environment variable DCOS_ACS_TOKEN",
        };
        Ok(ServiceClient::new(&url, token.as_deref(), &Tls::Public, hints)?)
    }
}

/// The scheduler's address in the cluster that `dagpkg up` left a note about, and the service's name.
fn in_running_cluster(run: &std::path::Path, service: Option<String>) -> anyhow::Result<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Up {
        url: String,
        service: Option<String>,
    }
    let note = run.join("up.json");
    let text = std::fs::read_to_string(&note).with_context(|| {
        format!(
            "no running cluster: cannot read {}. Start one with `dagpkg up`, or name the scheduler's address \
             with `--url`",
            note.display()
        )
    })?;
    let up: Up = serde_json::from_str(&text).with_context(|| {
        format!("{} is not the note of a running cluster; `dagpkg up` writes it anew", note.display())
    })?;
    let service = service
        .or(up.service)
        .with_context(|| format!("{} names no service: name one with `--service`", note.display()))?;
    Ok((ServiceClient::address_in_cluster(&up.url, &service), service))
}

/// Carries a command out and gives the text to print.
pub async fn execute(
    client: &ServiceClient,
    command: PlanCommand,
    colour: bool,
) -> Result<String, ServiceError> {
    use PlanCommand as C;
    match command {
        C::List => Ok(client.accept(client.get(&["plans"]).await?)?.pretty()),
        C::Show { plan, output, json } => show(client, &plan, output == Output::Json || json, colour).await,
        C::Start { plan, params } => {
            let body: Map<String, Value> = params.into_iter().map(|(k, v)| (k, Value::String(v))).collect();
            let answer = client.post(&["plans", &plan, "start"], &[], Some(&Value::Object(body))).await?;
            Ok(accept(client, answer)?.pretty())
        }
        C::Stop { plan } => {
            let answer = client.post(&["plans", &plan, "stop"], &[], None).await?;
            Ok(accept(client, answer)?.pretty())
        }
        C::Pause { plan, phase } => {
            Order { verb: "interrupt", done: "paused", plan, phase, step: None }.give(client).await
        }
        C::Resume { plan, phase } => {
            Order { verb: "continue", done: "resumed", plan, phase, step: None }.give(client).await
        }
        C::ForceRestart { plan, phase, step } => {
            Order { verb: "restart", done: "restarted", plan, phase, step }.give(client).await
        }
        C::ForceComplete { plan, phase, step } => {
            let (phase, step) = (Some(phase), Some(step));
            Order { verb: "forceComplete", done: "forced to complete", plan, phase, step }.give(client).await
        }
    }
}

async fn show(
    client: &ServiceClient,
    plan: &str,
    as_json: bool,
    colour: bool,
) -> Result<String, ServiceError> {
    let answer = client.get(&["plans", plan]).await?;
    // 417 says that the plan has errors, and they are in the body.
    let answer =
        if answer.status == StatusCode::EXPECTATION_FAILED { answer } else { client.accept(answer)? };
    if as_json { Ok(answer.pretty()) } else { Ok(tree::plan(plan, &answer.json()?, colour)) }
}

/// An order to a plan or a part of it that is answered by a `message`.
struct Order {
    /// The word in the path.
    verb: &'static str,
    /// The word in our own message.
    done: &'static str,
    plan: String,
    phase: Option<String>,
    step: Option<String>,
}

impl Order {
    async fn give(self, client: &ServiceClient) -> Result<String, ServiceError> {
        let mut query = Vec::new();
        query.extend(self.phase.as_deref().map(|phase| ("phase", phase)));
        query.extend(self.step.as_deref().map(|step| ("step", step)));
        let answer = client.post(&["plans", &self.plan, self.verb], &query, None).await?;
        let answer = accept(client, answer)?.json()?;
        let heard = answer.get("message").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        let mut text = format!("\"{}\" plan", self.plan);
        // writing to a String cannot fail
        let _ = match (&self.phase, &self.step) {
            (Some(phase), Some(step)) => write!(text, ": step \"{step}\" in phase \"{phase}\""),
            (Some(phase), None) => write!(text, ": phase \"{phase}\""),
            _ => Ok(()),
        };
        if heard {
            Ok(format!("{text} has been {}.\n", self.done))
        } else {
            Err(ServiceError::NotDone(format!("{text} could not be {}", self.done)))
        }
    }
}

/// The rules of plan commands: 208 says that there was nothing to do.
fn accept(client: &ServiceClient, answer: Answer) -> Result<Answer, ServiceError> {
    if answer.status == StatusCode::ALREADY_REPORTED {
        return Err(ServiceError::AlreadyDone);
    }
    client.accept(answer)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(in crate::cli) mod tests;
