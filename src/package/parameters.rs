//! Parameters of a build: `{{name}}` in a package's files, replaced as plain text when the package is built.
//!
//! What is not a parameter stays as it is: it belongs to the templates that are rendered on installation.

use super::Sources;
use crate::finding::{Code, Finding, Report, Source};
use crate::template::Origins;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Values may hold parameters themselves; this many rounds are enough for all that do not go in circles.
const MAX_ROUNDS: usize = 16;
/// Bytes that a file may have after substitution.
const MAX_SIZE: usize = 16 << 20;

/// Parameters of the Java SDK that name downloads.
const DOWNLOADS: [&str; 3] = ["jre-url", "scheduler-jre-url", "libmesos-bundle-url"];

/// The parameters of one build.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    values: BTreeMap<String, String>,
    hashes: Hashes,
}

/// What `{{sha256:…}}` is replaced by.
#[derive(Clone, Debug, Default)]
enum Hashes {
    /// Nothing yet.
    #[default]
    Left,
    /// A hash, in hex, for each name: that of an artifact, or `<file>@<URL of a list of hashes>`.
    Of(BTreeMap<String, String>),
    /// The same for all, where it does not matter what it is.
    Any(String),
}

impl Parameters {
    /// The parameters that are known before artifacts are: `{{artifact-dir}}` and `{{sha256:…}}` stay as they are. Takes
    /// name and links from package.json; `build_time` is in seconds since 1970. What is not known here is allowed: up-
    /// and downgrades from and to any version.
    pub fn new(package: &Source, version: &str, build_time: i64) -> Self {
        let time = jiff::Timestamp::from_second(build_time).unwrap_or_default();
        // a file that is not JSON yet, or never will be, has nothing to take
        let package = package.json().unwrap_or_default();
        let mut values = BTreeMap::new();
        let mut add = |name: &str, value: String| values.insert(name.to_owned(), value);
        add("package-name", text(&package, "name").unwrap_or_default());
        add("package-version", version.to_owned());
        add("package-build-time-epoch-ms", time.as_millisecond().to_string());
        add("package-build-time-str", time.strftime("%a %b %d %Y %H:%M:%S +0000").to_string());
        add("upgrades-from", "*".to_owned());
        add("downgrades-to", "*".to_owned());
        add("documentation-path", documentation(&package));
        add("issues-path", issues(&package));
        Self { values, hashes: Hashes::Left }
    }

    /// Parameters by which a package can be checked without building it: some version, some place, some hashes.
    pub fn for_checks(package: &Source) -> Self {
        let published = Self::new(package, "stub-universe", 0)
            .published("https://artifacts.example.org", BTreeMap::new());
        Self { hashes: Hashes::Any("0".repeat(64)), ..published }
    }

    /// What a build would say of downloads that the files name and nobody has given.
    pub fn missing_downloads(&self, sources: &Sources) -> Vec<Finding> {
        let mut findings = Vec::new();
        for source in sources.all() {
            for name in DOWNLOADS.into_iter().filter(|name| !self.values.contains_key(*name)) {
                let tag = format!("{{{{{name}}}}}");
                let places = source.text.match_indices(&tag);
                findings.extend(places.map(|(at, _)| no_download(source, &(at..at + tag.len()), name)));
            }
        }
        findings
    }

