//! `/v1/state/files`: small files that operators give the service, for its tasks to fetch.

use super::{Handle, text};
use crate::scheduler::{Command, FILE};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

/// The most bytes of a file: it is kept with the service's state.
const MAX: usize = 1024;
/// The field of the form that has the file.
const FIELD: &str = "file";

pub async fn list(State(handle): State<Handle>) -> Response {
    let scheduler = handle.scheduler();
    let names: Vec<&str> = scheduler.properties().keys().filter_map(|key| key.strip_prefix(FILE)).collect();
    text(StatusCode::OK, format!("[{}]", names.join(", ")))
}

pub async fn show(State(handle): State<Handle>, Path(name): Path<String>) -> Response {
    match handle.scheduler().properties().get(&format!("{FILE}{name}")) {
        Some(content) => text(StatusCode::OK, String::from_utf8_lossy(content)),
        None => text(StatusCode::NOT_FOUND, "Failed to get the file"),
    }
}

pub async fn store(
    State(handle): State<Handle>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wrong = |why: String| text(StatusCode::BAD_REQUEST, why);
    if name.contains('/') {
        return wrong(format!("{name:?} cannot be the name of a file: it has a slash"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(content) = field(kind, &body, FIELD) else {
        return wrong(format!("expected a form (multipart/form-data) with a field `{FIELD}`"));
    };
    if content.len() > MAX {
        return wrong(format!("the file has {} bytes, more than the {MAX} that it may have", content.len()));
    }
    match handle.command(Command::StoreFile { name, content: content.to_vec() }).await {
        Ok(_) => text(StatusCode::OK, ""),
        Err(answer) => answer,
    }
}

/// The content of a field of a form, as RFC 7578 writes it. One small field is all that is read here.
fn field<'b>(content_type: &str, body: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|p| p.trim().strip_prefix("boundary="))?;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let wanted = format!("name=\"{name}\"");
    let mut rest = body;
    loop {
        let part = rest.get(find(rest, delimiter.as_bytes())? + delimiter.len()..)?;
        let head = find(part, b"\r\n\r\n")?;
        let end = head + 4 + find(part.get(head + 4..)?, format!("\r\n{delimiter}").as_bytes())?;
        let headers = String::from_utf8_lossy(part.get(..head)?).into_owned();
        // `filename="…"` is another parameter
        if headers.split(';').any(|parameter| parameter.trim().starts_with(&wanted)) {
            return part.get(head + 4..end);
        }
        rest = part.get(end..)?;
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_form_is_found_by_its_name_and_is_what_stands_between_the_delimiters() {
        let form = "--X\r\nContent-Disposition: form-data; name=\"other\"; filename=\"file\"\r\n\r\nno\r\n--X\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: text/plain\r\n\r\n\
                    a\r\n\r\nb--\r\n--X--\r\n";
        let found = |kind: &str, body: &str| field(kind, body.as_bytes(), "file").map(<[u8]>::to_vec);
        let content = Some(b"a\r\n\r\nb--".to_vec());
        assert_eq!(found("multipart/form-data; boundary=X", form), content);
        assert_eq!(found("Multipart/Form-Data; charset=utf-8; boundary=\"X\"", form), content);
        assert_eq!(found("multipart/form-data; boundary=Y", form), None);
        assert_eq!(found("text/plain; boundary=X", form), None);
        assert_eq!(
            found("multipart/form-data; boundary=X", &form.replace("name=\"file\"", "name=\"f\"")),
            None
        );
        for end in 0..form.len() {
            // cut off anywhere, it is no form, or what stands there
            let cut = found("multipart/form-data; boundary=X", &form[..end]);
            assert!(cut.is_none() || cut == content, "{end}");
        }
    }
}
