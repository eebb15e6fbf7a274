//! What the public catalog's validator refuses and no cluster minds: an author who publishes elsewhere need not.

use super::schema::command_rules;
use super::{broken_rules, parsed, version};
use crate::finding::{Code, Finding, Source};
use crate::package::Sources;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;

/// Checks of the files, beside those that every package is checked by. `command` is a file command.json, if there is one.
pub fn files(sources: &Sources, command: Option<&Source>) -> Vec<Finding> {
    let json = [Some(&sources.package), sources.config.as_ref(), sources.resource.as_ref(), command];
    let mut findings: Vec<_> = json.into_iter().flatten().filter_map(not_ascii).collect();
    findings.extend(subcommand(sources, command));
    findings
}

fn not_ascii(source: &Source) -> Option<Finding> {
    let span = first_beyond_ascii(&source.text)?;
    let message =
        "the catalog takes JSON files only with the printable characters of ASCII, not even escaped";
    let help = "write it with other characters; packages that are published elsewhere may have it";
    Some(source.finding(Code::NotAscii, &span, message).help(help))
}

/// The first character that is not ASCII, or the escape of one that is not printable ASCII, line breaks and tabs aside.
fn first_beyond_ascii(text: &str) -> Option<Range<usize>> {
    let plain = text.char_indices().find(|(_, c)| !c.is_ascii()).map(|(at, c)| at..at + c.len_utf8());
    let mut rest = 0;
    let escape = loop {
        let Some(found) = text[rest..].find('\\') else { break None };
        let at = rest + found;
        let code = text.get(at + 2..at + 6).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match code.filter(|_| text[at + 1..].starts_with('u')) {
            Some(code) if !matches!(code, 0x20..=0x7e | 8 | 9 | 10 | 12 | 13) => break Some(at..at + 6),
            // the next character belongs to this one, whatever it is
            _ => rest = text.ceil_char_boundary(at + 2).min(text.len()),
        }
    };
    [plain, escape].into_iter().flatten().min_by_key(|span| span.start)
}

/// The subcommand for the command line: as command.json in old packages, as programs in resource.json in new ones.
fn subcommand(sources: &Sources, command: Option<&Source>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(package) = parsed(&sources.package, &mut Vec::new()) else { return findings };
    if let Some(source) = command {
        if version(&package) >= 4 {
            let message = "packages of version 4.0 and later have no command.json";
            let help = "remove it; subcommands are named in resource.json, `cli.binaries`";
            findings.push(Finding::new(Code::CommandFile, source, message).help(help));
        } else if let Some(value) = parsed(source, &mut findings) {
            findings.extend(broken_rules(source, &value, &command_rules()));
        }
    }
    let resource = sources.resource.as_ref();
    let cli = resource.filter(|source| source.json().is_ok_and(|resource| resource.get("cli").is_some()));
    if let (Some(source), None) = (cli, command)
        && !knows_programs(&package)
    {
        let message =
            "DC/OS before 1.8 cannot install this subcommand, and the package does not say that it needs 1.8";
        let help = "add \"minDcosReleaseVersion\": \"1.8\" to package.json";
        findings.push(source.at_pointer(Code::CommandFile, "/cli", message).help(help));
    }
    findings
}

/// Whether all releases that the package is for take subcommands from resource.json: those since 1.8.
fn knows_programs(package: &Value) -> bool {
    let release = package["minDcosReleaseVersion"].as_str().unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse::<u64>().unwrap_or_default());
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    (major, minor) >= (1, 8)
}

/// Checks the place in the catalog, `repo/packages/D/demo/0`, of a package that has one. `folder` is absolute.
pub fn folder(sources: &Sources, folder: &Path) -> Vec<Finding> {
    let mut parts = folder.iter().rev().map(|part| part.to_string_lossy());
    let mut part = || parts.next().unwrap_or_default();
    let (revision, name, letter) = (part(), part(), part());
    if (part(), part()) != ("packages".into(), "repo".into()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut wrong = |source: Finding, help: String| findings.push(source.help(help));
    let package = sources.package.json().unwrap_or_default();
    if let Some(own) = package["name"].as_str().filter(|own| *own != name) {
        let message = format!("the package `{own}` is in the folder of `{name}`");
        let help = format!("rename the folder to `{own}`, or the package");
        wrong(sources.package.at_pointer(Code::CatalogFolder, "/name", message), help);
    }
    let first = name.chars().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(letter.as_bytes(), [b'A'..=b'Z']) {
        let message = format!("the folder `{letter}` is not one upper-case letter");
        let help = format!("put the package into the folder `{first}`");
        wrong(Finding::new(Code::CatalogFolder, &sources.package, message), help);
    }
    if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("the revision `{revision}` is not a whole number");
        let help = "number the folders of a package's revisions: 0, 1, 2";
        wrong(Finding::new(Code::CatalogFolder, &sources.package, message), help.to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::sources;
    use super::*;
    use serde_json::json;

    fn package(version: &str, release: &str) -> Value {
        json!({"packagingVersion": version, "name": "demo", "minDcosReleaseVersion": release})
    }

    fn codes(findings: &[Finding]) -> Vec<Code> {
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn only_printable_ascii_is_taken_even_where_it_is_escaped() {
        let cases = [
            (r#"{"a": "plain \n \t \\u00e4 A \""}"#, None),
            ("{\"a\": \"\u{e4}\"}", Some("\u{e4}")),
            (r#"{"\\": "\\\u00e4"}"#, Some(r"\u00e4")),
            (r#"{"a": "\u0041\u0001"}"#, Some(r"\u0001")),
            (r#"{"a": "\uD83D\uDE00"}"#, Some(r"\uD83D")),
            ("{\"a\": \"\\u00", None),
            ("\\", None),
            ("\\é", Some("é")),
        ];
        for (text, expected) in cases {
            assert_eq!(first_beyond_ascii(text).map(|span| &text[span]), expected, "{text}");
        }
    }

    #[test]
    fn subcommands_are_where_the_version_has_them() {
        let (command, wrong) = (r#"{"pip": ["x==1"]}"#, r#"{"pip": "x"}"#);
        let cli = json!({"cli": {}});
        let cases = [
            ("2.0", "", Some(command), json!({}), 0),
            ("3.0", "1.8", Some(wrong), json!({}), 1),
            ("4.0", "1.8", Some(command), json!({}), 1),
            ("4.0", "1.10", None, cli.clone(), 0),
            ("3.0", "1.8", None, cli.clone(), 0),
            ("3.0", "2", None, cli.clone(), 0),
            ("3.0", "1.7", None, cli.clone(), 1),
            ("3.0", "1.7", Some(command), cli.clone(), 0),
            ("3.0", "", None, cli, 1),
        ];
        for (version, release, command, resource, expected) in cases {
            let command = command.map(|text| Source::new("command.json", text));
            let found = files(&sources(&package(version, release), &resource, "{}", "{}"), command.as_ref());
            assert_eq!(found.len(), expected, "{version} {release} {command:?} {resource}: {found:?}");
        }
    }

    #[test]
    fn a_package_in_the_catalog_is_in_the_folder_of_its_name() {
        let sources = sources(&package("4.0", "1.8"), &json!({}), "{}", "{}");
        let found = |path: &str| codes(&folder(&sources, Path::new(path))).len();
        for (path, expected) in [
            ("/u/repo/packages/D/demo/12", 0),
            ("/u/repo/packages/D/other/12", 1),
            ("/u/repo/packages/d/demo/12", 1),
            ("/u/repo/packages/DE/demo/v1", 2),
            ("/u/packages/d/other/x", 0),
            ("/", 0),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }
}
