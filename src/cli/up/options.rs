//! What the embedded cluster knows by itself and tells a package as options, below those of the user.

use crate::finding::Report;
use crate::package::options::UserOptions;
use serde_json::Value;
use std::path::PathBuf;

/// What the embedded cluster knows, by the names that packages of this project use for it.
#[derive(Clone, Debug)]
pub struct Known {
    /// `service.mesos_master`.
    pub master_url: String,
    /// `service.state_dir`.
    pub state_dir: PathBuf,
    /// `service.user`.
    pub user: String,
    /// `airflow.venv`, where such an environment was prepared.
    pub airflow: Option<PathBuf>,
}

impl Known {
    /// Puts on top of `options` what a package with this `config.json` asks for; options that it does not declare are
    /// left out.
    pub fn add_to(&self, options: &mut UserOptions, schema: &Value) -> Result<(), Report> {
        let state_dir = self.state_dir.display().to_string();
        let airflow = self.airflow.as_ref().map(|path| path.display().to_string());
        for (name, value) in [
            ("service.mesos_master", Some(&self.master_url)),
            ("service.state_dir", Some(&state_dir)),
            ("service.user", Some(&self.user)),
            // there is no secret store here
            ("service.secrets", Some(&"local".to_owned())),
            ("airflow.venv", airflow.as_ref()),
        ] {
            if let Some(value) = value.filter(|_| declares(schema, name)) {
                options.add_setting(&format!("{name}={}", Value::from(value.as_str())))?;
            }
        }
        Ok(())
    }
}

/// Whether a schema declares a dotted option.
fn declares(schema: &Value, name: &str) -> bool {
    name.split('.').try_fold(schema, |schema, part| schema.get("properties")?.get(part)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_package_is_told_only_what_it_declares_and_always_as_text() {
        let known = Known {
            master_url: "http://m".into(),
            state_dir: "/s \"x\"".into(),
            user: "1000".into(),
            airflow: Some("/v".into()),
        };
        let text = json!({"type": "string"});
        let service = json!({"state_dir": text, "user": text, "secrets": text});
        let schema = json!({"properties": {"service": {"properties": service}}});
        let mut options = UserOptions::default();
        known.add_to(&mut options, &schema).unwrap();
        let expected = json!({"service": {"state_dir": "/s \"x\"", "user": "1000", "secrets": "local"}});
        assert_eq!(Value::Object(options.merged()), expected);
    }
}
