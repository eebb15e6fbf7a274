//! Requests to the HTTP API of a running scheduler, and its refusals in words that help.
//!
//! Shared by `dagpkg plan` and the package's own `dcos` subcommand, which differ only in how they find the address and
//! in the flags that their hints name. Paths and answers are those of the DC/OS SDK's schedulers.

use crate::http;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;
use std::time::Duration;

/// A scheduler answers from memory.
const TIMEOUT: Duration = Duration::from_mins(1);

/// One scheduler, as seen from the command line.
#[derive(Debug)]
pub struct ServiceClient {
    http: reqwest::Client,
    /// Ends with a slash; `v1/…` follows.
    base: Url,
    authorization: Option<HeaderValue>,
    hints: Hints,
}

/// What the person at the terminal can do when something is not found or not allowed.
#[derive(Clone, Debug)]
pub struct Hints {
    /// The service, as it was asked for.
    pub service: String,
    /// How another service is chosen, for instance ``give another with `--name` ``.
    pub choose_service: &'static str,
    /// How to log in.
    pub log_in: &'static str,
}

/// How the certificate of an `https` address is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Against the certificates of the public web.
    #[default]
    Public,
    /// Against those in a file, PEM.
    Authority(std::path::PathBuf),
    /// Not at all.
    Unchecked,
}

/// An answer with any status.
#[derive(Debug)]
pub struct Answer {
    method: Method,
    url: Url,
    /// The status; see [`ServiceClient::accept`].
    pub status: StatusCode,
    /// The text of the answer.
    pub body: String,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The address cannot be one.
    #[error("{url:?} is not the address of a cluster or service ({reason}): expected http://host:port")]
    BadAddress {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be built, for instance for an unreadable certificate file.
    #[error("{0}")]
    NoClient(String),
    /// The token is no text that a header can carry.
    #[error("the token holds characters that no HTTP header can carry; log in again to get another")]
    BadToken,
    /// No answer at all.
    #[error("cannot reach {url}: {reason}{}", tls_hint(.reason))]
    Unreachable {
        /// Where to.
        url: String,
        /// What happened.
        reason: String,
    },
    /// 208: nothing to do.
    #[error("the command has already been issued, or the plan has completed")]
    AlreadyDone,
    /// The scheduler answered, but does not confirm the command.
    #[error("{0}: the scheduler did not confirm it")]
    NotDone(String),
    /// The scheduler knows no plan, phase, step or pod of that name.
    #[error("{0}: see which ones there are with `plan list`, `plan show <plan>` or `pod list`")]
    NoSuchElement(String),
    /// Any other refusal, of the scheduler or of something before it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer should have been JSON.
    #[error("{url} did not answer with JSON ({reason}): is this the address of a scheduler?{}", response(.body))]
    NotJson {
        /// Where to.
        url: String,
        /// What the parser said.
        reason: String,
        /// The text of the answer.
        body: String,
    },
}

/// A request that was refused, and what can be done about it.
#[derive(Debug)]
pub struct Refusal {
    answer: Answer,
    /// For a person; empty when nothing is known.
    advice: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Answer { method, url, status, body } = &self.answer;
        write!(f, "{method} {url} answered {status}{}{}", self.advice, response(body))
    }
}

fn response(body: &str) -> String {
    let body = body.trim();
    if body.is_empty() {
        return String::new();
    }
    // enough for any message; web pages of proxies are longer
    format!("\nResponse: {}", body.chars().take(1000).collect::<String>())
}

fn tls_hint(reason: &str) -> &'static str {
    if reason.contains("certificate") {
        "\nThe certificate of the cluster is signed by an authority that is not known here: give its file with \
         `dcos config set core.ssl_verify <file>` or DCOS_TLS_CA_PATH, or skip the check with `--force-insecure`"
    } else {
        ""
    }
}

