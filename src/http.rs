//! HTTP clients that work in a container with nothing in it: the one place that builds them. And [`media`] types.
//!
//! A static binary runs where there may be no CA certificates (a client could then not even be built, not for plain
//! `http://` either) and no C library to resolve names with. So the roots are compiled in, names are resolved by
//! hickory, and ring is installed as the one TLS provider of the process. Servers are not made here (see `api`).
//! Used by every room that sends requests.

pub mod media;

use reqwest::{NoProxy, Proxy};
use std::sync::Once;
use std::time::Duration;

/// A peer that does not accept a connection within this time is taken to be gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client with the defaults of this project: certificates of the public web, a connect timeout, and
/// `dagpkg/<version>` as its name. It has no timeout for whole requests: streams stay open for days.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    builder()?.build()
}

/// The same, for callers that need other redirects, proxies or certificates. Proxies are those of the environment, as
/// curl reads it, but never for this machine: the addresses of the embedded cluster are all loopback, and who sets
/// `HTTP_PROXY` seldom thinks of all of 127.0.0.0/8.
pub fn builder() -> Result<reqwest::ClientBuilder, reqwest::Error> {
    install_tls_provider();
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| reqwest::Certificate::from_der(der))
        .collect::<Result<Vec<_>, _>>()?;
    let client = reqwest::Client::builder()
        .user_agent(concat!("dagpkg/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_certs_only(roots);
    with_proxies(client, |name| std::env::var(name).ok())
}

/// Takes the proxies from variables such as `https_proxy` or `HTTPS_PROXY`.
fn with_proxies(
    client: reqwest::ClientBuilder,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let either = |name: &str| {
        let given = variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
        given.filter(|value| !value.trim().is_empty())
    };
    let mut client = client.no_proxy();
    let excepted = either("no_proxy").unwrap_or_default();
    if excepted.trim() == "*" {
        return Ok(client);
    }
    let direct = format!("localhost,127.0.0.0/8,::1,{excepted}");
    let proxies = [
        either("http_proxy").map(Proxy::http),
        either("https_proxy").map(Proxy::https),
        either("all_proxy").map(Proxy::all),
    ];
    for proxy in proxies.into_iter().flatten() {
        client = client.proxy(proxy?.no_proxy(NoProxy::from_string(&direct)));
    }
    Ok(client)
}

/// Writes an error of a request with its causes, which `reqwest` does not do itself: its "error sending request" hides
/// the "connection refused" below. What only says that there was an error is left out when a cause follows.
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let says_nothing =
        |text: &String| text.starts_with("error sending request") || text.starts_with("client error (");
    let first = causes.iter().position(|text| !says_nothing(text)).unwrap_or(0);
    let mut causes = causes.split_off(first);
    // some repeat their cause at their own end
    causes.dedup_by(|cause, outer| outer.ends_with(cause.as_str()));
    causes.join(": ")
}

/// Makes ring the TLS provider of the process; clients from here do it themselves, servers must.
pub fn install_tls_provider() {
    static ONCE: Once = Once::new();
    // Fails only when a provider is installed already, and then there is one, which is all that is needed.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_be_built_more_than_once() {
        client().unwrap();
        client().unwrap();
    }

    #[tokio::test]
    async fn requests_carry_the_name_and_version_of_the_program() {
        use axum::http::HeaderMap;
        let app = axum::Router::new().route(
            "/",
            axum::routing::get(|headers: HeaderMap| async move {
                String::from_utf8_lossy(headers["user-agent"].as_bytes()).into_owned()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let answer = client().unwrap().get(format!("http://{address}/")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), format!("dagpkg/{}", env!("CARGO_PKG_VERSION")));
    }

    #[tokio::test]
    async fn proxies_are_used_for_other_machines_and_never_for_this_one() {
        async fn server(name: &'static str) -> String {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = axum::Router::new().fallback(move || async move { name });
            tokio::spawn(async move { axum::serve(listener, app).await });
            format!("http://{address}")
        }
        let (proxy, direct) = (server("proxy").await, server("direct").await);
        for (variable, url, expected) in [
            ("HTTP_PROXY", "http://service.invalid/", "proxy"),
            ("http_proxy", "http://service.invalid/", "proxy"),
            ("all_proxy", "http://service.invalid/", "proxy"),
            ("HTTP_PROXY", direct.as_str(), "direct"),
            ("ALL_PROXY", &direct.replace("127.0.0.1", "localhost"), "direct"),
        ] {
            let environment = |name: &str| (name == variable).then(|| proxy.clone());
            let client = with_proxies(builder().unwrap(), environment).unwrap().build().unwrap();
            let answer = client.get(url).send().await.unwrap().text().await.unwrap();
            assert_eq!(answer, expected, "{variable} {url}");
        }
        // 0.0.0.0 reaches this machine as well, but is not loopback.
        let other = direct.replace("127.0.0.1", "0.0.0.0");
        for (excepted, expected) in [("", "proxy"), ("0.0.0.0", "direct"), ("*", "direct")] {
            let environment = |name: &str| match name {
                "http_proxy" => Some(proxy.clone()),
                "no_proxy" => Some(excepted.to_owned()),
                _ => None,
            };
            let client = with_proxies(builder().unwrap(), environment).unwrap().build().unwrap();
            let answer = client.get(&other).send().await.unwrap().text().await.unwrap();
            assert_eq!(answer, expected, "no_proxy={excepted}");
        }
    }

    #[tokio::test]
    async fn an_explained_error_says_what_happened_and_no_more() {
        // Bound and closed again: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = client().unwrap().get(format!("http://127.0.0.1:{port}/")).send().await.unwrap_err();
        assert_eq!(explain(&error), "tcp connect error: Connection refused (os error 111)");
    }
}
