//! One suite for all stores, and what only the one in a file can do.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Runs a test on every kind of store.
fn on_each(test: impl Fn(&dyn Store)) {
    test(&MemoryStore::new());
    let folder = tempfile::tempdir().unwrap();
    test(&EmbeddedStore::open(folder.path()).unwrap());
}

fn text(store: &dyn Store, path: &str) -> Option<String> {
    store.get(path).unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_was_set_is_read_back_and_its_parents_have_no_value() {
    on_each(|store| {
        store.apply(&[Change::set("Tasks/hello-0/TaskInfo", "info")]).unwrap();
        assert_eq!(text(store, "Tasks/hello-0/TaskInfo").as_deref(), Some("info"));
        for absent in ["Tasks", "Tasks/hello-0", "Tasks/hello-0/TaskStatus", "Tasks/hello-0/TaskInfo/x"] {
            assert_eq!(text(store, absent), None, "{absent}");
        }
    });
}

#[test]
fn children_are_the_names_directly_below_sorted_and_each_once() {
    on_each(|store| {
        store
            .apply(&[
                Change::set("Tasks/b/TaskInfo", "1"),
                Change::set("Tasks/b/TaskStatus", "2"),
                // `-` and `.` sort before `/`, so the keys of `a` do not lie side by side
                Change::set("Tasks/a", "3"),
                Change::set("Tasks/a-1/x", "4"),
                Change::set("Tasks/a/x", "5"),
                Change::set("Tasks/a.b", "6"),
                Change::set("TasksElsewhere/z", "7"),
                Change::set("FrameworkID", "8"),
            ])
            .unwrap();
        assert_eq!(store.children("Tasks").unwrap(), ["a", "a-1", "a.b", "b"]);
        assert_eq!(store.children("Tasks/b").unwrap(), ["TaskInfo", "TaskStatus"]);
        assert_eq!(store.children("").unwrap(), ["FrameworkID", "Tasks", "TasksElsewhere"]);
        assert!(store.children("Tasks/nobody").unwrap().is_empty());
        assert!(store.children("FrameworkID").unwrap().is_empty());
    });
}

#[test]
fn delete_takes_all_below_and_nothing_beside() {
    on_each(|store| {
        store
            .apply(&[
                Change::set("Tasks/a", "own value"),
                Change::set("Tasks/a/TaskInfo", "1"),
                Change::set("Tasks/a/Metadata/x", "2"),
                Change::set("Tasks/a-1/TaskInfo", "3"),
                Change::set("Tasks/ab/TaskInfo", "4"),
            ])
            .unwrap();
        store.apply(&[Change::delete("Tasks/a")]).unwrap();
        assert_eq!(store.children("Tasks").unwrap(), ["a-1", "ab"]);
        assert_eq!(text(store, "Tasks/a"), None);
        store.apply(&[Change::delete("Tasks/never-was")]).unwrap();
        store.apply(&[Change::delete("")]).unwrap();
        assert!(store.children("").unwrap().is_empty());
    });
}

#[test]
fn changes_happen_in_order() {
    on_each(|store| {
        store.apply(&[Change::set("a/old", "1")]).unwrap();
        store
            .apply(&[
                Change::set("a/lost", "2"),
                Change::delete("a"),
                Change::set("a/new", "3"),
                Change::set("a/new", "4"),
            ])
            .unwrap();
        assert_eq!(store.children("a").unwrap(), ["new"]);
        assert_eq!(text(store, "a/new").as_deref(), Some("4"));
    });
}

#[test]
fn one_bad_change_and_none_is_made() {
    on_each(|store| {
        store.apply(&[Change::set("a", "1"), Change::set("b", "1")]).unwrap();
        let too_large = vec![0; MAX_VALUE_BYTES + 1];
        for bad in [Change::set("x", too_large), Change::set("x/../y", "1"), Change::delete("/x")] {
            let changes = [Change::set("a", "2"), Change::delete("b"), bad];
            store.apply(&changes).unwrap_err();
            assert_eq!(text(store, "a").as_deref(), Some("1"), "{changes:?}");
            assert_eq!(text(store, "b").as_deref(), Some("1"), "{changes:?}");
        }
    });
}

#[test]
fn values_up_to_the_limit_and_of_any_bytes_are_kept() {
    on_each(|store| {
        let largest = vec![0xff; MAX_VALUE_BYTES];
        store.apply(&[Change::set("largest", largest.clone()), Change::set("empty", "")]).unwrap();
        assert!(store.get("largest").unwrap() == Some(largest));
        assert_eq!(store.get("empty").unwrap(), Some(Vec::new()));
    });
}

#[test]
fn paths_that_zookeeper_would_refuse_are_refused() {
    on_each(|store| {
        for path in ["/a", "a/", "a//b", ".", "a/..", "a/./b", "a\0b", "a\nb"] {
            for answer in [
                store.get(path).map(drop),
                store.children(path).map(drop),
                store.apply(&[Change::set(path, "x")]),
                store.apply(&[Change::delete(path)]),
            ] {
                assert!(matches!(answer, Err(StoreError::BadPath { .. })), "{path:?}");
            }
        }
        assert!(store.get("").is_err(), "the root has no value");
        assert!(store.apply(&[Change::set("", "x")]).is_err(), "the root has no value");
    });
}

#[test]
fn readers_see_a_change_whole_or_not_at_all() {
    on_each(|store| {
        store.apply(&[Change::set("both/0", "same"), Change::set("seen", "0")]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 1..30 {
                    store
                        .apply(&[Change::delete("both"), Change::set(format!("both/{turn}"), "same")])
                        .unwrap();
                }
            });
            for _ in 0..200 {
                assert_eq!(store.children("both").unwrap().len(), 1);
            }
        });
    });
}

