//! Lists in YAML files that are no service files, with places of what is wrong with an item.

use super::findings::Findings;
use super::yaml::{self, Value};
use crate::finding::{Code, Finding, Severity, Source};
use serde::de::DeserializeOwned;

/// The items of a file that is one list, YAML or JSON.
pub fn read_list<T: DeserializeOwned>(source: &Source) -> Result<Vec<T>, Vec<Finding>> {
    let findings = Findings::new(source);
    let root = yaml::read(&source.text, &findings);
    let mut items = Vec::new();
    match root.as_ref().map(|root| (&root.value, root)) {
        Some((Value::List(nodes), _)) => {
            for node in nodes {
                match serde_json::from_value(node.data()) {
                    Ok(item) => items.push(item),
                    Err(error) => findings.add(findings.at(&node.span, Code::Shape, error.to_string())),
                }
            }
        }
        Some((_, root)) => {
            let message = format!("the file must be a list, and is {}", root.kind());
            findings.add(findings.at(&root.span, Code::Shape, message));
        }
        None => {}
    }
    let found = findings.into_vec();
    if found.iter().any(|f| f.severity == Severity::Error) { Err(found) } else { Ok(items) }
}
