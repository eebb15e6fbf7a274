//! Media types and what clients say about them in `Accept`; by the same grammar, encodings and `Accept-Encoding`.
//!
//! All types of DC/OS' package service are `application/vnd.dcos.<area>.<name>+json;charset=utf-8;version=v<N>`. Rules of
//! negotiation only. Called by the embedded package service and by what serves and checks repositories.

use std::collections::BTreeMap;

/// A media type with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// `application/json`, lower case.
    pub essence: String,
    /// Parameters by lower-case name.
    pub parameters: BTreeMap<String, String>,
}

impl MediaType {
    /// Reads one media type; anything has a reading, so nonsense just matches nothing.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase()))
        };
        Self { essence, parameters: parts.filter_map(parameter).collect() }
    }

    /// Whether `self` is `other`, with all of its parameters and perhaps more.
    pub fn includes(&self, other: &MediaType) -> bool {
        self.essence == other.essence
            && other.parameters.iter().all(|(name, value)| self.parameters.get(name) == Some(value))
    }
}

/// The entries of an `Accept` header (or of several, joined by commas) with their weights, most wanted first: higher
/// `q`, then more parameters, then what is listed first. A weight that is no number from 0 to 1 counts as 1.
pub fn wanted(accept: &str) -> Vec<(f64, MediaType)> {
    let mut wanted: Vec<(f64, MediaType)> = accept
        .split(',')
        .map(|entry| {
            let mut media = MediaType::parse(entry);
            let q = media.parameters.remove("q").and_then(|q| q.parse().ok());
            (q.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0), media)
        })
        .filter(|(_, media)| !media.essence.is_empty())
        .collect();
    // stable
    wanted.sort_by(|(q1, m1), (q2, m2)| q2.total_cmp(q1).then(m2.parameters.len().cmp(&m1.parameters.len())));
    wanted
}

/// The one of `offered` that an `Accept` header wants most; entries must equal an offered type, and `q=0` excludes.
pub fn choose<'a>(accept: &str, offered: &[&'a str]) -> Option<&'a str> {
    let is_wanted = |(q, media): &(f64, MediaType)| {
        offered.iter().find(|o| *q > 0.0 && MediaType::parse(o) == *media).copied()
    };
    wanted(accept).iter().find_map(is_wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_offered_type_is_chosen() {
        let v1 = "application/vnd.dcos.package.install-response+json;charset=utf-8;version=v1";
        let v2 = "application/vnd.dcos.package.install-response+json;charset=utf-8;version=v2";
        let error = "application/vnd.dcos.package.error+json;charset=utf-8;version=v1";
        for (accept, wanted) in [
            (v1.to_owned(), Some(v1)),
            (format!("{v2},{error}"), Some(v2)),
            (format!("{error}, {v1}"), Some(v1)),
            (format!("{v2};q=0.5,{v1}"), Some(v1)),
            (format!("{v2};q=0,{v1}"), Some(v1)),
            (format!("{v1};q=0"), None),
            ("*/*".to_owned(), None),
            ("application/vnd.dcos.package.install-response+json;version=v1".to_owned(), None),
            (
                "application/vnd.dcos.package.install-response+json; Version=V1 ;charset=UTF-8".to_owned(),
                Some(v1),
            ),
            (String::new(), None),
        ] {
            assert_eq!(choose(&accept, &[v1, v2]), wanted, "{accept}");
        }
    }

    #[test]
    fn a_content_type_may_have_more_parameters_than_are_asked_for() {
        let wanted = MediaType::parse("application/x+json;charset=utf-8;version=v1");
        assert!(MediaType::parse("application/x+json; version=v1; charset=utf-8; a=b").includes(&wanted));
        assert!(!MediaType::parse("application/x+json; charset=utf-8").includes(&wanted));
        assert!(!MediaType::parse("application/y+json; charset=utf-8;version=v1").includes(&wanted));
    }
}
