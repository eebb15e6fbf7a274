//! What the scheduler is told by its environment.

use super::Release;
use crate::offer::ExecutorOverhead;
use crate::spec::{ReplacementPolicy, ServiceSpec};
use std::collections::BTreeMap;

/// Settings that do not belong to the service file. Names and defaults of the variables are the SDK's.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is a variable
pub struct Config {
    /// The role of new reservations.
    pub role: String,
    /// Roles that reservations of before may have: while a service moves from one role to another.
    pub former_roles: Vec<String>,
    /// Where tasks reach the API.
    pub api_host: String,
    /// Where tasks reach the API.
    pub api_port: u16,
    /// Domain of task names.
    pub service_tld: String,
    /// Domain of virtual addresses; empty where the cluster has none.
    pub vip_tld: String,
    /// The DC/OS space of secrets.
    pub space: String,
    /// Resources of executors.
    pub executor: ExecutorOverhead,
    /// Waits before failed tasks are tried again; none by default.
    pub backoff: Option<Backoff>,
    /// The service has an account of its own, without which it may not use certificates.
    pub service_account: bool,
    /// Offers of other regions than the master's are wanted, too.
    pub region_aware: bool,
    /// The region that pods stay in unless their placement says otherwise; the master's when not given.
    pub region: Option<String>,
    /// When pods that stay down are replaced without an operator, unless the service file says so itself.
    pub replacement: Option<ReplacementPolicy>,
    /// What a paused task does instead of its command; empty for the usual.
    pub pause_command: String,
    /// The bootstrap program, for paused tasks.
    pub bootstrap_uri: Option<String>,
    /// The master is told when no offers are wanted.
    pub suppress: bool,
    /// Seconds from a subscription to the first question how all tasks are.
    pub implicit_reconciliation_delay: f64,
    /// Seconds from one such question to the next.
    pub implicit_reconciliation_period: f64,
    /// The cluster's release of DC/OS, where it has one; asked for by whoever starts the scheduler, not in the environment.
    pub dcos: Option<Release>,
    /// The service is to be removed.
    pub uninstall: bool,
    /// Seconds that Mesos keeps tasks while the scheduler is away.
    pub failover_timeout: f64,
}

/// Growing waits before failed tasks are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Seconds before the second try.
    pub initial: f64,
    /// Each wait is so many times the one before.
    pub factor: f64,
    /// Seconds; no wait is longer.
    pub max: f64,
}

/// A variable with a value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} is {value:?}; it must be {expected}")]
pub struct ConfigError {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub expected: &'static str,
}

/// The variables that a scheduler reads of its environment, beside those that the service file names.
pub const VARIABLES: [&str; 28] = [
    "ALLOW_REGION_AWARENESS",
    "BOOTSTRAP_URI",
    "DCOS_SERVICE_ACCOUNT_CREDENTIAL",
    "DCOS_SPACE",
    "DISABLE_SUPPRESS",
    "ENABLE_AUTOMATIC_POD_REPLACEMENT",
    "ENABLE_BACKOFF",
    "ENABLE_ROLE_MIGRATION",
    "EXECUTOR_CPUS",
    "EXECUTOR_DISK_MB",
    "EXECUTOR_MEM_MB",
    "FRAMEWORK_BACKOFF_FACTOR",
    "FRAMEWORK_INITIAL_BACKOFF",
    "FRAMEWORK_MAX_LAUNCH_DELAY",
    "IMPLICIT_RECONCILIATION_DELAY_MS",
    "IMPLICIT_RECONCILIATION_PERIOD_MS",
    "LIBPROCESS_IP",
    "MARATHON_APP_ENFORCE_GROUP_ROLE",
    "MARATHON_APP_ID",
    "MARATHON_NAME",
    "MESOS_ALLOCATION_ROLE",
    "MIN_REPLACE_DELAY_SECS",
    "PAUSE_OVERRIDE_CMD",
    "PERMANENT_FAILURE_TIMEOUT_SECS",
    "SDK_UNINSTALL",
    "SERVICE_REGION",
    "SERVICE_TLD",
    "VIP_TLD",
];

/// Two weeks: how long Mesos keeps a service's tasks running without its scheduler.
const FAILOVER_TIMEOUT: f64 = 1_209_600.0;

