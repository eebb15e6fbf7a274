//! Scenarios: each building block, once as it should be and once not.

use super::*;
use crate::finding::{Code, Report};
use crate::scheduler::{Config, Deployment};
use crate::spec::{Context, parse};

const SERVICE: &str = "
name: demo
pods:
  db:
    count: 1
    tasks:
      server:
        goal: RUNNING
        cmd: db
        cpus: 1
        memory: 64
        env: {ROLE: primary}
        ports: {sql: {port: 0, env-key: PORT_SQL}}
        volume: {path: data, type: ROOT, size: 10}
        readiness-check: {cmd: ready, interval: 1, timeout: 1}
      backup: {goal: ONCE, cmd: backup, cpus: 1, memory: 64}
  web:
    count: 2
    allow-decommission: true
    placement: hostname:UNIQUE
    tasks:
      server: {goal: RUNNING, cmd: web, cpus: 0.5, memory: 64}
plans:
  deploy:
    phases:
      db: {pod: db, steps: [default: [[server]]]}
      web: {pod: web, strategy: parallel}
  backup:
    phases:
      run: {pod: db, steps: [default: [[backup]]]}
";

fn deployment(yaml: &str, env: &BTreeMap<String, String>) -> Deployment {
    let template = |name: &str| match name {
        "good" => Ok("{{ROLE}} {{MESOS_SANDBOX}} {{PORT_SQL}} {{TASK_NAME}}".to_owned()),
        "bad" => Ok("x\n{{GONE}}".to_owned()),
        _ => Err("none".to_owned()),
    };
    let source = Source::new("svc.yml", yaml);
    let (service, _) = match parse(&source, &Context { template: &template, env }) {
        Ok(service) => service,
        Err(found) => panic!("{}", Report(found)),
    };
    let config = Config::from_env(env, &service.spec, 8080).expect("a configuration");
    Deployment { service, config }
}

fn scenario(yaml: &str) -> Scenario {
    match read(&Source::new("test.yml", yaml)) {
        Ok(scenario) => scenario,
        Err(report) => panic!("{report}"),
    }
}

fn played(service: &str, yaml: &str) -> Outcome {
    let scenario = scenario(yaml);
    let deployments: Vec<_> = scenario.runs.iter().map(|run| deployment(service, &run.env)).collect();
    play(scenario, &deployments)
}

/// A deployment, and things that happen after it.
const STORY: &str = "\
about: a deployment and what comes after it
ticks:
  - send: register
  - expect: {reconciled: implicitly, suppressed: 0, step-count: {deploy: 3, recovery: 0}}
  - send: {offer: {pod: web}}
  - expect: declined-last-offer
  - send: {offer: db}
  - expect: {launched: {tasks: [db-0-server], calls: 1}, known-tasks: [db-0-backup, db-0-server]}
  - expect: {task-env: {db-0-server: {ROLE: primary, PORT_SQL: '10000', GONE: }}}
  - send: {status: {task: db-0-server, state: RUNNING, readiness-exit-code: 1}}
  - expect:
      step: {phase: db, step: 'db-0:[server]', status: STARTED}
      plan: {deploy: STARTED}
      task-status: {db-0-server: running}
  - send: {status: {task: db-0-server, state: TASK_RUNNING, readiness-exit-code: 0}}
  - expect: {plan: {deploy: IN_PROGRESS}, step: [{phase: db, step: 'db-0:[server]', status: COMPLETE}]}
  - send: {offer: {pod: web, count: 2}}
  - expect: {launched: [web-1-server, web-0-server]}
  - send: {status: {task: web-0-server, state: RUNNING}}
  - send: {status: {task: web-1-server, state: RUNNING}}
  - expect: {all-plans-complete: , suppressed: 1, revived: 1}
  - send: {plan: {command: start, plan: backup, parameters: {BUCKET: nightly}}}
  - send: {offer: {pod: db, reoffer: 0}}
  - expect: {launched: db-0-backup, same-pod: [db-0-server, db-0-backup], task-env: {db-0-backup: {BUCKET: nightly}}}
  - send: {status: {task: db-0-backup, state: FINISHED}}
  - expect: {plan: {backup: COMPLETE}, all-plans-complete: }
  - send: {status: {task: db-0-server, state: FAILED}}
  - send: {offer: {pod: db, reoffer: 0}}
  - expect: {launched: [db-0-server], not-killed: [db-0-server, web-0-server]}
  - send: {status: {task: db-0-server, state: RUNNING, readiness-exit-code: 0}}
  - expect: {step: {plan: recovery, phase: 'db-0:[server]', step: 'db-0:[server]', status: COMPLETE}}
  - send: {replace: web-0}
  - expect: {killed: {task: web-0-server, times: 1}}
  - send: {wait: 6}
  - expect: {killed: {task: web-0-server, times: 2}}
  - send: {status: {task: web-0-server, state: KILLED}}
  - send: {offer: {pod: web, reoffer: 0}}
  - expect: {launched: [], unreserved: web-0-server}
  - send: no-offers
  - send: {offer: {pod: web, hostname: other}}
  - expect: {launched: [web-0-server]}
  - send: {status: {task: web-0-server, task-id: stray, state: RUNNING}}
  - expect: {killed: {task-id: stray}}
  - send: {pause: {pod: web-1, tasks: [server]}}
  - expect: {killed: web-1-server, task-status: {web-1-server: PAUSING}}
  - send: {resume: web-1}
  - send: {restart: web-1}
