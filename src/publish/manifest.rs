//! Lists of hashes that others publish beside their downloads, such as `SHA256SUMS`: what `{{sha256:FILE@URL}}` in a
//! package's files is looked up in when the package is built.
//!
//! Only the list is read, never the download. From a copy, or fetched: over https, or from this machine. Called by `build`.

use crate::finding::Report;
use crate::package::parameters::Listed;
use reqwest::Url;
use reqwest::redirect::Policy;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a list. Those of large projects have some hundred thousand; a download in its place has more.
const MAX_SIZE: u64 = 1 << 20;
/// For connecting, waiting and reading together.
const TIMEOUT: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 5;

/// Why a hash is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ManifestError {
    #[error("{0} is not the URL of a list of hashes: it must begin with https://")]
    Url(String),
    #[error("cannot fetch {url}: {cause}")]
    Fetch { url: String, cause: String },
    #[error("cannot read {path}: {cause}")]
    Copy { path: String, cause: String },
    #[error("{0} is no list of hashes: it has more than {MAX_SIZE} bytes, or is not text")]
    Form(String),
    #[error("{url} has no SHA-256 of `{file}`")]
    Absent { url: String, file: String },
    #[error("{url} has more than one SHA-256 of `{file}`")]
    Ambiguous { url: String, file: String },
}

impl ManifestError {
    fn help(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "try again, or give a copy of the list: --manifest URL=FILE",
            Self::Copy { .. } => "name the copy that there is: --manifest URL=FILE",
            Self::Url(_) => "write {{sha256:FILE@https://…}}, or give the file itself with --artifact",
            Self::Form(_) | Self::Absent { .. } | Self::Ambiguous { .. } => {
                "lines of the list are `HASH  FILE` with 64 hex digits: look for the URL and the file that are meant"
            }
        }
    }
}

/// The hashes that are taken from lists, in hex, by the names that parameters know them by. `copies` are files to read in
/// place of URLs.
pub fn hashes(listed: &[Listed], copies: &[(String, PathBuf)]) -> Result<BTreeMap<String, String>, Report> {
    let mut lists: BTreeMap<&str, Result<String, ManifestError>> = BTreeMap::new();
    let (mut hashes, mut findings) = (BTreeMap::new(), Vec::new());
    for wanted in listed {
        let list = lists.entry(&wanted.url).or_insert_with(|| read(&wanted.url, copies));
        let list = list.as_ref().map_err(Clone::clone);
        match list.and_then(|list| find(list, &wanted.file, &wanted.url)) {
            Ok(hash) => drop(hashes.insert(wanted.name(), hash)),
            Err(error) => findings.push(wanted.finding(error.to_string()).help(error.help())),
        }
    }
    if findings.is_empty() { Ok(hashes) } else { Err(Report(findings)) }
}

/// The text of a list.
fn read(url: &str, copies: &[(String, PathBuf)]) -> Result<String, ManifestError> {
    let bytes = match copies.iter().find(|(of, _)| of == url) {
        Some((_, path)) => {
            let mut bytes = Vec::new();
            let read =
                std::fs::File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
            read.map_err(|error| ManifestError::Copy {
                path: path.display().to_string(),
                cause: error.to_string(),
            })?;
            bytes
        }
        None => fetch(url, TIMEOUT)?,
    };
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_SIZE);
    text.ok_or_else(|| ManifestError::Form(url.to_owned()))
}

/// The SHA-256 of a file, in lower-case hex. Lines are `HASH  FILE`, or `HASH *FILE` for one that was read as binary; the
/// file may be named with the folders that it is in.
fn find(list: &str, file: &str, url: &str) -> Result<String, ManifestError> {
    let named = |line: &str| {
        let (hash, name) = line.trim_end().split_once([' ', '\t'])?;
        let name = name.trim_start().trim_start_matches('*');
        let is_it = name.strip_suffix(file).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'));
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_it && is_hash).then(|| hash.to_ascii_lowercase())
    };
    let mut found: Vec<String> = list.lines().filter_map(named).collect();
    found.dedup();
    let (url, file) = (url.to_owned(), file.to_owned());
    match (found.pop(), found.is_empty()) {
        (Some(hash), true) => Ok(hash),
        (Some(_), false) => Err(ManifestError::Ambiguous { url, file }),
        (None, _) => Err(ManifestError::Absent { url, file }),
    }
}

/// Whether nobody on the way can change what is read.
fn is_safe(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && local)
}

