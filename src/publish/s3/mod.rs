//! Publishing to S3 and to what speaks its protocol (MinIO, Ceph): a publication goes below a path of a bucket.
//!
//! Nothing is made public, created or deleted here: bucket, access and lifetime are their owner's business. What is sent
//! and in which order is [`upload`]'s, how errors are told [`error`]'s, the wire [`connector`]'s. Where the package's own
//! URLs come from is not decided here: [`S3::root_url`] says how S3 itself names the path. Called by `cli`.

mod connector;
mod error;
mod upload;

pub use error::S3Error;
pub use upload::Summary;

use crate::http;
use crate::publish::publication::Item;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::ObjectCannedAcl;
use connector::Connector;
use reqwest::header::{self, HeaderValue};
use std::path::PathBuf;
use std::time::Duration;

/// The longest key that S3 takes, in bytes.
const MAX_KEY: usize = 1024;

/// Where to publish to. What is not given comes from the environment and the profiles that the AWS tools use.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket; may be empty.
    pub path: String,
    /// The bucket's region.
    pub region: Option<String>,
    /// The URL of the server, if it isn't Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs and not in the host name. Without it: if the server isn't Amazon's.
    pub path_style: Option<bool>,
    /// A canned ACL for each object. Buckets that were made since 2023 refuse any.
    pub acl: Option<ObjectCannedAcl>,
    /// A PEM file of certificates that are trusted beside those of the public web.
    pub roots: Option<PathBuf>,
}

/// A path in a bucket, ready to be published to.
#[derive(Debug)]
pub struct S3 {
    client: Client,
    /// Reads what was published, as the package service does: without credentials.
    reader: reqwest::Client,
    credentials: Option<SharedCredentialsProvider>,
    bucket: String,
    path: String,
    acl: Option<ObjectCannedAcl>,
    root_url: String,
}

impl S3 {
    /// Reads the configuration. S3 is not asked for anything yet, and credentials are not needed yet.
    pub async fn new(settings: Settings) -> Result<Self, S3Error> {
        let path = checked_path(&settings.path)?;
        let roots = settings.roots.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let connector =
            Connector::new(roots.clone()).map_err(|error| S3Error::Client(http::explain(&error)))?;
        let reader = http::builder()
            .and_then(|builder| builder.tls_certs_merge(roots).timeout(Duration::from_secs(30)).build())
            .map_err(|error| S3Error::Client(http::explain(&error)))?;

        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(connector);
        if let Some(region) = settings.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(endpoint) = settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let shared = loader.load().await;
        let foreign = shared.endpoint_url().is_some();
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(settings.path_style.unwrap_or(foreign));
        if shared.region().is_none() {
            if !foreign {
                return Err(S3Error::NoRegion);
            }
            // servers that are not Amazon's seldom have regions; signatures need one
            config = config.region(Region::new("us-east-1"));
        }
        let root_url = root_url(config.clone(), &settings.bucket, &path).await?;
        Ok(Self {
            client: Client::from_conf(config.build()),
            reader,
            credentials: shared.credentials_provider(),
            bucket: settings.bucket,
            path,
            acl: settings.acl,
            root_url,
        })
    }

    /// The URL of the path in the bucket as S3 itself has it, without a slash at its end.
    pub fn root_url(&self) -> &str {
        &self.root_url
    }

    /// A directory below the path, as tools of S3 write it: `s3://BUCKET/PATH/DIRECTORY`.
    pub fn location(&self, directory: &str) -> String {
        format!("s3://{}", joined(&[&self.bucket, &self.path, directory]))
    }

    /// Whether an item can be read at a URL by those who have no credentials, as the package service has none. The
    /// error says why it can't be used from there.
    pub async fn check_readable(&self, url: &str, item: &Item) -> Result<(), String> {
        let answer = self.reader.get(url).send().await.map_err(|error| http::explain(&error))?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()));
        }
        let content_type = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content_type != Some(item.content_type.as_bytes()) {
            let sent = String::from_utf8_lossy(content_type.unwrap_or_default());
            return Err(format!("its media type is `{sent}`, not `{}`", item.content_type));
        }
        Ok(())
    }

    /// Credentials that are missing are told before anything is read or sent.
    async fn check_credentials(&self) -> Result<(), S3Error> {
        let provider = self.credentials.as_ref().ok_or_else(S3Error::no_credentials)?;
        provider.provide_credentials().await.map_err(|error| S3Error::from_credentials(&error))?;
        Ok(())
    }
}

/// A canned ACL by its name.
pub fn acl(name: &str) -> Result<ObjectCannedAcl, S3Error> {
    ObjectCannedAcl::try_parse(name).map_err(|_| S3Error::Acl(name.to_owned()))
}

/// Those parts of a path that are not empty.
fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// The path without slashes around it. Clients tidy `..` and the like away from URLs, so an object there can't be read.
fn checked_path(path: &str) -> Result<String, S3Error> {
    let path = path.trim_matches('/');
    let wrong = |why: &str| S3Error::Path { path: path.to_owned(), why: why.to_owned() };
    if path.chars().any(char::is_control) {
        return Err(wrong("it has control characters"));
    }
    if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("each part between slashes must be a name, and not `.` or `..`"));
    }
    Ok(path.to_owned())
}

fn read_roots(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>, S3Error> {
    let wrong = |why: String| S3Error::Roots { path: path.display().to_string(), why };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(http::explain(&error)))?;
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// How the SDK itself names the path: regions, dots in bucket names, partitions and the escaping of characters are as it
/// will use them. The URL is that of a signed request without its signature, so any credentials do.
async fn root_url(config: aws_sdk_s3::config::Builder, bucket: &str, path: &str) -> Result<String, S3Error> {
    let unused = Credentials::new("unused", "unused", None, None, "for the URL only");
    let client = Client::from_conf(config.credentials_provider(unused).build());
    let object = joined(&[path, "x"]);
    let wrong = |why: String| S3Error::Url { bucket: bucket.to_owned(), why };
    let expires =
        PresigningConfig::expires_in(Duration::from_secs(1)).map_err(|error| wrong(error.to_string()))?;
    let request = client.get_object().bucket(bucket).key(object).presigned(expires).await;
    let request = request.map_err(|error| wrong(http::explain(&error)))?;
    let url = request.uri().split('?').next().unwrap_or_default();
    let url = url.strip_suffix("/x").unwrap_or(url);
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(format!("`{url}` is no URL: {error}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("the endpoint must not contain a user or a password".to_owned()));
    }
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(wrong("the endpoint must begin with https:// or http://".to_owned()));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
