//! Runs one command in a sandbox as a group of processes, and makes sure that the whole group ends.
//!
//! A sandbox is a directory with the files `stdout` and `stderr`. Nothing here knows about tasks or offers. Called by
//! the agent and by the Marathon face.
//!
//! There is no container around the processes, so "everything that this command started" is found in `/proc`: the
//! members of its process group and session, processes whose environment carries this sandbox as `MESOS_SANDBOX`, and
//! the descendants of all of these.

use crate::wire::{CommandInfo, SecretType, VariableType};
use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::sync::watch;

/// How long a process may take to end after SIGTERM when nobody says otherwise; Mesos' default.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3);

/// The search path of a command whose environment does not set one; Mesos' default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The command has neither a value nor arguments.
    #[error("the command is empty: it needs `value`, or `arguments` with `shell: false`")]
    Empty,
    /// The user to run as is not in /etc/passwd.
    #[error("cannot run as user `{0}`: there is no such user in /etc/passwd")]
    NoUser(String),
    /// An environment variable has no usable value.
    #[error("environment variable `{name}`: {reason}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong; never its value.
        reason: String,
    },
    /// The sandbox could not be prepared.
    #[error("sandbox {}: {source}", .path.display())]
    Sandbox {
        /// The path at fault.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program, without its arguments.
        program: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// What to run, and where.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The sandbox; made when it is missing. Must be an absolute path that no other command uses.
    pub sandbox: &'a Path,
    /// The command. Its `uris` are not fetched here, see [`super::fetch`].
    pub command: &'a CommandInfo,
    /// Variables that the command's own environment overrides.
    pub environment: &'a [(String, String)],
    /// The user to run as when the command names none; only root can switch.
    pub user: Option<&'a str>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It could not be watched to its end.
    Unknown,
}

impl Exit {
    /// Whether the command ended by itself with status 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<std::process::ExitStatus> for Exit {
    fn from(status: std::process::ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Exit {
    /// In the words of the Mesos executors.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "Command exited with status {code}"),
            Self::Signal(signal) => match signal_text(*signal) {
                Some(text) => write!(f, "Command terminated with signal {text}"),
                None => write!(f, "Command terminated with signal {signal}"),
            },
            Self::Unknown => f.write_str("Command's end could not be observed"),
        }
    }
}

/// What `strsignal` says about the signals that end processes.
fn signal_text(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        11 => "Segmentation fault",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        _ => return None,
    })
}

/// Recognizes a command's processes after a restart of the cluster, even when process ids have been used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The first process, which leads the group.
    pub pid: i32,
    /// When it started, in clock ticks since the machine started (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// The sandbox.
    pub sandbox: PathBuf,
}

/// A running command; clones stand for the same one. Dropping it does not end the command.
#[derive(Clone, Debug)]
pub struct Process {
    identity: Identity,
    kill: watch::Sender<Option<Duration>>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// What to store in order to find the processes again.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Sends SIGTERM to the group, and SIGKILL to everything that is left after `grace`. A second call can only
    /// shorten the wait.
    pub fn kill(&self, grace: Duration) {
        self.kill.send_modify(|old| *old = Some(old.map_or(grace, |o| o.min(grace))));
    }

    /// Waits until the first process has ended and the others have been killed.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // the sender only goes away without a value when the runtime is shut down
        ended.ok().and_then(|e| *e).unwrap_or(Exit::Unknown)
    }
}

/// Makes a sandbox with empty `stdout` and `stderr`. When we are root, everything in it is given to `user`; links are
/// not followed.
pub fn make_sandbox(sandbox: &Path, user: Option<&str>) -> Result<(), ProcessError> {
    let owner = user.map(find_user).transpose()?.flatten();
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| ProcessError::Sandbox { path, source }
    };
    fs::create_dir_all(sandbox).map_err(error(sandbox))?;
    for name in ["stdout", "stderr"] {
        let path = sandbox.join(name);
        OpenOptions::new().create(true).append(true).open(&path).map_err(error(&path))?;
    }
    if let Some((uid, gid)) = owner {
        let mut paths = vec![sandbox.to_owned()];
        while let Some(path) = paths.pop() {
            std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).map_err(error(&path))?;
            if path.symlink_metadata().map_err(error(&path))?.is_dir() {
                let entries = fs::read_dir(&path).map_err(error(&path))?;
                paths.extend(entries.flatten().map(|e| e.path()));
            }
        }
    }
    Ok(())
}

