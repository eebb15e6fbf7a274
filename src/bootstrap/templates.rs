//! Config templates of the task: each variable `CONFIG_TEMPLATE_<NAME>` says which file of the sandbox is rendered with
//! the environment, and where the result goes.

use super::{Error, log};
use crate::template::{Profile, Template, config_context};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

const PREFIX: &str = "CONFIG_TEMPLATE_";

/// Renders all templates that `env` asks for; sources are relative to the sandbox, results to the working directory.
pub fn render_all(env: &BTreeMap<String, String>, max_bytes: Option<u64>) -> Result<(), Error> {
    let values = config_context(env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let asked = env.range(PREFIX.to_owned()..).take_while(|(name, _)| name.starts_with(PREFIX));
    for (variable, value) in asked {
        let Some((source, dest)) = value.split_once(',') else {
            return Err(Error::TemplateVariable { variable: variable.clone(), value: value.clone() });
        };
        let Some(sandbox) = env.get("MESOS_SANDBOX").filter(|path| !path.is_empty()) else {
            return Err(Error::NoVariable { name: "MESOS_SANDBOX", purpose: "to find config templates" });
        };
        render(variable, &Path::new(sandbox).join(source), Path::new(dest), &values, max_bytes)?;
    }
    Ok(())
}

fn render(
    variable: &str,
    source: &Path,
    dest: &Path,
    values: &serde_json::Value,
    max_bytes: Option<u64>,
) -> Result<(), Error> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |why| Error::TemplateFile { variable: variable.to_owned(), what, path, why }
    };
    let facts = fs::metadata(source).map_err(failed("read", source))?;
    if !facts.is_file() {
        return Err(failed("read", source)(io::Error::other("it is not a regular file")));
    }
    if let Some(most) = max_bytes.filter(|most| facts.len() > *most) {
        let path = source.to_owned();
        return Err(Error::TemplateSize { variable: variable.to_owned(), path, bytes: facts.len(), most });
    }
    let text = fs::read_to_string(source).map_err(failed("read", source))?;
    let wrong = |why| Error::Template { variable: variable.to_owned(), path: source.to_owned(), why };
    let template = Template::parse(&text).map_err(wrong)?;
    let rendered = template.render(Profile::Config, values).map_err(wrong)?;
    for missing in &rendered.missing {
        let place = format!("{}:{}:{}", source.display(), missing.line, missing.column);
        log(&format!("warning: {place}: the variable {} is not set and rendered as nothing", missing.name));
    }
    fs::write(dest, &rendered.text).map_err(failed("write", dest))?;
    // the result may hold secrets, so the log says only that it is there
    log(&format!("rendered {} to {}", source.display(), dest.display()));
    Ok(())
}
