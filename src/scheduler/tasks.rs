//! The tasks of a service, and what is asked about them: by instance name, by task id, by pod instance, by reservation, by
//! place.
//!
//! Tasks change only through [`Tasks::insert`], [`Tasks::change`] and [`Tasks::remove`], which keep every index. So what an
//! event costs does not depend on how many tasks there are.

use super::Task;
use crate::offer::{Spread, counted_fields, located};
use crate::plan::PodInstance;
use crate::spec::{PodType, ServiceSpec, TaskName};
use crate::wire::{Resource, TaskId, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// The tasks of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    by_name: BTreeMap<String, Task>,
    by_id: BTreeMap<TaskId, String>,
    by_pod: BTreeMap<PodInstance, BTreeSet<String>>,
    /// How many tasks have each reservation; those of tasks that are given up are left out.
    reserved: BTreeMap<String, usize>,
    running: BTreeMap<(PodType, TaskName), BTreeSet<String>>,
    /// Where the tasks of pods are whose placement rules count.
    spread: BTreeMap<PodType, Spread>,
    /// Tasks that changed since this was last asked for.
    touched: BTreeSet<(PodInstance, String)>,
}

/// The ids of everything that is reserved for a task, its executor included.
pub(super) fn resource_ids(task: &Task) -> BTreeSet<&str> {
    let executor = task.info.executor.iter().flat_map(|e| &e.resources);
    task.info.resources.iter().chain(executor).filter_map(Resource::resource_id).collect()
}

impl Tasks {
    /// No tasks yet; `configurations` are all that tasks may be launched with.
    pub fn new<'a>(configurations: impl IntoIterator<Item = &'a ServiceSpec>) -> Self {
        let mut counted = BTreeMap::<PodType, BTreeSet<String>>::new();
        for pod in configurations.into_iter().flat_map(|c| &c.pods) {
            counted.entry(pod.pod_type.clone()).or_default().extend(counted_fields(pod));
        }
        counted.retain(|_, fields| !fields.is_empty());
        let spread = counted.into_iter().map(|(pod, fields)| (pod, Spread::by(fields))).collect();
        Self { spread, ..Self::default() }
    }

    /// The tasks by instance name.
    pub fn all(&self) -> &BTreeMap<String, Task> {
        &self.by_name
    }

    /// The tasks in the order of their instance names.
    pub fn values(&self) -> impl Iterator<Item = &Task> {
        self.by_name.values()
    }

    /// The task of an instance name.
    pub fn get(&self, instance: &str) -> Option<&Task> {
        self.by_name.get(instance)
    }

    /// The task that was launched with this id.
    pub fn by_id(&self, id: &TaskId) -> Option<&Task> {
        self.by_name.get(self.by_id.get(id)?)
    }

    /// The tasks of a pod instance, in the order of their names.
    pub fn of_pod<'a>(&'a self, pod: &PodInstance) -> impl Iterator<Item = &'a Task> + use<'a> {
        self.by_pod.get(pod).into_iter().flatten().filter_map(|instance| self.by_name.get(instance))
    }

    /// The tasks of this name, in any instance of a pod, that run.
    pub fn running<'a>(&'a self, pod: &PodType, task: &TaskName) -> impl Iterator<Item = &'a Task> + use<'a> {
        let running = self.running.get(&(pod.clone(), task.clone()));
        running.into_iter().flatten().filter_map(|instance| self.by_name.get(instance))
    }

    /// Whether a reservation belongs to a task that is not given up.
    pub fn is_reserved(&self, resource_id: &str) -> bool {
        self.reserved.contains_key(resource_id)
    }

    /// Where a pod's tasks are, if its placement rules count.
    pub fn spread(&self, pod: &PodType) -> Option<&Spread> {
        self.spread.get(pod)
    }

    /// Adds a task, or puts it in the place of the one with its instance name.
    pub fn insert(&mut self, task: Task) {
        let instance = task.instance();
        self.remove(&instance);
        self.index(&instance, &task);
        self.touched.insert((task.pod_instance(), instance.clone()));
        self.by_name.insert(instance, task);
    }

    /// Changes a task; its pod and name stay.
    pub fn change<R>(&mut self, instance: &str, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let mut task = self.by_name.remove(instance)?;
        self.unindex(instance, &task);
        let result = change(&mut task);
        self.index(instance, &task);
        self.touched.insert((task.pod_instance(), instance.to_owned()));
        self.by_name.insert(instance.to_owned(), task);
        Some(result)
    }

    /// Forgets a task.
    pub fn remove(&mut self, instance: &str) -> Option<Task> {
        let task = self.by_name.remove(instance)?;
        self.unindex(instance, &task);
        self.touched.insert((task.pod_instance(), instance.to_owned()));
        Some(task)
    }

    /// The tasks that were added, changed or removed since this was last called: their pod instances and instance names.
    pub fn take_touched(&mut self) -> BTreeSet<(PodInstance, String)> {
        std::mem::take(&mut self.touched)
    }

    fn index(&mut self, instance: &str, task: &Task) {
        if task.was_launched() {
            self.by_id.insert(task.info.task_id.clone(), instance.to_owned());
        }
        self.by_pod.entry(task.pod_instance()).or_default().insert(instance.to_owned());
        if !task.notes.permanently_failed {
            for id in resource_ids(task) {
                *self.reserved.entry(id.to_owned()).or_default() += 1;
            }
        }
        if task.state() == TaskState::Running {
            let key = (task.pod.clone(), task.name.clone());
            self.running.entry(key).or_default().insert(instance.to_owned());
        }
        if let Some(spread) = self.spread.get_mut(&task.pod) {
            spread.add(&located(&task.info));
        }
    }

    fn unindex(&mut self, instance: &str, task: &Task) {
        self.by_id.remove(&task.info.task_id);
        let pod = task.pod_instance();
        drop_from(&mut self.by_pod, &pod, instance);
        if !task.notes.permanently_failed {
            for id in resource_ids(task) {
                let Some(count) = self.reserved.get_mut(id) else { continue };
                *count -= 1;
                if *count == 0 {
                    self.reserved.remove(id);
                }
            }
        }
        if task.state() == TaskState::Running {
            drop_from(&mut self.running, &(task.pod.clone(), task.name.clone()), instance);
        }
        if let Some(spread) = self.spread.get_mut(&task.pod) {
            spread.remove(&located(&task.info));
        }
    }

    /// Whether every index says what the tasks say, found by making all anew.
    pub fn check(&self) -> Result<(), String> {
        let spread = self.spread.iter().map(|(pod, s)| (pod.clone(), s.emptied())).collect();
        let mut anew = Self { spread, ..Self::default() };
        for task in self.by_name.values() {
            anew.insert(task.clone());
        }
        anew.touched.clone_from(&self.touched);
        if anew == *self {
            Ok(())
        } else {
            Err("an index of the tasks does not say what the tasks say".to_owned())
        }
    }
}

fn drop_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<String>>, key: &K, instance: &str) {
    if let Some(instances) = index.get_mut(key) {
        instances.remove(instance);
        if instances.is_empty() {
            index.remove(key);
        }
    }
}
