//! The answer to one request: which file is meant, in which form it is wanted, and what of it.
//!
//! The rules are those of RFC 9110: preconditions (§13), ranges (§14), content negotiation (§12). A form is the file's own
//! bytes or their gzip; of a stub universe there are also the formats of repositories, in files beside the one that is
//! asked for. Each form has an ETag of its own. Called by the server only.

use crate::http::media::{self, MediaType};
use crate::package::repository::Format;
use crate::package::sources::is_stub_file_name;
use crate::publish::publication::media_type;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use headers::{
    ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince, LastModified,
};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// Larger texts are neither compressed nor looked into, which is done in memory.
const MAX_IN_MEMORY: u64 = 16 << 20;

/// Answers a request for a file below `root`, which must be canonical.
pub(super) async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let response = match resolve(&root, request.uri().path()) {
        Some(path) => file(&root, &path, request.headers(), method == Method::HEAD).await,
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
    let path = request_path.strip_prefix('/')?;
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let ordinary = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\0', '\\']);
    if !decoded.split('/').all(ordinary) {
        return None;
    }
    let path = root.join(decoded.as_ref()).canonicalize().ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
}

/// What a file is.
#[derive(Clone, Copy)]
enum Kind {
    /// A stub universe; `negotiated` if the client's wishes have led to this format.
    Repository { format: Format, negotiated: bool },
    /// Any other file, of this media type.
    Other(&'static str),
}

/// What a client may be given of a file.
struct Form {
    content_type: &'static str,
    gzip: bool,
    /// The request headers that it was chosen by.
    vary: Option<&'static str>,
    etag: ETag,
    modified: LastModified,
}

async fn file(root: &Path, path: &Path, request: &HeaderMap, head: bool) -> io::Result<Response> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (path, kind) = match Format::of_stub_file_name(&name) {
        Some(format) => (path.to_owned(), Kind::Repository { format, negotiated: false }),
        None if is_stub_file_name(&name) => {
            let (path, format) = repository(root, path, request).await?;
            (path, Kind::Repository { format, negotiated: true })
        }
        None => (path.to_owned(), Kind::Other(media_type(&name))),
    };
    let mut file = File::open(path).await?;
    let metadata = file.metadata().await?;
    let (length, form) = (metadata.len(), Form::choose(kind, &metadata, request)?);
    if let Some(status) = precondition(request, &form) {
        return Ok(form.response(status, Body::empty()));
    }
    if form.gzip {
        let mut plain = Vec::new();
        file.take(MAX_IN_MEMORY).read_to_end(&mut plain).await?;
        let packed = tokio::task::spawn_blocking(move || gzip(&plain)).await.map_err(io::Error::other)??;
        let size = packed.len() as u64;
        let mut response = form.response(StatusCode::OK, if head { Body::empty() } else { packed.into() });
        set(&mut response, header::CONTENT_LENGTH, &size.to_string());
        return Ok(response);
    }
    let (status, part) = match asked_range(request, &form, length, head) {
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Asked::Nothing => {
            let mut response = form.response(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    let size = part.end - part.start;
    let body = if head {
        Body::empty()
    } else {
        file.seek(io::SeekFrom::Start(part.start)).await?;
        Body::from_stream(ReaderStream::with_capacity(file.take(size), 1 << 16))
    };
    let mut response = form.response(status, body);
    set(&mut response, header::CONTENT_LENGTH, &size.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

impl Form {
    fn choose(kind: Kind, metadata: &std::fs::Metadata, request: &HeaderMap) -> io::Result<Self> {
        let (content_type, variant, negotiated) = match kind {
            Kind::Repository { format, negotiated } => (format.media_type(), format.name(), negotiated),
            Kind::Other(media_type) => (media_type, "", false),
        };
        let compresses = is_text(content_type) && metadata.len() <= MAX_IN_MEMORY;
        let gzip = compresses && accepts_gzip(request);
        let vary = match (negotiated, compresses) {
            (false, false) => None,
            (false, true) => Some("Accept-Encoding"),
            (true, false) => Some("Accept"),
            (true, true) => Some("Accept, Accept-Encoding"),
        };
        let modified = metadata.modified()?;
        let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let coding = if gzip { "gzip" } else { "" };
        let etag = format!("\"{nanos:x}-{:x}-{variant}{coding}\"", metadata.len());
        // digits, letters and `-` are allowed in one
        let etag = etag.parse().map_err(|_| io::Error::other("no ETag"))?;
        Ok(Self { content_type, gzip, vary, etag, modified: modified.into() })
    }

    /// A response with everything that describes the form.
    fn response(&self, status: StatusCode, body: Body) -> Response {
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.typed_insert(self.etag.clone());
        headers.typed_insert(self.modified);
        let text = |text| HeaderValue::from_static(text);
        headers.insert(header::ACCEPT_RANGES, text(if self.gzip { "none" } else { "bytes" }));
        if let Some(vary) = self.vary {
            headers.insert(header::VARY, text(vary));
        }
        if status.is_success() {
            if self.gzip {
                headers.insert(header::CONTENT_ENCODING, text("gzip"));
            }
            headers.insert(header::CONTENT_TYPE, text(self.content_type));
        }
        response
    }
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // our own texts: printable ASCII
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Whether it is worth the work: archives, programs and pictures are compressed already, or large.
fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || content_type.contains("json") || content_type.ends_with("+xml")
}

/// The file and the format that a client gets of a stub universe: what it wants most of the formats that there are in
/// files beside the main one, and of those that hold all packages of the main one.
async fn repository(root: &Path, main: &Path, request: &HeaderMap) -> io::Result<(PathBuf, Format)> {
    let mut text = Vec::new();
    File::open(main).await?.take(MAX_IN_MEMORY).read_to_end(&mut text).await?;
    let own = Format::of_repository(&text);
    for format in wanted_formats(request) {
        let beside = main.with_extension(format!("{}.json", format.name()));
        match beside.canonicalize() {
            Ok(beside) if beside.starts_with(root) && beside.is_file() => return Ok((beside, format)),
            _ if own.is_none_or(|own| own <= format) => return Ok((main.to_owned(), format)),
            _ => {}
        }
    }
    Ok((main.to_owned(), own.unwrap_or(Format::V4)))
}

/// The formats of repositories that the client accepts, what it wants most first.
fn wanted_formats(request: &HeaderMap) -> impl Iterator<Item = Format> {
    let format = |(q, media): (f64, MediaType)| {
        let known = q > 0.0 && media.essence == "application/vnd.dcos.universe.repo+json";
        let version = media.parameters.get("version").filter(|_| known)?;
        Format::ALL.into_iter().find(|format| format.name() == version)
    };
    media::wanted(&joined(request, &header::ACCEPT)).into_iter().filter_map(format)
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let wanted = media::wanted(&joined(request, &header::ACCEPT_ENCODING));
    let weight = |names: &[&str]| {
        wanted.iter().find(|(_, coding)| names.contains(&coding.essence.as_str())).map(|(q, _)| *q)
    };
    let gzip = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight(&["identity"]).unwrap_or(0.0)
}

/// All headers of that name as one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// The status that a request's conditions ask for instead of an answer.
fn precondition(request: &HeaderMap, form: &Form) -> Option<StatusCode> {
    // a header that cannot be read counts as one that is not there
    let modified = form.modified.into();
    let goes_on = match request.typed_get::<IfMatch>() {
        Some(condition) => condition.precondition_passes(&form.etag),
        None => request.typed_get::<IfUnmodifiedSince>().is_none_or(|c| c.precondition_passes(modified)),
    };
    if !goes_on {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let is_new = match request.typed_get::<IfNoneMatch>() {
        Some(condition) => condition.precondition_passes(&form.etag),
        None => request.typed_get::<IfModifiedSince>().is_none_or(|c| c.is_modified(modified)),
    };
    (!is_new).then_some(StatusCode::NOT_MODIFIED)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    /// A part that the file does not have.
    Nothing,
}

fn asked_range(request: &HeaderMap, form: &Form, length: u64, head: bool) -> Asked {
    let condition = request.typed_get::<IfRange>();
    let changed = condition.is_some_and(|c| c.is_modified(Some(&form.etag), Some(&form.modified)));
    match request.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        // only GET has ranges
        Some(range) if !head && !changed => asked_part(range, length),
        _ => Asked::Whole,
    }
}

/// Reads a `Range` header. What is not understood, other units and several ranges at once are allowed to be answered
/// with the whole file.
fn asked_part(range: &str, length: u64) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    // u64::from_str takes a plus, which is no digit
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let part = match (first, number(first), last, number(last)) {
        ("", _, _, Some(count)) => length.saturating_sub(count)..length,
        (_, Some(first), "", _) => first..length,
        (_, Some(first), _, Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        _ => return Asked::Whole,
    };
    if part.is_empty() { Asked::Nothing } else { Asked::Part(part) }
}
