//! A package's files in a folder: as its author keeps them, and as they are published.

use crate::finding::{Code, Finding, Report, Source};
use crate::package::repository::Format;
use crate::package::sources::is_stub_file_name;
use crate::package::{Sources, json};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Files of a package are texts of some kilobytes; what is longer was put there by mistake.
const MAX_SIZE: u64 = 1 << 20;
/// Packages are published at most this many folders below a root; what is deeper is something else.
const MAX_DEPTH: usize = 4;
/// The files of a package, the one that there must be first.
const FILES: [&str; 4] = ["package.json", "config.json", "marathon.json.mustache", "resource.json"];

/// Reads the files of a package: `package.json`, and those that there are of `config.json`, `marathon.json.mustache`
/// and `resource.json`. Anything else in the folder is [`ignored`].
pub fn read(folder: &Path) -> Result<Sources, Report> {
    let package = read_source(&folder.join(FILES[0]))?.ok_or_else(|| {
        let file = Source::new(folder.join(FILES[0]).display().to_string(), "");
        let help = "name the folder that holds package.json: --universe DIR";
        Report::from(Finding::new(Code::Unreadable, &file, "there is no such file").help(help))
    })?;
    let optional = |name: &str| read_source(&folder.join(name));
    let [_, config, marathon, resource] = FILES;
    Ok(Sources {
        package,
        config: optional(config)?,
        marathon: optional(marathon)?,
        resource: optional(resource)?,
    })
}

/// What else lies in the folder of a package, by name: it does not become a part of the package. Names that begin with a
/// dot are left out.
pub fn ignored(folder: &Path) -> Vec<String> {
    // a folder that cannot be read is an error of `read`
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> =
        names.filter(|name| !name.starts_with('.') && !FILES.contains(&&**name)).collect();
    names.sort();
    names
}

/// Reads one text file; none if it does not exist.
pub fn read_source(path: &Path) -> Result<Option<Source>, Report> {
    let file = path.display().to_string();
    let wrong =
        |message: String| Report::from(Finding::new(Code::Unreadable, &Source::new(&*file, ""), message));
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if size > MAX_SIZE {
        return Err(wrong(format!("the file has {size} bytes, more than {MAX_SIZE}")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Source::new(file, text))),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let source = Source::new(file, String::from_utf8_lossy(error.as_bytes()));
            let span = json::character(&source.text, valid);
            Err(source.finding(Code::NotUtf8, &span, "the file is not UTF-8 from here on").into())
        }
    }
}

/// The stub universes in a folder that packages are published to, and in the folders below it; in order of their paths.
/// Of one that is there in several formats only the main one counts. Links and names that begin with a dot are not
/// followed.
pub fn stub_universes(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect_stubs(root, MAX_DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect_stubs(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let name = name.to_string_lossy();
        if kind.is_file() && is_stub_file_name(&name) && Format::of_stub_file_name(&name).is_none() {
            found.push(entry.path());
        } else if kind.is_dir() && depth > 0 && !name.starts_with('.') {
            collect_stubs(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stub_universes_are_found_in_the_folders_below_a_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["b/1", "a/2", "a/.hidden", "1/2/3/4/5"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        let stubs = ["a/2/stub-universe-a.json", "b/1/stub-universe-b.json", "stub-universe-c.json"];
        let others = [
            "a/.hidden/stub-universe-a.json",
            "b/1/stub-universe-b.v3.json",
            "b/svc.yml",
            "1/2/3/4/5/stub-universe-d.json",
        ];
        for path in stubs.iter().chain(&others) {
            std::fs::write(root.join(path), "{}").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("a/round")).unwrap();
        assert_eq!(stub_universes(root).unwrap(), stubs.map(|path| root.join(path)));
        assert!(stub_universes(&root.join("nowhere")).is_err());
    }
}
