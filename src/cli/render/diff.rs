//! `dagpkg render diff`: what other options change in the app, in the scheduler's environment and in the service file.

use super::{Output, app, assignments};
use crate::cli::subject::{GivenArgs, SubjectArgs};
use crate::finding::Source;
use crate::package::options::Object;
use crate::runtime::load;
use crate::spec;
use serde_json::{Map, Value, json};
use similar::TextDiff;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Show what a change of options changes: in the app, in the scheduler's environment, and in the service file.
///
/// The new options are --options and --set; the old ones are --old-options and --old-set, and without them the defaults of
/// the package. Both are merged over the defaults and validated. Nothing is printed where nothing changes. For programs
/// there is a list of changes for each of `app`, `environment` and `service`: `path` (a JSON pointer), and the values
/// `old` and `new`, of which one is left out where the other was added or removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg render diff --set service.name=test
  dagpkg render diff weather --old-options installed.json --options installed.json --set stations.count=3
  dagpkg render diff --options mine.json --output json")]
pub struct DiffArgs {
    #[command(flatten)]
    new: SubjectArgs,
    /// A JSON file of the old options; of several the later goes over the earlier.
    #[arg(long, value_name = "FILE")]
    old_options: Vec<PathBuf>,
    /// One old option, over all files.
    #[arg(long, value_name = "NAME=VALUE")]
    old_set: Vec<String>,
    /// How to print the changes; text is a unified diff.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// What a package is with some options.
struct Side {
    app: Object,
    environment: BTreeMap<String, String>,
    /// The service file, rendered; none if the package has none.
    service: Option<Source>,
    /// The options, as said on the command line.
    label: String,
}

/// Runs `dagpkg render diff`.
pub fn run(args: &DiffArgs) -> anyhow::Result<()> {
    let given = &args.new.given;
    let old =
        GivenArgs { options: args.old_options.clone(), set: args.old_set.clone(), env: given.env.clone() };
    let old = side(&SubjectArgs { given: old, ..args.new.clone() }, label(&args.old_options, &args.old_set))?;
    let new = side(&args.new, label(&given.options, &given.set))?;
    let text = match args.output.data() {
        None => unified(&old, &new),
        Some(format) => format.text(&data(&old, &new)?),
    };
    crate::cli::print(&text)
}

fn side(args: &SubjectArgs, label: String) -> anyhow::Result<Side> {
    let subject = args.read_without_downloads()?;
    let app = app(&subject)?;
    let environment = subject.environment(Some(&app));
    let service = match subject.service_file(Some(&app)) {
        Some(file) => Some(load::rendered(&file, &environment)?.source),
        None => None,
    };
    Ok(Side { app, environment, service, label })
}

fn label(files: &[PathBuf], settings: &[String]) -> String {
    let files = files.iter().map(|file| file.display().to_string());
    let said: Vec<_> = files.chain(settings.iter().cloned()).collect();
    if said.is_empty() { "defaults".to_owned() } else { said.join(", ") }
}

fn unified(old: &Side, new: &Side) -> String {
    let pretty = |app: &Object| format!("{:#}\n", Value::Object(app.clone()));
    let service =
        |side: &Side| side.service.as_ref().map(|source| source.text.to_string()).unwrap_or_default();
    let parts = [
        ("app", pretty(&old.app), pretty(&new.app)),
        ("environment", assignments(&old.environment), assignments(&new.environment)),
        ("service", service(old), service(new)),
    ];
    let part = |(name, before, after): (&str, String, String)| {
        let diff = TextDiff::from_lines(&before, &after);
        // in a label a line must not end
        let label = |side: &Side| format!("{name} ({})", side.label.replace(['\n', '\r'], " "));
        diff.unified_diff().header(&label(old), &label(new)).to_string()
    };
    parts.into_iter().map(part).collect()
}

fn data(old: &Side, new: &Side) -> anyhow::Result<Value> {
    let service = |side: &Side| side.service.as_ref().map(spec::data).transpose();
    Ok(json!({
        "app": changes(Some(&json!(old.app)), Some(&json!(new.app))),
        "environment": changes(Some(&json!(old.environment)), Some(&json!(new.environment))),
        "service": changes(service(old)?.as_ref(), service(new)?.as_ref()),
    }))
}

/// All changes between two values, in the order of their places.
fn changes(old: Option<&Value>, new: Option<&Value>) -> Vec<Value> {
    let mut found = Vec::new();
    collect(old, new, "", &mut found);
    found
}

fn collect(old: Option<&Value>, new: Option<&Value>, path: &str, found: &mut Vec<Value>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                collect(old.get(key), new.get(key), &path, found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                collect(old.get(index), new.get(index), &format!("{path}/{index}"), found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let mut change = Map::from_iter([("path".to_owned(), json!(path))]);
            change.extend(old.map(|old| ("old".to_owned(), old.clone())));
            change.extend(new.map(|new| ("new".to_owned(), new.clone())));
            found.push(change.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_change_has_its_path_and_what_was_and_what_is() {
        let old = json!({"a": 1, "b": {"c/~": [1, 2]}, "gone": null, "same": [{}], "kind": {}});
        let new = json!({"a": 2, "b": {"c/~": [1]}, "same": [{}], "kind": [], "more": {"x": 1}});
        let expected = json!([
            {"path": "/a", "old": 1, "new": 2},
            {"path": "/b/c~1~0/1", "old": 2},
            {"path": "/gone", "old": null},
            {"path": "/kind", "old": {}, "new": []},
            {"path": "/more", "new": {"x": 1}},
        ]);
        assert_eq!(Value::Array(changes(Some(&old), Some(&new))), expected);
        assert_eq!(changes(None, None), Vec::<Value>::new());
        assert_eq!(changes(None, Some(&json!(1))), [json!({"path": "", "new": 1})]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), (0..3).prop_map(Value::from), "[a~/]".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a~/]{1,2}", inner, 0..3)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn paths_lead_to_the_values_that_are_said_to_be_there(old in any_value(), new in any_value()) {
            let changes = changes(Some(&old), Some(&new));
            prop_assert_eq!(changes.is_empty(), old == new);
            for change in changes {
                let path = change["path"].as_str().expect("a path");
                prop_assert_eq!(change.get("old"), old.pointer(path));
                prop_assert_eq!(change.get("new"), new.pointer(path));
            }
        }
    }
}
