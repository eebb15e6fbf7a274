//! Parameters of a build: `{{name}}` in a package's files, replaced as plain text when the package is built.
//!
//! What is not a parameter stays as it is: it belongs to the templates that are rendered on installation.

use super::{Finding, Source, Sources};
use std::collections::{BTreeMap, BTreeSet};

/// Values may hold parameters themselves; this many rounds are enough for all that do not go in circles.
const MAX_ROUNDS: usize = 16;
/// Bytes that a file may have after substitution.
const MAX_SIZE: usize = 16 << 20;

/// The parameters of one build.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    values: BTreeMap<String, String>,
    /// SHA-256 of artifacts, in hex, by file name.
    hashes: BTreeMap<String, String>,
    /// Given for artifacts that are not known, where it does not matter what they are.
    any_hash: Option<String>,
}

impl Parameters {
    /// The parameters that every build has. `build_time` is in seconds since 1970, `artifact_url` the URL of the folder
    /// that artifacts are published to. What is not known here is allowed: up- and downgrades from and to any version.
    pub fn new(name: &str, version: &str, build_time: i64, artifact_url: &str) -> Self {
        let time = jiff::Timestamp::from_second(build_time).unwrap_or_default();
        let values = [
            ("package-name", name.to_owned()),
            ("package-version", version.to_owned()),
            ("package-build-time-epoch-ms", time.as_millisecond().to_string()),
            ("package-build-time-str", time.strftime("%a %b %d %Y %H:%M:%S +0000").to_string()),
            ("upgrades-from", "*".to_owned()),
            ("downgrades-to", "*".to_owned()),
            ("artifact-dir", artifact_url.trim_end_matches('/').to_owned()),
        ];
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { values, ..Self::default() }
    }

    /// Parameters by which a package can be checked without building it: some version, some place, some hashes.
    pub fn for_checks(name: &str) -> Self {
        let any_hash = Some("0".repeat(64));
        Self { any_hash, ..Self::new(name, "stub-universe", 0, "https://artifacts.example.org") }
    }

    /// Takes `TEMPLATE_SOME_NAME=value` from an environment as the parameter `some-name`, over any default.
    #[must_use]
    pub fn with_environment(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, value) in environment {
            if let Some(name) = name.strip_prefix("TEMPLATE_") {
                self.values.insert(name.to_lowercase().replace('_', "-"), value);
            }
        }
        self
    }

    /// Adds the hash of an artifact.
    pub fn add_artifact(&mut self, name: &str, sha256: &str) {
        self.hashes.insert(name.to_owned(), sha256.to_owned());
    }

    /// The file's text with values in place of parameters.
    pub fn substitute(&self, source: &Source) -> Result<String, Finding> {
        let mut text = source.text.clone();
        for _ in 0..MAX_ROUNDS {
            let next = self.substitute_once(source, &text)?;
            if next == text {
                return Ok(text);
            }
            if next.len() > MAX_SIZE {
                return Err(source.at(0, format!("parameters make this file longer than {MAX_SIZE} bytes")));
            }
            text = next;
        }
        let help = "look for a TEMPLATE_… variable whose value names a parameter that leads back to it";
        Err(source.at(0, "parameters of the build lead to each other without end").help(help))
    }

    fn substitute_once(&self, source: &Source, text: &str) -> Result<String, Finding> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let Some(length) = rest[start..].find("}}") else { break };
            let tag = &rest[start..start + length + 2];
            let name = &tag[2..tag.len() - 2];
            result.push_str(&rest[..start]);
            if let Some(value) = self.values.get(name) {
                result.push_str(value);
            } else if let Some(artifact) = name.strip_prefix("sha256:") {
                result.push_str(self.hash(artifact).ok_or_else(|| unknown_hash(source, tag, artifact))?);
            } else {
                // only the first brace: the next may begin a tag of its own, as in `{{{{a}}`
                result.push('{');
                rest = &rest[start + 1..];
                continue;
            }
            rest = &rest[start + tag.len()..];
        }
        result.push_str(rest);
        Ok(result)
    }

    fn hash(&self, artifact: &str) -> Option<&str> {
        self.hashes.get(artifact).or(self.any_hash.as_ref()).map(String::as_str)
    }
}

fn unknown_hash(source: &Source, tag: &str, artifact: &str) -> Finding {
    let offset = source.text.find(tag).unwrap_or(0);
    if artifact.contains('@') {
        let help = "write the hash itself, or give the file with --artifact and leave out the address";
        return source.at(offset, "hashes are not fetched from other hosts").help(help);
    }
    source
        .at(offset, format!("no artifact is called `{artifact}`"))
        .help(format!("give the file: --artifact …/{artifact}"))
}

