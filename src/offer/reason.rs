//! Why a pod instance fits on an agent, or why it doesn't: a tree, stage by stage. Filled in by `evaluate`; shown by
//! `scheduler` (what a step waits for) and `api` (the last evaluations).

use serde::Serialize;

/// What one stage of an evaluation found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The stage: `placement`, `resources`, `cpus` and so on.
    pub stage: &'static str,
    /// Whether it passed; a stage with parts passes when all of them do.
    pub passed: bool,
    /// What it found: what was wanted and, where it failed, what was offered instead.
    pub text: String,
    /// The stages that it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Reason>,
}

impl Reason {
    /// The parts without parts of their own that failed, in order; the stage itself when it has none.
    pub fn failures(&self) -> Vec<&Reason> {
        match self {
            Self { passed: true, .. } => Vec::new(),
            Self { parts, .. } if parts.is_empty() => vec![self],
            Self { parts, .. } => parts.iter().flat_map(Self::failures).collect(),
        }
    }

    /// One line for each stage, parts below what they are part of, indented by two blanks.
    pub fn lines(&self) -> Vec<String> {
        let verdict = if self.passed { "PASS" } else { "FAIL" };
        let mut lines = vec![format!("{verdict}({}): {}", self.stage, self.text)];
        lines.extend(self.parts.iter().flat_map(Self::lines).map(|line| format!("  {line}")));
        lines
    }
}

/// Collects reasons while an evaluation goes on.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    done: Vec<Reason>,
    /// Stages that have begun and not ended, the outermost first.
    open: Vec<Reason>,
}

impl Reasons {
    /// A stage without parts.
    pub fn add(&mut self, stage: &'static str, passed: bool, text: impl Into<String>) {
        self.put(Reason { stage, passed, text: text.into(), parts: Vec::new() });
    }

    /// A stage begins: what is added is part of it until it ends.
    pub fn begin(&mut self, stage: &'static str, text: impl Into<String>) {
        self.open.push(Reason { stage, passed: true, text: text.into(), parts: Vec::new() });
    }

    /// The stage that began last ends.
    pub fn end(&mut self) {
        if let Some(mut stage) = self.open.pop() {
            stage.passed = stage.parts.iter().all(|part| part.passed);
            self.put(stage);
        }
    }

    /// Whether nothing has failed so far.
    pub fn all_passed(&self) -> bool {
        let open = self.open.iter().flat_map(|stage| &stage.parts);
        self.done.iter().chain(open).all(|reason| reason.passed)
    }

    /// All stages; every one that began has ended.
    pub fn finish(mut self) -> Vec<Reason> {
        while !self.open.is_empty() {
            self.end();
        }
        self.done
    }

    fn put(&mut self, reason: Reason) {
        match self.open.last_mut() {
            Some(stage) => stage.parts.push(reason),
            None => self.done.push(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_fails_with_any_of_its_parts_and_its_failures_are_the_innermost_ones() {
        let mut reasons = Reasons::default();
        reasons.begin("resources", "set a");
        reasons.add("cpus", true, "reserves 1");
        reasons.begin("volumes", "all");
        reasons.add("volume", false, "none");
        reasons.end();
        assert!(!reasons.all_passed());
        reasons.end();
        reasons.add("launch", true, "a");
        let tree = reasons.finish();
        assert_eq!(tree.iter().map(|r| r.passed).collect::<Vec<_>>(), [false, true]);
        assert_eq!(tree[0].failures().iter().map(|r| r.stage).collect::<Vec<_>>(), ["volume"]);
        assert_eq!(
            tree[0].lines(),
            [
                "FAIL(resources): set a",
                "  PASS(cpus): reserves 1",
                "  FAIL(volumes): all",
                "    FAIL(volume): none"
            ]
        );
        assert_eq!(tree[1].failures(), Vec::<&Reason>::new());
    }
}
