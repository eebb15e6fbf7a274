//! Reservations, volumes and ports over the life of a pod instance, and the reasons that are given.

use super::*;

const SERVER: &str = "
      server:
        goal: RUNNING
        cmd: serve
        cpus: 1
        memory: 64
        ports: {web: {port: 0, env-key: WEB}}
        volume: {path: data, type: ROOT, size: 100}";

#[test]
fn a_new_pod_reserves_each_resource_creates_its_volumes_and_launches() {
    let launch = Case::new(pod(SERVER)).launch(&agent());
    assert_eq!(
        operations(&launch.operations),
        [
            "Reserve cpus 0.1",
            "Reserve mem 32",
            "Reserve disk 256",
            "Reserve ports 9000",
            "Reserve cpus 1",
            "Reserve mem 64",
            "Reserve disk 100",
            "Create disk 100",
            "LaunchGroup pod-1-server",
        ]
    );
    let reserved = &to_json(&launch.operations[4])["reserve"]["resources"][0];
    let labels = json!({"labels": [
        {"key": "resource_id", "value": "id-5"},
        {"key": "framework_id", "value": "F"},
    ]});
    assert_eq!(
        *reserved,
        json!({
            "name": "cpus",
            "type": "SCALAR",
            "scalar": {"value": 1.0},
            "allocation_info": {"role": "weather-role"},
            "reservations": [
                {"type": "DYNAMIC", "role": "weather-role", "principal": "weather-principal", "labels": labels},
            ],
        })
    );
    let created = &to_json(&launch.operations[7])["create"]["volumes"][0];
    assert_eq!(
        created["disk"],
        json!({
            "persistence": {"id": "id-8", "principal": "weather-principal"},
            "volume": {"mode": "RW", "container_path": "data"},
        })
    );
}

#[test]
fn reservations_refine_those_of_the_role_that_the_pod_names() {
    let lines = format!("    pre-reserved-role: slave_public\n    tasks:{SERVER}");
    let base = crate::wire::ReservationInfo {
        r#type: Some(ReservationType::Static),
        role: Some("slave_public".to_owned()),
        ..crate::wire::ReservationInfo::default()
    };
    let mut offer = AgentOffer { role: "slave_public/weather-role".to_owned(), ..agent() };
    let mut case = Case::new(pod_of(&lines));
    assert_eq!(case.evaluate(&offer).launch, None, "nothing is reserved for that role");
    for resource in &mut offer.resources {
        resource.reservations.push(base.clone());
        resource.allocation_info = Some(crate::wire::AllocationInfo { role: Some(offer.role.clone()) });
    }
    let launch = case.launch(&offer);
    let reserved = &to_json(&launch.operations[0])["reserve"]["resources"][0];
    let roles: Vec<_> =
        reserved["reservations"].as_array().into_iter().flatten().map(|r| r["role"].clone()).collect();
    assert_eq!(roles, ["slave_public", "slave_public/weather-role"]);
    assert_eq!(reserved["allocation_info"], json!({"role": "slave_public/weather-role"}));
}

#[test]
fn a_pod_that_starts_again_uses_what_it_has_reserved() {
    let mut case = Case::new(pod(SERVER));
    let offer = case.launched(TaskState::Failed);
    let before = case.stored[0].1.clone();
    let launch = case.launch(&offer);
    assert_eq!(operations(&launch.operations), ["LaunchGroup pod-1-server"]);
    let after = &launch.tasks[0].info;
    assert_eq!((&after.resources, &after.discovery), (&before.resources, &before.discovery));
    let executors = [&before, after].map(|t| t.executor.as_ref().map(|e| &e.executor_id));
    assert_ne!(executors[0], executors[1], "the old one has ended");
    assert_ne!(before.task_id, after.task_id);
}

