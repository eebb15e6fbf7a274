//! Cosmos' HTTP API over [`Cosmos`]: negotiation of media types, requests and answers.
//!
//! Everything is a POST with versioned media types in both directions. Paths that are not here answer 404.

use super::installed::Service;
use super::{Cosmos, CosmosError, Package, Repository, canonical_id};
use crate::http::media::{self, MediaType};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

/// The routes, to be served on loopback: they carry no authentication.
pub fn router(cosmos: Cosmos) -> Router {
    Router::new()
        .route("/capabilities", get(capabilities))
        .route("/package/repository/list", post(list_repositories))
        .route("/package/repository/add", post(add_repository))
        .route("/package/repository/delete", post(delete_repository))
        .route("/package/describe", post(describe))
        .route("/package/list-versions", post(list_versions))
        .route("/package/search", post(search))
        .route("/package/render", post(render))
        .route("/package/install", post(install))
        .route("/package/uninstall", post(uninstall))
        .route("/package/list", post(list))
        .with_state(cosmos)
}

/// A request whose headers and body have been read.
struct Request {
    body: Value,
    /// The full response type that was chosen.
    answer: String,
}

impl Request {
    /// Negotiates: the request must have our type for `name`, and accept one of its response versions.
    fn read(headers: &HeaderMap, body: &Bytes, name: &str, versions: &[u8]) -> Result<Self, CosmosError> {
        let full = |kind: &str, version: u8| {
            format!("application/vnd.dcos.package.{name}-{kind}+json;charset=utf-8;version=v{version}")
        };
        let text = |name: header::HeaderName| headers.get(name).and_then(|h| h.to_str().ok()).unwrap_or("");
        let expected = full("request", 1);
        let content_type = text(header::CONTENT_TYPE);
        if !MediaType::parse(content_type).includes(&MediaType::parse(&expected)) {
            return Err(CosmosError::NotValid(format!(
                "header Content-Type: expected {expected}, found `{content_type}`"
            )));
        }
        let offered: Vec<String> = versions.iter().map(|v| full("response", *v)).collect();
        let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
        let accept = text(header::ACCEPT);
        let answer = media::choose(accept, &offered).ok_or_else(|| {
            CosmosError::NotValid(format!(
                "header Accept: expected {}, found `{accept}`",
                offered.join(" or ")
            ))
        })?;
        let body = serde_json::from_slice(body).map_err(|e| CosmosError::NotJson(e.to_string()))?;
        Ok(Self { body, answer: answer.to_owned() })
    }

    fn is_version(&self, version: u8) -> bool {
        self.answer.ends_with(&format!("version=v{version}"))
    }

    /// A field that may be absent or null.
    fn optional<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, CosmosError> {
        match self.body.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| CosmosError::NotDecoded {
                path: format!(".{key}"),
                reason: format!("expected {expected}, found {value}"),
            }),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, CosmosError> {
        self.optional(key, "a string", |v| v.as_str().map(str::to_owned))
    }

    fn required(&self, key: &str) -> Result<String, CosmosError> {
        self.text(key)?.ok_or_else(|| CosmosError::NotDecoded {
            path: format!(".{key}"),
            reason: "expected a string, found nothing".into(),
        })
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, CosmosError> {
        self.optional(key, "true or false", Value::as_bool)
    }

    fn app_id(&self) -> Result<Option<String>, CosmosError> {
        Ok(self.text("appId")?.map(|id| canonical_id(&id)))
    }

    fn options(&self) -> Result<Map<String, Value>, CosmosError> {
        Ok(self.optional("options", "an object", |v| v.as_object().cloned())?.unwrap_or_default())
    }

    /// The answer, with its media type and without null fields.
    fn answer(&self, mut body: Value) -> Response {
        if let Some(body) = body.as_object_mut() {
            body.retain(|_, value| !value.is_null());
        }
        let mut response = Json(body).into_response();
        if let Ok(media) = HeaderValue::from_str(&self.answer) {
            response.headers_mut().insert(header::CONTENT_TYPE, media);
        }
        response
    }
}

async fn capabilities() -> Response {
    let body = json!({"capabilities": [{"name": "PACKAGE_MANAGEMENT"}]});
    let media = "application/vnd.dcos.capabilities+json;charset=utf-8;version=v1";
    ([(header::CONTENT_TYPE, media)], body.to_string()).into_response()
}

async fn list_repositories(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "repository.list", &[1])?;
    Ok(request.answer(json!({"repositories": cosmos.repositories()})))
}

