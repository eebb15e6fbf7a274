//! What `dagpkg-bootstrap` does in a task's sandbox before the task's command: print the environment, wait until names
//! resolve, render config templates. Flag for flag the helper of the SDK, so that commands of existing service files
//! work. Runs in containers of any kind, so it needs no C library, shell or file but those it is told of. Called by
//! `src/bin/dagpkg-bootstrap.rs` only.
//!
//! Messages go to stderr; stdout holds only what was asked for (`-get-task-ip`).

mod certs;
pub(crate) mod dns;
mod flags;
pub(crate) mod print;
mod resolve;
mod templates;

use flags::Flags;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why the task cannot be prepared. Each is the end of the program, with exit code 1 (2 for wrong flags).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument that is not a flag.
    #[error("`{0}` is not a flag; flags begin with a dash, and their values follow `=`")]
    Argument(String),
    /// A flag that does not exist.
    #[error("there is no flag -{0}")]
    UnknownFlag(String),
    /// A flag without its value.
    #[error("the flag -{0} needs a value: -{0}=VALUE")]
    NoValue(String),
    /// A flag with a value that it cannot have.
    #[error("the flag -{flag} cannot be `{value}`; expected {expected}")]
    FlagValue {
        /// The flag's name.
        flag: String,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A variable that the agent or the scheduler should have set.
    #[error("the variable {name} is not set, but needed {purpose}")]
    NoVariable {
        /// The variable's name; several with ` or ` between.
        name: &'static str,
        /// What for.
        purpose: &'static str,
    },
    /// The container's address is none.
    #[error("{variable} must be an IPv4 address, and is `{value}`")]
    Address {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// The container's own host name has no address.
    #[error("cannot find the address of this host, `{name}`: {why}; set MESOS_CONTAINER_IP")]
    OwnHost {
        /// The host's name.
        name: String,
        /// What happened.
        why: String,
    },
    /// A name that did not resolve in time.
    #[error("`{name}` did not resolve within {seconds} s: {why}; allow more with -resolve-timeout")]
    Unresolved {
        /// The name.
        name: String,
        /// How long was waited.
        seconds: f64,
        /// What the last attempt said.
        why: String,
    },
    /// A CONFIG_TEMPLATE_ variable that is not `source,destination`.
    #[error("{variable} must be `source,destination`, and is `{value}`")]
    TemplateVariable {
        /// The variable.
        variable: String,
        /// What it holds.
        value: String,
    },
    /// A template that cannot be read, or a result that cannot be written.
    #[error("{variable}: cannot {what} {}: {why}", path.display())]
    TemplateFile {
        /// The variable that asks for it.
        variable: String,
        /// What was tried: `read`, `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        why: io::Error,
    },
    /// A template that is larger than allowed.
    #[error("{variable}: {} has {bytes} bytes, more than the {most} of -template-max-bytes", path.display())]
    TemplateSize {
        /// The variable that asks for it.
        variable: String,
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size.
        most: u64,
    },
    /// A template that is not Mustache.
    #[error("{variable}: {}:{why}", path.display())]
    Template {
        /// The variable that asks for it.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line and column in front.
        why: crate::template::TemplateError,
    },
}

/// The program: reads its arguments and its environment, and does what they ask for.
pub fn main() -> ExitCode {
    // what is not text in the environment cannot be in a template, either
    let env = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(error) => {
            log(&format!("error: {error}"));
            eprint!("{}", flags::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&flags, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags, mut env: BTreeMap<String, String>) -> Result<(), Error> {
    if flags.help {
        print!("{}", flags::USAGE);
        return Ok(());
    }
    let resolver = dns::Resolver::system();
    if flags.get_task_ip {
        println!("{}", container_ip(&env, &resolver)?);
        return Ok(());
    }
    if flags.print_env {
        print::environment(&env, flags.insecure);
    }
    if flags.resolve {
        let own = || own_name(&env).map(|name| vec![name]);
        let hosts = flags.resolve_hosts.clone().map_or_else(own, Ok)?;
        resolve::wait_for(&resolver, &hosts, flags)?;
    }
    if flags.self_resolve {
        resolve::wait_for_self(&resolver, &own_name(&env)?, container_ip(&env, &resolver)?, flags)?;
    }
    if flags.install_certs {
        certs::install(&env, flags.verbose);
    }
    if flags.template {
        // templates may use the address, which the agent need not have set as such
        if let Ok(address) = container_ip(&env, &resolver) {
            for name in CONTAINER_IP {
                env.insert(name.to_owned(), address.to_string());
            }
        }
        templates::render_all(&env, flags.template_max_bytes)?;
    }
    Ok(())
}

/// One message.
fn log(message: &str) {
    eprintln!("bootstrap: {message}");
}

/// The name that DNS has for the task.
fn own_name(env: &BTreeMap<String, String>) -> Result<String, Error> {
    let get = |name: &'static str| {
        let purpose = "for the task's own name; switch that off with -resolve=false -self-resolve=false";
        env.get(name).filter(|value| !value.is_empty()).ok_or(Error::NoVariable { name, purpose })
    };
    Ok(format!("{}.{}", get("TASK_NAME")?, get("FRAMEWORK_HOST")?))
}

/// Variables that hold the container's address; the first that is not empty counts.
const CONTAINER_IP: [&str; 2] = ["MESOS_CONTAINER_IP", "LIBPROCESS_IP"];

fn container_ip(env: &BTreeMap<String, String>, resolver: &dns::Resolver) -> Result<Ipv4Addr, Error> {
    let set =
        CONTAINER_IP.iter().find_map(|&name| Some((name, env.get(name).filter(|value| !value.is_empty())?)));
    let Some((variable, value)) = set else {
        let purpose = "to know the container's address";
        return Err(Error::NoVariable { name: "MESOS_CONTAINER_IP or LIBPROCESS_IP", purpose });
    };
    let address: Ipv4Addr = value.parse().map_err(|_| Error::Address { variable, value: value.clone() })?;
    if address.is_unspecified() { own_host_address(resolver) } else { Ok(address) }
}

fn own_host_address(resolver: &dns::Resolver) -> Result<Ipv4Addr, Error> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    match resolver.lookup(&name) {
        Ok(addresses) => {
            let first = addresses.first().copied();
            first.ok_or_else(|| Error::OwnHost { name, why: "the name does not exist".to_owned() })
        }
        Err(error) => Err(Error::OwnHost { name, why: error.to_string() }),
    }
}
