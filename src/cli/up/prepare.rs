//! Everything about the package before anything is started: it is built, its options are checked, and the service file
//! is read as its scheduler will read it. What an author wrote wrong is told here, with file, line and column.

use super::options::Known;
use crate::package::marathon;
use crate::package::options::{self, Object, OptionsError, UserOptions};
use crate::package::{Finding, Source, Sources};
use crate::publish::local::{self, Build};
use crate::publish::{files, serve};
use crate::runtime::load;
use anyhow::{Context as _, anyhow, bail};
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

/// Builds and checks a package for a repository at this port of 127.0.0.1.
pub fn prepare(
    folders: &Folders,
    port: u16,
    known: &Known,
    files: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<Prepared> {
    let universe = folders.package.join("universe");
    let sources = files::read(&universe).map_err(told)?;
    let user = user_options(&sources, known, files, settings)?;
    let url = format!("http://127.0.0.1:{port}");
    let programs = std::env::current_exe().context("cannot find this program's own folder")?;
    let programs = programs.parent().map(Path::to_owned).unwrap_or_default();
    let plan = Build {
        universe,
        artifacts: Vec::new(),
        search: vec![folders.package.join("svc"), programs],
        artifact_url: url.clone(),
        version: "stub-universe".into(),
        build_time: local::build_time(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref(), folders.package)
            .map_err(|e| anyhow!(e))?,
        environment: crate::cli::text_environment(),
        out: folders.out.to_owned(),
    };
    let built = local::build(&plan)?;
    let stub = std::fs::read(&built.stub).with_context(|| format!("cannot read {}", built.stub.display()))?;
    let stub: Value = serde_json::from_slice(&stub).with_context(|| built.stub.display().to_string())?;
    let definition = stub["packages"][0].as_object().context("the built repository has no package")?;
    let all_options = check_options(definition, &user, sources.config.as_ref())?;
    let template = sources
        .marathon
        .as_ref()
        .context("the package has no marathon.json.mustache, so nothing can be run")?;
    let app = marathon::app(definition, &url, &user.merged(), None).map_err(|e| told(e.finding(template)))?;
    check_service(&folders.package.join("svc/svc.yml"), &app)?;
    let file = built.stub.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(Prepared {
        name: built.name,
        options: user.merged(),
        all_options,
        repository_url: format!("{url}/{file}"),
        folder: folders.out.to_owned(),
        port,
    })
}

impl Prepared {
    /// Serves the repository.
    pub async fn serve(&self) -> anyhow::Result<serve::Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let server = serve::start(&self.folder, address).await;
        server.with_context(|| format!("cannot serve {} at {address}", self.folder.display()))
    }
}

#[allow(clippy::needless_pass_by_value)] // so that it fits into `map_err`
fn told(finding: Finding) -> anyhow::Error {
    anyhow!("{finding}")
}

fn user_options(
    sources: &Sources,
    known: &Known,
    files: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<UserOptions> {
    let mut user = UserOptions::default();
    let schema = sources.config.as_ref().map(Source::json).transpose().map_err(told)?.unwrap_or_default();
    known.add_to(&mut user, &schema).map_err(told)?;
    for file in files {
        let source = files::read_source(file).map_err(told)?;
        let source = source.with_context(|| format!("no file {} (given by --options)", file.display()))?;
        user.add_file(source).map_err(told)?;
    }
    for setting in settings {
        user.add_setting(setting).map_err(told)?;
    }
    Ok(user)
}

/// All options; what breaks a rule is told where the user wrote it.
fn check_options(definition: &Object, user: &UserOptions, config: Option<&Source>) -> anyhow::Result<Object> {
    let error = match options::resolve(definition.get("config"), &user.merged()) {
        Ok(all) => return Ok(all),
        Err(error) => error,
    };
    match (error, config) {
        (OptionsError::Invalid(violations), Some(config)) => {
            let (wrong, unset) = user.place(&violations, config);
            let findings: Vec<String> = wrong.iter().chain(&unset).map(ToString::to_string).collect();
            bail!("{}", findings.join("\n"))
        }
        (error, _) => Err(error.into()),
    }
}

/// Reads the service file with the environment that the app will have, as far as it is known before it runs.
fn check_service(file: &Path, app: &Object) -> anyhow::Result<()> {
    if !file.exists() {
        // the package brings its service in another way
        return Ok(());
    }
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
    load::service(file, &env)?;
    Ok(())
}
