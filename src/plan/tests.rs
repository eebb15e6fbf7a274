//! What plans keep up to date, against the rules applied to all steps.

use super::*;
// the name is proptest's, too
use super::Strategy;
use crate::spec::Goal;
use crate::wire::TaskState;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use std::collections::BTreeMap;

/// The rules of order and status as they are written down: every question is answered by a look at everything. Plans
/// must never answer differently.
mod rules {
    use super::super::{Order, Status, aggregate};

    /// A plan or a phase as the rules see it.
    pub struct Parent<'a> {
        pub children: &'a [Child],
        pub order: &'a Order,
        /// What was complete when the order was fixed.
        pub complete_at_first: &'a [bool],
        pub interrupted: bool,
        /// Steps that an operator releases one by one, held or not.
        pub canaries: &'a [usize],
        pub errors: bool,
    }

    #[derive(Clone, Copy)]
    pub struct Child {
        pub status: Status,
        pub held: bool,
    }

    impl Parent<'_> {
        fn complete(&self, child: usize) -> bool {
            self.children[child].status == Status::Complete
        }

        fn eligible(&self, child: usize) -> bool {
            let Child { status, held } = self.children[child];
            !held && status != Status::Complete && status != Status::Error
        }

        fn holds_canaries(&self) -> bool {
            self.canaries.iter().any(|c| self.children[*c].held)
        }

        pub fn is_interrupted(&self) -> bool {
            if !self.holds_canaries() {
                return self.interrupted;
            }
            self.canaries.iter().all(|c| self.children[*c].held || self.complete(*c))
        }

        pub fn candidates(&self) -> Vec<usize> {
            if self.holds_canaries() {
                return self.canaries.iter().copied().filter(|c| self.eligible(*c)).collect();
            }
            let before = |child: usize| -> Vec<usize> {
                match self.order {
                    Order::Parallel => Vec::new(),
                    Order::Dependency(parents) => parents[child].clone(),
                    // the link before, if it is one itself
                    Order::Serial if self.complete_at_first[child] => Vec::new(),
                    Order::Serial => {
                        (0..child).rev().find(|c| !self.complete_at_first[*c]).into_iter().collect()
                    }
                }
            };
            let all = (0..self.children.len()).filter(|c| self.eligible(*c));
            all.filter(|c| before(*c).iter().all(|p| self.complete(*p))).collect()
        }

        pub fn status(&self) -> Status {
            let all: Vec<Status> = self.children.iter().map(|c| c.status).collect();
            let candidates: Vec<Status> = self.candidates().into_iter().map(|c| all[c]).collect();
            aggregate(&all, &candidates, self.errors, self.is_interrupted())
        }
    }
}

/// A phase to be made: its order, whether it has canaries, and its steps' first statuses.
#[derive(Clone, Debug)]
struct Shape {
    order: Order,
    canary: bool,
    steps: Vec<First>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum First {
    Open,
    Complete,
    Broken,
}

#[derive(Clone, Debug)]
enum Change {
    /// A task's state, for the step at a place.
    Update(usize, TaskState, bool),
    Prepare(usize),
    Launch(usize),
    ForceComplete(usize),
    Restart(usize),
    Time(u8),
    ProceedPhase(usize),
    InterruptPhase(usize),
    ResumePhase(usize),
    Proceed,
    Interrupt,
    Start,
    Stop,
    Add(bool),
    Remove(usize),
}

fn order(children: usize) -> impl Generator<Value = Order> {
    let parents = move |picks: Vec<Vec<prop::sample::Index>>| {
        let of = |(i, picks): (usize, Vec<prop::sample::Index>)| {
            picks.into_iter().filter(|_| i > 0).map(|p| p.index(i)).collect()
        };
        Order::Dependency(picks.into_iter().enumerate().map(of).collect())
    };
    prop_oneof![
        Just(Order::Serial),
        Just(Order::Parallel),
        prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), children)
            .prop_map(parents),
    ]
}

fn shape() -> impl Generator<Value = Shape> {
    let first = prop_oneof![4 => Just(First::Open), 3 => Just(First::Complete), 1 => Just(First::Broken)];
    prop::collection::vec(first, 0..6).prop_flat_map(|steps| {
        (order(steps.len()), any::<bool>()).prop_map(move |(order, canary)| Shape {
            order,
            canary,
            steps: steps.clone(),
        })
    })
}

