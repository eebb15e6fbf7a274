//! What web servers need to send stub universes with media types that DC/OS accepts.

use crate::package::repository::Format;
use std::fmt::Write as _;

/// A server whose configuration is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WebServer {
    /// nginx
    Nginx,
    /// Apache httpd 2.4
    Apache,
    /// Caddy 2
    Caddy,
}

impl WebServer {
    /// The part of the configuration; `main` is the type of stub universes that have no format in their name.
    pub fn config(self, main: &str) -> String {
        let of_format = |format: Format| (format!(r"\.{}\.json$", format.name()), format.media_type());
        let formats: Vec<_> = Format::ALL.into_iter().map(of_format).collect();
        let mut text = String::new();
        // a String takes everything
        let _ = match self {
            Self::Nginx => {
                let _ = writeln!(text, "# nginx: in the `server` block that serves the folder");
                // the first that matches wins
                formats.into_iter().chain([(r"\.json$".to_owned(), main)]).try_for_each(|(end, kind)| {
                    writeln!(
                        text,
                        "location ~ /stub-universe-[^/]+{end} {{ types {{ }} default_type \"{kind}\"; }}"
                    )
                })
            }
            Self::Apache => {
                let _ = writeln!(text, "# Apache: in the `Directory` or `VirtualHost` block of the folder");
                // the last that matches wins
                [(r"\.json$".to_owned(), main)].into_iter().chain(formats).try_for_each(|(end, kind)| {
                    writeln!(
                        text,
                        "<FilesMatch \"^stub-universe-.+{end}\">\n    ForceType \"{kind}\"\n</FilesMatch>"
                    )
                })
            }
            Self::Caddy => {
                let _ = writeln!(text, "# Caddy: in the site block of the folder, which has a `file_server`");
                let names = ["stub", "stub_v3", "stub_v4", "stub_v5"].into_iter();
                let ends = [(r"\.json$".to_owned(), main)].into_iter().chain(formats);
                names.zip(ends).try_for_each(|(name, (end, kind))| {
                    writeln!(
                        text,
                        "@{name} path_regexp /stub-universe-[^/]+{end}\nheader @{name} Content-Type \"{kind}\""
                    )
                })
            }
        };
        text
    }
}
