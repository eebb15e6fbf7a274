//! Deletes the sandboxes of ended executors, oldest first, before they fill the disk. Recent ones stay for whoever wants
//! to know what happened. Persistent volumes are never touched: links are deleted, not followed.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many ended sandboxes are kept.
const KEEP_RUNS: usize = 100;
/// How large all ended sandboxes may be together; the newest is kept whatever its size.
const KEEP_BYTES: u64 = 4 << 30;

/// The ended sandboxes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<VecDeque<(PathBuf, u64)>>);

impl Ended {
    /// All sandboxes below an agent's directory, as an earlier run left them.
    pub fn of_earlier_run(agent_dir: &Path) -> Self {
        let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
        for framework in entries(&agent_dir.join("frameworks")) {
            for executor in entries(&framework.join("executors")) {
                for run in entries(&executor.join("runs")) {
                    let modified = fs::symlink_metadata(&run).and_then(|m| m.modified());
                    found.push((modified.unwrap_or(std::time::UNIX_EPOCH), run));
                }
            }
        }
        found.sort();
        Self(Mutex::new(found.into_iter().map(|(_, run)| (run.clone(), size(&run))).collect()))
    }

    /// One more; takes as long as deleting the oldest ones does.
    pub fn add(&self, run: PathBuf) {
        let size = size(&run);
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back((run, size));
        while ended.len() > KEEP_RUNS
            || ended.len() > 1 && ended.iter().map(|(_, size)| size).sum::<u64>() > KEEP_BYTES
        {
            let Some((oldest, _)) = ended.pop_front() else { return };
            if let Err(error) = fs::remove_dir_all(&oldest) {
                tracing::debug!(path = %oldest.display(), %error, "cannot delete an old sandbox");
            }
            // `runs` and the executor, when this was the last one in them
            for parent in oldest.ancestors().skip(1).take(2) {
                let _ = fs::remove_dir(parent);
            }
        }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// The bytes in all files below a path, links not followed.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => entries(path).iter().map(|e| size(e)).sum(),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sandboxes_go_when_there_are_too_many_and_volumes_behind_links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("file"), "kept").unwrap();
        let run = |n: usize| {
            let run = dir.path().join(format!("frameworks/f/executors/e{n}/runs/r"));
            fs::create_dir_all(&run).unwrap();
            std::os::unix::fs::symlink(&volume, run.join("data")).unwrap();
            run
        };
        let ended = Ended::default();
        for n in 0..KEEP_RUNS + 2 {
            ended.add(run(n));
        }
        let left = entries(&dir.path().join("frameworks/f/executors"));
        assert_eq!(left.len(), KEEP_RUNS);
        assert!(!dir.path().join("frameworks/f/executors/e0").exists());
        assert!(dir.path().join(format!("frameworks/f/executors/e{}/runs/r", KEEP_RUNS + 1)).exists());
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"kept");
        assert_eq!(Ended::of_earlier_run(dir.path()).0.lock().unwrap().len(), KEEP_RUNS);
    }

    #[test]
    fn large_sandboxes_go_sooner_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run = |n: u8| {
            let run = dir.path().join(format!("e{n}/runs/r"));
            fs::create_dir_all(&run).unwrap();
            // takes no space on the disk
            fs::File::create(run.join("big")).unwrap().set_len(KEEP_BYTES).unwrap();
            run
        };
        let ended = Ended::default();
        let (first, second) = (run(1), run(2));
        ended.add(first.clone());
        assert!(first.exists());
        ended.add(second.clone());
        assert!(!first.exists() && second.exists());
    }
}
