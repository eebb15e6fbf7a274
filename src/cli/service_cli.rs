//! The subcommand that a package brings to the `dcos` command line: `dcos dagflow plan show deploy`.
//!
//! One program serves every package: `dcos` runs it with the name of the subcommand as its first argument and says in
//! the environment where the cluster is. Commands, aliases and output are those of the DC/OS SDK's command line.
//! Called by `src/bin/dcos-service-cli.rs` only.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

use super::dcos_config;
use super::plan::{self, PlanCommand};
use super::service_client::{Hints, ServiceClient, Tls};
use super::tree::Node;
use anyhow::{Context as _, bail};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

const VERSION: &str = concat!("dcos-service-cli ", env!("CARGO_PKG_VERSION"), "\n");

/// Operate a service.
#[derive(Debug, Parser)]
#[command(name = "dcos-service-cli", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

Examples:
  dcos dagflow plan show deploy
  dcos dagflow pod status")]
struct Cli {
    /// Name of the service, when it is not that of the subcommand
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// Print each request
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Do not check the certificate of the cluster
    #[arg(long, global = true)]
    force_insecure: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at plans and steer them
    #[command(
        subcommand,
        after_help = "Examples:\n  dcos dagflow plan show deploy\n  dcos dagflow plan pause deploy"
    )]
    Plan(PlanCommand),
    /// Look at pods, restart and replace them
    #[command(
        subcommand,
        after_help = "Examples:\n  dcos dagflow pod status\n  dcos dagflow pod replace postgresql-0"
    )]
    Pod(PodCommand),
    /// Print the names of the endpoints, or one endpoint
    #[command(
        visible_alias = "endpoint",
        after_help = "Examples:\n  dcos dagflow endpoints\n  dcos dagflow endpoints webserver"
    )]
    Endpoints {
        /// Name of the endpoint
        name: Option<String>,
    },
    /// Look into the service's configuration and state
    #[command(
        subcommand,
        after_help = "Examples:\n  dcos dagflow debug config target\n  dcos dagflow debug pod pause postgresql-0"
    )]
    Debug(DebugCommand),
    /// Print the version of this program
    #[command(after_help = "Example:\n  dcos dagflow version")]
    Version,
}

#[derive(Debug, Subcommand)]
enum PodCommand {
    /// Print the names of the pod instances, as JSON
    #[command(after_help = "Example:\n  dcos dagflow pod list")]
    List,
    /// Print the tasks of all pod instances, or of one, and their states
    #[command(
        after_help = "Examples:\n  dcos dagflow pod status\n  dcos dagflow pod status postgresql-0 --json"
    )]
    Status {
        /// Name of the pod instance, for instance postgres-0
        pod: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known about the tasks of a pod instance, as JSON
    #[command(after_help = "Example:\n  dcos dagflow pod info postgresql-0")]
    Info {
        /// Name of the pod instance
        pod: String,
    },
    /// Restart a pod instance where it is
    #[command(after_help = "Example:\n  dcos dagflow pod restart postgresql-0")]
    Restart {
        /// Name of the pod instance
        pod: String,
    },
    /// Give a pod instance up, with its volumes, and start it anew, perhaps elsewhere
    #[command(after_help = "Example:\n  dcos dagflow pod replace postgresql-0")]
    Replace {
        /// Name of the pod instance
        pod: String,
    },
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// The configurations that the service has had
    #[command(subcommand, after_help = "Example:\n  dcos dagflow debug config target")]
    Config(ConfigCommand),
    /// Hold the tasks of a pod instance, to look at their sandboxes
    #[command(subcommand, after_help = "Example:\n  dcos dagflow debug pod pause postgresql-0")]
    Pod(DebugPodCommand),
    /// What the scheduler has stored
    #[command(subcommand, after_help = "Example:\n  dcos dagflow debug state framework_id")]
    State(StateCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the ids of all configurations
    #[command(after_help = "Example:\n  dcos dagflow debug config list")]
    List,
    /// Print one configuration
    #[command(after_help = "Example:\n  dcos dagflow debug config show 6f6a5a2c-0d8e-4c43-9b53-2ad0a5b5b7c1")]
    Show {
        /// Id of the configuration
        id: String,
    },
    /// Print the configuration that the service is to have
    #[command(after_help = "Example:\n  dcos dagflow debug config target")]
    Target,
    /// Print the id of the configuration that the service is to have
    #[command(name = "target_id", after_help = "Example:\n  dcos dagflow debug config target_id")]
    TargetId,
}

#[derive(Debug, Subcommand)]
enum DebugPodCommand {
    /// Replace the commands of tasks by one that waits
    #[command(
        after_help = "Examples:\n  dcos dagflow debug pod pause postgresql-0\n  dcos dagflow debug pod pause postgresql-0 -t server"
    )]
    Pause {
        /// Name of the pod instance
        pod: String,
        /// Only this task; can be given several times
        #[arg(short, long = "tasks", value_name = "TASK")]
        tasks: Vec<String>,
    },
    /// Run the tasks' own commands again
    #[command(after_help = "Example:\n  dcos dagflow debug pod resume postgresql-0")]
    Resume {
        /// Name of the pod instance
        pod: String,
        /// Only this task; can be given several times
        #[arg(short, long = "tasks", value_name = "TASK")]
        tasks: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Print the id of the framework
    #[command(name = "framework_id", after_help = "Example:\n  dcos dagflow debug state framework_id")]
    FrameworkId,
    /// Print the names of the properties
    #[command(after_help = "Example:\n  dcos dagflow debug state properties")]
    Properties,
    /// Print one property
    #[command(after_help = "Example:\n  dcos dagflow debug state property last-completed-update-type")]
    Property {
        /// Name of the property
        name: String,
    },
    /// Make the scheduler read its state again
    #[command(name = "refresh_cache", after_help = "Example:\n  dcos dagflow debug state refresh_cache")]
    RefreshCache,
}

