//! What a command is about: the files of a package, of its service, or of both, and what the user says beside them.
//!
//! From the files to the scheduler's environment and the service as that scheduler will read it. Used by the commands that
//! look at a service before it is deployed.

use crate::finding::{Finding, Report, Severity, Source};
use crate::package::marathon::{self, RenderError};
use crate::package::options::{self, Object, OptionsError, UserOptions};
use crate::package::parameters::Parameters;
use crate::package::{Sources, lint};
use crate::publish::files;
use crate::runtime::load::{self, LoadError, Loaded};
use crate::template::Template;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Where the files are, and what the user says beside them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SubjectArgs {
    /// A package's folder, in which the files are looked for that are not named: `universe/`, and `svc.yml` in `svc/`,
    /// `src/main/dist/`, `dist/` or the folder itself [default: . if neither --universe nor --svc is given]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A folder with package.json and so on, or a stub universe that `dagpkg build` wrote.
    #[arg(long, value_name = "DIR_OR_FILE")]
    pub universe: Option<PathBuf>,
    /// The service file; its config templates are looked for beside it.
    #[arg(long, value_name = "FILE")]
    pub svc: Option<PathBuf>,
    /// Options of the package and variables beside them.
    #[command(flatten)]
    pub given: GivenArgs,
    /// Parameters of the build, over those of the environment (`TEMPLATE_…`).
    #[arg(skip)]
    pub parameters: BTreeMap<String, String>,
}

/// Options of a package, and variables of its scheduler's environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GivenArgs {
    /// A JSON file of options; of several the later goes over the earlier.
    #[arg(long, value_name = "FILE")]
    pub options: Vec<PathBuf>,
    /// One option, over all files; the value is JSON, or else text.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A variable of the scheduler's environment, over those that the package gives it.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The files of a package and its service, read; parameters of the build have stand-ins of the right form.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The package as its author wrote it.
    pub written: Option<Sources>,
    /// The package with parameters of the build replaced.
    pub package: Option<Sources>,
    /// Where the package was found.
    pub universe: Option<PathBuf>,
    /// Downloads that a build will ask for.
    pub downloads: Vec<Finding>,
    /// The service file, as named or found. None is no error by itself: [`Subject::service`] says so where one is needed.
    svc: Option<PathBuf>,
    /// Where a service file is looked for by the name that the app gives it.
    dirs: Vec<PathBuf>,
    user: UserOptions,
    env: Vec<(String, String)>,
}

/// A package as it is installed with some options.
#[derive(Clone, Debug)]
pub struct App {
    /// All options: defaults with the user's on top.
    pub options: Object,
    /// The Marathon app.
    pub app: Object,
    /// The app's text, which leads back to the template.
    pub text: Source,
    /// What is still to be set before the package can be installed.
    pub unset: Vec<Finding>,
}

/// Folders below a package's in which its service files may be: ours, then those of the SDK.
const SERVICE_DIRS: [&str; 4] = ["svc", "src/main/dist", "dist", ""];

impl SubjectArgs {
    /// Finds and reads the files. A folder in which nothing is found is an error, and so are files that are named and
    /// are not there, or cannot be read.
    pub fn read(&self) -> anyhow::Result<Subject> {
        self.read_with(|parameters| parameters)
    }

    /// As [`SubjectArgs::read`], where nothing will be fetched: downloads whose places are not known are no error.
    pub fn read_without_downloads(&self) -> anyhow::Result<Subject> {
        self.read_with(Parameters::with_example_downloads)
    }

    fn read_with(&self, complete: impl Fn(Parameters) -> Parameters) -> anyhow::Result<Subject> {
        let nothing_named = self.universe.is_none() && self.svc.is_none();
        // the folder we are in, without a `./` in front of all names
        let dir = self.dir.clone().or_else(|| nothing_named.then(PathBuf::new));
        let in_dir = |name: &str| dir.as_ref().map(|dir| dir.join(name));
        let universe = self.universe.clone().or_else(|| {
            // the folder itself may be the universe folder
            let places = [in_dir("universe"), in_dir("")];
            places.into_iter().flatten().find(|place| place.join("package.json").is_file())
        });
        let written = universe.as_deref().map(read_package).transpose()?;
        let named = |name: &str| format!("TEMPLATE_{}", name.to_uppercase().replace('-', "_"));
        let parameters = self.parameters.iter().map(|(name, value)| (named(name), value.clone()));
        let environment: Vec<_> = super::text_environment().into_iter().chain(parameters).collect();
        let downloads = written.as_ref().map(|written| {
            let parameters = Parameters::new(&written.package, "", 0).with_environment(environment.clone());
            let missing = parameters.missing_downloads(written).into_iter();
            missing.map(|finding| finding.with_severity(Severity::Warning)).collect()
        });
        let package = written.as_ref().map(|written| {
            let known = Parameters::for_checks(&written.package).with_environment(environment);
            written.substitute(&complete(known))
        });
        let dirs: Vec<_> = SERVICE_DIRS.iter().filter_map(|name| in_dir(name)).collect();
        let subject = Subject {
            package: package.transpose()?,
            written,
            universe,
            downloads: downloads.unwrap_or_default(),
            svc: self.svc.clone(),
            dirs,
            user: self.given.user_options()?,
            env: self.given.env.clone(),
        };
        if subject.package.is_none() && subject.service_file(None).is_none() {
            let dir = dir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| ".".into());
            bail!(
                "{}: there is neither universe/package.json nor a svc.yml in it\n  help: name the folder of a \
                 package, or its parts: --universe DIR, --svc FILE",
                dir.display()
            );
        }
        Ok(subject)
    }
}

