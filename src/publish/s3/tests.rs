//! Against servers in this process that answer as Amazon's documentation says, where a real one can't be brought to it.
//! `tests/s3` has the rest, against a real server.

use super::*;
use crate::publish::publication::{Content, Publication};
use aws_sdk_s3::config::retry::RetryConfig;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use std::io::Write as _;
use tokio_util::sync::CancellationToken;

fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "test"))
}

fn config() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials())
        .region(Region::new("eu-central-1"))
}

#[tokio::test]
async fn urls_are_those_of_the_bucket_s_region_and_server_and_can_hold_any_path() {
    let amazon = config;
    let region = |name: &'static str| config().region(Region::new(name));
    let server = |url: &str| config().endpoint_url(url).force_path_style(true);
    for (config, bucket, path, expected) in [
        (amazon(), "packages", "", "https://packages.s3.eu-central-1.amazonaws.com"),
        (amazon(), "packages", "a/b", "https://packages.s3.eu-central-1.amazonaws.com/a/b"),
        // a certificate for *.s3… does not hold for two labels
        (amazon(), "my.packages", "a", "https://s3.eu-central-1.amazonaws.com/my.packages/a"),
        (region("us-east-1"), "packages", "a", "https://packages.s3.us-east-1.amazonaws.com/a"),
        (region("cn-north-1"), "packages", "a", "https://packages.s3.cn-north-1.amazonaws.com.cn/a"),
        (
            amazon(),
            "packages",
            "a b/1+1=2/ü",
            "https://packages.s3.eu-central-1.amazonaws.com/a%20b/1%2B1%3D2/%C3%BC",
        ),
        (amazon(), "packages", "100%/?/#", "https://packages.s3.eu-central-1.amazonaws.com/100%25/%3F/%23"),
        (server("http://127.0.0.1:9000"), "p", "x", "http://127.0.0.1:9000/p/x"),
        (server("https://h/s3/"), "p", "x", "https://h/s3/p/x"),
        (server("http://[::1]:9000"), "p", "", "http://[::1]:9000/p"),
        (config().endpoint_url("https://h").force_path_style(false), "packages", "a", "https://packages.h/a"),
    ] {
        let url = root_url(config, bucket, path).await.unwrap();
        assert_eq!(url, expected, "{bucket} {path}");
    }
}

#[test]
fn only_paths_that_no_client_tidies_away_are_taken() {
    for (path, expected) in [
        ("", Some("")),
        ("/", Some("")),
        ("/a/b/", Some("a/b")),
        ("a b+c/…", Some("a b+c/…")),
        ("a//b", None),
        ("a/./b", None),
        ("../a", None),
        ("a\nb", None),
    ] {
        assert_eq!(checked_path(path).ok().as_deref(), expected, "{path:?}");
    }
}

