//! ACCEPT: what a framework does with the resources that it was offered.
//!
//! The operations of one call run in order on the resources of its offers. One that is wrong is left out, and those
//! behind it still run; whether anybody hears of it depends on the operation, as with Mesos.

use super::state::{Executor, Task};
use super::{Launch, Master, OpenOffer, Order, Output, Time, master_status};
use crate::sandbox::operations::{Asker, check_amount, conversion};
use crate::sandbox::resources::{Resources, volume_id};
use crate::wire::{
    Accept, AgentId, CheckType, ContainerInfo, ExecutorId, ExecutorInfo, ExecutorType, FrameworkId,
    LaunchGroup, Operation, OperationType, TaskInfo, TaskState, TaskStatus,
};

/// The resources that the operations of one call work on.
struct Pool<'a> {
    framework: &'a FrameworkId,
    agent: AgentId,
    role: String,
    rest: Resources,
    now: Time,
}

impl Master {
    /// Runs the operations of a call, and takes back what they leave.
    pub(super) fn accept(&mut self, id: &FrameworkId, accept: Accept, now: Time) {
        let open = match self.claim(id, &accept) {
            Ok(open) => open,
            Err(problem) => return self.refuse_accept(id, accept, &problem, now),
        };
        let Some(first) = open.first() else { return };
        let mut pool = Pool {
            framework: id,
            agent: first.agent.clone(),
            role: first.role.clone(),
            rest: Resources::default(),
            now,
        };
        for offer in &open {
            pool.rest.add(&offer.resources);
        }
        for operation in accept.operations {
            self.operate(&mut pool, operation);
        }
        let Pool { agent, role, rest, .. } = pool;
        self.refuse(id, &agent, &role, rest, accept.filters.as_ref(), now);
    }

