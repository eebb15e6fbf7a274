//! What offers are wanted for: the steps whose turn it is, each where an offer that helps it is looked for.

use crate::plan::StepRef;
use crate::spec::{PodType, TaskName};
use crate::wire::AgentId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What makes steps alike: an agent that does not do for one of them does for none. They are new instances of the same pod,
/// which differ in nothing but their number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The pod.
    pub pod: PodType,
    /// The configuration that it is launched with.
    pub config: String,
    /// The tasks to launch.
    pub tasks: Vec<TaskName>,
    /// Plan parameters.
    pub env: BTreeMap<String, String>,
    /// The instance, where its own former tasks matter for its placement.
    pub instance: Option<u32>,
}

/// Where an offer for a step comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The agent that has the step's reservations.
    Agent(AgentId),
    /// Any agent.
    Anywhere(Arc<Kind>),
    /// None yet: tasks have to end before.
    Nowhere,
    /// The agent that has, or should have, the reservation that the step gives back.
    Unreserve(AgentId),
}

/// Steps of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
struct Alike {
    steps: BTreeSet<StepRef>,
    /// Why no agent would do.
    why: Vec<String>,
}

/// The steps that offers are wanted for, by where they are looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    steps: BTreeMap<StepRef, Source>,
    by_agent: BTreeMap<AgentId, BTreeSet<StepRef>>,
    by_kind: BTreeMap<Arc<Kind>, Alike>,
    /// Why the agent that has a step's reservations would not do.
    why: BTreeMap<StepRef, Vec<String>>,
}

impl Wanted {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps, and where an offer for each comes from.
    pub fn steps(&self) -> &BTreeMap<StepRef, Source> {
        &self.steps
    }

    /// Adds a step, or moves it. Returns whether that changed anything.
    pub fn insert(&mut self, of: StepRef, source: Source) -> bool {
        if self.steps.get(&of) == Some(&source) {
            return false;
        }
        self.remove(of);
        let source = match source {
            Source::Agent(agent) => {
                self.by_agent.entry(agent.clone()).or_default().insert(of);
                Source::Agent(agent)
            }
            Source::Unreserve(agent) => {
                self.by_agent.entry(agent.clone()).or_default().insert(of);
                Source::Unreserve(agent)
            }
            Source::Anywhere(kind) => {
                let kind = self.by_kind.get_key_value(&kind).map_or(kind, |(known, _)| Arc::clone(known));
                self.by_kind.entry(Arc::clone(&kind)).or_default().steps.insert(of);
                Source::Anywhere(kind)
            }
            Source::Nowhere => Source::Nowhere,
        };
        self.steps.insert(of, source);
        true
    }

    /// Forgets a step.
    pub fn remove(&mut self, of: StepRef) {
        self.why.remove(&of);
        match self.steps.remove(&of) {
            Some(Source::Agent(agent) | Source::Unreserve(agent)) => {
                if let Some(steps) = self.by_agent.get_mut(&agent) {
                    steps.remove(&of);
                    if steps.is_empty() {
                        self.by_agent.remove(&agent);
                    }
                }
            }
            Some(Source::Anywhere(kind)) => {
                if let Some(alike) = self.by_kind.get_mut(&kind) {
                    alike.steps.remove(&of);
                    if alike.steps.is_empty() {
                        self.by_kind.remove(&kind);
                    }
                }
            }
            Some(Source::Nowhere) | None => {}
        }
    }

    /// The steps whose reservations are on an agent, in order.
    pub fn of_agent(&self, agent: &AgentId) -> impl Iterator<Item = StepRef> {
        self.by_agent.get(agent).into_iter().flatten().copied()
    }

    /// The first step of each kind.
    pub fn first_of_kinds(&self) -> impl Iterator<Item = StepRef> {
        self.by_kind.values().filter_map(|alike| alike.steps.first().copied())
    }

    /// The step of a kind that comes next after one of them.
    pub fn next_of_kind(&self, kind: &Arc<Kind>, after: StepRef) -> Option<StepRef> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_kind.get(kind)?.steps.range((Excluded(after), Unbounded)).next().copied()
    }

    /// Says why no offer would do for a step; for one that may be anywhere, it is said of all that are alike.
    pub fn explain(&mut self, of: StepRef, why: Vec<String>) {
        match self.steps.get(&of) {
            Some(Source::Agent(_)) => {
                self.why.insert(of, why);
            }
            Some(Source::Anywhere(kind)) => {
                if let Some(alike) = self.by_kind.get_mut(kind) {
                    alike.why = why;
                }
            }
            _ => {}
        }
    }

    /// Why no offer would do for a step; empty when there was none.
    pub fn why(&self, of: StepRef) -> &[String] {
        let why = match self.steps.get(&of) {
            Some(Source::Anywhere(kind)) => self.by_kind.get(kind).map(|alike| &alike.why),
            _ => self.why.get(&of),
        };
        why.map_or(&[], Vec::as_slice)
    }

    /// Takes the reasons out, to compare the rest.
    pub fn without_reasons(mut self) -> Self {
        self.why.clear();
        self.by_kind.values_mut().for_each(|alike| alike.why.clear());
        self
    }
}