impl GivenArgs {
    /// The options alone, the later over the earlier.
    pub fn user_options(&self) -> anyhow::Result<UserOptions> {
        let mut user = UserOptions::default();
        self.add_to(&mut user)?;
        Ok(user)
    }

    /// Puts the options on top of others.
    fn add_to(&self, user: &mut UserOptions) -> anyhow::Result<()> {
        for path in &self.options {
            let source = files::read_source(path)?;
            user.add_file(source.with_context(|| format!("{}: there is no such file", path.display()))?)?;
        }
        for setting in &self.set {
            user.add_setting(setting)?;
        }
        Ok(())
    }
}

fn read_package(universe: &Path) -> Result<Sources, Report> {
    if universe.is_dir() {
        return files::read(universe);
    }
    match files::read_source(universe)? {
        Some(stub) => Sources::from_stub_universe(&stub),
        None => files::read(universe),
    }
}

impl Subject {
    /// Puts options below all that the user gave.
    pub fn with_options_below(mut self, below: UserOptions, given: &GivenArgs) -> anyhow::Result<Self> {
        self.user = below;
        given.add_to(&mut self.user)?;
        Ok(self)
    }

    /// The options that were given, without the package's defaults.
    pub fn given_options(&self) -> Object {
        self.user.merged()
    }

    /// The app that the package is with the user's options; none without a package or without a template. What the user
    /// gave must be allowed; what is still to be given before the package can be installed is told beside.
    pub fn app(&self) -> Result<Option<App>, Report> {
        let Some(package) = &self.package else { return Ok(None) };
        let Some(template) = &package.marathon else { return Ok(None) };
        let config = package.config.as_ref().map(Source::json).transpose()?;
        let resource = package.resource.as_ref().map(Source::json).transpose()?;
        let (options, unset) = self.options(package, config.as_ref())?;
        let rendered = Template::parse(&template.text)
            .map_err(RenderError::from)
            .and_then(|parsed| marathon::render(&parsed, &options, resource.as_ref()));
        let (app, rendered) = rendered.map_err(|error| error.finding(template))?;
        let text = template.made_into(rendered.text, rendered.origins);
        Ok(Some(App { options, app, text, unset }))
    }

    fn options(&self, package: &Sources, config: Option<&Value>) -> Result<(Object, Vec<Finding>), Report> {
        let user = self.user.merged();
        let error = match options::resolve(config, &user) {
            Ok(all) => return Ok((all, Vec::new())),
            Err(error) => error,
        };
        match (error, &package.config) {
            (OptionsError::Invalid(violations), Some(source)) => {
                let (wrong, unset) = self.user.place(&violations, source);
                if !wrong.is_empty() {
                    return Err(Report(wrong));
                }
                let mut all = config.map(options::defaults).unwrap_or_default();
                options::merge(&mut all, &user);
                Ok((all, unset))
            }
            (error, source) => {
                Err(lint::options_refused(source.as_ref().unwrap_or(&package.package), &error))
            }
        }
    }

    /// What is still to be set before the package can be installed, if what the user gave is allowed.
    pub fn unset(&self) -> Vec<Finding> {
        let Some(package) = &self.package else { return Vec::new() };
        let config = package.config.as_ref().and_then(|config| config.json().ok());
        self.options(package, config.as_ref()).map(|(_, unset)| unset).unwrap_or_default()
    }

    /// The scheduler's environment: what the agent and Marathon set, what the app sets, and what the user says.
    pub fn environment(&self, app: Option<&Object>) -> BTreeMap<String, String> {
        let mut env = app.map(of_app).unwrap_or_default();
        env.extend(self.env.iter().cloned());
        env
    }

