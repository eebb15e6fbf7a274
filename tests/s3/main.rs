//! `dagpkg build aws` against a real server for S3 (moto), read back by another client (boto3), with a network that fails
//! between them. Needs run/s3, so `./build.sh test` runs it and plain `cargo test` leaves it out.

mod harness;
mod proxy;

use harness::{BUCKET, LARGE, Object, Project, SECRET, Server, documented_policy, failed, succeeded};
use proxy::{Fault, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::process::Child;

const STUB: &str = "stub-universe-weather.json";

/// What a bucket has after everything was published, in order.
const ALL: [&str; 8] = [
    "SHA256SUMS",
    "bom.cdx.json",
    LARGE,
    "stub-universe-weather.json",
    "stub-universe-weather.v3.json",
    "stub-universe-weather.v5.json",
    "svc.yml",
    "tool",
];

/// The requests among these that write.
fn writes(requests: Vec<String>) -> Vec<String> {
    requests
        .into_iter()
        .filter(|request| !request.starts_with("HEAD") && !request.starts_with("GET"))
        .collect()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

async fn fetch(url: &str) -> reqwest::Response {
    dagpkg::http::client().unwrap().get(url).send().await.unwrap()
}

#[tokio::test]
#[ignore = "needs run/s3: ./build.sh test"]
async fn everything_is_read_back_as_it_was_and_a_second_run_sends_only_what_is_missing() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    let publish = || {
        // what a path may have, and URLs must not
        let mut command = project.build(&proxy.url, &["--path", "a b/1+1=2/über & ?#%41"]);
        succeeded(&command.output().unwrap())
    };
    let result = publish();
    assert_eq!(result["outcome"], "published");
    assert_eq!(result["note"], Value::Null);
    let sent = writes(proxy.requests());
    let last = sent.last().unwrap();
    assert!(last.starts_with("PUT ") && last.contains(&format!("/{STUB}?")), "{sent:#?}");
    assert!(sent.iter().any(|request| request.contains("partNumber=3")), "{sent:#?}");

    let objects = server.objects();
    assert_eq!(objects.iter().map(Object::name).collect::<Vec<_>>(), ALL);
    for object in &objects {
        assert!(object.key.starts_with("a b/1+1=2/über & ?#%41/weather/"), "{}", object.key);
        let file =
            result["files"].as_array().unwrap().iter().find(|file| file["name"] == object.name()).unwrap();
        assert_eq!(file["sha256"], object.sha256, "{}", object.key);
        assert_eq!(file["size"], object.size, "{}", object.key);
        assert_eq!(file["contentType"], object.content_type, "{}", object.key);
        assert_eq!(object.metadata["sha256"], object.sha256, "{}", object.key);
        if let Ok(local) = fs::read(project.path("svc").join(object.name())) {
            assert_eq!(
                dagpkg::publish::publication::hex(&Sha256::digest(local)),
                object.sha256,
                "{}",
                object.key
            );
        }
    }

    // as a cluster does: from the printed command to the stub, from the stub to the files
    let command = result["install"][2].as_str().unwrap();
    assert!(command.starts_with("dcos package repo add --index=0 weather-aws http://"), "{command}");
    let answer = fetch(command.rsplit(' ').next().unwrap()).await;
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4");
    let stub: Value = answer.json().await.unwrap();
    let uris = stub["packages"][0]["resource"]["assets"]["uris"].as_object().unwrap();
    assert_eq!(uris.len(), 3);
    for url in uris.values().map(|url| url.as_str().unwrap()) {
        let name = url.rsplit('/').next().unwrap();
        let bytes = fetch(url).await.error_for_status().unwrap().bytes().await.unwrap();
        assert_eq!(bytes, fs::read(project.path("svc").join(name)).unwrap(), "{url}");
    }

    proxy.requests();
    assert_eq!(publish()["outcome"], "unchanged");
    assert_eq!(writes(proxy.requests()), [] as [String; 0]);

    // an object that was lost, and one that is not what it should be though its size is
    let key = |name: &str| objects.iter().find(|object| object.name() == name).unwrap().key.clone();
    server.client(&["remove", BUCKET, &key("svc.yml")]);
    server.client(&["spoil", BUCKET, &key("tool")]);
    assert_eq!(publish()["outcome"], "repaired");
    let sent = writes(proxy.requests());
    assert_eq!(sent.len(), 2, "{sent:#?}");
    let again = server.objects();
    assert!(again.iter().zip(&objects).all(|(new, old)| (&new.key, &new.sha256) == (&old.key, &old.sha256)));
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_publisher_that_is_killed_leaves_no_stub_and_the_next_one_completes_it() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    proxy.fail("stub-universe-weather.v3.json?", Fault::Hold);
    let mut child = project.build(&proxy.url, &[]).spawn().unwrap();
    proxy.wait_held();
    kill_process(pid(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    // what was held goes nowhere
    assert_eq!(server.names(), ["SHA256SUMS", "bom.cdx.json", LARGE, "svc.yml", "tool"]);
    proxy.requests();

    assert_eq!(project.published(&proxy.url)["outcome"], "repaired");
    let sent = writes(proxy.requests());
    assert!(sent.len() == 3 && sent.iter().all(|request| request.contains("/stub-universe-")), "{sent:#?}");
    assert_eq!(server.names(), ALL);
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_network_that_is_lost_in_the_middle_of_a_file_is_told_and_the_next_run_completes_it() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    proxy.fail("partNumber=2", Fault::Cut);
    let message = failed(&project.build(&proxy.url, &[]).output().unwrap());
    assert!(message.contains(&format!("cannot reach S3 at {}/{BUCKET}: ", proxy.url)), "{message}");
    assert!(message.contains("run the same again"), "{message}");
    assert!(
        !server.names().iter().any(|name| name == LARGE || name.starts_with("stub-")),
        "{:?}",
        server.names()
    );

    proxy.mend();
    project.published(&proxy.url);
    assert_eq!(server.names(), ALL);
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn connections_that_break_now_and_then_are_survived() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    let requests =
        ["HEAD", "?uploads", "partNumber=1&", "large.bin?uploadId", "SHA256SUMS?", "weather.json?"];
    for request in requests {
        proxy.fail(request, Fault::BreakOnce);
    }
    // it was done, and nobody knows
    proxy.fail("large.bin?uploadId", Fault::LoseAnswer);
    proxy.fail("/tool?", Fault::LoseAnswer);
    assert_eq!(project.published(&proxy.url)["outcome"], "published");
    let seen = proxy.requests();
    for request in requests {
        let times = seen.iter().filter(|line| line.contains(request)).count();
        assert!(times >= 2, "{request} was not sent again: {seen:#?}");
    }
    assert_eq!(proxy.faults_left(), 0);
    assert_eq!(server.names(), ALL);
    assert_eq!(server.unfinished_uploads(), 0);
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_file_that_changes_while_it_is_sent_is_not_published() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    // a small file goes in one piece
    let tool = project.path("svc/tool");
    let original = fs::read(&tool).unwrap();
    proxy.fail("/tool", Fault::Hold);
    let child = project.build(&proxy.url, &[]).spawn().unwrap();
    proxy.wait_held();
    fs::write(&tool, original.to_ascii_uppercase()).unwrap();
    proxy.mend();
    let message = failed(&child.wait_with_output().unwrap());
    assert!(message.contains("tool has changed while it was published"), "{message}");
    assert!(
        !server.names().iter().any(|name| name == "tool" || name.starts_with("stub-")),
        "{:?}",
        server.names()
    );
    fs::write(&tool, original).unwrap();

    let large = project.path("svc").join(LARGE);
    let original = fs::read(&large).unwrap();
    let other = |with: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = original.clone();
        with(&mut bytes);
        bytes
    };
    let last = original.len() - 1;
    for (what, changed) in [
        ("one bit", other(&|bytes| bytes[last] ^= 1)),
        ("longer", other(&|bytes| bytes.push(0))),
        ("shorter", other(&|bytes| bytes.truncate(9 << 20))),
        ("a part more", other(&|bytes| bytes.extend(vec![0; 9 << 20]))),
    ] {
        proxy.fail("?uploads", Fault::Hold);
        let child = project.build(&proxy.url, &[]).spawn().unwrap();
        proxy.wait_held();
        fs::write(&large, changed).unwrap();
        proxy.mend();
        let message = failed(&child.wait_with_output().unwrap());
        assert!(message.contains("large.bin has changed while it was published"), "{what}: {message}");
        assert_eq!(server.unfinished_uploads(), 0, "{what}");
        assert!(!server.names().iter().any(|name| name == LARGE || name.starts_with("stub-")), "{what}");
        fs::write(&large, &original).unwrap();
    }
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_file_that_disappears_is_named_and_nothing_is_left() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    proxy.fail(LARGE, Fault::Hold);
    let child = project.build(&proxy.url, &[]).spawn().unwrap();
    proxy.wait_held();
    fs::remove_file(project.path("svc").join(LARGE)).unwrap();
    proxy.mend();
    let message = failed(&child.wait_with_output().unwrap());
    assert!(message.contains("cannot read ./svc/large.bin: No such file or directory"), "{message}");
    assert_eq!(server.unfinished_uploads(), 0);
    assert!(!server.names().iter().any(|name| name.starts_with("stub-")), "{:?}", server.names());
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_publisher_that_is_asked_to_stop_clears_away_what_is_half_sent() {
    let (server, project) = (Server::start(), Project::new());
    let proxy = Proxy::start(&server.url);
    for signal in [Signal::INT, Signal::TERM] {
        proxy.fail("partNumber=2", Fault::Hold);
        let child = project.build(&proxy.url, &[]).spawn().unwrap();
        proxy.wait_held();
        kill_process(pid(&child), signal).unwrap();
        let message = failed(&child.wait_with_output().unwrap());
        assert!(message.contains("stopped: no stub universe was published"), "{message}");
        assert_eq!(server.unfinished_uploads(), 0);
        assert!(!server.names().iter().any(|name| name == LARGE || name.starts_with("stub-")));
        proxy.mend();
    }
}

/// What is wrong, the variables that make it so, and what is said.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn what_is_wrong_is_told_in_one_message_that_says_how_to_mend_it() {
    let (server, project) = (Server::start(), Project::new());
    // bound and closed again: nobody listens there
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}");
    let web = web_server();
    let missing = "/nonexistent/ca.pem";
    fs::write(project.path("not.pem"), "-").unwrap();
    let long = "x".repeat(1000);
    let cases: &[Case] = &[
        ("no bucket", &[("S3_BUCKET", "")], &["no bucket is set", "S3_BUCKET=NAME"]),
        (
            "not there",
            &[("S3_BUCKET", "nowhere")],
            &["there is no bucket `nowhere`", "aws s3 mb s3://nowhere"],
        ),
        ("a bad name", &[("S3_BUCKET", "a/b")], &["there is no bucket `a/b`"]),
        ("no keys", &[("AWS_ACCESS_KEY_ID", "")], &["there are no credentials for S3", "AWS_PROFILE"]),
        (
            "no profile",
            &[("AWS_PROFILE", "x"), ("AWS_ACCESS_KEY_ID", "")],
            &["there are no credentials for S3", "profile `x`"],
        ),
        (
            "nobody there",
            &[("AWS_ENDPOINT_URL", &nobody)],
            &["cannot reach S3 at http", "Connection refused", "AWS_ENDPOINT_URL"],
        ),
        ("a web server", &[("AWS_ENDPOINT_URL", &web)], &["HTTP 405", "a server for S3?"]),
        (
            "no host",
            &[("AWS_ENDPOINT_URL", "http://s3.invalid")],
            &["cannot reach S3 at http://s3.invalid", "dns"],
        ),
        ("no URL", &[("AWS_ENDPOINT_URL_S3", "minio")], &["there is no URL for bucket", "AWS_ENDPOINT_URL"]),
        (
            "a password",
            &[("AWS_ENDPOINT_URL_S3", "http://a:b@h")],
            &["must not contain a user or a password"],
        ),
        ("no region", &[("AWS_ENDPOINT_URL", "")], &["no region is set", "AWS_UPLOAD_REGION"]),
        ("dots", &[("S3_DIR_PATH", "a/../b")], &["`a/../b` cannot be the path of objects", "S3_DIR_PATH"]),
        ("too long", &[("S3_DIR_PATH", &long)], &["cannot be the path of objects", "S3 takes 1024"]),
        ("an ACL", &[("AWS_UPLOAD_ACL", "public")], &["`public` is no canned ACL", "public-read,"]),
        ("S3_URL", &[("S3_URL", "s3://bucket")], &["must have the form s3://BUCKET/DIRECTORY"]),
        ("ARTIFACT_DIR", &[("ARTIFACT_DIR", "/x")], &["ARTIFACT_DIR"]),
        (
            "no roots",
            &[("AWS_CA_BUNDLE", missing)],
            &["the certificates in /nonexistent/ca.pem cannot be used"],
        ),
        ("bad roots", &[("AWS_CA_BUNDLE", "not.pem")], &["the certificates in not.pem cannot be used"]),
        ("no folder", &[("WORKSPACE", "/nonexistent")], &["there is no folder /nonexistent"]),
        ("a plus", &[("S3_DIR_NAME", "1+1")], &["`weather/1+1` cannot be published to S3"]),
    ];
    for (what, variables, expected) in cases {
        let mut command = project.build(&server.url, &[]);
        for (name, value) in *variables {
            if name.starts_with("AWS") && value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let message = failed(&command.output().unwrap());
        for text in *expected {
            assert!(message.contains(text), "{what}: {text}: {message}");
        }
        assert!(message.lines().count() <= 3, "{what}: {message}");
        assert!(!message.contains("Error {") && !message.contains("Some("), "{what}: {message}");
    }
    assert_eq!(server.names(), [] as [&str; 0]);
}

/// A server that knows nothing of S3, in this process.
fn web_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1 << 10]);
            let _ = stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 12\r\nConnection: close\r\n\r\n<html></html");
        }
    });
    url
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn the_documented_policy_is_enough_to_publish_and_less_is_denied() {
    let (server, project) = (Server::start(), Project::new());
    let policy = documented_policy(1);
    let run = |user: &Value| {
        let mut command = project.build(&server.url, &[]);
        command.env("AWS_ACCESS_KEY_ID", user["id"].as_str().unwrap());
        command.env("AWS_SECRET_ACCESS_KEY", user["secret"].as_str().unwrap());
        command.output().unwrap()
    };
    let good = server.client(&["user", "good", &policy]);
    let reader = server.client(&["user", "reader", &policy.replace("\"s3:PutObject\", ", "")]);
    server.enforce(true);
    let message = failed(&run(&reader));
    assert!(message.contains(&format!("may not do s3:PutObject on s3://{BUCKET}/weather/")), "{message}");
    assert!(message.contains("docs/publishing.md"), "{message}");
    assert!(!message.contains(reader["secret"].as_str().unwrap()), "{message}");

    let mut wrong = good.clone();
    wrong["secret"] = "not-the-secret".into();
    let message = failed(&run(&wrong));
    assert!(message.contains("S3 does not accept the credentials"), "{message}");
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    wrong["id"] = "AKIANOBODY".into();
    let message = failed(&run(&wrong));
    assert!(message.contains("InvalidAccessKeyId"), "{message}");

    assert_eq!(succeeded(&run(&good))["outcome"], "published");
    assert_eq!(succeeded(&run(&good))["outcome"], "unchanged");
    server.enforce(false);
    assert_eq!(server.names(), ALL);
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_stub_that_clusters_cannot_read_is_warned_of_and_an_acl_mends_it() {
    let (server, project) = (Server::empty(&[]), Project::new());
    server.client(&["bucket", BUCKET]);
    let result = project.published(&server.url);
    let note = result["note"].as_str().unwrap();
    assert!(note.contains("cannot be read without credentials") && note.contains("403"), "{note}");
    // the objects are there, but not with this ACL
    let mut command = project.build(&server.url, &[]);
    let result = succeeded(&command.env("AWS_UPLOAD_ACL", "public-read").output().unwrap());
    assert_eq!((&result["outcome"], &result["note"]), (&"published".into(), &Value::Null));
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn names_and_urls_can_be_given_and_are_handed_on() {
    let (server, project) = (Server::start(), Project::new());
    let keys = || server.objects().into_iter().map(|object| object.key).collect::<Vec<_>>();
    let mut command = project.build(&server.url, &[]);
    command.env("S3_DIR_PATH", "/autodelete7d/").env("S3_DIR_NAME", "20200101-1").env("WORKSPACE", ".");
    command.env("UNIVERSE_URL_PATH", "url").env("UNIVERSE_URL_PREFIX", "https://c.example.org/?url=");
    let result = succeeded(&command.arg("--package-version=1.2").output().unwrap());
    let stub = format!("{}/{BUCKET}/autodelete7d/weather/20200101-1/{STUB}", server.url);
    assert_eq!(result["stubUrl"], format!("https://c.example.org/?url={stub}"));
    assert!(keys().iter().all(|key| key.starts_with("autodelete7d/weather/20200101-1/")), "{:?}", keys());
    let read = |name: &str| fs::read_to_string(project.path(name)).unwrap();
    assert_eq!(read("url"), format!("https://c.example.org/?url={stub}\n"));
    assert_eq!(
        read("1.2.properties"),
        format!(
            "STUB_UNIVERSE_URL=https://c.example.org/?url={stub}\n\
             STUB_UNIVERSE_S3_DIR=s3://{BUCKET}/autodelete7d/weather/20200101-1\n"
        )
    );

    let mut command = project.build(&server.url, &[]);
    command
        .env("S3_URL", format!("s3://{BUCKET}/anywhere/else"))
        .env("ARTIFACT_DIR", "https://cdn.example.org/w");
    let result = succeeded(&command.output().unwrap());
    assert_eq!(result["stubUrl"], format!("https://cdn.example.org/w/{STUB}"));
    assert_eq!(result["place"], format!("s3://{BUCKET}/anywhere/else"));
    // nobody knows that host
    assert!(result["note"].as_str().unwrap().contains("cannot be read without credentials"));
    let new = keys().iter().filter(|key| key.starts_with("anywhere/else/")).count();
    assert_eq!(new, ALL.len());
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_dry_run_asks_nobody_and_says_what_would_be_published() {
    let project = Project::new();
    let mut command = project.build("http://s3.invalid", &[]);
    command.env("DRY_RUN", "true").env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let result = succeeded(&command.output().unwrap());
    assert_eq!((&result["dryRun"], result["files"].as_array().unwrap().len()), (&true.into(), ALL.len()));
    let mut command = project.build("", &["--region", "eu-central-1"]);
    command.env("DRY_RUN", "1").env_remove("AWS_ENDPOINT_URL");
    let result = succeeded(&command.output().unwrap());
    let url = result["url"].as_str().unwrap();
    assert!(url.starts_with("https://packages.s3.eu-central-1.amazonaws.com/weather/"), "{url}");
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn a_server_with_certificates_of_its_own_is_trusted_when_they_are_given() {
    let project = Project::new();
    let maker = Server::empty(&[]);
    maker.client(&["certificates", project.folder.path().to_str().unwrap()]);
    let file = |name: &str| project.path(name).to_str().unwrap().to_owned();
    let server = Server::empty(&["-s", "-c", &file("server.pem"), "-k", &file("server.key")]);
    let message = failed(&project.build(&server.url, &[]).output().unwrap());
    assert!(message.contains("certificate"), "{message}");
    let build = || {
        let mut command = project.build(&server.url, &[]);
        command.env("AWS_CA_BUNDLE", file("authority.pem"));
        command.output().unwrap()
    };
    let message = failed(&build());
    assert!(message.contains("there is no bucket `packages`"), "{message}");
}

#[test]
#[ignore = "needs run/s3: ./build.sh test"]
fn credentials_come_from_profiles_and_processes_too() {
    let (server, project) = (Server::start(), Project::new());
    fs::create_dir(project.path(".aws")).unwrap();
    let printed =
        format!(r#"{{"Version": 1, "AccessKeyId": "{}", "SecretAccessKey": "{SECRET}"}}"#, harness::KEY_ID);
    fs::write(project.path("keys.json"), printed).unwrap();
    fs::write(
        project.path(".aws/config"),
        format!(
            "[profile keys]\nregion = us-east-1\naws_access_key_id = {}\naws_secret_access_key = {SECRET}\n\
             [profile process]\ncredential_process = /bin/cat {}\n\
             [profile broken]\ncredential_process = /bin/false\n",
            harness::KEY_ID,
            project.path("keys.json").display()
        ),
    )
    .unwrap();
    let run = |profile: &str| {
        let mut command = project.build(&server.url, &[]);
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_PROFILE", profile);
        command.output().unwrap()
    };
    assert_eq!(succeeded(&run("keys"))["outcome"], "published");
    assert_eq!(succeeded(&run("process"))["outcome"], "unchanged");
    let message = failed(&run("broken"));
    assert!(message.contains("cannot get credentials for S3"), "{message}");
}
