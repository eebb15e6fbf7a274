//! A service file, from disk to a [`Service`]: read, rendered with an environment, parsed.
//!
//! What is found wrong in the rendered text is shown where it stands in the file, because that is what its author can
//! mend. Used by the scheduler program, `dagpkg lint` and whoever else starts from a file.

use crate::finding::{Code, Finding, Report, Severity, Source};
use crate::spec::{self, Context, Service};
use crate::template::{Missing, Place, Profile, Template, TemplateError, service_context, tag_length};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A service, and what its author should know.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The service.
    pub service: Service,
    /// What its author should know, in the order of places in the file: what is probably not meant, and, of a
    /// [`candidate`], also why no scheduler deploys it.
    pub findings: Vec<Finding>,
    /// The text that was read: the file as it was rendered.
    pub text: Source,
    /// The config templates that were read from files.
    pub templates: Vec<Source>,
}

/// A service file, rendered with an environment.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The text that the scheduler reads.
    pub source: Source,
    /// What the file's author should know: names without a value, and values that are not what they were.
    pub findings: Vec<Finding>,
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
    /// The file says something that is not a service.
    #[error(transparent)]
    Invalid(#[from] Report),
}

/// Loads the service file at `path`, rendered with `env`, which also routes `TASKCFG_*`. Config templates are found
/// beside the file.
pub fn service(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, LoadError> {
    Ok(strict(candidate(path, env)?)?)
}

/// Renders the service file at `path` with `env`; whether the text is a service is not looked at.
pub fn rendered(path: &Path, env: &BTreeMap<String, String>) -> Result<Rendered, LoadError> {
    Ok(render(&read_source(path)?, env)?)
}

/// Loads a service file that a scheduler may refuse to deploy: it then goes on with the one before.
pub fn candidate(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, LoadError> {
    let source = read_source(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let templates = RefCell::new(Vec::new());
    let config_template = |name: &str| {
        let path = folder.join(name);
        let text = read(&path).map_err(|error| error.to_string())?;
        templates.borrow_mut().push(Source::new(path.display().to_string(), &*text));
        Ok(text)
    };
    let loaded = parse(&source, env, &config_template)?;
    Ok(Loaded { templates: templates.into_inner(), ..loaded })
}

/// No errors at all.
fn strict(loaded: Loaded) -> Result<Loaded, Report> {
    if loaded.findings.iter().any(|f| f.severity == Severity::Error) {
        return Err(Report(loaded.findings));
    }
    Ok(loaded)
}

/// The service in a text, as [`service`] loads it; `config_template` gives the content of a config template by the name
/// that the text gives it, or why there is none.
pub fn from_source(
    source: &Source,
    env: &BTreeMap<String, String>,
    config_template: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Loaded, Report> {
    strict(parse(source, env, config_template)?)
}

fn parse(
    source: &Source,
    env: &BTreeMap<String, String>,
    config_template: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Loaded, Report> {
    let Rendered { source: rendered, mut findings } = render(source, env)?;
    let parsed = spec::parse(&rendered, &Context { template: config_template, env });
    let (service, found) = match parsed {
        Ok((service, warnings)) => (Some(service), warnings),
        Err(found) => (None, found),
    };
    findings.extend(found);
    findings.sort_by_key(|f| (f.code == Code::TooMany, f.span.as_ref().map(|span| span.start)));
    match service {
        Some(service) => Ok(Loaded { service, findings, text: rendered, templates: Vec::new() }),
        None => Err(Report(findings)),
    }
}

fn render(source: &Source, env: &BTreeMap<String, String>) -> Result<Rendered, Report> {
    let not_a_template = |TemplateError { line, column, message, help }| {
        let at = Place { line, column }.offset(&source.text);
        Report::from(source.finding(Code::ServiceTemplate, &tag(&source.text, at), message).help(help))
    };
    let values = service_context(env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let template = Template::parse(&source.text).map_err(not_a_template)?;
    let rendered = template.render(Profile::Service, &values).map_err(not_a_template)?;
    let missing = rendered.missing.iter().map(|missing| missing_value(source, missing));
    let escaped = escaped_values(source, &rendered.text, env);
    let findings = missing.chain(escaped).collect();
    Ok(Rendered { source: source.made_into(rendered.text, rendered.origins), findings })
}

fn read_source(path: &Path) -> Result<Source, LoadError> {
    let text = read(path).map_err(|why| LoadError::Read { path: path.to_owned(), why })?;
    Ok(Source::new(path.display().to_string(), text))
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

fn missing_value(source: &Source, missing: &Missing) -> Finding {
    let Missing { name, line, column } = missing;
    let start = Place { line: *line, column: *column }.offset(&source.text);
    let message = format!("`{name}` has no value and is rendered as nothing");
    let help = format!("set the variable {name} in the scheduler's environment");
    source.finding(Code::MissingValue, &tag(&source.text, start), message).help(help)
}

/// Two braces escape what has a meaning in HTML, and nothing in a service file is HTML.
fn escaped_values(source: &Source, rendered: &str, env: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, value) in
        env.iter().filter(|(_, value)| value.contains(['&', '<', '>', '"', '\'', '=', '`', '\n']))
    {
        let wanted = format!("{{{{{name}}}}}");
        let Ok(shown) = Template::parse(&wanted).and_then(|template| {
            template.render(Profile::Service, &service_context([(name.as_str(), value.as_str())]))
        }) else {
            continue;
        };
        // a tag in a section that was not rendered does no harm
        if shown.text == *value || !rendered.contains(&shown.text) {
            continue;
        }
        let text = &source.text;
        for (start, _) in text.match_indices(&wanted).filter(|(start, _)| !text[..*start].ends_with('{')) {
            let message =
                format!("the value of `{name}` is changed by escaping: special characters become `&…;`");
            let help = format!("write {{{{{{{name}}}}}}}, with three braces, to have the value as it is");
            found.push(source.finding(Code::EscapedValue, &tag(text, start), message).help(help));
        }
    }
    found
}

/// The bytes of the tag that begins here, or none if none does.
fn tag(text: &str, start: usize) -> std::ops::Range<usize> {
    start..start + tag_length(&text[start..]).unwrap_or_default()
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
            Ok(loaded) => loaded.findings,
            Err(LoadError::Invalid(Report(findings))) => findings,
            Err(other) => panic!("{other}"),
        };
        let seen = |f: Finding| {
            let Place { line, column } = f.place().expect("a place");
            (f.code, line, column, f.source.text[f.span.expect("a span")].to_owned())
        };
        findings.into_iter().map(seen).collect()
    }

    #[test]
    fn a_service_is_rendered_with_the_environment_and_gets_its_config_templates() {
        let loaded = load(&GOOD, true).expect("a service");
        assert_eq!(loaded.findings, []);
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
        assert!(text.contains("  note: here this is `x`"), "{text}");
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
    fn a_file_that_is_no_template_is_an_error_at_the_tag() {
        let none = |_: &str| Err(String::new());
        let source = Source::new("svc.yml", "name: é{{#a}}\n");
        let Report(found) = from_source(&source, &BTreeMap::new(), &none).expect_err("an open section");
        assert_eq!((found[0].code, found[0].span.clone()), (Code::ServiceTemplate, Some(8..14)));
    }

    #[test]
    fn only_a_scheduler_reads_a_file_that_nothing_deploys() {
        let text = SERVICE.replace("    count:", "    placement: hostname:NEAR\n    count:");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("svc.yml");
        std::fs::write(&path, text).expect("written");
        std::fs::write(folder.path().join("web.conf"), "port {{PORT}}").expect("written");
        let env = GOOD.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert!(matches!(service(&path, &env), Err(LoadError::Invalid(Report(found))) if found.len() == 1));
        let loaded = candidate(&path, &env).expect("a service");
        assert_eq!(loaded.findings.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::Placement]);
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
                Ok(loaded) => drop(Report(loaded.findings).render(true)),
                Err(LoadError::Invalid(report)) => drop(report.render(true)),
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