impl Config {
    /// Reads the environment. `api_port` is where the API really listens.
    pub fn from_env(
        env: &BTreeMap<String, String>,
        spec: &ServiceSpec,
        api_port: u16,
    ) -> Result<Self, ConfigError> {
        let text = |name: &str, default: &str| env.get(name).cloned().unwrap_or_else(|| default.to_owned());
        let service_tld = text("SERVICE_TLD", "autoip.dcos.thisdcos.directory");
        let overhead = ExecutorOverhead::default();
        let backoff = if boolean(env, "ENABLE_BACKOFF", false)? {
            Some(Backoff {
                initial: number(env, "FRAMEWORK_INITIAL_BACKOFF", 60.0)?,
                factor: number(env, "FRAMEWORK_BACKOFF_FACTOR", 1.15)?,
                max: number(env, "FRAMEWORK_MAX_LAUNCH_DELAY", 300.0)?,
            })
        } else {
            None
        };
        let region_aware = boolean(env, "ALLOW_REGION_AWARENESS", true)?;
        let region = env.get("SERVICE_REGION").filter(|region| region_aware && !region.is_empty());
        let role = role(env, &spec.name)?;
        let migrates = boolean(env, "ENABLE_ROLE_MIGRATION", false)?;
        let former = former_roles(&spec.name).into_iter().filter(|former| migrates && *former != role);
        Ok(Self {
            former_roles: former.collect(),
            role,
            api_host: api_host(env, &spec.name, &service_tld),
            api_port,
            vip_tld: text("VIP_TLD", "l4lb.thisdcos.directory"),
            service_tld,
            space: env
                .get("DCOS_SPACE")
                .or_else(|| env.get("MARATHON_APP_ID"))
                .cloned()
                .unwrap_or("/".to_owned()),
            executor: ExecutorOverhead {
                cpus: number(env, "EXECUTOR_CPUS", overhead.cpus)?,
                mem: number(env, "EXECUTOR_MEM_MB", overhead.mem)?,
                disk: number(env, "EXECUTOR_DISK_MB", overhead.disk)?,
            },
            backoff,
            service_account: env.get("DCOS_SERVICE_ACCOUNT_CREDENTIAL").is_some_and(|c| !c.is_empty()),
            region_aware,
            region: region.cloned(),
            replacement: replacement(env)?,
            pause_command: text("PAUSE_OVERRIDE_CMD", ""),
            bootstrap_uri: env.get("BOOTSTRAP_URI").filter(|uri| !uri.is_empty()).cloned(),
            suppress: !env.contains_key("DISABLE_SUPPRESS"),
            implicit_reconciliation_delay: number(env, "IMPLICIT_RECONCILIATION_DELAY_MS", 0.0)? / 1000.0,
            implicit_reconciliation_period: number(env, "IMPLICIT_RECONCILIATION_PERIOD_MS", 3_600_000.0)?
                / 1000.0,
            dcos: None,
            uninstall: env.contains_key("SDK_UNINSTALL"),
            failover_timeout: FAILOVER_TIMEOUT,
        })
    }
}

/// The policy by which services of the SDK replace pods, from the variables that they read.
fn replacement(env: &BTreeMap<String, String>) -> Result<Option<ReplacementPolicy>, ConfigError> {
    if !boolean(env, "ENABLE_AUTOMATIC_POD_REPLACEMENT", false)? {
        return Ok(None);
    }
    Ok(Some(ReplacementPolicy {
        permanent_failure_timeout_secs: seconds(
            env,
            "PERMANENT_FAILURE_TIMEOUT_SECS",
            ReplacementPolicy::TIMEOUT,
        )?,
        min_replace_delay_secs: seconds(env, "MIN_REPLACE_DELAY_SECS", ReplacementPolicy::MIN_DELAY)?,
    }))
}

/// Where tasks reach this scheduler: its name on DC/OS, or its address where names under `.localhost` mean this machine.
fn api_host(env: &BTreeMap<String, String>, service: &str, service_tld: &str) -> String {
    let own_ip = env.get("LIBPROCESS_IP").cloned();
    if service_tld == "localhost"
        || crate::wire::vip::is_local(service_tld)
        || !env.contains_key("MARATHON_APP_ID")
    {
        return own_ip.unwrap_or_else(|| "127.0.0.1".to_owned());
    }
    let marathon = env.get("MARATHON_NAME").map_or("marathon", String::as_str);
    let path: Vec<&str> = service.split('/').filter(|s| !s.is_empty()).rev().collect();
    format!("{}.{marathon}.{service_tld}", path.join("-"))
}

/// The service's role: the group's where Marathon enforces it, else `<name>-role`.
fn role(env: &BTreeMap<String, String>, service: &str) -> Result<String, ConfigError> {
    let allocation = env.get("MESOS_ALLOCATION_ROLE").filter(|r| !r.is_empty());
    let enforced = boolean(env, "MARATHON_APP_ENFORCE_GROUP_ROLE", false)?;
    match allocation {
        Some(role) if enforced || role != "slave_public" => Ok(role.clone()),
        None if enforced => Err(ConfigError {
            name: "MESOS_ALLOCATION_ROLE".to_owned(),
            value: String::new(),
            expected: "the group's role, because MARATHON_APP_ENFORCE_GROUP_ROLE is set",
        }),
        _ => Ok(legacy_role(service)),
    }
}

/// The role of services in clusters whose groups have none.
fn legacy_role(service: &str) -> String {
    format!("{}-role", service.trim_start_matches('/').replace('/', "__"))
}