    /// Takes the offers of a call, which must belong together.
    fn claim(&mut self, id: &FrameworkId, accept: &Accept) -> Result<Vec<OpenOffer>, String> {
        if accept.offer_ids.is_empty() {
            return Err("No offers specified".into());
        }
        let mut first: Option<&OpenOffer> = None;
        for (i, offer) in accept.offer_ids.iter().enumerate() {
            if accept.offer_ids[..i].contains(offer) {
                return Err(format!("Duplicate offer {offer} in offer list"));
            }
            let open = self.offers.get(offer).ok_or_else(|| format!("Offer {offer} is no longer valid"))?;
            if open.framework != *id {
                return Err(format!(
                    "Offer {offer} has invalid framework {} while framework {id} is expected",
                    open.framework
                ));
            }
            let first = *first.get_or_insert(open);
            if first.agent != open.agent {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {offer} uses agent {} and agent {}",
                    open.agent, first.agent
                ));
            }
            if first.role != open.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {offer} uses role {} but another is \
                     using role {}",
                    open.role, first.role
                ));
            }
        }
        Ok(accept.offer_ids.iter().filter_map(|o| self.offers.remove(o)).collect())
    }

    /// The offers cannot be used: nothing of the call happens.
    fn refuse_accept(&mut self, id: &FrameworkId, accept: Accept, problem: &str, now: Time) {
        for offer in &accept.offer_ids {
            self.give_back(id, offer, Some(&crate::wire::Filters { refuse_seconds: Some(0.0) }), now);
        }
        let lost =
            if self.framework(id).capable("PARTITION_AWARE") { TaskState::Dropped } else { TaskState::Lost };
        for operation in accept.operations {
            let single = operation.launch.into_iter().flat_map(|l| l.task_infos);
            let tasks = single.chain(operation.launch_group.into_iter().flat_map(|l| l.task_group.tasks));
            for task in tasks {
                let message = format!("Task launched with invalid offers: {problem}");
                let what = (lost, "REASON_INVALID_OFFERS");
                let status = master_status(&task.task_id, Some(task.agent_id), what, message, now);
                self.send_status(id, status, now);
            }
            if !matches!(operation.r#type, OperationType::Launch | OperationType::LaunchGroup) {
                let message = format!("Operation attempted with invalid offers: {problem}");
                self.operation_failed(id, operation.id, message, now);
            }
        }
    }

    fn operate(&mut self, pool: &mut Pool<'_>, operation: Operation) {
        match operation.r#type {
            OperationType::Launch => {
                return self.launch(pool, operation.launch.unwrap_or_default().task_infos);
            }
            OperationType::LaunchGroup => {
                return self.launch_group(pool, operation.launch_group.unwrap_or_default());
            }
            _ => {}
        }
        let done = self.convert(pool, &operation);
        match (done, operation.id) {
            (Ok(()), Some(id)) => self.operation_finished(pool.framework, id, &pool.agent.clone(), pool.now),
            (Ok(()), None) => {}
            (Err(message), id) => self.operation_failed(pool.framework, id, message, pool.now),
        }
    }

    /// Reserves, unreserves, creates or destroys, in the offer and on the agent.
    fn convert(&mut self, pool: &mut Pool<'_>, operation: &Operation) -> Result<(), String> {
        let principal = self.framework(pool.framework).info.principal.clone();
        let address = format!("{} at {}", pool.agent, self.agent_address(&pool.agent));
        let Some(agent) = self.agents.get_mut(&pool.agent) else { return Err("the agent is gone".into()) };
        let asker =
            Asker { role: &pool.role, principal: principal.as_deref(), agent: &address, total: &agent.total };
        let unknown = || Err("this master does not know the operation".into());
        let conversion = conversion(operation, &asker).unwrap_or_else(unknown)?;
        conversion.carry_out(&pool.role, &mut pool.rest, &mut agent.total)?;
        if operation.r#type == OperationType::Destroy {
            for volume in conversion.from.iter() {
                let role = volume.reservations.last().and_then(|r| r.role.clone()).unwrap_or_default();
                let id = volume_id(volume).unwrap_or_default().to_owned();
                self.outputs.push(Output::Agent(pool.agent.clone(), Order::DestroyVolume(role, id)));
            }
        }
        self.dirty = true;
        Ok(())
    }

    fn launch(&mut self, pool: &mut Pool<'_>, tasks: Vec<TaskInfo>) {
        for task in tasks {
            let used = Resources::new(&task.resources);
            let problem = self.check_task(pool, &task).or_else(|| match (&task.executor, &task.command) {
                (None, Some(_)) => None,
                (Some(_), None) => Some("This cluster does not run custom executors".into()),
                _ => Some(
                    "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                        .into(),
                ),
            });
            let problem = problem.or_else(|| shortage(pool, &used, "task and its executor is"));
            if let Some(message) = problem {
                self.task_error(pool, &task, "REASON_TASK_INVALID", message);
                continue;
            }
            let executor_id = ExecutorId { value: task.task_id.value.clone() };
            let executor = ExecutorInfo { executor_id, ..ExecutorInfo::default() };
            self.start(pool, executor, true, vec![task]);
        }
    }

    fn launch_group(&mut self, pool: &mut Pool<'_>, group: LaunchGroup) {
        let LaunchGroup { executor, task_group } = group;
        let running = self.is_running(pool, &executor.executor_id);
        let mut used = Resources::default();
        if !running {
            used.add(&Resources::new(&executor.resources));
        }
        for task in &task_group.tasks {
            used.add(&Resources::new(&task.resources));
        }
        let default = executor.r#type == ExecutorType::Default;
        let problem = (!default).then(|| "This cluster only runs DEFAULT executors".to_owned());
        let problem = problem.or_else(|| check_id(&executor.executor_id.value));
        let problem = problem.or_else(|| check_container(executor.container.as_ref()));
        let problem = problem.or_else(|| {
            task_group.tasks.iter().enumerate().find_map(|(i, task)| {
                let twice = task_group.tasks[..i].iter().any(|t| t.task_id == task.task_id);
                let twice = twice.then(|| format!("Task has duplicate ID: {}", task.task_id));
                let command = task.command.is_none().then(|| "'TaskInfo.command' must be set".to_owned());
                let own = task.executor.is_some().then(|| "'TaskInfo.executor' must not be set".to_owned());
                self.check_task(pool, task).or(twice).or(command).or(own)
            })
        });
        let problem = problem.or_else(|| shortage(pool, &used, "task group and its executor are"));
        if let Some(message) = problem {
            for task in &task_group.tasks {
                self.task_error(pool, task, "REASON_TASK_GROUP_INVALID", message.clone());
            }
        } else if !task_group.tasks.is_empty() {
            self.start(pool, executor, false, task_group.tasks);
        }
    }

    /// Everything has been checked: what the tasks use leaves the pool, and the agent is told.
    fn start(
        &mut self,
        pool: &mut Pool<'_>,
        executor: ExecutorInfo,
        single_task: bool,
        tasks: Vec<TaskInfo>,
    ) {
        let running = self.is_running(pool, &executor.executor_id);
        let framework = self.framework(pool.framework);
        let mut used = Resources::default();
        if !running {
            let resources = Resources::new(&executor.resources);
            used.add(&resources);
            let (id, agent_id) = (executor.executor_id.clone(), pool.agent.clone());
            framework.executors.push(Executor { id, agent_id, resources, single_task });
        }
        for info in &tasks {
            let task = new_task(info, &executor.executor_id, pool.now);
            used.add(&task.resources);
            framework.tasks.insert(info.task_id.value.clone(), task);
        }
        if !pool.rest.subtract(&used) {
            tracing::warn!(used = used.describe(&pool.role), "launched with more than was offered");
        }
        let launch = Launch {
            framework: pool.framework.clone(),
            user: framework.info.user.clone(),
            killing_state: framework.capable("TASK_KILLING_STATE"),
            executor,
            single_task,
            tasks,
        };
        self.dirty = true;
        self.outputs.push(Output::Agent(pool.agent.clone(), Order::Launch(Box::new(launch))));
    }

    fn is_running(&mut self, pool: &Pool<'_>, executor: &ExecutorId) -> bool {
        let mut executors = self.framework(pool.framework).executors.iter();
        executors.any(|e| e.id == *executor && e.agent_id == pool.agent)
    }

    /// What is wrong with a task, apart from its resources not being there.
    fn check_task(&mut self, pool: &Pool<'_>, task: &TaskInfo) -> Option<String> {
        if let Some(problem) = check_id(&task.task_id.value) {
            return Some(problem);
        }
        if self.framework(pool.framework).tasks.contains_key(&task.task_id.value) {
            return Some(format!("Task has duplicate ID: {}", task.task_id));
        }
        if task.agent_id != pool.agent {
            return Some(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.agent_id, pool.agent
            ));
        }
        if task.resources.is_empty() {
            return Some("Task uses no resources".into());
        }
        if let Some(problem) = task.resources.iter().find_map(|r| check_amount(r).err()) {
            return Some(format!("Task uses invalid resources: {problem}"));
        }
        let health = task.health_check.as_ref().and_then(|c| c.r#type);
        let check = task.check.as_ref().and_then(|c| c.r#type);
        if [health, check].into_iter().flatten().any(|t| t != CheckType::Command) {
            return Some("This cluster only runs checks of type COMMAND".into());
        }
        check_container(task.container.as_ref())
    }

    fn task_error(&mut self, pool: &Pool<'_>, task: &TaskInfo, reason: &str, message: String) {
        let what = (TaskState::Error, reason);
        let status = master_status(&task.task_id, Some(task.agent_id.clone()), what, message, pool.now);
        self.send_status(pool.framework, status, pool.now);
    }

    fn agent_address(&self, agent: &AgentId) -> String {
        let agent = self.agents.get(agent);
        agent.map_or(String::new(), |a| format!("slave(1)@127.0.0.1:{} ({})", a.port, a.hostname))
    }
}

