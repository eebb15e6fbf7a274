//! What the `dcos` command line knows about the cluster: address, token, certificates, and which service is meant.
//!
//! `dcos` puts it into the environment of the subcommands that it runs. Without `dcos` in front, the files of the
//! attached cluster in `~/.dcos` are read. Only what these programs need; nothing is ever written.

use super::service_client::Tls;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The cluster that commands go to.
#[derive(Debug)]
pub struct Cluster {
    /// Address of the cluster's front.
    pub url: String,
    /// The token of a login; none on clusters without.
    pub token: Option<String>,
    /// How the cluster's certificate is checked.
    pub tls: Tls,
    /// The name of the service, when it is configured.
    pub service: Option<String>,
}

/// Reads what is known, for a subcommand (`module`), from environment variables and files.
pub fn read(module: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Cluster> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let file = attached_config(&variable)?;
    let section = module.to_ascii_lowercase();
    let setting = |section: &str, key: &str| file.get(&(section.to_owned(), key.to_owned())).cloned();
    let url = variable("DCOS_URL").or_else(|| setting("core", "dcos_url")).context(
        "no cluster is known: run this as a subcommand of `dcos` after `dcos cluster setup`, or set DCOS_URL",
    )?;
    let tls = tls(
        variable("DCOS_TLS_INSECURE"),
        variable("DCOS_TLS_CA_PATH"),
        variable("DCOS_SSL_VERIFY").or_else(|| setting("core", "ssl_verify")).as_deref(),
    );
    // `dcos` passes `[dagflow] service_name` as DCOS_DAGFLOW_SERVICE_NAME
    let name = format!("DCOS_{}_SERVICE_NAME", module.to_ascii_uppercase().replace('-', "_"));
    Ok(Cluster {
        url,
        token: variable("DCOS_ACS_TOKEN").or_else(|| setting("core", "dcos_acs_token")),
        tls,
        service: variable(&name).or_else(|| setting(&section, "service_name")),
    })
}

fn tls(insecure: Option<String>, authority: Option<String>, verify: Option<&str>) -> Tls {
    if insecure.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false")) {
        return Tls::Unchecked;
    }
    match (authority, verify) {
        (Some(path), _) => Tls::Authority(path.into()),
        (None, Some(word)) if word.eq_ignore_ascii_case("false") => Tls::Unchecked,
        (None, Some(word)) if word.eq_ignore_ascii_case("true") => Tls::Public,
        (None, Some(path)) => Tls::Authority(path.into()),
        (None, None) => Tls::Public,
    }
}

/// The settings of the attached cluster, by section and key; none when there is no such cluster.
type Settings = BTreeMap<(String, String), String>;

fn attached_config(variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
    let Some(folder) = variable("DCOS_DIR")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".dcos")))
    else {
        return Ok(Settings::new());
    };
    let Ok(clusters) = std::fs::read_dir(folder.join("clusters")) else { return Ok(Settings::new()) };
    let attached = clusters.flatten().map(|entry| entry.path()).find(|path| path.join("attached").exists());
    let Some(attached) = attached else { return Ok(Settings::new()) };
    let file = attached.join("dcos.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(settings(&text))
}

/// The flat part of TOML that `dcos` writes: sections, and keys with a string, number or boolean.
fn settings(text: &str) -> Settings {
    let mut section = String::new();
    let mut settings = Settings::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().trim_matches('"').clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim(), value.trim());
            // Basic strings of TOML have the escapes of JSON; literal ones have none.
            let value =
                serde_json::from_str::<String>(value).unwrap_or_else(|_| value.trim_matches('\'').to_owned());
            if !key.starts_with('#') {
                settings.insert((section.clone(), key.trim_matches('"').to_owned()), value);
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let map: BTreeMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        move |name| map.get(name).cloned()
    }

    /// A home folder with two clusters, of which `attached` is in use.
    fn home(toml: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (id, content) in [("other", "[core]\ndcos_url = \"http://other\"\n"), ("mine", toml)] {
            let folder = home.path().join(".dcos/clusters").join(id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("dcos.toml"), content).unwrap();
        }
        std::fs::write(home.path().join(".dcos/clusters/mine/attached"), "").unwrap();
        home
    }

    #[test]
    fn the_environment_that_dcos_gives_is_enough() {
        let cluster = read(
            "dagflow",
            with(&[
                ("DCOS_URL", "http://127.0.0.1:80"),
                ("DCOS_ACS_TOKEN", ""),
                ("DCOS_TLS_INSECURE", "1"),
                ("DCOS_DAGFLOW_SERVICE_NAME", "team/dagflow"),
            ]),
        )
        .unwrap();
        assert_eq!(cluster.url, "http://127.0.0.1:80");
        assert_eq!(cluster.token, None, "an empty token is none");
        assert_eq!(cluster.tls, Tls::Unchecked);
        assert_eq!(cluster.service.as_deref(), Some("team/dagflow"));
    }

    #[test]
    fn without_it_the_attached_cluster_is_read() {
        let home = home(
            "[cluster]\nname = \"mine\"\n\n[core]\n  dcos_url = \"https://mine\"\n  dcos_acs_token = \"tok\\u0065n\"\n\
             ssl_verify = \"/ca.crt\"\n timeout = 180\n[dagflow]\nservice_name = 'a/b'\n",
        );
        let home = home.path().to_str().unwrap();
        let cluster = read("dagflow", with(&[("HOME", home)])).unwrap();
        assert_eq!(cluster.url, "https://mine");
        assert_eq!(cluster.token.as_deref(), Some("token"));
        assert_eq!(cluster.tls, Tls::Authority("/ca.crt".into()));
        assert_eq!(cluster.service.as_deref(), Some("a/b"));
        let over = read("dagflow", with(&[("HOME", home), ("DCOS_URL", "http://env")])).unwrap();
        assert_eq!((over.url.as_str(), over.token.as_deref()), ("http://env", Some("token")));
    }

    #[test]
    fn without_any_cluster_the_error_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let error = read("dagflow", with(&[("HOME", home.path().to_str().unwrap())])).unwrap_err();
        assert!(error.to_string().contains("dcos cluster setup"), "{error}");
    }

    #[test]
    fn certificates_are_checked_as_the_settings_say() {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        for (insecure, authority, verify, expected) in [
            ("", "", "", Tls::Public),
            ("1", "/ca", "true", Tls::Unchecked),
            ("0", "", "", Tls::Public),
            ("", "/ca", "false", Tls::Authority("/ca".into())),
            ("", "", "False", Tls::Unchecked),
            ("", "", "true", Tls::Public),
            ("", "", "/own/ca.crt", Tls::Authority("/own/ca.crt".into())),
        ] {
            let found = tls(given(insecure), given(authority), given(verify).as_deref());
            assert_eq!(found, expected, "{insecure:?} {authority:?} {verify:?}");
        }
    }
}
