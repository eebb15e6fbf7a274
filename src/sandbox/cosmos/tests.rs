//! Cosmos over HTTP, with a repository over HTTP and Marathon with real processes.

use super::*;
use crate::sandbox::{face, marathon};
use axum::http::header;
use base64::Engine as _;
use serde_json::json;
use std::time::Duration;

const REPO: &str = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4";

struct Cluster {
    marathon: Marathon,
    base: String,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = crate::http::client().unwrap();
        let config = marathon::Config { folder: folder.path().join("marathon"), environment: Vec::new() };
        let marathon = Marathon::open(config, client.clone()).unwrap();
        let cosmos = Cosmos::open(folder.path(), client.clone(), marathon.clone()).unwrap();
        let base = serve(face::router(&marathon, cosmos, client.clone())).await;
        Self { marathon, base, client, folder }
    }

    /// A request with the media types that the command line sends.
    async fn call(&self, path: &str, version: u8, body: &Value) -> (u16, String, Value) {
        let name = path.replace('/', ".");
        let media = |kind: &str, version: u8| {
            format!("application/vnd.dcos.package.{name}-{kind}+json;charset=utf-8;version=v{version}")
        };
        let accept = format!("{},{}", media("response", version), error::ERROR_TYPE);
        let request = self.client.post(format!("{}/package/{path}", self.base));
        let request = request.header("Content-Type", media("request", 1)).header("Accept", accept);
        let answer = request.body(body.to_string()).send().await.unwrap();
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), content_type, answer.json().await.unwrap())
    }

    async fn ok(&self, path: &str, version: u8, body: &Value) -> Value {
        let (status, content_type, answer) = self.call(path, version, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(
            content_type.ends_with(&format!("-response+json;charset=utf-8;version=v{version}")),
            "{content_type}"
        );
        answer
    }

    async fn error(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, content_type, answer) = self.call(path, 1, body).await;
        assert_eq!(content_type, error::ERROR_TYPE);
        (status, answer)
    }
}

