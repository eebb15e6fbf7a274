//! Everything about the package before anything is started: it is built, its options are checked, and the service file
//! is read as its scheduler will read it. What an author wrote wrong is told here, with file, line and column.

use super::options::Known;
use crate::finding::{Report, Source};
use crate::package::Sources;
use crate::package::lint;
use crate::package::marathon::{self, RenderError};
use crate::package::options::{self, Object, OptionsError, UserOptions};
use crate::package::parameters::Parameters;
use crate::publish::build::{self, Build};
use crate::publish::{files, folder, serve};
use crate::runtime::load;
use crate::template::Template;
use anyhow::{Context as _, anyhow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A package that can be installed.
#[derive(Debug)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// The user's options, with those that the cluster knows by itself.
    pub options: Object,
    /// All options, with the package's defaults.
    pub all_options: Object,
    /// Where its repository will be.
    pub repository_url: String,
    folder: PathBuf,
    port: u16,
}

/// The files of a package, where they are and where they go.
#[derive(Debug)]
pub struct Folders<'a> {
    /// Holds `universe/` and `svc/`.
    pub package: &'a Path,
    /// The repository to make.
    pub out: &'a Path,
}

/// Checks a package, its options and its service file, and then builds it for a repository at this port of 127.0.0.1.
pub fn prepare(
    folders: &Folders,
    port: u16,
    known: &Known,
    files: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<Prepared> {
    let universe = folders.package.join("universe");
    let sources = files::read(&universe)?;
    let user = user_options(&sources, known, files, settings)?;
    let all_options = check(&sources, &user, folders.package)?;
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let plan = Build {
        universe,
        artifacts: Vec::new(),
        service: folders.package.join("svc"),
        search: build::places_of_artifacts(folders.package),
        root_url: format!("http://127.0.0.1:{port}"),
        // one name for all builds: only this cluster reads it, and tasks keep the addresses that they know
        dir_name: Some("up".into()),
        url: None,
        manifests: Vec::new(),
        version: "stub-universe".into(),
        build_time: build::build_time(epoch.as_deref(), folders.package).map_err(|e| anyhow!(e))?,
        environment: crate::cli::text_environment(),
    };
    let publication = build::build(&plan, &mut |_| {})?;
    folder::publish(&publication, folders.out, &mut |_| {})?;
    let repository_url = publication.stub_url();
    Ok(Prepared {
        name: publication.name,
        options: user.merged(),
        all_options,
        repository_url,
        folder: folders.out.to_owned(),
        port,
    })
}

/// Everything that can be known to be wrong before it is built; answers all options.
fn check(sources: &Sources, user: &UserOptions, package: &Path) -> anyhow::Result<Object> {
    let parameters = Parameters::for_checks(&sources.package);
    let sources = sources.substitute(&parameters.with_environment(crate::cli::text_environment()))?;
    let findings = lint::universe(&sources);
    if !findings.is_empty() {
        return Err(Report(findings).into());
    }
    let all_options = check_options(user, sources.config.as_ref())?;
    let missing = "the package has no marathon.json.mustache, so nothing can be run";
    let source = sources.marathon.as_ref().context(missing)?;
    let resource = sources.resource.as_ref().map(Source::json).transpose()?;
    let app = Template::parse(&source.text)
        .map_err(RenderError::from)
        .and_then(|template| marathon::render(&template, &all_options, resource.as_ref()));
    let (app, _) = app.map_err(|error| Report::from(error.finding(source)))?;
    check_service(package, &app)?;
    Ok(all_options)
}

impl Prepared {
    /// Serves the repository.
    pub async fn serve(&self) -> anyhow::Result<serve::Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let server = serve::start(&self.folder, address, None).await;
        server.with_context(|| format!("cannot serve {} at {address}", self.folder.display()))
    }
}

fn user_options(
    sources: &Sources,
    known: &Known,
    files: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<UserOptions> {
    let mut user = UserOptions::default();
    let schema = sources.config.as_ref().map(Source::json).transpose()?.unwrap_or_default();
    known.add_to(&mut user, &schema)?;
    for file in files {
        let source = files::read_source(file)?;
        let source = source.with_context(|| format!("no file {} (given by --options)", file.display()))?;
        user.add_file(source)?;
    }
    for setting in settings {
        user.add_setting(setting)?;
    }
    Ok(user)
}

/// All options; what breaks a rule is told where the user wrote it.
fn check_options(user: &UserOptions, config: Option<&Source>) -> anyhow::Result<Object> {
    let schema = config.map(Source::json).transpose()?;
    let error = match options::resolve(schema.as_ref(), &user.merged()) {
        Ok(all) => return Ok(all),
        Err(error) => error,
    };
    match (error, config) {
        (OptionsError::Invalid(violations), Some(config)) => {
            let (wrong, unset) = user.place(&violations, config);
            Err(Report([wrong, unset].concat()).into())
        }
        (error, _) => Err(error.into()),
    }
}

/// The service file that the app's scheduler runs: in the package as in the sandbox, or, fetched alone, in `svc`.
fn service_file(package: &Path, app: &Object) -> Option<PathBuf> {
    let named = app.get("env").and_then(|env| env["SVC_FILE"].as_str()).unwrap_or("svc.yml");
    // it is the author's own machine, but a path of a sandbox means nothing on it
    let plain = Path::new(named).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let places = [package.join(named), package.join("svc").join(named)];
    places.into_iter().find(|path| plain && path.is_file())
}

/// Reads the service file with the environment that the app will have, as far as it is known before it runs.
fn check_service(package: &Path, app: &Object) -> anyhow::Result<()> {
    // the package may bring its service in another way
    let Some(file) = service_file(package, app) else { return Ok(()) };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for port in app.get("portDefinitions").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = port["name"].as_str() {
            env.insert(format!("PORT_{}", crate::spec::env_name(name)), "1025".into());
        }
    }
    for (name, value) in app.get("env").and_then(Value::as_object).into_iter().flatten() {
        env.extend(text(value).map(|value| (name.clone(), value)));
    }
    for name in ["MARATHON_APP_ID", "LIBPROCESS_IP", "HOST", "MESOS_TASK_ID", "MESOS_SANDBOX"] {
        env.entry(name.into()).or_insert_with(|| name.to_lowercase());
    }
    load::service(&file, &env)?;
    Ok(())
}
