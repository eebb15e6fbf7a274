//! Virtual addresses: names that lead to all tasks behind a port label `VIP_*`.
//!
//! On DC/OS the cluster's own name service answers for them. On one machine they lie below `.localhost`, which RFC 6761
//! gives to the loopback network but which C libraries do not resolve; so both sides compute the address instead.

use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

/// The loopback address of a name below `.localhost`: `127.64.0.1` to `127.127.255.254`, from a hash of the lower-case
/// name. The scheduler hands it to tasks, the embedded cluster listens at it.
pub fn loopback_address(name: &str) -> Ipv4Addr {
    let hash = Sha256::digest(name.to_ascii_lowercase().as_bytes());
    Ipv4Addr::new(127, 64 + hash[0] % 64, hash[1], 1 + hash[2] % 254)
}

/// Whether a name is below `.localhost`, and so on this machine whoever is asked.
pub fn is_local(name: &str) -> bool {
    name.to_ascii_lowercase().trim_end_matches('.').ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_loopback_stable_and_ignores_case() {
        let a = loopback_address("postgresql.dagflow.l4lb.localhost");
        assert!(a.is_loopback() && a.octets()[1] >= 64);
        assert_eq!(a, loopback_address("PostgreSQL.dagflow.l4lb.localhost"));
        assert_ne!(a, loopback_address("webserver.dagflow.l4lb.localhost"));
    }

    #[test]
    fn only_names_below_localhost_are_local() {
        assert!(is_local("a.b.localhost") && is_local("a.LOCALHOST."));
        assert!(!is_local("a.localhost.example") && !is_local("xlocalhost"));
    }
}
