//! `dagpkg verify`: says whether what was published is whole.

use super::build::Output;
use super::progress::Progress;
use crate::finding::{self, Severity};
use crate::publish::verify::{self, Target, Verified};
use anyhow::bail;
use reqwest::Url;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Check a published package whole: stub universe, every URL, every hash.
///
/// The stub universe is fetched as the package service fetches it, and checked by the rules of its repository format; its
/// packages are checked by the rules of `dagpkg lint`. Every URL that it names is looked up. Hashes in the stub universe,
/// in SHA256SUMS and in the bill of materials beside it are compared with the files, which are read to their ends. In a
/// folder, URLs of the package's own files mean the files in the folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 no errors (there may be warnings), 1 errors.

Examples:
  dagpkg verify dist
  dagpkg verify /var/www/packages --url https://www.example.org/packages
  dagpkg verify https://www.example.org/packages/demo/0123abcd
  dagpkg verify --output json https://www.example.org/packages/demo/0123abcd/stub-universe-demo.json")]
pub struct Args {
    /// The URL of a stub universe or of a package's directory; or a folder that packages were published to.
    #[arg(value_name = "URL|DIR")]
    target: String,
    /// The URL that the folder has [default: known by the URLs in the packages, for folders PACKAGE/HASH].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Runs `dagpkg verify`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let target = target(args)?;
    let progress = Progress::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verified = runtime.block_on(verify::verify(&target, &mut |told| {
        let verify::Progress { done, files, bytes } = told;
        progress.show(&format!("{done} of {files} files, {}", size(bytes)));
    }));
    progress.clear();
    let verified = verified?;
    match args.output {
        Output::Text => {
            for one in &verified {
                super::show(&one.findings);
                super::print(&summary(one))?;
            }
        }
        Output::Json => super::print(&format!("{:#}\n", report(&verified)))?,
    }
    let is_good = verified.iter().all(|one| one.count(Severity::Error) == 0);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn target(args: &Args) -> anyhow::Result<Target> {
    match Url::parse(&args.target) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            if args.url.is_some() {
                bail!("--url says which URL a folder has, but {url} is a URL itself");
            }
            Ok(Target::Url(url))
        }
        Ok(url) if args.target.contains("://") => {
            bail!("{url} cannot be read: expected http://…, https://… or a folder")
        }
        _ => Ok(Target::Path { path: Path::new(&args.target).to_owned(), url: args.url.clone() }),
    }
}

fn summary(verified: &Verified) -> String {
    let packages: Vec<_> =
        verified.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!("{}:", verified.stub);
    if !packages.is_empty() {
        let bytes = verified.files.iter().filter_map(|file| file.size).sum();
        // a String takes everything
        let _ = write!(text, " {}: {} files, {},", packages.join(", "), verified.files.len(), size(bytes));
    }
    format!("{text} {}\n", finding::counted(&verified.findings))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

fn report(verified: &[Verified]) -> Value {
    let stubs = verified.iter().map(|one| {
        let packages = one.packages.iter().map(|(name, version)| json!({"name": name, "version": version}));
        let files = one.files.iter();
        let files = files.map(|file| json!({"url": file.url, "size": file.size, "sha256": file.sha256}));
        json!({
            "stub": one.stub,
            "packages": packages.collect::<Value>(),
            "files": files.collect::<Value>(),
            "findings": one.findings.iter().map(finding::json).collect::<Value>(),
            "errors": one.count(Severity::Error),
            "warnings": one.count(Severity::Warning),
        })
    });
    stubs.collect()
}
