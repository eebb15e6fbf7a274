//! The fetcher against real files, archives and an HTTP server.

use super::*;
use std::io::Write;

fn uri(value: impl Into<String>) -> Uri {
    Uri { value: value.into(), ..Uri::default() }
}

fn client() -> reqwest::Client {
    crate::http::client().unwrap()
}

/// A gzipped tar with one member, whose name is written as it is, even with `..` in it.
fn tgz(member: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..member.len()].copy_from_slice(member.as_bytes());
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    tar.append(&header, content).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

fn zip(member: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

async fn fetch_bytes(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<(), FetchError>) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join(name);
    fs::write(&source, bytes).unwrap();
    let sandbox = dir.path().join("outer/sandbox");
    fs::create_dir_all(&sandbox).unwrap();
    let result = fetch(&client(), &uri(source.to_str().unwrap()), &sandbox).await;
    (dir, result)
}

#[tokio::test]
async fn archives_are_extracted_by_their_extension_and_kept() {
    let gz = {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(b"hello").unwrap();
        e.finish().unwrap()
    };
    let cases = [
        ("a.tgz", tgz("f", b"hello")),
        ("a.tar.gz", tgz("f", b"hello")),
        ("a.zip", zip("f", b"hello")),
        ("f.gz", gz),
    ];
    for (name, bytes) in cases {
        let (dir, result) = fetch_bytes(name, &bytes).await;
        result.unwrap_or_else(|e| panic!("{name}: {e}"));
        let sandbox = dir.path().join("outer/sandbox");
        assert_eq!(fs::read(sandbox.join("f")).unwrap(), b"hello", "{name}");
        assert!(sandbox.join(name).exists(), "{name} stays in the sandbox");
        assert_eq!(fs::read_dir(&sandbox).unwrap().count(), 2, "{name}: no temporary file stays");
    }
}

#[tokio::test]
async fn a_member_outside_of_the_sandbox_is_refused_and_the_error_names_archive_and_member() {
    for (name, bytes) in [("evil.tgz", tgz("../out", b"x")), ("evil.zip", zip("../out", b"x"))] {
        let (dir, result) = fetch_bytes(name, &bytes).await;
        let text = result.expect_err(name).to_string();
        assert!(text.contains(name) && text.contains("../out"), "{text}");
        assert!(!dir.path().join("outer/out").exists(), "{name} wrote outside");
    }
}

#[tokio::test]
async fn a_member_is_not_written_through_a_link_that_leads_outside() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "link", "..").unwrap();
    let mut file = tar::Header::new_gnu();
    file.set_size(1);
    file.set_mode(0o644);
    tar.append_data(&mut file, "link/out", &b"x"[..]).unwrap();
    let (dir, result) = fetch_bytes("evil.tar", &tar.into_inner().unwrap()).await;
    assert!(result.is_err());
    assert!(!dir.path().join("outer/out").exists());
}

#[tokio::test]
async fn a_file_is_stored_under_its_output_name_and_made_executable_instead_of_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.tgz");
    fs::write(&source, tgz("f", b"hello")).unwrap();
    let sandbox = dir.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let wanted = Uri {
        output_file: Some("bin/tool.tgz".into()),
        executable: Some(true),
        ..uri(format!("file://{}", source.display()))
    };
    fetch(&client(), &wanted, &sandbox).await.unwrap();
    let mode = fs::metadata(sandbox.join("bin/tool.tgz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    assert!(!sandbox.join("f").exists());
}

#[tokio::test]
async fn names_that_lead_out_of_the_sandbox_and_unknown_schemes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| Uri { output_file: Some(name.into()), ..uri("/etc/passwd") };
    for bad in [named("../x"), named("/x"), named(""), uri("http://127.0.0.1"), uri("/etc/..")] {
        assert!(
            matches!(fetch(&client(), &bad, dir.path()).await, Err(FetchError::BadName { .. })),
            "{bad:?} was accepted"
        );
    }
    for bad in ["hdfs://a/b", "relative/path"] {
        assert!(matches!(fetch(&client(), &uri(bad), dir.path()).await, Err(FetchError::Unsupported { .. })));
    }
}

#[tokio::test]
async fn http_files_are_fetched_and_a_missing_one_is_named_with_its_status() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/dir/f.txt", axum::routing::get(|| async { "hello" }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let dir = tempfile::tempdir().unwrap();
    fetch(&client(), &uri(format!("{base}/dir/f.txt")), dir.path()).await.unwrap();
    assert_eq!(fs::read(dir.path().join("f.txt")).unwrap(), b"hello");
    let error = fetch(&client(), &uri(format!("{base}/dir/none")), dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("/dir/none") && error.contains("404"), "{error}");
    assert!(!dir.path().join("none").exists());
    server.abort();
}
