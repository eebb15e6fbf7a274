//! Many lives of many services, each disturbed in other ways: no rule may be broken in any.

use dagpkg::runtime::load;
use dagpkg::scheduler::{Config, Deployment};
use dagpkg::simulate::incident::Kind;
use dagpkg::simulate::{Rule, Subject, Trial, shrink};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn specs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate/specs");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the specs").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn subject(file: &Path, agents: u32) -> Subject {
    // waits before failed tasks are tried again belong to the scheduler's environment
    let backoff = file.ends_with("backoff.yml").then(|| ("ENABLE_BACKOFF".to_owned(), "true".to_owned()));
    let env: BTreeMap<String, String> = backoff.into_iter().collect();
    let service = load::service(file, &env).expect("a service").service;
    let config = Config::from_env(&env, &service.spec, 8080).expect("a configuration");
    Subject::on_suited_agents(Deployment { service, config }, agents)
}

/// Lives with these seeds; what breaks a rule is told with the few incidents that do.
fn live(file: &Path, seeds: std::ops::Range<u64>) {
    let subject = subject(file, 3);
    let peace = subject.in_peace().violation;
    assert_eq!(peace, None, "{} without incidents", file.display());
    for seed in seeds {
        let mut trial = Trial::by_chance(&subject, seed, Kind::ALL);
        trial.world.watch.indexes_every = 16;
        let incidents = trial.incidents().to_vec();
        let Some(violation) = trial.run().violation else { continue };
        let breaks = |less: &[_]| Trial::new(&subject, seed, less).run().violation.map(|v| v.rule);
        let few = shrink(&incidents, 200, |less| breaks(less) == Some(violation.rule));
        let few: Vec<String> = few.iter().map(ToString::to_string).collect();
        panic!("{}: {violation}\n  --seed {seed} --replay '{}'", file.display(), few.join(","));
    }
}

/// Each file on one of so many threads, which is what the test runner makes of as many tests.
fn live_all(part: usize, parts: usize) {
    for (i, file) in specs().iter().enumerate().filter(|(i, _)| i % parts == part) {
        let first = 1000 * i as u64;
        live(file, first..first + LIVES);
    }
}

/// How many lives each service has.
const LIVES: u64 = 120;

#[test]
fn no_rule_is_broken_in_the_lives_of_the_first_half_of_the_services() {
    live_all(0, 2);
}

#[test]
fn no_rule_is_broken_in_the_lives_of_the_second_half_of_the_services() {
    live_all(1, 2);
}

/// What went wrong once: a few incidents each, under which a service did not come back, or was never gone.
#[test]
fn what_was_mended_stays_so() {
    let cases = [
        // an answer to an offer was lost, and the master waited for it for ever
        ("ports", 4, "lose-call@8"),
        // a revive was lost
        ("decommission", 13, "lose-call@17,replace-pod@9.2s"),
        // the process ended after it had given reservations back, and the next waited for them
        ("placement", 11, "clock-back@17.9s+4275.7,uninstall.crash@28"),
        // a reservation of a part of a pod was never made: of tasks launched at once, and of one to come later
        ("two_essential", 0, "fail-reserve@6"),
        ("sidecar", 0, "fail-reserve@6"),
        // giving back was asked for with an offer that had gone, and taken for done
        ("minimal", 31, "uninstall.rescind@9.7s,uninstall.slow-write@10+19.3"),
        // a pod was replaced before all of it had run, and its deployment taken for done
        ("init_then_serve", 133, "replace-pod@1.8s,crash@10"),
        // what was made of a refused launch's reservations stayed, and its fixed port was in the way of the next try
        ("ports", 600_034, "fail-reserve@19"),
        // an UNRESERVE was lost of what belongs to nothing, and the framework left before it was offered again
        (
            "parallel",
            600_426,
            "uninstall.lose-call@19,reboot-agent@3s+99.1#7,clock-back@31.3s+381.3,crash@10",
        ),
        // a pod was wanted again while it was taken down
        ("decommission", 700_130, "update@14.6s#3,update@18.1s"),
        // an offer was on its way when none were wanted any more, and hid that none were
        ("canary", 711_686, "restart-pod@4.9s,fail-task@20s,lose-call@23,slow-write@16+20.1"),
        // a launch was lost before its agent was, of which the master could say nothing when that came back
        (
            "decommission",
            710_379,
            "mark-agent-gone@5.8s,kill-task@41.7s,crash@1,replace-pod@91.4s,cut-agent@16.7s+202.5,restart-pod@51.2s#1,crash@77",
        ),
        // what was known of a task where its pod had been counted where that was now
        ("own_plans", 721_280, "start-plan@3.7s#1,mark-agent-gone@6.3s,fail-write@12"),
        // the tasks of two plans have the same resources, and each ended the other's
        ("shared_resources", 800_015, "start-plan@3.2s"),
        // an UNRESERVE was lost, and an offer that was on its way then taken for a sign that it was carried out
        ("sidecar", 22_010, "uninstall.lose-call@8,uninstall.stall@2.8s+10.1,update@52.5s"),
        // what a replaced pod left on an agent that was away was forgotten
        (
            "pod_volume",
            711_660,
            "uninstall.cut-agent@3.1s+78.9,reboot-agent@7.9s+127.5,replace-pod@13.2s,uninstall.fail-write@5",
        ),
    ];
    for (name, seed, incidents) in cases {
        let file = specs().into_iter().find(|f| f.file_stem().is_some_and(|s| s == name)).expect("the spec");
        let incidents: Vec<_> = incidents.split(',').map(|i| i.parse().expect("an incident")).collect();
        let violation = Trial::new(&subject(&file, 3), seed, &incidents).run().violation;
        assert_eq!(violation, None, "{name}");
    }
}

#[test]
fn there_are_services_of_many_kinds() {
    assert!(specs().len() >= 20);
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let file = specs().into_iter().find(|f| f.ends_with("mixed.yml")).expect("the spec");
    let subject = subject(&file, 3);
    let told = || {
        let mut trial = Trial::by_chance(&subject, 5, Kind::ALL);
        trial.world.story.silent = false;
        trial.run().story.lines().to_vec()
    };
    let first = told();
    assert!(first.len() > 50);
    assert_eq!(first, told());
}

#[test]
fn a_service_that_can_not_be_deployed_breaks_the_rule_that_it_comes_back() {
    let file = specs().into_iter().find(|f| f.ends_with("volumes.yml")).expect("the spec");
    // three instances on different hosts
    let violation = subject(&file, 2).in_peace().violation.expect("a violation");
    assert_eq!(violation.rule, Rule::ComesBack);
    assert!(violation.what.contains("store-2:[server]"), "{violation}");
}
