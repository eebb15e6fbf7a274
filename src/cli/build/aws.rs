//! `dagpkg build aws`: into a bucket of S3, or of a server that speaks its protocol.

use super::SourceArgs;
use super::report::{Outcome, Report};
use crate::cli::progress::Progress;
use crate::publish::publication::{Done, Publication};
use crate::publish::s3::{S3, Settings};
use anyhow::{Context as _, anyhow, bail};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Build a package and publish it to S3, or to a server that speaks its protocol: MinIO, Ceph.
///
/// The package's files go to s3://BUCKET/PATH/PACKAGE/HASH: artifacts first, the stub universe last. What is there already
/// with the same hash is not sent again, so a run that was interrupted is completed by the next one. Objects get the media
/// types that DC/OS wants, so no converter is needed.
///
/// Credentials, region and endpoint come from where the AWS tools take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
/// AWS_PROFILE and the files in ~/.aws (roles, SSO, credential_process), web identities, the metadata of containers and
/// machines. DC/OS reads packages without credentials: a bucket policy must allow that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg build aws --bucket my-packages --region eu-central-1
  S3_BUCKET=my-packages S3_DIR_PATH=autodelete7d dagpkg build aws weather --artifact target/release/my-scheduler
  dagpkg build aws --bucket packages --endpoint-url https://minio.example.org --ca-bundle minio.pem
  dagpkg build aws --bucket my-packages --url https://cdn.example.org/weather/1.0 --dir-name 1.0 --dry-run")]
pub struct AwsArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The bucket. It must exist.
    #[arg(long, value_name = "NAME", env = "S3_BUCKET")]
    bucket: Option<String>,
    /// A path in the bucket, below which the package's directory is made.
    #[arg(long, value_name = "PATH", env = "S3_DIR_PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// The name of the package's directory in place of the hash of its content. If another build is in there, those who
    /// install it while this one is sent can get files of both.
    #[arg(long, value_name = "NAME", env = "S3_DIR_NAME")]
    dir_name: Option<String>,
    /// The whole directory, in place of bucket, path and name: s3://BUCKET/DIRECTORY.
    #[arg(long, value_name = "URL", env = "S3_URL")]
    s3_url: Option<String>,
    /// The URL of the package's directory as clusters reach it, if it isn't that of S3: {{artifact-dir}}.
    #[arg(long, value_name = "URL", env = "ARTIFACT_DIR")]
    url: Option<String>,
    /// The bucket's region [default: that of the AWS tools].
    #[arg(long, value_name = "REGION", env = "AWS_UPLOAD_REGION")]
    region: Option<String>,
    /// The URL of a server that isn't Amazon's. AWS_ENDPOINT_URL does the same.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_S3")]
    endpoint_url: Option<String>,
    /// Whether the bucket stands in the path of URLs and not in the host name [default: for servers that aren't Amazon's].
    #[arg(long, value_name = "BOOL")]
    path_style: Option<bool>,
    /// A PEM file of certificates to trust beside those of the public web.
    #[arg(long, value_name = "FILE", env = "AWS_CA_BUNDLE")]
    ca_bundle: Option<PathBuf>,
    /// A canned ACL for each object, such as public-read. Most buckets refuse ACLs and have policies instead.
    #[arg(long, value_name = "ACL", env = "AWS_UPLOAD_ACL")]
    acl: Option<String>,
    /// Text to put before the stub universe's URL where it is printed. Older converters of media types needed it.
    #[arg(long, value_name = "PREFIX", env = "UNIVERSE_URL_PREFIX")]
    url_prefix: Option<String>,
    /// A file to write the stub universe's URL to.
    #[arg(long, value_name = "FILE", env = "UNIVERSE_URL_PATH")]
    url_file: Option<PathBuf>,
    /// A folder to write VERSION.properties to: STUB_UNIVERSE_URL and STUB_UNIVERSE_S3_DIR.
    #[arg(long, value_name = "DIR", env = "WORKSPACE")]
    workspace: Option<PathBuf>,
}

/// Runs `dagpkg build aws`.
pub fn run(args: &AwsArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(publish(args))
}

async fn publish(args: &AwsArgs) -> anyhow::Result<()> {
    let source = &args.source;
    let target = args.target()?;
    let s3 = S3::new(target.settings).await?;
    let url = match given(args.url.as_ref()) {
        Some(url) => Some(
            super::root_url(url)
                .map_err(|error| anyhow!("the URL `{url}` of ARTIFACT_DIR or --url: {error}"))?,
        ),
        None if target.whole => Some(s3.root_url().to_owned()),
        None => None,
    };
    let publication = source.build(s3.root_url(), given(args.dir_name.as_ref()), url)?;
    let directory = if target.whole { "" } else { &publication.directory };
    let place = s3.location(directory);
    let files = args.files(&publication, &place)?;

    let mut report = Report {
        publication: &publication,
        method: "aws",
        place,
        outcome: Outcome::Published,
        dry_run: source.dry_run,
        prefix: given(args.url_prefix.as_ref()).map(str::to_owned),
        note: None,
    };
    if source.dry_run {
        report.note =
            Some("S3 was not asked: files that are there already would not be sent again".to_owned());
        return report.print(source.output);
    }
    report.outcome = upload(&s3, &publication, directory).await?;
    if let Some(stub) = publication.items.last()
        && let Err(why) = s3.check_readable(&publication.stub_url(), stub).await
    {
        report.note = Some(format!(
            "warning: from here, {} cannot be read without credentials, as DC/OS reads it: {why}\n  \
             help: let a bucket policy allow s3:GetObject, if clusters have no other way: docs/publishing.md shows one",
            publication.stub_url()
        ));
    }
    for (path, text) in files {
        std::fs::write(&path, text)
            .with_context(|| format!("published, but cannot write {}", path.display()))?;
    }
    report.print(source.output)
}

