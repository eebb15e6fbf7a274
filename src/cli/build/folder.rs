//! `dagpkg build local` and `dagpkg build web`: into a folder of this machine.

use super::SourceArgs;
use super::report::{Outcome, Report};
use super::web_server::WebServer;
use crate::cli::progress::Progress;
use crate::publish::folder::{self, State};
use crate::publish::publication::Publication;
use crate::publish::serve::DEFAULT_PORT;
use std::path::{Path, PathBuf};

/// Build a package into a folder, to be served by `dagpkg serve`.
///
/// The package's files go to OUT/PACKAGE/HASH: its stub universe, the artifacts that it names, their hashes. The same input
/// gives the same bytes and the same hash; the time in the package is SOURCE_DATE_EPOCH, else that of the last commit.
/// Variables TEMPLATE_SOME_NAME of the environment are the parameters {{some-name}} in the package's files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg build local --out dist
  dagpkg build local weather --out dist --artifact target/release/my-scheduler --package-version 1.0.0
  dagpkg build local --out dist --url http://10.0.0.5:8190 && dagpkg serve dist --bind 10.0.0.5")]
pub struct LocalArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The folder to publish to; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The URL that the folder will have.
    #[arg(long, value_name = "URL", value_parser = super::root_url,
          default_value_t = format!("http://127.0.0.1:{DEFAULT_PORT}"))]
    url: String,
}

/// Build a package into the root of a web server.
///
/// As `dagpkg build local`, for nginx, Apache, Caddy or any other server of files. The package's directory appears whole or
/// not at all, and those of other builds stay. The server must send stub universes with a media type that DC/OS accepts:
/// --print-config shows how.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg build web --root /var/www/html/packages --url https://www.example.org/packages
  dagpkg build web --root /srv/packages --url https://packages.example.org --dry-run --print-config nginx")]
pub struct WebArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The folder that the server serves at the URL; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The URL of that folder, as clusters reach it.
    #[arg(long, value_name = "URL", value_parser = super::root_url)]
    url: String,
    /// Also print the configuration that this server needs to send the right media types.
    #[arg(long, value_name = "SERVER", value_enum)]
    print_config: Option<WebServer>,
}

/// Runs `dagpkg build local`.
pub fn local(args: &LocalArgs) -> anyhow::Result<()> {
    let publication = args.source.build(&args.url, None, None)?;
    let mut report = publish(&args.source, &publication, "local", &args.out)?;
    report.note = Some(format!("serve it:\n  dagpkg serve {}", args.out.display()));
    report.print(args.source.output)
}

/// Runs `dagpkg build web`.
pub fn web(args: &WebArgs) -> anyhow::Result<()> {
    let publication = args.source.build(&args.url, None, None)?;
    let mut report = publish(&args.source, &publication, "web", &args.root)?;
    let main = publication.items.last().map(|stub| stub.content_type).unwrap_or_default();
    report.note = Some(match args.print_config {
        Some(server) => server.config(main),
        None => format!(
            "the server must send the stub universe as {main}; --print-config nginx, apache or caddy shows how"
        ),
    });
    report.print(args.source.output)
}

fn publish<'a>(
    source: &SourceArgs,
    publication: &'a Publication,
    method: &'static str,
    root: &Path,
) -> anyhow::Result<Report<'a>> {
    let state = if source.dry_run {
        folder::state(publication, root)?
    } else {
        let progress = Progress::new();
        let published = folder::publish(publication, root, &mut |done| progress.count("writing", done));
        progress.clear();
        published?
    };
    let outcome = match state {
        State::Absent => Outcome::Published,
        State::Damaged(count) => Outcome::Repaired(count),
        State::Whole => Outcome::Unchanged,
    };
    let place = root.join(&publication.directory).display().to_string();
    Ok(Report { publication, method, place, outcome, dry_run: source.dry_run, prefix: None, note: None })
}
