//! Releases of DC/OS, and what those before some release can't do.
//!
//! A launch that uses what a cluster does not have fails on the agent, or worse, is launched without it; so the SDK refuses the
//! configuration, and so does this program where it knows the release. `runtime` asks for it.

use super::validate::{ConfigurationError, error};
use crate::spec::{PodSpec, ResourceLimits, ServiceSpec, TaskSpec};

/// A release of DC/OS, such as 2.1: patches change nothing of what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
}

impl Release {
    /// The release of a version as clusters give it: `1.13`, `2.1.4`, `2.2-dev`.
    pub fn of(version: &str) -> Option<Self> {
        let (major, rest) = version.trim().split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Something that a pod or task may use: a key of the service file, and the release that brought it.
struct Feature {
    key: &'static str,
    since: Release,
    used: bool,
}

fn feature(key: &'static str, (major, minor): (u32, u32), used: bool) -> Feature {
    Feature { key, since: Release { major, minor }, used }
}

/// What a pod uses. Seccomp is not among it: agents before 1.13 ignore it, and the SDK lets it pass, too.
fn of_pod(pod: &PodSpec) -> [Feature; 7] {
    let mut rules = pod.placement.iter().flat_map(|p| &p.rules);
    [
        feature("rlimits", (1, 9), !pod.rlimits.is_empty()),
        feature("networks", (1, 9), pod.networks.iter().any(|n| !n.port_mappings.is_empty())),
        feature("secrets", (1, 10), !pod.secrets.is_empty()),
        feature("pre-reserved-role", (1, 10), pod.pre_reserved_role != "*"),
        feature("placement", (1, 11), rules.any(|r| matches!(r.field.as_str(), "@region" | "@zone"))),
        feature("volumes", (1, 12), pod.volumes.iter().any(|v| !v.profiles.is_empty())),
        feature("ipc-mode, shm-size", (1, 14), pod.ipc_mode.is_some() || pod.shm_size.is_some()),
    ]
}

/// What a task uses.
fn of_task(task: &TaskSpec) -> [Feature; 5] {
    let set = &task.resource_set;
    [
        feature("ports.vip", (1, 8), set.ports.iter().any(|p| p.vip.is_some())),
        feature("gpus", (1, 9), set.gpus.is_some()),
        feature("volumes", (1, 12), set.volumes.iter().any(|v| !v.profiles.is_empty())),
        feature("ipc-mode, shm-size", (1, 14), task.ipc_mode.is_some() || task.shm_size.is_some()),
        feature("resource-limits", (2, 1), set.limits != ResourceLimits::default()),
    ]
}

/// What of a service clusters of this release can't do, for each pod and task.
pub(super) fn unsupported(spec: &ServiceSpec, release: Release) -> Vec<ConfigurationError> {
    let mut errors = Vec::new();
    let mut check = |place: &str, features: &[Feature]| {
        for Feature { key, since, .. } in features.iter().filter(|f| f.used && f.since > release) {
            let message =
                format!("needs DC/OS {since} or later, the cluster has {release}: remove it, or upgrade");
            errors.push(error(format!("{place}.{key}"), None, "used".to_owned(), &message));
        }
    };
    for pod in &spec.pods {
        let place = format!("pods.{}", pod.pod_type);
        check(&place, &of_pod(pod));
        for task in &pod.tasks {
            check(&format!("{place}.tasks.{}", task.name), &of_task(task));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_of_releases_whatever_follows() {
        let cases = [
            ("2.1.4", Some((2, 1))),
            ("1.13", Some((1, 13))),
            ("1.14.0-alpha", Some((1, 14))),
            (" 2.2-dev\n", Some((2, 2))),
            ("2", None),
            ("two.one", None),
            ("", None),
        ];
        for (version, release) in cases {
            assert_eq!(
                Release::of(version),
                release.map(|(major, minor)| Release { major, minor }),
                "{version}"
            );
        }
        assert!(Release::of("1.9") < Release::of("1.10") && Release::of("1.14") < Release::of("2.0"));
    }
}
