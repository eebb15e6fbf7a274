//! Web servers of others, each with the configuration that `dagpkg build web --print-config` prints for it, and no more
//! than they need besides. Marked `ignore`, because they need the server: `./build.sh test` runs those that can be run.

use super::Fixture;
use dagpkg::sandbox::cosmos::{Package, Repository, fetch};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // nothing can be done about it here
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes a package, lets `configure` write a configuration around the part that is printed for the server, starts it,
/// and reads what it serves.
fn serves(name: &str, configure: impl Fn(&Path, u16, &str) -> Command) {
    let fixture = Fixture::new(100_000);
    // free a moment ago; nobody else takes ports by number here
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = fixture.build(&fixture.path("www"), &url).args(["--print-config", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut command = configure(fixture.folder.path(), port, report["note"].as_str().unwrap());
    let log = std::fs::File::create(fixture.path("log")).unwrap();
    let mut server = Server(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = std::fs::read_to_string(fixture.path("log")).unwrap();
        assert!(server.0.try_wait().unwrap().is_none(), "{name} ended: {log}");
        assert!(started.elapsed() < Duration::from_mins(1), "{name} does not listen: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(read(&report));
}

async fn read(report: &Value) {
    let client = dagpkg::http::client().unwrap();
    let (url, stub) = (report["url"].as_str().unwrap(), report["stubUrl"].as_str().unwrap());
    let stub_of = |format: &str| stub.replace(".json", &format!("{format}.json"));
    for file in report["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let answer = client.get(format!("{url}/{name}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
        // some servers have no type for files that they do not know
        let content_type =
            answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let content_type = content_type.unwrap_or_default();
        if name.starts_with("stub-universe-") {
            assert_eq!(content_type, file["contentType"].as_str().unwrap(), "{name}");
        } else {
            assert!(!content_type.contains("vnd.dcos"), "{name}: {content_type}");
        }
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file["size"].as_u64().unwrap(), "{name}");
    }
    let content_type = |name: &str| {
        let file = report["files"].as_array().unwrap().iter().find(|file| file["name"] == name).unwrap();
        file["contentType"].as_str().unwrap().rsplit_once('=').unwrap().1.to_owned()
    };
    assert_eq!(content_type("stub-universe-weather.json"), "v4");
    assert_eq!(content_type("stub-universe-weather.v3.json"), "v3");
    // as a cluster reads it
    for format in ["", ".v3", ".v5"] {
        let repository = Repository { name: "weather-web".into(), uri: stub_of(format) };
        let packages: Vec<Package> = fetch(&client, &repository, true).await.unwrap();
        assert_eq!((packages.len(), packages[0].name.as_str()), (1, "weather"), "{format}");
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
#[ignore = "needs nginx"]
fn nginx_serves_a_package_with_the_configuration_that_is_printed_for_it() {
    serves("nginx", |folder, port, printed| {
        let (at, root) = (folder.display(), folder.join("www"));
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr; events {{ }}
             http {{
               include /etc/nginx/mime.types; access_log off;
               client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;
               uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;
               server {{ listen 127.0.0.1:{port}; root {root};\n{printed}\n}}
             }}",
            root = root.display()
        );
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(write(folder, "nginx.conf", &config))
            .args(["-e", "stderr"]);
        command
    });
}

#[test]
#[ignore = "needs apache2"]
fn apache2_serves_a_package_with_the_configuration_that_is_printed_for_it() {
    serves("apache", |folder, port, printed| {
        let (at, root) = (folder.display(), folder.join("www"));
        let module =
            |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        let types = write(folder, "mime.types", "application/json json\n");
        let modules: String = ["mpm_event", "authz_core", "mime", "dir", "alias"].map(module).concat();
        let config = format!(
            "{modules}ServerRoot {at}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {at}/pid\n\
             Mutex file:{at}\nErrorLog {at}/log\nTypesConfig {types}\nDocumentRoot {root}\n\
             <IfModule unixd_module>\nUser nobody\nGroup nogroup\n</IfModule>\n\
             <Directory {root}>\nRequire all granted\n{printed}\n</Directory>\n",
            types = types.display(),
            root = root.display()
        );
        let mut command = Command::new("apache2");
        command.arg("-X").arg("-f").arg(write(folder, "apache.conf", &config));
        command
    });
}

#[test]
#[ignore = "needs caddy"]
fn caddy_serves_a_package_with_the_configuration_that_is_printed_for_it() {
    serves("caddy", |folder, port, printed| {
        let root = folder.join("www");
        let config = format!(
            "{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n root * {}\n file_server\n{printed}\n}}\n",
            root.display()
        );
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(write(folder, "Caddyfile", &config));
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    });
}
