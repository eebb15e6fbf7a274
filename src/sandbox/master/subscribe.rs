//! Frameworks coming, coming back, and changing themselves.

use super::{Framework, Master, OfferId, Output, Refusal, StreamId, Time, event};
use crate::wire::{Call, ErrorBody, Event, EventType, FrameworkId, FrameworkInfo, Subscribe, Subscribed};
use serde_json::json;
use std::collections::BTreeSet;

impl Master {
    /// A SUBSCRIBE, which [`super::parse_call`] has looked at. What is wrong with the framework is said on the stream.
    pub fn subscribe(&mut self, now: Time, stream: StreamId, call: Call) {
        let Subscribe { mut framework_info, suppressed_roles } = call.subscribe.unwrap_or_default();
        let known = framework_info.id.clone().filter(|id| !id.value.is_empty());
        let removed = known.as_ref().is_some_and(|id| self.removed.contains(id));
        let problem = removed.then(|| "Framework has been removed".to_owned());
        // the id becomes the name of a directory
        let problem = problem.or_else(|| known.as_ref().and_then(|id| super::accept::check_id(&id.value)));
        let problem = problem.or_else(|| check_info(&framework_info));
        if let Some(message) = problem {
            self.end_stream(stream, message);
            return;
        }
        let id = known.unwrap_or_else(|| {
            let number = self.next_framework;
            self.next_framework += 1;
            FrameworkId { value: format!("{}-{number:04}", self.id) }
        });
        framework_info.id = Some(id.clone());
        if let Some(old) = self.frameworks.get_mut(&id) {
            // like Mesos: what cannot be changed stays as it was
            framework_info.user.clone_from(&old.info.user);
            if let Some(old) = old.stream.take() {
                self.end_stream(old, "Framework failed over".into());
            }
            self.drop_offers(&id, now);
        }
        let framework = self.framework(&id);
        *framework = Framework { id: id.clone(), info: framework_info, ..std::mem::take(framework) };
        framework.connect(stream, now);
        let suppressed: BTreeSet<String> = suppressed_roles.into_iter().collect();
        framework.suppressed = suppressed;
        self.dirty = true;
        let subscribed = Subscribed {
            framework_id: id.clone(),
            heartbeat_interval_seconds: Some(super::HEARTBEAT.as_secs_f64()),
            master_info: Some(self.master_info()),
        };
        self.send(&id, Event { subscribed: Some(subscribed), ..event(EventType::Subscribed) }, now);
        self.send(&id, event(EventType::Heartbeat), now);
        self.resend_updates(&id, now);
        self.allocate(now);
    }

    /// An UPDATE_FRAMEWORK.
    pub(super) fn update_framework(
        &mut self,
        id: &FrameworkId,
        update: Subscribe,
        now: Time,
    ) -> Result<(), Refusal> {
        let info = FrameworkInfo { id: Some(id.clone()), ..update.framework_info };
        if let Some(problem) = check_info(&info) {
            return Err(Refusal::bad_request(format!("Supplied FrameworkInfo is not valid: {problem}")));
        }
        let framework = self.framework(id);
        let unsupported = |field: &str, from: &str, to: &str| {
            Refusal::bad_request(format!(
                "FrameworkInfo update is not valid: Updating 'FrameworkInfo.{field}' is unsupported; \
                 attempted to update from '{from}' to '{to}'"
            ))
        };
        let old = &framework.info;
        if old.user != info.user {
            return Err(unsupported("user", &old.user, &info.user));
        }
        if old.checkpoint.unwrap_or(false) != info.checkpoint.unwrap_or(false) {
            let text = |info: &FrameworkInfo| info.checkpoint.unwrap_or(false).to_string();
            return Err(unsupported("checkpoint", &text(old), &text(&info)));
        }
        framework.info = info;
        framework.suppressed = update.suppressed_roles.into_iter().collect();
        let roles = framework.roles();
        let lost = self.offers.iter().filter(|(_, o)| o.framework == *id && !roles.contains(&o.role));
        let lost: Vec<OfferId> = lost.map(|(offer, _)| offer.clone()).collect();
        for offer in lost {
            self.rescind(&offer, now);
        }
        self.dirty = true;
        self.resend_updates(id, now);
        self.allocate(now);
        Ok(())
    }

    /// Says why a stream ends, and ends it.
    fn end_stream(&mut self, stream: StreamId, message: String) {
        let error = Event { error: Some(ErrorBody { message }), ..event(EventType::Error) };
        self.outputs.push(Output::Send(stream.clone(), Box::new(error)));
        self.outputs.push(Output::Close(stream));
    }

    pub(super) fn master_info(&self) -> serde_json::Value {
        let ip = self.address.ip().to_string();
        json!({
            "id": self.id,
            // an integer in network byte order, read as one of the host: what Mesos does
            "ip": u32::from_le_bytes(self.address.ip().octets()),
            "port": self.address.port(),
            "pid": format!("master@{}", self.address),
            "hostname": ip,
            "version": "1.12.0",
            "address": {"hostname": ip, "ip": ip, "port": self.address.port()},
            "capabilities": [{"type": "AGENT_UPDATE"}, {"type": "AGENT_DRAINING"}, {"type": "QUOTA_V2"}]
        })
    }
}

/// What is wrong with a framework, in Mesos' words.
fn check_info(info: &FrameworkInfo) -> Option<String> {
    let multi = info.capabilities.iter().any(|c| c.r#type == "MULTI_ROLE");
    if multi && info.role.is_some() {
        return Some("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into());
    }
    if !multi && !info.roles.is_empty() {
        return Some(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into(),
        );
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = info.roles.iter().find(|r| !seen.insert(*r)) {
        return Some(format!("'FrameworkInfo.roles' contains duplicate items: {{ {twice} }}"));
    }
    let field = if multi { "roles" } else { "role" };
    let problem = info.roles.iter().chain(&info.role).find_map(|r| check_role(r));
    problem.map(|p| format!("'FrameworkInfo.{field}' contains invalid role: {p}"))
}

/// What is wrong with a role's name.
fn check_role(role: &str) -> Option<String> {
    if role == "*" {
        return None;
    }
    if role.starts_with('/') {
        return Some(format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return Some(format!("Role '{role}' cannot end with a slash"));
    }
    role.split('/').find_map(|part| match part {
        "" => Some(if role.is_empty() {
            "Empty role name is invalid".into()
        } else {
            format!("Role '{role}' cannot contain two adjacent slashes")
        }),
        "." | ".." | "*" => Some(format!("Role '{role}' cannot contain '{part}' as a component")),
        _ if part.starts_with('-') => {
            Some(format!("Role component '{part}' is invalid because it begins with a dash"))
        }
        _ if part.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Some(format!("Role '{role}' cannot contain whitespace, backspace, or delete characters"))
        }
        _ => None,
    })
}
