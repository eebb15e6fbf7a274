//! Where the masters are.

use reqwest::Url;

/// The path of the scheduler API at a master.
const SCHEDULER_PATH: &str = "/api/v1/scheduler";

/// The masters of one cluster, in the order in which they are tried. Any of them will do: one that does not lead
/// redirects to the one that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masters(Vec<Url>);

/// Why a master's address cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The leader would have to be looked up in ZooKeeper.
    #[error(
        "finding the master through ZooKeeper is not supported yet: instead of zk://… name the master's HTTP \
         address, for instance http://leader.mesos:5050"
    )]
    ZooKeeper,
    /// Not an address at all.
    #[error(
        "{address:?} is not a master's address ({reason}): expected http://host:port or host:port, several joined \
         by commas"
    )]
    Malformed {
        /// The address as given; without credentials.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Masters {
    /// The URLs of the scheduler API, never empty.
    pub fn urls(&self) -> &[Url] {
        &self.0
    }
}

impl std::str::FromStr for Masters {
    type Err = AddressError;

    /// Reads `http://host:port`, `https://host/mesos`, `host:port`, or several of these joined by commas.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.split(',').map(|address| parse(address.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn parse(address: &str) -> Result<Url, AddressError> {
    let malformed = |address: &str, reason: &str| AddressError::Malformed {
        address: address.to_owned(),
        reason: reason.to_owned(),
    };
    if address.starts_with("zk://") {
        return Err(AddressError::ZooKeeper);
    }
    if address.contains('@') {
        // The address is logged, so a password in it would be as well; not even this error repeats it.
        return Err(malformed("…@…", "credentials belong in a file"));
    }
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| malformed(address, &error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(address, "only http and https are possible"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed(address, "it has a query or a fragment"));
    }
    let base = url.path().trim_end_matches('/').to_owned();
    if !base.ends_with(SCHEDULER_PATH) {
        url.set_path(&format!("{base}{SCHEDULER_PATH}"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls_of_the_scheduler_api() {
        for (text, expected) in [
            ("http://10.0.0.1:5050", vec!["http://10.0.0.1:5050/api/v1/scheduler"]),
            ("http://10.0.0.1:5050/", vec!["http://10.0.0.1:5050/api/v1/scheduler"]),
            ("http://10.0.0.1:5050/api/v1/scheduler", vec!["http://10.0.0.1:5050/api/v1/scheduler"]),
            ("leader.mesos:5050", vec!["http://leader.mesos:5050/api/v1/scheduler"]),
            ("https://cluster.example/mesos", vec!["https://cluster.example/mesos/api/v1/scheduler"]),
            (
                "http://a:5050, b:5051",
                vec!["http://a:5050/api/v1/scheduler", "http://b:5051/api/v1/scheduler"],
            ),
            ("[::1]:5050", vec!["http://[::1]:5050/api/v1/scheduler"]),
        ] {
            let masters: Masters = text.parse().unwrap();
            assert_eq!(masters.urls().iter().map(Url::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_what_to_do() {
        for (text, expected) in [
            ("zk://zk-1:2181,zk-2:2181/mesos", "name the master's HTTP address"),
            ("", "expected http://host:port"),
            ("http://a:5050,", "expected http://host:port"),
            ("ftp://a:5050", "only http and https"),
            ("http://a:notaport", "port"),
            ("http://a:5050/?x=1", "query"),
        ] {
            let error = text.parse::<Masters>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = "http://dagflow:s3cret@a:5050".parse::<Masters>().unwrap_err();
        assert!(error.to_string().contains("credentials belong in a file"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}
