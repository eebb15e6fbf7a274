//! Reading a package repository over HTTP, by the rules of DC/OS' package service: what it asks for, and what it takes.
//!
//! What is in the repository is not looked at here. Used by `verify`, and by the embedded package service.

use crate::http::media::MediaType;
use crate::package::repository::Format;
use futures_util::StreamExt as _;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT};
use reqwest::redirect::{Attempt, Policy};
use std::io::Read as _;

/// Largest repository that is read, packed or not; the public one has about 10 MB.
pub const MAX_SIZE: u64 = 64 << 20;
/// As many redirects as Java's client follows.
const MAX_REDIRECTS: usize = 20;

/// A repository as it was sent.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The format that its media type names; none if it names none, which is allowed.
    pub format: Option<Format>,
    /// Its text, unpacked.
    pub text: Vec<u8>,
}

/// Why a repository is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no answer, or it broke off.
    #[error("{0}")]
    Connection(String),
    /// Only 200 is taken.
    #[error("the answer is {0}, and only 200 is taken")]
    Status(u16),
    /// Redirects are followed within http or https only.
    #[error("the answer is {status}, which leads to {location}: the package service does not follow it")]
    Redirect {
        /// The status.
        status: u16,
        /// Where it leads.
        location: String,
    },
    /// The media type is not that of a repository.
    #[error("the Content-Type is {}, and only {} with `;charset=utf-8` and `;version=v3`, `v4` or `v5` is taken",
        .0.as_deref().unwrap_or("missing"), TYPE)]
    ContentType(Option<String>),
    /// Only gzip is unpacked.
    #[error("the Content-Encoding is {0}, and only gzip is taken")]
    Encoding(String),
    /// It cannot be unpacked.
    #[error("the answer is no gzip: {0}")]
    Gzip(std::io::Error),
    /// It is larger than [`MAX_SIZE`].
    #[error("the repository is larger than {MAX_SIZE} bytes")]
    TooLarge,
}

/// The media type of repositories without its parameters.
const TYPE: &str = "application/vnd.dcos.universe.repo+json";

impl FetchError {
    fn connection(error: &reqwest::Error) -> Self {
        Self::Connection(crate::http::explain(error))
    }
}

/// A client that follows redirects as the package service does: not from http to https, nor back.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    let same_scheme = |attempt: Attempt| match attempt.previous().last() {
        Some(last) if last.scheme() == attempt.url().scheme() => {
            if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else {
                attempt.follow()
            }
        }
        _ => attempt.stop(),
    };
    crate::http::builder()?.redirect(Policy::custom(same_scheme)).build()
}

/// Fetches a repository in one of the formats that the package service knows.
pub async fn repository(client: &reqwest::Client, uri: &str) -> Result<Fetched, FetchError> {
    let newest_first: Vec<_> = Format::ALL.into_iter().rev().map(Format::media_type).collect();
    let request = client
        .get(uri)
        .header(ACCEPT, newest_first.join(","))
        .header(ACCEPT_ENCODING, "gzip")
        .header(USER_AGENT, concat!("cosmos/0.6.3 dcos/2.2 dagpkg/", env!("CARGO_PKG_VERSION")));
    let response = request.send().await.map_err(|error| FetchError::connection(&error))?;
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    if status != 200 {
        return Err(match header(LOCATION).filter(|_| matches!(status, 301..=303 | 307 | 308)) {
            Some(location) => FetchError::Redirect { status, location },
            None => FetchError::Status(status),
        });
    }
    let format = format_of(header(CONTENT_TYPE))?;
    let encoding = header(CONTENT_ENCODING).unwrap_or_default();
    let body = read(response).await?;
    let text = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => body,
        "gzip" => unpack(&body)?,
        _ => return Err(FetchError::Encoding(encoding)),
    };
    Ok(Fetched { format, text })
}

/// The format that a media type names, if any. Of what the media types of repositories say some may be missing, but
/// nothing may be different.
fn format_of(content_type: Option<String>) -> Result<Option<Format>, FetchError> {
    let media = MediaType::parse(content_type.as_deref().unwrap_or_default());
    let fits = |format: &Format| MediaType::parse(format.media_type()).includes(&media);
    match Format::ALL.into_iter().find(fits) {
        Some(format) => Ok(media.parameters.contains_key("version").then_some(format)),
        None => Err(FetchError::ContentType(content_type)),
    }
}