/// The artifacts that the files name: `{{artifact-dir}}/NAME` and `{{sha256:NAME}}`; each with its first mention.
pub fn artifacts_named_in(sources: &Sources) -> Vec<(String, Finding)> {
    let mut seen = BTreeSet::new();
    let mut named = Vec::new();
    for source in sources.all() {
        for prefix in ["{{artifact-dir}}/", "{{sha256:"] {
            for (offset, _) in source.text.match_indices(prefix) {
                let rest = &source.text[offset + prefix.len()..];
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
                let name = &rest[..rest.find(|c| !allowed(c)).unwrap_or(rest.len())];
                let remote = rest[name.len()..].starts_with('@');
                if !remote && name.starts_with(|c: char| c != '.') && seen.insert(name) {
                    let finding = source
                        .at(offset, format!("the package names the artifact `{name}`, which is not there"))
                        .help(format!("give the file: --artifact …/{name}"));
                    named.push((name.to_owned(), finding));
                }
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Source {
        Source { file: "resource.json".into(), text: text.into() }
    }

    fn parameters() -> Parameters {
        let mut parameters = Parameters::new("demo", "1.2.3", 1_700_000_000, "http://h/d/");
        parameters.add_artifact("a.zip", "abc");
        parameters.with_environment([
            ("TEMPLATE_DOCS_PATH".into(), "{{artifact-dir}}/docs".into()),
            ("TEMPLATE_UPGRADES_FROM".into(), "1.0".into()),
            ("OTHER".into(), "x".into()),
        ])
    }

    #[test]
    fn parameters_are_replaced_and_nothing_else() {
        let cases = [
            ("{{package-name}} {{package-version}}", "demo 1.2.3"),
            ("{{artifact-dir}}/a.zip {{sha256:a.zip}}", "http://h/d/a.zip abc"),
            ("{{package-build-time-epoch-ms}}", "1700000000000"),
            ("{{package-build-time-str}}", "Tue Nov 14 2023 22:13:20 +0000"),
            ("{{docs-path}}", "http://h/d/docs"),
            ("{{upgrades-from}} {{downgrades-to}}", "1.0 *"),
            (
                "{{service.name}} {{#a}}{{{b}}}{{/a}} {{ {{package-name}} {{",
                "{{service.name}} {{#a}}{{{b}}}{{/a}} {{ demo {{",
            ),
            ("{{{package-name}}}", "{demo}"),
        ];
        for (text, expected) in cases {
            assert_eq!(parameters().substitute(&source(text)).unwrap(), expected);
        }
    }

    #[test]
    fn an_unknown_artifact_is_refused_with_its_place() {
        let finding = parameters().substitute(&source("{\n \"{{sha256:b.zip}}\"}")).unwrap_err().to_string();
        assert!(finding.starts_with("resource.json:2:3: no artifact is called `b.zip`"), "{finding}");
        let finding = parameters().substitute(&source("{{sha256:b@http://x}}")).unwrap_err().to_string();
        assert!(finding.contains("not fetched"), "{finding}");
        let checks = Parameters::for_checks("demo").substitute(&source("{{sha256:b.zip}}")).unwrap();
        assert_eq!(checks.len(), 64);
    }

    #[test]
    fn parameters_that_lead_to_each_other_are_refused() {
        for value in ["{{a}}x", "{{a}}{{a}}"] {
            let parameters = Parameters::default().with_environment([("TEMPLATE_A".into(), value.into())]);
            assert!(parameters.substitute(&source("{{a}}")).is_err(), "{value}");
        }
    }

    #[test]
    fn artifacts_are_named_by_url_and_hash() {
        let sources = Sources {
            package: source("{{artifact-dir}}/one \"{{artifact-dir}}/two.zip\" {{artifact-dir}}/../up"),
            config: None,
            marathon: Some(source("{{sha256:one}} {{sha256:three}} {{sha256:four@http://h/sums}}")),
            resource: None,
        };
        let names: Vec<_> = artifacts_named_in(&sources).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["one", "two.zip", "three"]);
    }

    proptest! {
        #[test]
        fn substitution_never_panics(text in "([{}]{1,3}|package-name|sha256:|a\\.zip|é| ){0,20}") {
            let _ = parameters().substitute(&source(&text));
        }
    }
}
