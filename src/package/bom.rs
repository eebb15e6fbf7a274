//! The bill of materials of a package, in CycloneDX 1.6: the package, every artifact with its hash, the images and files of
//! others that it names, and the crates that this project's own programs are made of.
//!
//! The same package gives the same bytes: the time is that of the build, and there is no random serial number. Called by
//! `publish`.

use super::crates::Crates;
use super::options::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The name of its file.
pub const FILE: &str = "bom.cdx.json";

/// Its media type.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json;version=1.6";

/// The programs of this project that packages ship.
const PROGRAMS: [&str; 3] = ["dagpkg-bootstrap", "dagpkg-scheduler", "dcos-service-cli"];

const CRATES_NOTE: &str = concat!(
    "The crates are those of the lock file of dagpkg ",
    env!("CARGO_PKG_VERSION"),
    ", which built this package. Its programs are known by their names and taken to be of that release. All have the same ",
    "list; it includes crates that are used only while compiling, on other platforms, or by another of the programs."
);

/// Writes the document. `entry` is the package as it stands in a repository, `url` that of its directory, `artifacts` are
/// names with SHA-256 hashes, and `build_time` is in seconds since 1970.
pub fn document(entry: &Object, url: &str, artifacts: &[(&str, &str)], build_time: i64) -> String {
    let mut components: Vec<Value> =
        artifacts.iter().map(|(name, sha256)| artifact(name, sha256, url)).collect();
    components.extend(foreign(entry, url));
    let refs: Vec<Value> = components.iter().map(|component| component["bom-ref"].clone()).collect();
    let mut dependencies = vec![json!({"ref": "package", "dependsOn": refs})];
    let mut properties = Vec::new();

    let programs: Vec<_> = artifacts.iter().filter(|(name, _)| PROGRAMS.contains(name)).collect();
    if !programs.is_empty() {
        let crates = Crates::of_this_project();
        let refs =
            |indices: &[usize]| indices.iter().map(|index| crate_ref(&crates, *index)).collect::<Vec<_>>();
        for (name, _) in programs {
            dependencies.push(json!({"ref": artifact_ref(name), "dependsOn": refs(&crates.direct)}));
        }
        for (index, c) in crates.all.iter().enumerate() {
            let purl = crate_ref(&crates, index);
            components.push(json!({
                "type": "library", "bom-ref": purl, "name": c.name, "version": c.version,
                "hashes": [sha256_hash(c.sha256)], "purl": purl,
            }));
            dependencies.push(json!({"ref": purl, "dependsOn": refs(&c.dependencies)}));
        }
        properties.push(property("dagpkg:crates", CRATES_NOTE));
    }
    let time = jiff::Timestamp::from_second(build_time).unwrap_or_default();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.to_string(),
            "tools": {"components": [
                {"type": "application", "name": "dagpkg", "version": env!("CARGO_PKG_VERSION")},
            ]},
            "component": package(entry),
            "properties": properties,
        },
        "components": components,
        "dependencies": dependencies,
    });
    format!("{document:#}\n")
}

fn package(entry: &Object) -> Value {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut component = json!({
        "type": "application",
        "bom-ref": "package",
        "publisher": text("maintainer"),
        "name": text("name"),
        "version": text("version"),
        "description": text("description"),
    });
    let licenses: Vec<Value> = entry
        .get("licenses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|license| json!({"license": {"name": license["name"], "url": license["url"]}}))
        .collect();
    if !licenses.is_empty() {
        component["licenses"] = Value::Array(licenses);
    }
    let references: Vec<Value> = [("website", "website"), ("vcs", "scm")]
        .into_iter()
        .filter(|(_, key)| !text(key).is_empty())
        .map(|(kind, key)| json!({"type": kind, "url": text(key)}))
        .collect();
    if !references.is_empty() {
        component["externalReferences"] = Value::Array(references);
    }
    component
}

fn artifact(name: &str, sha256: &str, url: &str) -> Value {
    json!({
        "type": if PROGRAMS.contains(&name) { "application" } else { "file" },
        "bom-ref": artifact_ref(name),
        "name": name,
        "hashes": [sha256_hash(sha256)],
        "externalReferences": [{"type": "distribution", "url": format!("{url}/{name}")}],
    })
}

fn artifact_ref(name: &str) -> String {
    format!("artifact:{name}")
}

/// The images and files of others that resource.json names, each once, with all places where it is named.
fn foreign(entry: &Object, url: &str) -> Vec<Value> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let Some(resource) = entry.get("resource") else { return Vec::new() };
    let mut add = |id: String, place: String, component: &dyn Fn() -> Value| {
        let known = found.entry(id.clone()).or_insert_with(|| {
            let mut component = component();
            component["bom-ref"] = json!(id);
            component["properties"] = json!([]);
            component
        });
        if let Some(properties) = known["properties"].as_array_mut() {
            properties.push(property("dagpkg:resource", &place));
        }
    };
    let images = resource.pointer("/assets/container/docker").and_then(Value::as_object);
    for (key, image) in images.into_iter().flatten() {
        let image = image.as_str().unwrap_or_default();
        add(format!("image:{image}"), format!("assets.container.docker.{key}"), &|| container(image));
    }
    let own = format!("{url}/");
    for (place, value) in uris(resource) {
        let uri = value["url"].as_str().or(value.as_str()).unwrap_or_default();
        if !uri.is_empty() && !uri.starts_with(&own) {
            add(format!("uri:{uri}"), place, &|| file(uri, &value["contentHash"]));
        }
    }
    found.into_values().collect()
}

