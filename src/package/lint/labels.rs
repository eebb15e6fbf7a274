//! The labels of an app by which DC/OS routes to it, lists it and removes it.

use super::app::ports;
use super::options::Object;
use crate::finding::{Code, Finding, Source};
use serde_json::Value;

/// Who the app is.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Whether package.json says that it is a Mesos framework.
    pub is_framework: bool,
    /// The name of the service, if the app is the scheduler of one: this project's, or that of the SDK.
    pub service: Option<&'a str>,
}

/// Labels that the package service puts on every app that it installs.
const OVERWRITTEN: [&str; 5] = [
    "DCOS_PACKAGE_DEFINITION",
    "DCOS_PACKAGE_NAME",
    "DCOS_PACKAGE_OPTIONS",
    "DCOS_PACKAGE_SOURCE",
    "DCOS_PACKAGE_VERSION",
];

/// Labels that lead `/service/<name>/` to the app. One alone does nothing.
const ROUTE: [(&str, &str); 3] = [
    ("DCOS_SERVICE_NAME", "the app's id"),
    ("DCOS_SERVICE_PORT_INDEX", "\"0\" for the app's first port"),
    ("DCOS_SERVICE_SCHEME", "\"http\" or \"https\""),
];

/// What DC/OS needs and does not find. `text` is what `app` was read from.
pub fn check(text: &Source, app: &Object, who: Who) -> Vec<Finding> {
    let none = Object::new();
    let labels = app.get("labels").and_then(Value::as_object).unwrap_or(&none);
    let labels = Labels { text, labels };
    let mut findings = labels.missing(who);
    findings.extend(labels.wrong(app, who));
    for name in OVERWRITTEN.into_iter().filter(|name| labels.labels.contains_key(*name)) {
        let message = format!("the package service overwrites the label {name}");
        findings.push(labels.at(Code::OverwrittenLabel, name, message).help("remove it from the template"));
    }
    findings
}

struct Labels<'a> {
    text: &'a Source,
    labels: &'a Object,
}

