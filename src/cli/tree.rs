//! Plans and other nested things as a tree of lines, in the form that DC/OS service command lines print.
//!
//! For text that a person reads; programs get JSON elsewhere. Used by `dagpkg plan show`, `dagpkg up` and the package's
//! own `dcos` subcommand. Whether colour is wanted (standard output is a terminal) is the caller's to know.

use serde_json::Value;
use std::fmt::Write as _;

/// One line of a tree and what hangs below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The text of the line.
    pub label: String,
    /// The lines below it.
    pub children: Vec<Node>,
}

impl Node {
    /// The tree's lines, each ended by a newline.
    pub fn render(&self) -> String {
        let mut text = format!("{}\n", self.label);
        self.render_children("", &mut text);
        text
    }

    fn render_children(&self, indent: &str, text: &mut String) {
        for (i, child) in self.children.iter().enumerate() {
            let last = i + 1 == self.children.len();
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            // writing to a String cannot fail
            let _ = writeln!(text, "{indent}{branch}{}", child.label);
            child.render_children(&format!("{indent}{below}"), text);
        }
    }
}

/// The tree of a plan, as `GET /v1/plans/<name>` answers it, followed by the plan's errors if it has any.
///
/// What the answer lacks is printed as `<UNKNOWN>`.
pub fn plan(name: &str, plan: &Value, colour: bool) -> String {
    plan_with_notes(name, plan, colour, |_| None)
}

/// As [`plan`], with a note behind each step for which `note` (given the step's name) knows one.
pub fn plan_with_notes(
    name: &str,
    plan: &Value,
    colour: bool,
    note: impl Fn(&str) -> Option<String>,
) -> String {
    let root = Node {
        label: format!("{name} ({} strategy) {}", text(plan, "strategy"), status(plan, colour)),
        children: items(plan, "phases")
            .map(|phase| Node {
                label: format!(
                    "{} ({} strategy) {}",
                    text(phase, "name"),
                    text(phase, "strategy"),
                    status(phase, colour)
                ),
                children: items(phase, "steps").map(|step| step_node(step, colour, &note)).collect(),
            })
            .collect(),
    };
    let mut out = root.render();
    let errors: Vec<_> = items(plan, "errors").collect();
    if !errors.is_empty() {
        out.push_str("\nErrors:\n");
        for error in errors {
            let _ = writeln!(out, "- {}", error.as_str().map_or_else(|| error.to_string(), str::to_owned));
        }
    }
    out
}

fn step_node(step: &Value, colour: bool, note: impl Fn(&str) -> Option<String>) -> Node {
    let name = text(step, "name");
    let mut label = format!("{name} {}", status(step, colour));
    if let Some(note) = note(name) {
        let _ = write!(label, "  {note}");
    }
    Node { label, children: Vec::new() }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).unwrap_or("<UNKNOWN>")
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn status(value: &Value, colour: bool) -> String {
    let status = text(value, "status");
    let code = match status {
        "COMPLETE" => "32",
        "ERROR" => "31",
        "PENDING" => "2",
        _ => "33",
    };
    if colour { format!("\u{1b}[{code}m({status})\u{1b}[0m") } else { format!("({status})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deploy() -> Value {
        let step = |name, status| json!({"id": "x", "name": name, "status": status, "message": "m"});
        json!({"strategy": "serial", "status": "IN_PROGRESS", "errors": [], "phases": [
            {"name": "db", "strategy": "serial", "status": "COMPLETE", "steps": [step("db-0:[server]", "COMPLETE")]},
            {"name": "web", "strategy": "parallel", "status": "PENDING",
             "steps": [step("web-0:[server]", "PENDING"), step("web-1:[server]", "PENDING")]},
        ]})
    }

    #[test]
    fn a_plan_prints_its_phases_and_steps_with_strategy_and_status() {
        assert_eq!(
            plan("deploy", &deploy(), false),
            "deploy (serial strategy) (IN_PROGRESS)\n\
             ├─ db (serial strategy) (COMPLETE)\n\
             │  └─ db-0:[server] (COMPLETE)\n\
             └─ web (parallel strategy) (PENDING)\n\
             \u{20}  ├─ web-0:[server] (PENDING)\n\
             \u{20}  └─ web-1:[server] (PENDING)\n"
        );
    }

    #[test]
    fn missing_and_empty_parts_print_as_unknown() {
        assert_eq!(
            plan("deploy", &json!({"status": "", "phases": [{"name": "a", "steps": [{}]}]}), false),
            "deploy (<UNKNOWN> strategy) (<UNKNOWN>)\n\
             └─ a (<UNKNOWN> strategy) (<UNKNOWN>)\n\
             \u{20}  └─ <UNKNOWN> (<UNKNOWN>)\n"
        );
    }

    #[test]
    fn errors_follow_the_tree() {
        let tree = plan(
            "deploy",
            &json!({"strategy": "serial", "status": "ERROR", "errors": ["no such pod"]}),
            false,
        );
        assert_eq!(tree, "deploy (serial strategy) (ERROR)\n\nErrors:\n- no such pod\n");
    }

    #[test]
    fn colour_changes_nothing_but_escape_sequences() {
        let coloured = plan("deploy", &deploy(), true);
        assert!(coloured.contains("\u{1b}[32m(COMPLETE)\u{1b}[0m"));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plan("deploy", &deploy(), false));
    }

    #[test]
    fn notes_stand_behind_their_steps() {
        let tree = plan_with_notes("deploy", &deploy(), false, |step| {
            (step == "web-0:[server]").then(|| "not enough cpus".to_owned())
        });
        assert!(tree.contains("web-0:[server] (PENDING)  not enough cpus\n"));
        assert!(tree.contains("web-1:[server] (PENDING)\n"));
    }
}
