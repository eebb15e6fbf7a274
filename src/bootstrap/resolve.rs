//! Waiting for names: a task's own, and those of its peers.

use super::dns::{Resolver, is_local};
use super::{Error, Flags, log};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Between two attempts; tests are in a hurry.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

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
            return Err(Error::Unresolved { name: name.to_owned(), seconds: most.as_secs_f64(), why });
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

#[cfg(test)]
mod tests {
    use super::super::dns::tests::serve;
    use super::*;

    fn resolver(questions: usize) -> Resolver {
        Resolver { servers: vec![serve(questions)], ..Resolver::default() }
    }

    fn flags(most: Option<Duration>) -> Flags {
        Flags { resolve_timeout: most, ..Flags::default() }
    }

    #[test]
    fn a_name_that_comes_late_is_waited_for() {
        let hosts = ["two.test".to_owned(), "late.test".to_owned()];
        assert!(wait_for(&resolver(3), &hosts, &flags(None)).is_ok());
    }

    #[test]
    fn a_name_that_never_comes_is_an_error_when_the_time_is_over() {
        let most = Duration::from_millis(50);
        let start = Instant::now();
        let error = wait_for(&resolver(100), &["none.test".to_owned()], &flags(Some(most)))
            .expect_err("no such name");
        assert!(error.to_string().contains("the name does not exist"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[test]
    fn the_tasks_own_name_must_lead_to_its_own_address_only() {
        let own = Ipv4Addr::new(10, 0, 0, 3);
        assert!(wait_for_self(&resolver(3), "late.test", own, &flags(None)).is_ok());
        let most = flags(Some(Duration::from_millis(50)));
        for (name, expected) in
            [("late.test", "10.0.0.3 and should be 10.0.0.9"), ("two.test", "10.0.0.1, 10.0.0.2")]
        {
            let other = Ipv4Addr::new(10, 0, 0, 9);
            let error = wait_for_self(&resolver(100), name, other, &most).expect_err(name).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(wait_for_self(&Resolver::default(), "a.b.localhost", own, &most).is_ok());
    }
}
