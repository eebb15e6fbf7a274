//! What can go wrong with S3, told to a person: what happened, and how to mend it.
//!
//! No message has credentials in it, nor the SDK's own debug texts.

use crate::http;
use crate::publish::publication::Changed;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ObjectCannedAcl;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The path in the bucket cannot be used.
    #[error("`{path}` cannot be the path of objects: {why}\n  help: set another one: S3_DIR_PATH or --path")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file has a name that readers could not ask for.
    #[error(
        "`{0}` cannot be published to S3 under this name: in a URL, S3 takes `+` for a space\n  help: give it another name"
    )]
    Name(String),
    /// There is no such ACL.
    #[error("`{0}` is no canned ACL\n  help: leave AWS_UPLOAD_ACL (--acl) away, or use one of {known}", known = ObjectCannedAcl::values().join(", "))]
    Acl(String),
    /// Certificates cannot be read.
    #[error(
        "the certificates in {path} cannot be used: {why}\n  help: AWS_CA_BUNDLE or --ca-bundle must name a PEM file"
    )]
    Roots {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The client for HTTP cannot be made.
    #[error("cannot make a client for HTTP: {0}")]
    Client(String),
    /// Amazon's servers need a region.
    #[error(
        "no region is set\n  help: name the bucket's region: AWS_UPLOAD_REGION, AWS_REGION, --region, or `region` in ~/.aws/config"
    )]
    NoRegion,
    /// Bucket and endpoint make no URL.
    #[error(
        "there is no URL for bucket `{bucket}`: {why}\n  help: look at S3_BUCKET, the region, and AWS_ENDPOINT_URL if it is set"
    )]
    Url {
        /// The bucket.
        bucket: String,
        /// Why.
        why: String,
    },
    /// Nothing in the environment has credentials.
    #[error(
        "there are no credentials for S3{0}\n  help: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile in ~/.aws \
         (`aws sso login` for one with SSO)"
    )]
    NoCredentials(String),
    /// A source of credentials is there and failed.
    #[error(
        "cannot get credentials for S3: {0}\n  help: mend the profile or the variables that they come from, or log in again (`aws sso login`)"
    )]
    Credentials(String),
    /// The credentials are not good.
    #[error("S3 does not accept the credentials: {0}\n  help: {1}")]
    Refused(String, &'static str),
    /// No answer, or none that makes sense.
    #[error(
        "cannot reach S3 at {url}: {cause}\n  help: look at the network, the region, and AWS_ENDPOINT_URL if it is set; then run the same again, it sends what is missing"
    )]
    Unreachable {
        /// The URL of bucket and path.
        url: String,
        /// Why.
        cause: String,
    },
    /// The bucket does not exist.
    #[error(
        "there is no bucket `{bucket}` at {url}\n  help: look at S3_BUCKET (--bucket), or create the bucket first: `aws s3 mb s3://{bucket}`"
    )]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// The URL of bucket and path.
        url: String,
    },
    /// The credentials are good, but not for this.
    #[error(
        "these credentials may not do {action} on s3://{bucket}/{key}: {message}\n  help: have a policy allow it: docs/publishing.md shows one"
    )]
    Denied {
        /// The permission that is missing, as policies name it.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
        /// What S3 said.
        message: String,
    },
    /// The bucket refuses ACLs.
    #[error(
        "bucket `{0}` takes no ACLs\n  help: leave AWS_UPLOAD_ACL (--acl) away, and let a bucket policy say who may read: docs/publishing.md shows one"
    )]
    NoAcls(String),
    /// The bucket is elsewhere.
    #[error("bucket `{bucket}` is not in the region that was asked{}\n  help: set AWS_UPLOAD_REGION (--region) to the bucket's region", .right.as_ref().map_or(String::new(), |region| format!(", but in {region}")))]
    Region {
        /// The bucket.
        bucket: String,
        /// Where it is, if S3 said so.
        right: Option<String>,
    },
    /// An answer that is not foreseen.
    #[error("{action} on s3://{bucket}/{key} failed: {answer}")]
    Answer {
        /// What was asked for, as policies name it.
        action: &'static str,
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
        /// What S3 said.
        answer: String,
    },
    /// A file to publish cannot be read.
    #[error(
        "cannot read {path}: {source}\n  help: no stub universe was published; put the file back, and run the same again"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file changed after it was hashed.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// The publisher was told to stop.
    #[error("stopped: no stub universe was published\n  help: run the same again, it sends what is missing")]
    Stopped,
}