/// The definition of the command line.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match run(std::env::args_os().collect()) {
        Ok(code) => code,
        Err(error) => {
            super::complain(&super::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_else(|| "dcos-service-cli".into());
    let Some(module) = arguments.next() else {
        bail!(
            "expected the name of the subcommand as the first argument, as `dcos` gives it: {} dagflow plan show deploy",
            program.display()
        );
    };
    let module = module.into_string().ok().context("the name of the subcommand is no text")?;
    let rest: Vec<OsString> = arguments.collect();
    match rest.first().and_then(|first| first.to_str()) {
        // What `dcos` asks of each subcommand that it installs.
        Some("--info") => return answer(&format!("Operate the service {module}\n")),
        Some("--config-schema") => return answer(&format!("{}\n", config_schema(&module))),
        _ => {}
    }
    let command = Cli::command().bin_name(format!("dcos {module}"));
    let matches = match command.try_get_matches_from(std::iter::once(program).chain(rest)) {
        Ok(matches) => matches,
        Err(usage) => {
            usage.print()?;
            return Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)));
        }
    };
    let cli = Cli::from_arg_matches(&matches)?;
    super::start_log(if cli.verbose { LevelFilter::INFO } else { LevelFilter::WARN });
    if matches!(cli.command, Command::Version) {
        // Asked for without a cluster as well.
        return answer(VERSION);
    }
    let client = client(&module, &cli)?;
    let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    answer(&plan::block_on(execute(&client, cli.command, colour))??)
}

