//! The rules of the service language, each shown by a file that breaks it.

use super::*;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<(Service, Vec<Diagnostic>), Vec<Diagnostic>> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let template = |name: &str| match name {
        "there.conf" => Ok("port={{PORT}}\n".to_owned()),
        "empty.conf" => Ok(String::new()),
        _ => Err("no such file".to_owned()),
    };
    parse("svc.yml", text, &Context { template: &template, env: &env })
}

fn service(text: &str) -> Service {
    match parse_with(text, &[]) {
        Ok((service, _)) => service,
        Err(found) => panic!("{}", found.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")),
    }
}

const SMALL: &str = "
name: weather
pods:
  station:
    count: 2
    tasks:
      sensor: {goal: RUNNING, cmd: ./sensor, cpus: 0.5, memory: 64}
";

#[test]
fn a_small_service_gets_the_defaults_of_the_language() {
    let Service { spec, plans } = service(SMALL);
    assert_eq!((spec.name.as_str(), spec.principal.as_str()), ("weather", "weather-principal"));
    assert_eq!((spec.user.as_str(), spec.zookeeper.as_str()), ("root", "master.mesos:2181"));
    assert_eq!(plans, []);
    let pod = &spec.pods[0];
    assert_eq!((pod.pod_type.as_str(), pod.count, pod.pre_reserved_role.as_str()), ("station", 2, "*"));
    let task = &pod.tasks[0];
    assert_eq!((task.goal, task.essential, task.cmd.as_str()), (Goal::Running, true, "./sensor"));
    assert_eq!(task.resource_set.id, "sensor-resource-set");
    assert_eq!((task.resource_set.cpus, task.resource_set.memory), (Some(0.5), Some(64.0)));
}

/// What is found in a text, in which `»` marks the place where something must be found.
fn found(text: &str) -> Vec<(Code, usize, usize)> {
    let found = match parse_with(text, &[]) {
        Ok((_, warnings)) => warnings,
        Err(found) => found,
    };
    found.into_iter().map(|d| (d.code, d.line, d.column)).collect()
}

/// `marked` must give exactly one finding, `code`, at the mark.
fn assert_finding(marked: &str, code: Code) {
    let at = marked.find('»').unwrap_or_else(|| panic!("no mark in {marked}"));
    let before = &marked[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let text = marked.replace('»', "");
    assert_eq!(found(&text), [(code, line, column)], "{marked}");
}

fn indented(text: &str, by: usize) -> String {
    text.lines().flat_map(|line| [" ".repeat(by).as_str(), line, "\n"].map(str::to_owned)).collect()
}

/// A service with these lines in its root, in its pod and in its task.
fn with(root: &str, pod: &str, task: &str) -> String {
    let task = indented(task, 8);
    let pod = indented(pod, 4);
    format!(
        "name: weather\n{root}\npods:\n  station:\n    count: 2\n{pod}    tasks:\n      sensor:\n        \
         goal: RUNNING\n        cmd: ./sensor\n{task}"
    )
}

#[test]
fn each_mistake_in_a_task_is_found_where_it_is() {
    let resources = "cpus: 1\nmemory: 64\n";
    let cases = [
        ("»health-checks: {}", Code::UnknownKey),
        ("essential: »maybe", Code::ScalarType),
        ("env: »[a]", Code::Shape),
        ("env: {A: »[1]}", Code::Shape),
        ("env:\n  A: 1\n  »A: 2", Code::DuplicateKey),
        ("configs: {»c: {dest: d}}", Code::Missing),
        ("configs: {c: {»template: , dest: d}}", Code::Missing),
        ("configs: {c: {template: »gone.conf, dest: d}}", Code::ConfigTemplate),
        ("configs: {c: {template: »empty.conf, dest: d}}", Code::ConfigTemplate),
        ("configs: {c: {template: there.conf, dest: »''}}", Code::Empty),
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
        ("labels: »'a'", Code::Form),
        ("labels: »'a:1,a:2'", Code::NotUnique),
        ("kill-grace-period: »3601", Code::OutOfRange),
        ("kill-grace-period: »-1", Code::OutOfRange),
        ("transport-encryption: [{name: n, type: »PEM}]", Code::NotOneOf),
        ("transport-encryption: [»{name: n}]", Code::Missing),
        ("ipc-mode: »SHARED", Code::NotOneOf),
        ("ports: {»p: {env-key: P}}", Code::Missing),
        ("ports: {p: {port: »65536}}", Code::OutOfRange),
        ("ports: {p: {port: »http}}", Code::ScalarType),
        ("ports:\n  a: {port: 80}\n  »b: {port: 80}", Code::NotUnique),
        ("ports:\n  a: {port: 80}\n  »b: {port: 81, vip: {port: 80, prefix: a}}", Code::NotUnique),
        ("ports: {a: {port: 80, »vip: {prefix: a}}}", Code::Missing),
        ("ports:\n  a: {port: 80, advertise: true}\n  »a: {port: 81}", Code::DuplicateKey),
        ("ports: {a: {port: 0, env-key: A, ranges: [»{begin: 9, end: 3}]}}", Code::OutOfRange),
        ("ports: {»a: {port: 0, vip: {port: 80}, ranges: [{begin: 1}]}}", Code::NoEffect),
        ("ports: {»a: {port: 0}}", Code::UnseenPort),
        ("volume: {path: »/data, type: ROOT, size: 1}", Code::Form),
        ("volume: {path: »a/b, type: ROOT, size: 1}", Code::Form),
        ("volume: {path: data, type: »TMP, size: 1}", Code::NotOneOf),
        ("volume: {path: data, type: ROOT, size: »0}", Code::OutOfRange),
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
        ("resource-limits: {memory: »63}", Code::LimitBelowRequest),
        ("gpus: »0", Code::OutOfRange),
    ];
    for (lines, code) in cases {
        // these name their own resources, and would be told so
        let resources = if lines.contains("resource-set") { "" } else { resources };
        assert_finding(&with("", "", &format!("{resources}{lines}")), code);
    }
}

#[test]
fn each_mistake_in_a_pod_is_found_where_it_is() {
    let cases = [
        ("»cont: 3", Code::IgnoredKey),
        ("»user: nobody", Code::IgnoredKey),
        ("image: »''", Code::Empty),
        ("»image:", Code::NoEffect),
        ("networks: {dcos: {labels: »x}}", Code::Form),
        ("networks: {»dcos: {host-ports: [1], container-ports: [2]}}", Code::Conflict),
        ("networks: {»mesos-bridge: {host-ports: [1, 3], container-ports: [2]}}", Code::Form),
        ("networks: {mesos-bridge: {host-ports: [»x], container-ports: [2]}}", Code::ScalarType),
        ("rlimits: {»RLIMIT_FILES: {soft: 1, hard: 2}}", Code::NotOneOf),
        ("rlimits: {»RLIMIT_NOFILE: {soft: 3, hard: 2}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: 3}}", Code::Form),
        ("rlimits: {»RLIMIT_NOFILE: {soft: -1, hard: 3}}", Code::Form),
        ("rlimits: {RLIMIT_NOFILE: {soft: »-2, hard: 3}}", Code::OutOfRange),
        ("uris: »http://host/file", Code::Shape),
        ("uris: [»'http://host/a file']", Code::Form),
        ("placement: »'hostname:NEAR'", Code::Placement),
        ("placement: »'[[&quot;hostname&quot;]]'", Code::Placement),
        ("secrets: {»a: {env-key: A}}", Code::Missing),
        ("secrets: {a: {secret: »/absolute/path}}", Code::Form),
        ("secrets: {a: {secret: /path, file: »../up down}}", Code::Form),
        ("share-pid-namespace: »2", Code::ScalarType),
        ("host-volumes: {a: {host-path: »etc, container-path: etc}}", Code::Form),
        ("host-volumes: {a: {host-path: /etc, container-path: »/etc}}", Code::Form),
        ("host-volumes: {a: {host-path: /etc, container-path: etc, mode: »RX}}", Code::NotOneOf),
        ("external-volumes: {a: {type: »NFS, driver-name: pxd, container-path: p}}", Code::NotOneOf),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: pxd, container-path: p, driver-options: »a}}",
            Code::Form,
        ),
        (
            "external-volumes: {a: {type: DOCKER, driver-name: pxd, container-path: p, driver-options: »name=b}}",
            Code::Conflict,
        ),
        ("ipc-mode: »SHARE_PARENT", Code::NotOneOf),
        ("shm-size: »0", Code::OutOfRange),
        ("resource-sets: {»idle: {}}", Code::Empty),
        ("resource-sets: {idle: {»mem: 3, memory: 3}}", Code::UnknownKey),
    ];
    for (lines, code) in cases {
        assert_finding(&with("", lines, "cpus: 1"), code);
    }
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
        ("plans: {»deploy: {strategy: serial}}".to_owned(), Code::Missing),
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
        (steps("[0: [[sensor]]]").replace("one:", "»one:"), Code::Plan),
    ];
    for (lines, code) in cases {
        assert_finding(&with(&lines, "", "cpus: 1"), code);
    }
    assert_finding(&SMALL.replace("name: weather", "name: »a__b"), Code::Form);
    assert_finding(&SMALL.replace("name: weather", &format!("name: »{}", "a".repeat(64))), Code::OutOfRange);
    assert_finding(&SMALL.replace("RUNNING", "»WALKING"), Code::NotOneOf);
    assert_finding(&SMALL.replace("RUNNING", "»FINISHED"), Code::OldSpelling);
    assert_finding(&SMALL.replace("cpus: 0.5, memory: 64", "").replace("sensor:", "»sensor:"), Code::Empty);
    assert_finding(&SMALL.replace("count: 2", "count: »-1"), Code::OutOfRange);
    assert_finding(&SMALL.replace("count: 2", "count: »two"), Code::ScalarType);
    assert_finding(&SMALL.replace("    count: 2\n", "").replace("station:", "»station:"), Code::Missing);
    assert_finding(&SMALL.replace("station:", "»a/b:"), Code::Form);
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
    assert_finding(text, Code::Plan);
    let apart = format!(
        "{text}plans: {{deploy: {{phases: {{p: {{pod: station, steps: [default: [[init], [main]]]}}}}}}}}"
    );
    assert_eq!(found(&apart.replace('»', "")), []);
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