/// Every URL of resource.json: assets and images as they are, binaries of the command line with their hashes.
fn uris(resource: &Value) -> Vec<(String, &Value)> {
    let members = |place: &str| {
        let pointer = format!("/{}", place.replace('.', "/"));
        let object = resource.pointer(&pointer).and_then(Value::as_object);
        let place = place.to_owned();
        object.into_iter().flatten().map(move |(key, value)| (format!("{place}.{key}"), value))
    };
    let mut found: Vec<_> = members("assets.uris").chain(members("images")).collect();
    for (place, platform) in members("cli.binaries") {
        let binaries = platform.as_object().into_iter().flatten();
        found.extend(binaries.map(|(key, value)| (format!("{place}.{key}"), value)));
    }
    let lists = found.iter().filter_map(|(place, value)| Some((place.clone(), value.as_array()?)));
    let listed: Vec<_> =
        lists.flat_map(|(place, list)| list.iter().map(move |value| (place.clone(), value))).collect();
    found.extend(listed);
    found
}

/// `host:5000/name:tag@sha256:…`: the version is the tag, or the digest where there is no tag.
fn container(image: &str) -> Value {
    let (tagged, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match tagged.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (tagged, None),
    };
    let mut component = json!({"type": "container", "name": name});
    if let Some(version) = tag.or(digest) {
        component["version"] = json!(version);
    }
    if let Some(sha256) =
        digest.and_then(|digest| digest.strip_prefix("sha256:")).filter(|hash| is_sha256(hash))
    {
        component["hashes"] = json!([sha256_hash(sha256)]);
    }
    component
}

