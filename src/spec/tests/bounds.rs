//! Files that are not what they should be cost bounded time and memory: what is counted here is work, not time.

use super::*;

#[test]
fn text_that_is_not_yaml_is_an_error_with_a_place() {
    let bomb: String = (1..9)
        .map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")))
        .fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, line| all + &line);
    let deep = (0..200).map(|n| " ".repeat(n) + "a:\n").collect::<String>();
    let cases = [
        ("", Code::Document),
        ("name: a\n---\nname: b\n", Code::Document),
        ("name: [a\n", Code::Syntax),
        ("name: \"a\n", Code::Syntax),
        ("name: *a\n", Code::Syntax),
        ("name: &a [*a]\n", Code::Syntax),
        ("- a\n", Code::Shape),
        (&"[".repeat(100_000), Code::Limit),
        (&"- ".repeat(100_000), Code::Limit),
        (&"? ".repeat(100_000), Code::Limit),
        (&deep, Code::Limit),
        (&"x".repeat(2 << 20), Code::Limit),
        (&bomb, Code::Limit),
    ];
    for (text, code) in cases {
        let found = found(text);
        assert_eq!(found.first().map(|(code, ..)| *code), Some(code), "{text:.80} {found:?}");
    }
    assert_finding(&format!("{SMALL}? »[a]\n: b\n"), Code::Shape);
}

#[test]
fn a_file_of_nothing_but_mistakes_is_answered_with_the_first_hundred() {
    let lines: Vec<String> = (0..5000).map(|i| format!("typo{i}: 1")).collect();
    let text = lines.join("\n");
    let found = found(&text);
    assert_eq!((found.len(), found[100].0), (101, Code::TooMany));
}

/// All nodes below, and this one.
fn nodes(node: &yaml::Node) -> usize {
    1 + match &node.value {
        yaml::Value::Scalar { .. } => 0,
        yaml::Value::List(items) => items.iter().map(nodes).sum(),
        yaml::Value::Map(entries) => entries.iter().map(|(_, value)| 1 + nodes(value)).sum(),
    }
}

#[test]
fn aliases_are_resolved_as_long_as_what_they_stand_for_is_not_too_much() {
    let read = |text: &str| {
        let source = Source::new("svc.yml", text);
        let findings = findings::Findings::new(&source);
        let root = yaml::read(&source.text, &findings);
        (root.as_ref().map(nodes), findings.into_vec().into_iter().map(|f| f.code).collect::<Vec<_>>())
    };
    assert_eq!(read("a: &a [1, 2]\nb: [*a, *a]\n"), (Some(1 + 2 + 3 + 7), vec![]));
    let thousand = vec!["x"; 1000].join(", ");
    let aliases = |count| format!("a: &a [{thousand}]\nb: [{}]\n", vec!["*a"; count].join(", "));
    let (small, found) = read(&aliases(200));
    assert_eq!((small.is_some_and(|n| n > 200_000), found), (true, vec![]));
    assert_eq!(read(&aliases(300)), (None, vec![Code::Limit]));
    // each anchor keeps a copy of what is below it
    let nested = format!("{}[{thousand}]{}", "&a [".repeat(50), "]".repeat(50));
    assert_eq!(read(&nested.replacen("&a", "", 45)).1, []);
    let deep = format!("{}[{}]{}", "&a [".repeat(50), vec!["x"; 10_000].join(", "), "]".repeat(50));
    assert_eq!(read(&deep), (None, vec![Code::Limit]));
}