#[test]
fn text_that_is_not_yaml_is_an_error_with_a_place() {
    let bomb: String = (1..9)
        .map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")))
        .fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, line| all + &line);
    let cases = [
        ("", Code::Document),
        ("name: a\n---\nname: b\n", Code::Document),
        ("name: [a\n", Code::Syntax),
        ("name: \"a\n", Code::Syntax),
        ("name: *a\n", Code::Syntax),
        ("name: &a [*a]\n", Code::Syntax),
        ("- a\n", Code::Shape),
        (&"[".repeat(100_000), Code::Limit),
        (&"x".repeat(2 << 20), Code::Limit),
        (&bomb, Code::Limit),
    ];
    for (text, code) in cases {
        let found = found(text);
        assert_eq!(found.first().map(|(code, ..)| *code), Some(code), "{text:.80} {found:?}");
    }
}

#[test]
fn a_file_of_nothing_but_mistakes_is_answered_with_the_first_hundred() {
    let lines: Vec<String> = (0..5000).map(|i| format!("typo{i}: 1")).collect();
    let text = lines.join("\n");
    let found = found(&text);
    assert_eq!((found.len(), found[100].0), (101, Code::TooMany));
}

#[test]
fn a_variable_of_the_scheduler_reaches_the_tasks_that_its_name_says() {
    let text = with("", "", "cpus: 1\nenv: {KEPT: '1', ALL: own, POD: own, EMPTY: }")
        .replace("station", "my-station");
    let env = [
        ("TASKCFG_ALL_ALL", "all"),
        ("TASKCFG_ALL_POD", "all"),
        ("TASKCFG_MY_STATION_POD", "pod"),
        ("TASKCFG_OTHER_X", "no"),
        ("TASKCFG_ALL_", "no"),
    ];
    let (service, _) = parse_with(&text, &env).expect("a good service");
    let env = &service.spec.pods[0].tasks[0].env;
    let env: Vec<_> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(env, [("ALL", "all"), ("EMPTY", ""), ("KEPT", "1"), ("POD", "pod")]);
}