/// The roles that a service can have moved from: its own, and that of the group it is in.
fn former_roles(service: &str) -> Vec<String> {
    let group = service.trim_start_matches('/').split_once('/').map(|(group, _)| group.to_owned());
    std::iter::once(legacy_role(service)).chain(group).collect()
}

fn boolean(env: &BTreeMap<String, String>, name: &str, default: bool) -> Result<bool, ConfigError> {
    let Some(value) = env.get(name) else { return Ok(default) };
    match value.chars().next().map(|c| c.to_ascii_lowercase()) {
        Some('t' | 'y') => Ok(true),
        None | Some('f' | 'n') => Ok(false),
        Some(_) => {
            Err(ConfigError { name: name.to_owned(), value: value.clone(), expected: "true or false" })
        }
    }
}

fn seconds(env: &BTreeMap<String, String>, name: &str, default: u32) -> Result<u32, ConfigError> {
    let Some(value) = env.get(name) else { return Ok(default) };
    value.trim().parse().map_err(|_| ConfigError {
        name: name.to_owned(),
        value: value.clone(),
        expected: "a whole number of seconds, 0 or more",
    })
}

fn number(env: &BTreeMap<String, String>, name: &str, default: f64) -> Result<f64, ConfigError> {
    let Some(value) = env.get(name) else { return Ok(default) };
    let parsed = value.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    parsed.ok_or_else(|| ConfigError {
        name: name.to_owned(),
        value: value.clone(),
        expected: "a number, 0 or more",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Context, parse};

    type Env<'a> = &'a [(&'a str, &'a str)];

    fn config(name: &str, env: Env) -> Result<Config, ConfigError> {
        let (template, none) = (|_: &str| Err("none".to_owned()), BTreeMap::new());
        let yaml =
            format!("name: {name}\npods: {{p: {{count: 1, tasks: {{t: {{goal: ONCE, cmd: c, cpus: 1}}}}}}}}");
        let (service, _) = parse(
            &crate::finding::Source::new("svc.yml", yaml),
            &Context { template: &template, env: &none },
        )
        .expect("a service");
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_env(&env, &service.spec, 8080)
    }

    #[test]
    fn the_role_is_the_groups_where_it_is_enforced_and_else_the_services_own() {
        let enforced = ("MARATHON_APP_ENFORCE_GROUP_ROLE", "true");
        let cases: [(Env, Option<&str>); 6] = [
            (&[], Some("dev__hello-role")),
            (&[("MESOS_ALLOCATION_ROLE", "slave_public")], Some("dev__hello-role")),
            (&[("MESOS_ALLOCATION_ROLE", "dev")], Some("dev")),
            (&[("MESOS_ALLOCATION_ROLE", "slave_public"), enforced], Some("slave_public")),
            (&[enforced], None),
            (&[("MESOS_ALLOCATION_ROLE", ""), enforced], None),
        ];
        for (env, role) in cases {
            assert_eq!(config("/dev/hello", env).ok().map(|c| c.role).as_deref(), role, "{env:?}");
        }
    }

    #[test]
    fn a_service_that_moves_keeps_the_roles_that_it_may_have_had() {
        let roles = |name, role: &'static str, moves: bool| {
            let mut env = vec![("MESOS_ALLOCATION_ROLE", role)];
            env.extend(moves.then_some(("ENABLE_ROLE_MIGRATION", "true")));
            config(name, &env).expect("a configuration").former_roles
        };
        assert_eq!(roles("/dev/hello", "dev", true), ["dev__hello-role"]);
        assert_eq!(roles("/dev/hello", "slave_public", true), ["dev"]);
        assert_eq!(roles("hello", "other", true), ["hello-role"]);
        assert_eq!(roles("/dev/hello", "dev", false), Vec::<String>::new());
    }

    #[test]
    fn a_region_counts_only_where_regions_are_wanted() {
        let region = |env: Env| {
            let config = config("hello", env).expect("a configuration");
            (config.region_aware, config.region)
        };
        assert_eq!(region(&[]), (true, None));
        assert_eq!(region(&[("SERVICE_REGION", "")]), (true, None));
        assert_eq!(region(&[("SERVICE_REGION", "r1")]), (true, Some("r1".to_owned())));
        let without = [("SERVICE_REGION", "r1"), ("ALLOW_REGION_AWARENESS", "false")];
        assert_eq!(region(&without), (false, None));
    }

    #[test]
    fn the_list_of_variables_is_that_of_the_code() {
        let code = include_str!("config.rs");
        let code = &code[code.find("impl Config").expect("the code")..code.find("mod tests").expect("tests")];
        let name = regex::Regex::new("\"([A-Z][A-Z_]+)\"").expect("a pattern");
        let read: std::collections::BTreeSet<&str> =
            name.captures_iter(code).filter_map(|found| Some(found.get(1)?.as_str())).collect();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), VARIABLES);
    }
}
