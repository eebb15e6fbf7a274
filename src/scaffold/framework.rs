//! Reads the folder of a framework that was written for the Mesosphere SDK.
//!
//! Only what a package is made of is read: `universe/`, and `src/main/dist/` (or `dist/`) with the service files and their
//! config templates. Of the Java code it is only looked at what it is about, for it cannot be taken over. Nothing
//! is followed out of the folder, and nothing is executed.

use crate::finding::{Report, Source};
use crate::publish::files::read_source;
use crate::publish::tree::{self, File, Files, TreeError};
use std::path::{Path, PathBuf};

/// The files of a framework.
#[derive(Clone, Debug)]
pub struct Framework {
    /// `universe/package.json`
    pub package: Source,
    /// `universe/config.json`
    pub config: Option<Source>,
    /// `universe/marathon.json.mustache`
    pub marathon: Source,
    /// `universe/resource.json`
    pub resource: Option<Source>,
    /// Other files in `universe/`.
    pub others: Vec<String>,
    /// Where the service files are, as their reader names it.
    pub dist: PathBuf,
    /// The service files and what lies beside them, by their path below that folder.
    pub service: Files,
    /// The Java code of its scheduler, without tests: name and text.
    pub java: Vec<Source>,
    /// A subcommand of its own, for the command line of DC/OS: its folder.
    pub subcommand: Option<String>,
}

impl Framework {
    /// A file in the folder of `package.json`, as messages name it.
    pub fn beside_package(&self, name: &str) -> String {
        Path::new(&*self.package.file).with_file_name(name).display().to_string()
    }
}

/// Why a folder is not read.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// It does not look like a framework.
    #[error(
        "{} is no framework of the SDK: there is no {missing} in it\n  help: name the folder that holds universe/ \
         and src/main/dist/",
        folder.display()
    )]
    NotOne {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
    /// One of the files of the package is wrong.
    #[error(transparent)]
    Package(#[from] Report),
    /// A folder cannot be read.
    #[error(transparent)]
    Files(#[from] TreeError),
}

/// The folders in which the SDK keeps service files, by which is looked for first.
const DIST: [&str; 2] = ["src/main/dist", "dist"];

/// Reads the framework in a folder.
pub fn read(folder: &Path) -> Result<Framework, FrameworkError> {
    let missing = |missing| FrameworkError::NotOne { folder: folder.to_owned(), missing };
    let universe = folder.join("universe");
    let own = |name: &str| read_source(&universe.join(name)).map_err(FrameworkError::Package);
    let package = own("package.json")?.ok_or_else(|| missing("universe/package.json"))?;
    let marathon =
        own("marathon.json.mustache")?.ok_or_else(|| missing("universe/marathon.json.mustache"))?;
    let dist = DIST.map(|dist| folder.join(dist)).into_iter().find(|dist| dist.is_dir());
    let dist = dist.ok_or_else(|| missing("src/main/dist or dist"))?;
    let service = tree::read(&dist, |_| true)?;
    if !service.keys().any(|path| is_yaml(path)) {
        return Err(missing("service file (*.yml) in src/main/dist or dist"));
    }
    let java = folder.join("src/main");
    let java = if java.is_dir() { tree::read(&java, is_code)? } else { Files::new() };
    let known = ["package.json", "config.json", "marathon.json.mustache", "resource.json"];
    let others = tree::names(&universe)?.into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    let text = |(path, file): (String, File)| {
        let name = folder.join("src/main").join(path).display().to_string();
        Source::new(name, String::from_utf8_lossy(&file.bytes).into_owned())
    };
    let subcommand = folder.join("cli");
    Ok(Framework {
        package,
        config: own("config.json")?,
        marathon,
        resource: own("resource.json")?,
        others,
        dist,
        service,
        java: java.into_iter().map(text).collect(),
        subcommand: subcommand.is_dir().then(|| subcommand.display().to_string()),
    })
}

/// Whether a file is, by its name, YAML.
pub fn is_yaml(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "yml" || end == "yaml")
}

fn is_code(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|end| ["java", "kt", "scala", "groovy"].iter().any(|code| end == *code))
}
