//! A service file, from disk to a [`Service`]: read, rendered with an environment, parsed.
//!
//! What is found wrong in the rendered text is shown where it stands in the file, because that is what its author can
//! mend. Used by the scheduler program, `dagpkg lint` and whoever else starts from a file.

use crate::spec::{self, Code, Context, Diagnostic, Service, Severity};
use crate::template::{Missing, Place, Profile, Rendered, Template, TemplateError, service_context};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A service, and what its author should know.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The service.
    pub service: Service,
    /// What is probably not meant.
    pub warnings: Findings,
}

/// Diagnostics of one service file, with the file's text.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In the order of their places in the file.
    pub diagnostics: Vec<Diagnostic>,
    text: String,
}

impl Findings {
    /// All diagnostics with the lines that they are about; `styled` adds colours for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let rendered: Vec<_> = self.diagnostics.iter().map(|d| d.render(&self.text, styled)).collect();
        rendered.join("\n\n")
    }

    /// How many of them are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Why there is no service in a file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the service file {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: io::Error,
    },
    /// The file is not a Mustache template.
    #[error("{}:{why}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column in front.
        why: TemplateError,
    },
    /// The file says something that is not a service.
    #[error("{0}")]
    Invalid(Findings),
}

/// Loads the service file at `path`, rendered with `env`, which also routes `TASKCFG_*`. Config templates are found
/// beside the file.
pub fn service(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, LoadError> {
    let text = read(path).map_err(|why| LoadError::Read { path: path.to_owned(), why })?;
    let not_a_template = |why| LoadError::Template { path: path.to_owned(), why };
    let values = service_context(env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let template = Template::parse(&text).map_err(not_a_template)?;
    let rendered = template.render(Profile::Service, &values).map_err(not_a_template)?;

    let folder = path.parent().unwrap_or(Path::new(""));
    let config_template = |name: &str| read(&folder.join(name)).map_err(|error| error.to_string());
    let file = path.display().to_string();
    let parsed = spec::parse(&file, &rendered.text, &Context { template: &config_template, env });
    let (service, found) = match parsed {
        Ok((service, warnings)) => (Some(service), warnings),
        Err(found) => (None, found),
    };

    let missing = rendered.missing.iter().map(|missing| missing_value(&file, &text, missing));
    let escaped = escaped_values(&file, &text, &rendered.text, env);
    let origins = Origins { template: &template, text: &text, rendered: &rendered };
    let mut diagnostics: Vec<_> =
        missing.chain(escaped).chain(found.into_iter().map(|d| origins.of(d))).collect();
    diagnostics.sort_by_key(|d| (d.code == Code::TooMany, d.span.start));
    let findings = Findings { diagnostics, text };
    match service {
        Some(service) => Ok(Loaded { service, warnings: findings }),
        None => Err(LoadError::Invalid(findings)),
    }
}

/// The text of a file that is not larger than a service file may be.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = spec::MAX_BYTES as u64;
    if File::open(path)?.take(most + 1).read_to_string(&mut text)? as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the file has more than {most} bytes"),
        ));
    }
    Ok(text)
}

fn missing_value(file: &str, text: &str, missing: &Missing) -> Diagnostic {
    let Missing { name, line, column } = missing;
    let start = offset_of(text, Place { line: *line, column: *column });
    let message = format!("`{name}` has no value and is rendered as nothing");
    let help = format!("set the variable {name} in the scheduler's environment");
    warning(file, text, start, Code::MissingValue, message, help)
}

/// Two braces escape what has a meaning in HTML, and nothing in a service file is HTML.
fn escaped_values(file: &str, text: &str, rendered: &str, env: &BTreeMap<String, String>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, value) in
        env.iter().filter(|(_, value)| value.contains(['&', '<', '>', '"', '\'', '=', '`', '\n']))
    {
        let tag = format!("{{{{{name}}}}}");
        let Ok(shown) = Template::parse(&tag).and_then(|template| {
            template.render(Profile::Service, &service_context([(name.as_str(), value.as_str())]))
        }) else {
            continue;
        };
        // a tag in a section that was not rendered does no harm
        if shown.text == *value || !rendered.contains(&shown.text) {
            continue;
        }
        for (start, _) in text.match_indices(&tag).filter(|(start, _)| !text[..*start].ends_with('{')) {
            let message =
                format!("the value of `{name}` is changed by escaping: special characters become `&…;`");
            let help = format!("write {{{{{{{name}}}}}}}, with three braces, to have the value as it is");
            found.push(warning(file, text, start, Code::EscapedValue, message, help));
        }
    }
    found
}

