//! A small web server for one folder of packages, read-only.
//!
//! It answers GET and HEAD, with ETag, and gives a stub universe the media type that DC/OS insists on. It isn't made for
//! the open internet: no TLS, no ranges, no listings. Used by `dagpkg serve` and, in the same process, by `dagpkg up`.

use crate::package::sources::is_stub_file_name;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The port of `dagpkg serve`, and of the URLs in packages that are built without another address.
pub const DEFAULT_PORT: u16 = 8190;

/// A running server. It stops when this is dropped, or, after its last answers, by [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the port is a real one also when it was asked for as 0.
    pub addr: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// The URL of the folder, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends requests that are under way, then the server.
    pub async fn stop(self) {
        // it may have ended already
        let _ = self.shutdown.send(());
        let _ = self.task.await;
    }
}

/// Serves a folder at an address, until the returned server is stopped or dropped.
pub async fn start(folder: &Path, addr: SocketAddr) -> io::Result<Server> {
    let root = folder.canonicalize()?;
    if !root.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
    }
    let listener = tokio::net::TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let app = axum::Router::new().fallback(answer).with_state(root);
    let (shutdown, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        // also when the sender is dropped
        let stop = async move { drop(stopped.await) };
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the package server ended");
        }
    });
    Ok(Server { addr, shutdown, task })
}

async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let response = match resolve(&root, request.uri().path()) {
        Some(path) => file(&path, request.headers(), method == Method::HEAD).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    response.unwrap_or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return (StatusCode::NOT_FOUND, "no such file\n").into_response();
        }
        tracing::warn!(%error, path = request.uri().path(), "cannot serve a file");
        (StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n").into_response()
    })
}

/// The file that a request's path means, if it is in the folder: neither `..` nor a link leads out of it.
fn resolve(root: &Path, request_path: &str) -> Option<PathBuf> {
    let decoded = percent_decoded(request_path.strip_prefix('/')?)?;
    let ordinary = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\0', '\\']);
    if !decoded.split('/').all(ordinary) {
        return None;
    }
    let path = root.join(decoded).canonicalize().ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

async fn file(path: &Path, request: &HeaderMap, head: bool) -> io::Result<Response> {
    let file = tokio::fs::File::open(path).await?;
    let metadata = file.metadata().await?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let etag = format!("\"{:x}-{:x}\"", modified.as_nanos(), metadata.len());
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let content_type = if is_stub_file_name(&name) {
        repository_type(request)
    } else {
        "application/octet-stream".to_owned()
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_LENGTH, metadata.len().to_string()),
        (header::ETAG, etag),
        (header::VARY, "Accept".to_owned()),
    ];
    let body = if head { Body::empty() } else { Body::from_stream(tokio_util::io::ReaderStream::new(file)) };
    Ok((headers, body).into_response())
}

/// The media type of a repository in the version that the client likes best, of those that Cosmos knows; 4 for others.
fn repository_type(request: &HeaderMap) -> String {
    let accept = request.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0.0, 4);
    for entry in accept.flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        if !parts.next().is_some_and(|t| t.eq_ignore_ascii_case("application/vnd.dcos.universe.repo+json")) {
            continue;
        }
        let (mut quality, mut version) = (1.0_f64, None);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match name.trim() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => version = ["v3", "v4", "v5"].iter().position(|v| *v == value.trim()),
                _ => {}
            }
        }
        if let Some(index) = version
            && quality > best.0
        {
            best = (quality, index + 3);
        }
    }
    format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version=v{}", best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Fixture {
        folder: tempfile::TempDir,
        server: Server,
        client: reqwest::Client,
    }

    impl Fixture {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("out")).unwrap();
            std::fs::write(folder.path().join("secret"), "s").unwrap();
            std::fs::write(folder.path().join("out/stub-universe-x.json"), "{\"packages\":[]}").unwrap();
            std::fs::write(folder.path().join("out/a b.bin"), [0, 255]).unwrap();
            std::fs::write(folder.path().join("out/.hidden"), "h").unwrap();
            std::os::unix::fs::symlink("../secret", folder.path().join("out/link")).unwrap();
            let server = start(&folder.path().join("out"), ([127, 0, 0, 1], 0).into()).await.unwrap();
            Self { folder, server, client: crate::http::client().unwrap() }
        }

        fn get(&self, path: &str) -> reqwest::RequestBuilder {
            self.client.get(format!("{}{path}", self.server.url()))
        }

        async fn status(&self, path: &str) -> u16 {
            self.get(path).send().await.unwrap().status().as_u16()
        }
    }

    #[tokio::test]
    async fn files_are_served_with_type_length_and_etag() {
        let fixture = Fixture::start().await;
        let answer = fixture.get("/a%20b.bin").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert_eq!(answer.headers()["content-length"], "2");
        let etag = answer.headers()["etag"].clone();
        assert_eq!(answer.bytes().await.unwrap().as_ref(), [0, 255]);

        let again = fixture.get("/a%20b.bin").header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        std::fs::write(fixture.folder.path().join("out/a b.bin"), "longer").unwrap();
        let changed = fixture.get("/a%20b.bin").header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((changed.status().as_u16(), changed.text().await.unwrap()), (200, "longer".to_owned()));
    }

    #[tokio::test]
    async fn head_answers_as_get_without_a_body() {
        let fixture = Fixture::start().await;
        let url = format!("{}/stub-universe-x.json", fixture.server.url());
        let answer = fixture.client.head(url).send().await.unwrap();
        assert_eq!(answer.headers()["content-length"], "15");
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_stub_universe_has_the_type_that_the_package_service_asks_for() {
        let fixture = Fixture::start().await;
        let kind = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v";
        let cases = [
            (String::new(), 4),
            ("*/*".to_owned(), 4),
            (format!("{kind}5,{kind}4,{kind}3"), 5),
            (format!("{kind}3;q=0.5, {kind}4;q=0.9"), 4),
            (format!("{kind}9,{kind}3"), 3),
            (format!("{kind}5;q=0,application/json"), 4),
        ];
        for (accept, version) in cases {
            let answer = fixture.get("/stub-universe-x.json").header("accept", &accept).send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], format!("{kind}{version}"), "{accept}");
        }
    }

    #[tokio::test]
    async fn nothing_outside_of_the_folder_is_served() {
        let fixture = Fixture::start().await;
        let paths = [
            "/",
            "/nothing",
            "/link",
            "/.hidden",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/%2fetc/passwd",
            "/%",
            "/%0g",
        ];
        for path in paths {
            assert_eq!(fixture.status(path).await, 404, "{path}");
        }
        // clients tidy such paths away, so it is said by hand
        let mut stream = tokio::net::TcpStream::connect(fixture.server.addr).await.unwrap();
        stream.write_all(b"GET /../secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[tokio::test]
    async fn only_reading_is_allowed() {
        let fixture = Fixture::start().await;
        let answer = fixture.client.post(fixture.server.url()).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()),
            (405, "GET, HEAD")
        );
    }

    #[tokio::test]
    async fn a_stopped_server_does_not_listen_any_more() {
        let Fixture { folder: _folder, server, client } = Fixture::start().await;
        let addr = server.addr;
        drop(client);
        server.stop().await;
        assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error() {
        let addr = ([127, 0, 0, 1], 0).into();
        assert!(start(Path::new("/nonexistent"), addr).await.is_err());
        assert!(start(Path::new("/etc/passwd"), addr).await.is_err());
    }
}
