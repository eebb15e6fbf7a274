//! A package that is ready to be published: every file of it, with its size and hash. Plain data that `build` makes and
//! that each way to publish (a folder, S3) carries out.
//!
//! Artifacts stay where they are until they are sent, and a file can change meanwhile. Whoever sends one lets a
//! [`Check`] see the bytes, and publishes nothing when it disagrees.

use crate::package::bom;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The file with the hashes of all others.
pub const SUMS: &str = "SHA256SUMS";
/// The media type of what is only downloaded.
pub const BINARY: &str = "application/octet-stream";

/// All that a package is made of where it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its files go below the root that is published to: `<package>/<hash>`.
    pub directory: String,
    /// The URL of that directory, without a slash at its end.
    pub url: String,
    /// The files in the order to publish them: whoever can see one finds those that it names. Artifacts by name, then
    /// what describes them, then the stub universes, of which the one that `repo add` is given comes last.
    pub items: Vec<Item>,
}

/// One file to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in the directory; never a path.
    pub name: String,
    /// Where its bytes are.
    pub content: Content,
    /// How many there are.
    pub size: u64,
    /// Their SHA-256, in lower-case hex.
    pub sha256: String,
    /// The media type that it must be served with.
    pub content_type: &'static str,
}

impl Publication {
    /// The URL of the stub universe: what `dcos package repo add` is given.
    pub fn stub_url(&self) -> String {
        // the main stub is always there, and the last
        let stub = self.items.last().map(|item| item.name.as_str()).unwrap_or_default();
        format!("{}/{stub}", self.url)
    }
}

/// How far a task is that goes over the bytes of many files.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The file that it is at.
    pub name: &'a str,
    /// Bytes done, of all files.
    pub bytes: u64,
    /// Bytes to do, of all files.
    pub total: u64,
}

/// Where the bytes of an item are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In a file.
    File(PathBuf),
    /// Here.
    Bytes(Bytes),
}

impl Item {
    /// An item that was made in memory.
    pub fn from_bytes(name: String, bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        let bytes = bytes.into();
        let sha256 = hex(&Sha256::digest(&bytes));
        Self { name, size: bytes.len() as u64, sha256, content: Content::Bytes(bytes), content_type }
    }
}

/// Follows the bytes of an item on their way, in order, and says at the end whether they were those it was built with.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    item: &'a Item,
    size: u64,
    hash: Sha256,
}

impl<'a> Check<'a> {
    /// For one way of an item; the next needs another.
    pub fn new(item: &'a Item) -> Self {
        Self { item, size: 0, hash: Sha256::new() }
    }

    /// These bytes come next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// All bytes have come.
    pub fn finish(self) -> Result<(), Changed> {
        if self.size == self.item.size && hex(&self.hash.finalize()) == self.item.sha256 {
            return Ok(());
        }
        Err(Changed(self.item.name.clone()))
    }
}

/// The bytes of an item are not those that its hash was made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has changed while it was published\n  help: wait until nothing writes it, and publish again")]
pub struct Changed(pub String);

/// The media type that a file of a package must be served with, by its name: browsers show its images and texts, the rest is
/// only downloaded. Stub universes have others, which their format says.
pub fn media_type(name: &str) -> &'static str {
    match name {
        bom::FILE => return bom::MEDIA_TYPE,
        SUMS => return TEXT,
        _ => {}
    }
    match Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "txt" | "md" | "yml" | "yaml" | "sh" | "mustache" | "conf" => TEXT,
        _ => BINARY,
    }
}

const TEXT: &str = "text/plain;charset=utf-8";

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // a String takes everything
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_media_type_of_its_name() {
        let cases = [
            ("icon.png", "image/png"),
            ("svc.yml", TEXT),
            ("SHA256SUMS", TEXT),
            ("options.json", "application/json"),
            ("bom.cdx.json", bom::MEDIA_TYPE),
            ("bootstrap.zip", BINARY),
            ("dagpkg-scheduler", BINARY),
        ];
        for (name, expected) in cases {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }

    #[test]
    fn only_the_bytes_that_an_item_was_built_with_pass() {
        let item = Item::from_bytes("a".into(), "abc", "text/plain");
        // SHA-256 of "abc", from FIPS 180-2
        assert_eq!(item.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for (parts, good) in [
            (vec!["abc"], true),
            (vec!["a", "", "bc"], true),
            (vec!["ab"], false),
            (vec!["abd"], false),
            (vec!["abc", "d"], false),
            (vec![], false),
        ] {
            let mut check = Check::new(&item);
            for part in &parts {
                check.update(part.as_bytes());
            }
            assert_eq!(check.finish().is_ok(), good, "{parts:?}");
        }
    }
}