/// A warning at a tag of the template.
fn warning(file: &str, text: &str, start: usize, code: Code, message: String, help: String) -> Diagnostic {
    let Place { line, column } = Place::of(text, start);
    Diagnostic {
        code,
        severity: Severity::Warning,
        message,
        file: file.to_owned(),
        line,
        column,
        span: start..end_of_tag(text, start).unwrap_or(start),
        expected: None,
        help: Some(help),
        note: None,
        related: None,
    }
}

/// Leads from the rendered text back to the template.
struct Origins<'a> {
    template: &'a Template,
    text: &'a str,
    rendered: &'a Rendered,
}

impl Origins<'_> {
    /// The diagnostic of the rendered text, as one of the template.
    fn of(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let shown = self.rendered.text.get(diagnostic.span.clone()).unwrap_or_default().to_owned();
        let place = self.template.origin(self.rendered, diagnostic.span.start);
        (diagnostic.line, diagnostic.column) = (place.line, place.column);
        diagnostic.span = self.range(&diagnostic.span);
        // only what it is about: the rest of the line may hold a secret
        if !shown.is_empty() && !shown.contains('\n') && shown != self.text[diagnostic.span.clone()] {
            diagnostic.note = Some(format!("rendered, this is `{shown}`"));
        }
        if let Some((span, _)) = &mut diagnostic.related {
            *span = self.range(span);
        }
        diagnostic
    }

    fn range(&self, span: &Range<usize>) -> Range<usize> {
        let offset = |at| offset_of(self.text, self.template.origin(self.rendered, at));
        let start = offset(span.start);
        if span.is_empty() {
            return start..start;
        }
        let last = offset(span.end - 1);
        let length = self.text[last..].chars().next().map_or(0, char::len_utf8);
        start..end_of_tag(self.text, last).unwrap_or(last + length).max(start)
    }
}

/// The byte at a place, on a boundary of characters.
fn offset_of(text: &str, place: Place) -> usize {
    let line = text.split_inclusive('\n').take(place.line - 1).map(str::len).sum::<usize>();
    line + text[line..].chars().take(place.column - 1).map(char::len_utf8).sum::<usize>()
}

