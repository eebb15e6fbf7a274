//! The keys themselves, mapping by mapping. What each field means is said where [`Key`] is declared.

use super::Kind::{Amount, Block, Boolean, Formed, Integer, Limit, List, Named, Steps, Text, Texts, Word};
use super::Need::{Default, Optional, Required};
use super::{Form, Key, Mapping, Words};

/// Declares forms, and the list of all of them.
macro_rules! forms {
    ($( $name:ident = $pattern:literal, $expected:literal; )*) => {
        $( pub static $name: Form = Form { pattern: $pattern, expected: $expected }; )*
        pub static FORMS: &[&Form] = &[$( &$name ),*];
    };
}

forms! {
    ANY_NAME = r"\S",
        "a name";
    SERVICE_NAME = r"^(?!.*__).*\S",
        "a name without `__`, which stands for a slash in the names of roles";
    TASK_NAME = r"^(?!.*__)[^/\s\x00-\x1f]{1,128}$",
        "a name of at most 128 characters without slashes, blanks and `__`";
    IMAGE = r"\S.*$",
        "the name of a Docker image";
    URI = r#"^[^\s\x00-\x1f<>"{}|\\^`]+$"#,
        "an address such as https://host/file.tgz";
    LABELS = r"^\s*[^:,\s][^:,]*:[^,]+(,\s*[^:,\s][^:,]*:[^,]+)*,*$",
        "`name:value,name:value`";
    NETWORK_LABELS = r"^$|^\s*[^:,\s][^:,]*:[^,]+(,\s*[^:,\s][^:,]*:[^,]+)*,*$",
        "`name:value,name:value`";
    RLIMIT = r"^RLIMIT_(AS|CORE|CPU|DATA|FSIZE|LOCKS|MEMLOCK|MSGQUEUE|NICE|NOFILE|NPROC|RSS|RTPRIO|RTTIME|SIGPENDING|STACK)$",
        "RLIMIT_ and one of AS, CORE, CPU, DATA, FSIZE, LOCKS, MEMLOCK, MSGQUEUE, NICE, NOFILE, NPROC, RSS, RTPRIO, RTTIME, SIGPENDING, STACK";
    SECRET_FILE = r"^[.a-zA-Z0-9][.a-zA-Z0-9_/\\-]*$",
        "a path relative to the sandbox, of letters, digits, `.`, `_` and `-`";
    VOLUME_PATH = r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$",
        "letters, digits, `_` and `-`, a letter or digit first";
    PROFILE = r"^[a-zA-Z0-9_.-]{1,128}$",
        "1 to 128 letters, digits, `_`, `.` and `-`";
    ABSOLUTE_PATH = r"^/",
        "an absolute path, with a leading slash";
    RELATIVE_PATH = r"^[^/]",
        "a relative path, without a leading slash";
    DRIVER_OPTIONS = r"^\s*$|^(?!\s*name=|.*;\s*name=)[;\s]*[^=;]+=[^=;]+(;+[^=;]+=[^=;]+)*[;\s]*$",
        "`key=value;key=value`";
}

const fn words(words: &'static [&'static str]) -> Words {
    Words { now: words, old: &[], any_case: false }
}

static GOALS: Words = Words { now: &["RUNNING", "FINISH", "ONCE"], old: &["FINISHED"], any_case: true };
static PLAN_STRATEGIES: Words = words(&["serial", "parallel"]);
static PHASE_STRATEGIES: Words = words(&["serial", "parallel", "canary", "serial-canary", "parallel-canary"]);
static VISIBILITIES: Words = words(&["FRAMEWORK", "CLUSTER", "EXTERNAL"]);
static ENCRYPTIONS: Words = words(&["TLS", "KEYSTORE"]);
static POD_IPC_MODES: Words = words(&["PRIVATE"]);
static TASK_IPC_MODES: Words = words(&["PRIVATE", "SHARE_PARENT"]);
static VOLUME_TYPES: Words = words(&["ROOT", "MOUNT", "PATH"]);
static MODES: Words = words(&["RW", "RO"]);
static EXTERNAL_TYPES: Words = words(&["DOCKER"]);