    /// All parameters: the package is published at this URL. `hashes` are those of its artifacts by name, and of files of
    /// others by `<file>@<URL of a list of hashes>`.
    #[must_use]
    pub fn published(mut self, url: &str, hashes: BTreeMap<String, String>) -> Self {
        // the environment may say that artifacts are elsewhere
        self.values.entry("artifact-dir".to_owned()).or_insert_with(|| url.trim_end_matches('/').to_owned());
        self.hashes = Hashes::Of(hashes);
        self
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

    /// Example addresses for downloads that are not known, where nothing is going to be fetched.
    #[must_use]
    pub fn with_example_downloads(mut self) -> Self {
        for name in DOWNLOADS {
            let example = || format!("https://artifacts.example.org/{name}");
            self.values.entry(name.to_owned()).or_insert_with(example);
        }
        self
    }

    /// The file with values in place of parameters.
    pub fn substitute(&self, source: &Source) -> Result<Source, Report> {
        let mut origins = Origins::default();
        origins.copied(0, 0);
        let mut made = source.made_into(&*source.text, origins.clone());
        for _ in 0..MAX_ROUNDS {
            let Some((text, next)) = self.substitute_once(&made, &origins)? else { return Ok(made) };
            if text.len() > MAX_SIZE {
                let message = format!("parameters make this file longer than {MAX_SIZE} bytes");
                return Err(Finding::new(Code::ParameterLoop, source, message).into());
            }
            origins = next;
            made = source.made_into(text, origins.clone());
        }
        let message = "parameters of the build lead to each other without end";
        let help = "look for a TEMPLATE_… variable whose value names a parameter that leads back to it";
        Err(Finding::new(Code::ParameterLoop, source, message).help(help).into())
    }

    /// The text with the parameters replaced that are in it now, and where it comes from; none if there are none.
    fn substitute_once(&self, made: &Source, origins: &Origins) -> Result<Option<(String, Origins)>, Report> {
        let text = &*made.text;
        let (mut result, mut next) = (String::with_capacity(text.len()), Origins::default());
        let (mut kept, mut position) = (0, 0);
        while let Some(found) = text[position..].find("{{") {
            let start = position + found;
            // only the first brace, if this is no parameter: the next may begin one, as in `{{{{a}}`
            position = start + 1;
            let inner = &text[start + 2..];
            let Some(length) = inner.find(['{', '}']) else { break };
            let name = &inner[..length];
            if !inner[length..].starts_with("}}") {
                continue;
            }
            let tag = start..start + name.len() + 4;
            let Some(value) = self.value(made, &tag, name)? else { continue };
            next.carried(result.len(), origins, &(kept..start));
            result.push_str(&text[kept..start]);
            next.replaced(result.len(), origins.offset(start));
            result.push_str(value);
            (kept, position) = (tag.end, tag.end);
        }
        if kept == 0 {
            return Ok(None);
        }
        next.carried(result.len(), origins, &(kept..text.len()));
        result.push_str(&text[kept..]);
        Ok(Some((result, next)))
    }

    /// What a tag is replaced by; none if it is not for the build, or not yet.
    fn value(&self, made: &Source, tag: &Range<usize>, name: &str) -> Result<Option<&str>, Report> {
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value));
        }
        if let Some(file) = name.strip_prefix("sha256:") {
            return match &self.hashes {
                Hashes::Left => Ok(None),
                Hashes::Any(hash) => Ok(Some(hash)),
                Hashes::Of(hashes) => match hashes.get(file) {
                    Some(hash) => Ok(Some(hash)),
                    None => Err(made
                        .finding(Code::NoArtifact, tag, format!("no artifact is called `{file}`"))
                        .help(format!("give the file: --artifact …/{file}"))
                        .into()),
                },
            };
        }
        if DOWNLOADS.contains(&name) {
            return Err(no_download(made, tag, name).into());
        }
        Ok(None)
    }
}

fn no_download(source: &Source, tag: &Range<usize>, name: &str) -> Finding {
    let variable = format!("TEMPLATE_{}", name.to_uppercase().replace('-', "_"));
    let message = format!("`{{{{{name}}}}}` is a download that the Java SDK needs, and none is known");
    let help = format!(
        "make a package that needs no Java: dagpkg new --from DIR; or say where it is: {variable}=URL"
    );
    source.finding(Code::NoValue, tag, message).help(help)
}

/// A text of package.json, unless it has parameters in it.
fn text(package: &Value, key: &str) -> Option<String> {
    package[key].as_str().filter(|text| !text.is_empty() && !text.contains("{{")).map(str::to_owned)
}

/// Where the documentation is, as far as package.json tells; else where all that there is of the package is.
fn documentation(package: &Value) -> String {
    let known = text(package, "website").or_else(|| text(package, "scm"));
    known.unwrap_or_else(|| "{{artifact-dir}}".to_owned())
}

/// Where mistakes are reported: where forges have it beside the source code, else where the documentation is.
fn issues(package: &Value) -> String {
    match text(package, "scm").filter(|scm| scm.starts_with("https://")) {
        Some(forge) => format!("{}/issues", forge.trim_end_matches('/').trim_end_matches(".git")),
        None => documentation(package),
    }
}

/// The artifacts that the files name: `{{artifact-dir}}/NAME` and `{{sha256:NAME}}`; each with its first mention. All
/// other parameters must be replaced already.
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
                    let message = format!("the package names the artifact `{name}`, which is not there");
                    let span = offset..offset + prefix.len() + name.len();
                    let finding = source
                        .finding(Code::NoArtifact, &span, message)
                        .help(format!("give the file: --artifact …/{name}"));
                    named.push((name.to_owned(), finding));
                }
            }
        }
    }
    named
}