/// A repository with one package of two versions: an app that writes its environment and sleeps.
fn fixture(folder: &std::path::Path) -> Value {
    let template = r#"{
        "id": "{{service.name}}", "cmd": "env > {{service.folder}}/env; exec sleep 1000",
        "env": {"GREETING": "{{service.greeting}}", "DATA_URI": "{{resource.assets.uris.data}}"},
        "labels": {"DCOS_SERVICE_NAME": "{{service.name}}", "OWN": "label"}
        {{#service.count}}, "instances": {{service.count}}{{/service.count}}
    }"#;
    let package = |version: &str, release: u64| {
        json!({
            "packagingVersion": "4.0", "name": "greeter", "version": version, "releaseVersion": release,
            "maintainer": "m@example.org", "description": "Says hello", "tags": ["hello", "test"],
            "postInstallNotes": "installed", "postUninstallNotes": "gone",
            "marathon": {"v2AppMustacheTemplate": base64::engine::general_purpose::STANDARD.encode(template)},
            "config": {"type": "object", "properties": {"service": {"type": "object", "properties": {
                "name": {"type": "string", "default": "greeter"},
                "greeting": {"type": "string", "default": "hello"},
                "count": {"type": "integer", "minimum": 1, "default": 1},
                "folder": {"type": "string", "default": folder},
            }, "additionalProperties": false}}},
            "resource": {"assets": {"uris": {"data": "http://127.0.0.1:1/data"}}},
        })
    };
    json!({"packages": [package("0.9", 0), package("1.0", 1)]})
}

async fn repository(content: Value, media: &'static str) -> String {
    let handler = move || {
        let content = content.to_string();
        async move { ([(header::CONTENT_TYPE, media)], content) }
    };
    format!("{}/repo", serve(axum::Router::new().route("/repo", axum::routing::get(handler))).await)
}

async fn until(what: &str, ask: impl Fn() -> bool) {
    for _ in 0..1000 {
        if ask() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within 20 s");
}

#[tokio::test]
async fn repositories_are_added_in_order_listed_and_deleted() {
    let cluster = Cluster::start().await;
    let uri = repository(fixture(cluster.folder.path()), REPO).await;
    // the type that the SDK's tools serve
    let plain =
        repository(json!({"packages": []}), "application/vnd.dcos.universe.repo+json;charset=utf-8").await;
    assert_eq!(cluster.ok("repository/list", 1, &Value::Null).await, json!({"repositories": []}));
    cluster.ok("repository/add", 1, &json!({"name": "one", "uri": uri})).await;
    let added = cluster.ok("repository/add", 1, &json!({"name": "two", "uri": plain, "index": "0"})).await;
    let expected = json!({"repositories": [{"name": "two", "uri": plain}, {"name": "one", "uri": uri}]});
    assert_eq!(added, expected);
    assert_eq!(cluster.ok("repository/list", 1, &json!({})).await, expected);

    let reopened =
        Cosmos::open(cluster.folder.path(), cluster.client.clone(), cluster.marathon.clone()).unwrap();
    assert_eq!(reopened.repositories().len(), 2, "the list survives");

    let json = repository(json!({"packages": []}), "application/json").await;
    for (body, kind) in [
        (json!({"name": "one", "uri": json}), "RepositoryAlreadyPresent"),
        (json!({"name": "x", "uri": uri}), "RepositoryAlreadyPresent"),
        (json!({"name": "x", "uri": json}), "UnsupportedContentType"),
        (json!({"name": "x", "uri": format!("{json}/none")}), "UniverseClientHttpError"),
        (json!({"name": "x", "uri": "http://127.0.0.1:1/"}), "RepositoryUriConnection"),
        (json!({"name": "x", "uri": "ftp://h/"}), "UnsupportedRepositoryUri"),
        (json!({"name": "x", "uri": json, "index": 9}), "RepositoryAddIndexOutOfBounds"),
        (json!({"name": "x"}), "json_error"),
    ] {
        let (status, answer) = cluster.error("repository/add", &body).await;
        assert_eq!((status, answer["type"].as_str()), (400, Some(kind)), "{body}: {answer}");
    }
    assert_eq!(cluster.error("repository/delete", &json!({})).await.1["type"], "RepoNameOrUriMissing");
    assert_eq!(
        cluster.error("repository/delete", &json!({"name": "x"})).await.1["type"],
        "RepositoryNotPresent"
    );
    let left = cluster.ok("repository/delete", 1, &json!({"name": "two"})).await;
    assert_eq!(left["repositories"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_media_types_are_refused() {
    let cluster = Cluster::start().await;
    let url = format!("{}/package/list", cluster.base);
    let list = "application/vnd.dcos.package.list-request+json;charset=utf-8;version=v1";
    let answer = "application/vnd.dcos.package.list-response+json;charset=utf-8;version=v1";
    for (content_type, accept, status) in [
        (list, answer, 200),
        ("application/json", answer, 400),
        (list, "application/json", 400),
        (list, "*/*", 400),
    ] {
        let request = cluster.client.post(&url).header("Content-Type", content_type).header("Accept", accept);
        let got = request.body("{}").send().await.unwrap();
        assert_eq!(got.status().as_u16(), status, "{content_type} {accept}");
        if status == 400 {
            assert_eq!(got.json::<Value>().await.unwrap()["type"], "not_valid");
        }
    }
}

#[tokio::test]
async fn a_package_is_found_described_rendered_installed_listed_and_uninstalled() {
    let cluster = Cluster::start().await;
    let uri = repository(fixture(cluster.folder.path()), REPO).await;
    cluster.ok("repository/add", 1, &json!({"name": "test", "uri": uri})).await;

    let found = cluster.ok("search", 1, &json!({"query": "HELLO"})).await;
    assert_eq!(found["packages"][0]["versions"], json!({"1.0": 1, "0.9": 0}));
    assert_eq!(found["packages"][0]["currentVersion"], "1.0");
    assert_eq!(
        cluster.ok("search", 1, &json!({"query": "gree*"})).await["packages"].as_array().unwrap().len(),
        1
    );
    assert_eq!(cluster.ok("search", 1, &json!({"query": "gree*x"})).await["packages"], json!([]));
    let described =
        cluster.ok("describe", 3, &json!({"packageName": "greeter", "packageVersion": "0.9"})).await;
    assert_eq!(
        (&described["package"]["version"], described["package"]["config"].is_object()),
        (&json!("0.9"), true)
    );

    let options = json!({"service": {"greeting": "say \"hi\"", "count": 2}});
    let rendered = cluster.ok("render", 1, &json!({"packageName": "greeter", "options": options})).await;
    let app = &rendered["marathonJson"];
    assert_eq!((&app["env"]["GREETING"], &app["instances"]), (&json!("say \"hi\""), &json!(2)));
    for (label, value) in [
        ("DCOS_PACKAGE_NAME", "greeter"),
        ("DCOS_PACKAGE_VERSION", "1.0"),
        ("DCOS_PACKAGE_SOURCE", &uri),
        ("OWN", "label"),
    ] {
        assert_eq!(app["labels"][label], value);
    }

    let install = json!({"packageName": "greeter", "options": {"service": {"greeting": "bonjour"}}});
    let installed = cluster.ok("install", 2, &install).await;
    assert_eq!(
        installed,
        json!({"packageName": "greeter", "packageVersion": "1.0", "appId": "/greeter", "postInstallNotes": "installed"})
    );
    let again = cluster.error("install", &install).await;
    assert_eq!((again.0, &again.1["type"]), (409, &json!("PackageAlreadyInstalled")));
    let env = cluster.folder.path().join("env");
    until("the app runs", || std::fs::read_to_string(&env).is_ok_and(|t| t.contains("GREETING=bonjour")))
        .await;

    let other = json!({"packageName": "greeter", "appId": "other"});
    assert_eq!(cluster.ok("install", 1, &other).await["appId"], "/other");
    let listed = cluster.ok("list", 1, &json!({"packageName": "greeter"})).await;
    let ids: Vec<_> = listed["packages"].as_array().unwrap().iter().map(|p| p["appId"].clone()).collect();
    assert_eq!(ids, ["/greeter", "/other"]);
    let shown = &listed["packages"][0]["packageInformation"]["packageDefinition"];
    assert_eq!((&shown["version"], &shown["framework"]), (&json!("1.0"), &json!(false)));

    let ambiguous = cluster.error("uninstall", &json!({"packageName": "greeter"})).await.1;
    assert_eq!(
        (&ambiguous["type"], &ambiguous["data"]["appIds"]),
        (&json!("AmbiguousAppId"), &json!(["/greeter", "/other"]))
    );
    let gone = cluster.ok("uninstall", 1, &json!({"packageName": "greeter", "all": true})).await;
    assert_eq!(gone["results"][0]["postUninstallNotes"], "gone");
    until("no app is left", || {
        cluster.marathon.ids().is_empty() && cluster.marathon.deployments().is_empty()
    })
    .await;
    assert_eq!(
        cluster.error("uninstall", &json!({"packageName": "greeter"})).await.1["type"],
        "PackageNotInstalled"
    );
}

#[tokio::test]
async fn what_cannot_be_installed_is_explained_and_starts_nothing() {
    let cluster = Cluster::start().await;
    let uri = repository(fixture(cluster.folder.path()), REPO).await;
    cluster.ok("repository/add", 1, &json!({"name": "test", "uri": uri})).await;
    for (body, kind) in [
        (json!({"packageName": "none"}), "PackageNotFound"),
        (json!({"packageName": "greeter", "packageVersion": "7"}), "VersionNotFound"),
        (json!({"packageName": "greeter", "options": {"service": {"count": "two"}}}), "JsonSchemaMismatch"),
        (json!({"packageName": "greeter", "options": {"service": {"unknown": 1}}}), "JsonSchemaMismatch"),
        (json!({"packageName": "greeter", "appId": "Not/Valid"}), "MarathonBadResponse"),
        (json!({"packageName": 1}), "json_error"),
        (json!([]), "json_error"),
    ] {
        let (status, answer) = cluster.error("install", &body).await;
        assert_eq!((status, answer["type"].as_str()), (400, Some(kind)), "{body}: {answer}");
    }
    let (_, mismatch) = cluster
        .error("install", &json!({"packageName": "greeter", "options": {"service": {"count": 0}}}))
        .await;
    assert_eq!(mismatch["data"]["errors"][0]["instance"]["pointer"], "/service/count");
    assert!(cluster.marathon.ids().is_empty());
}

#[tokio::test]
async fn an_update_keeps_what_is_unchanged_and_restarts_what_is_not() {
    let cluster = Cluster::start().await;
    let uri = repository(fixture(cluster.folder.path()), REPO).await;
    let cosmos =
        Cosmos::open(cluster.folder.path(), cluster.client.clone(), cluster.marathon.clone()).unwrap();
    cosmos.add_repository(Repository { name: "test".into(), uri }, None).await.unwrap();
    let options = json!({"service": {"greeting": "one"}}).as_object().cloned().unwrap();
    cosmos.install("greeter", None, &options, None).await.unwrap();
    assert_eq!(cosmos.update("/greeter", "greeter", None, &options).await.unwrap(), None);
    let options = json!({"service": {"greeting": "two"}}).as_object().cloned().unwrap();
    assert!(cosmos.update("/greeter", "greeter", None, &options).await.unwrap().is_some());
    assert_eq!(cluster.marathon.app("/greeter").unwrap().env["GREETING"], "two");
    cluster.marathon.shutdown().await;
}

/// A service that stays up until it is told to uninstall itself, and then answers 200 for its plan: the scheduler's
/// side of an uninstallation, as small as it can be.
const SERVICE: &str = r#"
import http.server, os, sys
class Plan(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        done = "SDK_UNINSTALL" in os.environ and os.path.exists(sys.argv[1])
        self.send_response(200 if done else 202)
        self.end_headers()
        self.wfile.write(self.path.encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT0"])), Plan).serve_forever()
"#;

#[tokio::test]
async fn a_service_is_uninstalled_by_its_scheduler_and_reached_by_its_name() {
    let cluster = Cluster::start().await;
    let folder = cluster.folder.path();
    std::fs::write(folder.join("service.py"), SERVICE).unwrap();
    let app = json!({
        "id": "group/sdk", "args": ["python3", folder.join("service.py"), folder.join("released")],
        "labels": {
            "DCOS_PACKAGE_NAME": "sdk", "DCOS_COMMONS_UNINSTALL": "true", "DCOS_COMMONS_API_VERSION": "v1",
            "DCOS_SERVICE_NAME": "group/sdk", "DCOS_SERVICE_PORT_INDEX": "0",
        },
    });
    cluster.marathon.create(App::parse(&app, None).unwrap()).unwrap();
    let url = format!("{}/service/group/sdk/v1/plans/deploy?x=y", cluster.base);
    let mut answered = None;
    for _ in 0..500 {
        let answer = cluster.client.get(&url).send().await.unwrap();
        if answer.status() == 202 {
            answered = Some(answer.text().await.unwrap());
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(answered.as_deref(), Some("/v1/plans/deploy?x=y"));
    let unknown = cluster.client.get(format!("{}/service/other/x", cluster.base)).send().await.unwrap();
    assert_eq!(unknown.status(), 404);

    cluster.ok("uninstall", 1, &json!({"packageName": "sdk"})).await;
    assert_eq!(cluster.marathon.app("/group/sdk").unwrap().env["SDK_UNINSTALL"], "true");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(cluster.marathon.app("/group/sdk").is_some(), "it stays until its scheduler is done");
    std::fs::write(folder.join("released"), "").unwrap();
    until("the app is removed", || cluster.marathon.ids().is_empty()).await;
}