impl ServiceClient {
    /// A client for the scheduler at `base`, to which `/v1/…` is added.
    pub fn new(base: &str, token: Option<&str>, tls: &Tls, hints: Hints) -> Result<Self, ServiceError> {
        let bad = |reason: String| ServiceError::BadAddress { url: base.to_owned(), reason };
        let mut url = Url::parse(base).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(format!("unknown scheme {:?}", url.scheme())));
        }
        url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
        let authorization = token
            .filter(|token| !token.is_empty())
            .map(|token| HeaderValue::from_str(&format!("token={token}")))
            .transpose()
            .map_err(|_| ServiceError::BadToken)?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Ok(Self { http: http_client(tls)?, base: url, authorization, hints })
    }

    /// The address of a service's scheduler behind the front of a DC/OS cluster.
    pub fn address_in_cluster(cluster: &str, service: &str) -> String {
        format!("{}/service/{}", cluster.trim_end_matches('/'), service.trim_matches('/'))
    }

    /// A GET of `v1` and these names below it. Any answer is returned, see [`Self::accept`].
    pub async fn get(&self, path: &[&str]) -> Result<Answer, ServiceError> {
        self.send(Method::GET, path, &[], None).await
    }

    /// A POST to `v1` and these names below it.
    pub async fn post(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, ServiceError> {
        self.send(Method::POST, path, query, body).await
    }

    /// A PUT to `v1` and these names below it.
    pub async fn put(&self, path: &[&str]) -> Result<Answer, ServiceError> {
        self.send(Method::PUT, path, &[], None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, ServiceError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let unreachable = |error: reqwest::Error| ServiceError::Unreachable {
            url: url.to_string(),
            reason: http::explain(&error.without_url()),
        };
        let mut request = self.http.request(method.clone(), url.clone()).timeout(TIMEOUT);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        tracing::info!(%method, %url, %status, "request");
        let body = response.text().await.map_err(unreachable)?;
        Ok(Answer { method, url, status, body })
    }

    /// Lets answers of any 2xx status pass and explains the others.
    pub fn accept(&self, answer: Answer) -> Result<Answer, ServiceError> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        if answer.status == StatusCode::NOT_FOUND && names_an_element(&answer.body) {
            return Err(ServiceError::NoSuchElement(answer.body.trim().to_owned()));
        }
        let Hints { service, choose_service, log_in } = &self.hints;
        let advice = match answer.status {
            StatusCode::UNAUTHORIZED => format!(": {log_in}"),
            StatusCode::NOT_FOUND => format!(
                ": there is no such item, or no service {service:?} in this cluster; {choose_service}"
            ),
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => format!(
                ": the scheduler of the service {service:?} cannot be reached. If the service was installed or updated \
                 just now, wait a moment and try again; otherwise check its name, {choose_service}"
            ),
            _ => String::new(),
        };
        Err(ServiceError::Refused(Box::new(Refusal { answer, advice })))
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value, ServiceError> {
        serde_json::from_str(&self.body).map_err(|error| ServiceError::NotJson {
            url: self.url.to_string(),
            reason: error.to_string(),
            body: self.body.clone(),
        })
    }

    /// The body for a terminal: JSON indented by two, other text as it is, always ended by a newline.
    pub fn pretty(&self) -> String {
        let text = serde_json::from_str::<Value>(&self.body)
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or_else(|_| self.body.clone());
        format!("{}\n", text.trim_end())
    }
}

/// Whether a 404 comes from the scheduler, which names what it lacks: `Plan x not found`, and in older versions
/// `Element not found`.
fn names_an_element(body: &str) -> bool {
    let body = body.trim();
    ["Element", "Plan ", "Phase ", "Step ", "Pod "].iter().any(|kind| body.starts_with(kind))
        && body.ends_with("not found")
        && !body.contains('\n')
}

fn http_client(tls: &Tls) -> Result<reqwest::Client, ServiceError> {
    let no_client = |error: reqwest::Error| ServiceError::NoClient(http::explain(&error));
    let builder = http::builder().map_err(no_client)?;
    let builder = match tls {
        Tls::Public => builder,
        Tls::Unchecked => builder.tls_danger_accept_invalid_certs(true),
        Tls::Authority(path) => {
            let unusable = |reason: String| {
                ServiceError::NoClient(format!("cannot use the certificates in {}: {reason}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| unusable(http::explain(&error)))?;
            if certificates.is_empty() {
                return Err(unusable("there is none in it; expected PEM".to_owned()));
            }
            builder.tls_certs_only(certificates)
        }
    };
    builder.build().map_err(no_client)
}
