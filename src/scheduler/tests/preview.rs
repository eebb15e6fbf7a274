//! What an update would do, against what it does.

use super::*;
use crate::scheduler::validate::same_tasks;

fn deployment(yaml: &str) -> Deployment {
    let service = service(yaml);
    let config = Config::from_env(&BTreeMap::new(), &service.spec, 8080).unwrap();
    Deployment { service, config }
}

fn of(old: &str, new: &str) -> Preview {
    preview(deployment(old), deployment(new)).unwrap()
}

fn fates(preview: &Preview) -> Vec<(String, Fate)> {
    preview.plans().iter().flat_map(|p| p.steps()).flat_map(|s| preview.fates(s)).collect()
}

/// Updates whose effects the tests compare: what is replaced in the service file.
const UPDATES: [&[(&str, &str)]; 8] = [
    &[],
    &[("cmd: web", "cmd: web2")],
    &[("cmd: migrate", "cmd: migrate-more")],
    &[("count: 2", "count: 3")],
    &[("count: 2", "count: 2\n    placement: hostname:LIKE:.*")],
    &[("cmd: serve", "cmd: serve2"), ("count: 2", "count: 3")],
    &[("server: {goal: RUNNING, cmd: web, ", "backend: {goal: RUNNING, cmd: web, ")],
    &[
        ("goal: RUNNING, cmd: web", "goal: RUNNING, env: {A: b}, cmd: web"),
        ("  job:", "  job:\n    image: i"),
    ],
];

fn updated(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(SERVICE.to_owned(), |yaml, (from, to)| {
        assert!(yaml.contains(from), "{from}");
        yaml.replace(from, to)
    })
}

#[test]
fn what_is_foretold_is_what_the_update_launches_in_that_order() {
    for changes in UPDATES {
        let new = updated(changes);
        let foretold = of(SERVICE, &new);
        assert_eq!(foretold.refusals, Vec::<String>::new());
        let mut world = World::deployed(SERVICE);
        world.launched.clear();
        let before: Vec<String> = world.running.values().map(|t| t.name.clone()).collect();
        world.yaml = new;
        world.restart();
        for _ in 0..12 {
            world.step();
            if world.running.values().any(|t| t.name == "db-0-server") {
                world.ready("db-0-server");
            }
        }
        assert_eq!(world.status("deploy"), Status::Complete);
        let tasks: Vec<String> = fates(&foretold).into_iter().map(|(task, _)| task).collect();
        assert_eq!(world.launched, tasks, "{changes:?}");
        let gone = before.iter().filter(|t| !world.running.values().any(|r| r.name == **t));
        let mut gone: Vec<&String> = gone.collect();
        gone.sort();
        assert_eq!(gone, foretold.ended().iter().collect::<Vec<_>>(), "{changes:?}");
    }
}

#[test]
fn a_pod_starts_anew_exactly_when_a_change_of_it_says_so() {
    for changes in UPDATES {
        let new = updated(changes);
        let (before, after) = (service(SERVICE).spec, service(&new).spec);
        for pod in of(SERVICE, &new).pods {
            let same = same_tasks(before.pod(&pod.pod).unwrap(), after.pod(&pod.pod).unwrap());
            assert_eq!(pod.changes.iter().any(|(_, restarts)| *restarts), !same, "{changes:?} {}", pod.pod);
        }
    }
}

#[test]
fn each_change_has_the_name_that_an_author_writes_and_both_values() {
    let yaml = |env: &str, more: &str| {
        format!(
            "name: n\npods:\n  p:\n    count: 1{more}\n    resource-sets: {{big: {{cpus: 2}}}}\n    tasks:\n      t: {{goal: \
             RUNNING, cmd: c, cpus: 1, env: {{{env}}}, ports: {{web: {{port: 80}}}}}}\n      u: {{goal: ONCE, cmd: c, \
             resource-set: big}}\n"
        )
    };
    let new = yaml("A: '2', C: x", "\n    placement: hostname:UNIQUE\n    uris: ['http://h/f']")
        .replace("cpus: 1", "cpus: 1.5")
        .replace("port: 80", "port: 81")
        .replace("{cpus: 2}", "{cpus: 3}");
    let preview = of(&yaml("A: '1', B: x", ""), &new);
    let changes: Vec<(String, String, bool)> = preview.pods[0]
        .changes
        .iter()
        .map(|(c, restarts)| {
            let text = |v: &Option<serde_json::Value>| v.as_ref().map_or("-".to_owned(), ToString::to_string);
            (c.field.clone(), format!("{} {}", text(&c.before), text(&c.after)), *restarts)
        })
        .collect();
    let has = |field: &str, values: &str, restarts: bool| {
        let found = changes.iter().find(|(f, ..)| f == field);
        assert_eq!(found.map(|(_, v, r)| (v.as_str(), *r)), Some((values, restarts)), "{changes:?}");
    };
    has("tasks.t.env.A", "\"1\" \"2\"", true);
    has("tasks.t.env.B", "\"x\" -", true);
    has("tasks.t.env.C", "- \"x\"", true);
    has("tasks.t.cpus", "1.0 1.5", true);
    has("tasks.t.ports.web.port", "80 81", true);
    has("tasks.u.resource-set.cpus", "2.0 3.0", true);
    has("uris", "- [\"http://h/f\"]", true);
    let placement = changes.iter().find(|(f, ..)| f.starts_with("placement")).expect("placement");
    assert!(!placement.2, "where instances may be is not about tasks that run");
    assert_eq!(changes.len(), 8, "{changes:?}");
}