fn file_in(folder: &Path) -> std::path::PathBuf {
    folder.join("state.redb")
}

#[test]
fn state_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("not/yet/there");
    EmbeddedStore::open(&place).unwrap().apply(&[Change::set("a/b", "kept")]).unwrap();
    let again = EmbeddedStore::open(&place).unwrap();
    assert_eq!(text(&again, "a/b").as_deref(), Some("kept"));
}

#[test]
fn only_the_owner_can_read_the_state_and_folders_of_others_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let set =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    set(folder.path(), 0o755);
    let place = folder.path().join("a/b");
    drop(EmbeddedStore::open(&place).unwrap());
    for (path, expected) in [(folder.path(), 0o755), (&folder.path().join("a"), 0o700), (&place, 0o700)] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    assert_eq!(mode(&file_in(&place)), 0o600);
    set(&file_in(&place), 0o644);
    drop(EmbeddedStore::open(&place).unwrap());
    assert_eq!(mode(&file_in(&place)), 0o600);
    let names: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state.redb"], "something else was left behind");
}

#[test]
fn a_second_scheduler_is_refused_while_the_first_one_lives() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedStore::open(folder.path()).unwrap();
    let refused = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
    assert!(refused.to_string().contains("another scheduler uses"), "{refused}");
    drop(first);
    EmbeddedStore::open(folder.path()).unwrap();
}

#[test]
fn unchanged_values_are_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    store.apply(&[Change::set("a/b", "same"), Change::set("c", "other")]).unwrap();
    let before = std::fs::read(file_in(folder.path())).unwrap();
    store
        .apply(&[Change::set("c", "other"), Change::set("a/b", "same"), Change::delete("nothing/there")])
        .unwrap();
    assert!(before == std::fs::read(file_in(folder.path())).unwrap(), "the file was written");
    store.apply(&[Change::set("c", "new")]).unwrap();
    assert!(before != std::fs::read(file_in(folder.path())).unwrap(), "the file was not written");
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(folder.path());
    let refuse = |what: &str| {
        let before = std::fs::read(&path).unwrap();
        let error = EmbeddedStore::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{what}: {error}");
        assert!(error.to_string().contains("state.redb"), "{what}: {error}");
        before
    };
    for (what, bytes) in [("short text", b"hello".to_vec()), ("long text", vec![b'x'; 100_000])] {
        std::fs::write(&path, &bytes).unwrap();
        assert!(refuse(what) == std::fs::read(&path).unwrap(), "{what}: changed");
    }
    std::fs::remove_file(&path).unwrap();
    let other: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("values");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert("x", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refuse("a database of something else");
}

#[test]
fn a_damaged_file_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(folder.path());
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let changes: Vec<_> = (0..50).map(|i| Change::set(format!("t/{i:02}"), "a value ".repeat(40))).collect();
    store.apply(&changes).unwrap();
    drop(store);
    let sound = std::fs::read(&path).unwrap();
    let in_a_value = sound.windows(16).position(|window| window == b"a value a value ").unwrap();
    let in_a_key = sound.windows(8).position(|window| window == b"t/00t/01").unwrap();

    let mut damaged: Vec<(String, Vec<u8>)> = [1, 64, 4096, sound.len() / 2, sound.len() - 1]
        .map(|length| (format!("cut to {length} bytes"), sound[..length].to_vec()))
        .into();
    for place in [0, 8, 12, in_a_value, in_a_key] {
        let mut bytes = sound.clone();
        bytes[place] ^= 0xff;
        damaged.push((format!("byte {place} flipped"), bytes));
    }
    for (what, bytes) in damaged {
        std::fs::write(&path, bytes).unwrap();
        let error = EmbeddedStore::open(folder.path()).expect_err(&what);
        assert!(
            matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. }),
            "{what}: {error:?}"
        );
        assert!(error.to_string().contains("state.redb"), "{what}: {error}");
    }
}
