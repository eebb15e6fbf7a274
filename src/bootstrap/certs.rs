//! The cluster's CA in Java's trust store, for tasks that run Java.

use super::log;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Imports the CA, if the cluster put one into the sandbox and there is a Java to import it into. A task may do
/// without, so a failure is only logged.
pub fn install(env: &BTreeMap<String, String>, verbose: bool) {
    let Some(ca) = [".ssl/ca-bundle.crt", ".ssl/ca.crt"].into_iter().find(|path| Path::new(path).is_file())
    else {
        if verbose {
            log("no CA of the cluster in .ssl: nothing to import");
        }
        return;
    };
    let Some(java) = env.get("JAVA_HOME").filter(|home| !home.is_empty()).map(Path::new) else {
        log(&format!("warning: {ca} is not imported: JAVA_HOME is not set"));
        return;
    };
    let keytool = java.join("bin/keytool");
    if !keytool.is_file() {
        log(&format!("warning: {ca} is not imported: there is no {}", keytool.display()));
        return;
    }
    // `changeit` is the password that every Java comes with; it guards nothing
    let outcome = Command::new(&keytool)
        .args([
            "-importcert",
            "-noprompt",
            "-alias",
            "dcoscert",
            "-storepass",
            "changeit",
            "-file",
            ca,
            "-keystore",
        ])
        .arg(java.join("lib/security/cacerts"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match outcome {
        Ok(status) if status.success() => log(&format!("imported {ca} into Java's trust store")),
        Ok(status) => log(&format!("warning: {ca} is not imported: keytool ended with {status}")),
        Err(error) => {
            log(&format!("warning: {ca} is not imported: cannot run {}: {error}", keytool.display()));
        }
    }
}
