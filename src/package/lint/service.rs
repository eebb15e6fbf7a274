//! What a service file says beside being one: whether its scheduler deploys it with this environment, whether its tasks have
//! what their config templates ask for, and whether it runs in a closed network.

use super::hosts;
use super::marathon::tag;
use crate::finding::{Code, Finding, Severity, Source};
use crate::offer::{ServiceContext, example_environment};
use crate::scheduler::{Config, Scheduler, Stored};
use crate::spec::{PodSpec, Service, TaskSpec};
use crate::template::{Place, Profile, Template, config_context};
use std::collections::BTreeMap;

/// A service file that could be read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// What it says.
    pub service: &'a Service,
    /// The file as it was rendered.
    pub text: &'a Source,
    /// The config templates of its tasks.
    pub templates: &'a [Source],
    /// The environment of its scheduler.
    pub env: &'a BTreeMap<String, String>,
    /// The app that gives this environment, as it was rendered.
    pub app: Option<&'a Source>,
}

/// Variables that the agent gives every task, or the helper in its sandbox.
const OF_AGENT: [&str; 16] = [
    "HOME",
    "LIBPROCESS_IP",
    "MESOS_AGENT_ID",
    "MESOS_CONTAINER_IP",
    "MESOS_DIRECTORY",
    "MESOS_EXECUTOR_ID",
    "MESOS_FRAMEWORK_ID",
    "MESOS_SANDBOX",
    "MESOS_SLAVE_ID",
    "MESOS_TASK_ID",
    "PATH",
    "PWD",
    "STATSD_UDP_HOST",
    "STATSD_UDP_PORT",
    "TMPDIR",
    "USER",
];

/// All checks.
pub fn check(read: &Read) -> Vec<Finding> {
    let written = read.text.as_written();
    let mut findings = hosts::in_text(&written);
    findings.extend(read.templates.iter().flat_map(hosts::in_text));
    findings.extend(images(read));
    // it is not being uninstalled, whatever is said
    let mut env = read.env.clone();
    env.remove("SDK_UNINSTALL");
    let spec = &read.service.spec;
    let mut config = match Config::from_env(&env, spec, 8080) {
        Ok(config) => config,
        Err(error) => {
            let message = error.to_string();
            let at = match read.app {
                Some(app) => {
                    app.at_pointer(Code::SchedulerVariable, &format!("/env/{}", error.name), message)
                }
                None => Finding::new(Code::SchedulerVariable, read.text, message),
            };
            findings.push(at.help("change the value, or the option that it comes from"));
            return findings;
        }
    };
    if !config.service_account && spec.pods.iter().flat_map(|pod| &pod.tasks).any(is_encrypted) {
        let message = "transport encryption needs a service account, and none is set";
        let help = "set the option that DCOS_SERVICE_ACCOUNT_CREDENTIAL comes from";
        let found = Finding::new(Code::NotDeployed, &written, message).with_severity(Severity::Warning);
        findings.push(found.help(help));
    }
    config.service_account = true;
    match Scheduler::start(config, read.service.clone(), &Stored::new(), [0; 16]) {
        Ok((scheduler, _)) => {
            let errors = scheduler.plans().iter().flat_map(crate::plan::Plan::all_errors);
            findings.extend(errors.map(|error| not_deployed(&written, error.clone())));
            findings.extend(config_templates(read, &scheduler.context()));
        }
        Err(error) => findings.push(not_deployed(&written, error.to_string())),
    }
    findings
}

fn not_deployed(source: &Source, message: String) -> Finding {
    Finding::new(Code::NotDeployed, source, message)
        .help("change what it names; no scheduler deploys it like this")
}

fn is_encrypted(task: &TaskSpec) -> bool {
    !task.transport_encryption.is_empty()
}

/// Images that stand in the file as they are.
fn images(read: &Read) -> Vec<Finding> {
    let images: std::collections::BTreeSet<&String> =
        read.service.spec.pods.iter().filter_map(|pod| pod.image.as_ref()).collect();
    let mut findings = Vec::new();
    for image in images {
        for (at, _) in read.text.text.match_indices(image.as_str()) {
            let line = read.text.text[..at].rfind('\n').map_or(0, |end| end + 1);
            let key = read.text.text[line..at].trim_end_matches([' ', '"', '\'']);
            if !["image:", "image-name:"].iter().any(|name| key.ends_with(name)) {
                continue;
            }
            let message = format!("the image `{image}` cannot be replaced by one that is nearer");
            let found = read.text.finding(Code::FixedImage, &(at..at + image.len()), message);
            let written = found.span.clone().and_then(|span| found.source.text.get(span));
            if written.is_none_or(|text| !text.starts_with("{{")) {
                let help = "write a variable in its place, and let an option set it; name the image in resource.json, \
                            `assets.container.docker`";
                findings.push(found.help(help));
            }
        }
    }
    findings
}

/// Names in config templates that have no value, each with the tasks that lack it.
fn config_templates(read: &Read, context: &ServiceContext) -> Vec<Finding> {
    let mut lacking: BTreeMap<(usize, usize, String), Vec<String>> = BTreeMap::new();
    for (pod, task) in
        read.service.spec.pods.iter().flat_map(|pod| pod.tasks.iter().map(move |task| (pod, task)))
    {
        if task.config_files.is_empty() {
            continue;
        }
        let values = values(context, pod, task);
        for file in &task.config_files {
            let source = read.templates.iter().position(|source| *source.text == *file.content);
            // one that is no template is found by the service language
            let (Some(source), Ok(template)) = (source, Template::parse(&file.content)) else { continue };
            let Ok(rendered) = template.render(Profile::Config, &values) else { continue };
            for missing in rendered.missing.into_iter().filter(|missing| !is_set_by(&task.cmd, &missing.name))
            {
                let place = Place { line: missing.line, column: missing.column };
                let key = (source, place.offset(&file.content), missing.name);
                lacking.entry(key).or_default().push(format!("{}-{}", pod.pod_type, task.name));
            }
        }
    }
    let found = lacking.into_iter().map(|((source, at, name), tasks)| {
        let source = &read.templates[source];
        let span = tag(&source.text, Place::of(&source.text, at));
        let message =
            format!("`{name}` has no value in the task {} and is rendered as nothing", tasks.join(", "));
        let help =
            format!("add it to the task's `env`, or set TASKCFG_ALL_{name} in the scheduler's environment");
        source.finding(Code::MissingVariable, &span, message).help(help)
    });
    found.collect()
}

/// What a task's config templates are rendered with; of what only a running cluster knows there are examples.
fn values(context: &ServiceContext, pod: &PodSpec, task: &TaskSpec) -> serde_json::Value {
    let environment = example_environment(context, pod, 0, task);
    let variables = environment.variables.into_iter();
    let own =
        variables.map(|variable| (variable.name, variable.value.unwrap_or_else(|| "secret".to_owned())));
    let agents = OF_AGENT.iter().map(|name| ((*name).to_owned(), "example".to_owned()));
    config_context(agents.chain(own))
}

/// Whether a shell command sets a variable, before it calls the helper or for it.
fn is_set_by(cmd: &str, name: &str) -> bool {
    cmd.match_indices(name).any(|(at, _)| {
        let starts = !cmd[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        starts && cmd[at + name.len()..].starts_with('=')
    })
}