/// The most instances of a pod. No cluster has as many agents, and a plan has a step for each.
const MAX_COUNT: i64 = 100_000;
/// The most that fits into the messages that Mesos gets.
const MAX_U32: i64 = u32::MAX as i64;
/// MB; up to here a float holds every integer.
const MAX_MB: i64 = 1 << 53;
/// Ports have 16 bits.
const MAX_PORT: i64 = 65_535;
/// The longest time between SIGTERM and SIGKILL, seconds.
const MAX_KILL_GRACE: i64 = 3600;

/// Declares mappings: for each key its kind, whether it is needed, the release of DC/OS that brought it, what it does.
macro_rules! mappings {
    ($( $(#[$meta:meta])* $name:ident = $called:literal $(also $also:ident)? $(ignores $ignores:literal)?, $about:literal; {
        $( $key:literal $($since:literal)?: $kind:expr, $need:expr, $does:literal; )*
    } )*) => { $(
        $(#[$meta])*
        pub static $name: Mapping = Mapping {
            name: $called,
            about: $about,
            keys: &[$( Key {
                name: $key,
                kind: $kind,
                need: $need,
                about: $does,
                since: mappings!(@option $($since)?),
            } ),*],
            also: mappings!(@option $(&$also)?),
            ignores_others: mappings!(@bool $($ignores)?),
        };
    )* };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@bool) => { false };
    (@bool $value:literal) => { $value };
}

