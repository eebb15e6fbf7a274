use super::*;
use serde_json::{Value, json};

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A package that names two artifacts: one to be given, one to be found.
    fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.write(
            "universe/package.json",
            r#"{"packagingVersion": "4.0", "name": "demo", "version": "{{package-version}}", "tags": ["t"],
                "maintainer": "m@example.org", "description": "d", "upgradesFrom": ["{{upgrades-from}}"]}"#,
        );
        fixture.write("universe/config.json", r#"{"properties": {"name": {"default": "demo"}}}"#);
        fixture.write(
            "universe/marathon.json.mustache",
            "{\"id\": \"{{name}}\", \"v\": \"{{package-version}}\"}",
        );
        fixture.write(
            "universe/resource.json",
            r#"{"assets": {"uris": {"a": "{{artifact-dir}}/given.bin", "b": "{{artifact-dir}}/found.sh"}},
                "cli": {"binaries": {"linux": {"x86-64": {"kind": "executable", "url": "{{artifact-dir}}/given.bin",
                "contentHash": [{"algo": "sha256", "value": "{{sha256:given.bin}}"}]}}}}}"#,
        );
        fixture.write("files/given.bin", "abc");
        fixture.write("search/found.sh", "#!/bin/sh\n");
        fixture
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn plan(&self, out: &str) -> Build {
        Build {
            universe: self.path("universe"),
            artifacts: vec![self.path("files/given.bin")],
            search: vec![self.path("nowhere"), self.path("search")],
            artifact_url: "http://127.0.0.1:1/demo".into(),
            version: "1.2.3".into(),
            build_time: 1_700_000_000,
            environment: vec![("TEMPLATE_UPGRADES_FROM".into(), "1.0".into())],
            out: self.path(out),
        }
    }

    /// All files of a folder.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        entries.map(read).collect()
    }
}

#[test]
fn a_package_is_built_with_its_artifacts_beside_it() {
    let fixture = Fixture::new();
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(fixture.path("search/found.sh"), mode).unwrap();
    let built = build(&fixture.plan("out")).unwrap();
    assert_eq!((built.name.as_str(), built.version.as_str()), ("demo", "1.2.3"));
    let files = fixture.files("out");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["found.sh", "given.bin", "stub-universe-demo.json"]);
    assert_eq!(files["given.bin"], b"abc");
    let mode =
        |name: &str| std::fs::metadata(fixture.path("out").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("found.sh"), mode("given.bin"), mode("stub-universe-demo.json")), (0o755, 0o644, 0o644));

    let stub: Value = serde_json::from_slice(&files["stub-universe-demo.json"]).unwrap();
    let package = &stub["packages"][0];
    assert_eq!((&package["version"], &package["upgradesFrom"]), (&json!("1.2.3"), &json!(["1.0"])));
    assert_eq!((&package["releaseVersion"], &package["lastUpdated"]), (&json!(0), &json!(1_700_000_000)));
    assert_eq!(package["config"]["properties"]["name"]["default"], "demo");
    assert_eq!(package["resource"]["assets"]["uris"]["b"], "http://127.0.0.1:1/demo/found.sh");
    assert_eq!(
        package["resource"]["cli"]["binaries"]["linux"]["x86-64"]["contentHash"][0]["value"],
        // SHA-256 of "abc", from FIPS 180-2
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let app = crate::package::marathon::app(package.as_object().unwrap(), "", &serde_json::Map::new(), None);
    assert_eq!(app.unwrap()["v"], "1.2.3");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let fixture = Fixture::new();
    build(&fixture.plan("one")).unwrap();
    build(&fixture.plan("two")).unwrap();
    build(&fixture.plan("two")).unwrap();
    assert_eq!(fixture.files("one"), fixture.files("two"));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_leaves_nothing() {
    let cases = [
        ("universe/package.json", "{\n\"name\": }", "package.json:2:9: this is not JSON"),
        (
            "universe/package.json",
            "{\n\"name\": \"Big\"}",
            "package.json:2:1: `name`: \"Big\" does not match",
        ),
        ("universe/package.json", "[]", "package.json:1:1: this must be a JSON object"),
        ("universe/config.json", "{\"type\":\n\"nothing\"}", "config.json:1:2: `/type`"),
        ("universe/marathon.json.mustache", "{\n {{#a}}", "marathon.json.mustache:2:2: section `a`"),
        (
            "universe/marathon.json.mustache",
            "{\n \"id\": {{name}}}",
            "marathon.json.mustache:2:8: the rendered",
        ),
        (
            "universe/resource.json",
            "{\n\"a\": \"{{artifact-dir}}/new\"}",
            "resource.json:2:7: the package names",
        ),
        ("universe/resource.json", "{\n\"typo\": 1}", "resource.json:1:1: Additional properties"),
    ];
    for (path, text, expected) in cases {
        let fixture = Fixture::new();
        fixture.write(path, text);
        let error = build(&fixture.plan("out")).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error}");
        assert_eq!(fixture.files("out"), BTreeMap::new(), "{expected}");
    }
}

#[test]
fn files_that_are_missing_or_meet_are_refused() {
    let fixture = Fixture::new();
    let mut plan = fixture.plan("out");
    plan.artifacts.push(fixture.path("files/absent"));
    assert!(matches!(build(&plan), Err(BuildError::Read { path, .. }) if path.ends_with("absent")));
    plan.artifacts[1] = fixture.path("search/../files/given.bin");
    assert!(matches!(build(&plan), Err(BuildError::SameName { .. })));
    plan.universe = fixture.path("nowhere");
    assert!(build(&plan).unwrap_err().to_string().contains("package.json: there is no such file"));
    fixture.write("taken", "");
    assert!(matches!(build(&fixture.plan("taken")), Err(BuildError::Write { .. })));
    assert_eq!(fixture.files("out"), BTreeMap::new());
}

#[test]
fn the_time_of_a_build_is_never_the_clock() {
    let fixture = Fixture::new();
    assert_eq!(build_time(Some("12"), &fixture.path(".")), Ok(12));
    assert!(build_time(Some("soon"), &fixture.path(".")).unwrap_err().contains("SOURCE_DATE_EPOCH"));
    assert_eq!(build_time(None, &fixture.path("nowhere")), Ok(0));
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .current_dir(fixture.folder.path())
            .env("GIT_COMMITTER_DATE", "@1600000000 +0000")
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    assert_eq!(build_time(None, &fixture.path("universe")), Ok(1_600_000_000));
}
