//! Publishing that is stopped, and the next run that completes it.

use super::{DAGPKG, Fixture, visible};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

const URL: &str = "https://packages.example.org";

/// The hidden folders of a root, where what is not published yet is written.
fn staged(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
}

/// Bytes that are staged below a root; files may come and go meanwhile.
fn staged_bytes(root: &Path) -> u64 {
    let files =
        staged(root).into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[test]
fn a_publisher_that_is_killed_leaves_nothing_to_be_seen_and_the_next_completes() {
    const SIZE: usize = 192 << 20;
    let fixture = Fixture::new(SIZE);
    let root = fixture.path("www");
    let mut killed_halfway = 0;
    for share in [0, 1, 2, 4, 6, 8] {
        let enough = (SIZE / 8 * share) as u64;
        let mut publisher = fixture.build(&root, URL).stdout(Stdio::null()).spawn().unwrap();
        // until so much is written, or until it is done before that was seen
        while (staged(&root).is_empty() || staged_bytes(&root) < enough)
            && publisher.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        publisher.kill().unwrap();
        publisher.wait().unwrap();
        let seen = visible(&root);
        if seen.is_empty() {
            killed_halfway += 1;
        } else {
            assert_eq!(seen.len(), 7, "all or nothing: {seen:?}");
            assert!(seen.values().any(|size| *size == SIZE as u64), "{seen:?}");
            let report = fixture.publish(URL);
            assert_eq!(report["outcome"], "unchanged");
            fs::remove_dir_all(&root).unwrap();
        }
    }
    assert!(killed_halfway > 0, "no run was killed before its end");
    fixture.publish(URL);
    assert_eq!(fixture.publish(URL)["outcome"], "unchanged");
    assert_eq!(visible(&root).len(), 7);
    assert_eq!(staged(&root), Vec::<std::path::PathBuf>::new(), "what killed runs left is gone");
}

#[test]
fn a_file_that_may_not_grow_further_ends_publishing_and_leaves_nothing() {
    let fixture = Fixture::new(4 << 20);
    let root = fixture.path("www");
    let build = fixture.build(&root, URL);
    // files of at most 1 MB (blocks of 512 bytes); without the signal that would end the program
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh", DAGPKG]).args(build.get_args());
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("big.bin: File too large") && error.contains("help: nothing was published"),
        "{error}"
    );
    assert!(!root.exists(), "{:?}", staged(&root));
    assert_eq!(fixture.publish(URL)["outcome"], "published");
}

#[test]
#[ignore = "needs a mount namespace: unshare -rm"]
fn a_disk_that_is_full_in_a_mount_namespace_ends_publishing_and_leaves_nothing() {
    let fixture = Fixture::new(4 << 20);
    let root = fixture.path("mounted");
    fs::create_dir(&root).unwrap();
    let build = fixture.build(&root, URL);
    // what is below the mount can only be seen from inside
    let script = "mount -t tmpfs -o size=1m none \"$ROOT\" && ! \"$@\" && find \"$ROOT\" && \
                  mount -o remount,size=16m \"$ROOT\" && \"$@\" >/dev/null && find \"$ROOT\" -type f | wc -l";
    let mut inside = Command::new("unshare");
    inside.args(["-rm", "sh", "-c", script, "sh", DAGPKG]).args(build.get_args()).env("ROOT", &root);
    let output = inside.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("big.bin: No space left on device") && error.contains("help: nothing was"),
        "{error}"
    );
    let seen = String::from_utf8(output.stdout).unwrap();
    assert_eq!(seen, format!("{}\n7\n", root.display()), "first nothing, then all");
}

#[test]
fn a_root_that_may_not_be_written_is_named_and_left_as_it_is() {
    let fixture = Fixture::new(1);
    let root = fixture.path("www");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o555)).unwrap();
    let build = fixture.build(&root, URL);
    let mut command = if rustix::process::getuid().is_root() {
        // root may write everywhere: drop that right, and nothing else
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override", "--inh-caps=-dac_override", DAGPKG]);
        command
    } else {
        Command::new(DAGPKG)
    };
    let output = command.args(build.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("cannot write {}", root.display())), "{error}");
    assert!(error.contains("Permission denied") && error.contains("help: publish as a user who"), "{error}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fixture.publish(URL)["outcome"], "published");
}

#[test]
fn a_file_that_another_writes_while_it_is_copied_is_not_published() {
    const SIZE: usize = 64 << 20;
    let fixture = Fixture::new(SIZE);
    let root = fixture.path("www");
    let mut errors = Vec::new();
    // a machine that is busy elsewhere may let the other come too late
    for byte in 0..20 {
        let publisher =
            fixture.build(&root, URL).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        while staged_bytes(&root) == 0 && visible(&root).is_empty() {
            std::thread::yield_now();
        }
        let file = fs::File::options().write(true).open(fixture.path("svc/big.bin")).unwrap();
        file.write_all_at(&[byte], SIZE as u64 - 1).unwrap();
        let output = publisher.wait_with_output().unwrap();
        if !output.status.success() {
            errors.push(String::from_utf8(output.stderr).unwrap());
            break;
        }
        for (file, _) in visible(&root).into_iter().filter(|(file, _)| file.ends_with("big.bin")) {
            let mut check = Command::new("sha256sum");
            check.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(file.parent().unwrap());
            assert!(check.status().unwrap().success(), "{}", file.display());
        }
        fs::remove_dir_all(&root).unwrap();
    }
    assert!(errors[0].contains("big.bin has changed while it was published"), "{errors:?}");
    assert!(!root.exists(), "{:?} {:?}", visible(&root), staged(&root));
    assert_eq!(fixture.publish(URL)["outcome"], "published");
}