/// Where the tag that begins at `start` ends, if one does.
fn end_of_tag(text: &str, start: usize) -> Option<usize> {
    let tag = text.get(start..).filter(|tag| tag.starts_with("{{"))?;
    let close = if tag.starts_with("{{{") { "}}}" } else { "}}" };
    tag.find(close).map(|end| start + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "\
name: {{NAME}}
pods:
  {{#EXTRA}}
  extra: {count: 1, tasks: {t: {goal: RUNNING, cmd: c, cpus: 1}}}
  {{/EXTRA}}
  web:
    count: {{COUNT}}
    tasks:
      server:
        goal: RUNNING
        cmd: '{{{CMD}}}'
        cpus: {{CPUS}}
        configs:
          conf: {template: web.conf, dest: web.conf}
";

    /// Loads SERVICE from a folder that has its config template only if it should.
    fn load(env: &[(&str, &str)], with_template: bool) -> Result<Loaded, LoadError> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("svc.yml"), SERVICE).expect("written");
        if with_template {
            std::fs::write(folder.path().join("web.conf"), "port {{PORT}}").expect("written");
        }
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        service(&folder.path().join("svc.yml"), &env)
    }

    const GOOD: [(&str, &str); 4] = [("NAME", "shop"), ("COUNT", "2"), ("CMD", "a && b"), ("CPUS", "0.5")];

    fn with(name: &str, value: &str) -> Vec<(&'static str, String)> {
        GOOD.iter().map(|(k, v)| (*k, if *k == name { value } else { v }.to_owned())).collect()
    }

    /// Code, line, column and text under the caret of each finding.
    fn found(env: &[(&'static str, String)], with_template: bool) -> Vec<(Code, usize, usize, String)> {
        let env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let findings = match load(&env, with_template) {
            Ok(loaded) => loaded.warnings,
            Err(LoadError::Invalid(findings)) => findings,
            Err(other) => panic!("{other}"),
        };
        let seen = |d: &Diagnostic| (d.code, d.line, d.column, findings.text[d.span.clone()].to_owned());
        findings.diagnostics.iter().map(seen).collect()
    }

    #[test]
    fn a_service_is_rendered_with_the_environment_and_gets_its_config_templates() {
        let loaded = load(&GOOD, true).expect("a service");
        assert_eq!(loaded.warnings.diagnostics, []);
        let pod = &loaded.service.spec.pods[0];
        assert_eq!((loaded.service.spec.name.as_str(), pod.count), ("shop", 2));
        let task = &pod.tasks[0];
        assert_eq!((task.cmd.as_str(), task.config_files[0].content.as_str()), ("a && b", "port {{PORT}}"));
    }

    #[test]
    fn what_is_wrong_with_a_value_is_shown_at_the_tag_that_brings_it_in() {
        let many = vec![(Code::ScalarType, 7, 12, "{{COUNT}}".to_owned())];
        assert_eq!(found(&with("COUNT", "many"), true), many);
        // a section that is rendered moves the lines of the rendered text, not those of the file
        let mut env = with("COUNT", "many");
        env.push(("EXTRA", "true".to_owned()));
        assert_eq!(found(&env, true), many);
        assert_eq!(found(&with("CPUS", "0"), true), [(Code::OutOfRange, 12, 15, "{{CPUS}}".to_owned())]);
    }

    #[test]
    fn what_is_wrong_with_the_text_itself_is_shown_there() {
        let expected = [(Code::ConfigTemplate, 14, 28, "web.conf".to_owned())];
        assert_eq!(found(&with("", ""), false), expected);
    }

    #[test]
    fn what_was_rendered_is_shown_when_it_is_not_what_the_file_says() {
        let LoadError::Invalid(findings) = load(&[("COUNT", "x")], true).expect_err("no name") else {
            panic!()
        };
        let text = findings.to_string();
        assert!(text.contains("= note: rendered, this is `x`"), "{text}");
    }

    #[test]
    fn a_name_without_a_value_is_a_warning_at_its_tag() {
        let mut env = with("", "");
        env.retain(|(name, _)| *name != "CMD");
        let expected = (Code::MissingValue, 11, 15, "{{{CMD}}}".to_owned());
        let found = found(&env, true);
        assert!(found.contains(&expected), "{found:?}");
    }

    #[test]
    fn a_value_that_escaping_changes_is_a_warning_at_its_tag() {
        let (env, name) = (with("NAME", "a=b"), "{{NAME}}".to_owned());
        assert_eq!(found(&env, true), [(Code::EscapedValue, 1, 7, name)]);
        // CMD has three braces
        assert_eq!(found(&with("CMD", "a && b"), true), []);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = service(Path::new("no/such/svc.yml"), &BTreeMap::new()).expect_err("no file");
        assert!(error.to_string().contains("no/such/svc.yml"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_way_back_to_the_template_panic(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("svc.yml");
            std::fs::write(&path, pieces.concat()).expect("written");
            let env = [("A", "é\n- x"), ("B", "<=>"), ("C", "true")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            match service(&path, &BTreeMap::from(env)) {
                Ok(loaded) => drop(loaded.warnings.render(true)),
                Err(error) => drop(error.to_string()),
            }
        }
    }

    const PIECES: &[&str] = &[
        "name: ",
        "{{A}}",
        "{{{A}}}",
        "{{B}}",
        "{{{B}}}",
        "{{GONE}}",
        "{{#C}}",
        "{{/C}}",
        "{{^C}}",
        "{{=<% %>=}}",
        "<%A%>",
        "\n",
        "\r\n",
        "pods:\n",
        "  p:\n",
        "    count: ",
        "    tasks: ",
        "é",
        "💥",
        "[",
        "]",
        "'",
        "\"",
        ": ",
        "- ",
        "{{",
        "}}",
    ];
}
