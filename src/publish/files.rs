//! A package's files in a folder.

use crate::package::{Finding, Source, Sources};
use std::io::ErrorKind;
use std::path::Path;

/// Files of a package are texts of some kilobytes; what is longer was put there by mistake.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the files of a package: `package.json`, and those that there are of `config.json`, `marathon.json.mustache`
/// and `resource.json`. Anything else in the folder is ignored.
pub fn read(folder: &Path) -> Result<Sources, Finding> {
    let package = read_source(&folder.join("package.json"))?.ok_or_else(|| Finding {
        file: folder.join("package.json").display().to_string(),
        place: None,
        message: "there is no such file".to_owned(),
        help: Some("name the folder that holds package.json: --universe DIR".to_owned()),
    })?;
    let optional = |name: &str| read_source(&folder.join(name));
    Ok(Sources {
        package,
        config: optional("config.json")?,
        marathon: optional("marathon.json.mustache")?,
        resource: optional("resource.json")?,
    })
}

/// Reads one text file; none if it does not exist.
pub fn read_source(path: &Path) -> Result<Option<Source>, Finding> {
    let file = path.display().to_string();
    let wrong = |message: String| Finding { file: file.clone(), place: None, message, help: None };
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
        Ok(text) => Ok(Some(Source { file, text })),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Err(Source { file, text }.at(valid, "the file is not UTF-8 from here on"))
        }
    }
}
