//! The files of tasks with transport encryption: secrets of the cluster's store, mounted into the task.
//!
//! On DC/OS a service gets a certificate for each such task from the cluster's authority and puts it into the secret
//! store. This program does not do that (yet): it mounts the secrets from where the SDK puts them, so certificates that
//! are there, because the SDK or an operator has put them there, are used, and are not deleted in the end. Names and paths
//! are the SDK's.

use super::{ServiceContext, task_info};
use crate::spec::{PodSpec, TaskSpec, TransportEncryptionSpec, task_instance_name};
use sha1::{Digest, Sha1};
use std::fmt::Write as _;

/// A secret that becomes a file of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Its path in the secret store.
    pub secret: String,
    /// The file, relative to the sandbox.
    pub file: String,
}

/// The secrets of a task's certificates, in file order.
pub fn files(context: &ServiceContext, pod: &PodSpec, index: u32, task: &TaskSpec) -> Vec<SecretFile> {
    if task.transport_encryption.is_empty() {
        return Vec::new();
    }
    let space = match context.space.trim_matches('/') {
        "" => context.name.trim_matches('/'),
        space => space,
    };
    let instance = task_instance_name(&pod.pod_type, index, &task.name);
    let names = Sha1::digest(names(context, pod, index, task).join(";"));
    let names = names.iter().fold(String::new(), |mut hex, byte| {
        // writing to a string can't fail
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let of = |encryption: &TransportEncryptionSpec| {
        let name = encryption.name.clone();
        let instance = instance.clone();
        let names = names.clone();
        artifacts(&encryption.kind).iter().map(move |(prefix, artifact, extension)| SecretFile {
            secret: format!("{space}/{prefix}{names}__{instance}__{name}__{artifact}"),
            file: format!("{name}.{extension}"),
        })
    };
    task.transport_encryption.iter().flat_map(of).collect()
}

/// For each secret of a kind of encryption: what its name begins and ends with, and the extension of its file. What
/// begins with `__dcos_base64__` is decoded by the cluster.
fn artifacts(kind: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match kind {
        "KEYSTORE" => {
            &[("__dcos_base64__", "keystore", "keystore"), ("__dcos_base64__", "truststore", "truststore")]
        }
        _ => &[("", "certificate", "crt"), ("", "private-key", "key"), ("", "root-ca-certificate", "ca")],
    }
}

/// The DNS names that a task's certificate is for: its own, then those of its VIPs.
fn names(context: &ServiceContext, pod: &PodSpec, index: u32, task: &TaskSpec) -> Vec<String> {
    let vips = task.resource_set.ports.iter().filter_map(|p| p.vip.as_ref());
    let vips = vips.map(|vip| format!("{}.{}", vip.prefix, context.vip_host()));
    let own = format!("{}.{}", task_info::discovery_name(pod, index, task), context.framework_host());
    std::iter::once(own).chain(vips).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::tests::{context, pod};

    #[test]
    fn certificates_are_mounted_from_where_the_sdk_puts_them() {
        let pod = pod("
            server:
              goal: RUNNING
              cmd: serve
              cpus: 1
              ports: {web: {port: 443, vip: {prefix: site, port: 443}}}
              discovery: {prefix: front}
              transport-encryption: [{name: web, type: TLS}, {name: store, type: KEYSTORE}]");
        let context = ServiceContext { space: "/apps".to_owned(), ..context() };
        // sha1 of `front-1.weather.autoip.test;site.weather.l4lb.test`
        let hash = "c059becd67c1594211ebadd29bd61e24ff8300e1";
        let found = files(&context, &pod, 1, &pod.tasks[0]);
        let found: Vec<_> = found.iter().map(|f| (f.secret.as_str(), f.file.as_str())).collect();
        let expected = [
            (format!("apps/{hash}__pod-1-server__web__certificate"), "web.crt"),
            (format!("apps/{hash}__pod-1-server__web__private-key"), "web.key"),
            (format!("apps/{hash}__pod-1-server__web__root-ca-certificate"), "web.ca"),
            (format!("apps/__dcos_base64__{hash}__pod-1-server__store__keystore"), "store.keystore"),
            (format!("apps/__dcos_base64__{hash}__pod-1-server__store__truststore"), "store.truststore"),
        ];
        assert_eq!(found, expected.each_ref().map(|(secret, file)| (secret.as_str(), *file)));
    }
}