fn new_task(info: &TaskInfo, executor: &ExecutorId, now: Time) -> Task {
    let staging = TaskStatus {
        task_id: info.task_id.clone(),
        state: TaskState::Staging,
        agent_id: Some(info.agent_id.clone()),
        timestamp: Some(now.as_secs_f64()),
        ..TaskStatus::default()
    };
    Task {
        id: info.task_id.clone(),
        name: info.name.clone(),
        agent_id: info.agent_id.clone(),
        executor_id: executor.clone(),
        resources: Resources::new(&info.resources),
        discovery: info.discovery.clone(),
        latest: staging.clone(),
        forwarded: staging,
        ..Task::default()
    }
}

fn shortage(pool: &Pool<'_>, used: &Resources, what: &str) -> Option<String> {
    (!pool.rest.contains(used)).then(|| {
        format!(
            "Total resources {} required by {what} more than available {}",
            used.describe(&pool.role),
            pool.rest.describe(&pool.role)
        )
    })
}

/// Ids become names of directories.
pub(super) fn check_id(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("ID must not be empty".into());
    }
    if id.len() > 255 {
        return Some(format!("'{id}' is longer than 255 characters"));
    }
    let bad = id == "." || id == ".." || id.chars().any(|c| c.is_control() || c == '/' || c == '\\');
    bad.then(|| format!("'{id}' contains invalid characters"))
}

/// Images would be silently ignored otherwise, and the task would not find its own programs.
fn check_container(container: Option<&ContainerInfo>) -> Option<String> {
    let image = container?.mesos.as_ref().is_some_and(|m| m.image.is_some());
    (image || container?.docker.is_some())
        .then(|| "This cluster runs tasks as plain processes; it has no container images".into())
}