fn answer(text: &str) -> anyhow::Result<ExitCode> {
    super::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// What `dcos config` may set for the subcommand.
fn config_schema(module: &str) -> Value {
    json!({
        "$schema": "http://json-schema.org/schema#",
        "type": "object",
        "properties": {
            "service_name": {
                "type": "string",
                "title": "Service name",
                "description": format!("The name of the service that `dcos {module}` talks to"),
            },
        },
        "additionalProperties": false,
        "required": [],
    })
}

fn client(module: &str, cli: &Cli) -> anyhow::Result<ServiceClient> {
    let cluster = dcos_config::read(module, |name| std::env::var(name).ok())?;
    let service = (cli.name.clone())
        .or(cluster.service)
        .unwrap_or_else(|| module.strip_prefix("beta-").unwrap_or(module).to_owned());
    let tls = if cli.force_insecure { Tls::Unchecked } else { cluster.tls };
    let address = ServiceClient::address_in_cluster(&cluster.url, &service);
    let hints = Hints {
        service,
        choose_service: "give another with `--name`",
        log_in: "log in with `dcos auth login`",
    };
    Ok(ServiceClient::new(&address, cluster.token.as_deref(), &tls, hints)?)
}

/// Carries a command out and gives the text to print.
async fn execute(client: &ServiceClient, command: Command, colour: bool) -> anyhow::Result<String> {
    let answer = match command {
        Command::Plan(command) => return Ok(plan::execute(client, command, colour).await?),
        Command::Pod(PodCommand::Status { pod, json }) => {
            return pod_status(client, pod.as_deref(), json).await;
        }
        Command::Pod(PodCommand::List) => client.get(&["pod"]).await?,
        Command::Pod(PodCommand::Info { pod }) => client.get(&["pod", &pod, "info"]).await?,
        Command::Pod(PodCommand::Restart { pod }) => {
            client.post(&["pod", &pod, "restart"], &[], None).await?
        }
        Command::Pod(PodCommand::Replace { pod }) => {
            client.post(&["pod", &pod, "replace"], &[], None).await?
        }
        Command::Endpoints { name: None } => client.get(&["endpoints"]).await?,
        Command::Endpoints { name: Some(name) } => client.get(&["endpoints", &name]).await?,
        Command::Debug(DebugCommand::Config(command)) => match command {
            ConfigCommand::List => client.get(&["configurations"]).await?,
            ConfigCommand::Show { id } => client.get(&["configurations", &id]).await?,
            ConfigCommand::Target => client.get(&["configurations", "target"]).await?,
            ConfigCommand::TargetId => client.get(&["configurations", "targetId"]).await?,
        },
        Command::Debug(DebugCommand::Pod(command)) => {
            let (pod, tasks, verb) = match command {
                DebugPodCommand::Pause { pod, tasks } => (pod, tasks, "pause"),
                DebugPodCommand::Resume { pod, tasks } => (pod, tasks, "resume"),
            };
            client.post(&["pod", &pod, verb], &[], Some(&json!(tasks))).await?
        }
        Command::Debug(DebugCommand::State(command)) => match command {
            StateCommand::FrameworkId => client.get(&["state", "frameworkId"]).await?,
            StateCommand::Properties => client.get(&["state", "properties"]).await?,
            StateCommand::Property { name } => client.get(&["state", "properties", &name]).await?,
            StateCommand::RefreshCache => client.put(&["state", "refresh"]).await?,
        },
        Command::Version => return Ok(VERSION.to_owned()),
    };
    Ok(client.accept(answer)?.pretty())
}

async fn pod_status(client: &ServiceClient, pod: Option<&str>, json: bool) -> anyhow::Result<String> {
    let path = match pod {
        Some(pod) => vec!["pod", pod, "status"],
        None => vec!["pod", "status"],
    };
    let answer = client.accept(client.get(&path).await?)?;
    if json {
        return Ok(answer.pretty());
    }
    let status = answer.json()?;
    Ok(if pod.is_some() { instance(&status) } else { service(&status) }.render())
}

/// The tree of `GET /v1/pod/status`.
fn service(status: &Value) -> Node {
    let pod = |pod: &Value| Node { label: text(pod, "name"), children: each(pod, "instances", instance) };
    Node { label: text(status, "service"), children: each(status, "pods", pod) }
}

/// The tree of one pod instance.
fn instance(status: &Value) -> Node {
    let task = |task: &Value| Node {
        label: format!("{} ({})", text(task, "name"), text(task, "status")),
        children: Vec::new(),
    };
    Node { label: text(status, "name"), children: each(status, "tasks", task) }
}

fn each(value: &Value, key: &str, node: impl Fn(&Value) -> Node) -> Vec<Node> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().map(node).collect()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("<UNKNOWN>").to_owned()
}

#[cfg(test)]
#[path = "service_cli_tests.rs"]
mod tests;