#[test]
fn a_reservation_grows_and_shrinks_under_the_same_id() {
    let mut case = Case::new(pod(SERVER));
    let offer = case.launched(TaskState::Killed);
    case.pod = pod(&SERVER.replace("cpus: 1", "cpus: 1.5").replace("memory: 64", "memory: 48"));
    let launch = case.launch(&offer);
    let shown = operations(&launch.operations);
    assert_eq!(shown, ["Reserve cpus 0.5", "Unreserve mem 16", "LaunchGroup pod-1-server"]);
    let id = |resource: &Resource| resource.resource_id().map(str::to_owned);
    let of = |info: &TaskInfo, name: &str| {
        let found = info.resources.iter().find(|r| r.name == name);
        found.map(|r| (id(r), r.amount())).expect("the resource")
    };
    let (before, after) = (case.stored[0].1.clone(), &launch.tasks[0].info);
    for (operation, name, amount) in [(0, "cpus", 1500), (1, "mem", 48_000)] {
        let operation = &launch.operations[operation];
        let body = operation.reserve.as_ref().or(operation.unreserve.as_ref()).expect("resources");
        assert_eq!(id(&body.resources[0]), of(&before, name).0);
        assert_eq!(of(after, name), (of(&before, name).0, amount));
    }
}

#[test]
fn what_a_set_no_longer_wants_is_given_back_and_what_is_new_reserved() {
    let mut case = Case::new(pod(SERVER));
    let offer = case.launched(TaskState::Killed);
    case.pod = pod(&SERVER.replace("ports: {web: {port: 0, env-key: WEB}}", "gpus: 1"));
    let launch = case.launch(&offer);
    assert_eq!(
        operations(&launch.operations),
        ["Reserve gpus 1", "Unreserve ports 9000", "LaunchGroup pod-1-server"]
    );
}

#[test]
fn a_volume_whose_creation_was_lost_is_created_again() {
    let mut case = Case::new(pod(SERVER));
    let mut offer = case.launched(TaskState::Failed);
    for resource in offer.resources.iter_mut().filter(|r| r.persistence_id().is_some()) {
        resource.disk = None;
    }
    let launch = case.launch(&offer);
    assert_eq!(operations(&launch.operations), ["Create disk 100", "LaunchGroup pod-1-server"]);
}

#[test]
fn mount_volumes_take_whole_disks_of_their_profile() {
    let volume = |profiles: &str| {
        format!(
            "
      server: {{goal: RUNNING, cmd: c, cpus: 1, volume: {{path: data, type: MOUNT, size: 100{profiles}}}}}"
        )
    };
    let offer = |disks: Vec<Resource>| AgentOffer {
        resources: agent().resources.into_iter().chain(disks).collect(),
        ..agent()
    };
    let disks = || vec![mount_disk(50.0, None), mount_disk(500.0, Some("fast")), mount_disk(200.0, None)];
    let cases = [("", 200), (", profiles: [fast]", 500), (", profiles: [slow, fast]", 500)];
    for (profiles, size) in cases {
        let launch = Case::new(pod(&volume(profiles))).launch(&offer(disks()));
        let shown = operations(&launch.operations);
        assert!(shown.contains(&format!("Reserve disk {size}")), "{profiles}: {shown:?}");
        assert!(shown.contains(&format!("Create disk {size}")), "{profiles}: {shown:?}");
    }
    let evaluation = Case::new(pod(&volume(", profiles: [slow]"))).evaluate(&offer(disks()));
    let why = "FAIL(volume): data: wants a free mount disk of 100 MB with the profile slow, offered: 50 MB, 500 MB with \
               fast, 200 MB";
    assert!(lines(&evaluation.reasons).iter().any(|l| l.trim() == why), "{:#?}", lines(&evaluation.reasons));
}

#[test]
fn a_chosen_port_is_in_its_ranges_and_no_other_tasks() {
    let chosen = |task: &str| {
        let pod = pod(&format!(
            "
      server: {{goal: RUNNING, cmd: c, cpus: 1, {task}}}
      other: {{goal: RUNNING, cmd: c, cpus: 1, ports: {{fixed: {{port: 9000}}}}}}"
        ));
        let launch = Case::new(pod).launch(&agent());
        let ports = launch.tasks[0].info.discovery.clone().and_then(|d| d.ports).unwrap_or_default().ports;
        ports.iter().map(|p| p.number).collect::<Vec<_>>()
    };
    assert_eq!(chosen("ports: {a: {port: 0, env-key: A}, b: {port: 0, env-key: B}}"), [9001, 9002]);
    assert_eq!(
        chosen("ports: {a: {port: 0, env-key: A, ranges: [{begin: 80, end: 90}, {begin: 9005, end: 9006}]}}"),
        [9005]
    );
}

