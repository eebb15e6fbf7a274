//! The rules of the service language, each shown by a file that breaks it.

use super::*;

#[test]
fn each_mistake_in_a_task_is_found_where_it_is() {
    let cases = [
        ("»health-checks: {}", Code::UnknownKey),
        ("»uris: [http://host/file]", Code::UnknownKey),
        ("»mem: 3", Code::UnknownKey),
        ("essential: »maybe", Code::ScalarType),
        ("env: »[a]", Code::Shape),
        ("env: {A: »[1]}", Code::Shape),
        ("env: »text", Code::Shape),
        ("env:\n  A: 1\n  »A: 2", Code::DuplicateKey),
        ("configs: {»c: {dest: d}}", Code::Missing),
        ("configs: {c: {»template: , dest: d}}", Code::Missing),
        ("configs: {c: {template: »gone.conf, dest: d}}", Code::ConfigTemplate),
        ("configs: {c: {template: »empty.conf, dest: d}}", Code::ConfigTemplate),
        ("configs: {c: {template: »bad.conf, dest: d}}", Code::ConfigTemplate),
        ("configs: {c: {template: there.conf, dest: »''}}", Code::Empty),
        ("configs: {»'': {template: there.conf, dest: d}}", Code::Form),
        ("configs: »[there.conf]", Code::Shape),
        (
            "configs:\n  a: {template: there.conf, dest: d}\n  b: {template: there.conf, dest: »d}",
            Code::NotUnique,
        ),
        ("resource-set: »other", Code::NoSuch),
        ("»health-check: {cmd: c, interval: 1, grace-period: 1, delay: 0, timeout: 1}", Code::Missing),
        (
            "health-check: {cmd: c, interval: 1, grace-period: 1, max-consecutive-failures: »0, delay: 0, timeout: 1}",
            Code::OutOfRange,
        ),
        (
            "health-check: {cmd: c, interval: »-1, grace-period: 1, max-consecutive-failures: 1, delay: 0, timeout: 1}",
            Code::OutOfRange,
        ),
        (
            "health-check: {»name: n, cmd: c, interval: 1, grace-period: 1, max-consecutive-failures: 1, delay: 0, timeout: 1}",
            Code::UnknownKey,
        ),
        ("»readiness-check: {cmd: c, interval: 1}", Code::Missing),
        ("readiness-check: {cmd: c, interval: »soon, timeout: 1}", Code::ScalarType),
        ("discovery: {prefix: p, visibility: »ALL}", Code::NotOneOf),
        ("labels: »'  '", Code::Form),
        ("labels: »''", Code::Form),
        ("labels: »'a'", Code::Form),
        ("labels: »'a:'", Code::Form),
        ("labels: »':1'", Code::Form),
        ("labels: »'a:1,,b:2'", Code::Form),
        ("labels: »{a: 1}", Code::Shape),
        ("labels: »'a:1,a:2'", Code::NotUnique),
        ("kill-grace-period: »3601", Code::OutOfRange),
        ("kill-grace-period: »-1", Code::OutOfRange),
        ("kill-grace-period: »1.5", Code::ScalarType),
        ("transport-encryption: [{name: n, type: »PEM}]", Code::NotOneOf),
        ("transport-encryption: [»{name: n}]", Code::Missing),
        ("transport-encryption: [{name: »'', type: TLS}]", Code::Empty),
        ("transport-encryption: »{name: n, type: TLS}", Code::Shape),
        ("shm-size: »0", Code::OutOfRange),
        ("ipc-mode: »SHARED", Code::NotOneOf),
    ];
    for (lines, code) in cases {
        // one names its own resources, and would be told so
        let resources = if lines.contains("resource-set") { "" } else { "cpus: 1\n" };
        assert_finding(&with("", "", &format!("{resources}{lines}")), code);
    }
    let shared = "ipc-mode: SHARE_PARENT\nshm-size: 3\ncpus: 1";
    assert_finding(&with("", "", shared).replace("sensor:", "»sensor:"), Code::Conflict);
}

