//! The DC/OS face of the embedded cluster: Marathon, Cosmos and the way to each service, at one address.
//!
//! What Admin Router is on DC/OS, as far as a package and its command line need it: `/v2` and `/service/marathon`
//! (Marathon), `/package` and `/capabilities` (Cosmos), and `/service/<name>/…`, which leads to the HTTP API of the app
//! with that `DCOS_SERVICE_NAME`. No users, no TLS: whoever can connect may do everything, so it is only for loopback,
//! and requests that a web page of somewhere else makes are refused. Served by `dagpkg up`.

use super::cosmos::{self, Cosmos};
use super::marathon::{self, Marathon};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

/// Headers that are about one connection and not about the message.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// All routes. `client` makes the requests to services and must not follow redirects.
pub fn router(marathon: &Marathon, cosmos: Cosmos, client: reqwest::Client) -> Router {
    let marathon_routes = marathon::routes::router(marathon.clone());
    let services = any(to_service).with_state((marathon.clone(), client));
    Router::new()
        .nest("/service/marathon", marathon_routes.clone())
        .nest("/marathon", marathon_routes.clone())
        .route("/service/{*path}", services)
        .merge(cosmos::routes::router(cosmos))
        .merge(marathon_routes)
        .layer(middleware::from_fn(refuse_other_sites))
}

/// A page in a browser on this machine can send requests here, whatever site it is from. It cannot hide where it is
/// from, though: in `Origin`, or (with a name of its own that leads to loopback) in `Host`.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if is_from_elsewhere(request.headers()) {
        return (StatusCode::FORBIDDEN, "requests from other sites are refused\n").into_response();
    }
    next.run(request).await
}

fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|h: &header::HeaderValue| h.to_str().unwrap_or("?"));
    let host = text(header::HOST);
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    host.is_some_and(|host| !is_loopback(host))
        || origin.is_some_and(|origin| origin.is_none() || origin != host)
}

/// Whether a `Host` header names this machine's loopback network.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.is_ok_and(|a| a.is_loopback())
        || name.eq_ignore_ascii_case("localhost")
        || crate::wire::vip::is_local(name)
}

/// Passes a request on to the service whose name its path begins with.
async fn to_service(
    State((marathon, client)): State<(Marathon, reqwest::Client)>,
    request: Request,
) -> Response {
    let Some((port, rest)) = find_service(&marathon, request.uri()) else {
        return (StatusCode::NOT_FOUND, "no running service has that name\n").into_response();
    };
    let (parts, body) = request.into_parts();
    let forwarded = client
        .request(parts.method, format!("http://127.0.0.1:{port}{rest}"))
        .headers(without_hop_by_hop(&parts.headers))
        .body(reqwest::Body::wrap_stream(body.into_data_stream()));
    match forwarded.send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), without_hop_by_hop(answer.headers()));
            (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
        }
        Err(e) => {
            let text = format!("the service does not answer: {}\n", crate::http::explain(&e));
            (StatusCode::BAD_GATEWAY, text).into_response()
        }
    }
}

/// The port of the service with the longest name that the path begins with (names may hold slashes), and what is left
/// of path and query.
fn find_service(marathon: &Marathon, uri: &Uri) -> Option<(u16, String)> {
    let path = uri.path().strip_prefix("/service/")?;
    let query = uri.query().map_or(String::new(), |q| format!("?{q}"));
    let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
    let mut found =
        ends.filter_map(|end| Some((marathon.service_port(&path[..end])?, end))).collect::<Vec<_>>();
    let (port, end) = found.pop()?;
    let rest = if end == path.len() { "/" } else { &path[end..] };
    Some((port, format!("{rest}{query}")))
}

fn without_hop_by_hop(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
    // the length is kept with the body, which is passed on as it is
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_web_pages_from_elsewhere_are_recognized() {
        let headers = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, header::HeaderValue::from_static(host));
            origin.map(|o| headers.insert(header::ORIGIN, header::HeaderValue::from_static(o)));
            headers
        };
        assert!(!is_from_elsewhere(&headers("127.0.0.1:80", None)));
        assert!(!is_from_elsewhere(&headers("localhost:80", Some("http://localhost:80"))));
        for (host, origin) in [
            ("evil.example", None),
            ("127.0.0.1:80", Some("http://evil.example")),
            ("127.0.0.1:80", Some("http://127.0.0.1:81")),
            ("127.0.0.1:80", Some("null")),
        ] {
            assert!(is_from_elsewhere(&headers(host, origin)), "{host} {origin:?}");
        }
    }

    #[test]
    fn only_names_of_loopback_are_taken_as_host() {
        for host in [
            "127.0.0.1:5050",
            "127.9.9.9",
            "localhost",
            "LOCALHOST:80",
            "a.b.localhost:1",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["example.org", "127.0.0.1.example.org:80", "localhost.example.org", "10.0.0.1:80", "", "?"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
