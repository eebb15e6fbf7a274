//! What a published package names: URLs, and what is said of the files behind them. No I/O.

use crate::finding::{Code, Finding, Severity, Source};
use serde_json::Value;
use std::ops::Range;

/// What one place says of one file.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    source: Source,
    at: At,
    /// Its SHA-256, in lower-case hex, if it is said.
    pub sha256: Option<String>,
    /// What for the file is there.
    pub role: Role,
}

#[derive(Clone, Debug)]
enum At {
    /// A JSON pointer.
    Pointer(String),
    Bytes(Range<usize>),
}

/// What for a file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The package service hands it on to browsers and command lines.
    HandedOn,
    /// Agents fetch it.
    Fetched,
    /// A list says that it is there.
    Listed,
    /// A page for people to read.
    Page,
}

impl Claim {
    /// A finding about the file, at the place that names it.
    pub fn finding(&self, code: Code, message: impl Into<String>) -> Finding {
        let finding = match &self.at {
            At::Pointer(pointer) => self.source.at_pointer(code, pointer, message),
            At::Bytes(bytes) => self.source.finding(code, bytes, message),
        };
        // nothing depends on pages, and where clusters are closed off they cannot be read
        if self.role == Role::Page { finding.with_severity(Severity::Warning) } else { finding }
    }
}

/// What the package at `index` of a repository names, by URL.
pub(super) fn in_package(stub: &Source, index: usize, package: &Value) -> Vec<(String, Claim)> {
    let mut found = Vec::new();
    let mut add = |pointer: &str, role, sha256: Option<&str>| {
        if let Some(url) = package.pointer(pointer).and_then(Value::as_str) {
            let at = At::Pointer(format!("/packages/{index}{pointer}"));
            let sha256 = sha256.map(str::to_ascii_lowercase);
            found.push((url.to_owned(), Claim { source: stub.clone(), at, sha256, role }));
        }
    };
    for pointer in members(package, "/resource/assets/uris") {
        add(&pointer, Role::Fetched, None);
    }
    for pointer in members(package, "/resource/images") {
        add(&pointer, Role::HandedOn, None);
        for pointer in members(package, &pointer) {
            add(&pointer, Role::HandedOn, None);
        }
    }
    for system in members(package, "/resource/cli/binaries") {
        for binary in members(package, &system) {
            let hashes = package.pointer(&format!("{binary}/contentHash")).and_then(Value::as_array);
            let sha256 = hashes.into_iter().flatten().find(|hash| hash["algo"] == "sha256");
            add(&format!("{binary}/url"), Role::HandedOn, sha256.and_then(|hash| hash["value"].as_str()));
        }
    }
    for pointer in ["/website", "/scm"] {
        add(pointer, Role::Page, None);
    }
    for license in members(package, "/licenses") {
        add(&format!("{license}/url"), Role::Page, None);
    }
    found
}

/// The pointers to the members of an object or a list; none where there is another value, or nothing.
fn members(value: &Value, pointer: &str) -> Vec<String> {
    let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value.pointer(pointer) {
        Some(Value::Object(members)) => members.keys().map(|name| below(name)).collect(),
        Some(Value::Array(items)) => (0..items.len()).map(|index| below(&index.to_string())).collect(),
        _ => Vec::new(),
    }
}

/// The files that a list of hashes names, in lines as `sha256sum` writes them; and what is wrong with the list.
pub(super) fn in_sums(source: &Source) -> (Vec<(String, Claim)>, Vec<Finding>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let bytes = start..start + line.trim_end().len();
        start += line.len();
        match sum(line.trim_end()) {
            Some((sha256, name)) => {
                let (source, at) = (source.clone(), At::Bytes(bytes));
                found.push((name.to_owned(), Claim { source, at, sha256: Some(sha256), role: Role::Listed }));
            }
            None if line.trim().is_empty() => {}
            None => wrong.push(
                source
                    .finding(Code::HashList, &bytes, "this is no line of a list of hashes")
                    .expected("64 hexadecimal digits, two blanks, the name of a file beside this one"),
            ),
        }
    }
    (found, wrong)
}

fn sum(line: &str) -> Option<(String, &str)> {
    let (sha256, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && is_plain(name)).then(|| (sha256.to_ascii_lowercase(), name))
}

