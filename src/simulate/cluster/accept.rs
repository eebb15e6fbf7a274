//! ACCEPT: operations on the resources of offers, in order; one that is refused is left out, and nobody hears of it
//! unless it was a launch.

use super::{Cluster, Observed, Task};
use crate::sandbox::operations::{Asker, check_amount, conversion};
use crate::sandbox::resources::Resources;
use crate::wire::{Accept, AgentId, ExecutorId, LaunchGroup, Operation, OperationType, TaskInfo, TaskState};
use std::collections::BTreeSet;

/// What the operations of one call work on.
struct Pool {
    agent: AgentId,
    role: String,
    rest: Resources,
    /// The executors that ran when the offers were made.
    executors: BTreeSet<ExecutorId>,
    /// An operation of this call was made to fail: what follows may be refused for it.
    tampered: bool,
}

impl Cluster {
    pub(super) fn accept(&mut self, accept: Accept) {
        let mut open = Vec::new();
        let mut stale = accept.offer_ids.is_empty();
        for id in &accept.offer_ids {
            match self.claim_offer(id) {
                Some(offer) => open.push(offer),
                None => stale = true,
            }
        }
        let same = |a: &super::offers::Open, b: &super::offers::Open| a.agent == b.agent && a.role == b.role;
        if open.windows(2).any(|pair| !same(&pair[0], &pair[1])) {
            self.observe(Observed::Refused("an ACCEPT of offers of several agents or roles".to_owned()));
            stale = true;
        }
        if stale {
            for offer in open {
                self.refuse(&offer.agent, &offer.role, offer.resources, None);
            }
            return self.drop_launches(accept.operations);
        }
        let Some(first) = open.first() else { return };
        let mut pool = Pool {
            agent: first.agent.clone(),
            role: first.role.clone(),
            rest: Resources::default(),
            executors: BTreeSet::new(),
            tampered: false,
        };
        for offer in &open {
            pool.rest.add(&offer.resources);
            pool.executors.extend(offer.executors.iter().cloned());
        }
        for operation in accept.operations {
            self.operate(&mut pool, operation);
        }
        self.refuse(&pool.agent, &pool.role, pool.rest, accept.filters.as_ref());
    }

    /// The offers had gone: tasks are reported, other operations are not.
    fn drop_launches(&mut self, operations: Vec<Operation>) {
        let groups = operations.into_iter().filter_map(|o| o.launch_group);
        for task in groups.flat_map(|g| g.task_group.tasks) {
            let what = (TaskState::Dropped, "REASON_INVALID_OFFERS", "Task launched with invalid offers");
            self.master_says(&task.task_id, Some(task.agent_id.clone()), what);
        }
    }