#[test]
fn what_refuses_an_update_is_foretold_and_then_nothing_else_happens() {
    let refused = of(SERVICE, &SERVICE.replace("size: 100", "size: 200"));
    assert!(refused.refusals[0].contains("pods.db.tasks.server.volumes"), "{:?}", refused.refusals);
    assert_eq!((refused.plans().len(), refused.ended().len()), (0, 0));
    let mut new = deployment(SERVICE);
    new.service.spec.user = "somebody".to_owned();
    let fatal = preview(deployment(SERVICE), new).unwrap();
    assert!(fatal.refusals[0].contains("Field: 'user'"), "{:?}", fatal.refusals);
    let never = deployment(&SERVICE.replace("count: 2", "count: 2\n    placement: hostname:NEAR"));
    assert!(matches!(preview(never, deployment(SERVICE)), Err(PreviewError::Before(StartError::Refused(_)))));
}

#[test]
fn pods_that_go_are_taken_down_by_the_decommission_plan_and_new_ones_are_launched() {
    let old = SERVICE.replace("count: 2", "count: 2\n    allow-decommission: true");
    let new = old.replace("count: 2", "count: 1").replace("  job:", "  jobs:");
    let refused = of(&old, &new);
    assert!(refused.refusals[0].contains("pods.job"), "{:?}", refused.refusals);
    let old = old.replace("  job:\n", "  job:\n    allow-decommission: true\n");
    let new = old.replace("count: 2", "count: 1").replace("  job:", "  jobs:");
    let preview = of(&old, &new);
    assert_eq!(fates(&preview), [("jobs-0-migrate".to_owned(), Fate::Launch)]);
    let decommission = preview.plans().into_iter().find(|p| p.name == "decommission").expect("a plan");
    let phases: Vec<&str> = decommission.phases().map(|p| p.name.as_str()).collect();
    assert_eq!(phases, ["job-0", "web-1"]);
    let pods: Vec<_> = preview.pods.iter().map(|p| (p.pod.as_str(), p.before, p.after)).collect();
    let expected = [
        ("db", Some(1), Some(1)),
        ("jobs", None, Some(1)),
        ("web", Some(2), Some(1)),
        ("job", Some(1), None),
    ];
    assert_eq!(pods, expected);
}

#[test]
fn the_plan_for_updates_says_what_waits_for_an_operator() {
    let plans = "plans:\n  deploy: {phases: {web: {pod: web}, db: {pod: db}, job: {pod: job}}}\n  update:\n    phases:\n      \
                 web: {pod: web, strategy: serial-canary}\n";
    let old = format!("{SERVICE}{plans}");
    let preview = of(&old, &old.replace("cmd: web", "cmd: web2"));
    let plan = preview.plans()[0];
    assert_eq!((plan.name.as_str(), plan.phases().len()), ("deploy", 1));
    assert!(plan.steps().all(|s| s.interrupted));
    assert_eq!(fates(&preview).len(), 2);
    // what the plan for updates does not name is left as it is, changed or not
    let preview = of(&old, &old.replace("cmd: web", "cmd: web2").replace("cmd: serve", "cmd: serve2"));
    let changed: Vec<_> =
        preview.pods.iter().map(|p| (!p.changes.is_empty(), preview.launches(&p.pod))).collect();
    assert_eq!(changed, [(true, false), (false, false), (true, true)]);
}