#[test]
fn a_task_that_is_launched_later_gets_a_port_of_its_own_in_the_container() {
    let tasks = |helper: &str| {
        format!(
            "    networks: {{dcos: {{}}}}
    tasks:
      server: {{goal: RUNNING, cmd: c, cpus: 1, ports: {{web: {{port: 0, env-key: A}}}}}}
      helper: {{goal: RUNNING, cmd: c, cpus: 1{helper}}}
"
        )
    };
    let mut case = Case::new(pod_of(&tasks("")));
    let offer = case.launched(TaskState::Running);
    let executor = case.stored[0].1.executor.clone().expect("an executor").executor_id;
    case.pod = pod_of(&tasks(", ports: {api: {port: 0, env-key: B}}"));
    case.tasks = vec!["helper".into()];
    let launch = case.launch(&AgentOffer { executor_ids: vec![executor], ..offer });
    let numbers: Vec<_> = task_info::port_numbers(&launch.tasks[0].info).collect();
    assert_eq!(numbers, [("api", 1026)]);
}

#[test]
fn a_task_joins_the_executor_of_its_running_siblings_or_waits_for_an_offer_with_it() {
    let two = "
      server: {goal: RUNNING, cmd: serve, cpus: 1}
      helper: {goal: RUNNING, cmd: help, cpus: 1}";
    let mut case = Case::new(pod(two));
    let offer = case.launched(TaskState::Running);
    let executor = case.stored[0].1.executor.clone().expect("an executor");
    case.tasks = vec!["helper".into()];
    let with_it = AgentOffer { executor_ids: vec![executor.executor_id.clone()], ..offer.clone() };
    let launch = case.launch(&with_it);
    let joined = launch.operations.iter().find_map(|o| o.launch_group.as_ref()).map(|g| &g.executor);
    assert_eq!(joined, Some(&executor), "byte by byte, or Mesos refuses it");
    let reasons = lines(&case.evaluate(&offer).reasons);
    let why =
        format!("FAIL(executor): wants executor {} of running siblings, offered: none", executor.executor_id);
    assert!(reasons.contains(&why), "{reasons:#?}");
    for task in &mut case.stored {
        task.2 = TaskState::Failed;
    }
    let launch = case.launch(&offer);
    let new = launch.operations.iter().find_map(|o| o.launch_group.as_ref()).map(|g| &g.executor.executor_id);
    assert_ne!(new, Some(&executor.executor_id));
}

#[test]
fn tasks_that_are_not_launched_yet_are_only_reserved_for() {
    let two = "
      init: {goal: ONCE, cmd: init, cpus: 1}
      server: {goal: RUNNING, cmd: serve, cpus: 2}";
    let mut case = Case::new(pod(two));
    case.tasks = vec!["init".into()];
    let launch = case.launch(&agent());
    assert!(operations(&launch.operations).contains(&"Reserve cpus 2".to_owned()));
    let planned: Vec<_> =
        launch.tasks.iter().map(|t| (t.name.as_str(), t.launch, t.info.task_id.value.is_empty())).collect();
    assert_eq!(planned, [("init", true, false), ("server", false, true)]);
}

#[test]
fn an_executor_that_takes_nothing_reserves_nothing() {
    let mut case = Case::new(pod("\n      server: {goal: RUNNING, cmd: serve, cpus: 1}"));
    case.context.executor = ExecutorOverhead { cpus: 0.0, mem: 0.0, disk: 0.0 };
    let launch = case.launch(&agent());
    assert_eq!(operations(&launch.operations), ["Reserve cpus 1", "LaunchGroup pod-1-server"]);
}

