//! One `up` for each run folder, and a way for `down` to find it.
//!
//! The file `up.pid` holds the process id and is locked as long as the process lives: the kernel releases the lock
//! however the process ends, so an id of a process that is gone is never mistaken for a running one.

use anyhow::{Context as _, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

/// Held while `up` runs.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File); // kept open: closing it releases the lock

/// Who holds the lock.
#[derive(Debug)]
pub enum State {
    /// Nobody; the caller holds it now.
    Free(Lock),
    /// The process with this id.
    Held(i32),
}

/// Takes the lock of a run folder, or says who has it.
pub fn take(run: &Path) -> anyhow::Result<State> {
    let path = run.join("up.pid");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let write = |file: &mut File| -> std::io::Result<()> {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())
            };
            write(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(State::Free(Lock(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
            let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
            pid.map(State::Held)
                .with_context(|| format!("{} is locked and holds no process id", path.display()))
        }
        Err(TryLockError::Error(e)) => bail!("cannot lock {}: {e}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_free_again_after_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let State::Free(lock) = take(dir.path()).unwrap() else { panic!("the first one gets it") };
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(take(dir.path()).unwrap(), State::Held(pid) if pid == own));
        drop(lock);
        assert!(matches!(take(dir.path()).unwrap(), State::Free(_)));
    }

    #[test]
    fn the_process_id_of_a_holder_that_was_killed_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("up.pid"), "1234567\n").unwrap();
        assert!(matches!(take(dir.path()).unwrap(), State::Free(_)));
    }
}