#[test]
fn each_mistake_in_resources_is_found_where_it_is() {
    let cases = [
        ("ports: {»p: {env-key: P}}", Code::Missing),
        ("ports: {p: {port: »65536}}", Code::OutOfRange),
        ("ports: {p: {port: »http}}", Code::ScalarType),
        ("ports:\n  a: {port: 80}\n  »b: {port: 80}", Code::NotUnique),
        ("ports:\n  a: {port: 80}\n  »b: {port: 81, vip: {port: 80, prefix: a}}", Code::NotUnique),
        ("ports: {a: {port: 80, »vip: {prefix: a}}}", Code::NoEffect),
        ("ports: {a: {port: 80, »vip: {port: 0}}}", Code::NoEffect),
        ("ports: {a: {port: 80, vip: {port: »65536}}}", Code::OutOfRange),
        ("ports:\n  a: {port: 80, advertise: true}\n  »a: {port: 81}", Code::DuplicateKey),
        ("ports: {a: {port: 0, env-key: A, ranges: [»{begin: 9, end: 3}]}}", Code::OutOfRange),
        ("ports: {»a: {port: 0, env-key: A, vip: {port: 80}, ranges: [{begin: 1}]}}", Code::NoEffect),
        ("ports: {»a: {port: 80, ranges: [{begin: 1}]}}", Code::NoEffect),
        ("ports: {a: {port: 0, env-key: A, ranges: [{begin: »-1}]}}", Code::OutOfRange),
        ("ports: {a: {port: 0, env-key: A, ranges: »{begin: 1}}}", Code::Shape),
        ("ports: {»a: {port: 0}}", Code::UnseenPort),
        ("ports: {»a: {port: 0, advertise: true, vip: {port: 80}}}", Code::UnseenPort),
        ("volume: {path: »/data, type: ROOT, size: 1}", Code::Form),
        ("volume: {path: »a/b, type: ROOT, size: 1}", Code::Form),
        ("volume: {path: data, type: »TMP, size: 1}", Code::NotOneOf),
        ("volume: {path: »'.data', type: ROOT, size: 1}", Code::Form),
        ("volume: {path: data, type: ROOT, size: »0}", Code::OutOfRange),
        ("volume: {path: data, type: ROOT, size: »1.5}", Code::ScalarType),
        ("»volume: {path: data, type: ROOT}", Code::Missing),
        ("»volume: {path: data, type: ROOT, size: 1, profiles: [fast]}", Code::Conflict),
        ("volume: {path: data, type: MOUNT, size: 1, profiles: [»'a b']}", Code::Form),
        ("volume: {path: data, type: MOUNT, size: 1, profiles: [a, »a]}", Code::NotUnique),
        (
            "volume: {path: a, type: ROOT, size: 1}\n»volumes: {b: {path: b, type: ROOT, size: 1}}",
            Code::Conflict,
        ),
        (
            "volumes:\n  a: {path: a, type: ROOT, size: 1}\n  b: {path: »a, type: ROOT, size: 1}",
            Code::NotUnique,
        ),
        ("resource-limits: {cpus: »some}", Code::ScalarType),
        ("resource-limits: {cpus: »-1}", Code::ScalarType),
        ("resource-limits: {memory: »63}", Code::LimitBelowRequest),
        ("resource-limits: {cpus: »0.5}", Code::LimitBelowRequest),
        ("resource-limits: {»gpus: 1}", Code::UnknownKey),
        ("gpus: »0", Code::OutOfRange),
        ("gpus: »inf", Code::ScalarType),
    ];
    for (lines, code) in cases {
        assert_finding(&with("", "", &format!("cpus: 1\nmemory: 64\n{lines}")), code);
    }
    for wrong in ["cpus: »0", "cpus: »-1", "cpus: »many", "memory: »0", "memory: »0.5", "memory: »1GB"]
    {
        let code = if wrong.ends_with(['0', '1']) { Code::OutOfRange } else { Code::ScalarType };
        assert_finding(&with("", "", wrong), code);
    }
    assert_finding(&with("", "", "resource-limits: {memory: »3}\ncpus: 1"), Code::NoEffect);
}

#[test]
fn a_health_check_needs_all_of_its_keys() {
    let whole = "cmd: c, interval: 1, grace-period: 1, max-consecutive-failures: 1, delay: 0, timeout: 1";
    for part in whole.split(", ") {
        let rest: Vec<&str> = whole.split(", ").filter(|other| *other != part).collect();
        let text = with("", "", &format!("cpus: 1\n»health-check: {{{}}}", rest.join(", ")));
        assert_finding(&text, Code::Missing);
    }
    assert_eq!(found(&with("", "", &format!("cpus: 1\nhealth-check: {{{whole}}}"))), []);
}

