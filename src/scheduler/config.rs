//! What the scheduler is told by its environment.

use crate::offer::ExecutorOverhead;
use crate::spec::ServiceSpec;
use std::collections::BTreeMap;

/// Settings that do not belong to the service file. Names and defaults of the variables are the SDK's.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The role of all reservations.
    pub role: String,
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
        Ok(Self {
            role: role(env, &spec.name)?,
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
            uninstall: env.contains_key("SDK_UNINSTALL"),
            failover_timeout: FAILOVER_TIMEOUT,
        })
    }
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
        _ => Ok(format!("{}-role", service.trim_start_matches('/').replace('/', "__"))),
    }
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

fn number(env: &BTreeMap<String, String>, name: &str, default: f64) -> Result<f64, ConfigError> {
    let Some(value) = env.get(name) else { return Ok(default) };
    let parsed = value.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    parsed.ok_or_else(|| ConfigError {
        name: name.to_owned(),
        value: value.clone(),
        expected: "a number, 0 or more",
    })
}