/// Sends what is missing. Ctrl-C and SIGTERM end it in order: nothing half-sent is left.
async fn upload(s3: &S3, publication: &Publication, directory: &str) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let stopping = stop.clone();
    let watcher = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        stopping.cancel();
    });
    let progress = Progress::new();
    let mut tenths = 0;
    let mut told = |done: Done| {
        progress.count("uploading", done);
        // lines now and then where none can be changed
        let now = done.bytes.saturating_mul(10).checked_div(done.total).unwrap_or(10);
        if !progress.is_terminal() && now > tenths {
            tenths = now;
            progress.say(&format!("uploading: {now}0 %"));
        }
    };
    let sent = s3.publish(publication, directory, &stop, &mut told).await;
    watcher.abort();
    progress.clear();
    let sent = sent?;
    Ok(match (sent.uploaded, sent.present) {
        (0, _) => Outcome::Unchanged,
        (_, 0) => Outcome::Published,
        (uploaded, _) => Outcome::Repaired(uploaded),
    })
}

/// Where to publish to.
struct Target {
    settings: Settings,
    /// The path in the settings is the package's directory itself, and not what it is made below.
    whole: bool,
}

impl AwsArgs {
    fn target(&self) -> anyhow::Result<Target> {
        let (bucket, path, whole) = match (given(self.s3_url.as_ref()), given(self.bucket.as_ref())) {
            (Some(url), _) => {
                let (bucket, path) = bucket_and_path(url)?;
                (bucket, path, true)
            }
            (None, Some(bucket)) => (bucket, self.path.as_str(), false),
            (None, None) => bail!(
                "no bucket is set\n  help: name one that exists and that your credentials may write to: S3_BUCKET=NAME or --bucket NAME"
            ),
        };
        let acl = given(self.acl.as_ref()).map(crate::publish::s3::acl).transpose()?;
        let settings = Settings {
            bucket: bucket.to_owned(),
            path: path.to_owned(),
            region: given(self.region.as_ref()).map(str::to_owned),
            endpoint: given(self.endpoint_url.as_ref()).map(str::to_owned),
            path_style: self.path_style,
            acl,
            roots: given_path(self.ca_bundle.as_deref()).map(Path::to_owned),
        };
        Ok(Target { settings, whole })
    }

    /// The files to write for those who go on with the result. That there can be none of them is told before anything is sent.
    fn files(&self, publication: &Publication, place: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let url =
            format!("{}{}", given(self.url_prefix.as_ref()).unwrap_or_default(), publication.stub_url());
        let mut files = Vec::new();
        if let Some(workspace) = given_path(self.workspace.as_deref()) {
            let version = &publication.version;
            if version.contains('/') {
                bail!(
                    "WORKSPACE or --workspace: the version `{version}` cannot be the name of a file\n  help: use another --package-version"
                );
            }
            let text = format!("STUB_UNIVERSE_URL={url}\nSTUB_UNIVERSE_S3_DIR={place}\n");
            files.push((workspace.join(format!("{version}.properties")), text));
        }
        if let Some(path) = given_path(self.url_file.as_deref()) {
            files.push((path.to_owned(), format!("{url}\n")));
        }
        for (path, _) in &files {
            // the parent of a plain name is empty, and means here
            let folder =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                bail!("cannot write {}: there is no folder {}", path.display(), folder.display());
            }
        }
        Ok(files)
    }
}

/// An empty variable says nothing.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn given_path(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// The parts of `s3://BUCKET/DIRECTORY`.
fn bucket_and_path(url: &str) -> anyhow::Result<(&str, &str)> {
    let parts = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    match parts {
        Some((bucket, path)) if !bucket.is_empty() && !path.trim_matches('/').is_empty() => {
            Ok((bucket, path))
        }
        _ => bail!("S3_URL or --s3-url must have the form s3://BUCKET/DIRECTORY, but is `{url}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_s3_has_a_bucket_and_a_path() {
        for (url, expected) in [
            ("s3://b/d", Some(("b", "d"))),
            ("s3://b/p/q/d/", Some(("b", "p/q/d/"))),
            ("s3://b/", None),
            ("s3://b//", None),
            ("s3://b", None),
            ("s3:///d", None),
            ("https://b/d", None),
            ("", None),
        ] {
            assert_eq!(bucket_and_path(url).ok(), expected, "{url}");
        }
    }
}