    fn operate(&mut self, pool: &mut Pool, operation: Operation) {
        if operation.r#type == OperationType::LaunchGroup {
            return self.launch_group(pool, operation.launch_group.unwrap_or_default());
        }
        if self.mishaps.operation_fails(operation.r#type) {
            pool.tampered = true;
            let host = self.host(&pool.agent);
            self.observe(Observed::Note(format!("{host} loses a {:?}", operation.r#type)));
            return;
        }
        // what the master sends to an agent that it can't reach is lost
        if self.agents.get(&pool.agent).is_none_or(|a| a.cut) {
            pool.tampered = true;
            return;
        }
        if let Err(message) = self.convert(pool, &operation)
            && !pool.tampered
        {
            self.observe(Observed::Refused(message));
        }
    }

    fn convert(&mut self, pool: &mut Pool, operation: &Operation) -> Result<(), String> {
        let principal = self.framework.info.principal.clone();
        let Some(agent) = self.agents.get_mut(&pool.agent) else { return Err("the agent is gone".into()) };
        let host = agent.host().to_owned();
        let asker =
            Asker { role: &pool.role, principal: principal.as_deref(), agent: &host, total: &agent.total };
        let unknown = || Err(format!("this cluster does not know the operation {:?}", operation.r#type));
        let conversion = conversion(operation, &asker).unwrap_or_else(unknown)?;
        conversion.carry_out(&pool.role, &mut pool.rest, &mut agent.total)?;
        let (verb, what) = match operation.r#type {
            OperationType::Reserve => ("reserves", &conversion.to),
            OperationType::Unreserve => ("unreserves", &conversion.from),
            OperationType::Create => ("creates", &conversion.to),
            _ => ("destroys", &conversion.from),
        };
        let what = in_words(what);
        self.observe(Observed::Converted { verb, what, host });
        Ok(())
    }

    fn launch_group(&mut self, pool: &mut Pool, group: LaunchGroup) {
        let LaunchGroup { executor, task_group } = group;
        let running =
            self.agents.get(&pool.agent).is_some_and(|a| a.executors.contains_key(&executor.executor_id));
        let mut used = Resources::default();
        if !running {
            used.add(&Resources::new(&executor.resources));
        }
        for task in &task_group.tasks {
            used.add(&Resources::new(&task.resources));
        }
        let problem = task_group.tasks.iter().find_map(|task| self.check_task(pool, task));
        let problem = problem.or_else(|| {
            (!pool.rest.contains(&used)).then(|| {
                let (used, rest) = (used.describe(&pool.role), pool.rest.describe(&pool.role));
                format!("a launch needs {used}, more than the {rest} that are offered")
            })
        });
        if let Some(message) = problem {
            // that an executor has ended since it was offered along nobody could know
            let ended = !running && pool.executors.contains(&executor.executor_id);
            if !pool.tampered && !ended {
                self.observe(Observed::Refused(message.clone()));
            }
            for task in task_group.tasks {
                let what = (TaskState::Error, "REASON_TASK_GROUP_INVALID", message.as_str());
                self.master_says(&task.task_id, Some(task.agent_id.clone()), what);
            }
            return;
        }
        if !pool.rest.subtract(&used) {
            return;
        }
        if let Some(agent) = self.agents.get_mut(&pool.agent) {
            let resources = Resources::new(&executor.resources);
            agent.executors.entry(executor.executor_id.clone()).or_insert(resources);
            agent.holding.extend(task_group.tasks.iter().map(|t| t.task_id.clone()));
        }
        for info in task_group.tasks {
            self.start_task(Task::new(info, executor.clone(), self.now));
        }
    }

    fn check_task(&self, pool: &Pool, task: &TaskInfo) -> Option<String> {
        if self.tasks.contains_key(&task.task_id) {
            return Some(format!("the id {} was used before", task.task_id));
        }
        if task.agent_id != pool.agent {
            return Some(format!(
                "{} is for agent {}, offered by {}",
                task.task_id, task.agent_id, pool.agent
            ));
        }
        if task.resources.is_empty() {
            return Some("Task uses no resources".to_owned());
        }
        if task.command.is_none() {
            return Some(format!("{} has no command", task.task_id));
        }
        task.resources.iter().find_map(|r| check_amount(r).err())
    }

    pub(super) fn host(&self, agent: &AgentId) -> String {
        self.agents.get(agent).map_or_else(|| agent.value.clone(), |a| a.host().to_owned())
    }
}

/// Resources as a person writes them, without whose they are.
fn in_words(resources: &Resources) -> String {
    let one = |r: &crate::wire::Resource| {
        let amount = match (&r.ranges, &r.scalar) {
            (Some(ranges), _) => {
                let all: Vec<String> = ranges
                    .range
                    .iter()
                    .map(|r| {
                        if r.begin == r.end { r.begin.to_string() } else { format!("{}-{}", r.begin, r.end) }
                    })
                    .collect();
                all.join(", ")
            }
            (None, scalar) => scalar.as_ref().map_or(0.0, |s| s.value).to_string(),
        };
        let path = r.container_path().map(|p| format!(" for {p}")).unwrap_or_default();
        format!("{} {amount}{path}", r.name)
    };
    resources.iter().map(one).collect::<Vec<_>>().join(", ")
}
