//! What `dagpkg build` says in the end: what was published where, and how to install it. The same for every method.

use super::Output;
use crate::cli::quoted;
use crate::publish::publication::Publication;
use serde_json::json;
use std::fmt::Write as _;

/// The result of a build that was published, or would be.
#[derive(Debug)]
pub struct Report<'a> {
    /// What it is about.
    pub publication: &'a Publication,
    /// The subcommand of `dagpkg build`; a cluster's repository is called `<package>-<method>`.
    pub method: &'static str,
    /// Where the package's directory is, as a person who publishes names it.
    pub place: String,
    /// What had to be done for it.
    pub outcome: Outcome,
    /// Nothing was written: it only would be.
    pub dry_run: bool,
    /// Text to put before the stub universe's URL for those who install it.
    pub prefix: Option<String>,
    /// Something to know before it is installed.
    pub note: Option<String>,
}

/// What publishing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Published,
    /// This many files of it were missing or damaged.
    Repaired(usize),
    /// All was there already.
    Unchanged,
}

impl Report<'_> {
    /// Prints it to stdout.
    pub fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Text => crate::cli::print(&self.text()),
            Output::Json => crate::cli::print(&format!("{:#}\n", self.json())),
        }
    }

    fn stub_url(&self) -> String {
        format!("{}{}", self.prefix.as_deref().unwrap_or_default(), self.publication.stub_url())
    }

    /// The commands that install the package on a cluster, also over an earlier build of it.
    fn commands(&self) -> [String; 4] {
        let package = &self.publication.name;
        let repository = format!("{package}-{}", self.method);
        [
            format!("dcos package uninstall {package}"),
            format!("dcos package repo remove {repository}"),
            format!("dcos package repo add --index=0 {repository} {}", quoted(&self.stub_url())),
            format!("dcos package install --yes {package}"),
        ]
    }

    fn text(&self) -> String {
        let Publication { name, version, items, .. } = self.publication;
        let place = &self.place;
        let done = match (self.outcome, self.dry_run) {
            (Outcome::Published, false) => format!("published in {place}"),
            (Outcome::Published, true) => format!("would be published in {place}"),
            (Outcome::Repaired(count), false) => format!("{count} missing or damaged files put into {place}"),
            (Outcome::Repaired(count), true) => {
                format!("{count} missing or damaged files would be put into {place}")
            }
            (Outcome::Unchanged, _) => format!("is published already in {place}"),
        };
        let mut text = format!("{name} {version}: {done}\n");
        let width = items.iter().map(|item| item.name.len()).max().unwrap_or_default();
        for item in items {
            // a String takes everything
            let _ = writeln!(
                text,
                "  {:width$}  {:>10}",
                item.name,
                indicatif::BinaryBytes(item.size).to_string()
            );
        }
        let _ = writeln!(text, "stub universe: {}", self.stub_url());
        if let Some(note) = &self.note {
            let _ = write!(text, "\n{}\n", note.trim_end());
        }
        text.push_str("\nto install it, the first two if an earlier build is there:\n");
        for command in self.commands() {
            let _ = writeln!(text, "  {command}");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let Publication { name, version, items, url, .. } = self.publication;
        let outcome = match self.outcome {
            Outcome::Published => "published",
            Outcome::Repaired(_) => "repaired",
            Outcome::Unchanged => "unchanged",
        };
        let files: Vec<_> = items
            .iter()
            .map(|item| {
                json!({
                    "name": item.name, "size": item.size, "sha256": item.sha256, "contentType": item.content_type,
                })
            })
            .collect();
        json!({
            "package": name,
            "version": version,
            "place": self.place,
            "url": url,
            "stubUrl": self.stub_url(),
            "outcome": outcome,
            "dryRun": self.dry_run,
            "files": files,
            "note": self.note,
            "install": self.commands(),
        })
    }
}