#[test]
fn resources_beside_a_resource_set_have_no_effect_and_each_is_told() {
    let all = "resource-set: big
»cpus: 1
»gpus: 1
»memory: 3
»ports: {a: {port: 80}}
»volume: {path: data, type: ROOT, size: 1}
»resource-limits: {cpus: 3}";
    let text = with("", "resource-sets: {big: {cpus: 1}}", all);
    let places = marks(&text);
    assert_eq!(places.len(), 6);
    let expected: Vec<_> = places.into_iter().map(|(line, column)| (Code::NoEffect, line, column)).collect();
    assert_eq!(found(&text.replace('»', "")), expected);
}

#[test]
fn a_resource_set_without_name_is_the_tasks_own() {
    assert_eq!(found(&with("", "", "resource-set: ''\ncpus: 1")), []);
    assert_finding(
        &with("", "resource-sets: {»big: {cpus: 1}}", "resource-set: ''\ncpus: 1"),
        Code::NoEffect,
    );
}

#[test]
fn each_mistake_in_a_pod_is_found_where_it_is() {
    let cases = [
        ("»cont: 3", Code::IgnoredKey),
        ("»user: nobody", Code::IgnoredKey),
        ("image: »''", Code::Empty),
        ("»image:", Code::NoEffect),
        ("networks: {dcos: {labels: »x}}", Code::Form),
        ("networks: {dcos: {labels: »'  '}}", Code::Form),
        ("networks: {dcos: {labels: »'a:1,a:2'}}", Code::NotUnique),
        ("networks: {»own: {}}", Code::OtherNetwork),
        ("networks: {»mesos-bridge: {host-ports: [4040]}}", Code::NoEffect),
        ("networks: {mesos-bridge: {host-ports: [»-1], container-ports: [1]}}", Code::OutOfRange),
        ("networks: {dcos: {»mode: host}}", Code::UnknownKey),
        ("networks: »[dcos]", Code::Shape),
        ("networks: {»dcos: {host-ports: [1], container-ports: [2]}}", Code::Conflict),
        ("networks: {»mesos-bridge: {host-ports: [1, 3], container-ports: [2]}}", Code::Form),
        ("networks: {mesos-bridge: {host-ports: [»x], container-ports: [2]}}", Code::ScalarType),
        ("rlimits: {»RLIMIT_FILES: {soft: 1, hard: 2}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: 3, hard: 2}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: 3}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {hard: 3}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: 3, hard: -1}}", Code::Form),
        ("rlimits: {»rlimit_nofile: {soft: 1, hard: 2}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: -1, hard: 3}}", Code::Form),
        ("rlimits: {RLIMIT_NOFILE: {soft: »-2, hard: 3}}", Code::OutOfRange),
        ("uris: »http://host/file", Code::Shape),
        ("uris: [»'http://host/a file']", Code::Form),
        ("uris: [»'']", Code::Form),
        ("uris: [»{a: b}]", Code::Shape),
        ("placement: »'hostname:NEAR'", Code::Placement),
        ("placement: »'[[&quot;hostname&quot;]]'", Code::Placement),
        ("placement: »'hostname:MAX_PER'", Code::Placement),
        ("placement: »'hostname:LIKE:['", Code::Placement),
        ("placement: »[[hostname, UNIQUE]]", Code::Shape),
        ("secrets: {»a: {env-key: A}}", Code::Missing),
        ("secrets: {a: {secret: »/absolute/path}}", Code::Form),
        ("secrets: {a: {secret: /path, file: »../up down}}", Code::Form),
        ("secrets: {a: {secret: »''}}", Code::Empty),
        ("secrets: {a: {secret: /path, file: »/absolute}}", Code::Form),
        ("share-pid-namespace: »2", Code::ScalarType),
        ("allow-decommission: »maybe", Code::ScalarType),
        ("seccomp-unconfined: »1", Code::ScalarType),
        ("host-volumes: {a: {host-path: »etc, container-path: etc}}", Code::Form),
        ("host-volumes: {a: {host-path: /etc, container-path: »/etc}}", Code::Form),
        ("host-volumes: {a: {host-path: /etc, container-path: etc, mode: »RX}}", Code::NotOneOf),
        ("host-volumes: {»a: {container-path: etc}}", Code::Missing),
        ("external-volumes: {a: {type: »NFS, driver-name: pxd, container-path: p}}", Code::NotOneOf),
        ("external-volumes: {»a: {driver-name: pxd, container-path: p}}", Code::Missing),
        ("external-volumes: {»a: {type: DOCKER, container-path: p}}", Code::Missing),
        ("external-volumes: {»a: {type: DOCKER, driver-name: pxd}}", Code::Missing),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: d, container-path: p, volume-mode: »WO}}",
            Code::NotOneOf,
        ),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: d, container-path: p, driver-options: »'a=b=c'}}",
            Code::Form,
        ),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: pxd, container-path: p, driver-options: »a}}",
            Code::Form,
        ),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: pxd, container-path: p, driver-options: »name=b}}",
            Code::Conflict,
        ),
        ("ipc-mode: »SHARE_PARENT", Code::NotOneOf),
        ("ipc-mode: »private", Code::NotOneOf),
        ("shm-size: »0", Code::OutOfRange),
        ("resource-sets: {»idle: {}}", Code::Empty),
        ("resource-sets: {»idle: {cpus: 1}}", Code::NoEffect),
        ("volume: {path: »'', type: ROOT, size: 1}", Code::Empty),
        (
            "volume: {path: a, type: ROOT, size: 1}\nvolumes: {b: {path: »a, type: ROOT, size: 1}}",
            Code::NotUnique,
        ),
    ];
    for (lines, code) in cases {
        // an empty set is used by nobody, but that is not what is wrong with it
        let task = if lines.contains("»idle: {}") { "resource-set: idle" } else { "cpus: 1" };
        assert_finding(&with("", lines, task), code);
    }
    let unknown = "resource-sets: {idle: {»mem: 3, memory: 3}}";
    assert_finding(&with("", unknown, "resource-set: idle"), Code::UnknownKey);
    assert_finding(
        &with("", "seccomp-unconfined: true\nseccomp-profile-name: p", "cpus: 1")
            .replace("  station", "  »station"),
        Code::Conflict,
    );
}