";

#[test]
fn a_scheduler_does_what_a_scenario_expects_of_it() {
    let outcome = played(SERVICE, STORY);
    assert!(outcome.passed(), "{}", outcome.text());
    assert!(outcome.text().starts_with("test.yml: passed (a deployment and what comes after it)\n"));
    assert_eq!(outcome.data()["runs"][0]["ticks"][0]["result"], "passed");
}

#[test]
fn each_expectation_fails_where_it_is_not_met_and_says_what_is_so_instead() {
    let cases = [
        ("reconciled: implicitly", "reconciled: explicitly", "the master is asked: how all tasks are"),
        ("suppressed: 0", "suppressed: 1", "in this run: 0"),
        ("step-count: {deploy: 3, ", "step-count: {deploy: 4, ", "steps of deploy: 3"),
        ("step-count: {deploy: 3, ", "step-count: {nix: 4, ", "plans: deploy, recovery, backup"),
        ("{offer: {pod: web}}", "{offer: {pod: db}}", "it is accepted, to launch tasks"),
        ("[db-0-server], calls: 1", "[db-0-server], calls: 2", "calls that launch tasks: 1"),
        ("[db-0-backup, db-0-server]}", "[db-0-server]}", "stored: db-0-backup, db-0-server"),
        ("ROLE: primary, ", "ROLE: second, ", "ROLE=primary in the environment of db-0-server"),
        ("PORT_SQL: '10000', GONE: }", "PORT_SQL: }", "PORT_SQL=10000 in the environment"),
        ("{db-0-server: running}", "{db-0-server: FINISHED}", "db-0-server: RUNNING"),
        ("status: STARTED", "status: COMPLETE", "its readiness check ends with exit code 1"),
        ("plan: {deploy: STARTED}\n", "plan: {deploy: COMPLETE}\n", "plan deploy: STARTED"),
        (
            "phase: db, step: 'db-0:[server]', status: STARTED",
            "phase: nix, step: s, status: STARTED",
            "phases: db, web",
        ),
        ("{offer: db}", "{offer: {pod: db, count: 1, hostname: h, reoffer: 0}}", "db-0 has nothing reserved"),
        ("{offer: db}", "{offer: nix}", "there is no pod nix"),
        ("{offer: db}", "no-offers", "cpus: wants 1, offered: 0.5"),
        ("[web-1-server, web-0-server]", "[web-0-server]", "launched: web-0-server, web-1-server"),
        (
            "{offer: {pod: web, count: 2}}",
            "{offer: {pod: web, count: 2, hostname: h}}",
            "launched: web-0-server\n",
        ),
        ("suppressed: 1, revived: 1", "suppressed: 1, revived: 2", "in this run: 1"),
        ("launched: db-0-backup", "launched: db-0-server", "launched: db-0-backup"),
        ("same-pod: [db-0-server, ", "same-pod: [web-0-server, ", ": web-0-server"),
        ("{plan: {backup: COMPLETE}, all", "{plan: {backup: WAITING}, all", "plan backup: COMPLETE"),
        ("not-killed: [db-0-server, web-0-server]", "killed: db-0-server", "asked to end: nothing"),
        ("killed: {task: web-0-server, times: 1}", "not-killed: web-0-server", "in this run: 1"),
        ("unreserved: web-0-server", "unreserved: [web-0-server, web-1-server]", "given back: web-0-server"),
        ("killed: {task-id: stray}", "killed: {task-id: other}", "stray"),
        ("{replace: web-0}", "{replace: web-7}", "Pod web-7 not found"),
        ("all-plans-complete: , suppressed: 1", "all-plans-complete: , refused: volumes", "it is accepted"),
        (
            "task: web-0-server, state: RUNNING}}\n  - send",
            "task: nix, state: RUNNING}}\n  - send",
            "nix was never launched",
        ),
    ];
    for (from, to, found) in cases {
        assert!(STORY.contains(from), "{from}");
        let yaml = STORY.replacen(from, to, 1);
        let outcome = played(SERVICE, &yaml);
        assert!(!outcome.passed(), "{to}");
        let text = outcome.text();
        let failed = text.split_once("✘").map(|(_, rest)| rest).unwrap_or_default();
        let (failed, _) = failed.split_once("  · ").unwrap_or((failed, ""));
        assert!(failed.contains(found), "{to}: expected {found:?} in\n{failed}");
    }
}

