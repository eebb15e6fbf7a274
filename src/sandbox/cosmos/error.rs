//! What Cosmos answers when it does not do what was asked: a type, an HTTP status, a message and data for programs.

use crate::sandbox::marathon::{Invalid, MarathonError};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The media type of all errors.
pub const ERROR_TYPE: &str = "application/vnd.dcos.package.error+json;charset=utf-8;version=v1";

/// Why a request was not carried out. The variants are called as on the wire.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields are the data of the answer, the messages say what they are
pub enum CosmosError {
    /// A header has the wrong value.
    #[error("{0}")]
    NotValid(String),
    /// The body is no JSON.
    #[error("the request's body is not JSON: {0}")]
    NotJson(String),
    /// The body lacks something, or has something of the wrong type.
    #[error("{path}: {reason}")]
    NotDecoded { path: String, reason: String },
    /// This cluster does not do that, and says so instead of pretending.
    #[error("{0}")]
    NotSupported(String),
    #[error("Package [{0}] not found")]
    PackageNotFound(String),
    #[error("Version [{version}] of package [{name}] not found")]
    VersionNotFound { name: String, version: String },
    #[error("Package is already installed")]
    PackageAlreadyInstalled,
    #[error("Package [{0}] is not installed")]
    PackageNotInstalled(String),
    #[error("Package [{name}] with id [{app}] is not installed")]
    UninstallNonExistentAppForPackage { name: String, app: String },
    #[error("Multiple apps named [{name}] are installed: [{}]", .apps.join(", "))]
    AmbiguousAppId { name: String, apps: Vec<String> },
    #[error("Options JSON failed validation")]
    JsonSchemaMismatch(Vec<Value>),
    #[error("No schema available to validate the provided options")]
    OptionsNotAllowed,
    #[error("Repository name [{}] or URI [{}] is already present in the list", .name.as_deref().unwrap_or(""), .uri.as_deref().unwrap_or(""))]
    RepositoryAlreadyPresent { name: Option<String>, uri: Option<String> },
    #[error("Repository is not present in the list: {}", .name.as_deref().or(.uri.as_deref()).unwrap_or(""))]
    RepositoryNotPresent { name: Option<String>, uri: Option<String> },
    #[error("Index out of range: {attempted}")]
    RepositoryAddIndexOutOfBounds { attempted: i64, max: usize },
    #[error("Either the name or the URI of the repository must be given")]
    RepoNameOrUriMissing,
    #[error("Repository URI [{0}] uses an unsupported scheme. Only http and https are supported")]
    UnsupportedRepositoryUri(String),
    #[error("Could not access data at URI for repository [{name}] at [{uri}]: {cause}")]
    RepositoryUriConnection { name: String, uri: String, cause: String },
    #[error("Unexpected down stream http error: {method} {uri} {status}")]
    UniverseClientHttpError { method: &'static str, uri: String, status: u16, adding: bool },
    #[error("Unsupported Content-Type: {} supported: {}", .actual.as_deref().unwrap_or("none"), .supported.join(", "))]
    UnsupportedContentType { actual: Option<String>, supported: Vec<String> },
    #[error("Unsupported Content-Encoding: {0} supported: gzip")]
    UnsupportedContentEncoding(String),
    #[error("Unsupported redirect: {0} supported: those to the same scheme")]
    UnsupportedRedirect(u16),
    #[error("Unable to parse the string as a JSON value: {0}")]
    JsonParsingError(String),
    #[error("Unable to decode the JSON value: {0}")]
    JsonDecodingError(String),
    #[error("Package [{name}-{version}] does not have a Marathon template defined and can not be rendered")]
    ServiceMarathonTemplateNotFound { name: String, version: String },
    #[error("{0}")]
    MarathonTemplateMustBeJsonObject(String),
    #[error("Received response status code 400 from Marathon: {0}")]
    MarathonBadResponse(Invalid),
    #[error("Received an error from Marathon: {0}")]
    MarathonGenericError(String),
    /// Something failed here.
    #[error("{0}")]
    UnhandledException(String),
    /// `/package/resource` was asked for something that no repository names.
    #[error("[{0}] is not a resource of a package")]
    Forbidden(String),
}

impl CosmosError {
    /// Type on the wire, HTTP status and data.
    fn parts(&self) -> (&'static str, u16, Value) {
        match self {
            Self::NotValid(_) => ("not_valid", 400, Value::Null),
            Self::NotJson(reason) => ("json_error", 400, json!({"type": "parse", "reason": reason})),
            Self::NotDecoded { path, reason } => {
                ("json_error", 400, json!({"type": "decode", "reason": reason, "path": path}))
            }
            Self::NotSupported(_) => ("NotImplemented", 400, Value::Null),
            Self::PackageNotFound(name) => ("PackageNotFound", 400, json!({"packageName": name})),
            Self::VersionNotFound { name, version } => {
                ("VersionNotFound", 400, json!({"packageName": name, "packageVersion": version}))
            }
            Self::PackageAlreadyInstalled => ("PackageAlreadyInstalled", 409, Value::Null),
            Self::PackageNotInstalled(name) => ("PackageNotInstalled", 400, json!({"packageName": name})),
            Self::UninstallNonExistentAppForPackage { name, app } => {
                ("UninstallNonExistentAppForPackage", 400, json!({"packageName": name, "appId": app}))
            }
            Self::AmbiguousAppId { name, apps } => {
                ("AmbiguousAppId", 400, json!({"packageName": name, "appIds": apps}))
            }
            Self::JsonSchemaMismatch(errors) => ("JsonSchemaMismatch", 400, json!({"errors": errors})),
            Self::OptionsNotAllowed => ("OptionsNotAllowed", 400, Value::Null),
            Self::RepositoryAlreadyPresent { name, uri } => {
                ("RepositoryAlreadyPresent", 400, json!({"name": name, "uri": uri}))
            }
            Self::RepositoryNotPresent { name, uri } => {
                ("RepositoryNotPresent", 400, json!({"name": name, "uri": uri}))
            }
            Self::RepositoryAddIndexOutOfBounds { attempted, max } => {
                ("RepositoryAddIndexOutOfBounds", 400, json!({"attempted": attempted, "max": max}))
            }
            Self::RepoNameOrUriMissing => ("RepoNameOrUriMissing", 400, Value::Null),
            Self::UnsupportedRepositoryUri(uri) => ("UnsupportedRepositoryUri", 400, json!({"uri": uri})),
            Self::RepositoryUriConnection { name, uri, cause } => (
                "RepositoryUriConnection",
                400,
                json!({"repository": {"name": name, "uri": uri}, "cause": cause}),
            ),
            Self::UniverseClientHttpError { method, uri, status, adding } => {
                let own = if *adding { 400 } else { 500 };
                let repository = json!({"name": "", "uri": uri});
                let data = json!({
                    "packageRepository": repository, "method": method, "clientStatus": status, "status": own,
                });
                ("UniverseClientHttpError", own, data)
            }
            Self::UnsupportedContentType { actual, supported } => {
                ("UnsupportedContentType", 400, json!({"supported": supported, "actual": actual}))
            }
            Self::UnsupportedContentEncoding(actual) => {
                ("UnsupportedContentEncoding", 400, json!({"supported": ["gzip"], "actual": actual}))
            }
            Self::UnsupportedRedirect(actual) => {
                ("UnsupportedRedirect", 400, json!({"supported": [], "actual": actual.to_string()}))
            }
            Self::JsonParsingError(_) => ("JsonParsingError", 400, Value::Null),
            Self::JsonDecodingError(_) => ("JsonDecodingError", 400, Value::Null),
            Self::ServiceMarathonTemplateNotFound { name, version } => (
                "ServiceMarathonTemplateNotFound",
                400,
                json!({"packageName": name, "packageVersion": version}),
            ),
            Self::MarathonTemplateMustBeJsonObject(_) => {
                ("MarathonTemplateMustBeJsonObject", 400, Value::Null)
            }
            Self::MarathonBadResponse(invalid) => {
                ("MarathonBadResponse", 400, json!({"errors": invalid.details}))
            }
            Self::MarathonGenericError(_) => ("MarathonGenericError", 500, Value::Null),
            Self::UnhandledException(_) => ("unhandled_exception", 500, Value::Null),
            Self::Forbidden(_) => ("Forbidden", 403, Value::Null),
        }
    }
}

impl From<MarathonError> for CosmosError {
    fn from(error: MarathonError) -> Self {
        match error {
            MarathonError::Exists(_) => Self::PackageAlreadyInstalled,
            MarathonError::Invalid(invalid) => Self::MarathonBadResponse(invalid),
            other => Self::MarathonGenericError(other.to_string()),
        }
    }
}

impl IntoResponse for CosmosError {
    fn into_response(self) -> Response {
        let (kind, status, mut data) = self.parts();
        if let Some(data) = data.as_object_mut() {
            data.retain(|_, value| !value.is_null());
        }
        let mut body = json!({"type": kind, "message": self.to_string()});
        if !data.is_null() {
            body["data"] = data;
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(ERROR_TYPE));
        response
    }
}
