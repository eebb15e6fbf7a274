use super::*;
use crate::publish::build::{self, Build};
use crate::publish::serve::{self, Server};
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use std::fs;

/// A published package `demo`, and a server for it.
struct Fixture {
    root: tempfile::TempDir,
    server: Server,
    /// Below the root.
    directory: String,
}

impl Fixture {
    /// `uris` are members of `assets.uris` beside the package's own.
    async fn publish(uris: &str) -> Self {
        let (source, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| fs::write(source.path().join(name), text).unwrap();
        write(
            "package.json",
            r#"{"packagingVersion": "4.0", "name": "demo", "version": "1.0", "tags": ["t"],
                "maintainer": "m@example.org", "description": "d"}"#,
        );
        write("config.json", r#"{"properties": {"name": {"type": "string", "default": "demo"}}}"#);
        write("marathon.json.mustache", r#"{"id": "{{name}}", "cmd": "sleep 1", "cpus": 1, "mem": 1}"#);
        let resource = r#"{"assets": {"uris": {"svc": "{{artifact-dir}}/svc.yml"URIS}},
            "cli": {"binaries": {"linux": {"x86-64": {"kind": "executable", "url": "{{artifact-dir}}/cli",
            "contentHash": [{"algo": "sha256", "value": "{{sha256:cli}}"}]}}}}}"#;
        write("resource.json", &resource.replace("URIS", uris));
        write("svc.yml", "name: demo\n");
        write("cli", "#!/bin/sh\n");
        let server = serve::start(root.path(), ([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let plan = Build {
            universe: source.path().to_owned(),
            artifacts: vec![source.path().join("svc.yml"), source.path().join("cli")],
            service: source.path().join("no service"),
            search: Vec::new(),
            root_url: server.url(),
            dir_name: None,
            url: None,
            manifests: Vec::new(),
            version: "1.0".into(),
            build_time: 0,
            environment: Vec::new(),
        };
        let built = build::build(&plan, &mut |_| {}).unwrap();
        crate::publish::folder::publish(&built, root.path(), &mut |_| {}).unwrap();
        Self { root, server, directory: built.directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(&self.directory).join(name)
    }

    fn url(&self, name: &str) -> Target {
        Target::Url(format!("{}/{}/{name}", self.server.url(), self.directory).parse().unwrap())
    }

    fn folder(&self) -> Target {
        Target::Path { path: self.root.path().to_owned(), url: None }
    }

    fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{name}: {text}");
        fs::write(self.path(name), text.replace(old, new)).unwrap();
    }
}

async fn quietly(target: &Target) -> Vec<Verified> {
    verify(target, &mut |_| {}).await.unwrap()
}

/// The codes of the findings of the only package, each once.
async fn codes(target: &Target) -> Vec<&'static str> {
    let verified = quietly(target).await;
    assert_eq!(verified.len(), 1, "{verified:?}");
    let codes: BTreeSet<_> = verified[0].findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.into_iter().collect()
}

#[tokio::test]
async fn a_package_is_found_by_its_stub_its_directory_and_its_folder() {
    let fixture = Fixture::publish("").await;
    let stub = Target::Path { path: fixture.path("stub-universe-demo.json"), url: None };
    let one = Target::Path { path: fixture.path(""), url: None };
    let targets = [fixture.url("stub-universe-demo.json"), fixture.url(""), fixture.folder(), one, stub];
    for target in targets {
        let verified = quietly(&target).await;
        let [verified] = verified.as_slice() else { panic!("{target:?}: {verified:?}") };
        assert_eq!(verified.findings, [], "{target:?}");
        assert_eq!(verified.packages, [("demo".to_owned(), "1.0".to_owned())]);
        assert!(verified.stub.ends_with("/stub-universe-demo.json"), "{}", verified.stub);
        let names: Vec<_> = verified.files.iter().map(|file| file.url.rsplit('/').next().unwrap()).collect();
        let expected = [
            "bom.cdx.json",
            "cli",
            "stub-universe-demo.json",
            "stub-universe-demo.v3.json",
            "stub-universe-demo.v5.json",
            "svc.yml",
        ];
        assert_eq!(names, expected, "{target:?}");
        assert!(verified.files.iter().all(|file| file.sha256.is_some()), "{:?}", verified.files);
        assert_eq!(verified.files[1].size, Some(10));
    }
}

/// What is done to a package, and what is then found: on the web, and beyond that in the folder.
type Damage = (&'static str, fn(&Fixture), &'static [&'static str]);

#[tokio::test]
async fn each_damage_to_a_published_package_is_found() {
    let damages: [Damage; 12] = [
        ("another artifact", |f| fs::write(f.path("svc.yml"), "name: evil\n").unwrap(), &["V003"]),
        ("an artifact that is gone", |f| fs::remove_file(f.path("cli")).unwrap(), &["V002"]),
        ("an empty artifact", |f| fs::write(f.path("cli"), "").unwrap(), &["V003", "V004"]),
        (
            "another hash in the stub",
            |f| f.edit("stub-universe-demo.json", "\"value\": \"", "\"value\": \"00"),
            &["V003"],
        ),
        ("no hashes", |f| fs::remove_file(f.path("SHA256SUMS")).unwrap(), &["V006"]),
        ("a broken list of hashes", |f| f.edit("SHA256SUMS", "  svc.yml", " svc.yml"), &["V005"]),
        ("a list that leads out", |f| f.edit("SHA256SUMS", "  svc.yml", "  ../svc.yml"), &["V005"]),
        (
            "no JSON as bill of materials",
            |f| fs::write(f.path("bom.cdx.json"), "{").unwrap(),
            &["P003", "V003"],
        ),
        (
            "another hash in the bill of materials",
            |f| f.edit("bom.cdx.json", "\"content\": \"", "\"content\": \"00"),
            &["V003"],
        ),
        (
            "a rule of the format that is broken",
            |f| {
                f.edit(
                    "stub-universe-demo.v3.json",
                    "\"packagingVersion\": \"3.0\"",
                    "\"packagingVersion\": \"4.0\"",
                );
            },
            &["P092", "V003"],
        ),
        (
            "a rule of packages that is broken",
            |f| f.edit("stub-universe-demo.json", "\"description\": \"d\"", "\"description\": 5"),
            &["P092", "V003"],
        ),
        ("a stub that is no JSON", |f| f.edit("stub-universe-demo.json", "\n}\n", "\n"), &["P003", "V003"]),
    ];
    let fixture = Fixture::publish("").await;
    // which file is asked for does not matter here, but that there is one only: the other formats are not listed
    let others = ["stub-universe-demo.v5.json", "stub-universe-demo.v3.json"];
    let sums = fs::read_to_string(fixture.path("SHA256SUMS")).unwrap();
    let kept = |line: &&str| !others.iter().any(|name| line.trim_end().ends_with(name));
    let few_sums = sums.split_inclusive('\n').filter(kept).collect::<String>();
    let entries = fs::read_dir(fixture.path("")).unwrap().map(|entry| entry.unwrap().path());
    let all: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for (damage, make, expected) in damages {
        for (path, bytes) in &all {
            fs::write(path, bytes).unwrap();
        }
        if !damage.contains("format") {
            for name in others {
                fs::remove_file(fixture.path(name)).unwrap();
            }
            fs::write(fixture.path("SHA256SUMS"), &few_sums).unwrap();
        }
        make(&fixture);
        let on_web = codes(&fixture.url("stub-universe-demo.json")).await;
        assert_eq!(on_web, expected, "{damage}");
        // in the folder it is also seen that the file with the broken line is not listed
        let in_folder = codes(&fixture.folder()).await;
        let unlisted: &[&str] = if expected == ["V005"] { &["V007"] } else { &[] };
        assert_eq!(in_folder, [expected, unlisted].concat(), "{damage}, in the folder");
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_the_places_that_say_otherwise() {
    let fixture = Fixture::publish("").await;
    fs::write(fixture.path("cli"), "evil").unwrap();
    fs::remove_file(fixture.path("svc.yml")).unwrap();
    let verified = quietly(&fixture.folder()).await;
    let told: Vec<String> = verified[0]
        .findings
        .iter()
        .map(|finding| {
            let file = finding.source.file.rsplit('/').next().unwrap();
            format!("{} {file}:{}", finding.code, finding.place().unwrap().line)
        })
        .collect();
    let lines = |name: &str, text: &str| {
        let found = fs::read_to_string(fixture.path(name)).unwrap();
        found.lines().position(|line| line.contains(text)).unwrap() + 1
    };
    let expected = [
        format!("V003 stub-universe-demo.json:{}", lines("stub-universe-demo.json", "/cli\"")),
        format!("V003 SHA256SUMS:{}", lines("SHA256SUMS", "  cli")),
        format!("V003 bom.cdx.json:{}", lines("bom.cdx.json", "\"hashes\"")),
        format!("V002 stub-universe-demo.json:{}", lines("stub-universe-demo.json", "/svc.yml\"")),
    ];
    assert_eq!(told, expected);
    assert_eq!((verified[0].count(Severity::Error), verified[0].count(Severity::Warning)), (4, 0));
}

#[tokio::test]
async fn a_file_that_nobody_published_is_told_in_a_folder() {
    let fixture = Fixture::publish("").await;
    fs::write(fixture.path("stray"), "x").unwrap();
    assert_eq!(codes(&fixture.folder()).await, ["V007"]);
}

#[tokio::test]
async fn a_folder_without_a_telling_name_needs_its_url() {
    let fixture = Fixture::publish("").await;
    let moved = fixture.root.path().join("moved");
    fs::rename(fixture.path(""), &moved).unwrap();
    // its own URLs lead nowhere now
    let nameless = Target::Path { path: moved.clone(), url: None };
    let verified = quietly(&nameless).await;
    let told = verified[0].findings.iter().map(ToString::to_string).collect::<String>();
    assert!(told.contains("404") && told.contains("--url URL"), "{told}");
    let url = format!("{}/{}", fixture.server.url(), fixture.directory);
    let named = Target::Path { path: moved, url: Some(url) };
    assert_eq!(codes(&named).await, Vec::<&str>::new());
    // that of the root works as well
    fs::create_dir_all(fixture.path("")).unwrap();
    fs::rename(fixture.root.path().join("moved"), fixture.path("")).unwrap();
    let url = Some(format!("{}/", fixture.server.url()));
    assert_eq!(codes(&Target::Path { path: fixture.root.path().to_owned(), url }).await, Vec::<&str>::new());
}

/// A server that is odd in several ways.
async fn odd_server() -> String {
    let lead =
        |to: &'static str| get(move || async move { (axum::http::StatusCode::FOUND, [("location", to)]) });
    let unsized_body = || async {
        let parts = futures_util::stream::iter([Ok::<_, io::Error>("a"), Ok("b")]);
        axum::body::Body::from_stream(parts).into_response()
    };
    let app = Router::new()
        .route("/file", lead("file:///etc/passwd"))
        .route("/round", lead("/round"))
        .route("/good", get(|| async { "good" }))
        .route("/to-good", lead("/good"))
        .route("/unsized", get(unsized_body))
        .route("/repository.json", get(|| async { ([("content-type", "application/json")], "{}") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_root_of_packages_on_the_web_is_answered_with_what_can_be_named() {
    let fixture = Fixture::publish("").await;
    let root = Target::Url(fixture.server.url().parse().unwrap());
    let findings = quietly(&root).await.remove(0).findings;
    let help = findings[0].help.as_deref().unwrap_or_default();
    assert_eq!((findings.len(), findings[0].code), (1, Code::NotRepository));
    assert!(help.contains("the directory of one package: URL/PACKAGE/HASH"), "{help}");
}

#[tokio::test]
async fn urls_of_others_lead_to_http_only() {
    let odd = odd_server().await;
    let uris = format!(
        r#", "a": "file:///etc/passwd", "b": "{odd}/file", "c": "{odd}/round", "d": "{odd}/good", "e": "{odd}/to-good",
            "f": "no url", "g": "{{{{artifact-dir}}}}/../svc.yml", "h": "http://127.0.0.1:1/gone", "i": "ftp://127.0.0.1/x""#
    );
    let fixture = Fixture::publish(&uris).await;
    for target in [fixture.folder(), fixture.url("stub-universe-demo.json")] {
        let verified = quietly(&target).await;
        let errors: Vec<String> = verified[0]
            .findings
            .iter()
            .filter(|finding| finding.code == Code::Unreachable)
            .map(|finding| finding.message.clone())
            .collect();
        let has = |start: &str, why: &str| {
            assert!(
                errors.iter().any(|error| error.starts_with(start) && error.contains(why)),
                "{start}: {errors:#?}"
            );
        };
        has("file:///etc/passwd", "file: is not followed");
        has("ftp://127.0.0.1/x", "ftp: is not followed");
        has(&format!("{odd}/file"), "");
        has(&format!("{odd}/round"), "redirect");
        has("no url", "relative URL without a base");
        has("http://127.0.0.1:1/gone", "refused");
        // in the folder nothing above it is read; a server is asked for the path without the dots, and has no such file
        has(&format!("{}/{}/../svc.yml", fixture.server.url(), fixture.directory), "");
        assert_eq!(errors.len(), 7, "{errors:#?}");
        // what is there, and has no hash
        let unhashed = verified[0].findings.iter().filter(|finding| finding.code == Code::NoHash);
        assert_eq!(unhashed.count(), 2);
    }
}

#[tokio::test]
async fn what_the_package_service_hands_on_needs_a_length() {
    let odd = odd_server().await;
    let stub = format!(
        r#"{{"packages": [{{"packagingVersion": "3.0", "name": "demo", "version": "1", "maintainer": "m", "tags": [],
            "description": "d", "releaseVersion": 0, "website": "{odd}/gone", "resource": {{
            "images": {{"icon-small": "{odd}/unsized", "icon-large": "{odd}/good", "screenshots": ["{odd}/gone"]}}}}}}]}}"#
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stub-universe-demo.json"), stub).unwrap();
    let verified = quietly(&Target::Path { path: folder.path().to_owned(), url: None }).await;
    let told: Vec<_> = verified[0]
        .findings
        .iter()
        .map(|finding| (finding.code, finding.severity, finding.message.rsplit(&odd).next().unwrap()))
        .map(|(code, severity, rest)| (code, severity, rest.split(' ').next().unwrap()))
        .collect();
    let expected = [
        (Code::NoHash, Severity::Warning, "there"),
        // a page that is gone as well is told once, for what needs it
        (Code::Unreachable, Severity::Error, "/gone"),
        (Code::FileSize, Severity::Error, "/unsized"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_is_no_repository_is_refused_with_advice() {
    let odd = odd_server().await;
    let cases = [
        (format!("{odd}/repository.json"), "V001", "--print-config SERVER"),
        (format!("{odd}/gone.json"), "V001", "404"),
        (format!("{odd}/demo/hash"), "V001", "404"),
        ("http://127.0.0.1:1/x.json".to_owned(), "V001", "refused"),
    ];
    for (url, code, text) in cases {
        let verified = quietly(&Target::Url(url.parse().unwrap())).await;
        let told = verified[0].findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(told.len() == 1 && told[0].contains(code) && told[0].contains(text), "{url}: {told:?}");
    }
    let empty = tempfile::tempdir().unwrap();
    for path in [empty.path().to_owned(), empty.path().join("gone")] {
        let target = Target::Path { path, url: None };
        assert!(verify(&target, &mut |_| {}).await.is_err(), "{target:?}");
    }
}

#[tokio::test]
async fn progress_counts_files_and_bytes() {
    let fixture = Fixture::publish("").await;
    let mut seen = Vec::new();
    let verified = verify(&fixture.folder(), &mut |progress| seen.push(progress)).await.unwrap();
    let bytes = verified[0].files.iter().filter_map(|file| file.size).sum();
    assert_eq!(seen.last(), Some(&Progress { done: 6, files: 6, bytes }));
}