#[test]
fn each_mistake_in_the_root_and_in_plans_is_found_where_it_is() {
    let steps =
        |steps: &str| format!("plans: {{deploy: {{phases: {{one: {{pod: station, steps: {steps}}}}}}}}}");
    let cases = [
        ("»principal: me".to_owned(), Code::UnknownKey),
        ("scheduler: {»role: me}".to_owned(), Code::UnknownKey),
        ("scheduler: »on".to_owned(), Code::Shape),
        ("»plans: {update: {phases: {one: {pod: station}}}}".to_owned(), Code::Plan),
        (
            "plans: {deploy: {phases: {one: {pod: station}}}, »recovery: {phases: {one: {pod: station}}}}"
                .to_owned(),
            Code::Plan,
        ),
        ("plans: {deploy: {strategy: »canary, phases: {one: {pod: station}}}}".to_owned(), Code::NotOneOf),
        ("»api-port: 80".to_owned(), Code::UnknownKey),
        ("»region: r1".to_owned(), Code::UnknownKey),
        ("web-url: »[http://host]".to_owned(), Code::Shape),
        ("plans: {»deploy: {strategy: serial}}".to_owned(), Code::Missing),
        ("»plans: {}".to_owned(), Code::Plan),
        ("plans: {deploy: {»steps: [], phases: {one: {pod: station}}}}".to_owned(), Code::UnknownKey),
        ("plans: {deploy: {»phases: {}}}".to_owned(), Code::Empty),
        ("plans: {deploy: {phases: {»one: {}}}}".to_owned(), Code::Missing),
        ("plans: {deploy: {phases: {one: {pod: »statoin}}}}".to_owned(), Code::NoSuch),
        ("plans: {deploy: {phases: {one: {pod: station, strategy: »random}}}}".to_owned(), Code::NotOneOf),
        (steps("[default: [[»server]]]"), Code::NoSuch),
        (steps("[default: [»sensor]]"), Code::Shape),
        (steps("[default: »sensor]"), Code::Shape),
        (steps("[»sensor]"), Code::Shape),
        (steps("[»{0: [[sensor]], 1: [[sensor]]}]"), Code::Shape),
        (steps("[0: [[sensor]], 1: [[sensor]], »0: [[sensor]]]"), Code::DuplicateKey),
        (steps("[default: [[sensor]], »one: [[sensor]]]"), Code::Form),
        (steps("[default: [[sensor], »[]]]"), Code::NoEffect),
        (steps("[default: [[sensor]], »2: [[sensor]]]"), Code::NoEffect),
        (steps("[0: [[sensor]]]").replace("one:", "»one:"), Code::Plan),
    ];
    for (lines, code) in cases {
        assert_finding(&with(&lines, "", "cpus: 1"), code);
    }
    assert_finding(&SMALL.replace("name: weather", "name: »a__b"), Code::Form);
    assert_finding(&SMALL.replace("name: weather", &format!("name: »{}", "a".repeat(64))), Code::LongName);
    for cut in ["name: weather\n", "name: ''\n"] {
        let text = SMALL.replace("name: weather\n", cut);
        let (line, column) = if cut.contains("''") { (2, 7) } else { (1, 1) };
        let code = if cut.contains("''") { Code::Empty } else { Code::Missing };
        let text = if cut.contains("''") { text } else { text.replace(cut, "") };
        assert_eq!(found(&text), [(code, line, column)], "{text}");
    }
    assert_finding(&SMALL.replace("RUNNING", "»WALKING"), Code::NotOneOf);
    assert_finding(&SMALL.replace("RUNNING", "»UNKNOWN"), Code::NotOneOf);
    assert_finding(&SMALL.replace("goal: RUNNING", "goal: »''"), Code::Empty);
    assert_finding(&SMALL.replace("cmd: ./sensor", "cmd: »''"), Code::Empty);
    assert_finding(&SMALL.replace("cmd: ./sensor, ", "").replace("sensor:", "»sensor:"), Code::Missing);
    assert_finding(&SMALL.replace("goal: RUNNING, ", "").replace("sensor:", "»sensor:"), Code::Missing);
    assert_finding(&SMALL.replace("RUNNING", "»FINISHED"), Code::OldSpelling);
    assert_finding(&SMALL.replace("cpus: 0.5, memory: 64", "").replace("sensor:", "»sensor:"), Code::Empty);
    assert_finding(&SMALL.replace("count: 2", "count: »-1"), Code::OutOfRange);
    assert_finding(&SMALL.replace("count: 2", "count: »two"), Code::ScalarType);
    assert_finding(&SMALL.replace("    count: 2\n", "").replace("station:", "»station:"), Code::Missing);
    assert_finding(&SMALL.replace("count: 2", "count: »1000000"), Code::OutOfRange);
    for name in ["a/b", "'a b'", "a__b", "''"] {
        assert_finding(&SMALL.replace("station:", &format!("»{name}:")), Code::Form);
        assert_finding(&SMALL.replace("sensor:", &format!("»{name}:")), Code::Form);
    }
    let long = format!("»{}:", "a".repeat(60));
    assert_finding(&SMALL.replace("sensor:", &long), Code::LongName);
    assert_finding("name: weather\n»pods: {}", Code::Empty);
    assert_finding("name: weather\npods: {a: {count: 1, »tasks: {}}}", Code::Empty);
}

