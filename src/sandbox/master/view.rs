//! What `/state` and its relatives show. Commands and environments are not kept by the master, so no secret can be seen.

use super::{Agent, Framework, Master, Task};
use crate::sandbox::resources::Resources;
use serde_json::{Map, Value, json};

impl Master {
    /// `/state`: the parts of Mesos' answer that exist here.
    pub fn view_state(&self) -> Value {
        let info = self.master_info();
        json!({
            "version": "1.12.0",
            "id": self.id(),
            "pid": info["pid"],
            "hostname": info["hostname"],
            "leader": info["pid"],
            "leader_info": info,
            "activated_slaves": self.agents().count(),
            "slaves": self.view_agents()["slaves"],
            "frameworks": self.view_frameworks()["frameworks"],
        })
    }

    /// `/master/frameworks`.
    pub fn view_frameworks(&self) -> Value {
        json!({"frameworks": self.frameworks().map(framework).collect::<Vec<_>>()})
    }

    /// `/master/slaves`.
    pub fn view_agents(&self) -> Value {
        json!({"slaves": self.agents().map(agent).collect::<Vec<_>>()})
    }
}

fn framework(framework: &Framework) -> Value {
    json!({
        "id": framework.id.value,
        "name": framework.info.name,
        "user": framework.info.user,
        "principal": framework.info.principal,
        "roles": framework.roles(),
        "failover_timeout": framework.info.failover_timeout.unwrap_or(0.0),
        "webui_url": framework.info.webui_url.clone().unwrap_or_default(),
        "active": framework.connected(),
        "connected": framework.connected(),
        "tasks": framework.tasks.values().map(|t| task(framework, t)).collect::<Vec<_>>(),
    })
}

fn task(framework: &Framework, task: &Task) -> Value {
    json!({
        "id": task.id.value,
        "name": task.name,
        "framework_id": framework.id.value,
        "executor_id": task.executor_id.value,
        "slave_id": task.agent_id.value,
        "state": task.latest.state,
        "resources": amounts(&task.resources),
        "discovery": task.discovery,
    })
}

fn agent(agent: &Agent) -> Value {
    let attributes: Map<String, Value> = agent
        .attributes
        .iter()
        .filter_map(|a| Some((a.name.clone(), a.text.as_ref()?.value.clone().into())))
        .collect();
    json!({
        "id": agent.id.value,
        "hostname": agent.hostname,
        "port": agent.port,
        "active": true,
        "attributes": attributes,
        "resources": amounts(&agent.total),
    })
}

fn amounts(resources: &Resources) -> Value {
    json!({"cpus": resources.scalar("cpus"), "mem": resources.scalar("mem"), "disk": resources.scalar("disk")})
}