fn file(uri: &str, hashes: &Value) -> Value {
    let name = uri.rsplit('/').find(|part| !part.is_empty()).unwrap_or(uri);
    let mut component = json!({
        "type": "file",
        "name": name,
        "externalReferences": [{"type": "distribution", "url": uri}],
    });
    let hashes: Vec<Value> = hashes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|hash| hash["value"].as_str())
        .filter(|hash| is_sha256(hash))
        .map(sha256_hash)
        .collect();
    if !hashes.is_empty() {
        component["hashes"] = Value::Array(hashes);
    }
    component
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn sha256_hash(hex: &str) -> Value {
    json!({"alg": "SHA-256", "content": hex})
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// The package URL of a crate, which is its name in the document too.
fn crate_ref(crates: &Crates, index: usize) -> String {
    let c = &crates.all[index];
    // the one character of versions that such URLs encode
    format!("pkg:cargo/{}@{}", c.name, c.version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const URL: &str = "https://h/demo/0";

    fn entry() -> Object {
        let hash = json!({"algo": "sha256", "value": "a".repeat(64)});
        let entry = json!({
            "name": "demo", "version": "1.0", "maintainer": "m@example.org", "description": "d",
            "scm": "https://forge.example/demo.git", "licenses": [{"name": "MIT", "url": "https://l"}],
            "resource": {
                "assets": {
                    "uris": {"own": format!("{URL}/svc.yml"), "jdk": "https://other/jdk.tgz", "again": "https://other/jdk.tgz"},
                    "container": {"docker": {"db": "registry:5000/db:9.1@sha256:".to_owned() + &"b".repeat(64), "web": "nginx"}},
                },
                "images": {"icon-small": "https://other/s.png", "screenshots": ["https://other/shot.png"]},
                "cli": {"binaries": {
                    "linux": {"x86-64": {"kind": "zip", "url": "https://other/cli.zip", "contentHash": [hash]}},
                    "darwin": {"x86-64": {"kind": "executable", "url": format!("{URL}/cli"), "contentHash": [hash]}},
                }},
            },
        });
        entry.as_object().unwrap().clone()
    }

    fn bom(artifacts: &[(&str, &str)]) -> Value {
        serde_json::from_str(&document(&entry(), URL, artifacts, 1_700_000_000)).unwrap()
    }

    fn component<'a>(bom: &'a Value, id: &str) -> &'a Value {
        let components = bom["components"].as_array().unwrap();
        components
            .iter()
            .find(|component| component["bom-ref"] == id)
            .unwrap_or_else(|| panic!("no {id}: {bom:#}"))
    }

    #[test]
    fn the_package_its_artifacts_and_what_comes_from_others_are_listed_once() {
        let bom = bom(&[("cli", &"c".repeat(64)), ("svc.yml", &"d".repeat(64))]);
        assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let package = &bom["metadata"]["component"];
        assert_eq!((&package["name"], &package["version"]), (&json!("demo"), &json!("1.0")));
        assert_eq!(package["licenses"][0]["license"]["name"], "MIT");
        assert_eq!(package["externalReferences"][0]["type"], "vcs");
        let refs: Vec<_> = bom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["bom-ref"].as_str().unwrap().to_owned())
            .collect();
        let digest = "b".repeat(64);
        let expected = [
            "artifact:cli".to_owned(),
            "artifact:svc.yml".to_owned(),
            "image:nginx".to_owned(),
            format!("image:registry:5000/db:9.1@sha256:{digest}"),
            "uri:https://other/cli.zip".to_owned(),
            "uri:https://other/jdk.tgz".to_owned(),
            "uri:https://other/s.png".to_owned(),
            "uri:https://other/shot.png".to_owned(),
        ];
        assert_eq!(refs, expected);
        let svc = component(&bom, "artifact:svc.yml");
        assert_eq!(svc["hashes"], json!([{"alg": "SHA-256", "content": "d".repeat(64)}]));
        assert_eq!(svc["externalReferences"][0]["url"], format!("{URL}/svc.yml"));
        let db = component(&bom, &expected[3]);
        assert_eq!((&db["name"], &db["version"]), (&json!("registry:5000/db"), &json!("9.1")));
        assert_eq!(db["hashes"][0]["content"], digest);
        assert_eq!(component(&bom, "image:nginx").get("version"), None);
        assert_eq!(component(&bom, "uri:https://other/cli.zip")["hashes"][0]["content"], "a".repeat(64));
        let places = component(&bom, "uri:https://other/jdk.tgz")["properties"].as_array().unwrap().clone();
        let places: Vec<_> = places.iter().map(|place| place["value"].as_str().unwrap()).collect();
        assert_eq!(places, ["assets.uris.jdk", "assets.uris.again"]);
        assert_eq!(bom["metadata"]["properties"], json!([]));
    }

    #[test]
    fn programs_of_this_project_come_with_their_crates() {
        let bom = bom(&[("dagpkg-scheduler", &"c".repeat(64))]);
        assert_eq!(bom["metadata"]["properties"][0]["name"], "dagpkg:crates");
        let refs: Vec<&str> =
            bom["components"].as_array().unwrap().iter().map(|c| c["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "references are unique");
        let dependencies = bom["dependencies"].as_array().unwrap();
        for dependency in dependencies {
            for id in dependency["dependsOn"].as_array().unwrap() {
                assert!(refs.contains(&id.as_str().unwrap()), "{id}");
            }
        }
        let of = |id: &str| &dependencies.iter().find(|d| d["ref"] == id).unwrap()["dependsOn"];
        assert_eq!(of("package")[0], "artifact:dagpkg-scheduler");
        let direct = of("artifact:dagpkg-scheduler").as_array().unwrap();
        let tokio = direct.iter().find(|id| id.as_str().unwrap().starts_with("pkg:cargo/tokio@")).unwrap();
        let tokio = component(&bom, tokio.as_str().unwrap());
        assert_eq!((&tokio["type"], &tokio["purl"]), (&json!("library"), &tokio["bom-ref"]));
        assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn images_have_names_and_versions() {
        let digest = format!("sha256:{}", "b".repeat(64));
        for (image, name, version) in [
            ("nginx", "nginx", None),
            ("nginx:1.25", "nginx", Some("1.25")),
            ("host:5000/a/b", "host:5000/a/b", None),
            ("host:5000/a/b:c", "host:5000/a/b", Some("c")),
            (&format!("a@{digest}"), "a", Some(digest.as_str())),
        ] {
            let component = container(image);
            assert_eq!(component["name"], name, "{image}");
            assert_eq!(component.get("version").and_then(Value::as_str), version, "{image}");
        }
    }
}
