//! Addresses that a cluster without the internet cannot reach, in what runs: the app, the service, its config templates.
//!
//! A package is installed from where it was published; what it needs beside must come from there, or from where an option
//! says. So fixed addresses of hosts outside of the cluster are told, and all the more those without encryption. Links
//! for people, comments and names that only look like addresses (XML namespaces) are not.

use super::options::Object;
use crate::finding::{Code, Finding, Source};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The findings in a text that is run or read by what runs: a template, a service file. All its addresses count.
pub fn in_text(source: &Source) -> Vec<Finding> {
    let comments = comments(&source.text);
    let outside = |span: &Range<usize>| !comments.iter().any(|comment| comment.contains(&span.start));
    urls(&source.text)
        .filter(|url| outside(&url.span) && !is_name(&source.text, url.span.start))
        .map(|url| url.finding(source, url.span.clone()))
        .collect()
}

/// The findings in the defaults of config.json. Options can be set, so only what is not encrypted is told.
pub fn in_defaults(source: &Source, config: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    defaults(config, &mut String::new(), &mut |pointer, text| {
        let plain = urls(text).filter(|url| !url.encrypted);
        found.extend(plain.map(|url| {
            let at = source.at_pointer(Code::PlainHttp, pointer, url.message());
            at.help(HELP)
        }));
    });
    found
}

/// An image in the app that stands in the template as it is. `text` is what `app` was read from.
pub fn in_app(text: &Source, app: &Object) -> Option<Finding> {
    let pointer = "/container/docker/image";
    let image = app.get("container")?.pointer("/docker/image")?.as_str()?;
    let message = format!("the image `{image}` cannot be replaced by one that is nearer");
    let found = text.at_pointer(Code::FixedImage, pointer, message);
    let written = found.span.clone().and_then(|span| found.source.text.get(span))?;
    let help = "name it in resource.json, `assets.container.docker`, and write {{resource.assets.container.docker.NAME}}";
    (!written.contains("{{")).then(|| found.help(help))
}

/// Calls `look` with the pointer and the text of each default.
fn defaults(schema: &Value, pointer: &mut String, look: &mut dyn FnMut(&str, &str)) {
    if let Some(text) = schema["default"].as_str() {
        look(&format!("{pointer}/default"), text);
    }
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let before = pointer.len();
        pointer.push_str("/properties/");
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        defaults(below, pointer, look);
        pointer.truncate(before);
    }
}

/// A fixed address of a host outside of the cluster.
struct Url<'t> {
    span: Range<usize>,
    encrypted: bool,
    host: &'t str,
}

const HELP: &str =
    "put the file into the package ({{artifact-dir}} in resource.json), or let an option say where it is";

impl Url<'_> {
    fn message(&self) -> String {
        let encryption = if self.encrypted { "" } else { ", without encryption" };
        format!("`{}` is outside of the cluster{encryption}: a closed network does not reach it", self.host)
    }

    fn finding(&self, source: &Source, span: Range<usize>) -> Finding {
        let code = if self.encrypted { Code::ForeignHost } else { Code::PlainHttp };
        source.finding(code, &span, self.message()).help(HELP)
    }
}

/// The fixed addresses of hosts outside of the cluster in a text.
fn urls(text: &str) -> impl Iterator<Item = Url<'_>> {
    text.match_indices("://").filter_map(|(at, _)| {
        let encrypted = text[..at].ends_with("https");
        let start =
            if encrypted { at - 5 } else { at.checked_sub(4).filter(|_| text[..at].ends_with("http"))? };
        let rest = &text[at + 3..];
        let end =
            rest.find(|c: char| c.is_whitespace() || "/?#\"'`<>\\|;,()".contains(c)).unwrap_or(rest.len());
        let authority = &rest[..end];
        // users before the host, the port behind it
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        (is_fixed(authority) && is_foreign(host)).then_some(Url {
            span: start..at + 3 + end,
            encrypted,
            host,
        })
    })
}

/// Whether no variable of a template, a shell or anything else is in it.
fn is_fixed(authority: &str) -> bool {
    !authority.contains(['{', '}', '$', '%', '*'])
}