/// A server that gives each request the answer of a function, and S3 for it.
async fn served(answer: fn(Method, String) -> Response) -> S3 {
    let app = axum::Router::new().fallback(move |request: Request| async move {
        let (parts, body) = request.into_parts();
        // the connection can only be used again after the whole request was read
        drop(axum::body::to_bytes(body, usize::MAX).await);
        answer(parts.method, parts.uri.query().unwrap_or_default().to_owned())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = config().endpoint_url(endpoint).force_path_style(true).retry_config(RetryConfig::disabled());
    let config = config.http_client(Connector::new(Vec::new()).unwrap());
    let root_url = root_url(config.clone(), "packages", "").await.unwrap();
    S3 {
        reader: http::client().unwrap(),
        credentials: Some(credentials()),
        client: Client::from_conf(config.build()),
        bucket: "packages".into(),
        path: String::new(),
        acl: None,
        root_url,
    }
}

async fn publish(s3: &S3, item: Item) -> Result<Summary, S3Error> {
    let (name, version, directory, url) = ("n".into(), "v".into(), "n/h".into(), s3.root_url().to_owned());
    let publication = Publication { name, version, directory, url, items: vec![item] };
    s3.publish(&publication, "n/h", &CancellationToken::new(), &mut |_| {}).await
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

#[tokio::test]
async fn refusals_that_only_amazon_gives_are_told_with_their_remedy() {
    type Answer = fn() -> Response;
    let cases: &[(Answer, &[&str])] = &[
        (
            || {
                let headers = HeaderMap::from_iter([(
                    axum::http::HeaderName::from_static("x-amz-bucket-region"),
                    HeaderValue::from_static("eu-west-1"),
                )]);
                (headers, error(301, "PermanentRedirect", "Please use the specified endpoint."))
                    .into_response()
            },
            &["bucket `packages` is not in the region that was asked, but in eu-west-1", "AWS_UPLOAD_REGION"],
        ),
        (
            || {
                error(
                    400,
                    "AuthorizationHeaderMalformed",
                    "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
                )
            },
            &["but in eu-west-1\n"],
        ),
        (|| error(307, "TemporaryRedirect", ""), &["is not in the region that was asked\n"]),
        (
            || error(400, "AccessControlListNotSupported", "The bucket does not allow ACLs"),
            &["bucket `packages` takes no ACLs", "leave AWS_UPLOAD_ACL (--acl) away"],
        ),
        (
            || error(400, "ExpiredToken", "The token has expired."),
            &["The token has expired. (ExpiredToken)", "aws sso login"],
        ),
        (|| error(403, "RequestTimeTooSkewed", ""), &["RequestTimeTooSkewed", "set the clock"]),
        (
            || error(403, "AccessDenied", "User: u is not\n authorized"),
            &["s3:PutObject on s3://packages/n/h/a: User: u is not authorized (AccessDenied)"],
        ),
        (|| StatusCode::FORBIDDEN.into_response(), &["may not do s3:PutObject"]),
        (
            || error(503, "SlowDown", "Please reduce your request rate."),
            &["S3 says Please reduce your request rate. (SlowDown) (HTTP 503)"],
        ),
        (|| error(507, "XMinioStorageFull", "no space"), &["no space (XMinioStorageFull) (HTTP 507)"]),
        (
            || StatusCode::BAD_GATEWAY.into_response(),
            &["HTTP 502, without an error of S3", "is http://127.0.0.1:"],
        ),
    ];
    for (answer, expected) in cases {
        static ANSWER: std::sync::Mutex<Option<Answer>> = std::sync::Mutex::new(None);
        *ANSWER.lock().unwrap() = Some(*answer);
        let s3 = served(|method, _| match method {
            Method::HEAD => StatusCode::NOT_FOUND.into_response(),
            _ => ANSWER.lock().unwrap().unwrap()(),
        })
        .await;
        let message =
            publish(&s3, Item::from_bytes("a".into(), "abc", "text/plain")).await.unwrap_err().to_string();
        for text in *expected {
            assert!(message.contains(text), "{text}: {message}");
        }
    }
}

#[tokio::test]
async fn an_upload_in_parts_whose_end_fails_in_an_answer_that_began_well_is_removed() {
    static REMOVED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = vec![7; 9 << 20];
    file.write_all(&bytes).unwrap();
    let mut item = Item::from_bytes("a".into(), bytes, "text/plain");
    item.content = Content::File(file.path().to_owned());
    // S3 sends its status before it knows how it ends
    let s3 = served(|method, query| match (method, query.as_str()) {
        (Method::POST, "uploads") => {
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                .into_response()
        }
        (Method::PUT, _) => ([("etag", "\"e\"")], "").into_response(),
        (Method::POST, _) => {
            "<Error><Code>InternalError</Code><Message>Please try again.</Message></Error>".into_response()
        }
        (Method::DELETE, "x-id=AbortMultipartUpload&uploadId=u") => {
            REMOVED.store(true, std::sync::atomic::Ordering::SeqCst);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let message = publish(&s3, item).await.unwrap_err().to_string();
    assert!(message.contains("Please try again. (InternalError)"), "{message}");
    assert!(REMOVED.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn names_that_a_url_of_s3_cannot_hold_are_refused_before_anything_is_asked() {
    let s3 = served(|_, _| StatusCode::IM_A_TEAPOT.into_response()).await;
    for (name, expected) in [("a+b.zip".to_owned(), "`a+b.zip`"), ("x".repeat(1100), "S3 takes 1024")] {
        let message = publish(&s3, Item::from_bytes(name, "", "text/plain")).await.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
