//! What a service asks its cluster for beside Mesos: which release of DC/OS it is, and whether it knows the scheduler's name.

use super::service::blocking;
use crate::bootstrap::dns::Resolver;
use crate::scheduler::Release;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where a cluster of DC/OS says which release it is.
pub const RELEASE: &str = "http://leader.mesos/dcos-metadata/dcos-version.json";

/// How long a cluster has to say which release it is.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Between two looks whether the scheduler's name is known.
const PAUSE: Duration = Duration::from_secs(5);
/// How often is looked: for five minutes, as long as tasks wait for their own names.
const LOOKS: u32 = 60;

/// The release of DC/OS that `url` tells. The SDK ends where it can't be had; this program goes on and leaves the check to
/// the cluster, because the name of a leading master exists on plain Mesos, too, where nobody answers.
pub async fn dcos_release(url: &str) -> Option<Release> {
    match ask(url).await {
        Ok(release) => {
            tracing::info!(%release, "the cluster's release of DC/OS");
            Some(release)
        }
        Err(why) => {
            tracing::warn!(
                url,
                why,
                "which release of DC/OS this is can't be found out: nothing is refused for it"
            );
            None
        }
    }
}

async fn ask(url: &str) -> Result<Release, String> {
    let request = crate::http::client().map_err(|e| e.to_string())?.get(url).timeout(ANSWER_TIME);
    let answer = async { request.send().await?.error_for_status()?.json::<serde_json::Value>().await };
    let told = answer.await.map_err(|e| e.to_string())?;
    let version = told["version"].as_str().unwrap_or_default();
    Release::of(version).ok_or_else(|| format!("the answer's `version` is {version:?}"))
}

/// Whether `name` has to become known before tasks can reach this scheduler: addresses and names of this machine do not.
pub fn is_awaited(name: &str) -> bool {
    name.parse::<IpAddr>().is_err() && !crate::bootstrap::dns::is_local(name)
}

/// Waits until `name` is that of the address `own`, but not for ever: in a cluster that gives no such names tasks without
/// config templates run well.
pub async fn await_name(name: String, own: IpAddr) {
    for _ in 0..LOOKS {
        let asked = name.clone();
        let found = blocking(move || Resolver::system().lookup(&asked)).await;
        match found {
            Ok(addresses) if is_own(&addresses, own) => {
                return tracing::info!(name, "tasks reach this scheduler");
            }
            Ok(addresses) => {
                tracing::info!(name, ?addresses, %own, "offers wait until the name is that of the address");
            }
            Err(error) => tracing::info!(name, %error, "offers wait until the name is known"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!(name, %own, "the name is still not that of the address: tasks may not get their config templates");
}

/// Whether an address is among those of a name. One that stands for all of this machine's can't be compared.
fn is_own(addresses: &BTreeSet<Ipv4Addr>, own: IpAddr) -> bool {
    match own {
        IpAddr::V4(own) if !own.is_unspecified() => addresses.contains(&own),
        _ => !addresses.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, routing::get};

    #[tokio::test]
    async fn the_release_is_what_the_cluster_says_and_unknown_where_nobody_says_it() {
        let answer =
            |version: &'static str| get(move || async move { Json(serde_json::json!({"version": version})) });
        let routes = Router::new().route("/good", answer("2.1.4")).route("/odd", answer("two"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(axum::serve(listener, routes).into_future());
        assert_eq!(dcos_release(&format!("{server}/good")).await, Release::of("2.1"));
        for path in ["odd", "missing"] {
            assert_eq!(dcos_release(&format!("{server}/{path}")).await, None, "{path}");
        }
        assert!(ask(&format!("{server}/odd")).await.is_err_and(|why| why.contains("two")));
    }

    #[test]
    fn names_are_waited_for_and_addresses_are_not() {
        let cases = [
            ("hello.marathon.autoip.dcos.thisdcos.directory", true),
            ("10.0.0.1", false),
            ("::1", false),
            ("localhost", false),
            ("hello.l4lb.localhost", false),
        ];
        for (name, awaited) in cases {
            assert_eq!(is_awaited(name), awaited, "{name}");
        }
    }

    #[test]
    fn a_name_is_the_schedulers_when_it_has_its_address() {
        let addresses = |all: &[[u8; 4]]| all.iter().map(|a| Ipv4Addr::from(*a)).collect::<BTreeSet<_>>();
        let own = IpAddr::from([10, 0, 0, 1]);
        assert!(is_own(&addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]]), own));
        assert!(!is_own(&addresses(&[[10, 0, 0, 2]]), own));
        assert!(!is_own(&addresses(&[]), IpAddr::from([0, 0, 0, 0])));
        assert!(is_own(&addresses(&[[10, 0, 0, 2]]), IpAddr::from([0, 0, 0, 0])));
    }
}
