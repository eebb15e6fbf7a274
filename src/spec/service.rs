//! Reading the root of a service file. Used only by the rest of `spec`.

use super::fields::Fields;
use super::model::{PodSpec, ReplacementPolicy, Service, ServiceSpec};
use super::pod::{self, Places};
use super::{plans, uses};
use crate::finding::Code;

/// Names of services are parts of DNS names, which hold no more characters.
const MAX_NAME: usize = 63;

/// Reads the whole service.
pub(super) fn read(mut root: Fields, context: &super::Context) -> Service {
    let name = name(&mut root);
    let web_url = root.optional("web-url");
    let (mut principal, mut zookeeper, mut user) = (None, String::new(), String::new());
    if let Some(mut scheduler) = root.block_or_empty("scheduler") {
        principal = scheduler.optional("principal");
        zookeeper = scheduler.string("zookeeper");
        user = scheduler.string("user");
        scheduler.finish();
    }
    let principal = principal.unwrap_or_else(|| format!("{name}-principal"));
    let replacement_failure_policy = replacement(&mut root);
    let (pods, places) = pods(&mut root, context);
    let plans = plans::read(&mut root, &pods, &places);
    uses::check(&root, &pods, &places, &plans);
    root.finish();
    let (region, role) = (None, None);
    let spec = ServiceSpec {
        name,
        principal,
        user,
        zookeeper,
        web_url,
        region,
        role,
        replacement_failure_policy,
        pods,
    };
    Service { spec, plans }
}

/// When pods are replaced without an operator.
fn replacement(root: &mut Fields) -> Option<ReplacementPolicy> {
    if !root.has("replacement-failure-policy") {
        return None;
    }
    let mut policy = root.block("replacement-failure-policy")?;
    let read = ReplacementPolicy {
        permanent_failure_timeout_secs: policy
            .integer("permanent-failure-timeout-secs")
            .unwrap_or(ReplacementPolicy::TIMEOUT),
        min_replace_delay_secs: policy
            .integer("min-replace-delay-secs")
            .unwrap_or(ReplacementPolicy::MIN_DELAY),
    };
    policy.finish();
    Some(read)
}

fn name(root: &mut Fields) -> String {
    let Some(name) = root.text("name") else { return String::new() };
    if name.text.chars().filter(|c| *c != '/').count() > MAX_NAME {
        let message = format!("the service's name has more than {MAX_NAME} characters");
        let help = "it becomes a part of DNS names, whose parts have no more: shorten it";
        root.report(&name.span, Code::LongName, message, help);
    }
    name.text.to_owned()
}

/// The pods, and the places of their names.
fn pods(root: &mut Fields, context: &super::Context) -> (Vec<PodSpec>, Vec<Places>) {
    let Some(map) = root.named("pods") else { return (Vec::new(), Vec::new()) };
    if map.is_empty {
        root.report(&map.span, Code::Empty, "there are no pods", "a service runs at least one pod");
    }
    let mut shared = pod::Shared::new(context);
    map.entries.into_iter().map(|(key, fields)| pod::read(key, fields, &mut shared)).unzip()
}