    /// The service file: the one that was named, else the one that the app names, else `svc.yml`.
    pub fn service_file(&self, app: Option<&Object>) -> Option<PathBuf> {
        if self.svc.is_some() {
            return self.svc.clone();
        }
        let in_dirs = |name: &str| {
            // it is the author's own machine, but a path of a sandbox means nothing on it
            let path = Path::new(name);
            let plain =
                path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            self.dirs.iter().map(|dir| dir.join(path)).find(|path| plain && path.is_file())
        };
        app.map(named)
            .unwrap_or_default()
            .iter()
            .find_map(|name| in_dirs(name))
            .or_else(|| in_dirs("svc.yml"))
    }

    /// The service file, which there must be.
    pub fn named_service_file(&self, app: Option<&Object>) -> anyhow::Result<PathBuf> {
        self.service_file(app).context("there is no service file\n  help: name it: --svc FILE")
    }

    /// The service as its scheduler will read it, with what its author should know.
    pub fn service(&self, app: Option<&Object>) -> anyhow::Result<Loaded> {
        let file = self.named_service_file(app)?;
        load::service(&file, &self.environment(app)).map_err(|error: LoadError| error.into())
    }

    /// The same of a service that its scheduler may refuse to deploy.
    pub fn candidate(&self, app: Option<&Object>) -> anyhow::Result<Loaded> {
        Ok(load::candidate(&self.named_service_file(app)?, &self.environment(app))?)
    }
}

/// The files that an app names as its service: in the variable that says so, and as an argument of its command.
fn named(app: &Object) -> Vec<String> {
    let variable = app.get("env").and_then(|env| env.get("SVC_FILE")?.as_str());
    let words = app.get("cmd").and_then(Value::as_str).unwrap_or_default().split_whitespace();
    let words = words.map(|word| word.trim_matches(['"', '\'']));
    let files = words.filter(|word| crate::scaffold::framework::is_yaml(word));
    variable.into_iter().chain(files).map(str::to_owned).collect()
}

