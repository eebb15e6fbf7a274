//! Subscribing, and making calls.

use super::{Backoff, Credentials, Events, Masters, StreamEnd};
use crate::http;
use crate::wire::{Call, CallType, FrameworkId, Subscribe};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode, Url};
use std::time::Duration;

/// Exactly this: with a charset a master answers 415.
const JSON: &str = "application/json";
const STREAM_ID: &str = "Mesos-Stream-Id";
/// Leaders change while a redirect is followed; more than this is a circle.
const MAX_REDIRECTS: u32 = 3;
/// Calls are accepted at once, and a subscription's first event follows at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Servers and what lies before them close idle connections, the earliest after 30 s; a call that was sent just then
/// would get no answer. So idle connections are not used again after less.
const IDLE: Duration = Duration::from_secs(20);
/// How much of an error's text is kept.
const MAX_MESSAGE_CHARS: usize = 2000;

/// A framework's way to its masters.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    masters: Masters,
    credentials: Option<Credentials>,
    /// The master in the list that answered last.
    preferred: usize,
}

/// Makes calls within one subscription. Useless once its [`Events`] have ended.
#[derive(Clone, Debug)]
pub struct Connection {
    http: reqwest::Client,
    url: Url,
    credentials: Option<Credentials>,
    stream_id: String,
    framework_id: FrameworkId,
}

/// Why a framework could not subscribe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No master could take it now; a later try may succeed.
    #[error("no master can be subscribed to: {}", join(.0))]
    Unavailable(Vec<Attempt>),
    /// The master wants credentials, or others.
    #[error("the master at {url} does not accept the credentials of this framework ({message})")]
    Unauthorized {
        /// The master.
        url: Url,
        /// What it answered.
        message: String,
    },
    /// The master does not accept what was sent; the same will not be accepted later either.
    #[error("the master at {url} refused the framework with {status}: {message}")]
    Refused {
        /// The master.
        url: Url,
        /// The status of its answer.
        status: StatusCode,
        /// What it answered.
        message: String,
    },
    /// The subscription was taken and ended at once, for instance because the framework was removed before.
    #[error("the master at {url} ended the subscription at once: {message}")]
    Ended {
        /// The master.
        url: Url,
        /// The text of the ERROR event.
        message: String,
    },
    /// The HTTP client could not be built.
    #[error("no HTTP client: {0}")]
    NoClient(String),
}

impl SubscribeError {
    /// Whether trying again later may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// One master that was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The master.
    pub url: Url,
    /// What happened.
    pub reason: String,
}

fn join(attempts: &[Attempt]) -> String {
    let each: Vec<_> =
        attempts.iter().map(|attempt| format!("{} ({})", attempt.url, attempt.reason)).collect();
    each.join(", ")
}

/// Why a call was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// 400: the master does not accept this call, or no longer this subscription.
    #[error("the master refused {kind:?}: {message}")]
    Refused {
        /// The kind of the call.
        kind: CallType,
        /// What the master answered.
        message: String,
    },
    /// 401 or 403: not subscribed, or not allowed.
    #[error("the master did not allow {kind:?}: {message}")]
    Forbidden {
        /// The kind of the call.
        kind: CallType,
        /// What the master answered.
        message: String,
    },
    /// 503: the master is not ready; 307: another one leads now. The stream will end, if it has not yet.
    #[error("the master cannot take {kind:?} now: {message}")]
    Unavailable {
        /// The kind of the call.
        kind: CallType,
        /// What the master answered.
        message: String,
    },
    /// Any other answer.
    #[error("unexpected answer {status} to {kind:?}: {message}")]
    Unexpected {
        /// The kind of the call.
        kind: CallType,
        /// The status of the answer.
        status: StatusCode,
        /// Its text.
        message: String,
    },
    /// No answer. The master may have received the call or not.
    #[error("no answer to {kind:?}: {reason}")]
    NoAnswer {
        /// The kind of the call.
        kind: CallType,
        /// What happened.
        reason: String,
    },
}

impl Client {
    /// A client for the masters of one cluster.
    pub fn new(masters: Masters, credentials: Option<Credentials>) -> Result<Self, SubscribeError> {
        // Redirects of a POST are followed here, to keep the body. Masters are inside the cluster: no proxy.
        let http = http::builder()
            .and_then(|builder| {
                let redirects = reqwest::redirect::Policy::none();
                builder.redirect(redirects).no_proxy().pool_idle_timeout(IDLE).build()
            })
            .map_err(|error| SubscribeError::NoClient(http::explain(&error)))?;
        Ok(Self { http, masters, credentials, preferred: 0 })
    }

    /// Subscribes with the first master that takes it, beginning with the one that answered last. When
    /// `framework_info.id` is set, the framework is taken over: an older stream of it ends. Returns when SUBSCRIBED
    /// has arrived, which is then the first of the events.
    pub async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(Connection, Events), SubscribeError> {
        let call = Call {
            r#type: CallType::Subscribe,
            framework_id: subscribe.framework_info.id.clone(),
            subscribe: Some(subscribe.clone()),
            ..Call::default()
        };
        let count = self.masters.urls().len();
        let mut failed = Vec::new();
        for index in (0..count).map(|offset| (self.preferred + offset) % count) {
            match self.subscribe_at(self.masters.urls()[index].clone(), &call).await {
                Ok(subscription) => {
                    self.preferred = index;
                    return Ok(subscription);
                }
                Err(SubscribeError::Unavailable(attempts)) => failed.extend(attempts),
                Err(error) => return Err(error),
            }
        }
        Err(SubscribeError::Unavailable(failed))
    }