#[test]
fn tasks_that_share_a_resource_set_cannot_be_in_one_step() {
    let text = "
name: weather
pods:
  »station:
    count: 1
    resource-sets:
      both: {cpus: 1}
    tasks:
      init: {goal: ONCE, cmd: a, resource-set: both}
      main: {goal: RUNNING, cmd: b, resource-set: both}
";
    assert_finding(text, Code::StepConflict);
    let apart = format!(
        "{text}plans: {{deploy: {{phases: {{p: {{pod: station, steps: [default: [[init], [main]]]}}}}}}}}"
    );
    assert_eq!(found(&apart.replace('»', "")), []);
    let together = apart.replace('»', "").replace("[[init], [main]]", "[»[init, main]]");
    assert_finding(&together, Code::StepConflict);
    let names = "discovery: {prefix: p}, cpus: 1";
    let same_name =
        text.replace("resource-set: both", names).replace("    resource-sets:\n      both: {cpus: 1}\n", "");
    assert_finding(&same_name, Code::StepConflict);
}

#[test]
fn what_no_plan_launches_is_told() {
    let plan = |steps: &str| format!("plans: {{deploy: {{phases: {{one: {{pod: station{steps}}}}}}}}}");
    let text = with(&plan(""), "", "cpus: 1")
        .replace("pods:\n", "pods:\n  »other: {count: 1, tasks: {t: {goal: ONCE, cmd: c, cpus: 1}}}\n");
    assert_finding(&text, Code::NoEffect);
    let two = "cpus: 1\n      »helper: {goal: RUNNING, cmd: help, cpus: 1}";
    let task = |plans: &str| {
        with(plans, "", "").replace("cmd: ./sensor\n", &format!("cmd: ./sensor\n        {two}\n"))
    };
    assert_finding(&task(&plan(", steps: [default: [[sensor]]]")), Code::NoEffect);
    // a plan that only operators start is one, too
    let help = "help: {phases: {one: {pod: station, steps: [default: [[helper]]]}}}";
    let plans = plan(", steps: [default: [[sensor]]]").replace("{deploy", &format!("{{{help}, deploy"));
    assert_eq!(found(&task(&plans).replace('»', "")), []);
}