async fn read(response: reqwest::Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        body.extend_from_slice(&part.map_err(|error| FetchError::connection(&error))?);
        if body.len() as u64 > MAX_SIZE {
            return Err(FetchError::TooLarge);
        }
    }
    Ok(body)
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, FetchError> {
    let mut text = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(MAX_SIZE + 1).read_to_end(&mut text);
    read.map_err(FetchError::Gzip)?;
    if text.len() as u64 > MAX_SIZE { Err(FetchError::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::IntoResponse as _;
    use axum::routing::get;

    const V4: &str = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What a server with this one answer is asked for, and what becomes of the answer.
    async fn outcome(
        status: u16,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Fetched, FetchError> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let answer = move |request: HeaderMap| async move {
            assert!(
                request["accept"].to_str().unwrap().starts_with("application/vnd.dcos.universe.repo+json;")
            );
            assert!(request["accept"].to_str().unwrap().ends_with("version=v3"));
            assert_eq!(request["accept-encoding"], "gzip");
            assert!(request["user-agent"].to_str().unwrap().contains("dcos/2.2"));
            let mut response = body.into_response();
            *response.status_mut() = status.try_into().unwrap();
            response.headers_mut().remove("content-type");
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        };
        let app = Router::new().route("/", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        repository(&client().unwrap(), &uri).await
    }

    #[tokio::test]
    async fn the_media_types_of_repositories_are_taken() {
        let kind = "application/vnd.dcos.universe.repo+json";
        let cases = [
            (format!("{kind};charset=utf-8;version=v3"), Some(Some(Format::V3))),
            (format!("{kind}; version=v5; charset=UTF-8"), Some(Some(Format::V5))),
            (format!("{kind};version=v4"), Some(Some(Format::V4))),
            (format!("{kind};charset=utf-8"), Some(None)),
            (kind.to_owned(), Some(None)),
            (format!("{kind};charset=utf-8;version=v6"), None),
            (format!("{kind};charset=latin-1"), None),
            (format!("{kind};charset=utf-8;other=1"), None),
            ("application/json".to_owned(), None),
        ];
        for (content_type, format) in cases {
            let fetched = outcome(200, &[("content-type", &content_type)], b"{}".to_vec()).await;
            assert_eq!(fetched.ok().map(|fetched| fetched.format), format, "{content_type}");
        }
        let missing = outcome(200, &[], b"{}".to_vec()).await.unwrap_err().to_string();
        assert!(missing.starts_with("the Content-Type is missing"), "{missing}");
    }

    #[tokio::test]
    async fn gzip_is_unpacked_and_nothing_else() {
        let (plain, packed) = (b"{\"packages\": []}", gzip(b"{\"packages\": []}"));
        let of = async |encoding: &str, body: &[u8]| {
            outcome(200, &[("content-type", V4), ("content-encoding", encoding)], body.to_vec()).await
        };
        assert_eq!(of("gzip", &packed).await.unwrap().text, plain);
        assert!(matches!(of("gzip", plain).await, Err(FetchError::Gzip(_))));
        assert!(matches!(of("br", plain).await, Err(FetchError::Encoding(_))));
        let bomb = gzip(&vec![b' '; usize::try_from(MAX_SIZE).unwrap() + 1]);
        assert!(matches!(of("gzip", &bomb).await, Err(FetchError::TooLarge)));
    }

    #[tokio::test]
    async fn only_a_repository_that_is_there_is_taken() {
        assert!(matches!(outcome(404, &[("content-type", V4)], vec![]).await, Err(FetchError::Status(404))));
        for location in ["https://127.0.0.1:1/", "file:///etc/passwd", "ftp://127.0.0.1/"] {
            let error = outcome(302, &[("location", location)], vec![]).await.unwrap_err().to_string();
            assert!(error.contains(location) && error.contains("302"), "{error}");
        }
    }

    #[tokio::test]
    async fn redirects_of_the_same_scheme_are_followed_but_not_for_ever() {
        let there = || async { ([("content-type", V4)], "{}") };
        let round = || async { (axum::http::StatusCode::FOUND, [("location", "/round")]) };
        let from = || async { (axum::http::StatusCode::MOVED_PERMANENTLY, [("location", "/there")]) };
        let app =
            Router::new().route("/from", get(from)).route("/there", get(there)).route("/round", get(round));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = client().unwrap();
        assert_eq!(repository(&client, &format!("{uri}/from")).await.unwrap().text, b"{}");
        let error = repository(&client, &format!("{uri}/round")).await.unwrap_err();
        assert!(matches!(error, FetchError::Connection(_)), "{error}");
    }
}
