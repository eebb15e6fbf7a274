//! The requests of the AWS SDK, sent by this project's own HTTP client.
//!
//! So they have its compiled-in roots, its resolver and its proxies, and the process needs no second TLS setup. What the
//! SDK leaves to its connectors is here: a peer that neither takes bytes nor gives any is given up. Retries, signatures
//! and credentials are the SDK's business. Used by [`super::S3`] for S3 and for all sources of credentials.

use crate::http;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use bytes::Bytes;
use futures_util::Stream;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a peer may be silent, both ways, in a request for which the SDK sets no limit of its own. S3 may think for a
/// while before it answers; what is still on its way in socket buffers needs time on a slow line, too.
const SILENCE: Duration = Duration::from_mins(1);

/// Bytes that are handed over at once; each piece that is taken counts as a sign of life.
const PIECE: usize = 64 * 1024;

/// The longest answer. Those that are needed here are XML or JSON of some kilobytes.
const MAX_ANSWER: usize = 8 << 20;

/// Sends requests for the SDK.
#[derive(Clone, Debug)]
pub struct Connector {
    client: reqwest::Client,
    silence: Duration,
}

impl Connector {
    /// Makes a connector. `roots` are accepted beside those of the public web: for servers with certificates of their own.
    pub fn new(roots: Vec<reqwest::Certificate>) -> Result<Self, reqwest::Error> {
        // A redirect of S3 says that the region is wrong; the SDK must see it.
        let client =
            http::builder()?.tls_certs_merge(roots).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, silence: SILENCE })
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (parts, body) = request.into_parts();
        let (alive, signs) = watch::channel(());
        let mut request = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        if body.content_length() != Some(0) {
            request = request.body(reqwest::Body::wrap_stream(pieces(body, alive)));
        }
        let mut response = with_signs(self.silence, signs, request.send()).await?.map_err(connector_error)?;

        let mut answer = Vec::new();
        while let Some(bytes) = timeout(self.silence, response.chunk())
            .await
            .map_err(|_| silent(self.silence))?
            .map_err(connector_error)?
        {
            if answer.len() + bytes.len() > MAX_ANSWER {
                let message = format!("the answer is longer than {MAX_ANSWER} bytes");
                return Err(ConnectorError::other(message.into(), None));
            }
            answer.extend_from_slice(&bytes);
        }
        let mut result = HttpResponse::new(response.status().into(), SdkBody::from(answer));
        for (name, value) in response.headers() {
            result
                .headers_mut()
                .try_append(name.clone(), value.clone())
                .map_err(|error| ConnectorError::other(error.into(), None))?;
        }
        Ok(result)
    }
}

/// Waits for an answer as long as there are signs of life within the time.
async fn with_signs<T>(
    silence: Duration,
    mut signs: watch::Receiver<()>,
    answer: impl Future<Output = T>,
) -> Result<T, ConnectorError> {
    let mut answer = std::pin::pin!(answer);
    let mut sending = true;
    loop {
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            sign = signs.changed(), if sending => sending = sign.is_ok(),
            () = tokio::time::sleep(silence) => return Err(silent(silence)),
        }
    }
}

/// A body in pieces; each gives a sign when it is taken.
fn pieces(
    body: SdkBody,
    alive: watch::Sender<()>,
) -> impl Stream<Item = Result<Bytes, aws_sdk_s3::primitives::ByteStreamError>> {
    let start = (ByteStream::new(body), Bytes::new(), alive);
    futures_util::stream::try_unfold(start, |(mut body, mut rest, alive)| async move {
        // nobody listens any more when the answer is there already
        let _ = alive.send(());
        while rest.is_empty() {
            match body.try_next().await? {
                Some(bytes) => rest = bytes,
                None => return Ok(None),
            }
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        Ok(Some((piece, (body, rest, alive))))
    })
}

fn silent(silence: Duration) -> ConnectorError {
    ConnectorError::timeout(format!("nothing was sent or received for {silence:?}").into())
}

/// The SDK sends again after errors of kind `io` and `timeout`, not after others.
fn connector_error(error: reqwest::Error) -> ConnectorError {
    // the URL has the signature of a presigned request, and S3 is named where the error is told
    let error = error.without_url();
    if error.is_builder() {
        ConnectorError::user(error.into())
    } else if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for Connector {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Sources of credentials set short limits: most machines are not in a cloud that would answer.
        let silence = settings.read_timeout().unwrap_or(self.silence);
        SharedHttpConnector::new(Self { client: self.client.clone(), silence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// What comes of a request with this body to a server that does something with its connection.
    async fn sent<Served: Future<Output = ()> + Send>(
        silence: Duration,
        body: SdkBody,
        serve: impl FnOnce(TcpStream) -> Served + Send + 'static,
    ) -> Result<HttpResponse, ConnectorError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = async move { serve(listener.accept().await.unwrap().0).await };
        let mut request = HttpRequest::new(body);
        request.set_method("PUT").unwrap();
        request.set_uri(url).unwrap();
        let connector = Connector { silence, ..Connector::new(Vec::new()).unwrap() };
        tokio::select! {
            result = connector.send(request) => result,
            () = async { server.await; std::future::pending().await } => unreachable!("it waits"),
        }
    }

    const SHORT: Duration = Duration::from_millis(300);
    /// Long enough for a machine that has much else to do.
    const LONG: Duration = Duration::from_secs(3);

    #[tokio::test]
    async fn a_peer_that_is_silent_is_given_up() {
        // it takes no bytes, it never answers, it never ends its answer
        let no_bytes = sent(SHORT, SdkBody::from(vec![0; 64 << 20]), hold);
        assert!(no_bytes.await.unwrap_err().is_timeout());
        let no_answer = sent(SHORT, SdkBody::empty(), hold);
        assert!(no_answer.await.unwrap_err().is_timeout());
        let half = sent(SHORT, SdkBody::empty(), |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx").await.unwrap();
            hold(stream).await;
        });
        assert!(half.await.unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn a_peer_that_is_slow_is_waited_for() {
        // as a whole, both take longer than a peer may be silent
        let answers = sent(LONG, SdkBody::empty(), |mut stream| async move {
            for text in ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "a", "b", "c", "d", "e"] {
                tokio::time::sleep(LONG / 5).await;
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            hold(stream).await;
        });
        let size: usize = 24 << 20;
        let takes = sent(LONG, SdkBody::from(vec![0; size]), move |mut stream| async move {
            let (mut taken, mut buffer) = (0, vec![0; 1 << 20]);
            while taken < size {
                taken += stream.read(&mut buffer).await.unwrap();
                tokio::time::sleep(LONG / 20).await;
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            hold(stream).await;
        });
        let (answers, takes) = tokio::join!(answers, takes);
        assert_eq!(answers.unwrap().body().bytes(), Some(&b"abcde"[..]));
        assert_eq!(takes.unwrap().status().as_u16(), 204);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_an_endless_answer_is_an_error() {
        let redirect = sent(LONG, SdkBody::empty(), |mut stream| async move {
            request(&mut stream).await;
            let answer = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            hold(stream).await;
        });
        assert_eq!(redirect.await.unwrap().status().as_u16(), 301);
        let endless = sent(LONG, SdkBody::empty(), |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {}
        });
        let error = endless.await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_io(), "it would be sent again: {error:?}");
    }

    /// Waits for a request: an answer to none would be an error.
    async fn request(stream: &mut TcpStream) {
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
    }

    async fn hold(_stream: TcpStream) {
        std::future::pending::<()>().await;
    }
}