#[test]
fn every_stage_says_what_it_found_even_when_others_have_failed() {
    let lines_of_pod = "    placement: 'hostname:UNIQUE,rack:IS:r1'
    volume: {path: shared, type: MOUNT, size: 10}
    tasks:
      server:
        goal: RUNNING
        cmd: serve
        cpus: 50
        memory: 64
        ports: {web: {port: 8080}, any: {port: 0, env-key: A, ranges: [{begin: 1, end: 100}]}}
        volume: {path: data, type: ROOT, size: 5000}
      helper: {goal: RUNNING, cmd: help, cpus: 1}
";
    let mut case = Case::new(pod_of(lines_of_pod));
    case.context.region = HomeRegion::Named("here".to_owned());
    case.peers = vec![Located { hostname: "agent.test".to_owned(), ..Located::default() }];
    let offer = AgentOffer { domain: Some(domain("there", "z")), ..agent() };
    let evaluation = case.evaluate(&offer);
    assert_eq!(evaluation.launch, None);
    let expected = [
        "PASS(role): the pod's role is weather-role, the offer's weather-role",
        "FAIL(placement): of a new instance on agent.test",
        "  FAIL(region): the service's region is here, the agent is there",
        "  FAIL(placement): hostname agent.test has 1 of at most 1 tasks of this pod",
        "  FAIL(placement): rack must be r1, is nothing",
        "FAIL(executor): a new one",
        "  PASS(cpus): reserves 0.1",
        "  PASS(mem): reserves 32",
        "  PASS(disk): reserves 256",
        "  FAIL(volume): shared: wants a free mount disk of 10 MB with no profile, offered: none",
        "FAIL(resources): server-resource-set of server",
        "  FAIL(ports): web: wants port 8080, offered: 9000-9010",
        "  FAIL(ports): any: wants a free port in 1-100, offered: 9000-9010",
        "  FAIL(cpus): wants 50, offered: 3.9",
        "  PASS(mem): reserves 64",
        "  FAIL(volume): data: wants 5000, offered: 3840",
        "PASS(resources): helper-resource-set of helper",
        "  PASS(cpus): reserves 1",
    ];
    assert_eq!(lines(&evaluation.reasons), expected);
}

#[test]
fn an_offer_for_another_role_is_refused_with_both_roles() {
    let offer = AgentOffer { role: "other".to_owned(), ..agent() };
    let reasons = lines(&Case::new(pod(SERVER)).evaluate(&offer).reasons);
    assert_eq!(reasons[0], "FAIL(role): the pod's role is weather-role, the offer's other");
    assert!(reasons.contains(&"  FAIL(cpus): wants 1, offered: 0".to_owned()), "{reasons:#?}");
}

#[test]
fn reservations_that_are_missing_are_named() {
    let mut case = Case::new(pod(SERVER));
    case.launched(TaskState::Failed);
    let evaluation = case.evaluate(&agent());
    let failed: Vec<String> = evaluation
        .reasons
        .iter()
        .flat_map(Reason::failures)
        .map(|r| format!("{}: {}", r.stage, r.text))
        .collect();
    assert_eq!(
        failed,
        [
            "cpus: wants its reservation id-1, which is not in this offer",
            "mem: wants its reservation id-2, which is not in this offer",
            "disk: wants its reservation id-3, which is not in this offer",
            "ports: web: wants its reservation id-4 of port 9000, which is not in this offer",
            "cpus: wants its reservation id-5, which is not in this offer",
            "mem: wants its reservation id-6, which is not in this offer",
            "volume: data: wants its volume (reservation id-7), which is not in this offer",
        ]
    );
}

