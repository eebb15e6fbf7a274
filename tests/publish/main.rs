//! `dagpkg build web` against what happens to publishers: kills, full disks, missing permission, other servers' ideas of
//! media types. Real processes, real file systems, real web servers.

mod faults;
mod servers;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const DAGPKG: &str = env!("CARGO_BIN_EXE_dagpkg");

/// A package with one big artifact, and a root to publish it to.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(big: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write(
            "universe/package.json",
            br#"{"packagingVersion": "4.0", "name": "weather", "version": "1", "tags": [], "maintainer": "m",
                "description": "d", "upgradesFrom": ["*"]}"#,
        );
        write(
            "universe/resource.json",
            br#"{"assets": {"uris": {"a": "{{artifact-dir}}/big.bin", "b": "{{artifact-dir}}/small.json"}}}"#,
        );
        write("svc/small.json", b"{}");
        write("svc/big.bin", &vec![b'x'; big]);
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn build(&self, root: &Path, url: &str) -> Command {
        let mut command = Command::new(DAGPKG);
        command.args(["build", "web", "--output", "json", "--url", url, "--root"]).arg(root);
        command.arg(self.folder.path()).env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }

    /// Publishes to the folder `www`, which must succeed; answers what the program says about it.
    fn publish(&self, url: &str) -> Value {
        let output = self.build(&self.path("www"), url).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// All files below a folder that a web server shows, with their sizes.
fn visible(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), entry.metadata().unwrap().len());
            }
        }
    }
    found
}