#[test]
fn a_plan_is_not_complete_while_something_of_it_is_open() {
    let yaml = "ticks: [{send: register}, {expect: all-plans-complete}]";
    let text = played(SERVICE, yaml).text();
    assert!(text.contains("found:    deploy: IN_PROGRESS\n"), "{text}");
    assert!(text.contains("db-0:[server] (PREPARED): waits for an offer"), "{text}");
}

#[test]
fn a_failed_tick_is_shown_at_its_place_and_what_comes_after_it_is_not_reached() {
    let yaml = "ticks:\n- send: register\n- expect: {revived: 0,\n    launched: [x]}\n- send: no-offers\n";
    let outcome = played(SERVICE, yaml);
    assert_eq!(
        outcome.text(),
        "test.yml: failed\n\
         \x20 ✔    2  send register\n\
         \x20 ✔    3  expect revived: 0\n\
         \x20 ✘    4  expect launched: [x]\n\
         \x20         at test.yml:4:5\n\
         \x20         expected: launched: x\n\
         \x20         found:    launched: nothing\n\
         \x20                     db-0:[server] (PREPARED): waits for an offer\n\
         \x20                     web-0:[server] (PENDING): waits for phase db\n\
         \x20                     web-1:[server] (PENDING): waits for phase db\n\
         \x20 ·    5  send no-offers\n"
    );
    let ticks = &outcome.data()["runs"][0]["ticks"];
    let results: Vec<_> = (0..4).map(|i| ticks[i]["result"].as_str().unwrap_or_default()).collect();
    assert_eq!(results, ["passed", "passed", "failed", "not-reached"]);
    assert_eq!(ticks[2]["found"].as_str().map(|f| f.starts_with("launched: nothing")), Some(true));
}

const TWO_RUNS: &str = "\
runs:
- ticks:
  - send: register
  - send: {offer: db}
  - send: {status: {task: db-0-server, state: RUNNING, readiness-exit-code: 0}}
  - send: {offer: {pod: web, count: 2}}
  - send: {status: {task: web-0-server, state: RUNNING}}
  - send: {status: {task: web-1-server, state: RUNNING}}
  - expect: all-plans-complete
- env: {TASKCFG_ALL_X: '1'}
  pod-env: {web: {LEVEL: debug}}
  ticks:
  - send: register
  - expect: {reconciled: explicitly}
  - send: {status: {task: db-0-server, state: RUNNING, readiness-exit-code: 0}}
  - send: {status: {task: web-0-server, state: RUNNING}}
  - send: {status: {task: web-1-server, state: RUNNING}}
  - expect: {plan: {deploy: IN_PROGRESS}, killed: db-0-server, not-killed: web-0-server}
  - send: {status: {task: db-0-server, state: KILLED}}
  - send: {offer: {pod: db, reoffer: 0}}
  - expect: {launched: [db-0-server], task-env: {db-0-server: {X: '1', LEVEL: }, web-0-server: {LEVEL: }}}
";

#[test]
fn a_second_run_goes_on_with_the_state_of_the_first_and_settings_of_its_own() {
    let outcome = played(SERVICE, TWO_RUNS);
    assert!(outcome.passed(), "{}", outcome.text());
    let outcome = played(SERVICE, &TWO_RUNS.replace("reconciled: explicitly", "reconciled: implicitly"));
    assert!(!outcome.passed());
    assert!(outcome.text().contains("  run 2\n"), "{}", outcome.text());
    let broken = TWO_RUNS.replacen("expect: all-plans-complete", "expect: {plan: {deploy: WAITING}}", 1);
    assert_eq!(played(SERVICE, &broken).runs.len(), 1, "a run goes on with what the one before has left");
}