mappings! {
    /// The root of a service file.
    SERVICE = "service", "The root of the file."; {
        "name": Formed(&SERVICE_NAME), Required,
            "The framework's name, and a part of the DNS names of its tasks. It may hold slashes; the rest may have 63 characters.";
        "web-url": Text, Optional("none"),
            "The service's own web page, which Mesos links to.";
        "scheduler": Block(&SCHEDULER), Optional("its defaults"),
            "How the scheduler presents itself to Mesos.";
        "replacement-failure-policy": Block(&REPLACEMENT), Optional("operators replace pods"),
            "Replaces pods that stay down, without an operator. Their volumes are given up.";
        "pods": Named(&TASK_NAME, &POD), Required,
            "The pods by type. Their order is the order of deployment.";
        "plans": Named(&ANY_NAME, &PLAN), Optional("a generated `deploy`"),
            "The plans by name; one must be called `deploy`.";
    }

    SCHEDULER = "scheduler", "How the scheduler presents itself to Mesos."; {
        "principal": Text, Optional("`<name>-principal`"),
            "The Mesos principal of the framework, its reservations and its volumes.";
        "zookeeper": Text, Default("master.mesos:2181"),
            "The cluster's ZooKeeper, `host:port`; the scheduler's own flags win.";
        "user": Text, Default("root"),
            "The operating system user of every task. It cannot be changed once the service is deployed.";
    }

    REPLACEMENT = "replacement-failure-policy", "When pods that stay down are replaced without an operator."; {
        "permanent-failure-timeout-secs": Integer(0, MAX_U32), Default("1200"),
            "How long a task must be down until its pod instance is replaced, seconds.";
        "min-replace-delay-secs": Integer(0, MAX_U32), Default("10"),
            "How long the service waits from one replacement to the next, at least, seconds.";
    }

    POD = "pod" ignores true, "Tasks that run on the same agent and may share volumes. Instances are called `<type>-<index>`."; {
        "count": Integer(0, MAX_COUNT), Required,
            "How many instances there are.";
        "tasks": Named(&TASK_NAME, &TASK), Required,
            "The tasks by name. Instances are called `<type>-<index>-<task>`.";
        "image": Formed(&IMAGE), Optional("the agent's own file system"),
            "The Docker image that the tasks run in.";
        "networks": Named(&ANY_NAME, &NETWORK), Optional("the agent's network"),
            "The networks that the pod joins. `dcos` gives it an address of its own, `mesos-bridge` maps ports of the agent into it.";
        "rlimits" "1.9": Named(&RLIMIT, &RLIMIT_BOUNDS), Optional("none"),
            "Limits of the operating system, by name.";
        "uris": List(&Formed(&URI)), Optional("none"),
            "Fetched into the sandbox of every task of the pod; archives are extracted.";
        "resource-sets": Named(&ANY_NAME, &RESOURCE_SET), Optional("none"),
            "Resources by name, for tasks to refer to. Tasks that never run together may share a set.";
        "placement": Text, Optional("any agent"),
            "Where instances may run, in one of Marathon's spellings.";
        "volume": Block(&VOLUME), Optional("none"),
            "A volume that all tasks of the pod share.";
        "volumes": Named(&ANY_NAME, &VOLUME), Optional("none"),
            "More such volumes, under any names.";
        "pre-reserved-role" "1.10": Text, Default("*"),
            "The statically reserved role whose resources are used. It cannot be changed once the service is deployed.";
        "secrets" "1.10": Named(&ANY_NAME, &SECRET), Optional("none"),
            "Secrets of the cluster's store that tasks are given, under any names.";
        "share-pid-namespace": Boolean, Default("false"),
            "Whether the tasks of an instance see each other's processes.";
        "allow-decommission": Boolean, Default("false"),
            "Whether an update may lower `count`, or remove the pod.";
        "host-volumes": Named(&ANY_NAME, &HOST_VOLUME), Optional("none"),
            "Directories of the agent that tasks are given, under any names.";
        "external-volumes": Named(&ANY_NAME, &EXTERNAL_VOLUME), Optional("none"),
            "Volumes of Docker volume drivers, under any names.";
        "seccomp-unconfined" "1.13": Boolean, Default("false"),
            "Whether the tasks run without a filter of system calls; not with `seccomp-profile-name`.";
        "seccomp-profile-name" "1.13": Text, Optional("the agent's"),
            "The profile of the filter of system calls.";
        "ipc-mode" "1.14": Word(&POD_IPC_MODES), Optional("the agent's"),
            "Whether the pod has shared memory of its own.";
        "shm-size" "1.14": Integer(1, MAX_U32), Optional("the agent's"),
            "The size of the pod's /dev/shm, MB.";
    }

    NETWORK = "network", "A network that a pod joins."; {
        "host-ports": List(&Integer(0, MAX_PORT)), Optional("none"),
            "Ports of the agent, each mapped to the container port at the same place; `mesos-bridge` only.";
        "container-ports": List(&Integer(0, MAX_PORT)), Optional("none"),
            "Ports of the container. Ports that tasks declare and that are not among the host ports are mapped to themselves.";
        "labels": Formed(&NETWORK_LABELS), Optional("none"),
            "Labels for the network's plugin.";
    }

    RLIMIT_BOUNDS = "rlimit", "Both bounds of a limit of the operating system, or neither for unlimited."; {
        "soft": Integer(-1, i64::MAX), Optional("unlimited"),
            "The soft limit, not above the hard one; -1 on both is unlimited.";
        "hard": Integer(-1, i64::MAX), Optional("unlimited"),
            "The hard limit.";
    }

    SECRET = "secret", "A secret of the cluster's store. Without `env-key` and `file` it is a file with the secret's own path."; {
        "secret": Text, Required,
            "The secret's path in the store.";
        "env-key": Text, Optional("none"),
            "The variable that carries it.";
        "file": Formed(&SECRET_FILE), Optional("none beside `env-key`"),
            "The file that holds it.";
    }

    HOST_VOLUME = "host volume", "A directory of the agent."; {
        "host-path": Formed(&ABSOLUTE_PATH), Required,
            "The directory on the agent.";
        "container-path": Formed(&RELATIVE_PATH), Required,
            "Where tasks find it, below their sandbox.";
        "mode": Word(&MODES), Default("RW"),
            "Whether tasks may write there.";
    }

    EXTERNAL_VOLUME = "external volume", "A volume of a Docker volume driver, one for each instance of the pod."; {
        "type": Word(&EXTERNAL_TYPES), Required,
            "The kind of volume.";
        "driver-name": Text, Required,
            "The driver. `pxd` is Portworx, whose volumes all instances may share with the option `shared=true`.";
        "driver-options": Formed(&DRIVER_OPTIONS), Optional("none"),
            "Options for the driver; `name` is not one of them.";
        "volume-name": Text, Optional("service and pod"),
            "The volume's name; the instance's number is added.";
        "container-path": Text, Required,
            "Where tasks find it.";
        "volume-mode": Word(&MODES), Default("RW"),
            "Whether tasks may write there.";
    }

    TASK = "task" also RESOURCE_SET, "A task. It either names a resource set of its pod, or holds the keys of one itself."; {
        "goal": Word(&GOALS), Required,
            "When the task has done its work: never (RUNNING), after it has ended once for each configuration (FINISH), or once ever (ONCE).";
        "cmd": Text, Required,
            "The shell command.";
        "essential": Boolean, Default("true"),
            "Whether the other tasks of the pod start again when this one fails.";
        "env": Texts, Optional("none"),
            "Environment variables; no value is an empty one.";
        "configs": Named(&ANY_NAME, &CONFIG), Optional("none"),
            "Config templates by name, which `bootstrap` renders in the sandbox.";
        "resource-set": Text, Optional("the task's own"),
            "The resource set of the pod that the task runs on.";
        "health-check": Block(&HEALTH_CHECK), Optional("none"),
            "A command that says whether the task is healthy. A task that is not is killed.";
        "readiness-check": Block(&READINESS_CHECK), Optional("none"),
            "A command that says whether the task is ready. What comes after it in a plan waits for that.";
        "discovery": Block(&DISCOVERY), Optional("its defaults"),
            "The task's name in service discovery.";
        "labels": Formed(&LABELS), Optional("none"),
            "Labels of the task.";
        "kill-grace-period": Integer(0, MAX_KILL_GRACE), Default("0"),
            "Seconds from SIGTERM to SIGKILL.";
        "transport-encryption" "1.10": List(&Block(&TRANSPORT_ENCRYPTION)), Optional("none"),
            "Certificates that the task is given. The service needs an account of its own.";
        "ipc-mode" "1.14": Word(&TASK_IPC_MODES), Optional("the pod's"),
            "Whether the task has shared memory of its own, or the pod's.";
        "shm-size" "1.14": Integer(1, MAX_U32), Optional("the agent's"),
            "The size of the task's /dev/shm, MB; not with `ipc-mode: SHARE_PARENT`.";
    }

    /// What tasks reserve.
    RESOURCE_SET = "resource set", "What tasks reserve: at least one kind of resource."; {
        "cpus": Amount, Optional("none"),
            "Processors; three decimals count.";
        "gpus" "1.9": Amount, Optional("none"),
            "Graphics processors.";
        "memory": Integer(1, MAX_MB), Optional("none"),
            "MB of memory.";
        "ports": Named(&ANY_NAME, &PORT), Optional("none"),
            "Ports by name.";
        "volume": Block(&VOLUME), Optional("none"),
            "A persistent volume; not together with `volumes`.";
        "volumes": Named(&ANY_NAME, &VOLUME), Optional("none"),
            "Persistent volumes, under any names.";
        "resource-limits" "2.1": Block(&LIMITS), Optional("what is reserved"),
            "How much more than it has reserved a task may use.";
    }

    LIMITS = "resource limits", "Upper bounds, not below what is reserved."; {
        "cpus": Limit, Optional("what is reserved"),
            "Processors.";
        "memory": Limit, Optional("what is reserved"),
            "MB of memory.";
    }

    PORT = "port", "A TCP port."; {
        "port": Integer(0, MAX_PORT), Required,
            "The number; for 0 the scheduler chooses one, and keeps to it.";
        "env-key": Text, Optional("none"),
            "The variable that tells the task the number. There is no other way to learn it.";
        "advertise": Boolean, Default("false"),
            "Whether the port is in the service's list of endpoints. Names of such ports are unique in the service.";
        "vip": Block(&VIP), Optional("none"),
            "A virtual address, `<prefix>.<service>.l4lb.thisdcos.directory:<port>`, that leads to all tasks with it.";
        "ranges": List(&Block(&RANGE)), Optional("any number"),
            "What a number is chosen from; not with `vip`.";
    }

    VIP = "vip", "A virtual address."; {
        "port": Integer(0, MAX_PORT), Default("0"),
            "The port that clients connect to; 0 leads nowhere.";
        "prefix": Text, Optional("the port's name"),
            "The first part of the name; not the name of another port of the set.";
    }

    RANGE = "range", "Numbers from one to another."; {
        "begin": Integer(0, MAX_PORT), Default("0"),
            "The first.";
        "end": Integer(0, MAX_PORT), Default("65535"),
            "The last; 0 stands for 65535.";
    }

    VOLUME = "volume", "A persistent volume. Once the service is deployed, volumes cannot be changed."; {
        "path": Formed(&VOLUME_PATH), Required,
            "Its directory in the sandbox, and what it is known by.";
        "type": Word(&VOLUME_TYPES), Required,
            "A part of the agent's own disk (ROOT), or a whole mounted disk (MOUNT; PATH is treated the same).";
        "size": Integer(1, MAX_MB), Required,
            "MB; a mounted disk may be larger.";
        "profiles" "1.12": List(&Formed(&PROFILE)), Optional("a disk without profile"),
            "Profiles of disks, any of which will do; MOUNT only.";
    }

    CONFIG = "config", "A config template. Its text is part of the configuration: a change restarts the task."; {
        "template": Text, Required,
            "The template, a file beside the service file.";
        "dest": Text, Required,
            "Where the result goes, relative to the sandbox.";
    }

    HEALTH_CHECK = "health check", "A health check; times are in seconds."; {
        "cmd": Text, Required,
            "The shell command; exit code 0 is healthy.";
        "interval": Integer(0, MAX_U32), Required,
            "From one run to the next.";
        "grace-period": Integer(0, MAX_U32), Required,
            "Failures this soon after the start do not count.";
        "max-consecutive-failures": Integer(1, MAX_U32), Required,
            "This many failures in a row kill the task.";
        "delay": Integer(0, MAX_U32), Required,
            "Before the first run.";
        "timeout": Integer(0, MAX_U32), Required,
            "A run that takes longer has failed.";
    }

    READINESS_CHECK = "readiness check", "A readiness check; times are in seconds."; {
        "cmd": Text, Required,
            "The shell command; exit code 0 is ready.";
        "interval": Integer(0, MAX_U32), Required,
            "From one run to the next.";
        "timeout": Integer(0, MAX_U32), Required,
            "A run that takes longer has failed.";
        "delay": Integer(0, MAX_U32), Default("0"),
            "Before the first run.";
    }

    DISCOVERY = "discovery", "A task's name in service discovery."; {
        "prefix": Text, Optional("`<type>-<index>-<task>`"),
            "The name is `<prefix>-<index>`. Two pods cannot have the same.";
        "visibility": Word(&VISIBILITIES), Default("CLUSTER"),
            "Who may see it.";
    }

    TRANSPORT_ENCRYPTION = "transport encryption", "A certificate that a task is given."; {
        "name": Text, Required,
            "What the files are called before their extension.";
        "type": Word(&ENCRYPTIONS), Required,
            "PEM files (TLS: `.crt`, `.key`, `.ca`) or Java keystores (KEYSTORE: `.keystore`, `.truststore`).";
    }

    PLAN = "plan", "A plan: phases."; {
        "strategy": Word(&PLAN_STRATEGIES), Default("serial"),
            "Whether the phases follow each other, or go on together.";
        "phases": Named(&ANY_NAME, &PHASE), Required,
            "The phases by name.";
    }

    PHASE = "phase", "A phase: steps that launch the tasks of one pod."; {
        "pod": Text, Required,
            "The pod.";
        "strategy": Word(&PHASE_STRATEGIES), Default("serial"),
            "Whether the steps follow each other or go on together. A canary waits for an operator before its first and its second step; `canary` is `serial-canary`.";
        "steps": Steps, Optional("one step for each instance, with all its tasks"),
            "Which tasks are launched together, by instance.";
    }
}
