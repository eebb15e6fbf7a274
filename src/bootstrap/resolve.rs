//! Waiting for names: a task's own, and those of its peers.

use super::dns::{Resolver, is_local};
use super::{Error, Flags, log};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until each of `hosts` has an address.
pub fn wait_for(resolver: &Resolver, hosts: &[String], flags: &Flags) -> Result<(), Error> {
    // one deadline for all: the flag says how long the task may be held up
    let start = Instant::now();
    for host in hosts {
        let found = retry(resolver, host, start, flags, |addresses| {
            if addresses.is_empty() { Err("the name does not exist".to_owned()) } else { Ok(()) }
        })?;
        log(&format!("{host} is {}", list(&found)));
    }
    Ok(())
}

/// Waits until `name`, the task's own, leads to `own` and nowhere else.
pub fn wait_for_self(resolver: &Resolver, name: &str, own: Ipv4Addr, flags: &Flags) -> Result<(), Error> {
    // such a name is this machine by definition, whichever of its addresses the container has
    if is_local(name) {
        log(&format!("{name} is this machine"));
        return Ok(());
    }
    retry(resolver, name, Instant::now(), flags, |addresses| match addresses.first() {
        Some(address) if addresses.len() == 1 && *address == own => Ok(()),
        Some(_) => Err(format!("it is {} and should be {own}", list(addresses))),
        None => Err("the name does not exist".to_owned()),
    })?;
    log(&format!("{name} is this container, {own}"));
    Ok(())
}

/// Asks again and again until the addresses are `good`, or the time is over.
fn retry(
    resolver: &Resolver,
    name: &str,
    start: Instant,
    flags: &Flags,
    good: impl Fn(&BTreeSet<Ipv4Addr>) -> Result<(), String>,
) -> Result<BTreeSet<Ipv4Addr>, Error> {
    let mut said = None;
    loop {
        let answer = resolver.lookup(name).map_err(|error| error.to_string());
        let why = match answer.and_then(|found| good(&found).map(|()| found)) {
            Ok(addresses) => return Ok(addresses),
            Err(why) => why,
        };
        if let Some(most) = flags.resolve_timeout.filter(|most| start.elapsed() + PAUSE > *most) {
            return Err(Error::Unresolved { name: name.to_owned(), seconds: most.as_secs(), why });
        }
        // a new reason is news, the same one every second is not
        if flags.verbose || said.as_ref() != Some(&why) {
            log(&format!("waiting for {name}: {why}"));
        }
        said = Some(why);
        std::thread::sleep(PAUSE);
    }
}

fn list(addresses: &BTreeSet<Ipv4Addr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
