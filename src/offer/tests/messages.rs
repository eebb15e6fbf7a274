//! What a service file says reaches the messages that launch its tasks.

use super::*;

/// The message of `pod-1-server` in a pod with these lines, and its executor's.
fn launched(lines: &str) -> (Value, Value) {
    let mut case = Case::new(pod_of(lines));
    message(&case.launch(&agent()), "pod-1-server")
}

/// Pod lines around a task `server` with these lines.
fn lines(pod: &str, task: &str) -> String {
    let indented = |text: &str, by: usize| {
        text.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect::<Vec<_>>().join("\n")
    };
    format!(
        "{}\n    tasks:\n      server:\n        goal: RUNNING\n        cmd: serve\n        cpus: 1\n{}",
        indented(pod, 4),
        indented(task, 8)
    )
}

fn variable(task: &Value, pointer: &str, name: &str) -> Option<String> {
    let variables = task.pointer(pointer)?.pointer("/environment/variables")?.as_array()?;
    Some(variables.iter().find(|v| v["name"] == name)?["value"].as_str()?.to_owned())
}

#[test]
fn settings_of_a_pod_are_in_the_containers_that_mesos_wants_them_in() {
    // pod lines, a pointer into the task's message, the same into the executor's
    let docker = "
image: example/weather:1
networks: {dcos: {labels: 'a:1,b:2:3'}}";
    let cases = [
        (
            docker,
            "/container/mesos",
            json!({"image": {"type": "DOCKER", "docker": {"name": "example/weather:1"}}}),
            Value::Null,
        ),
        (
            docker,
            "/container/network_infos",
            Value::Null,
            json!([{"name": "dcos", "labels": {"labels": [{"key": "a", "value": "1"}, {"key": "b", "value": "2:3"}]}}]),
        ),
        (
            docker,
            "/container/volumes",
            json!([{"mode": "RW", "container_path": "/tmp", "host_path": "tmp"}]),
            Value::Null,
        ),
        (
            "rlimits: {RLIMIT_NOFILE: {soft: 1, hard: 2}, RLIMIT_CORE: {soft: -1, hard: -1}}",
            "/container/rlimit_info/rlimits",
            json!([{"type": "RLMT_NOFILE", "hard": 2, "soft": 1}, {"type": "RLMT_CORE"}]),
            json!([{"type": "RLMT_NOFILE", "hard": 2, "soft": 1}, {"type": "RLMT_CORE"}]),
        ),
        // for an executor it would be the agent's namespace
        ("share-pid-namespace: true", "/container/linux_info/share_pid_namespace", json!(true), Value::Null),
        (
            "seccomp-unconfined: true",
            "/container/linux_info/seccomp",
            json!({"unconfined": true}),
            Value::Null,
        ),
        (
            "seccomp-profile-name: strict",
            "/container/linux_info/seccomp",
            json!({"profile_name": "strict"}),
            Value::Null,
        ),
        ("ipc-mode: PRIVATE", "/container/linux_info/ipc_mode", Value::Null, json!("PRIVATE")),
        ("shm-size: 64", "/container/linux_info/shm_size", Value::Null, json!(64)),
        (
            "host-volumes: {logs: {host-path: /var/log, container-path: logs, mode: RO}}",
            "/container/volumes",
            json!([{"mode": "RO", "container_path": "logs", "host_path": "/var/log"}]),
            json!([{"mode": "RO", "container_path": "logs", "host_path": "/var/log"}]),
        ),
        (
            "secrets: {a: {secret: weather/a, file: etc/a}, b: {secret: weather/b, env-key: B}}",
            "/container/volumes",
            json!([{"mode": "RO", "container_path": "etc/a", "source": {"type": "SECRET", "secret": {"type": "REFERENCE", "reference": {"name": "weather/a"}}}}]),
            json!([{"mode": "RO", "container_path": "etc/a", "source": {"type": "SECRET", "secret": {"type": "REFERENCE", "reference": {"name": "weather/a"}}}}]),
        ),
        (
            "volume: {path: shared, type: ROOT, size: 10}",
            "/container/volumes",
            json!([{"mode": "RW", "container_path": "shared", "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "shared"}}}]),
            Value::Null,
        ),
    ];
    for (pod, pointer, in_task, in_executor) in cases {
        let (task, executor) = launched(&lines(pod.trim(), ""));
        let at = |message: &Value| message.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!((at(&task), at(&executor)), (in_task, in_executor), "{pod} {pointer}");
    }
}

#[test]
fn settings_of_a_task_are_in_its_message() {
    let cases = [
        ("ipc-mode: SHARE_PARENT", "/container/linux_info/ipc_mode", json!("SHARE_PARENT")),
        ("ipc-mode: PRIVATE\nshm-size: 32", "/container/linux_info/shm_size", json!(32)),
        ("kill-grace-period: 15", "/kill_policy/grace_period/nanoseconds", json!(15_000_000_000_u64)),
        ("", "/kill_policy/grace_period/nanoseconds", json!(0)),
        ("", "/command/value", json!("serve")),
        ("", "/command/user", json!("nobody")),
        ("gpus: 1", "/resources/1/name", json!("gpus")),
        (
            "memory: 64\nresource-limits: {cpus: 2, memory: unlimited}",
            "/limits",
            json!({"cpus": {"value": 2.0}, "mem": {"value": "Infinity"}}),
        ),
        ("resource-limits: {cpus: 2}", "/container/linux_info/share_cgroups", json!(false)),
        ("", "/container", Value::Null),
        ("", "/discovery", json!({"visibility": "CLUSTER", "name": "pod-1-server"})),
        (
            "discovery: {prefix: front, visibility: EXTERNAL}",
            "/discovery",
            json!({"visibility": "EXTERNAL", "name": "front-1"}),
        ),
        (
            "ports: {web: {port: 9003, advertise: true}}",
            "/discovery/ports/ports",
            json!([{"number": 9003, "name": "web", "protocol": "tcp", "visibility": "EXTERNAL"}]),
        ),
        (
            "ports: {web: {port: 9003}}",
            "/discovery/ports/ports",
            json!([{"number": 9003, "name": "web", "protocol": "tcp", "visibility": "CLUSTER"}]),
        ),
        (
            "transport-encryption: [{name: web, type: TLS}]",
            "/container/volumes/0/container_path",
            json!("web.crt"),
        ),
    ];
    for (task, pointer, expected) in cases {
        let (message, _) = launched(&lines("", task));
        assert_eq!(message.pointer(pointer).cloned().unwrap_or_default(), expected, "{task} {pointer}");
    }
}

#[test]
fn all_tasks_of_a_pod_have_cgroups_of_their_own_when_one_has_limits() {
    let pod = pod("
      server: {goal: RUNNING, cmd: serve, cpus: 1, resource-limits: {cpus: 2}}
      helper: {goal: RUNNING, cmd: help, cpus: 1}");
    let launch = Case::new(pod).launch(&agent());
    for task in ["pod-1-server", "pod-1-helper"] {
        assert_eq!(message(&launch, task).0["container"]["linux_info"], json!({"share_cgroups": false}));
    }
}

#[test]
fn external_volumes_have_the_names_that_their_drivers_want() {
    let volume = |driver: &str, more: &str| {
        let volume = format!("{{type: DOCKER, driver-name: {driver}, container-path: data{more}}}");
        let (task, executor) = launched(&lines(&format!("external-volumes: {{v: {volume}}}"), ""));
        assert_eq!(task["container"]["volumes"], executor["container"]["volumes"]);
        let volume = &task["container"]["volumes"][0];
        assert_eq!(
            (&volume["container_path"], &volume["source"]["type"]),
            (&json!("data"), &json!("DOCKER_VOLUME"))
        );
        volume["source"]["docker_volume"].clone()
    };
    let local = json!({"parameter": [{"key": "nodes", "value": "LocalNode"}]});
    let shared =
        json!({"parameter": [{"key": "shared", "value": "true"}, {"key": "nodes", "value": "LocalNode"}]});
    let cases = [
        (volume("pxd", ""), json!({"driver": "pxd", "name": "weather-pod-1", "driver_options": local})),
        (
            volume("pxd", ", volume-name: vol, driver-options: shared=true"),
            json!({"driver": "pxd", "name": "vol", "driver_options": shared}),
        ),
        (
            volume("rexray", ", volume-name: vol, driver-options: size=5"),
            json!({"driver": "rexray", "name": "vol_1", "driver_options": {"parameter": [{"key": "size", "value": "5"}]}}),
        ),
        (
            volume("rexray", ""),
            json!({"driver": "rexray", "name": "weather_pod_1", "driver_options": {"parameter": []}}),
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn checks_run_with_the_environment_of_their_task() {
    let task = "
env: {OWN: own}
ports: {web: {port: 0, env-key: WEB_PORT}}
health-check: {cmd: healthy, interval: 1, grace-period: 2, max-consecutive-failures: 3, delay: 4, timeout: 5}
readiness-check: {cmd: ready, interval: 6, timeout: 7, delay: 8}";
    let (task, _) = launched(&lines("", task.trim()));
    let check = |check: &Value| -> Vec<Value> {
        let fields = ["type", "interval_seconds", "timeout_seconds", "delay_seconds"];
        fields.iter().map(|field| check[*field].clone()).collect()
    };
    assert_eq!(check(&task["health_check"]), [json!("COMMAND"), json!(1.0), json!(5.0), json!(4.0)]);
    assert_eq!(task["health_check"]["consecutive_failures"], json!(3));
    assert_eq!(task["health_check"]["grace_period_seconds"], json!(2.0));
    assert_eq!(check(&task["check"]), [json!("COMMAND"), json!(6.0), json!(7.0), json!(8.0)]);
    for command in ["/command", "/health_check/command", "/check/command/command"] {
        assert_eq!(variable(&task, command, "OWN").as_deref(), Some("own"), "{command}");
        assert_eq!(variable(&task, command, "WEB_PORT").as_deref(), Some("9000"), "{command}");
        assert_eq!(task.pointer(command).map(|c| &c["user"]), Some(&json!("nobody")), "{command}");
    }
}

#[test]
fn tasks_are_told_who_and_where_they_are() {
    let mut case = Case::new(pod_of(&lines(
        "placement: '@zone:IS:z1'\nuris: ['http://host/a.tgz']\nsecrets: {s: {secret: weather/s, env-key: SECRET}}",
        "env: {OWN: own, POD_INSTANCE_INDEX: wrong}\nconfigs: {my-conf: {template: t, dest: etc/my.conf}}\n\
         labels: 'own:1,index:7'",
    )));
    case.env.insert("PLAN".to_owned(), "parameter".to_owned());
    let offer = AgentOffer { domain: Some(domain("r1", "z1")), ..agent() };
    let (task, executor) = message(&case.launch(&offer), "pod-1-server");
    let expected = [
        ("OWN", "own"),
        ("PLAN", "parameter"),
        ("POD_INSTANCE_INDEX", "1"),
        ("FRAMEWORK_NAME", "weather"),
        ("FRAMEWORK_HOST", "weather.autoip.test"),
        ("FRAMEWORK_VIP_HOST", "weather.l4lb.test"),
        ("SCHEDULER_API_HOSTNAME", "api.test"),
        ("SCHEDULER_API_PORT", "8080"),
        ("TASK_NAME", "pod-1-server"),
        ("pod-1-server", "true"),
        ("CONFIG_TEMPLATE_MY_CONF", "config-templates/my-conf,etc/my.conf"),
        ("PLACEMENT_REFERENCED_ZONE", "true"),
        ("PLACEMENT_REFERENCED_REGION", "false"),
        ("ZONE", "z1"),
        ("REGION", "r1"),
    ];
    for (name, value) in expected {
        assert_eq!(variable(&task, "/command", name).as_deref(), Some(value), "{name}");
    }
    let variables = task["command"]["environment"]["variables"].as_array().expect("variables");
    let secret = variables.iter().find(|v| v["name"] == "SECRET").expect("a secret");
    let reference = json!({"type": "REFERENCE", "reference": {"name": "weather/s"}});
    assert_eq!(*secret, json!({"name": "SECRET", "type": "SECRET", "secret": reference}));
    let template = "http://api.test:8080/v1/artifacts/template/C/pod/server/my-conf";
    assert_eq!(
        task["command"]["uris"],
        json!([
            {"value": "http://host/a.tgz"},
            {"value": template, "extract": false, "output_file": "config-templates/my-conf"},
        ])
    );
    let labels: BTreeMap<_, _> = task["labels"]["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| (l["key"].as_str().unwrap_or_default(), l["value"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ("index", "1"),
        ("offer_attributes", ""),
        ("offer_hostname", "agent.test"),
        ("offer_region", "r1"),
        ("offer_zone", "z1"),
        ("own", "1"),
        ("target_configuration", "C"),
        ("task_type", "pod"),
    ];
    assert_eq!(labels, BTreeMap::from(expected));
    assert_eq!((&executor["type"], &executor["name"]), (&json!("DEFAULT"), &json!("pod")));
    assert_eq!(executor["framework_id"], json!({"value": "F"}));
    assert_eq!(executor["labels"], json!({"labels": [{"key": "DCOS_SPACE", "value": "/weather"}]}));
    let ids = [&task["task_id"]["value"], &executor["executor_id"]["value"]]
        .map(|id| id.as_str().unwrap_or_default());
    assert!(
        ids[0].starts_with("weather__pod-1-server__id-") && ids[1].starts_with("weather__pod__id-"),
        "{ids:?}"
    );
}

#[test]
fn an_agent_without_region_leaves_its_variables_out() {
    let (task, _) = launched(&lines("", ""));
    for (name, value) in [("REGION", None), ("ZONE", None), ("PLACEMENT_REFERENCED_ZONE", Some("false"))] {
        assert_eq!(variable(&task, "/command", name).as_deref(), value, "{name}");
    }
}

/// Ports in the task's discovery and resources, and the executor's mappings, for a network.
fn network(network: &str, offer: &AgentOffer) -> (Vec<Value>, Vec<Value>, Value) {
    let task = "ports: {web: {port: 0, env-key: WEB, vip: {prefix: site, port: 80}}, api: {port: 9004, env-key: API}}";
    let mut case = Case::new(pod_of(&lines(network, task)));
    let (task, executor) = message(&case.launch(offer), "pod-1-server");
    let named = |ports: &Value| {
        let ports = ports.as_array().into_iter().flatten();
        ports.map(|p| json!([p["name"], p["number"], p["labels"]["labels"][1]["value"]])).collect()
    };
    let reserved = task["resources"].as_array().into_iter().flatten().filter(|r| r["name"] == "ports");
    let reserved = reserved.map(|r| r["ranges"]["range"][0]["begin"].clone()).collect();
    let mappings = executor["container"]["network_infos"][0]["port_mappings"].clone();
    (named(&task["discovery"]["ports"]["ports"]), reserved, mappings)
}

#[test]
fn ports_are_the_agents_or_the_containers_as_the_network_says() {
    let mapping = |host, container| json!({"host_port": host, "container_port": container});
    let cases = [
        // the agent's: both are reserved, the label says nothing of a network
        ("", json!([["api", 9004, null], ["web", 9000, null]]), json!([9004, 9000]), Value::Null),
        // the container's own: nothing is reserved, the number comes from the SDK's range
        (
            "networks: {dcos: {}}",
            json!([["api", 9004, null], ["web", 1025, "container"]]),
            json!([]),
            Value::Null,
        ),
        // the agent's, mapped one to one, the chosen one too
        (
            "networks: {mesos-bridge: {}}",
            json!([["api", 9004, null], ["web", 9000, "host"]]),
            json!([9004, 9000]),
            json!([mapping(9004, 9004), mapping(9000, 9000)]),
        ),
        (
            "networks: {mesos-bridge: {host-ports: [9004, 9009], container-ports: [80, 90]}}",
            json!([["api", 9004, null], ["web", 9000, "host"]]),
            json!([9004, 9000]),
            json!([mapping(9004, 80), mapping(9009, 90), mapping(9000, 9000)]),
        ),
        // one network without ports of the agent is enough
        (
            "networks: {mesos-bridge: {}, dcos: {}}",
            json!([["api", 9004, null], ["web", 1025, "container"]]),
            json!([]),
            json!([mapping(9004, 9004), mapping(1025, 1025)]),
        ),
    ];
    for (lines, discovery, reserved, mappings) in cases {
        let found = network(lines, &agent());
        assert_eq!(json!([found.0, found.1, found.2]), json!([discovery, reserved, mappings]), "{lines}");
    }
    let without_ports = AgentOffer { resources: agent().resources[..4].to_vec(), ..agent() };
    assert_eq!(network("networks: {dcos: {}}", &without_ports).1, Vec::<Value>::new());
}

#[test]
fn a_virtual_address_is_a_label_of_its_port() {
    let (task, _) = launched(&lines("", "ports: {web: {port: 9003, vip: {prefix: site, port: 80}}}"));
    let label = &task["discovery"]["ports"]["ports"][0]["labels"]["labels"][0];
    assert!(label["key"].as_str().is_some_and(|key| key.starts_with("VIP_id-")), "{label}");
    assert_eq!(label["value"], json!("site:80"));
}

#[test]
fn a_paused_task_gets_the_bootstrap_program_and_the_command_that_the_scheduler_was_given() {
    let paused = |uris: &str, command: &str| {
        let pod =
            pod_of(&format!("{uris}    tasks:\n      t: {{goal: RUNNING, cmd: own, cpus: 1, memory: 32}}\n"));
        let mut case = Case::new(pod);
        case.context.bootstrap_uri = Some("http://host/bootstrap".to_owned());
        case.context.pause_command = command.to_owned();
        let offer = case.launched(TaskState::Killed);
        case.paused = true;
        let launch = case.launch(&offer);
        message(&launch, "pod-1-t").0["command"].clone()
    };
    let command = paused("    uris: ['http://host/own']\n", "");
    assert!(command["value"].as_str().is_some_and(|c| c.contains("./bootstrap") && !c.contains("own")));
    assert_eq!(
        command["uris"],
        json!([{ "value": "http://host/bootstrap" }, { "value": "http://host/own" }])
    );
    let command = paused("    uris: ['http://host/bootstrap']\n", "sleep 1");
    assert_eq!(command["value"], "sleep 1");
    assert_eq!(command["uris"], json!([{ "value": "http://host/bootstrap" }]), "it is there once");
}
