//! The reference page of the service language and the schema for editors are what the program knows. With the variable
//! `UPDATE_DOCS` they are written anew instead.

use dagpkg::finding::{Finding, Source};
use dagpkg::runtime::load;
use dagpkg::spec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- keys: ";
const END: &str = "<!-- end -->";

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)
}

/// Compares a file with what it should be, or makes it so.
fn keep(file: &str, expected: &str) {
    let path = docs(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("the file");
    assert!(found == expected, "{file} is out of date: run this test with UPDATE_DOCS=1");
}

fn page() -> String {
    std::fs::read_to_string(docs("svc-yml.md")).expect("the page")
}

#[test]
fn the_schema_for_editors_is_that_of_the_program() {
    keep("svc-schema.json", &format!("{:#}\n", spec::schema()));
}

#[test]
fn the_tables_of_the_reference_page_are_the_keys_that_the_parser_reads() {
    let mut tables: BTreeMap<_, _> = spec::key_tables().into_iter().collect();
    let page = page();
    let mut made = String::new();
    let mut rest = page.as_str();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->\n").expect("the end of the marker");
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("no end of the table of {name}"));
        let table =
            tables.remove(name).unwrap_or_else(|| panic!("no mapping `{name}`, or it is there twice"));
        assert!(page.contains(&format!("\n### {name}\n")), "links lead to a heading `{name}`");
        made.extend([before, BEGIN, name, " -->\n\n", &table, "\n", END]);
        rest = after;
    }
    assert_eq!(tables.into_keys().collect::<Vec<_>>(), Vec::<&str>::new(), "mappings without a table");
    keep("svc-yml.md", &format!("{made}{rest}"));
}

#[test]
fn the_examples_of_the_reference_page_are_service_files_without_findings() {
    let env = [
        ("FRAMEWORK_NAME", "weather"),
        ("STATION_COUNT", "2"),
        ("STATION_CPUS", "0.5"),
        ("STATION_IMAGE", "example/station:1"),
        ("STATION_PLACEMENT", r#"[["hostname", "UNIQUE"]]"#),
    ];
    let env: BTreeMap<_, _> = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let page = page();
    let examples: Vec<&str> =
        page.split("```yaml svc\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(examples.len() > 5, "{}", examples.len());
    for example in examples {
        let source = Source::new("example", example);
        let loaded = load::from_source(&source, &env, &|_| Ok("port={{PORT}}".to_owned()));
        let findings = loaded.map_or_else(|report| report.0, |loaded| loaded.findings);
        let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(texts, Vec::<String>::new(), "{example}");
    }
    // a tag in a comment works like one on a line of its own
    let without_image: BTreeMap<_, _> = env.into_iter().filter(|(name, _)| name != "STATION_IMAGE").collect();
    let commented = page.split("```yaml svc\n").find(|example| example.contains("# {{#STATION_IMAGE}}"));
    let example = commented.and_then(|rest| rest.split("\n```").next()).expect("the example");
    let loaded = load::from_source(&Source::new("example", example), &without_image, &|_| Err(String::new()));
    assert_eq!(loaded.expect("a service").service.spec.pods[0].image, None);
}