#[test]
fn a_port_of_the_agent_that_two_sets_want_is_never_there() {
    let text = |network: &str, ports: [&str; 2]| {
        format!(
            "name: weather\npods:\n  station:\n    count: 1\n{network}    tasks:\n      a: {{goal: RUNNING, cmd: c, ports: \
             {{p: {{port: {}}}}}}}\n      »b: {{goal: RUNNING, cmd: c, ports: {{q: {{port: {}}}}}}}\n",
            ports[0], ports[1]
        )
    };
    assert_finding(&text("", ["80", "80"]), Code::NeverPlaced);
    assert_eq!(found(&text("", ["80", "81"]).replace('»', "")), []);
    assert_eq!(found(&text("    networks: {dcos: }\n", ["80", "80"]).replace('»', "")), []);
}

#[test]
fn pods_that_share_the_prefix_of_their_variables_are_told() {
    let pods = |names: [&str; 3]| {
        let pod =
            |name: &str| format!("  {name}: {{count: 1, tasks: {{t: {{goal: ONCE, cmd: c, cpus: 1}}}}}}\n");
        format!("name: weather\npods:\n{}", names.map(pod).concat())
    };
    assert_finding(&pods(["a", "»a-b", "c"]), Code::SharedPrefix);
    assert_finding(&pods(["»a-b", "c", "a"]), Code::SharedPrefix);
    assert_finding(&pods(["a-b", "»a_b", "c"]), Code::SharedPrefix);
    assert_finding(&pods(["x", "»all", "c"]), Code::SharedPrefix);
    assert_eq!(found(&pods(["a", "ab", "b-a"])), []);
}

#[test]
fn a_file_with_nothing_but_refusals_and_warnings_can_be_read() {
    let text = with("", "placement: 'hostname:NEAR'\nuser: me", "cpus: 2\nresource-limits: {cpus: 1}");
    let (service, found) = parse_with(&text, &[]).expect("a service");
    let codes: Vec<_> = found.iter().map(|f| (f.code, f.severity, f.code.is_refusal())).collect();
    let expected = [
        (Code::Placement, Severity::Error, true),
        (Code::IgnoredKey, Severity::Warning, false),
        (Code::LimitBelowRequest, Severity::Error, true),
    ];
    assert_eq!(codes, expected);
    let placement = service.spec.pods[0].placement.as_ref().expect("a placement");
    assert!(placement.rules.is_empty() && placement.error.is_some());
}

#[test]
fn names_that_the_whole_service_sees_are_unique() {
    let two = |lines: &str| {
        format!(
            "name: weather\npods:\n  a:\n    count: 1\n    tasks:\n      t: {{goal: RUNNING, cmd: c, {0}}}\n  b:\n    \
             count: 1\n    tasks:\n      t: {{goal: RUNNING, cmd: c, {1}}}\n",
            lines.replace('»', ""),
            lines
        )
    };
    assert_finding(&two("ports: {»p: {port: 80, advertise: true}}"), Code::NotUnique);
    assert_finding(&two("cpus: 1, discovery: {prefix: »p}"), Code::NotUnique);
    assert_eq!(found(&two("ports: {p: {port: 80}}")), []);
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_the_order_of_their_places() {
    let text = with("", "image: ''", "cpus: 0\nmemory: many\n»typo: 1").replace('»', "");
    let codes: Vec<Code> = found(&text).into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, [Code::Empty, Code::OutOfRange, Code::ScalarType, Code::UnknownKey]);
}
