//! A server for S3 (moto), an independent client of it (boto3), and `dagpkg build aws` as it is run.

use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const BUCKET: &str = "packages";

/// Credentials that must never be seen in any output.
pub const KEY_ID: &str = "AKIDTESTONLY";
pub const SECRET: &str = "test-only-secret";

fn python() -> PathBuf {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("run/s3");
    assert!(environment.join("complete").exists(), "no {}: run ./build.sh test", environment.display());
    environment.join("bin/python")
}

/// The environment of everything that is started here: nothing of this machine's.
fn bare(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A policy from the documentation, the n-th there: what it promises is what the tests use.
pub fn documented_policy(n: usize) -> String {
    let text = include_str!("../../docs/publishing.md");
    let policies = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let policy = policies.filter(|block| block.contains("\"Statement\"")).nth(n).expect("a policy");
    policy.replace("BUCKET", BUCKET)
}

/// A running server; it ends with this.
pub struct Server {
    folder: tempfile::TempDir,
    process: Child,
    pub url: String,
}

impl Server {
    /// With a bucket that everybody may read, as the documentation says.
    pub fn start() -> Self {
        let server = Self::empty(&[]);
        server.client(&["bucket", BUCKET, &documented_policy(0)]);
        server
    }

    /// Without a bucket.
    pub fn empty(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = folder.path().join("log");
        let file = File::create(&log).unwrap();
        let mut command = bare(python(), folder.path());
        // with port 0 it says which one it took
        command.args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).args(arguments);
        let process = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut server = Self { folder, process, url: String::new() };
        let start = Instant::now();
        while server.url.is_empty() {
            let said = fs::read_to_string(&log).unwrap();
            assert!(start.elapsed() < Duration::from_mins(1), "the server does not start: {said}");
            if let Some((_, rest)) = said.split_once("Running on ") {
                rest.split_whitespace().next().unwrap_or_default().clone_into(&mut server.url);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Asks the independent client.
    pub fn client(&self, arguments: &[&str]) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/client.py");
        let mut command = bare(python(), self.folder.path());
        command
            .arg(script)
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_DEFAULT_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// All objects of the bucket.
    pub fn objects(&self) -> Vec<Object> {
        let list = self.client(&["objects", BUCKET]);
        list.as_array().unwrap().iter().map(Object::new).collect()
    }

    /// The names of all objects, without their folders.
    pub fn names(&self) -> Vec<String> {
        self.objects().iter().map(|object| object.name().to_owned()).collect()
    }

    /// From now on, signatures and policies are checked, or not.
    pub fn enforce(&self, on: bool) {
        let authority = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(authority).unwrap();
        // how many requests are still good in any case
        let count = if on { "0" } else { "Infinity" };
        let length = count.len();
        let head =
            format!("POST /moto-api/reset-auth HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{count}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    pub fn unfinished_uploads(&self) -> u64 {
        self.client(&["uploads", BUCKET]).as_u64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An object as the independent client has read it.
#[derive(Debug)]
pub struct Object {
    pub key: String,
    pub sha256: String,
    pub size: u64,
    pub content_type: String,
    pub metadata: Value,
}

impl Object {
    fn new(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        Self {
            key: text("key"),
            sha256: text("sha256"),
            size: value["size"].as_u64().unwrap(),
            content_type: text("contentType"),
            metadata: value["metadata"].clone(),
        }
    }

    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap()
    }
}

/// A package to publish: two small artifacts, and a large one that goes in three parts.
pub struct Project {
    pub folder: tempfile::TempDir,
}

pub const LARGE: &str = "large.bin";
const LARGE_SIZE: u64 = (17 << 20) + 12344;

impl Project {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(
            "universe/package.json",
            br#"{"packagingVersion": "4.0", "name": "weather", "version": "{{package-version}}", "tags": ["t"],
                "maintainer": "m@example.org", "description": "d"}"#,
        );
        write(
            "universe/config.json",
            br#"{"type": "object", "properties": {"x": {"type": "integer", "default": 2}}}"#,
        );
        write("universe/marathon.json.mustache", br#"{"id": "weather", "env": {"X": "{{x}}"}}"#);
        write(
            "universe/resource.json",
            br#"{"assets": {"uris": {"svc": "{{artifact-dir}}/svc.yml", "large": "{{artifact-dir}}/large.bin",
                "tool": "{{artifact-dir}}/tool"}}}"#,
        );
        write("svc/svc.yml", b"name: weather\n");
        write("svc/tool", b"#!/bin/sh\necho tool\n");
        // no two parts of it are alike
        let large: Vec<u8> =
            (0..LARGE_SIZE / 8).flat_map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
        write(&format!("svc/{LARGE}"), &large);
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `dagpkg build aws` with credentials, for a server.
    pub fn build(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = bare(env!("CARGO_BIN_EXE_dagpkg"), self.folder.path());
        command.args(["build", "aws", "--output", "json"]).args(arguments).current_dir(self.folder.path());
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("S3_BUCKET", BUCKET).env("AWS_ENDPOINT_URL", url);
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What a publication that must succeed says of itself.
    pub fn published(&self, url: &str) -> Value {
        succeeded(&self.build(url, &[]).output().unwrap())
    }
}

/// The result that a run printed.
pub fn succeeded(output: &Output) -> Value {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// The message of a run that failed as it should.
pub fn failed(output: &Output) -> String {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("error: "), "{err}");
    assert_eq!(out, "", "{err}");
    err
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!format!("{out}{err}").contains(SECRET), "a secret was printed: {out}{err}");
    (out, err)
}