/// Ends of names that mean the cluster itself, this machine, or nothing but an example.
const INSIDE: [&str; 12] = [
    "example.com",
    "example.net",
    "example.org",
    "directory",
    "example",
    "internal",
    "invalid",
    "lan",
    "local",
    "localhost",
    "mesos",
    "test",
];

fn is_foreign(host: &str) -> bool {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        let inside = address.is_private() || address.is_loopback() || address.is_link_local();
        return !(inside || address.is_unspecified() || address.is_documentation());
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return false;
    }
    // names without a dot are of this network
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_inside =
        |end: &str| host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    host.contains('.')
        && host.chars().all(is_name)
        && !host.contains(".thisdcos")
        && !INSIDE.iter().any(|end| is_inside(end))
}

/// Whether an address is only a name: of an XML namespace or document type.
fn is_name(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = &text[line..at];
    ["xmlns", "schemaLocation", "DOCTYPE", "\"$schema\"", "-//"].iter().any(|word| before.contains(word))
}

/// Where comments are: those of Mustache and XML, lines that begin with a mark of comments, and what follows a `#`.
fn comments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (open, close) in [("{{!", "}}"), ("<!--", "-->"), ("/*", "*/")] {
        let mut from = 0;
        while let Some(start) = text[from..].find(open).map(|at| from + at) {
            let end = text[start..].find(close).map_or(text.len(), |length| start + length + close.len());
            // elsewhere it may be a path
            let before = text[..start].trim_end_matches([' ', '\t']);
            let is_comment = open != "/*" || before.is_empty() || before.ends_with('\n');
            if is_comment {
                found.push(start..end);
            }
            from = if is_comment { end } else { start + open.len() };
        }
    }
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let blanks = line.len() - line.trim_start().len();
        let content = &line[blanks..];
        if ["#", "//", "--", ";"].iter().any(|mark| content.starts_with(mark)) {
            found.push(at + blanks..at + line.len());
        } else if let Some(mark) = line.find(" #") {
            found.push(at + mark..at + line.len());
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fixed_hosts_outside_of_the_cluster_are_found_with_their_places() {
        for (text, expected) in [
            ("curl https://downloads.acme.io/x.tgz", Some("A002 https://downloads.acme.io")),
            ("url: 'http://u:p@cdn.acme.io:8080/x'", Some("A001 http://u:p@cdn.acme.io:8080")),
            ("http://8.8.8.8/dns", Some("A001 http://8.8.8.8")),
            ("see ftp://acme.io", None),
            ("https://{{HOST}}/x https://$HOST.acme.io ${URL}://x", None),
            ("http://api.shop.marathon.l4lb.thisdcos.directory/x", None),
            ("http://leader.mesos:5050 http://master.mesos/", None),
            ("http://localhost:80 http://127.0.0.1 http://[::1]:80 http://10.1.2.3 http://db:80", None),
            ("http://a.shop.localhost:80 https://www.example.org/x", None),
            ("# https://acme.io\n  // https://acme.io\nx: 1 # https://acme.io", None),
            ("{{! see https://acme.io }}<!-- https://acme.io\n -->", None),
            ("<configuration xmlns=\"http://www.w3.org/1999\">", None),
            ("ls /*\ncurl https://acme.io */", Some("A002 https://acme.io")),
        ] {
            let source = Source::new("f", text);
            let found = in_text(&source);
            let shown = |finding: &Finding| {
                format!("{} {}", finding.code, &text[finding.span.clone().unwrap_or_default()])
            };
            assert_eq!(found.first().map(shown).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn defaults_are_told_only_without_encryption() {
        let config = json!({
            "description": "see http://acme.io",
            "properties": {"a": {"properties": {"b/c": {"default": "http://acme.io/x"}}}, "d": {"default": "https://acme.io"}},
        });
        let source = Source::new("config.json", config.to_string());
        let found = in_defaults(&source, &config);
        assert_eq!(found.len(), 1, "{found:?}");
        let span = found[0].span.clone().unwrap_or_default();
        assert_eq!(&source.text[span], "\"default\":\"http://acme.io/x\"");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_search_panic(text in "(http|https|://|/|\\*|<!--|-->|\\{\\{!|\\}\\}|#| |\n|é|@|\\[|:|a\\.b){0,30}") {
            let _ = in_text(&Source::new("f", text));
        }
    }
}