/// What an app's process finds in its environment, as far as that is known before it runs: of what only a running
/// cluster knows there are examples of the right form.
fn of_app(app: &Object) -> BTreeMap<String, String> {
    let id = app.get("id").and_then(Value::as_str).unwrap_or_default();
    let role = app.get("role").and_then(Value::as_str).unwrap_or("slave_public");
    let mut env: BTreeMap<String, String> = [
        ("MARATHON_APP_ID", format!("/{}", id.trim_start_matches('/'))),
        ("MESOS_ALLOCATION_ROLE", role.to_owned()),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox".to_owned()),
        ("MESOS_TASK_ID", format!("{}.1", id.trim_matches('/').replace('/', "_"))),
        ("LIBPROCESS_IP", "192.0.2.1".to_owned()),
        ("HOST", "192.0.2.1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for (index, (name, port)) in ports(app).into_iter().enumerate() {
        // ports that the cluster chooses are those that agents offer
        let port = if port == 0 { 1025 + index as u64 } else { port };
        env.insert(format!("PORT{index}"), port.to_string());
        env.extend(name.map(|name| (format!("PORT_{}", crate::spec::env_name(&name)), port.to_string())));
    }
    for (name, value) in app.get("env").and_then(Value::as_object).into_iter().flatten() {
        env.extend(value.as_str().map(|value| (name.clone(), value.to_owned())));
    }
    env
}

/// Names and numbers of an app's ports; 0 is a port that the cluster chooses.
fn ports(app: &Object) -> Vec<(Option<String>, u64)> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let container = app.get("container");
    let mappings = container.and_then(|container| container.get("portMappings"));
    let in_docker = container.and_then(|container| container.get("docker")?.get("portMappings"));
    let numbered = list(app.get("ports")).into_iter().map(|port| (None, port.as_u64().unwrap_or_default()));
    let described = |definition: Value, number: &str| {
        (definition["name"].as_str().map(str::to_owned), definition[number].as_u64().unwrap_or_default())
    };
    let defined = list(app.get("portDefinitions")).into_iter().map(|port| described(port, "port"));
    let mapped = list(mappings.or(in_docker)).into_iter().map(|port| described(port, "hostPort"));
    [mapped.collect(), defined.collect(), numbered.collect()]
        .into_iter()
        .find(|ports: &Vec<_>| !ports.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        folder
    }

    const PACKAGE: &str = r#"{"packagingVersion": "4.0", "name": "demo", "version": "{{package-version}}"}"#;
    const SERVICE: &str =
        "{name: '{{NAME}}', pods: {p: {count: 1, tasks: {t: {goal: ONCE, cmd: c, cpus: 1}}}}}";

    fn args(folder: &tempfile::TempDir) -> SubjectArgs {
        SubjectArgs { dir: Some(folder.path().to_owned()), ..SubjectArgs::default() }
    }

    fn object(value: &Value) -> Object {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_package_is_found_in_our_layout_and_in_the_sdks() {
        for dist in ["svc", "src/main/dist", "dist", "."] {
            let file = format!("{dist}/svc.yml");
            let folder = folder(&[("universe/package.json", PACKAGE), (&file, SERVICE)]);
            let subject = args(&folder).read().expect("a subject");
            assert!(subject.package.is_some(), "{dist}");
            let found = subject.service_file(None).expect("a service file");
            assert_eq!(found.canonicalize().ok(), folder.path().join(&file).canonicalize().ok());
        }
        let universe = folder(&[("package.json", PACKAGE)]);
        assert!(args(&universe).read().is_ok_and(|subject| subject.service_file(None).is_none()));
    }

    #[test]
    fn only_what_was_named_is_looked_at_where_anything_was_named() {
        let folder = folder(&[("universe/package.json", PACKAGE), ("svc/svc.yml", SERVICE)]);
        let universe = Some(folder.path().join("universe"));
        let subject = SubjectArgs { universe, ..SubjectArgs::default() }.read().expect("a package");
        assert_eq!(subject.service_file(None), None);
    }

    #[test]
    fn a_folder_with_nothing_in_it_is_refused_with_what_was_looked_for() {
        let error = args(&folder(&[("readme", "")])).read().expect_err("nothing");
        assert!(error.to_string().contains("neither universe/package.json nor a svc.yml"), "{error}");
    }

    #[test]
    fn the_app_says_which_service_file_it_runs() {
        let folder = folder(&[("dist/svc.yml", ""), ("dist/examples/simple.yml", ""), ("dist/b.yml", "")]);
        let subject = args(&folder).read().expect("a subject");
        let cases = [
            (json!({"cmd": "./run ./examples/simple.yml"}), "dist/examples/simple.yml"),
            (json!({"env": {"SVC_FILE": "b.yml"}, "cmd": "run svc.yml"}), "dist/b.yml"),
            (json!({"cmd": "run other.yml"}), "dist/svc.yml"),
            (json!({"env": {"SVC_FILE": "../dist/b.yml"}}), "dist/svc.yml"),
        ];
        for (app, expected) in cases {
            let found = subject.service_file(Some(&object(&app))).and_then(|path| path.canonicalize().ok());
            assert_eq!(found, folder.path().join(expected).canonicalize().ok(), "{app}");
        }
    }

    #[test]
    fn options_reach_the_service_through_the_environment_of_the_app() {
        let folder = folder(&[
            ("universe/package.json", PACKAGE),
            (
                "universe/config.json",
                r#"{"properties": {"name": {"type": "string", "default": "a"}, "must": {"type": "string"}},
                    "required": ["must"]}"#,
            ),
            ("universe/marathon.json.mustache", r#"{"id": "{{name}}", "env": {"NAME": "{{name}}"}}"#),
            ("svc/svc.yml", SERVICE),
        ]);
        let name = |given: GivenArgs| {
            let subject = SubjectArgs { given, ..args(&folder) }.read().expect("a subject");
            let app = subject.app().expect("an app").expect("an app");
            (subject.service(Some(&app.app)).expect("a service").service.spec.name, app.unset.len())
        };
        let given = |set: &[&str], env: &[(&str, &str)]| GivenArgs {
            set: set.iter().map(|&setting| setting.to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..GivenArgs::default()
        };
        assert_eq!(name(given(&[], &[])), ("a".to_owned(), 1));
        assert_eq!(name(given(&["name=b", "must=x"], &[])), ("b".to_owned(), 0));
        assert_eq!(name(given(&["name=b"], &[("NAME", "c")])), ("c".to_owned(), 1));
        let wrong = SubjectArgs { given: given(&["name=1"], &[]), ..args(&folder) };
        assert!(wrong.read().expect("a subject").app().is_err());
    }

    #[test]
    fn ports_are_in_the_environment_by_number_and_by_name() {
        let cases = [
            (
                json!({"portDefinitions": [{"port": 0, "name": "api"}, {"port": 7}]}),
                "1025",
                Some("1025"),
                "7",
            ),
            (json!({"container": {"portMappings": [{"hostPort": 0}, {"hostPort": 9}]}}), "1025", None, "9"),
            (json!({"ports": [0, 0]}), "1025", None, "1026"),
        ];
        for (app, first, api, second) in cases {
            let env = of_app(&object(&app));
            let of = |name: &str| env.get(name).map(String::as_str);
            assert_eq!((of("PORT0"), of("PORT_API"), of("PORT1")), (Some(first), api, Some(second)), "{app}");
        }
    }
}
