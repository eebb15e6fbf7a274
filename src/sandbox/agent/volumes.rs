//! Persistent volumes and the other volumes of a container, as links in its sandbox: there are no mounts here.

use crate::sandbox::resources::refine;
use crate::wire::{ContainerInfo, Resource, SandboxPathType, Secret, SecretType, Volume};
use base64::Engine as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

/// Why a volume could not be given to a container.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The place cannot be reached without mounts.
    #[error(
        "volume `{0}`: container_path must be a relative path below the sandbox (or /tmp); this cluster has no mounts"
    )]
    BadPath(String),
    /// The kind of volume does not exist here.
    #[error("volume `{0}`: only SANDBOX_PATH volumes, host paths and secrets are supported")]
    BadSource(String),
    /// The secret is not given by its value.
    #[error(
        "volume `{0}`: its secret is not given as a base64 value; this cluster keeps no secrets, let the scheduler resolve it"
    )]
    BadSecret(String),
    /// Making directories or links failed.
    #[error("volume {}: {source}", .path.display())]
    Io {
        /// The path at fault.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The directory of a persistent volume.
pub(super) fn path(agent_dir: &Path, role: &str, id: &str) -> PathBuf {
    // as Mesos does it: a role may contain slashes, a directory's name may not
    agent_dir.join("volumes/roles").join(role.replace('/', " ")).join(id)
}

/// Links the persistent volumes among `resources` into a sandbox.
pub(super) fn link_persistent(
    agent_dir: &Path,
    resources: &[Resource],
    sandbox: &Path,
) -> Result<(), VolumeError> {
    for resource in resources {
        let Some(disk) = &resource.disk else { continue };
        let (Some(persistence), Some(volume)) = (&disk.persistence, &disk.volume) else { continue };
        let role =
            refine(resource.clone()).reservations.last().and_then(|r| r.role.clone()).unwrap_or_default();
        let directory = path(agent_dir, &role, &persistence.id);
        make_directory(&directory)?;
        // the volume belongs to whom the sandbox belongs to; what is in it stays as it is
        let owner = fs::metadata(sandbox).map_err(|source| io_error(sandbox, source))?;
        let old = fs::metadata(&directory).map_err(|source| io_error(&directory, source))?;
        if old.uid() == 0 && owner.uid() != 0 {
            std::os::unix::fs::chown(&directory, Some(owner.uid()), Some(owner.gid()))
                .map_err(|source| io_error(&directory, source))?;
        }
        link(&directory, sandbox, &volume.container_path)?;
    }
    Ok(())
}

/// Links a container's volumes into its sandbox; files with secrets are written into `secrets`, which is deleted with the
/// container. Gives the directory that stands for `/tmp`, when the container has one.
pub(super) fn link_container(
    container: Option<&ContainerInfo>,
    sandbox: &Path,
    parent: &Path,
    secrets: &Path,
) -> Result<Option<PathBuf>, VolumeError> {
    let mut tmp = None;
    for (n, volume) in container.iter().flat_map(|c| &c.volumes).enumerate() {
        let target = match volume.source.as_ref().and_then(|s| s.secret.as_ref()) {
            Some(secret) => {
                write_secret(secret, &volume.container_path, sandbox, &secrets.join(n.to_string()))?
            }
            None => target(volume, sandbox, parent)?,
        };
        if volume.container_path == "/tmp" {
            tmp = Some(target);
        } else if target != Path::new(&volume.container_path) {
            link(&target, sandbox, &volume.container_path)?;
        }
    }
    Ok(tmp)
}

/// A file that only the owner of the sandbox can read.
fn write_secret(secret: &Secret, name: &str, sandbox: &Path, file: &Path) -> Result<PathBuf, VolumeError> {
    let value = secret.value.as_ref().filter(|_| secret.r#type == Some(SecretType::Value));
    let content = value.and_then(|v| base64::engine::general_purpose::STANDARD.decode(&v.data).ok());
    let content = content.ok_or_else(|| VolumeError::BadSecret(name.to_owned()))?;
    let owner = fs::metadata(sandbox).map_err(|source| io_error(sandbox, source))?;
    let directory = file.parent().unwrap_or(sandbox);
    make_directory(directory)?;
    let written = (|| {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let mut open = fs::OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(0o400).open(file)?.write_all(&content)?;
        if owner.uid() != rustix::process::getuid().as_raw() {
            for path in [directory, file] {
                std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))?;
            }
        }
        Ok(())
    })();
    written.map_err(|source| io_error(file, source))?;
    Ok(file.to_owned())
}

/// Where a volume's content is; made when it is in a sandbox.
fn target(volume: &Volume, sandbox: &Path, parent: &Path) -> Result<PathBuf, VolumeError> {
    let bad = || VolumeError::BadSource(volume.container_path.clone());
    let (base, path) = match (&volume.source, &volume.host_path) {
        (Some(source), _) => {
            let path = source.sandbox_path.as_ref().ok_or_else(bad)?;
            match path.r#type {
                SandboxPathType::Own => (sandbox, &path.path),
                SandboxPathType::Parent => (parent, &path.path),
                SandboxPathType::Unknown => return Err(bad()),
            }
        }
        (None, Some(path)) if path.starts_with('/') => return Ok(PathBuf::from(path)),
        (None, Some(path)) => (sandbox, path),
        (None, None) => return Err(bad()),
    };
    let directory = base.join(below(path)?);
    if !directory.exists() {
        make_directory(&directory)?;
    }
    Ok(directory)
}

fn link(target: &Path, sandbox: &Path, container_path: &str) -> Result<(), VolumeError> {
    let place = sandbox.join(below(container_path)?);
    if place == target {
        return Ok(());
    }
    if fs::read_link(&place).is_ok_and(|old| old == target) {
        return Ok(()); // by an earlier group of tasks in the same executor
    }
    if let Some(directory) = place.parent() {
        make_directory(directory)?;
    }
    symlink(target, &place).map_err(|source| io_error(&place, source))
}

/// A relative path without `..`.
fn below(path: &str) -> Result<&Path, VolumeError> {
    let relative = Path::new(path);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !plain { Err(VolumeError::BadPath(path.to_owned())) } else { Ok(relative) }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> VolumeError {
    VolumeError::Io { path: path.to_owned(), source }
}