#[test]
fn what_is_said_about_a_file_does_not_grow_with_the_length_of_its_names_and_lines() {
    let long = "n".repeat(200_000);
    let one_line: Vec<String> = (0..5000).map(|i| format!("unknown-key-{i}: 1")).collect();
    let files = [
        format!("{long}: 1\n{long}: 2\n"),
        SMALL.replace("station", &long),
        SMALL.replace("sensor", &long),
        SMALL.replace("RUNNING", &long),
        SMALL.replace("0.5", &long),
        SMALL.replace("cpus", &long),
        format!("{{{}}}", one_line.join(", ")),
        with("", &format!("placement: 'hostname:LIKE:({long}'"), "cpus: 1"),
        with("", &format!("placement: '{long}'"), "cpus: 1"),
        with("", &format!("uris: ['{long} ']"), "cpus: 1"),
        with("", "", &format!("cpus: 1\nresource-set: {long}")),
        with(
            "",
            "",
            &format!(
                "cpus: 1\nports: {{a: {{port: 1, advertise: true}}, {long}: {{port: 1, advertise: true}}}}"
            ),
        ),
        with("", "", &format!("cpus: 1\nlabels: '{long}'")),
        with("", "", &format!("cpus: 1\nconfigs: {{c: {{template: {long}, dest: d}}}}")),
        with("", "", &format!("cpus: 1\nvolume: {{path: /{long}, type: {long}, size: {long}}}")),
        with(&format!("plans: {{deploy: {{phases: {{p: {{pod: {long}}}}}}}}}"), "", "cpus: 1"),
    ];
    for text in files {
        let found = match parse_with(&text, &[]) {
            Ok((_, found)) | Err(found) => found,
        };
        assert!(!found.is_empty(), "{text:.80}");
        for finding in found {
            assert!(finding.to_string().len() < 2000, "{:.500}", finding.to_string());
            assert!(finding.render(false).len() < 5000, "{:.500}", finding.render(false));
        }
    }
}

#[test]
fn a_small_file_cannot_ask_for_endless_copies_of_its_parts() {
    let ports: Vec<String> = (1..2000).map(|n| format!("p{n}: {{port: {n}}}")).collect();
    let tasks: Vec<String> =
        (0..100).map(|n| format!("      t{n}: {{goal: RUNNING, cmd: c, resource-set: big}}\n")).collect();
    let sets = format!("    resource-sets: {{big: {{ports: {{{}}}}}}}\n", ports.join(", "));
    let pod = |tasks: &[String]| {
        format!("name: n\npods:\n  p:\n    count: 1\n{sets}    tasks:\n{}", tasks.concat())
    };
    assert_eq!(found(&pod(&tasks[..1])), []);
    assert!(found(&pod(&tasks)).iter().any(|(code, ..)| *code == Code::Limit));

    let tasks: Vec<String> =
        (0..2000).map(|n| format!("      t{n}: {{goal: ONCE, cmd: c, cpus: 1}}\n")).collect();
    let phases = |count: usize| {
        let phases: Vec<String> = (0..count).map(|n| format!("f{n}: {{pod: p}}")).collect();
        let plans = format!("plans: {{deploy: {{phases: {{{}}}}}}}\n", phases.join(", "));
        format!("name: n\n{plans}pods:\n  p:\n    count: 1\n    tasks:\n{}", tasks.concat())
    };
    assert_eq!(found(&phases(10)), []);
    assert!(found(&phases(1000)).iter().any(|(code, ..)| *code == Code::Limit));
}

#[test]
fn a_small_file_cannot_ask_for_endless_instances() {
    let pod = |tasks: usize, count: u32, plans: &str| {
        let tasks: Vec<String> =
            (0..tasks).map(|n| format!("t{n}: {{goal: ONCE, cmd: c, cpus: 1}}")).collect();
        format!("name: n\npods:\n  p: {{count: {count}, tasks: {{{}}}}}\n{plans}", tasks.join(", "))
    };
    let steps = |count: usize| {
        let steps = vec!["[t0]"; count].join(", ");
        format!("plans: {{deploy: {{phases: {{f: {{pod: p, steps: [default: [{steps}]]}}}}}}}}\n")
    };
    assert_eq!(found(&pod(5, 100_000, "")), []);
    assert_eq!(found(&pod(6, 100_000, "")), [(Code::Limit, 3, 3)]);
    assert_eq!(found(&pod(1, 100_000, &steps(5))), []);
    assert_eq!(found(&pod(1, 100_000, &steps(6))), [(Code::Limit, 4, 27)]);
    let two = pod(5, 100_000, "")
        .replace("  p:", "  o: {count: 1, tasks: {t: {goal: ONCE, cmd: c, cpus: 1}}}\n  p:");
    assert_eq!(found(&two), [(Code::Limit, 4, 3)]);
}
