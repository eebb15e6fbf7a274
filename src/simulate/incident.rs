//! What goes wrong in a simulation, and what operators do meanwhile: each incident by itself, written as a word that can be
//! read back, so that a run can be told, replayed, and made shorter by leaving incidents out.

use super::random::Random;
use std::fmt;
use std::str::FromStr;

/// When an incident of a kind happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// At a message, effect or operation with this number, from 1 on.
    Count,
    /// So many seconds after the stage has begun.
    Seconds,
}

macro_rules! kinds {
    ($( $(#[$meta:meta])* $name:ident = $text:literal $group:literal $unit:ident $most:literal $lasts:expr ),* $(,)?) => {
        /// A kind of incident.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $( $(#[$meta])* $name ),* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $( Self::$name => $text ),* }
            }

            /// The group that it can be asked for by.
            pub fn group(self) -> &'static str {
                match self { $( Self::$name => $group ),* }
            }

            /// What its time is counted in.
            pub fn unit(self) -> Unit {
                match self { $( Self::$name => Unit::$unit ),* }
            }

            /// The latest that chance chooses.
            fn latest(self) -> f64 {
                match self { $( Self::$name => $most ),* }
            }

            /// How long it lasts that chance chooses, seconds; none if it takes no time.
            fn lasts(self) -> Option<(f64, f64)> {
                match self { $( Self::$name => $lasts ),* }
            }
        }
    };
}

kinds! {
    /// The scheduler's process ends before it carries out this effect.
    Crash = "crash" "crash" Count 150.0 None,
    /// The store refuses this write, on which the process ends.
    FailWrite = "fail-write" "store" Count 60.0 None,
    /// This write takes long.
    SlowWrite = "slow-write" "store" Count 60.0 Some((0.5, 40.0)),
    /// This call does not reach the master.
    LoseCall = "lose-call" "calls" Count 80.0 None,
    /// This call reaches the master, but its answer is lost.
    LoseAnswer = "lose-answer" "calls" Count 80.0 None,
    /// This status message of an agent is lost.
    LoseStatus = "lose-status" "updates" Count 40.0 None,
    /// This status message of an agent arrives twice.
    RepeatStatus = "repeat-status" "updates" Count 40.0 None,
    /// This status message of an agent takes long.
    DelayStatus = "delay-status" "updates" Count 40.0 Some((0.5, 40.0)),
    /// This RESERVE is not carried out, and nobody hears of it.
    FailReserve = "fail-reserve" "operations" Count 30.0 None,
    /// This CREATE is not carried out, and nobody hears of it.
    FailCreate = "fail-create" "operations" Count 6.0 None,
    /// A task that runs fails.
    FailTask = "fail-task" "tasks" Seconds 150.0 None,
    /// A task that runs is killed by somebody else.
    KillTask = "kill-task" "tasks" Seconds 150.0 None,
    /// The master takes all open offers back.
    Rescind = "rescind" "offers" Seconds 60.0 None,
    /// What the master says arrives late.
    Stall = "stall" "offers" Seconds 60.0 Some((0.5, 30.0)),
    /// An agent can't be reached for a while.
    CutAgent = "cut-agent" "agents" Seconds 150.0 Some((5.0, 250.0)),
    /// An agent's machine starts anew.
    Reboot = "reboot-agent" "agents" Seconds 150.0 Some((5.0, 150.0)),
    /// An agent's machine is gone for good.
    Destroy = "destroy-agent" "agents" Seconds 150.0 None,
    /// An operator says that an agent is gone for good.
    MarkGone = "mark-agent-gone" "agents" Seconds 150.0 None,
    /// The connection to the master is lost.
    Disconnect = "disconnect" "master" Seconds 100.0 None,
    /// Another master takes over.
    ReplaceMaster = "replace-master" "master" Seconds 100.0 None,
    /// The clock jumps ahead.
    ClockAhead = "clock-ahead" "clock" Seconds 100.0 Some((1.0, 9000.0)),
    /// The clock is set back; a process sees it from its start on.
    ClockBack = "clock-back" "clock" Seconds 100.0 Some((1.0, 9000.0)),
    /// An operator restarts a pod instance.
    RestartPod = "restart-pod" "operator" Seconds 150.0 None,
    /// An operator replaces a pod instance.
    ReplacePod = "replace-pod" "operator" Seconds 150.0 None,
    /// An operator interrupts the deploy plan, and lets it go on after a while.
    Interrupt = "interrupt-deploy" "operator" Seconds 60.0 Some((1.0, 60.0)),
    /// An operator pauses a pod instance, and resumes it after a while.
    PausePod = "pause-pod" "operator" Seconds 150.0 Some((1.0, 90.0)),
    /// An operator starts a plan of the author's own, again if it is complete.
    StartPlan = "start-plan" "operator" Seconds 150.0 None,
    /// An operator deploys another configuration, or the first one again.
    Update = "update" "operator" Seconds 120.0 None,
}

/// Which part of a service's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From the first start on.
    #[default]
    Deploy,
    /// From when the service is being removed on.
    Uninstall,
}

/// Something that goes wrong, or that an operator does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// In which stage.
    pub stage: Stage,
    /// What happens.
    pub kind: Kind,
    /// When, in the kind's unit.
    pub when: f64,
    /// For how many seconds, where that means something.
    pub lasts: f64,
    /// To which of several: taken modulo how many there are.
    pub which: u64,
}