impl Labels<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.labels.get(name).and_then(Value::as_str)
    }

    fn at(&self, code: Code, name: &str, message: String) -> Finding {
        self.text.at_pointer(code, &format!("/labels/{name}"), message)
    }

    fn missing(&self, who: Who) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut need = |names: &[(&str, &str)], why: &str| {
            let missing: Vec<_> = names.iter().filter(|(name, _)| !self.labels.contains_key(*name)).collect();
            let Some((first, _)) = missing.first() else { return };
            let list: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
            let message = format!("the app has no label {}: {why}", list.join(", "));
            let values = missing.iter().map(|(name, value)| format!("{name} is {value}"));
            let help = format!("add it to the template; {}", values.collect::<Vec<_>>().join(", "));
            findings.push(self.at(Code::MissingLabel, first, message).help(help));
        };
        if who.service.is_some() {
            need(&[("DCOS_COMMONS_API_VERSION", "\"v1\"")], "DC/OS does not know that the app has plans");
            need(
                &[("DCOS_COMMONS_UNINSTALL", "\"true\"")],
                "when the package is uninstalled, its tasks are killed and their reservations stay",
            );
            need(
                &[("DCOS_PACKAGE_FRAMEWORK_NAME", "the name of the service")],
                "`dcos service` does not find the app of the service",
            );
            need(
                &[("MARATHON_SINGLE_INSTANCE_APP", "\"true\"")],
                "two schedulers of the service can be started, and each stops the other",
            );
        } else if who.is_framework && !self.labels.contains_key("DCOS_COMMONS_UNINSTALL") {
            need(
                &[("DCOS_PACKAGE_FRAMEWORK_NAME", "the name of the framework")],
                "when the package is uninstalled, its framework stays, with all its tasks",
            );
        }
        if who.service.is_some() || ROUTE.iter().any(|(name, _)| self.labels.contains_key(*name)) {
            need(
                &ROUTE,
                "`/service/<name>/` does not lead to the app, and neither does a command line of its own",
            );
        }
        findings
    }

    fn wrong(&self, app: &Object, who: Who) -> Vec<Finding> {
        let app = Value::Object(app.clone());
        let ports = ports(&app).map_or(1, |(_, ports)| ports.len());
        let id = app["id"].as_str().unwrap_or_default().trim_matches('/');
        let index = self.get("DCOS_SERVICE_PORT_INDEX").map(str::parse::<usize>);
        let checks = [
            (
                "DCOS_SERVICE_SCHEME",
                self.get("DCOS_SERVICE_SCHEME").is_none_or(|scheme| matches!(scheme, "http" | "https")),
                "`http` or `https`".to_owned(),
            ),
            (
                "DCOS_SERVICE_PORT_INDEX",
                index.is_none_or(|index| index.is_ok_and(|index| index < ports)),
                format!("the index of one of the app's ports, of which there are {ports}"),
            ),
            (
                "DCOS_SERVICE_NAME",
                // any other app may choose its name
                who.service.is_none()
                    || self.get("DCOS_SERVICE_NAME").is_none_or(|name| name.trim_matches('/') == id),
                format!("the app's id, `{id}`: by it the package service asks the scheduler of a service"),
            ),
            (
                "DCOS_PACKAGE_FRAMEWORK_NAME",
                who.service.is_none_or(|service| {
                    self.get("DCOS_PACKAGE_FRAMEWORK_NAME")
                        .is_none_or(|name| name.trim_matches('/') == service.trim_matches('/'))
                }),
                format!("the name of the service, `{}`", who.service.unwrap_or_default()),
            ),
            (
                "DCOS_COMMONS_API_VERSION",
                self.get("DCOS_COMMONS_API_VERSION").is_none_or(|version| version == "v1"),
                "`v1`, the version that the scheduler serves".to_owned(),
            ),
        ];
        let wrong = checks.into_iter().filter(|(_, good, _)| !good);
        wrong
            .map(|(name, _, expected)| {
                let value = self.get(name).unwrap_or_default();
                let message = format!("the label {name} is `{value}`, but should be {expected}");
                self.at(Code::LabelValue, name, message).help("change it in the template")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(labels: &Value, is_framework: bool, service: Option<&str>) -> Vec<String> {
        let app = json!({"id": "/demo", "ports": [0], "labels": labels});
        let text = Source::new("app.json", app.to_string());
        let findings = check(&text, app.as_object().expect("an app"), Who { is_framework, service });
        findings.iter().map(|finding| format!("{} {}", finding.code, finding.message)).collect()
    }

    fn all() -> Value {
        json!({
            "DCOS_COMMONS_API_VERSION": "v1", "DCOS_COMMONS_UNINSTALL": "true", "DCOS_PACKAGE_FRAMEWORK_NAME": "demo",
            "DCOS_SERVICE_NAME": "demo", "DCOS_SERVICE_PORT_INDEX": "0", "DCOS_SERVICE_SCHEME": "http",
            "MARATHON_SINGLE_INSTANCE_APP": "true",
        })
    }

    #[test]
    fn a_service_needs_all_of_them_and_each_is_missed() {
        assert_eq!(found(&all(), true, Some("demo")), Vec::<String>::new());
        for name in all().as_object().expect("labels").keys() {
            let mut labels = all();
            labels.as_object_mut().expect("labels").remove(name);
            let found = found(&labels, true, Some("demo"));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].starts_with(&format!("P060 the app has no label {name}: ")), "{found:?}");
        }
    }

    #[test]
    fn other_apps_need_only_what_they_begin_with() {
        let none = Vec::<String>::new();
        assert_eq!(found(&json!({}), false, None), none);
        assert_eq!(found(&json!({"DCOS_PACKAGE_FRAMEWORK_NAME": "x"}), true, None), none);
        assert_eq!(found(&json!({}), true, None).len(), 1);
        let route = found(&json!({"DCOS_SERVICE_NAME": "demo"}), false, None);
        assert_eq!(route.len(), 1);
        assert!(route[0].contains("no label DCOS_SERVICE_PORT_INDEX, DCOS_SERVICE_SCHEME: "), "{route:?}");
    }

    #[test]
    fn values_that_lead_nowhere_are_found() {
        for (name, value) in [
            ("DCOS_COMMONS_API_VERSION", "v2"),
            ("DCOS_PACKAGE_FRAMEWORK_NAME", "other"),
            ("DCOS_SERVICE_NAME", "other"),
            ("DCOS_SERVICE_PORT_INDEX", "1"),
            ("DCOS_SERVICE_PORT_INDEX", "api"),
            ("DCOS_SERVICE_SCHEME", "tcp"),
        ] {
            let mut labels = all();
            labels[name] = value.into();
            let found = found(&labels, true, Some("demo"));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].starts_with(&format!("P061 the label {name} is `{value}`")), "{found:?}");
        }
        let mut labels = all();
        labels["DCOS_PACKAGE_NAME"] = "x".into();
        assert!(found(&labels, true, Some("demo"))[0].starts_with("P062"));
    }
}