/// Starts a command. Must be called inside a tokio runtime, which then watches it.
pub fn spawn(launch: Launch<'_>) -> Result<Process, ProcessError> {
    let user = launch.command.user.as_deref().or(launch.user);
    make_sandbox(launch.sandbox, user)?;
    let mut command = prepare(launch, user)?;
    let output = |name: &str| {
        let path = launch.sandbox.join(name);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .map(Stdio::from)
            .map_err(|source| ProcessError::Sandbox { path, source })
    };
    command.stdout(output("stdout")?).stderr(output("stderr")?);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let child = command.spawn().map_err(|source| ProcessError::Start { program, source })?;
    // a child that has not been waited for always has a pid, and its /proc entry even when it ended already
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
    let start_time = stat(pid).map_or(0, |s| s.start_time);
    let identity = Identity { pid, start_time, sandbox: launch.sandbox.to_owned() };
    let (kill, kill_seen) = watch::channel(None);
    let (exit_seen, exit) = watch::channel(None);
    tokio::spawn(supervise(child, identity.clone(), kill_seen, exit_seen));
    Ok(Process { identity, kill, exit })
}

/// Runs a short command in an existing sandbox, for checks: its exit, or `None` when it took longer than `timeout` and
/// was killed. Its output is dropped.
pub async fn run(launch: Launch<'_>, timeout: Duration) -> Result<Option<Exit>, ProcessError> {
    let user = launch.command.user.as_deref().or(launch.user);
    let mut command = prepare(launch, user)?;
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let start = |source| ProcessError::Start { program: program.clone(), source };
    let mut child = command.spawn().map_err(start)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    if let Some(group) = group {
        // the check's helpers go with it, whether it ended or not
        let _ = kill_process_group(group, Signal::KILL);
    }
    match ended {
        Ok(status) => Ok(Some(Exit::from(status.map_err(start)?))),
        Err(_) => Ok(None),
    }
}

/// Everything but the output files.
fn prepare(launch: Launch<'_>, user: Option<&str>) -> Result<tokio::process::Command, ProcessError> {
    let value = launch.command.value.as_deref();
    let mut command = if launch.command.shell.unwrap_or(true) {
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.arg("-c").arg(value.ok_or(ProcessError::Empty)?);
        shell
    } else {
        let arguments = &launch.command.arguments;
        // as with execvp: `value` is the program, `arguments` are all of argv, the program's own name included
        let program = value.or(arguments.first().map(String::as_str)).ok_or(ProcessError::Empty)?;
        let mut program = tokio::process::Command::new(program);
        if let Some(name) = arguments.first() {
            program.arg0(name);
        }
        program.args(arguments.iter().skip(1));
        program
    };
    command.env_clear().envs(environment(launch)?).current_dir(launch.sandbox);
    command.stdin(Stdio::null()).process_group(0);
    if let Some((uid, gid)) = user.map(find_user).transpose()?.flatten() {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// The whole environment: nothing of ours is inherited.
fn environment(launch: Launch<'_>) -> Result<BTreeMap<OsString, OsString>, ProcessError> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    all.insert("PATH".into(), DEFAULT_PATH.into());
    for name in ["MESOS_CONTAINER_IP", "LIBPROCESS_IP"] {
        all.insert(name.into(), "127.0.0.1".into());
    }
    all.extend(launch.environment.iter().map(|(k, v)| (k.into(), v.into())));
    for variable in launch.command.environment.iter().flat_map(|e| &e.variables) {
        let wrong =
            |reason: &str| ProcessError::Variable { name: variable.name.clone(), reason: reason.into() };
        let value = match (variable.r#type, &variable.secret) {
            (Some(VariableType::Secret), Some(secret)) => match (secret.r#type, &secret.value) {
                (Some(SecretType::Value), Some(value)) => base64::engine::general_purpose::STANDARD
                    .decode(&value.data)
                    .map(OsString::from_vec)
                    .map_err(|_| wrong("its secret is not base64"))?,
                _ => {
                    return Err(wrong(
                        "its secret is a reference, and this cluster keeps no secrets: let the scheduler resolve it",
                    ));
                }
            },
            (Some(VariableType::Secret), None) => {
                return Err(wrong("it is of type SECRET and has no secret"));
            }
            _ => variable.value.clone().unwrap_or_default().into(),
        };
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) || value.as_bytes().contains(&0) {
            return Err(wrong("a name must not be empty or contain `=`, and neither name nor value a NUL"));
        }
        all.insert(variable.name.clone().into(), value);
    }
    // last: it is how the processes are found again
    all.insert("MESOS_SANDBOX".into(), launch.sandbox.into());
    Ok(all)
}

/// The ids of a user to switch to; `None` when we run as that user, or as one that cannot switch.
fn find_user(name: &str) -> Result<Option<(u32, u32)>, ProcessError> {
    let own = rustix::process::getuid();
    if !own.is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        found.then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    });
    match ids {
        Some((0, _)) => Ok(None),
        None if name == "root" => Ok(None),
        None => Err(ProcessError::NoUser(name.to_owned())),
        ids => Ok(ids),
    }
}