// `uninstall.cut-agent@12.5s+30#2`: what is not needed is left out
impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stage == Stage::Uninstall {
            write!(f, "uninstall.")?;
        }
        let unit = if self.kind.unit() == Unit::Seconds { "s" } else { "" };
        write!(f, "{}@{}{unit}", self.kind.name(), self.when)?;
        if self.kind.lasts().is_some() {
            write!(f, "+{}", self.lasts)?;
        }
        if self.which > 0 { write!(f, "#{}", self.which) } else { Ok(()) }
    }
}

/// A text that is no incident.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no incident: expected NAME@WHEN, NAME@WHEN+SECONDS or one of them with #NUMBER, as a failed run prints them"
)]
pub struct NoIncident(String);

impl FromStr for Incident {
    type Err = NoIncident;

    fn from_str(text: &str) -> Result<Self, NoIncident> {
        let wrong = || NoIncident(text.to_owned());
        let (stage, rest) = match text.trim().strip_prefix("uninstall.") {
            Some(rest) => (Stage::Uninstall, rest),
            None => (Stage::Deploy, text.trim()),
        };
        let (name, rest) = rest.split_once('@').ok_or_else(wrong)?;
        let kind = Kind::ALL.iter().copied().find(|k| k.name() == name).ok_or_else(wrong)?;
        let (rest, which) = rest.split_once('#').unwrap_or((rest, "0"));
        let (when, lasts) = rest.split_once('+').unwrap_or((rest, "0"));
        let number =
            |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(wrong);
        let when =
            if kind.unit() == Unit::Seconds { when.strip_suffix('s').ok_or_else(wrong)? } else { when };
        let which = which.parse().map_err(|_| wrong())?;
        Ok(Self { stage, kind, when: number(when)?, lasts: number(lasts)?, which })
    }
}

/// A word that names no group and no kind of incidents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no faults called `{word}`: expected `all`, `none`, or some of {}", known().join(", "))]
pub struct NoFaults {
    word: String,
}

/// The names of groups, and of kinds that are no group's.
fn known() -> Vec<&'static str> {
    let mut names: Vec<&str> = Kind::ALL.iter().map(|k| k.group()).collect();
    names.dedup();
    let more = Kind::ALL.iter().map(|k| k.name()).filter(|n| !names.contains(n)).collect::<Vec<_>>();
    names.extend(more);
    names
}

/// The kinds that a list of names stands for: groups or kinds, separated by commas; `all` or `none`.
pub fn kinds(text: &str) -> Result<Vec<Kind>, NoFaults> {
    let mut kinds = Vec::new();
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty() && *w != "none") {
        let of_word = Kind::ALL.iter().filter(|k| word == "all" || k.group() == word || k.name() == word);
        let before = kinds.len();
        kinds.extend(of_word.copied());
        if kinds.len() == before {
            return Err(NoFaults { word: word.to_owned() });
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// What goes wrong in the run of a seed: few things or many, out of these kinds.
pub fn by_chance(seed: u64, kinds: &[Kind]) -> Vec<Incident> {
    let mut random = Random::about(seed, 2);
    let count = 1 + random.below(1 + random.clone().below(16));
    let mut incidents = Vec::new();
    for _ in 0..count {
        let Some(kind) = random.choose(kinds).copied() else { break };
        let stage = if random.below(4) == 0 { Stage::Uninstall } else { Stage::Deploy };
        // early times are more likely: most happens then
        let part = random.fraction() * random.fraction();
        let when = match kind.unit() {
            Unit::Count => (1.0 + part * kind.latest()).floor(),
            Unit::Seconds => (part * kind.latest() * 10.0).round() / 10.0,
        };
        let lasts = kind.lasts().map_or(0.0, |(from, to)| random.tenths(from, to));
        incidents.push(Incident { stage, kind, when, lasts, which: random.below(8) });
    }
    incidents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incident_is_read_back_as_it_is_written() {
        for seed in 0..300 {
            for incident in by_chance(seed, Kind::ALL) {
                assert_eq!(incident.to_string().parse(), Ok(incident), "{incident}");
            }
        }
        let cut =
            Incident { stage: Stage::Uninstall, kind: Kind::CutAgent, when: 12.5, lasts: 30.0, which: 2 };
        assert_eq!(cut.to_string(), "uninstall.cut-agent@12.5s+30#2");
        for wrong in ["", "crash", "crash@", "crash@x", "crush@3", "cut-agent@5", "crash@-1", "crash@inf"] {
            assert!(wrong.parse::<Incident>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn chance_reaches_every_kind_and_keeps_to_what_is_asked_for() {
        let seen: std::collections::BTreeSet<Kind> =
            (0..500).flat_map(|seed| by_chance(seed, Kind::ALL)).map(|i| i.kind).collect();
        assert_eq!(seen.len(), Kind::ALL.len());
        let asked = kinds("store, crash").expect("known");
        assert_eq!(asked, [Kind::Crash, Kind::FailWrite, Kind::SlowWrite]);
        assert!((0..100).flat_map(|seed| by_chance(seed, &asked)).all(|i| asked.contains(&i.kind)));
        assert_eq!(kinds("none"), Ok(Vec::new()));
        assert_eq!(kinds("all").map(|k| k.len()), Ok(Kind::ALL.len()));
        assert!(kinds("crash,earthquake").is_err_and(|e| e.to_string().contains("`earthquake`")));
        assert!(by_chance(1, &[]).is_empty());
    }
}
