use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TEXT: &str =
    "name: weather\n# the same again and again: weather weather weather weather weather weather\n";

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
        std::fs::write(folder.path().join("out/digits.bin"), "0123456789").unwrap();
        std::fs::write(folder.path().join("out/svc.yml"), TEXT).unwrap();
        std::fs::write(folder.path().join("out/icon.png"), "png").unwrap();
        let server = start(&folder.path().join("out"), ([127, 0, 0, 1], 0).into(), None).await.unwrap();
        Self { folder, server, client: crate::http::client().unwrap() }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.server.url()))
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).send().await.unwrap().status().as_u16()
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if there is none.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn unpacked(&self) -> String {
        std::io::read_to_string(flate2::read::GzDecoder::new(&*self.body)).unwrap()
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
async fn the_format_of_a_stub_universe_is_one_that_holds_its_package() {
    let fixture = Fixture::start().await;
    let out = fixture.folder.path().join("out");
    let write = |name: &str, packaging: &str| {
        let text = format!(r#"{{"packages": [{{"packagingVersion": "{packaging}"}}]}}"#);
        std::fs::write(out.join(name), text).unwrap();
    };
    write("stub-universe-all.json", "4.0");
    write("stub-universe-all.v3.json", "3.0");
    write("stub-universe-all.v5.json", "4.0 in v5");
    write("stub-universe-one.json", "4.0");
    // one that leads out is not there
    std::fs::write(fixture.folder.path().join("secret.v3"), "s").unwrap();
    std::os::unix::fs::symlink("../secret.v3", out.join("stub-universe-one.v3.json")).unwrap();
    let kind = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=";
    let cases = [
        ("all", "v5,v4,v3", "v5", "4.0 in v5", true),
        ("all", "v4,v3", "v4", "4.0", true),
        ("all", "v3", "v3", "3.0", true),
        ("all", "", "v4", "4.0", true),
        ("one", "v5,v4,v3", "v5", "4.0", true),
        ("one", "v3", "v4", "4.0", true),
        ("one", "", "v4", "4.0", true),
        // who asks for a format by its file gets that
        ("all.v3", "v5", "v3", "3.0", false),
        ("all.v5", "", "v5", "4.0 in v5", false),
    ];
    let mut etags = std::collections::BTreeSet::new();
    for (name, accept, version, packaging, varies) in cases {
        let accept: Vec<_> = accept.split(',').map(|version| format!("{kind}{version}")).collect();
        let path = format!("/stub-universe-{name}.json");
        let answer = fixture.send(&path, &[("accept", &accept.join(","))]).await;
        assert_eq!(answer.header("content-type"), format!("{kind}{version}"), "{name} {accept:?}");
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(&format!("\"{packaging}\"")), "{name} {accept:?}: {body}");
        assert_eq!(answer.header("vary").starts_with("Accept,"), varies, "{name} {accept:?}");
        etags.insert((name, version, answer.header("etag").to_owned()));
    }
    assert_eq!(etags.len(), 7, "each format has one ETag: {etags:?}");
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
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_stopped_server_does_not_listen_any_more() {
    let Fixture { folder: _folder, server, client } = Fixture::start().await;
    let addr = server.addr;
    drop(client);
    server.stop(GRACE).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error() {
    let addr = ([127, 0, 0, 1], 0).into();
    assert!(start(Path::new("/nonexistent"), addr, None).await.is_err());
    assert!(start(Path::new("/etc/passwd"), addr, None).await.is_err());
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let fixture = Fixture::start().await;
    let cases = [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=2-5", 206, "2345", "bytes 2-5/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=7-99", 206, "789", "bytes 7-9/10"),
        ("bytes=7-18446744073709551615", 206, "789", "bytes 7-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=12-14", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"),
        // what is wrong or too much is allowed to be ignored
        ("bytes=5-2", 200, "0123456789", ""),
        ("bytes=0-1,4-5", 200, "0123456789", ""),
        ("bytes=-", 200, "0123456789", ""),
        ("bytes=+1-2", 200, "0123456789", ""),
        ("bytes=99999999999999999999-", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ];
    for (range, status, body, content_range) in cases {
        let answer = fixture.send("/digits.bin", &[("range", range)]).await;
        assert_eq!(
            (answer.status, String::from_utf8_lossy(&answer.body).as_ref()),
            (status, body),
            "{range}"
        );
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(answer.header("content-length"), body.len().to_string(), "{range}");
        assert_eq!(answer.header("accept-ranges"), "bytes", "{range}");
    }
    let head =
        fixture.client.head(format!("{}/digits.bin", fixture.server.url())).header("range", "bytes=2-5");
    assert_eq!(head.send().await.unwrap().status(), 200, "only GET has ranges");
}

#[tokio::test]
async fn a_part_is_only_given_of_the_file_that_the_client_knows() {
    let fixture = Fixture::start().await;
    let known = fixture.send("/digits.bin", &[]).await;
    let (etag, modified) = (known.header("etag"), known.header("last-modified"));
    for (condition, status) in
        [(etag, 206), (modified, 206), ("\"another\"", 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)]
    {
        let answer = fixture.send("/digits.bin", &[("range", "bytes=2-5"), ("if-range", condition)]).await;
        assert_eq!(answer.status, status, "{condition}");
    }
}

#[tokio::test]
async fn conditions_of_a_request_decide_whether_there_is_a_body() {
    let fixture = Fixture::start().await;
    let known = fixture.send("/digits.bin", &[]).await;
    let (etag, modified) = (known.header("etag"), known.header("last-modified"));
    let (weak, several) = (format!("W/{etag}"), format!("\"x\", {etag}"));
    let (old, other) = ("Thu, 01 Jan 1970 00:00:00 GMT", "\"x\"");
    let cases: [(&[(&str, &str)], u16); 14] = [
        (&[("if-none-match", etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", &several)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", other)], 200),
        (&[("if-modified-since", modified)], 304),
        (&[("if-modified-since", old)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        // an ETag says more than a time
        (&[("if-none-match", other), ("if-modified-since", modified)], 200),
        (&[("if-match", etag)], 200),
        (&[("if-match", other)], 412),
        (&[("if-unmodified-since", modified)], 200),
        (&[("if-unmodified-since", old)], 412),
        (&[("if-match", other), ("if-none-match", etag)], 412),
    ];
    for (conditions, status) in cases {
        let answer = fixture.send("/digits.bin", conditions).await;
        assert_eq!(answer.status, status, "{conditions:?}");
        assert_eq!(answer.body.is_empty(), status != 200, "{conditions:?}");
        assert_eq!(answer.header("etag"), etag, "{conditions:?}");
    }
}

#[tokio::test]
async fn text_is_compressed_for_those_who_say_that_they_can_read_it() {
    let fixture = Fixture::start().await;
    let cases = [
        ("gzip", true),
        ("deflate, GZIP;q=0.5", true),
        ("*", true),
        ("identity;q=0.5, gzip", true),
        ("", false),
        ("gzip;q=0", false),
        ("*, gzip;q=0", false),
        ("identity, gzip;q=0.5", false),
        ("br", false),
    ];
    for (accepted, compressed) in cases {
        for path in ["/svc.yml", "/stub-universe-x.json"] {
            let answer = fixture.send(path, &[("accept-encoding", accepted)]).await;
            assert_eq!(answer.header("content-encoding") == "gzip", compressed, "{path} {accepted:?}");
            assert!(answer.header("vary").ends_with("Accept-Encoding"), "{path} {accepted:?}");
        }
        for (path, kind) in [("/digits.bin", "application/octet-stream"), ("/icon.png", "image/png")] {
            let answer = fixture.send(path, &[("accept-encoding", accepted)]).await;
            let headers = ["content-encoding", "vary", "content-type"].map(|name| answer.header(name));
            assert_eq!(headers, ["", "", kind], "{path} {accepted:?}");
        }
    }
}

#[tokio::test]
async fn compressed_text_is_a_form_of_its_own() {
    let fixture = Fixture::start().await;
    let plain = fixture.send("/svc.yml", &[]).await;
    let packed = fixture.send("/svc.yml", &[("accept-encoding", "gzip")]).await;
    assert_eq!((plain.body.as_slice(), packed.unpacked().as_str()), (TEXT.as_bytes(), TEXT));
    assert!(packed.body.len() < plain.body.len());
    assert_eq!(packed.header("content-type"), "text/plain;charset=utf-8");
    assert_ne!(plain.header("etag"), packed.header("etag"));
    // a cached form is not taken for the other
    let mixed = [("accept-encoding", "gzip"), ("if-none-match", plain.header("etag"))];
    assert_eq!(fixture.send("/svc.yml", &mixed).await.status, 200);
    let same = [("accept-encoding", "gzip"), ("if-none-match", packed.header("etag"))];
    assert_eq!(fixture.send("/svc.yml", &same).await.status, 304);
    // its bytes are made anew for each request, so that there are no parts of it
    let part = fixture.send("/svc.yml", &[("accept-encoding", "gzip"), ("range", "bytes=0-3")]).await;
    assert_eq!((part.status, part.unpacked().as_str()), (200, TEXT));
    assert_eq!(part.header("accept-ranges"), "none");

    let url = format!("{}/svc.yml", fixture.server.url());
    let head = fixture.client.head(url).header("accept-encoding", "gzip").send().await.unwrap();
    for name in ["content-length", "content-encoding", "etag", "vary", "content-type"] {
        assert_eq!(head.headers()[name], packed.headers[name], "{name}");
    }
}

/// A certificate for 127.0.0.1 and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_tls_only() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate();
    std::fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), &key).unwrap();
    let identity = Identity::read(&folder.path().join("cert.pem"), &folder.path().join("key.pem")).unwrap();
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    let server = start(folder.path(), ([127, 0, 0, 1], 0).into(), Some(identity)).await.unwrap();
    let url = format!("{}/cert.pem", server.url());
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");

    let authority = reqwest::Certificate::from_pem(cert.as_bytes()).unwrap();
    let trusting = crate::http::builder().unwrap().tls_certs_only([authority]).build().unwrap();
    assert_eq!(trusting.get(&url).send().await.unwrap().text().await.unwrap(), cert);
    assert!(crate::http::client().unwrap().get(&url).send().await.is_err());
    assert!(trusting.get(url.replace("https", "http")).send().await.is_err());
    server.stop(GRACE).await;
}

#[test]
fn files_that_are_no_certificate_and_key_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ((cert, key), (other, _)) = (certificate(), certificate());
    let cut = &cert[..cert.len() / 2];
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let (cert, key, other) = (Some(cert.as_str()), Some(key.as_str()), Some(other.as_str()));
    let cases = [
        (None, key, "cannot read CERT: No such file"),
        (cert, None, "cannot read KEY: No such file"),
        (key, key, "CERT has no certificate"),
        (Some(""), key, "CERT has no certificate"),
        (Some(cut), key, "CERT cannot be read as PEM"),
        (Some(broken), key, "the certificate in CERT and the key in KEY cannot be used"),
        (cert, cert, "KEY has no private key, or an encrypted one"),
        (cert, Some(encrypted), "KEY has no private key, or an encrypted one"),
        (other, key, "the key in KEY is not that of the certificate in CERT"),
    ];
    for (cert, key, expected) in cases {
        let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        for (file, content) in [(&cert_file, cert), (&key_file, key)] {
            let _ = std::fs::remove_file(file);
            if let Some(content) = content {
                std::fs::write(file, content).unwrap();
            }
        }
        let error = Identity::read(&cert_file, &key_file).unwrap_err().to_string();
        let error =
            error.replace(cert_file.to_str().unwrap(), "CERT").replace(key_file.to_str().unwrap(), "KEY");
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

/// A server of one file that is larger than what the sockets of a connection hold, and an answer that has begun.
async fn slow_answer() -> (tempfile::TempDir, Server, reqwest::Response) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("large.bin")).unwrap().set_len(64 << 20).unwrap();
    let server = start(folder.path(), ([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let url = format!("{}/large.bin", server.url());
    let response = crate::http::client().unwrap().get(url).send().await.unwrap();
    (folder, server, response)
}

#[tokio::test]
async fn a_server_that_stops_ends_the_answers_that_are_under_way() {
    let (_folder, server, response) = slow_answer().await;
    let addr = server.addr;
    let stopping = tokio::spawn(server.stop(Duration::from_mins(10)));
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    assert_eq!(response.bytes().await.unwrap().len(), 64 << 20);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_those_who_do_not_read() {
    let (_folder, server, response) = slow_answer().await;
    server.stop(Duration::from_millis(1)).await;
    assert!(response.bytes().await.is_err());
}
