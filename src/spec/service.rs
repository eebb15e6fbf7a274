//! Reading the root of a service file. Used only by the rest of `spec`.

use super::diagnostic::Code;
use super::fields::Fields;
use super::model::{PodSpec, Service, ServiceSpec};
use super::yaml::Span;
use super::{plans, pod};

/// Names of services are names of roles and parts of DNS names, which hold no more characters.
const MAX_NAME: usize = 63;
/// Stands for a slash in the names of roles and of nodes in the state store.
const SLASH_IN_ROLES: &str = "__";

/// Reads the whole service.
pub(super) fn read(mut root: Fields, context: &super::Context) -> Service {
    let name = name(&mut root);
    let web_url = root.nonempty_text("web-url").map(|t| t.text.to_owned());
    let or_default = |key: &'static str, default: &str, scheduler: &mut Option<Fields>| {
        let text = scheduler.as_mut().and_then(|fields| fields.nonempty_text(key));
        text.map_or_else(|| default.to_owned(), |t| t.text.to_owned())
    };
    let mut scheduler = root.map("scheduler");
    let principal = or_default("principal", &format!("{name}-principal"), &mut scheduler);
    let zookeeper = or_default("zookeeper", "master.mesos:2181", &mut scheduler);
    let user = or_default("user", "root", &mut scheduler);
    if let Some(scheduler) = scheduler {
        scheduler.finish();
    }
    let (pods, places) = pods(&mut root, context);
    let plans = plans::read(&mut root, &pods, &places);
    root.finish();
    Service { spec: ServiceSpec { name, principal, user, zookeeper, web_url, pods }, plans }
}

fn name(root: &mut Fields) -> String {
    let Some(name) = root.required_text("name") else { return String::new() };
    if name.text.contains(SLASH_IN_ROLES) {
        let message = format!("the service's name cannot hold `{SLASH_IN_ROLES}`");
        root.error(
            &name.span,
            Code::Form,
            message,
            "two underscores stand for a slash in the names of roles",
        );
    }
    if name.text.chars().filter(|c| *c != '/').count() > MAX_NAME {
        let message = format!("the service's name has more than {MAX_NAME} characters");
        root.warning(&name.span, Code::OutOfRange, message, "DNS names of its tasks will be cut");
    }
    name.text.to_owned()
}

/// The pods, and the places of their names.
fn pods(root: &mut Fields, context: &super::Context) -> (Vec<PodSpec>, Vec<Span>) {
    let mut pods = Vec::new();
    let mut places = Vec::new();
    let Some(map) = root.map("pods") else {
        if !root.has("pods") {
            root.missing("pods");
        }
        return (pods, places);
    };
    if map.names().is_empty() {
        map.error(&map.span, Code::Empty, "there are no pods", "a service runs at least one pod");
    }
    let mut shared = pod::Shared::new(context);
    for (key, node) in map.names() {
        if let Some(fields) = map.named(key, node) {
            pods.push(pod::read(key, fields, &mut shared));
            places.push(key.span.clone());
        }
    }
    (pods, places)
}