    /// Subscribes, however long it takes until a master is there. Only errors that waiting does not mend are
    /// returned. The caller resets the back-off when the subscription has lasted.
    pub async fn connect(
        &mut self,
        subscribe: &Subscribe,
        backoff: &mut Backoff,
    ) -> Result<(Connection, Events), SubscribeError> {
        loop {
            match self.subscribe(subscribe).await {
                Err(error) if error.is_temporary() => {
                    let pause = backoff.next_pause();
                    tracing::warn!(%error, retry_in_ms = pause.as_millis(), "not subscribed");
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn subscribe_at(&self, mut url: Url, call: &Call) -> Result<(Connection, Events), SubscribeError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = post(&self.http, &url, self.credentials.as_ref(), None, call)
                .await
                .map_err(|reason| unavailable(&url, reason))?;
            match response.status() {
                StatusCode::OK => return self.begin(url, response).await,
                StatusCode::TEMPORARY_REDIRECT => url = leader(&url, &response)?,
                status => return Err(not_subscribed(url, status, message(response).await)),
            }
        }
        Err(unavailable(&url, "the masters redirect in a circle".to_owned()))
    }

    /// Waits for the first event, since only it tells whether the subscription holds.
    async fn begin(&self, url: Url, response: Response) -> Result<(Connection, Events), SubscribeError> {
        let stream_id = response
            .headers()
            .get(STREAM_ID)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| unavailable(&url, format!("no {STREAM_ID}: this is not a Mesos master")))?
            .to_owned();
        let mut events = Events::new(response);
        let first = tokio::time::timeout(ANSWER_TIMEOUT, events.first())
            .await
            .map_err(|_| unavailable(&url, "no event came".to_owned()))?;
        let event = match first {
            Ok(event) => event,
            Err(StreamEnd::Error(message)) => return Err(SubscribeError::Ended { url, message }),
            Err(end) => return Err(unavailable(&url, end.to_string())),
        };
        let Some(subscribed) = &event.subscribed else {
            return Err(unavailable(&url, format!("{:?} came before SUBSCRIBED", event.r#type)));
        };
        let framework_id = subscribed.framework_id.clone();
        tracing::info!(%url, framework = %framework_id, "subscribed");
        let connection = Connection {
            http: self.http.clone(),
            url,
            credentials: self.credentials.clone(),
            stream_id,
            framework_id,
        };
        Ok((connection, events))
    }
}

impl Connection {
    /// The framework, as the master names it.
    pub fn framework_id(&self) -> &FrameworkId {
        &self.framework_id
    }

    /// Makes a call; the framework's id is filled in. `Ok` means that the master took the call, not that what it
    /// asks for will happen: that is told by events, which can even arrive before this returns. Calls that
    /// must arrive in order have to be awaited one after the other.
    pub async fn call(&self, call: &Call) -> Result<(), CallError> {
        let kind = call.r#type;
        tracing::debug!(?kind, "call");
        let call = Call { framework_id: Some(self.framework_id.clone()), ..call.clone() };
        let response = post(&self.http, &self.url, self.credentials.as_ref(), Some(&self.stream_id), &call)
            .await
            .map_err(|reason| CallError::NoAnswer { kind, reason })?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::OK) {
            return Ok(());
        }
        let message = message(response).await;
        Err(match status {
            StatusCode::BAD_REQUEST => CallError::Refused { kind, message },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::Forbidden { kind, message },
            StatusCode::SERVICE_UNAVAILABLE => CallError::Unavailable { kind, message },
            StatusCode::TEMPORARY_REDIRECT => {
                CallError::Unavailable { kind, message: "another master leads now".to_owned() }
            }
            status => CallError::Unexpected { kind, status, message },
        })
    }
}

/// Sends a call and waits for the head of the answer.
async fn post(
    http: &reqwest::Client,
    url: &Url,
    credentials: Option<&Credentials>,
    stream_id: Option<&str>,
    call: &Call,
) -> Result<Response, String> {
    let body = serde_json::to_vec(call).map_err(|error| error.to_string())?;
    let mut request = http.post(url.clone()).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON).body(body);
    if let Some(stream_id) = stream_id {
        request = request.header(STREAM_ID, stream_id);
    }
    if let Some(credentials) = credentials {
        request = request.basic_auth(credentials.principal(), Some(credentials.secret()));
    }
    match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(http::explain(&error.without_url())),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

/// Where a master that does not lead sends us: `//host:port/…`, relative to the scheme.
fn leader(url: &Url, response: &Response) -> Result<Url, SubscribeError> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| unavailable(url, "a redirect to nowhere".to_owned()))?;
    let leader = url
        .join(location)
        .map_err(|error| unavailable(url, format!("a redirect to {location:?}: {error}")))?;
    tracing::debug!(%url, %leader, "redirected to the leading master");
    Ok(leader)
}

fn not_subscribed(url: Url, status: StatusCode, message: String) -> SubscribeError {
    match status {
        StatusCode::UNAUTHORIZED => SubscribeError::Unauthorized { url, message },
        // A master that starts answers 503 (and 404 before its API is there), a proxy before it 502 or 504.
        status if status.is_server_error() || status == StatusCode::NOT_FOUND => {
            unavailable(&url, format!("{status}: {message}"))
        }
        status => SubscribeError::Refused { url, status, message },
    }
}

fn unavailable(url: &Url, reason: String) -> SubscribeError {
    SubscribeError::Unavailable(vec![Attempt { url: url.clone(), reason }])
}

/// The text of an answer, in bounds.
async fn message(response: Response) -> String {
    let text = match tokio::time::timeout(ANSWER_TIMEOUT, response.text()).await {
        Ok(Ok(text)) => text,
        _ => String::new(),
    };
    let text = text.trim();
    if text.is_empty() { "no explanation".to_owned() } else { text.chars().take(MAX_MESSAGE_CHARS).collect() }
}