#[test]
fn a_refused_service_or_update_can_be_expected() {
    let first = TWO_RUNS.split_once("- env:").map(|(first, _)| first).unwrap_or_default();
    let with = |ticks: &str| scenario(&format!("{first}- ticks: {ticks}\n"));
    let old = deployment(SERVICE, &BTreeMap::new());
    let new = |from: &str, to: &str| deployment(&SERVICE.replace(from, to), &BTreeMap::new());
    let outcome = |ticks: &str, new| play(with(ticks), &[old.clone(), new]);
    let refused = "[{expect: {refused: volumes can't be changed}}]";
    assert!(outcome(refused, new("size: 10", "size: 20")).passed());
    assert!(!outcome(refused, new("cmd: web", "cmd: web2")).passed());
    let user = new("name: demo", "name: demo\nscheduler: {user: nobody}");
    assert!(outcome("[{expect: {refused: user can't be changed}}]", user.clone()).passed());
    let text = outcome("[{expect: {refused: other}}]", user.clone()).text();
    assert!(text.contains("Field: 'user'"), "{text}");
    let text = outcome("[{send: register}]", user).text();
    assert!(text.contains("✘ the scheduler does not start"), "{text}");
}

#[test]
fn a_service_that_is_removed_leaves_nothing() {
    let first = TWO_RUNS.split_once("- env:").map(|(first, _)| first).unwrap_or_default();
    let second = "\
- env: {SDK_UNINSTALL: 'true'}
  ticks:
  - send: register
  - send: {status: {task: db-0-server, state: KILLED}}
  - send: {status: {task: web-0-server, state: KILLED}}
  - send: {status: {task: web-1-server, state: KILLED}}
  - send: {offer: {pod: db, reoffer: 0}}
  - expect: {unreserved: [db-0-backup, db-0-server]}
  - send: {offer: {pod: web, reoffer: 0}}
  - send: {offer: {pod: web, reoffer: 1}}
  - expect: {plan: {deploy: IN_PROGRESS}}
  # what was given back is not offered again
  - send: {wait: 5}
  - send: {offer: {pod: db, reoffer: 0}}
  - send: {offer: {pod: web, reoffer: 0}}
  - send: {offer: {pod: web, reoffer: 1}}
  - expect: {all-plans-complete: , known-tasks: []}
";
    let outcome = played(SERVICE, &format!("{first}{second}"));
    assert!(outcome.passed(), "{}", outcome.text());
}

#[test]
fn offers_are_no_larger_than_one_instance_of_the_pod_needs_and_come_from_where_they_should() {
    let placed = SERVICE.replace("placement: hostname:UNIQUE", "placement: 'rack:IS:a,@zone:UNIQUE'");
    let story = |first: &str, second: &str| {
        let deployed = STORY.split_once("  - send: {offer: {pod: web, count: 2}}").map(|(s, _)| s);
        let offers = format!(
            "  - send: {{offer: {{pod: web, {first}}}}}\n  - send: {{offer: {{pod: web, {second}}}}}\n"
        );
        let end = "  - expect: {launched: [web-1-server]}\n";
        played(&placed, &format!("{}{offers}{end}", deployed.unwrap_or_default()))
    };
    let rack = "attributes: {rack: a}";
    let good = story(&format!("{rack}, zone: z1"), &format!("{rack}, zone: z2"));
    assert!(good.passed(), "{}", good.text());
    assert!(!story(&format!("{rack}, zone: z1"), &format!("{rack}, zone: z1")).passed(), "the same zone");
    assert!(!story(&format!("{rack}, zone: z1"), "zone: z2").passed(), "no rack");
    assert!(!story(&format!("{rack}, zone: z1"), &format!("{rack}, zone: z2, region: far")).passed());
}

#[test]
fn offers_hold_all_kinds_of_resources_that_a_pod_can_ask_for() {
    let service = "
name: demo
pods:
  p:
    count: 1
    pre-reserved-role: fast
    volume: {path: shared, type: ROOT, size: 7}
    tasks:
      t:
        goal: RUNNING
        cmd: c
        cpus: 0.1
        gpus: 1
        memory: 64
        ports: {a: {port: 80}, b: {port: 0, env-key: B, ranges: [{begin: 90, end: 91}]}, c: {port: 0, env-key: C}}
        volumes: {m: {path: m, type: MOUNT, size: 100, profiles: [ssd]}, r: {path: r, type: ROOT, size: 5}}
      u: {goal: RUNNING, cmd: c, cpus: 0.2, memory: 1}
";
    let ticks = "ticks: [{send: register}, {send: {offer: p}}, {expect: {launched: [p-0-t, p-0-u]}}, {expect: {task-env: \
                 {p-0-t: {B: '90', C: '10000'}}}}]";
    let outcome = played(service, ticks);
    assert!(outcome.passed(), "{}", outcome.text());
}