#[test]
fn what_belongs_to_nothing_is_given_back_volumes_first() {
    let mut case = Case::new(pod(SERVER));
    let offer = case.launched(TaskState::Failed);
    let given = unexpected(&offer, &|id| ["id-1", "id-2", "id-3", "id-4"].contains(&id));
    assert_eq!(
        operations(&given),
        ["Destroy disk 100", "Unreserve cpus 1", "Unreserve mem 64", "Unreserve disk 100"]
    );
    assert_eq!(
        given[3].unreserve.as_ref().and_then(|u| u.resources[0].disk.clone()),
        None,
        "no volume any more"
    );
    assert_eq!(given[0].r#type, OperationType::Destroy);
}

#[test]
fn a_pod_instance_keeps_its_role_until_it_is_replaced() {
    let mut case = Case::new(pod(SERVER));
    let offer = case.launched(TaskState::Failed);
    case.context.role = "group".to_owned();
    assert_eq!(operations(&case.launch(&offer).operations), ["LaunchGroup pod-1-server"]);
    case.stored.clear();
    let reasons = lines(&case.evaluate(&offer).reasons);
    assert_eq!(reasons[0], "FAIL(role): the pod's role is group, the offer's weather-role");
}

#[test]
fn only_reservations_that_are_this_frameworks_are_looked_at() {
    let reserved = |role: &str, labels: &[(&str, &str)]| {
        let mut all = crate::wire::Labels::default();
        for (key, value) in labels {
            all.push(key, *value);
        }
        Resource::scalar("cpus", 1.0, role).reserved(role, "p", all)
    };
    let id = ("resource_id", "x");
    let cases = [
        (reserved("weather-role", &[id, ("framework_id", "F")]), true),
        (reserved("weather-role", &[id]), true),
        (reserved("weather-role", &[id, ("framework_id", "G")]), false),
        (reserved("weather-role", &[("framework_id", "F")]), false),
        (reserved("other", &[id]), false),
        (Resource::scalar("cpus", 1.0, "weather-role"), true),
    ];
    for (resource, kept) in cases {
        let offer = crate::wire::Offer {
            framework_id: "F".into(),
            resources: vec![resource.clone()],
            ..crate::wire::Offer::default()
        };
        let groups = AgentOffer::group([&offer], &["weather-role".to_owned()]);
        assert_eq!(groups[0].resources.len(), usize::from(kept), "{resource:?}");
    }
}

#[test]
fn disks_of_resource_providers_say_whose_they_are_in_every_operation() {
    let volume = "
      server: {goal: RUNNING, cmd: c, cpus: 1, volume: {path: data, type: MOUNT, size: 100}}";
    let provider = json!({"value": "provider"});
    let disk = Resource { provider_id: Some(provider.clone()), ..mount_disk(200.0, None) };
    let offer = AgentOffer { resources: agent().resources.into_iter().chain([disk]).collect(), ..agent() };
    let launch = Case::new(pod(volume)).launch(&offer);
    let shown = operations(&launch.operations);
    let at = |name: &str| shown.iter().position(|o| o == name).unwrap_or_else(|| panic!("{shown:?}"));
    let reserved = &to_json(&launch.operations[at("Reserve disk 200")])["reserve"]["resources"][0];
    let created =
        launch.operations[at("Create disk 200")].create.clone().expect("a volume").volumes.remove(0);
    assert_eq!((&reserved["provider_id"], created.provider_id.as_ref()), (&provider, Some(&provider)));
    let given = to_json(&unexpected(&AgentOffer { resources: vec![created], ..agent() }, &|_| false));
    let (destroyed, unreserved) =
        (&given[0]["destroy"]["volumes"][0], &given[1]["unreserve"]["resources"][0]);
    assert_eq!((&destroyed["provider_id"], &unreserved["provider_id"]), (&provider, &provider));
    assert_eq!(unreserved["disk"], json!({"source": {"type": "MOUNT"}}), "the disk, and no volume any more");
}

#[test]
fn a_port_of_a_container_that_another_port_has_got_since_is_chosen_anew() {
    let tasks = |more: &str| {
        format!(
            "    networks: {{dcos: {{}}}}
    tasks:
      server: {{goal: RUNNING, cmd: c, cpus: 1, ports: {{web: {{port: 0, env-key: A}}{more}}}}}
"
        )
    };
    let mut case = Case::new(pod_of(&tasks("")));
    let offer = case.launched(TaskState::Failed);
    let numbers = |launch: Launch| -> BTreeMap<String, u16> {
        let ports = task_info::port_numbers(&launch.tasks[0].info);
        ports.map(|(name, number)| (name.to_owned(), number)).collect()
    };
    assert_eq!(numbers(case.launch(&offer)), BTreeMap::from([("web".to_owned(), 1025)]));
    case.pod = pod_of(&tasks(", fixed: {port: 1025}"));
    let expected = BTreeMap::from([("web".to_owned(), 1026), ("fixed".to_owned(), 1025)]);
    assert_eq!(numbers(case.launch(&offer)), expected);
}

#[test]
fn an_executor_takes_over_what_any_executor_of_its_pod_has_reserved() {
    let two = "
      helper: {goal: RUNNING, cmd: help, cpus: 1}
      server: {goal: RUNNING, cmd: serve, cpus: 1}";
    let mut case = Case::new(pod(two));
    let offer = case.launched(TaskState::Failed);
    let first = case.stored[0].1.executor.as_mut().expect("an executor");
    first.resources.retain(|r| r.name != "disk");
    let shown = operations(&case.launch(&offer).operations);
    assert_eq!(shown, ["LaunchGroup pod-1-helper", "LaunchGroup pod-1-server"]);
    case.context.executor.mem = 48.0;
    assert_eq!(operations(&case.launch(&offer).operations)[0], "Reserve mem 16");
}
