//! Files that are either the old or the new one, never half of each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file. With `durable` it is on the disk when this returns, and so is its name.
pub fn write_atomically(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    if durable {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|e| e.error)?;
    if durable {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