/// A hash that the files take from a list that others publish: `{{sha256:FILE@URL}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The file in the list.
    pub file: String,
    /// Where the list is.
    pub url: String,
    source: Source,
    span: Range<usize>,
}

impl Listed {
    /// What the hash is known by: `FILE@URL`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.file, self.url)
    }

    /// Something that is wrong with it, at its place.
    pub fn finding(&self, message: impl Into<String>) -> Finding {
        self.source.finding(Code::NoListedHash, &self.span, message)
    }
}

/// The hashes that are taken from lists of others. All parameters but artifacts must be replaced already.
pub fn listed_in(sources: &Sources) -> Vec<Listed> {
    let mut listed = Vec::new();
    for source in sources.all() {
        for (offset, prefix) in source.text.match_indices("{{sha256:") {
            let rest = &source.text[offset + prefix.len()..];
            let Some((name, _)) = rest.split_once("}}") else { continue };
            if let Some((file, url)) = name.split_once('@') {
                let span = offset..offset + prefix.len() + name.len() + 2;
                listed.push(Listed { file: file.into(), url: url.into(), source: source.clone(), span });
            }
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Source {
        Source::new("resource.json", text)
    }

    fn parameters() -> Parameters {
        let package =
            Source::new("package.json", r#"{"name": "demo", "scm": "https://forge.example/d/demo.git"}"#);
        let environment = [
            ("TEMPLATE_DOCS_PATH".into(), "{{artifact-dir}}/docs".into()),
            ("TEMPLATE_UPGRADES_FROM".into(), "1.0".into()),
            ("TEMPLATE_JRE_URL".into(), "https://h/jre".into()),
            ("OTHER".into(), "x".into()),
        ];
        let hashes = [("a.zip", "abc"), ("b@https://h/sums", "def")];
        let hashes = hashes.into_iter().map(|(name, hash)| (name.to_owned(), hash.to_owned())).collect();
        Parameters::new(&package, "1.2.3", 1_700_000_000)
            .with_environment(environment)
            .published("http://h/d/", hashes)
    }

    #[test]
    fn parameters_are_replaced_and_nothing_else() {
        let cases = [
            ("{{package-name}} {{package-version}}", "demo 1.2.3"),
            ("{{artifact-dir}}/a.zip {{sha256:a.zip}}", "http://h/d/a.zip abc"),
            ("{{package-build-time-epoch-ms}}", "1700000000000"),
            ("{{package-build-time-str}}", "Tue Nov 14 2023 22:13:20 +0000"),
            ("{{docs-path}}", "http://h/d/docs"),
            ("{{upgrades-from}} {{downgrades-to}} {{jre-url}}", "1.0 * https://h/jre"),
            ("{{documentation-path}}", "https://forge.example/d/demo.git"),
            ("{{issues-path}}", "https://forge.example/d/demo/issues"),
            ("{{sha256:b@https://h/sums}} {{sha256:{{other}}}}", "def {{sha256:{{other}}}}"),
            (
                "{{service.name}} {{#a}}{{{b}}}{{/a}} {{ {{package-name}} {{",
                "{{service.name}} {{#a}}{{{b}}}{{/a}} {{ demo {{",
            ),
            ("{{{package-name}}}", "{demo}"),
        ];
        for (text, expected) in cases {
            assert_eq!(&*parameters().substitute(&source(text)).unwrap().text, expected);
        }
    }

    #[test]
    fn what_is_wrong_with_the_built_text_is_shown_where_the_author_wrote_it() {
        let parameters = parameters().with_environment([
            ("TEMPLATE_OUTER".into(), "<{{inner}}>".into()),
            ("TEMPLATE_INNER".into(), "{{package-name}}".into()),
        ]);
        let written = source("a {{outer}} bé\n{{inner}}c");
        let made = parameters.substitute(&written).unwrap();
        assert_eq!(&*made.text, "a <demo> bé\ndemoc");
        for (part, expected) in [
            ("a ", "a "),
            ("<", "{{outer}}"),
            ("demo", "{{outer}}"),
            ("> b", "{{outer}} b"),
            ("é", "é"),
            ("democ", "{{inner}}c"),
            ("c", "c"),
        ] {
            let start = made.text.rfind(part).unwrap();
            let start = if part == "demo" { made.text.find(part).unwrap() } else { start };
            let span = made.span_as_written(&(start..start + part.len()));
            assert_eq!(&written.text[span], expected, "{part}");
        }
        let finding = made.finding(Code::FieldValue, &(3..7), "m");
        assert_eq!(finding.note.as_deref(), Some("here this is `demo`"));
        assert_eq!(finding.source, written);
    }

    #[test]
    fn an_unknown_artifact_is_refused_with_its_place() {
        let finding = parameters().substitute(&source("{\n \"{{sha256:b.zip}}\"}")).unwrap_err().to_string();
        assert!(
            finding.starts_with("resource.json:2:3: error[P090]: no artifact is called `b.zip`"),
            "{finding}"
        );
        let checks = Parameters::for_checks(&source("{}")).substitute(&source("{{sha256:b.zip}}")).unwrap();
        assert_eq!(checks.text.len(), 64);
    }

    #[test]
    fn links_come_from_what_package_json_says() {
        let cases = [
            (r#"{"website": "https://w"}"#, "https://w https://w"),
            (r#"{"website": "https://w", "scm": "https://s/"}"#, "https://w https://s/issues"),
            (r#"{"scm": "git@s:demo.git"}"#, "git@s:demo.git git@s:demo.git"),
            (r#"{"website": "{{documentation-path}}", "scm": ""}"#, "https://h/d https://h/d"),
            ("{{not yet JSON}}", "https://h/d https://h/d"),
        ];
        for (package, expected) in cases {
            let parameters =
                Parameters::new(&source(package), "1", 0).published("https://h/d", BTreeMap::new());
            let made = parameters.substitute(&source("{{documentation-path}} {{issues-path}}")).unwrap();
            assert_eq!(&*made.text, expected, "{package}");
        }
    }

    #[test]
    fn parameters_without_a_value_are_refused_with_what_to_do() {
        let cases = [
            ("jre-url", "dagpkg new --from DIR; or say where it is: TEMPLATE_JRE_URL=URL"),
            ("scheduler-jre-url", "TEMPLATE_SCHEDULER_JRE_URL=URL"),
            ("libmesos-bundle-url", "TEMPLATE_LIBMESOS_BUNDLE_URL=URL"),
        ];
        for (name, help) in cases {
            let text = source(&format!("{{\n \"{{{{{name}}}}}\"}}"));
            for parameters in [Parameters::new(&source("{}"), "1", 0), Parameters::for_checks(&source("{}"))]
            {
                let finding = parameters.substitute(&text).unwrap_err().to_string();
                assert!(finding.starts_with("resource.json:2:3: error[P093]: "), "{finding}");
                assert!(finding.contains(help), "{finding}");
            }
            // the same is told without a build
            let parameters = Parameters::new(&source("{}"), "1", 0);
            let finding = parameters.substitute(&text).unwrap_err().to_string();
            let sources =
                Sources { package: source("{}"), config: None, marathon: Some(text), resource: None };
            let told: Vec<_> =
                parameters.missing_downloads(&sources).iter().map(Finding::to_string).collect();
            assert_eq!(told, [finding]);
        }
    }

    #[test]
    fn downloads_that_nobody_fetches_may_be_examples() {
        let environment = [("TEMPLATE_JRE_URL".to_owned(), "https://jre".to_owned())];
        let parameters = Parameters::for_checks(&source("{}")).with_environment(environment);
        let made =
            parameters.with_example_downloads().substitute(&source("{{jre-url}} {{scheduler-jre-url}}"));
        assert_eq!(&*made.unwrap().text, "https://jre https://artifacts.example.org/scheduler-jre-url");
    }

    #[test]
    fn what_depends_on_artifacts_stays_until_they_are_known() {
        let package = source(r#"{"name": "demo"}"#);
        let early = Parameters::new(&package, "1", 0);
        let text =
            "{{package-name}} {{artifact-dir}}/x {{sha256:x}} {{sha256:{{package-name}}@https://h/sums}}";
        let made = early.substitute(&source(text)).unwrap();
        assert_eq!(&*made.text, "demo {{artifact-dir}}/x {{sha256:x}} {{sha256:demo@https://h/sums}}");
        let sources = Sources { package: made, config: None, marathon: None, resource: None };
        let listed = listed_in(&sources);
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].file.as_str(), listed[0].url.as_str()), ("demo", "https://h/sums"));
        let finding = listed[0].finding("m").to_string();
        assert!(finding.starts_with("resource.json:1:50: error[P094]: m"), "{finding}");
        let elsewhere = [("TEMPLATE_ARTIFACT_DIR".to_owned(), "https://cdn".to_owned())];
        let moved = early.with_environment(elsewhere).published("https://h", BTreeMap::new());
        assert_eq!(&*moved.substitute(&source("{{artifact-dir}}")).unwrap().text, "https://cdn");
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