#[test]
fn a_config_template_with_a_name_without_value_fails_before_anything_is_sent() {
    let with = |name: &str| {
        let configs = format!("cmd: db\n        configs: {{c: {{template: {name}, dest: c.conf}}}}");
        played(&SERVICE.replacen("cmd: db", &configs, 1), "ticks: [{send: register}]")
    };
    assert!(with("good").passed(), "{}", with("good").text());
    let text = with("bad").text();
    assert!(text.contains("✘ config template c of db.server, line 2: `GONE` has no value\n  ·"), "{text}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let cases = [
        ("tick: []", Code::UnknownKey, "1:1", "did you mean `ticks`?"),
        ("ticks: []", Code::Missing, "1:1", "needs `ticks`"),
        ("ticks: [{sent: register}]", Code::UnknownKey, "1:10", "did you mean `send`?"),
        ("ticks: [{send: registre}]", Code::UnknownKey, "1:16", "did you mean `register`?"),
        ("ticks: [{send: {offer: {pods: x}}}]", Code::UnknownKey, "1:25", "did you mean `pod`?"),
        ("ticks: [{send: {offer: {count: 1}}}]", Code::Missing, "1:24", "needs `pod`"),
        ("ticks: [{send: {offer: {pod: x, count: 0}}}]", Code::OutOfRange, "1:40", "out of range"),
        ("ticks: [{send: {wait: long}}]", Code::ScalarType, "1:23", "must be an integer"),
        ("ticks: [{send: {status: {task: x, state: ENDED}}}]", Code::NotOneOf, "1:42", "no state `ENDED`"),
        ("ticks: [{expect: {plan: {deploy: DONE}}}]", Code::NotOneOf, "1:34", "cannot be `DONE`"),
        ("ticks: [{expect: {killed: {times: 1}}}]", Code::Conflict, "1:27", "either `task` or `task-id`"),
        ("ticks: [{send: register, expect: x}]", Code::Shape, "1:9", "one `send` or one `expect`"),
        ("ticks: [{expect: {step: {phase: a, step: b}}}]", Code::Missing, "1:25", "needs `status`"),
        ("runs: [{ticks: [{send: register}], tick: 1}]", Code::UnknownKey, "1:36", "did you mean `ticks`?"),
        ("ticks: []\nruns: []", Code::Conflict, "1:1", "beside `runs`"),
        ("env: [a]\nticks: [{send: register}]", Code::Shape, "1:6", "must be a mapping"),
        ("ticks: [{send: register}]\nabout: a\nabout: b", Code::DuplicateKey, "3:1", "twice"),
    ];
    for (yaml, code, place, text) in cases {
        let Report(found) = read(&Source::new("test.yml", yaml)).expect_err(yaml);
        let seen = found.iter().find(|f| f.code == code);
        let seen = seen.unwrap_or_else(|| panic!("{yaml}: {}", Report(found.clone())));
        let at = seen.place().map(|p| format!("{}:{}", p.line, p.column));
        assert_eq!(at.as_deref(), Some(place), "{yaml}");
        let said = format!("{} {}", seen.message, seen.help.clone().unwrap_or_default());
        assert!(said.contains(text), "{yaml}: {said}");
    }
}

#[test]
fn options_are_nested_or_joined_by_dots_and_keep_their_types() {
    let yaml = "options: {web: {count: 2, name: '3'}, a.b: true, none: {}}\nticks: [{send: register}]";
    let expected = ["web.count=2", "web.name=\"3\"", "a.b=true", "none={}"];
    assert_eq!(scenario(yaml).runs[0].options, expected);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..30)) {
        let text = pieces.concat();
        if let Ok(scenario) = read(&Source::new("test.yml", &*text)) {
            let deployments: Vec<_> = scenario.runs.iter().map(|_| deployment(SERVICE, &BTreeMap::new())).collect();
            let outcome = play(scenario, &deployments);
            proptest::prop_assert!(!outcome.text().is_empty());
        }
    }
}

const PIECES: &[&str] = &[
    "ticks:\n",
    "runs:\n",
    "- send: register\n",
    "- send: {offer: db}\n",
    "- expect: {",
    "}\n",
    "launched: [x]",
    ",",
    "- send: no-offers\n",
    "plan: {deploy: PENDING}",
    "  ",
    "\n",
    ": ",
    "[",
    "]",
    "- ",
    "about: x\n",
    "é",
    "'",
    "env: {A: b}\n",
    "- send: {wait: 3}\n",
    "killed: x",
    "declined-last-offer: ",
    "- send: {offer: {pod: db, reoffer: 0}}\n",
];