impl S3Error {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }

    /// Nobody has credentials; who has chosen a profile wants to know that it was asked.
    pub(super) fn no_credentials() -> Self {
        let profile = std::env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
        let asked = profile.map(|profile| format!(": neither in the environment nor in profile `{profile}`"));
        Self::NoCredentials(asked.unwrap_or_default())
    }

    /// Why a source of credentials gave none.
    pub(super) fn from_credentials(error: &(dyn Error + 'static)) -> Self {
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => Self::no_credentials(),
            _ => Self::Credentials(http::explain(error)),
        }
    }
}

/// What S3 was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The permission that it needs, as policies name it.
    pub action: &'static str,
    pub bucket: &'a str,
    pub key: &'a str,
    /// The URL of bucket and path.
    pub url: &'a str,
}

impl Asked<'_> {
    /// An answer that is not foreseen.
    pub(super) fn odd(&self, answer: impl Into<String>) -> S3Error {
        let (bucket, key) = (self.bucket.to_owned(), self.key.to_owned());
        S3Error::Answer { action: self.action, bucket, key, answer: answer.into() }
    }
}

/// Tells what an error of the SDK means for a person who publishes.
pub(super) fn explain<E>(error: SdkError<E, HttpResponse>, asked: &Asked) -> S3Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let unreachable = |cause: String| S3Error::Unreachable { url: asked.url.to_owned(), cause };
    match error {
        SdkError::ServiceError(error) => answer(error.err(), error.raw(), asked),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) => match error.source() {
                Some(cause) if error.is_io() || error.is_timeout() => unreachable(http::explain(cause)),
                // credentials that were good at the start and could not be had again
                Some(cause) if cause.is::<CredentialsError>() => S3Error::from_credentials(cause),
                _ => asked.odd(http::explain(error)),
            },
            None => unreachable("the request could not be sent".to_owned()),
        },
        SdkError::TimeoutError(_) => unreachable("no answer in time".to_owned()),
        SdkError::ResponseError(error) => asked.odd(format!(
            "the answer (HTTP {}) is none of S3: is this the URL of a server for S3?",
            error.raw().status().as_u16()
        )),
        error => asked.odd(http::explain(&error)),
    }
}

/// What an answer of S3 means.
fn answer(error: &impl ProvideErrorMetadata, response: &HttpResponse, asked: &Asked) -> S3Error {
    let status = response.status().as_u16();
    let message = one_line(error.message().unwrap_or_default());
    let bucket = asked.bucket.to_owned();
    let told = |code: &str| if message.is_empty() { code.to_owned() } else { format!("{message} ({code})") };
    match (error.code(), status) {
        (Some("NoSuchBucket"), _) => S3Error::NoBucket { bucket, url: asked.url.to_owned() },
        (Some(code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")), _) => {
            S3Error::Refused(
                told(code),
                "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or at the profile",
            )
        }
        (Some(code @ ("ExpiredToken" | "TokenRefreshRequired")), _) => S3Error::Refused(
            told(code),
            "they have expired: get new ones (`aws sso login` for a profile with SSO)",
        ),
        (Some(code @ "RequestTimeTooSkewed"), _) => {
            S3Error::Refused(told(code), "set the clock of this machine")
        }
        (Some("AccessControlListNotSupported"), _) => S3Error::NoAcls(bucket),
        (Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed"), _)
        | (_, 301 | 307) => {
            let header = response.headers().get("x-amz-bucket-region").map(ToOwned::to_owned);
            let right = header
                .or_else(|| message.split("expecting '").nth(1)?.split('\'').next().map(ToOwned::to_owned));
            S3Error::Region { bucket, right }
        }
        (Some("AccessDenied"), _) | (_, 403) => {
            let key = asked.key.to_owned();
            S3Error::Denied { action: asked.action, bucket, key, message: told("AccessDenied") }
        }
        (Some(code), _) => asked.odd(format!("S3 says {} (HTTP {status})", told(code))),
        (None, _) => asked.odd(format!(
            "the answer is HTTP {status}, without an error of S3: is {} a server for S3?",
            asked.url
        )),
    }
}

/// A message of a server in one line of reasonable length.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if line.len() + word.len() > LONGEST {
            // a String takes everything
            let _ = write!(line, " …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}