async fn add_repository(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "repository.add", &[1])?;
    let repository = Repository { name: request.required("name")?, uri: request.required("uri")? };
    // the old command line sends the index as a string
    let number = |v: &Value| v.as_i64().or_else(|| v.as_str()?.parse().ok());
    let index = request.optional("index", "an integer", number)?;
    let repositories = cosmos.add_repository(repository, index).await?;
    Ok(request.answer(json!({"repositories": repositories})))
}

async fn delete_repository(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "repository.delete", &[1])?;
    let repositories = cosmos.delete_repository(request.text("name")?, request.text("uri")?)?;
    Ok(request.answer(json!({"repositories": repositories})))
}

async fn describe(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "describe", &[3])?;
    let (name, version) = (request.required("packageName")?, request.text("packageVersion")?);
    let package = cosmos.package(&name, version.as_deref()).await?;
    Ok(request.answer(json!({"package": package.definition})))
}

async fn list_versions(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "list-versions", &[1])?;
    let name = request.required("packageName")?;
    if request.flag("includePackageVersions")?.is_none() {
        let (path, reason) =
            (".includePackageVersions".into(), "expected true or false, found nothing".into());
        return Err(CosmosError::NotDecoded { path, reason });
    }
    let packages = cosmos.packages().await?;
    let versions = packages.iter().filter(|p| p.name == name);
    let results: Map<String, Value> =
        versions.map(|p| (p.version.clone(), json!(p.release.to_string()))).collect();
    if results.is_empty() {
        return Err(CosmosError::PackageNotFound(name));
    }
    Ok(request.answer(json!({"results": results})))
}

async fn search(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "search", &[1])?;
    let query = request.text("query")?.filter(|q| !q.is_empty());
    let packages = cosmos.packages().await?;
    let mut results: Vec<(bool, String, Value)> = Vec::new();
    // versions of one package stand together, the default one first
    for versions in packages.chunk_by(|a, b| a.name == b.name) {
        let Some(newest) = versions.first() else { continue };
        if query.as_ref().is_some_and(|q| !matches_query(newest, q)) {
            continue;
        }
        let all: Map<String, Value> =
            versions.iter().map(|p| (p.version.clone(), json!(p.release))).collect();
        let field = |key: &str| newest.definition.get(key).cloned().unwrap_or(Value::Null);
        let mut result = json!({
            "name": newest.name, "currentVersion": newest.version, "versions": all,
            "description": field("description"), "tags": newest.definition.get("tags").cloned().unwrap_or(json!([])),
            "framework": newest.definition.get("framework").cloned().unwrap_or(json!(false)),
        });
        let selected = newest.definition.get("selected").and_then(Value::as_bool);
        if let Some(selected) = selected {
            result["selected"] = json!(selected);
        }
        if let Some(images) = newest.definition.get("resource").and_then(|r| r.get("images")) {
            result["images"] = images.clone();
        }
        results.push((selected != Some(true), newest.name.clone(), result));
    }
    results.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let results: Vec<Value> = results.into_iter().map(|(_, _, result)| result).collect();
    Ok(request.answer(json!({"packages": results})))
}

/// With `*` a pattern for the whole name, description or a tag; otherwise a part of one, in upper or lower case.
fn matches_query(package: &Package, query: &str) -> bool {
    let description = package.definition.get("description").and_then(Value::as_str).unwrap_or_default();
    let tags = package.definition.get("tags").and_then(Value::as_array).into_iter().flatten();
    let mut texts = [package.name.as_str(), description].into_iter().chain(tags.filter_map(Value::as_str));
    if query.contains('*') {
        let pattern: Vec<String> = query.split('*').map(regex::escape).collect();
        let pattern = regex::Regex::new(&format!("(?s)^{}$", pattern.join(".*")));
        pattern.is_ok_and(|p| texts.any(|t| p.is_match(t)))
    } else {
        let query = query.to_lowercase();
        texts.any(|t| t.to_lowercase().contains(&query))
    }
}