/// The bytes at a URL, at most one more than a list may have.
fn fetch(url: &str, timeout: Duration) -> Result<Vec<u8>, ManifestError> {
    let parsed = Url::parse(url).ok().filter(is_safe).ok_or_else(|| ManifestError::Url(url.to_owned()))?;
    let failed = |cause: String| ManifestError::Fetch { url: url.to_owned(), cause };
    let get = async {
        let explain = |error: reqwest::Error| crate::http::explain(&error);
        let follow = Policy::custom(|attempt| {
            if attempt.previous().len() > MAX_REDIRECTS || !is_safe(attempt.url()) {
                return attempt.stop();
            }
            attempt.follow()
        });
        let client =
            crate::http::builder().and_then(|builder| builder.redirect(follow).timeout(timeout).build());
        let mut answer = client.map_err(explain)?.get(parsed).send().await.map_err(explain)?;
        if answer.status() != 200 {
            return Err(format!("the server answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(explain)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > MAX_SIZE {
                break;
            }
        }
        Ok(bytes)
    };
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(get)
    };
    // whoever builds may be in a runtime already, and there is one for a thread at most
    let fetched = std::thread::scope(|scope| scope.spawn(run).join());
    fetched.unwrap_or_else(|_| Err("the program failed".to_owned())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;
    use crate::package::Sources;
    use crate::package::parameters::listed_in;
    use std::io::Write as _;
    use std::net::TcpListener;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// A server that gives each connection the next answer; its URL.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).unwrap();
                // a client that has read enough goes away
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn listed(text: &str) -> Vec<Listed> {
        let package = Source::new("resource.json", text);
        listed_in(&Sources { package, config: None, marathon: None, resource: None })
    }

    #[test]
    fn hashes_are_found_in_the_forms_that_tools_write() {
        let upper = HASH.to_uppercase();
        for (list, expected) in [
            (format!("{}  other\n{HASH}  a.zip\n", "0".repeat(64)), Ok(HASH)),
            (format!("{upper} *dist/v1/a.zip\r\n"), Ok(HASH)),
            (format!("{HASH}\ta.zip\n{HASH}  ./a.zip"), Ok(HASH)),
            (format!("{HASH}  ba.zip\n{HASH}  a.zip.asc\n{HASH}\n"), Err("no SHA-256 of `a.zip`")),
            (format!("{HASH}{HASH}  a.zip\nshort a.zip\n"), Err("no SHA-256 of `a.zip`")),
            (format!("{HASH}  a.zip\n{}  a.zip\n", "0".repeat(64)), Err("more than one SHA-256 of `a.zip`")),
            (String::new(), Err("no SHA-256")),
        ] {
            match (find(&list, "a.zip", "u"), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{list}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{list}: {error}");
                }
                (found, _) => panic!("{list}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_list_is_fetched_once_also_through_a_redirect() {
        let list = ok(&format!("{HASH}  a\n{HASH}  b\n"));
        let there = server(vec![list]);
        let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {there}/sums\r\nContent-Length: 0\r\n\r\n");
        let url = server(vec![redirect]);
        let found = hashes(&listed(&format!("{{{{sha256:a@{url}}}}} {{{{sha256:b@{url}}}}}")), &[]).unwrap();
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["a", "b"].map(|f| (format!("{f}@{url}"), HASH.into()))
        );
    }

    #[test]
    fn a_copy_is_read_in_place_of_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("sums");
        let url = "https://unreachable.invalid/SHA256SUMS";
        let copies = [(url.to_owned(), copy.clone())];
        let wanted = listed(&format!("{{{{sha256:a@{url}}}}}"));
        let error = hashes(&wanted, &copies).unwrap_err().to_string();
        assert!(error.contains("sums: No such file") && error.contains("--manifest URL=FILE"), "{error}");
        std::fs::write(&copy, format!("{HASH}  a\n")).unwrap();
        assert_eq!(hashes(&wanted, &copies).unwrap()[&format!("a@{url}")], HASH);
        std::fs::write(&copy, vec![b'a'; 2 << 20]).unwrap();
        assert!(hashes(&wanted, &copies).unwrap_err().to_string().contains("more than 1048576 bytes"));
    }

    #[test]
    fn what_cannot_be_fetched_safely_is_refused_with_its_place() {
        let long = server(vec![ok(&"a".repeat(2 << 20))]);
        let empty = server(vec![ok("")]);
        let missing = server(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()]);
        let leaves =
            "HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n".to_owned();
        let leaves = server(vec![leaves]);
        let broken = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab".to_owned()]);
        let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        for (url, expected) in [
            ("http://example.org/sums", "must begin with https://"),
            ("SHA256SUMS", "must begin with https://"),
            ("file:///etc/passwd", "must begin with https://"),
            (&long, "more than 1048576 bytes"),
            (&empty, "no SHA-256 of `a`"),
            (&missing, "the server answers 404"),
            (&leaves, "the server answers 302"),
            (&broken, "cannot fetch"),
            (&closed, "Connection refused"),
        ] {
            let error =
                hashes(&listed(&format!("{{\n {{{{sha256:a@{url}}}}}")), &[]).unwrap_err().to_string();
            assert!(error.starts_with("resource.json:2:2: error[P094]: "), "{url}: {error}");
            assert!(error.contains(expected) && error.contains("help: "), "{url}: {error}");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let error = fetch(&url, Duration::from_millis(100)).unwrap_err().to_string();
        assert!(error.contains("timed out"), "{error}");
    }

    #[tokio::test]
    async fn a_list_can_be_fetched_by_one_who_is_in_a_runtime() {
        let url = server(vec![ok("text")]);
        assert_eq!(fetch(&url, TIMEOUT).unwrap(), b"text");
    }
}
