//! `dagpkg serve` and `dagpkg verify` as processes. What is served is also read by curl: an independent client with its own
//! ideas of HTTP.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn dagpkg(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dagpkg"));
    command.args(arguments.split_whitespace()).env_clear().current_dir(folder);
    command
}

/// A running `dagpkg serve out`; killed at the end if it is still there.
struct Server {
    process: Child,
    /// What it printed: the line with its URL, then those of packages.
    lines: Vec<String>,
    url: String,
}

impl Server {
    fn start(folder: &Path, arguments: &str, packages: usize) -> Self {
        let mut process = dagpkg(folder, &format!("serve out {arguments}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let lines: Vec<String> = stdout.lines().take(1 + packages).map(Result::unwrap).collect();
        let url = lines[0].strip_prefix("out is served at ").unwrap().to_owned();
        Self { process, lines, url }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs curl; none where there is no curl.
fn curl(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let output = Command::new("curl").args(["-sS"]).args(arguments).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    Some(output)
}

/// Folders as `dagpkg serve` finds them; what is in the files does not matter to it.
fn fixture() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("out/b/2/stub-universe-b.json", "{\"packages\": []}"),
        ("out/a/1/stub-universe-a.json", "{\"packages\": []}"),
        ("out/a/1/notes.txt", "the same, the same, the same, the same, the same, the same, the same\n"),
        ("out/a/1/program", "0123456789"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn the_packages_below_the_folder_are_listed_and_sigterm_ends_it() {
    let folder = fixture();
    let mut server = Server::start(folder.path(), "--port 0", 2);
    let url = server.url.clone();
    let packages = ["a/1/stub-universe-a.json", "b/2/stub-universe-b.json"];
    assert_eq!(server.lines[1..], packages.map(|path| format!("  {url}/{path}")));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.process.wait().unwrap().success());
}

#[test]
fn curl_goes_on_with_half_a_download_and_reads_compressed_text() {
    let folder = fixture();
    let server = Server::start(folder.path(), "--port 0", 0);
    std::fs::write(folder.path().join("half"), "01234").unwrap();
    let program = format!("{}/a/1/program", server.url);
    let Some(_) = curl(folder.path(), &["-C", "-", "-o", "half", &program]) else { return };
    assert_eq!(std::fs::read_to_string(folder.path().join("half")).unwrap(), "0123456789");

    let notes = format!("{}/a/1/notes.txt", server.url);
    let output = curl(folder.path(), &["--compressed", "-w", "%{size_download}", &notes]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, size) = text.rsplit_once('\n').unwrap();
    assert_eq!(text.len(), 68, "{text}");
    assert!(size.parse::<usize>().unwrap() < text.len(), "{size}");

    // the second time the file is the one that is known
    for status in ["200", "304"] {
        let etag = ["--etag-save", "etag", "--etag-compare", "etag", "-o", "x", "-w", "%{http_code}", &notes];
        let output = curl(folder.path(), &etag).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), status);
    }
    let head = curl(folder.path(), &["-I", &program]).unwrap();
    assert!(String::from_utf8(head.stdout).unwrap().to_lowercase().contains("content-length: 10"));
}

#[test]
fn curl_trusts_the_certificate_that_it_is_given() {
    let folder = fixture();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let server = Server::start(folder.path(), "--port 0 --tls-cert cert.pem --tls-key key.pem", 0);
    let program = format!("{}/a/1/program", server.url);
    assert!(program.starts_with("https://"), "{program}");
    let Some(output) = curl(folder.path(), &["--cacert", "cert.pem", &program]) else { return };
    assert_eq!(output.stdout, b"0123456789");
}

#[test]
fn what_it_cannot_serve_with_is_named() {
    let folder = fixture();
    std::fs::write(folder.path().join("not.pem"), "text").unwrap();
    let cases = [
        ("serve nowhere --port 0", 1, "error: cannot serve nowhere at 127.0.0.1:0: No such file"),
        ("serve out --port 0 --tls-cert not.pem --tls-key not.pem", 1, "error: not.pem has no certificate"),
        (
            "serve out --port 0 --tls-cert not.pem",
            2,
            "error: the following required arguments were not provided",
        ),
        // an address that no machine has: others could reach it, if it were one
        ("serve out --bind 192.0.2.1", 1, "warning: without TLS, what is served at 192.0.2.1 can be read"),
    ];
    for (arguments, code, expected) in cases {
        let output = dagpkg(folder.path(), arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(text.starts_with(expected), "{arguments}: {text}");
    }
}

/// A project, built into `out` for the URL of a server that is not there yet.
fn built(url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        (
            "universe/package.json",
            r#"{"packagingVersion": "4.0", "name": "weather", "version": "{{package-version}}", "tags": ["t"],
                "maintainer": "m@example.org", "description": "d"}"#,
        ),
        ("universe/config.json", r#"{"type": "object", "properties": {}}"#),
        (
            "universe/marathon.json.mustache",
            r#"{"id": "weather", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}"#,
        ),
        ("universe/resource.json", r#"{"assets": {"uris": {"svc": "{{artifact-dir}}/svc.yml"}}}"#),
        ("svc/svc.yml", "name: weather\n"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let output = dagpkg(folder.path(), &format!("build local --out out --url {url}"));
    let output = { output }.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    folder
}

/// Runs `dagpkg verify`: its exit code, stdout and stderr.
fn verify(folder: &Path, arguments: &str) -> (i32, String, String) {
    let output = dagpkg(folder, &format!("verify {arguments}")).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_was_built_and_is_served_is_whole_until_it_is_damaged() {
    // a port of one's own; who takes it in between makes the test fail, not pass
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = built(&format!("http://127.0.0.1:{port}"));
    let server = Server::start(folder.path(), &format!("--port {port}"), 1);
    let stub = server.lines[1].trim();
    let directory = stub.rsplit_once('/').unwrap().0;
    for target in [stub, directory, "out"] {
        let (code, stdout, stderr) = verify(folder.path(), target);
        assert_eq!((code, stderr.as_str()), (0, ""), "{target}: {stdout}");
        assert!(stdout.contains("weather stub-universe: 5 files, "), "{target}: {stdout}");
        assert!(stdout.ends_with(", no findings\n"), "{target}: {stdout}");
    }

    let (_, path) = directory.split_once(&format!("{port}/")).unwrap();
    std::fs::write(folder.path().join("out").join(path).join("svc.yml"), "name: other\n").unwrap();
    for target in [stub, directory, "out"] {
        let (code, stdout, stderr) = verify(folder.path(), target);
        assert_eq!(code, 1, "{target}: {stdout}");
        assert!(stderr.contains("SHA256SUMS:") && stderr.contains("error[V003]"), "{target}: {stderr}");
        assert!(stderr.contains("bom.cdx.json:"), "{target}: {stderr}");
        assert!(stdout.ends_with(", 2 errors\n"), "{target}: {stdout}");
        let (code, stdout, _) = verify(folder.path(), &format!("{target} --output json"));
        let report: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (code, &report[0]["errors"], &report[0]["findings"][0]["code"]),
            (1, &2.into(), &"V003".into())
        );
        assert_eq!(report[0]["packages"][0]["name"], "weather");
        assert_eq!(report[0]["files"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn what_cannot_be_checked_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let cases = [
        ("nowhere", "error: cannot read nowhere: No such file"),
        ("empty", "error: there is no stub universe in empty, nor in the folders below it"),
        ("ftp://127.0.0.1/x", "error: ftp://127.0.0.1/x cannot be read: expected http://"),
        ("http://127.0.0.1:1/x --url http://h", "error: --url says which URL a folder has"),
    ];
    for (arguments, expected) in cases {
        let (code, stdout, stderr) = verify(folder.path(), arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments}");
        assert!(stderr.starts_with(expected), "{arguments}: {stderr}");
    }
}
