use super::*;
use std::collections::BTreeMap;

struct Fixture {
    folder: tempfile::TempDir,
    publication: Publication,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        fs::write(&file, vec![b'a'; 1 << 20]).unwrap();
        let mut artifact = Item::from_bytes("a.bin".into(), vec![b'a'; 1 << 20], "application/octet-stream");
        artifact.content = Content::File(file);
        let items = vec![artifact, Item::from_bytes("stub.json".into(), "{}", "application/json")];
        let publication = Publication {
            name: "demo".into(),
            version: "1".into(),
            directory: "demo/0123".into(),
            url: "http://h/demo/0123".into(),
            items,
        };
        Self { folder, publication }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("srv/www")
    }

    fn publish(&self) -> Result<State, FolderError> {
        publish(&self.publication, &self.root(), &mut |_| {})
    }

    /// What is below the root, with sizes of files.
    fn tree(&self) -> BTreeMap<String, u64> {
        fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, u64>) {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    found.insert(format!("{name}/"), 0);
                    walk(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.insert(name, entry.metadata().unwrap().len());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.root(), "", &mut found);
        found
    }

    fn assert_published(&self) {
        let expected =
            [("demo/", 0), ("demo/0123/", 0), ("demo/0123/a.bin", 1 << 20), ("demo/0123/stub.json", 2)];
        assert_eq!(self.tree(), expected.map(|(name, size)| (name.to_owned(), size)).into());
        assert_eq!(state(&self.publication, &self.root()).unwrap(), State::Whole);
    }
}

#[test]
fn a_package_is_published_once_and_readable_for_all() {
    let fixture = Fixture::new();
    assert_eq!(state(&fixture.publication, &fixture.root()).unwrap(), State::Absent);
    assert_eq!(fixture.publish().unwrap(), State::Absent);
    fixture.assert_published();
    let mode = |name: &str| fs::metadata(fixture.root().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("demo/0123"), mode("demo/0123/a.bin")), (0o755, 0o644));
    let inode = || {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(fixture.root().join("demo/0123/a.bin")).unwrap())
    };
    let before = inode();
    assert_eq!(fixture.publish().unwrap(), State::Whole);
    fixture.assert_published();
    assert_eq!(inode(), before, "what is there is left alone");
}

#[test]
fn damaged_and_missing_files_are_replaced_and_nothing_else() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("removed", |folder| fs::remove_file(folder.join("stub.json")).unwrap()),
        ("cut", |folder| File::options().write(true).open(folder.join("a.bin")).unwrap().set_len(5).unwrap()),
        ("changed", |folder| fs::write(folder.join("stub.json"), "[]").unwrap()),
        ("all gone", |folder| {
            fs::remove_file(folder.join("stub.json")).unwrap();
            fs::remove_file(folder.join("a.bin")).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let fixture = Fixture::new();
        fixture.publish().unwrap();
        damage(&fixture.root().join("demo/0123"));
        let expected = State::Damaged(if name == "all gone" { 2 } else { 1 });
        assert_eq!(state(&fixture.publication, &fixture.root()).unwrap(), expected, "{name}");
        assert_eq!(fixture.publish().unwrap(), expected, "{name}");
        fixture.assert_published();
    }
}

#[test]
fn a_file_that_changed_after_it_was_hashed_is_not_published_and_nothing_is_left() {
    let fixture = Fixture::new();
    let file = fixture.folder.path().join("a.bin");
    for text in ["shorter".to_owned(), "b".repeat(1 << 20)] {
        fs::write(&file, &text).unwrap();
        assert!(matches!(fixture.publish(), Err(FolderError::Changed(_))), "{} bytes", text.len());
        assert!(!fixture.folder.path().join("srv").exists());
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(fixture.publish(), Err(FolderError::Read { path, .. }) if path.ends_with("a.bin")));
    fs::write(&file, vec![b'a'; 1 << 20]).unwrap();
    fixture.publish().unwrap();
    fixture.assert_published();
}

#[test]
fn what_others_have_in_the_root_stays_when_publishing_fails() {
    let fixture = Fixture::new();
    fixture.publish().unwrap();
    fs::remove_dir_all(fixture.root().join("demo/0123")).unwrap();
    fs::create_dir_all(fixture.root().join("demo/other")).unwrap();
    fs::write(fixture.folder.path().join("a.bin"), "changed").unwrap();
    assert!(fixture.publish().is_err());
    assert_eq!(fixture.tree(), [("demo/".to_owned(), 0), ("demo/other/".to_owned(), 0)].into());
}

#[test]
fn what_a_killed_publisher_left_is_removed_by_the_next() {
    let fixture = Fixture::new();
    let left = fixture.root().join(format!("{STAGING}x"));
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("a.bin"), "half").unwrap();
    fixture.publish().unwrap();
    fixture.assert_published();
}

#[test]
fn publishers_at_the_same_time_do_not_disturb_each_other() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..4).map(|_| scope.spawn(|| fixture.publish().unwrap())).collect();
        let states: Vec<_> = publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
        assert_eq!(states.iter().filter(|state| **state == State::Absent).count(), 1, "{states:?}");
        assert_eq!(states.iter().filter(|state| **state == State::Whole).count(), 3, "{states:?}");
    });
    fixture.assert_published();
}

#[test]
fn a_root_that_is_no_folder_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    fs::write(fixture.folder.path().join("srv"), "").unwrap();
    let error = fixture.publish().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write {}: ", fixture.root().display())), "{error}");
}