fn change() -> impl Generator<Value = Change> {
    let state = prop::sample::select(vec![
        TaskState::Starting,
        TaskState::Running,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Lost,
    ]);
    let at = || 0..40_usize;
    prop_oneof![
        8 => (at(), state, any::<bool>()).prop_map(|(at, state, late)| Change::Update(at, state, late)),
        4 => at().prop_map(Change::Prepare),
        6 => at().prop_map(Change::Launch),
        3 => at().prop_map(Change::ForceComplete),
        2 => at().prop_map(Change::Restart),
        3 => (1..9_u8).prop_map(Change::Time),
        2 => at().prop_map(Change::ProceedPhase),
        1 => at().prop_map(Change::InterruptPhase),
        1 => at().prop_map(Change::ResumePhase),
        2 => Just(Change::Proceed),
        1 => Just(Change::Interrupt),
        1 => Just(Change::Start),
        1 => Just(Change::Stop),
        1 => any::<bool>().prop_map(Change::Add),
        1 => at().prop_map(Change::Remove),
    ]
}

/// A plan beside what the rules need to know of its past.
struct Case {
    plan: Plan,
    now: f64,
    order: Order,
    phases_complete_at_first: Vec<bool>,
    /// By phase key: its order, what was complete when that was fixed, its canary steps, whether it was interrupted.
    phases: BTreeMap<usize, (Order, Vec<bool>, Vec<usize>, bool)>,
    made: usize,
}

fn step(number: usize, first: First) -> Step {
    let requirement = Requirement {
        pod: "pod".into(),
        index: u32::try_from(number).unwrap(),
        tasks: vec!["task".into()],
        resource_sets: BTreeSet::default(),
        recovery: Recovery::None,
        env: BTreeMap::new(),
    };
    let mut step = Step::launch(format!("id-{number}"), requirement);
    match first {
        First::Open => {}
        First::Complete => step.set_status(Status::Complete),
        First::Broken => step.errors.push("broken".to_owned()),
    }
    step
}

impl Case {
    fn new(shapes: &[Shape], order: Order) -> Self {
        let mut made = 0;
        let mut phases = Vec::new();
        let mut known = BTreeMap::new();
        for (key, shape) in shapes.iter().enumerate() {
            let steps = shape.steps.iter().map(|first| {
                made += 1;
                step(made, *first)
            });
            let mut steps: Vec<Step> = steps.collect();
            let strategy = if shape.canary {
                Strategy::canary(shape.order.clone(), &mut steps)
            } else {
                Strategy::new(shape.order.clone())
            };
            let canaries = (0..steps.len()).filter(|i| steps[*i].interrupted).collect();
            let complete = shape.steps.iter().map(|s| *s == First::Complete).collect();
            known.insert(key, (shape.order.clone(), complete, canaries, false));
            phases.push(Phase::new(format!("phase-{key}"), format!("phase-{key}"), steps, strategy));
        }
        let complete = phases.iter().map(|p| p.status() == Status::Complete).collect();
        let mut plan = Plan::new("plan", phases, order.clone());
        plan.touched.clear();
        Self { plan, now: 0.0, order, phases_complete_at_first: complete, phases: known, made }
    }

    fn place(&self, at: usize) -> Option<StepAt> {
        let places: Vec<StepAt> = self.plan.places().collect();
        (!places.is_empty()).then(|| places[at % places.len()])
    }

    fn key(&self, at: usize) -> Option<usize> {
        let keys: Vec<usize> = self.plan.phases.keys().copied().collect();
        (!keys.is_empty()).then(|| keys[at % keys.len()])
    }

    fn holds_canaries(&self, key: usize) -> bool {
        let steps = self.plan.phases[&key].steps();
        self.phases[&key].2.iter().any(|c| steps[*c].interrupted)
    }

