//! Package repositories: fetching one over HTTP, and what its packages say.
//!
//! Knows the repository format (packaging versions 2.0 to 5.0) as far as Cosmos checks it, and no options or apps.
//! Called by the rest of Cosmos.

use super::error::CosmosError;
use crate::package::repository::Format;
use crate::publish::fetch::{self, FetchError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A repository, as the operator added it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub uri: String,
}

/// A package of a repository.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version; never compared, only named.
    pub version: String,
    /// The publisher's counter; the highest is the default version.
    pub release: u64,
    /// Everything, as in the repository.
    pub definition: Map<String, Value>,
    /// URI of the repository that it comes from.
    pub source: String,
}

impl Package {
    /// Checks what Cosmos' decoder requires of every packaging version.
    fn parse(value: &Value, source: &str) -> Result<Self, CosmosError> {
        let name = value["name"].as_str().unwrap_or("<unnamed>");
        let wrong = |key: &str, expected: &str| {
            CosmosError::JsonDecodingError(format!("{source}: package `{name}`: `{key}` must be {expected}"))
        };
        let text = |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(|| wrong(key, "a string"));
        for key in ["maintainer", "description"] {
            text(key)?;
        }
        if !matches!(value["packagingVersion"].as_str(), Some("2.0" | "3.0" | "4.0" | "5.0")) {
            return Err(wrong("packagingVersion", "one of \"2.0\", \"3.0\", \"4.0\", \"5.0\""));
        }
        let release = value["releaseVersion"].as_u64();
        Ok(Self {
            name: text("name")?,
            version: text("version")?,
            release: release.ok_or_else(|| wrong("releaseVersion", "an integer that is not negative"))?,
            // `value[...]` found strings above, so it is an object
            definition: value.as_object().cloned().unwrap_or_default(),
            source: source.to_owned(),
        })
    }
}

/// Fetches the packages of a repository. `adding` changes the status of an error, as with Cosmos.
pub async fn fetch(
    client: &reqwest::Client,
    repository: &Repository,
    adding: bool,
) -> Result<Vec<Package>, CosmosError> {
    let Repository { name, uri } = repository;
    let fetched = fetch::repository(client, uri).await.map_err(|error| match error {
        FetchError::Status(status) => {
            CosmosError::UniverseClientHttpError { method: "GET", uri: uri.clone(), status, adding }
        }
        FetchError::Redirect { status, .. } => CosmosError::UnsupportedRedirect(status),
        FetchError::ContentType(actual) => {
            let supported = Format::ALL.into_iter().rev().map(|format| format.media_type().to_owned());
            CosmosError::UnsupportedContentType { actual, supported: supported.collect() }
        }
        FetchError::Encoding(actual) => CosmosError::UnsupportedContentEncoding(actual),
        FetchError::Gzip(_) => CosmosError::JsonParsingError(format!("{uri}: {error}")),
        FetchError::Connection(_) | FetchError::TooLarge => CosmosError::RepositoryUriConnection {
            name: name.clone(),
            uri: uri.clone(),
            cause: error.to_string(),
        },
    })?;
    parse(&fetched.text, uri)
}

fn parse(body: &[u8], source: &str) -> Result<Vec<Package>, CosmosError> {
    let value: Value =
        serde_json::from_slice(body).map_err(|e| CosmosError::JsonParsingError(format!("{source}: {e}")))?;
    let packages = value["packages"].as_array();
    let packages = packages.ok_or_else(|| {
        CosmosError::JsonDecodingError(format!("{source}: expected an object with the list `packages`"))
    })?;
    packages.iter().map(|package| Package::parse(package, source)).collect()
}

/// The packages of all repositories (in their order) as one list: of two with the same name and version the one of the
/// earlier repository stays; by name, then by repository, then newest release first.
pub fn merge(repositories: Vec<Vec<Package>>) -> Vec<Package> {
    let mut seen = std::collections::BTreeSet::new();
    let mut all: Vec<(usize, Package)> = Vec::new();
    for (index, packages) in repositories.into_iter().enumerate() {
        for package in packages {
            if seen.insert((package.name.clone(), package.version.clone())) {
                all.push((index, package));
            }
        }
    }
    all.sort_by(|(i, a), (j, b)| a.name.cmp(&b.name).then(i.cmp(j)).then(b.release.cmp(&a.release)));
    all.into_iter().map(|(_, package)| package).collect()
}

/// The package of that name and version; without a version the default one: the newest release of the first
/// repository that has the package.
pub fn find<'a>(
    packages: &'a [Package],
    name: &str,
    version: Option<&str>,
) -> Result<&'a Package, CosmosError> {
    let mut named = packages.iter().filter(|p| p.name == name).peekable();
    if named.peek().is_none() {
        return Err(CosmosError::PackageNotFound(name.to_owned()));
    }
    named.find(|p| version.is_none_or(|v| p.version == v)).ok_or_else(|| CosmosError::VersionNotFound {
        name: name.to_owned(),
        version: version.unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, version: &str, release: u64) -> Value {
        json!({
            "packagingVersion": "4.0", "name": name, "version": version, "releaseVersion": release,
            "maintainer": "m", "description": "d",
        })
    }

    fn repository(source: &str, packages: &[Value]) -> Vec<Package> {
        parse(json!({"packages": packages}).to_string().as_bytes(), source).unwrap()
    }

    #[test]
    fn the_default_version_is_the_newest_release_of_the_first_repository_that_has_the_package() {
        let first =
            repository("one", &[package("a", "9.0", 0), package("a", "1.0", 5), package("b", "1.0", 0)]);
        let second =
            repository("two", &[package("a", "9.0", 7), package("a", "2.0", 100), package("c", "1.0", 1)]);
        let all = merge(vec![first, second]);
        let order: Vec<_> =
            all.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.source.as_str())).collect();
        assert_eq!(
            order,
            [
                ("a", "1.0", "one"),
                ("a", "9.0", "one"),
                ("a", "2.0", "two"),
                ("b", "1.0", "one"),
                ("c", "1.0", "two")
            ]
        );
        assert_eq!(find(&all, "a", None).unwrap().version, "1.0");
        assert_eq!(find(&all, "a", Some("2.0")).unwrap().source, "two");
        assert!(matches!(find(&all, "x", None), Err(CosmosError::PackageNotFound(_))));
        assert!(matches!(find(&all, "b", Some("2.0")), Err(CosmosError::VersionNotFound { .. })));
    }

    #[test]
    fn one_wrong_package_spoils_the_repository_and_is_named_with_its_field() {
        for (key, value) in
            [("releaseVersion", json!(-1)), ("version", json!(1)), ("packagingVersion", json!("6.0"))]
        {
            let mut wrong = package("bad", "1.0", 0);
            wrong[key] = value;
            let body = json!({"packages": [package("good", "1.0", 0), wrong]}).to_string();
            let error = parse(body.as_bytes(), "src").unwrap_err().to_string();
            assert!(error.contains("bad") && error.contains(key), "{error}");
        }
        assert!(parse(b"{}", "src").is_err() && parse(b"[", "src").is_err());
    }
}
