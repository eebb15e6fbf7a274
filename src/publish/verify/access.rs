//! Where the files of a published package are, and what they are.

use super::named::is_plain;
use futures_util::TryStreamExt as _;
use reqwest::Url;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Larger files are not read to their end.
const MAX_FILE: u64 = 16 << 30;
/// The longest that one file may take.
const MAX_TIME: Duration = Duration::from_hours(1);
/// The largest list of hashes or bill of materials.
const MAX_TEXT: u64 = 64 << 20;

/// Reaches files by URL: on the web, or for those of a package that is in a folder, there.
pub(super) struct Access {
    pub client: reqwest::Client,
    /// A folder and the URL that it has, or will have, without a slash at the end.
    pub folder: Option<(PathBuf, String)>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Web(Url),
    File(PathBuf),
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Bytes; none if a server does not say.
    pub size: Option<u64>,
    /// Its SHA-256 in lower-case hex, if it was asked for.
    pub sha256: Option<String>,
}

impl Access {
    /// Where a URL leads; or why nowhere. URLs come from others: nothing but http and https is followed, and of this
    /// machine only what is in the package's folder.
    pub fn locate(&self, url: &str) -> Result<Location, String> {
        if let Some((folder, base)) = &self.folder
            && let Some(name) = url.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('/'))
        {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            if !is_plain(&name) {
                return Err("the files of a package lie flat in its folder".to_owned());
            }
            return Ok(Location::File(folder.join(name.as_ref())));
        }
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        match parsed.scheme() {
            "http" | "https" => Ok(Location::Web(parsed)),
            other => Err(format!("{other}: is not followed, only http: and https: are")),
        }
    }

    /// What there is, with its hash if that is wanted; or why there is nothing. `read` is told how many bytes were read.
    pub async fn look(&self, location: &Location, hash: bool, read: &dyn Fn(u64)) -> Result<Content, String> {
        let look = async {
            match location {
                Location::File(path) => {
                    let (file, size) = open(path).await.map_err(|error| error.to_string())?;
                    let sha256 = if hash { Some(hashed(file, read).await?) } else { None };
                    Ok(Content { size: Some(size), sha256 })
                }
                Location::Web(url) => {
                    let response = get(&self.client, url).await?;
                    // for the body of this answer, which is not unpacked
                    let size = response.content_length();
                    let sha256 = if hash { Some(hashed(body(response), read).await?) } else { None };
                    Ok(Content { size, sha256 })
                }
            }
        };
        let outcome = tokio::time::timeout(MAX_TIME, look).await;
        outcome.unwrap_or_else(|_| Err(format!("it takes longer than {} minutes", MAX_TIME.as_secs() / 60)))
    }

    /// A text of moderate size.
    pub async fn text(&self, location: &Location) -> Result<String, String> {
        let mut text = Vec::new();
        match location {
            Location::File(path) => {
                let (file, _) = open(path).await.map_err(|error| error.to_string())?;
                file.take(MAX_TEXT + 1).read_to_end(&mut text).await.map_err(|error| error.to_string())?;
            }
            Location::Web(url) => {
                let response = get(&self.client, url).await?;
                let read = body(response).take(MAX_TEXT + 1).read_to_end(&mut text).await;
                read.map_err(|error| crate::http::explain(&error))?;
            }
        }
        if text.len() as u64 > MAX_TEXT {
            return Err(format!("it is larger than {MAX_TEXT} bytes"));
        }
        String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
    }
}

async fn open(path: &Path) -> io::Result<(tokio::fs::File, u64)> {
    // looked at before it is opened: opening a pipe would wait for its other end
    let metadata = tokio::fs::metadata(path).await?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok((tokio::fs::File::open(path).await?, metadata.len()))
}

async fn get(client: &reqwest::Client, url: &Url) -> Result<reqwest::Response, String> {
    let response = client.get(url.clone()).send().await.map_err(|error| crate::http::explain(&error))?;
    match response.status() {
        reqwest::StatusCode::OK => Ok(response),
        status => Err(format!("the answer is {status}")),
    }
}

fn body(response: reqwest::Response) -> impl AsyncRead + Unpin {
    tokio_util::io::StreamReader::new(Box::pin(response.bytes_stream().map_err(io::Error::other)))
}

async fn hashed(mut from: impl AsyncRead + Unpin, read: &dyn Fn(u64)) -> Result<String, String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut size = 0;
    loop {
        let length = from.read(&mut buffer).await.map_err(|error| crate::http::explain(&error))?;
        if length == 0 {
            return Ok(crate::publish::publication::hex(&hash.finalize()));
        }
        size += length as u64;
        if size > MAX_FILE {
            return Err(format!("it is larger than {MAX_FILE} bytes"));
        }
        hash.update(&buffer[..length]);
        read(length as u64);
    }
}
