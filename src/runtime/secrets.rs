//! Secrets where the cluster has no store for them: references in calls are replaced by values on their way out.
//!
//! Only what leaves for the master carries values; what is stored, logged and shown keeps the references.

use crate::store::secrets::{LocalSecrets, SecretError};
use crate::wire::{Call, CommandInfo, ContainerInfo, Secret, SecretType, SecretValue, TaskInfo};

/// Gives every referred secret of a launch its value, and makes those that do not exist yet.
pub fn fill_in(call: &mut Call, keeper: &LocalSecrets) -> Result<(), SecretError> {
    let operations = call.accept.iter_mut().flat_map(|a| &mut a.operations);
    for group in operations.filter_map(|o| o.launch_group.as_mut()) {
        if let Some(container) = &mut group.executor.container {
            fill_container(container, keeper)?;
        }
        for task in &mut group.task_group.tasks {
            fill_task(task, keeper)?;
        }
    }
    Ok(())
}

fn fill_task(task: &mut TaskInfo, keeper: &LocalSecrets) -> Result<(), SecretError> {
    let check = task.check.iter_mut().filter_map(|c| c.command.as_mut()).map(|c| &mut c.command);
    let health = task.health_check.iter_mut().filter_map(|c| c.command.as_mut());
    for command in task.command.iter_mut().chain(check).chain(health) {
        fill_command(command, keeper)?;
    }
    task.container.as_mut().map_or(Ok(()), |c| fill_container(c, keeper))
}

fn fill_command(command: &mut CommandInfo, keeper: &LocalSecrets) -> Result<(), SecretError> {
    let variables = command.environment.iter_mut().flat_map(|e| &mut e.variables);
    variables.filter_map(|v| v.secret.as_mut()).try_for_each(|s| fill_secret(s, keeper))
}

fn fill_container(container: &mut ContainerInfo, keeper: &LocalSecrets) -> Result<(), SecretError> {
    let sources = container.volumes.iter_mut().filter_map(|v| v.source.as_mut());
    sources.filter_map(|s| s.secret.as_mut()).try_for_each(|s| fill_secret(s, keeper))
}

fn fill_secret(secret: &mut Secret, keeper: &LocalSecrets) -> Result<(), SecretError> {
    let Some(reference) = secret.reference.take() else { return Ok(()) };
    // Names in the store of DC/OS may begin with a slash; here they are below one folder.
    let value = keeper.get_or_create(reference.name.trim_start_matches('/'))?;
    *secret = Secret {
        r#type: Some(SecretType::Value),
        reference: None,
        value: Some(SecretValue { data: value.to_base64() }),
    };
    Ok(())
}
