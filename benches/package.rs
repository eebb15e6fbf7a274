//! How long it takes to render, check and build large packages, and how much memory.
//!
//! `cargo bench --bench package` measures everything; words after `--` choose cases whose names hold one of them. Every
//! case runs in a process of its own, so that its peak of memory is its own.

mod measure;

use dagpkg::finding::Source;
use dagpkg::package::options::{self, Object};
use dagpkg::package::parameters::Parameters;
use dagpkg::package::{Sources, lint};
use dagpkg::publish::build::{self, Build};
use dagpkg::publish::folder::{self, State};
use dagpkg::template::{Profile, Template};
use measure::{memory, shown};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

/// Options of the large package, and tags of its template beside those of sections.
const OPTIONS: usize = 2_000;
/// Artifacts of the package that is built, and bytes of each.
const ARTIFACTS: usize = 4;
const ARTIFACT_SIZE: usize = 50_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, case] = arguments.as_slice()
        && flag == "--one"
    {
        return one(case);
    }
    println!("{:<16} {:>6} {:>10} {:>10} {:>9}", "case", "times", "all", "each", "peak RSS");
    for case in ["parse", "render", "options", "lint", "hash", "build"] {
        if !arguments.is_empty() && !arguments.iter().any(|a| case.contains(a.as_str())) {
            continue;
        }
        let program = std::env::current_exe().expect("this program");
        let status = std::process::Command::new(program).args(["--one", case]).status().expect("a child");
        assert!(status.success(), "{case}");
    }
}

fn one(case: &str) {
    match case {
        "parse" => {
            let text = template();
            repeat(case, 1_000, || Template::parse(&text).expect("a template"));
        }
        "render" => {
            let template = Template::parse(&template()).expect("a template");
            let values = Value::Object(options::defaults(&config()));
            repeat(case, 1_000, || template.render(Profile::Package, &values).expect("a text"));
        }
        "options" => {
            let (config, user) = (config(), user());
            repeat(case, 100, || options::resolve(Some(&config), &user).expect("good options"));
        }
        "lint" => {
            let parameters = Parameters::for_checks(&sources().package);
            let sources = sources().substitute(&parameters).expect("good parameters");
            repeat(case, 20, || {
                let findings = lint::universe(&sources);
                assert!(findings.is_empty(), "{:?}", findings.first());
            });
        }
        // what of a build cannot be saved
        "hash" => {
            let mut bytes = Vec::new();
            artifact(0, &mut bytes).expect("in memory");
            repeat(case, ARTIFACTS, || Sha256::digest(&bytes));
        }
        "build" => build_large(),
        _ => panic!("no case {case}"),
    }
}

fn repeat<T>(case: &str, times: usize, mut work: impl FnMut() -> T) {
    let start = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    tell(case, times, start);
}

fn tell(case: &str, times: usize, start: Instant) {
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9;
    let each = shown(nanoseconds / times as f64);
    let peak = memory("VmHWM:") / 1024.0;
    println!("{case:<16} {times:>6} {:>10} {each:>10} {peak:>6.1} MB", shown(nanoseconds));
}

/// A template of an app: 2,000 tags that print, a section around every tenth; 100 kB.
fn template() -> String {
    let mut text = "{\n  \"id\": \"{{service.o0}}\",\n  \"env\": {\n".to_owned();
    for i in 0..OPTIONS {
        let name = format!("{}.o{i}", group(i));
        if i % 10 == 0 {
            let _ = writeln!(text, "    {{{{#{name}}}}}\n    \"SET_{i}\": \"true\",\n    {{{{/{name}}}}}");
        }
        let _ = writeln!(text, "    \"OPTION_{i}\": \"{{{{{name}}}}}\",");
    }
    text.push_str("    \"LAST\": \"\"\n  }\n}\n");
    text
}

fn group(i: usize) -> String {
    if i < 100 { "service".to_owned() } else { format!("group{}", i / 100) }
}

fn config() -> Value {
    let mut groups = Object::new();
    for i in 0..OPTIONS {
        let option = match i % 4 {
            0 => {
                json!({"type": "string", "description": "A text.", "pattern": "^[a-z0-9 -]+$", "default": format!("value {i}")})
            }
            1 => {
                json!({"type": "integer", "description": "A number.", "minimum": 1, "maximum": 100_000, "default": i})
            }
            2 => json!({"type": "boolean", "description": "Yes or no.", "default": true}),
            _ => {
                json!({"type": "string", "description": "A word.", "enum": ["one", "two", "three"], "default": "two"})
            }
        };
        let group = groups.entry(group(i)).or_insert_with(|| json!({"type": "object", "properties": {}}));
        group["properties"][format!("o{i}")] = option;
    }
    json!({"type": "object", "properties": groups})
}

/// Every third option, as a user gives it.
fn user() -> Object {
    let mut user = json!({});
    for i in (0..OPTIONS).step_by(3) {
        let value = match i % 4 {
            0 => json!("another value"),
            1 => json!(7),
            2 => json!(false),
            _ => json!("three"),
        };
        user[group(i)][format!("o{i}")] = value;
    }
    user.as_object().cloned().unwrap_or_default()
}

fn sources() -> Sources {
    let package = json!({
        "packagingVersion": "4.0", "name": "large", "version": "1.0", "tags": ["t"], "maintainer": "m@example.org",
        "description": "d",
    });
    let source = |name: &str, text: String| Source::new(name, text);
    Sources {
        package: source("package.json", package.to_string()),
        config: Some(source("config.json", format!("{:#}", config()))),
        marathon: Some(source("marathon.json.mustache", template())),
        resource: Some(source("resource.json", resource().to_string())),
    }
}

fn resource() -> Value {
    let uri = |i: usize| (format!("a{i}"), json!(format!("{{{{artifact-dir}}}}/artifact{i}.bin")));
    json!({"assets": {"uris": (0..ARTIFACTS).map(uri).collect::<Object>()}})
}

/// Writes an artifact: bytes that do not repeat.
fn artifact(seed: u64, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..ARTIFACT_SIZE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.write_all(&state.to_le_bytes())?;
    }
    out.flush()
}

/// A package of 200 MB, twice into the same folder: the second time there is nothing to write.
fn build_large() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    };
    let sources = sources();
    let files = [
        Some(&sources.package),
        sources.config.as_ref(),
        sources.marathon.as_ref(),
        sources.resource.as_ref(),
    ];
    for file in files.into_iter().flatten() {
        write(&at("universe").join(&*file.file), file.text.as_bytes());
    }
    fs::create_dir(at("artifacts")).expect("made");
    for i in 0..ARTIFACTS {
        let file = File::create(at("artifacts").join(format!("artifact{i}.bin"))).expect("made");
        artifact(i as u64, file).expect("written");
    }
    let build = Build {
        universe: at("universe"),
        artifacts: Vec::new(),
        service: at("svc"),
        search: vec![at("artifacts")],
        root_url: "http://127.0.0.1:8190".to_owned(),
        dir_name: None,
        url: None,
        manifests: Vec::new(),
        version: "1.0".to_owned(),
        build_time: 0,
        environment: Vec::new(),
    };
    for (case, expected) in [("build", State::Absent), ("build again", State::Whole)] {
        let start = Instant::now();
        let publication = build::build(&build, &mut |_| {}).expect("a package");
        tell(&format!("{case}: hash"), 1, start);
        let was = folder::publish(&publication, &at("out"), &mut |_| {}).expect("published");
        assert_eq!(was, expected);
        tell(case, 1, start);
    }
}
