//! The service language, file by file.

mod bounds;
mod rules;

use super::*;
use crate::finding::Code;
use std::sync::LazyLock;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<(Service, Vec<Finding>), Vec<Finding>> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let template = |name: &str| match name {
        "there.conf" => Ok("port={{PORT}}\n".to_owned()),
        "empty.conf" => Ok(String::new()),
        "bad.conf" => Ok("{{#A}}".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let parsed = parse(&Source::new("svc.yml", text), &Context { template: &template, env: &env });
    agrees_with_schema(text, &parsed);
    let found = match &parsed {
        Ok((_, found)) | Err(found) => found,
    };
    for finding in found {
        let mends = finding.help.is_some() || finding.expected.is_some();
        assert!(mends, "a finding without a way to mend it: {finding}");
    }
    parsed
}

/// The schema for editors must take every file that the parser takes, and refuse every one in which a value is wrong by
/// itself.
fn agrees_with_schema(text: &str, parsed: &Result<(Service, Vec<Finding>), Vec<Finding>>) {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema()).expect("a schema"));
    let source = Source::new("svc.yml", text);
    let findings = findings::Findings::new(&source);
    let root = yaml::read(&source.text, &findings);
    // what is not YAML, or has keys twice, is no matter of a schema
    let Some(root) = root.filter(|_| findings.no_errors()) else { return };
    let valid = VALIDATOR.is_valid(&to_json(&root));
    match parsed {
        Ok(_) => {
            let wrong: Vec<String> = VALIDATOR
                .iter_errors(&to_json(&root))
                .map(|e| format!("{} {e}", e.instance_path()))
                .collect();
            assert!(valid, "{text}\n{wrong:?}");
        }
        Err(found) => {
            let by_itself = found.iter().find(|f| is_wrong_by_itself(f));
            assert!(!valid || by_itself.is_none(), "{text}\n{by_itself:?}");
        }
    }
}

/// Whether a finding is about one value alone.
fn is_wrong_by_itself(finding: &Finding) -> bool {
    let of_several = [
        "do not fit",
        "host ports and",
        "the range begins",
        "reserves no resources",
        "a secret's file cannot be",
        "has no phases",
    ];
    let by_itself = matches!(
        finding.code,
        Code::UnknownKey
            | Code::Missing
            | Code::Shape
            | Code::ScalarType
            | Code::OutOfRange
            | Code::NotOneOf
            | Code::Form
            | Code::Empty
    );
    by_itself && !of_several.iter().any(|text| finding.message.contains(text))
}

/// A node as other YAML parsers read it.
fn to_json(node: &yaml::Node) -> serde_json::Value {
    match &node.value {
        _ if node.is_null() => serde_json::Value::Null,
        yaml::Value::Scalar { text, plain: true } => match text.as_str() {
            "true" | "True" | "TRUE" => true.into(),
            "false" | "False" | "FALSE" => false.into(),
            text => match serde_json::from_str(text) {
                Ok(serde_json::Value::Number(number)) => number.into(),
                _ => text.into(),
            },
        },
        yaml::Value::Scalar { text, .. } => text.as_str().into(),
        yaml::Value::List(items) => items.iter().map(to_json).collect(),
        yaml::Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text.clone(), to_json(value))).collect()
        }
    }
}

fn service(text: &str) -> Service {
    match parse_with(text, &[]) {
        Ok((service, _)) => service,
        Err(found) => panic!("{}", found.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")),
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
    let placed = |finding: Finding| {
        let place = finding.place().expect("all findings of a service file have a place");
        (finding.code, place.line, place.column)
    };
    found.into_iter().map(placed).collect()
}

/// Line and column of each `»`, which are not counted themselves.
fn marks(marked: &str) -> Vec<(usize, usize)> {
    let of_line = |(line, text): (usize, &str)| {
        let marks = text.chars().enumerate().filter(|(_, c)| *c == '»');
        marks.enumerate().map(|(before, (at, _))| (line + 1, at + 1 - before)).collect::<Vec<_>>()
    };
    marked.lines().enumerate().flat_map(of_line).collect()
}

/// `marked` must give exactly one finding, `code`, at the mark.
fn assert_finding(marked: &str, code: Code) {
    let [(line, column)] = marks(marked)[..] else { panic!("not one mark in {marked}") };
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
      third: {pod: station, steps: [0: [[], [sensor]], default: [[]]]}
  later: {strategy: parallel, phases: {one: {pod: station, strategy: parallel-canary}}}";
    let plans = service(&with(plans, "", "cpus: 1")).plans;
    assert_eq!(plans.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["deploy", "later"]);
    assert_eq!((plans[0].strategy, plans[1].strategy), (PlanStrategy::Serial, PlanStrategy::Parallel));
    let strategies: Vec<_> = plans[0].phases.iter().map(|p| p.strategy).collect();
    assert_eq!(strategies[..2], [PhaseStrategy::SerialCanary, PhaseStrategy::Parallel]);
    let steps = plans[0].phases[0].steps.as_ref().expect("steps");
    assert_eq!((steps.by_index[&0].len(), steps.default.as_ref().map(Vec::len)), (1, Some(2)));
    assert_eq!(plans[0].phases[1].steps, None);
    let steps = plans[0].phases[2].steps.as_ref().expect("steps");
    assert_eq!((steps.by_index[&0].len(), steps.default.as_deref()), (1, Some(&[][..])), "no tasks, no step");
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
    assert_eq!(found[0].render(false), expected);
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
            for finding in found {
                let _ = finding.render(true);
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