/// Whether this can only be the name of a file that lies beside.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// What the components of a bill of materials (CycloneDX) say of files that can be fetched, by URL.
pub(super) fn in_bom(source: &Source, bom: &Value) -> Vec<(String, Claim)> {
    let mut found = Vec::new();
    for component in members(bom, "/components") {
        let value = bom.pointer(&component).unwrap_or(&Value::Null);
        let hashes = value["hashes"].as_array().into_iter().flatten();
        let sha256 = hashes.filter(|hash| hash["alg"] == "SHA-256").find_map(|hash| hash["content"].as_str());
        let Some(sha256) = sha256.map(str::to_ascii_lowercase) else { continue };
        let references = value["externalReferences"].as_array().into_iter().flatten();
        for reference in references.filter(|reference| reference["type"] == "distribution") {
            if let Some(url) = reference["url"].as_str() {
                let (source, at) = (source.clone(), At::Pointer(format!("{component}/hashes")));
                let claim = Claim { source, at, sha256: Some(sha256.clone()), role: Role::Listed };
                found.push((url.to_owned(), claim));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_url_of_a_package_is_found_with_what_is_said_of_it() {
        let package = json!({
            "website": "w", "scm": "s", "licenses": [{"name": "n", "url": "l"}], "name": "not this",
            "resource": {
                "assets": {"uris": {"a/b": "u"}, "container": {"docker": {"image": "not this"}}},
                "images": {"icon-small": "i", "screenshots": ["p", "q"]},
                "cli": {"binaries": {"linux": {"x86-64": {"kind": "zip", "url": "c", "contentHash": [
                    {"algo": "md5", "value": "00"}, {"algo": "sha256", "value": "AB"},
                ]}}}},
            },
        });
        let stub = Source::new("stub", format!("{:#}", json!({"packages": [{}, package]})));
        let found = in_package(&stub, 1, &package);
        let said: Vec<_> = found
            .iter()
            .map(|(url, claim)| {
                let place = claim.finding(Code::Unreachable, "m");
                let there = &stub.text[place.span.unwrap()];
                assert!(there.contains(&format!("\"{url}\"")), "{url}: {there}");
                (url.as_str(), claim.role, claim.sha256.as_deref())
            })
            .collect();
        let expected = [
            ("u", Role::Fetched, None),
            ("i", Role::HandedOn, None),
            ("p", Role::HandedOn, None),
            ("q", Role::HandedOn, None),
            ("c", Role::HandedOn, Some("ab")),
            ("w", Role::Page, None),
            ("s", Role::Page, None),
            ("l", Role::Page, None),
        ];
        assert_eq!(said, expected);
        assert!(in_package(&stub, 0, &json!({"resource": 5, "licenses": {"url": 1}})).is_empty());
    }

    #[test]
    fn lists_of_hashes_are_read_line_by_line() {
        let hash = "AB".repeat(32);
        let text = format!("{hash}  a.zip\n{hash} *b\n\nno\n{hash}  ../c\n{hash}  .d\n{hash} e\n12  f");
        let (found, wrong) = in_sums(&Source::new("SHA256SUMS", text));
        let found: Vec<_> = found.iter().map(|(name, claim)| (name.as_str(), claim.sha256.clone())).collect();
        assert_eq!(found, [("a.zip", Some("ab".repeat(32))), ("b", Some("ab".repeat(32)))]);
        let lines: Vec<_> = wrong.iter().map(|finding| finding.place().unwrap().line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn components_with_a_hash_and_a_url_are_found_in_a_bill_of_materials() {
        let url = |url: &str| json!([{"type": "website", "url": "w"}, {"type": "distribution", "url": url}]);
        let bom = json!({"components": [
            {"name": "a", "hashes": [{"alg": "MD5", "content": "1"}, {"alg": "SHA-256", "content": "AB"}],
                "externalReferences": url("u")},
            {"name": "b", "hashes": [{"alg": "SHA-256", "content": "CD"}]},
            {"name": "c", "externalReferences": url("v")},
        ]});
        let found = in_bom(&Source::new("bom", bom.to_string()), &bom);
        let found: Vec<_> =
            found.iter().map(|(url, claim)| (url.as_str(), claim.sha256.as_deref())).collect();
        assert_eq!(found, [("u", Some("ab"))]);
        assert!(in_bom(&Source::new("bom", "5"), &json!(5)).is_empty());
    }
}