async fn render(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "render", &[1])?;
    let version = request.text("packageVersion")?;
    let package = cosmos.package(&request.required("packageName")?, version.as_deref()).await?;
    let app = super::render(&package, &request.options()?, request.app_id()?.as_deref())?;
    Ok(request.answer(json!({"marathonJson": app})))
}

async fn install(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "install", &[2, 1])?;
    let name = request.required("packageName")?;
    let (version, app_id) = (request.text("packageVersion")?, request.app_id()?);
    let installed = cosmos.install(&name, version.as_deref(), &request.options()?, app_id.as_deref()).await?;
    let field = |pointer: &str| Value::Object(installed.package.definition.clone()).pointer(pointer).cloned();
    let mut answer = json!({
        "packageName": name, "packageVersion": installed.package.version, "appId": installed.app_id,
    });
    if request.is_version(2) {
        answer["postInstallNotes"] = field("/postInstallNotes").unwrap_or_default();
        answer["cli"] = field("/resource/cli").unwrap_or_default();
    }
    Ok(request.answer(answer))
}

async fn uninstall(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "uninstall", &[1])?;
    let name = request.required("packageName")?;
    let all = request.flag("all")?.unwrap_or(false);
    let results: Vec<Value> = cosmos
        .uninstall(&name, request.app_id()?.as_deref(), all)?
        .iter()
        .map(|service| {
            let mut result = json!({"packageName": service.name, "appId": service.app_id});
            if let Some(version) = &service.version {
                result["packageVersion"] = json!(version);
            }
            if let Some(notes) = service.definition.as_ref().and_then(|d| d.get("postUninstallNotes")) {
                result["postUninstallNotes"] = notes.clone();
            }
            result
        })
        .collect();
    Ok(request.answer(json!({"results": results})))
}

async fn list(
    State(cosmos): State<Cosmos>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, CosmosError> {
    let request = Request::read(&headers, &body, "list", &[1])?;
    let (name, app_id) = (request.text("packageName")?, request.app_id()?);
    let services = cosmos.services()?;
    let wanted = services.iter().filter(|s| {
        name.as_ref().is_none_or(|n| *n == s.name) && app_id.as_ref().is_none_or(|id| *id == s.app_id)
    });
    let packages: Vec<Value> = wanted.filter_map(list_entry).collect();
    Ok(request.answer(json!({"packages": packages})))
}

/// An entry of the list: the parts of the definition that are meant for people.
fn list_entry(service: &Service) -> Option<Value> {
    const SHOWN: [&str; 14] = [
        "packagingVersion",
        "name",
        "version",
        "maintainer",
        "description",
        "tags",
        "selected",
        "scm",
        "website",
        "framework",
        "preInstallNotes",
        "postInstallNotes",
        "postUninstallNotes",
        "licenses",
    ];
    let definition = service.definition.as_ref()?;
    let mut shown: Map<String, Value> =
        SHOWN.iter().filter_map(|key| Some(((*key).to_owned(), definition.get(*key)?.clone()))).collect();
    for key in ["selected", "framework"] {
        shown.entry(key).or_insert(json!(false));
    }
    let mut information = json!({"packageDefinition": shown});
    if let Some(resource) = definition.get("resource").and_then(Value::as_object) {
        let parts = resource.iter().filter(|(key, _)| matches!(key.as_str(), "assets" | "images"));
        let parts: Map<String, Value> = parts.map(|(k, v)| (k.clone(), v.clone())).collect();
        if !parts.is_empty() {
            information["resourceDefinition"] = Value::Object(parts);
        }
    }
    Some(json!({"appId": service.app_id, "packageInformation": information}))
}
