use super::*;
use crate::package::marathon;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;

/// A package that names two artifacts: one to be given, one to be found.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
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

    fn plan(&self) -> Build {
        Build {
            universe: self.path("universe"),
            artifacts: vec![self.path("files/given.bin")],
            service: self.path("svc"),
            search: vec![self.path("nowhere"), self.path("search")],
            root_url: "http://127.0.0.1:1/root".into(),
            dir_name: None,
            url: None,
            manifests: Vec::new(),
            version: "1.2.3".into(),
            build_time: 1_700_000_000,
            environment: vec![("TEMPLATE_UPGRADES_FROM".into(), "1.0".into())],
        }
    }
}

fn quietly(plan: &Build) -> Result<Publication, BuildError> {
    build(plan, &mut |_| {})
}

/// Everything of a publication but where its artifacts came from.
fn bytes(publication: &Publication) -> (&str, &str, Vec<(&str, &str, u64)>) {
    let items = publication.items.iter().map(|item| (item.name.as_str(), item.sha256.as_str(), item.size));
    (&publication.directory, &publication.url, items.collect())
}

fn json_of(publication: &Publication, name: &str) -> Value {
    let item = publication.items.iter().find(|item| item.name == name).unwrap();
    let Content::Bytes(bytes) = &item.content else { panic!("{name} is a file") };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_publication_has_artifacts_then_their_hashes_then_stubs() {
    let fixture = Fixture::new();
    let built = quietly(&fixture.plan()).unwrap();
    assert_eq!((built.name.as_str(), built.version.as_str()), ("demo", "1.2.3"));
    let names: Vec<_> = built.items.iter().map(|item| item.name.as_str()).collect();
    let expected = [
        "found.sh",
        "given.bin",
        "SHA256SUMS",
        "bom.cdx.json",
        "stub-universe-demo.v3.json",
        "stub-universe-demo.v5.json",
        "stub-universe-demo.json",
    ];
    assert_eq!(names, expected);
    let hash = built.directory.strip_prefix("demo/").unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    assert_eq!(built.url, format!("http://127.0.0.1:1/root/demo/{hash}"));
    assert_eq!(built.stub_url(), format!("{}/stub-universe-demo.json", built.url));
    assert_eq!(built.items[1].content, Content::File(fixture.path("files/given.bin")));
    assert_eq!(
        built.items[6].content_type,
        "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4"
    );

    let stub = json_of(&built, "stub-universe-demo.json");
    let package = &stub["packages"][0];
    assert_eq!((&package["version"], &package["upgradesFrom"]), (&json!("1.2.3"), &json!(["1.0"])));
    assert_eq!((&package["releaseVersion"], &package["lastUpdated"]), (&json!(0), &json!(1_700_000_000)));
    assert_eq!(package["config"]["properties"]["name"]["default"], "demo");
    assert_eq!(package["resource"]["assets"]["uris"]["b"], format!("{}/found.sh", built.url));
    assert_eq!(
        package["resource"]["cli"]["binaries"]["linux"]["x86-64"]["contentHash"][0]["value"],
        // SHA-256 of "abc", from FIPS 180-2
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let bom = json_of(&built, "bom.cdx.json");
    assert_eq!(bom["components"][1]["externalReferences"][0]["url"], format!("{}/given.bin", built.url));
    assert_eq!(bom["components"].as_array().unwrap().len(), 2, "nothing comes from elsewhere");
    let app = marathon::app(package.as_object().unwrap(), "", &Map::new(), None);
    assert_eq!(app.unwrap()["v"], "1.2.3");
}

#[test]
fn the_hashes_are_those_that_sha256sum_checks() {
    let fixture = Fixture::new();
    let built = quietly(&fixture.plan()).unwrap();
    for item in &built.items {
        match &item.content {
            Content::Bytes(bytes) => std::fs::write(fixture.path(&item.name), bytes).unwrap(),
            Content::File(path) => drop(std::fs::copy(path, fixture.path(&item.name)).unwrap()),
        }
    }
    let mut check = std::process::Command::new("sha256sum");
    let checked =
        check.args(["--check", "--strict", SUMS]).current_dir(fixture.folder.path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(String::from_utf8(checked.stdout).unwrap().lines().count(), built.items.len() - 1);
}

#[test]
fn the_same_input_gives_the_same_bytes_wherever_it_lies() {
    let (one, two) = (Fixture::new(), Fixture::new());
    let (one, two) = (quietly(&one.plan()).unwrap(), quietly(&two.plan()).unwrap());
    assert_eq!(bytes(&one), bytes(&two));
}

#[test]
fn each_change_of_the_input_gives_another_directory() {
    let mut directories = BTreeSet::new();
    let mut build_with = |change: &str, text: &str, plan: &dyn Fn(&mut Build)| {
        let fixture = Fixture::new();
        if !change.is_empty() {
            fixture.write(change, text);
        }
        let mut changed = fixture.plan();
        plan(&mut changed);
        let directory = quietly(&changed).unwrap().directory;
        assert!(directories.insert(directory), "{change} {text}: {changed:?}");
    };
    let files = [
        ("", ""),
        ("files/given.bin", "abd"),
        ("search/found.sh", "#!/bin/bash\n"),
        ("universe/config.json", r#"{"properties": {"name": {"default": "other"}}}"#),
        ("universe/marathon.json.mustache", "{\"id\": \"{{name}}\"}"),
        ("universe/resource.json", r#"{"assets": {"uris": {"a": "{{artifact-dir}}/given.bin"}}}"#),
    ];
    for (path, text) in files {
        build_with(path, text, &|_| {});
    }
    let plans: [&dyn Fn(&mut Build); 6] = [
        &|plan| plan.version = "1.2.4".into(),
        &|plan| plan.build_time += 1,
        &|plan| plan.environment[0].1 = "1.1".into(),
        &|plan| plan.environment.push(("TEMPLATE_PACKAGE_NAME".into(), "unused".into())),
        &|plan| plan.root_url = "http://127.0.0.1:2/root".into(),
        &|plan| plan.artifacts.push(plan.universe.join("config.json")),
    ];
    for (index, plan) in plans.into_iter().enumerate() {
        // what is not used changes nothing
        if index != 3 {
            build_with("", "", plan);
        }
    }
}

#[test]
fn hashes_of_others_come_from_their_lists_and_artifacts_may_be_named_by_parameters() {
    let fixture = Fixture::new();
    let url = "https://unreachable.invalid/SHA256SUMS";
    let resource = json!({
        "assets": {"uris": {"a": "{{artifact-dir}}/{{found}}"}},
        "cli": {"binaries": {"linux": {"x86-64": {
            "kind": "zip", "url": "https://unreachable.invalid/cli.zip",
            "contentHash": [{"algo": "sha256", "value": format!("{{{{sha256:cli.zip@{url}}}}}")}],
        }}}},
    });
    fixture.write("universe/resource.json", &resource.to_string());
    let build_with = |hash: &str| {
        fixture.write("sums", &format!("{hash}  cli.zip\n"));
        let mut plan = fixture.plan();
        plan.manifests = vec![(url.to_owned(), fixture.path("sums"))];
        plan.environment.push(("TEMPLATE_FOUND".into(), "found.sh".into()));
        quietly(&plan).unwrap()
    };
    let hash = "0123456789abcdef".repeat(4);
    let built = build_with(&hash);
    let package = &json_of(&built, "stub-universe-demo.json")["packages"][0];
    let binary = &package["resource"]["cli"]["binaries"]["linux"]["x86-64"];
    assert_eq!(binary["contentHash"][0]["value"], hash);
    assert_eq!(built.items[0].name, "found.sh");
    assert_ne!(build_with(&"f".repeat(64)).directory, built.directory);
}

#[test]
fn a_directory_can_be_given_a_name() {
    let fixture = Fixture::new();
    let mut plan = fixture.plan();
    plan.dir_name = Some("nightly".into());
    let built = quietly(&plan).unwrap();
    assert_eq!(
        (built.directory.as_str(), built.url.as_str()),
        ("demo/nightly", "http://127.0.0.1:1/root/demo/nightly")
    );
    for name in ["../up", "", ".hidden", "a/b", "ä"] {
        plan.dir_name = Some(name.into());
        assert!(matches!(quietly(&plan), Err(BuildError::Name(wrong)) if wrong.ends_with(name)), "{name}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("universe/package.json", "{\n\"name\": }", "package.json:2:9: error[P003]: this is not JSON"),
        (
            "universe/package.json",
            "{\n\"name\": \"Big\"}",
            "package.json:2:1: error[P013]: `name`: \"Big\" does not match",
        ),
        ("universe/package.json", "[]", "package.json:1:1: error[P004]: this must be a JSON object"),
        ("universe/config.json", "{\"type\":\n\"nothing\"}", "config.json:1:2: error[P020]: `/type`"),
        (
            "universe/marathon.json.mustache",
            "{\n {{#a}}",
            "marathon.json.mustache:2:2: error[P030]: section `a`",
        ),
        (
            "universe/marathon.json.mustache",
            "{\n \"id\": {{name}}}",
            "marathon.json.mustache:2:8: error[P033]: the rendered",
        ),
        (
            "universe/resource.json",
            "{\n\"a\": \"{{artifact-dir}}/new\"}",
            "resource.json:2:7: error[P090]: the package names",
        ),
        ("universe/resource.json", "{\n\"typo\": 1}", "resource.json:2:1: error[P011]: `typo` is not"),
    ];
    for (path, text, expected) in cases {
        let fixture = Fixture::new();
        fixture.write(path, text);
        let error = quietly(&fixture.plan()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    }
}

#[test]
fn a_package_whose_name_would_lead_elsewhere_is_refused() {
    let fixture = Fixture::new();
    let package = r#"{"packagingVersion": "2.0", "version": "1", "maintainer": "m", "description": "d", "tags": [],
        "name": "../x"}"#;
    fixture.write("universe/package.json", package);
    fixture.write("universe/resource.json", "{}");
    let error = quietly(&fixture.plan()).unwrap_err().to_string();
    assert!(
        error.contains("package.json:2:9: error[P013]: `name`: `../x` cannot be published under this name"),
        "{error}"
    );
}

#[test]
fn files_that_are_missing_meet_or_have_other_names_are_refused() {
    let fixture = Fixture::new();
    let mut plan = fixture.plan();
    plan.artifacts.push(fixture.path("files/absent"));
    assert!(matches!(quietly(&plan), Err(BuildError::Read { path, .. }) if path.ends_with("absent")));
    plan.artifacts[1] = fixture.path("search/../files/given.bin");
    assert!(matches!(quietly(&plan), Err(BuildError::SameName { .. })));
    for name in
        ["SHA256SUMS", "bom.cdx.json", "stub-universe-demo.json", "two words", "new\nline", ".hidden", "ä"]
    {
        fixture.write(&format!("files/{name}"), "");
        plan.artifacts[1] = fixture.path("files").join(name);
        assert!(matches!(quietly(&plan), Err(BuildError::Name(wrong)) if wrong == name), "{name}");
    }
    plan.universe = fixture.path("nowhere");
    plan.artifacts.pop();
    assert!(
        quietly(&plan).unwrap_err().to_string().contains("package.json: error[P001]: there is no such file")
    );
}

#[test]
fn a_file_that_grows_or_is_replaced_while_it_is_read_is_refused() {
    for append in [true, false] {
        let fixture = Fixture::new();
        let path = fixture.path("files/given.bin");
        std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        // clocks of file systems tick slowly
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut first = true;
        let result = build(&fixture.plan(), &mut |done| {
            if done.name == "given.bin" && std::mem::take(&mut first) {
                let mut file = File::options().write(true).append(append).open(&path).unwrap();
                file.write_all(b"later").unwrap();
            }
        });
        assert!(matches!(result, Err(BuildError::Changed(_))), "append {append}: {result:?}");
        assert!(quietly(&fixture.plan()).is_ok());
    }
}

#[test]
fn progress_ends_when_all_bytes_are_read() {
    let fixture = Fixture::new();
    let mut last = (0, 0);
    build(&fixture.plan(), &mut |done| last = (done.bytes, done.total)).unwrap();
    assert_eq!(last, (13, 13));
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

#[test]
fn archives_that_a_package_names_are_made_unless_there_are_such_files() {
    let fixture = Fixture::new();
    let resource =
        r#"{"assets": {"uris": {"a": "{{artifact-dir}}/svc.zip", "b": "{{artifact-dir}}/bootstrap.zip"}}}"#;
    fixture.write("universe/resource.json", resource);
    let refused = quietly(&fixture.plan()).unwrap_err().to_string();
    assert!(
        refused.contains("`svc.zip`, which is not there") && refused.contains("`bootstrap.zip`"),
        "{refused}"
    );

    fixture.write("svc/svc.yml", "name: x");
    fixture.write("search/dagpkg-bootstrap", "elf");
    let made = quietly(&fixture.plan()).unwrap();
    let names: Vec<_> = made.items.iter().take(4).map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["bootstrap.zip", "given.bin", "svc.zip", "SHA256SUMS"]);
    fixture.write("svc/svc.yml", "name: y");
    let other = quietly(&fixture.plan()).unwrap();
    assert_ne!(other.directory, made.directory, "another service, another hash");

    fixture.write("search/svc.zip", "the author's own");
    let own = quietly(&fixture.plan()).unwrap();
    assert_eq!(own.items[2].size, 16);
}