#[test]
fn scalars_are_read_as_the_sdk_reads_them() {
    let text = with(
        "",
        "",
        "cpus: '0.5'\nmemory: 1_024\nessential: 'False'\nenv: {A: 0755, B: 1.10, C: on, D: 'null'}",
    );
    let task = &service(&text.replace("count: 2", "count: '2'")).spec.pods[0].tasks[0];
    assert_eq!(
        (task.resource_set.cpus, task.resource_set.memory, task.essential),
        (Some(0.5), Some(1024.0), false)
    );
    let env: Vec<_> = task.env.values().map(String::as_str).collect();
    assert_eq!(env, ["0755", "1.10", "on", "null"]);
}

#[test]
fn a_whole_pod_is_read_key_by_key() {
    let pod = "
image: example/weather:1
networks: {mesos-bridge: {host-ports: [4040], container-ports: [40], labels: 'a:1,b:2:3'}}
rlimits: {RLIMIT_NOFILE: {soft: 1, hard: 2}, RLIMIT_AS: {soft: -1, hard: -1}, RLIMIT_CORE: }
uris: [https://example.org/a.tgz]
placement: '[[\"hostname\", \"UNIQUE\"]]'
volume: {path: shared, type: ROOT, size: 10}
volumes: {more: {path: disk, type: MOUNT, size: 20, profiles: [fast]}}
pre-reserved-role: slave_public
secrets:
  a: {secret: weather/a}
  b: {secret: weather/b, env-key: B}
share-pid-namespace: true
allow-decommission: true
host-volumes: {etc: {host-path: /etc, container-path: host-etc, mode: RO}}
external-volumes:
  x: {type: DOCKER, driver-name: pxd, container-path: p, driver-options: 'shared=true;size=1;', volume-mode: RO}
seccomp-profile-name: strict
ipc-mode: PRIVATE
shm-size: 64
resource-sets:
  big:
    cpus: 2
    gpus: 1
    memory: 100
    ports: {http: {port: 8080, vip: {port: 80}, advertise: true}, ui: {port: 0, env-key: UI, ranges: [{end: 9}, {begin: 7, end: }]}}
    resource-limits: {cpus: unlimited, memory: 200}";
    let pod = service(&with("", pod.trim_start(), "resource-set: big")).spec.pods.remove(0);
    let network = NetworkSpec {
        name: "mesos-bridge".to_owned(),
        port_mappings: vec![(4040, 40), (8080, 8080)],
        labels: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2:3".to_owned())],
    };
    assert_eq!(pod.networks, [network]);
    let bounds: Vec<_> = pod.rlimits.iter().map(|r| r.bounds).collect();
    assert_eq!(bounds, [Some((1, 2)), None, None]);
    let volumes: Vec<_> = pod.volumes.iter().map(|v| (v.path.as_str(), v.kind, v.size)).collect();
    assert_eq!(volumes, [("shared", VolumeKind::Root, 10.0), ("disk", VolumeKind::Mount, 20.0)]);
    let secrets: Vec<_> = pod.secrets.iter().map(|s| (s.env_key.as_deref(), s.file.as_deref())).collect();
    assert_eq!(secrets, [(None, Some("weather/a")), (Some("B"), None)]);
    assert!(pod.share_pid_namespace && pod.allow_decommission && !pod.seccomp_unconfined);
    assert!(pod.host_volumes[0].read_only && pod.external_volumes[0].read_only);
    assert_eq!(pod.external_volumes[0].driver_options.len(), 2);
    assert_eq!(pod.placement.map(|p| p.rules.len()), Some(1));
    assert_eq!((pod.ipc_mode.as_deref(), pod.shm_size), (Some("PRIVATE"), Some(64)));
    let set = &pod.tasks[0].resource_set;
    assert_eq!((set.id.as_str(), set.cpus, set.gpus, set.memory), ("big", Some(2.0), Some(1.0), Some(100.0)));
    assert_eq!(set.limits.cpus, Some(Limit::Unlimited));
    assert_eq!(set.limits.memory, Some(Limit::Value(200.0)));
    assert_eq!(set.ports[0].vip, Some(VipSpec { prefix: "http".to_owned(), port: 80 }));
    assert_eq!(set.ports[1].ranges, [(0, 9), (7, 65535)]);
}

#[test]
fn plans_keep_their_order_and_strategies() {
    let plans = "
plans:
  deploy:
    phases:
      first: {pod: station, strategy: canary, steps: [0: [[sensor]], default: [[sensor], [sensor]]]}
      second: {pod: station, strategy: parallel}
  later: {strategy: parallel, phases: {one: {pod: station, strategy: parallel-canary}}}";
    let plans = service(&with(plans, "", "cpus: 1")).plans;
    assert_eq!(plans.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["deploy", "later"]);
    assert_eq!((plans[0].strategy, plans[1].strategy), (PlanStrategy::Serial, PlanStrategy::Parallel));
    let strategies: Vec<_> = plans[0].phases.iter().map(|p| p.strategy).collect();
    assert_eq!(strategies, [PhaseStrategy::SerialCanary, PhaseStrategy::Parallel]);
    let steps = plans[0].phases[0].steps.as_ref().expect("steps");
    assert_eq!((steps.by_index[&0].len(), steps.default.as_ref().map(Vec::len)), (1, Some(2)));
    assert_eq!(plans[0].phases[1].steps, None);
}

#[test]
fn the_rendered_finding_shows_place_source_expectation_and_help() {
    let text = SMALL.replace("0.5", "0");
    let found = parse_with(&text, &[]).expect_err("cpus must be more than 0");
    let expected = "\
svc.yml:7:52: error[S010]: `pods.station.tasks.sensor.cpus` must be more than 0, and this is 0
  |
7 |       sensor: {goal: RUNNING, cmd: ./sensor, cpus: 0, memory: 64}
  |                                                    ^ more than 0
  |
  = help: leave the key out to reserve none of it";
    assert_eq!(found[0].render(&text, false), expected);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*") {
        let _ = parse_with(&text, &[]);
    }

    #[test]
    fn no_text_made_of_the_languages_own_pieces_makes_the_parser_panic(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)
    ) {
        if let Err(found) = parse_with(&pieces.concat(), &[]) {
            for diagnostic in found {
                let _ = diagnostic.render(&pieces.concat(), true);
            }
        }
    }
}

const PIECES: &[&str] = &[
    "name: a\n",
    "pods:\n",
    "  b:\n",
    "    count: 1\n",
    "    tasks:\n",
    "      c:\n",
    "        goal: RUNNING\n",
    "        cmd: é\n",
    "        cpus: 1\n",
    "        ports: {p: {port: 0}}\n",
    "    placement: 'a:b'\n",
    "plans:\n",
    "  deploy:\n",
    "    phases:\n",
    "      x:\n",
    "        pod: b\n",
    "        steps:\n",
    "          - default: [[c]]\n",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "\"",
    "'",
    "|\n",
    ">\n",
    "!!str ",
    "~",
    "\t",
    "\u{feff}",
    "\u{1f4a5}",
    "<<: ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "#",
    "? ",
];
