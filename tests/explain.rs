//! `dagpkg explain` as it is run, and its examples: what is wrong is found with the code of its page, what is mended is not.

use dagpkg::finding::{Code, Page, page};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The package that examples change.
const PACKAGE: [(&str, &str); 4] = [
    (
        "universe/package.json",
        r#"{"packagingVersion": "4.0", "name": "weather", "version": "1.0", "maintainer": "m@example.org", "description": "d",
            "tags": ["t"]}"#,
    ),
    ("universe/config.json", r#"{"type": "object", "properties": {}}"#),
    ("universe/marathon.json.mustache", r#"{"id": "weather", "cmd": "run"}"#),
    ("universe/resource.json", "{}"),
];

/// Codes whose examples are not files that can stand on this page: bytes, servers, a hundred mistakes.
fn is_only_told(code: Code) -> bool {
    let others = [Code::NotUtf8, Code::NoListedHash, Code::TooMany];
    others.contains(&code) || code.as_str().starts_with('V')
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Writes an example into a folder and runs its command; answers what was said.
fn run(page: &Page, wrong: bool) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> =
        page.examples(wrong).filter_map(|example| Some((example.file?, example.text))).collect();
    let either = page.examples.iter().filter_map(|example| example.file);
    // what is about a package alters a sound one
    if either.clone().any(|file| file.starts_with("universe/")) || either.count() == 0 {
        for (path, text) in PACKAGE {
            write(folder.path(), path, text);
        }
    }
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    let command = page.examples(wrong).find(|example| example.language == "sh");
    let program = Path::new(env!("CARGO_BIN_EXE_dagpkg"));
    let output = Command::new("sh")
        .args(["-e", "-c", command.map_or("dagpkg lint", |command| command.text)])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.parent().unwrap().display()))
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {output:?}", page.code);
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_wrong_example_of_each_code_is_found_with_it_and_the_mended_one_is_not() {
    let mut poor = Vec::new();
    for &code in Code::ALL.iter().filter(|code| !is_only_told(**code)) {
        let page = page(code);
        for wrong in [true, false] {
            let (success, said) = run(&page, wrong);
            // what is mended has no other errors either
            if said.contains(&format!("[{code}]: ")) != wrong || !(wrong || success) {
                poor.push(format!("{code}, wrong: {wrong}: {said}"));
            }
        }
    }
    assert!(poor.is_empty(), "{}", poor.join("\n"));
}

fn explain(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dagpkg")).arg("explain").args(arguments).output().unwrap()
}

fn told(arguments: &[&str]) -> String {
    let output = explain(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_page_is_found_by_its_code_as_people_copy_it() {
    let text = told(&["P021"]);
    assert!(text.starts_with("error[P021]: A default that config.json itself does not allow.\n\n"), "{text}");
    assert_eq!([told(&["p021"]), told(&["error[P021]: a default"])], [text.clone(), text]);
    let data: Value = serde_json::from_str(&told(&["P021", "--output", "json"])).unwrap();
    assert_eq!((&data["code"], &data["severity"]), (&"P021".into(), &"error".into()));
    assert_eq!(data["wrong"][0]["file"], "universe/config.json");
    for part in ["meaning", "why", "summary"] {
        assert!(data[part].as_str().is_some_and(|text| text.len() > 10), "{data}");
    }
    let output = explain(&["PP021"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("did you mean P021?"), "{error}");
}

#[test]
fn all_codes_are_listed_with_a_sentence() {
    let list = told(&[]);
    assert_eq!(list.lines().count(), Code::ALL.len());
    assert!(list.contains("S006  error    The service language has no such key.\n"), "{list}");
    let data: Value = serde_json::from_str(&told(&["--output", "json"])).unwrap();
    assert_eq!(data.as_array().unwrap().len(), Code::ALL.len());
}