/// Waits for the end of a command, by itself or by [`Process::kill`], and leaves none of its processes.
async fn supervise(
    mut child: tokio::process::Child,
    identity: Identity,
    mut kill: watch::Receiver<Option<Duration>>,
    exit: watch::Sender<Option<Exit>>,
) {
    let mut deadline: Option<tokio::time::Instant> = None;
    let mut nobody_asks = false;
    // what was there when the kill began: a daemon that replaced its environment and session is only known as long as
    // its parent lives
    let mut known: Vec<(i32, u64)> = Vec::new();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            changed = kill.changed(), if !nobody_asks => {
                nobody_asks = changed.is_err();
                let asked = *kill.borrow_and_update();
                if let Some(grace) = asked {
                    if deadline.is_none() {
                        known = members(&identity).into_iter().filter_map(|p| Some((p, stat(p)?.start_time))).collect();
                        signal_group(&identity, Signal::TERM);
                    }
                    let new = tokio::time::Instant::now() + grace;
                    deadline = Some(deadline.map_or(new, |old| old.min(new)));
                }
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                for pid in members(&identity).into_iter().filter_map(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                // again and again: a process in an uninterruptible call needs a moment to go
                deadline = Some(tokio::time::Instant::now() + Duration::from_secs(1));
            }
        }
    };
    // after the first process is gone its group is still there, and its pid is not used again before the group is empty
    signal_group(&identity, Signal::KILL);
    for (pid, start_time) in known {
        if stat(pid).is_some_and(|s| s.start_time == start_time && !s.zombie) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
    let identity_again = identity.clone();
    let left = tokio::task::spawn_blocking(move || kill_leftovers(&identity_again)).await.unwrap_or(0);
    if left > 0 {
        tracing::debug!(pid = identity.pid, left, "killed processes that outlived their command");
    }
    exit.send_replace(Some(status.map_or(Exit::Unknown, Exit::from)));
}

fn signal_group(identity: &Identity, signal: Signal) {
    if let Some(group) = Pid::from_raw(identity.pid).filter(|_| identity.pid > 1) {
        // an empty group is what we want
        let _ = kill_process_group(group, signal);
    }
}

/// Kills with SIGKILL everything that belongs to a command, waits for its end (blocking), and says how many processes
/// that were. Safe to call for a
/// command of an earlier run of the cluster: a process that only has the same pid is left alone.
pub fn kill_leftovers(identity: &Identity) -> usize {
    let mut killed = HashSet::new();
    // while one scan reads /proc its processes can fork, so scan until nothing new is found
    for _ in 0..20 {
        let found = members(identity);
        let new: Vec<i32> = found.into_iter().filter(|pid| killed.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    wait_gone(&killed);
    killed.len()
}

/// Waits until killed processes have given back their ports and files, but not for ever: one that is stuck in the kernel
/// cannot be helped.
fn wait_gone(killed: &HashSet<i32>) {
    for _ in 0..500 {
        if killed.iter().all(|pid| stat(*pid).is_none_or(|s| s.zombie)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    tracing::warn!(?killed, "some processes did not end after SIGKILL");
}

/// One line of `/proc/PID/stat`, as far as it is used here.
struct Stat {
    zombie: bool,
    parent: i32,
    group: i32,
    session: i32,
    start_time: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in parentheses, which may itself contain blanks and parentheses
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The living processes of a command.
fn members(identity: &Identity) -> HashSet<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut all: BTreeMap<i32, Stat> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            all.insert(pid, stat);
        }
    }
    let leader = all.get(&identity.pid).is_some_and(|s| s.start_time == identity.start_time);
    let mut found: HashSet<i32> = HashSet::new();
    for (&pid, stat) in &all {
        let led = leader && (stat.group == identity.pid || stat.session == identity.pid);
        if led || in_sandbox(pid, &identity.sandbox) {
            found.insert(pid);
        }
    }
    // descendants: repeated because a child can have a lower pid than its parent
    loop {
        let children = all.iter().filter(|(pid, s)| found.contains(&s.parent) && !found.contains(pid));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.retain(|pid| *pid > 1 && *pid != own && all.get(pid).is_some_and(|s| !s.zombie));
    found
}

/// Whether a process was started with this sandbox in its environment.
fn in_sandbox(pid: i32, sandbox: &Path) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value =
        |v: &[u8]| v.strip_prefix(b"MESOS_SANDBOX=").map(|v| OsStr::from_bytes(v) == sandbox.as_os_str());
    environ.split(|b| *b == 0).any(|v| value(v) == Some(true))
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