    fn on_step(&mut self, at: usize, change: impl FnOnce(&mut Step)) {
        if let Some(at) = self.place(at) {
            self.plan.change(at, change);
        }
    }

    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Update(at, state, late) => {
                let retry_at = (late && state == TaskState::Failed).then_some(self.now + 5.0);
                self.on_step(at, |step| {
                    let id = step.name.as_str().into();
                    step.update(&id, state, Goal::Running, true, retry_at);
                });
            }
            Change::Prepare(at) => self.on_step(at, Step::prepare),
            Change::Launch(at) => self.on_step(at, |step| {
                let id = step.name.as_str().into();
                step.launched([("task".into(), id)]);
            }),
            Change::ForceComplete(at) => self.on_step(at, Step::force_complete),
            Change::Restart(at) => self.on_step(at, Step::restart),
            Change::Time(seconds) => {
                self.now += f64::from(seconds);
                self.plan.advance(self.now);
            }
            Change::ProceedPhase(at) => {
                let Some(key) = self.key(at) else { return };
                let held = self.holds_canaries(key);
                self.plan.proceed_phase(key);
                if !held {
                    self.phases.get_mut(&key).unwrap().3 = false;
                } else if !self.holds_canaries(key) {
                    // The canaries are over: from here on the order rules.
                    let statuses = self.plan.phases[&key].steps().iter().map(Step::status);
                    let complete = statuses.map(|s| s == Status::Complete).collect();
                    self.phases.get_mut(&key).unwrap().1 = complete;
                }
            }
            Change::InterruptPhase(at) => {
                let Some(key) = self.key(at) else { return };
                if !self.holds_canaries(key) {
                    self.phases.get_mut(&key).unwrap().3 = true;
                }
                self.plan.interrupt_phase(key);
            }
            Change::ResumePhase(at) => {
                let Some(key) = self.key(at) else { return };
                self.phases.get_mut(&key).unwrap().3 = false;
                self.plan.resume_phase(key);
            }
            Change::Proceed => self.plan.proceed(),
            Change::Interrupt => self.plan.interrupt(),
            Change::Start => self.plan.start(&BTreeMap::new()),
            Change::Stop => self.plan.stop(),
            // As in the recovery plan: only there do phases come and go.
            Change::Add(complete) if self.order == Order::Parallel => {
                self.made += 1;
                let first = if complete { First::Complete } else { First::Open };
                let steps = vec![step(self.made, first)];
                let phase = Phase::new("new".into(), "new", steps, Strategy::new(Order::Parallel));
                let key = self.plan.add(phase);
                self.phases.insert(key, (Order::Parallel, vec![complete], Vec::new(), false));
            }
            Change::Remove(at) if self.order == Order::Parallel => {
                let Some(key) = self.key(at) else { return };
                self.plan.remove(key);
                self.phases.remove(&key);
            }
            Change::Add(_) | Change::Remove(_) => {}
        }
    }

    /// The plan's status and candidates, and each phase's status, as the rules have it.
    fn by_the_rules(&self) -> (Status, Vec<StepAt>, Vec<Status>) {
        let mut children = Vec::new();
        let mut candidates = BTreeMap::new();
        for (key, phase) in &self.plan.phases {
            let steps: Vec<rules::Child> = phase
                .steps()
                .iter()
                .map(|s| rules::Child { status: s.status(), held: s.interrupted })
                .collect();
            let (order, complete_at_first, canaries, interrupted) = &self.phases[key];
            let parent = rules::Parent {
                children: &steps,
                order,
                complete_at_first,
                interrupted: *interrupted,
                canaries,
                errors: false,
            };
            children.push(rules::Child { status: parent.status(), held: parent.is_interrupted() });
            candidates.insert(children.len() - 1, (*key, parent.candidates()));
        }
        let plan = rules::Parent {
            children: &children,
            order: &self.order,
            complete_at_first: &self.phases_complete_at_first,
            interrupted: self.plan.strategy.interrupted,
            canaries: &[],
            errors: false,
        };
        let turn = if plan.interrupted { Vec::new() } else { plan.candidates() };
        let of_phase = |at: usize| {
            let (key, steps) = &candidates[&at];
            steps.iter().map(|step| StepAt { phase: *key, step: *step }).collect::<Vec<_>>()
        };
        let steps = turn.into_iter().flat_map(of_phase).collect();
        (plan.status(), steps, children.iter().map(|c| c.status).collect())
    }

    fn candidates(&self) -> Vec<StepAt> {
        self.plan.places().filter(|at| self.plan.is_in_turn(*at)).collect()
    }
}

fn plan() -> impl Generator<Value = (Vec<Shape>, Order)> {
    prop::collection::vec(shape(), 0..5)
        .prop_flat_map(|shapes| order(shapes.len()).prop_map(move |order| (shapes.clone(), order)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_changes_bit_by_bit_answers_as_if_all_of_it_were_looked_at(
        (shapes, order) in plan(),
        changes in prop::collection::vec(change(), 0..40),
    ) {
        let mut case = Case::new(&shapes, order);
        for change in &changes {
            let before: BTreeMap<StepAt, (Status, bool)> = seen(&case);
            case.apply(change);
            let (status, candidates, phases) = case.by_the_rules();
            prop_assert_eq!(case.plan.status(), status, "after {:?}", change);
            prop_assert_eq!(case.candidates(), candidates, "after {:?}", change);
            prop_assert_eq!(case.plan.phases().map(Phase::status).collect::<Vec<_>>(), phases);
            prop_assert_eq!(case.plan.check(), Ok(()));
            // Whoever only looks at what was touched misses nothing.
            let touched = std::mem::take(&mut case.plan.touched);
            let after = seen(&case);
            for at in before.keys().chain(after.keys()) {
                prop_assert!(touched.contains(at) || before.get(at) == after.get(at), "{at:?} after {change:?}");
            }
        }
    }
}

fn seen(case: &Case) -> BTreeMap<StepAt, (Status, bool)> {
    let of = |(at, step): (StepAt, &Step)| (at, (step.status(), case.plan.is_in_turn(at)));
    case.plan.places().zip(case.plan.steps()).map(of).collect()
}
