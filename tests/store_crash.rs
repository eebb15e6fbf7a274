//! What the embedded store has acknowledged survives the sudden death of its process.
//!
//! This program starts itself as a child that writes and reports each acknowledged write, and kills it with SIGKILL in
//! the middle. That is the death of a process; whether the disk keeps what it was told to sync is not tested here.

use dagpkg::store::{Change, EmbeddedStore, Store};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "DAGPKG_TEST_CRASH_FOLDER";
const KILLS: u32 = 20;

/// The child: writes 1, 2, 3 … (from what is stored on) until it is killed. Does nothing in an ordinary test run.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = EmbeddedStore::open(Path::new(&folder)).unwrap();
    let mut out = std::io::stdout();
    for number in stored(&store, "counter") + 1.. {
        store
            .apply(&[
                Change::set("counter", number.to_string()),
                Change::delete(format!("log/{}", number - 1)),
                Change::set(format!("log/{number}"), "x".repeat(500)),
                Change::set("mirror", number.to_string()),
            ])
            .unwrap();
        // One write call, so that a line is there whole or not at all.
        out.write_all(format!("acknowledged {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn stored(store: &EmbeddedStore, path: &str) -> u64 {
    store.get(path).unwrap().map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse().unwrap())
}

#[test]
fn no_acknowledged_write_is_lost_and_none_is_half_done_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for turn in 0..KILLS {
        let mut child = start_child(folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number_in = |line: &str| line.split_once("acknowledged ")?.1.parse::<u64>().ok();
        let mut last =
            lines.by_ref().find_map(|line| number_in(&line.unwrap())).expect("the child wrote nothing");
        // Another moment of the write cycle each time.
        std::thread::sleep(Duration::from_micros(u64::from(turn) * 731));
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(|line| number_in(&line.unwrap())).last().unwrap_or(last);
        assert!(last > acknowledged, "turn {turn}: the child did not go on from {acknowledged}");

        let store = EmbeddedStore::open(folder.path()).unwrap();
        let counter = stored(&store, "counter");
        assert!(
            counter == last || counter == last + 1,
            "turn {turn}: {last} was acknowledged, {counter} is stored"
        );
        assert_eq!(stored(&store, "mirror"), counter, "turn {turn}: half a write");
        assert_eq!(store.children("log").unwrap(), [counter.to_string()], "turn {turn}: half a write");
        acknowledged = counter;
    }
}

#[test]
fn a_process_that_is_killed_while_it_begins_its_state_can_be_started_again() {
    for turn in 0..KILLS {
        let folder = tempfile::tempdir().unwrap();
        let mut child = start_child(folder.path());
        // From the first file on, another moment of the beginning each time.
        while std::fs::read_dir(folder.path()).unwrap().next().is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_micros(u64::from(turn) * 200));
        child.kill().unwrap();
        child.wait().unwrap();
        EmbeddedStore::open(folder.path()).unwrap_or_else(|error| panic!("turn {turn}: {error}"));
    }
}
