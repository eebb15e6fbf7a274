//! Addresses of names, without the C library: a static program has no name service switch, and the tasks' containers
//! may have another C library or none. Knows /etc/hosts, /etc/resolv.conf and A records over UDP; names under
//! `.localhost` are this machine, by RFC 6761, without asking anybody.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long one server has for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Asks for addresses as the files in /etc say.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    /// The content of /etc/hosts.
    pub hosts: String,
    /// Name servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Domains that a name may be in.
    pub search: Vec<String>,
}

impl Resolver {
    /// As this machine or container is configured; without files, the name server is taken to be here.
    pub fn system() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut resolver = Self { hosts: read("/etc/hosts"), ..Self::default() };
        resolver.configure(&read("/etc/resolv.conf"));
        resolver
    }

    fn configure(&mut self, resolv_conf: &str) {
        for line in resolv_conf.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|address| address.parse::<IpAddr>().ok());
                    self.servers.extend(address.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => self.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        if self.servers.is_empty() {
            self.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
    }

    /// All IPv4 addresses of a name; an error when nobody could say anything, none when it does not exist.
    pub fn lookup(&self, name: &str) -> io::Result<BTreeSet<Ipv4Addr>> {
        if let Ok(address) = name.parse() {
            return Ok(BTreeSet::from([address]));
        }
        if is_local(name) {
            return Ok(BTreeSet::from([Ipv4Addr::LOCALHOST]));
        }
        let known = self.in_hosts(name);
        if !known.is_empty() {
            return Ok(known);
        }
        let full = name.ends_with('.');
        let searched = self.search.iter().filter(|_| !full).map(|domain| format!("{name}.{domain}"));
        // a name with a dot is probably complete, so it is asked for first
        let mut candidates: Vec<String> = searched.collect();
        candidates.insert(if name.contains('.') { 0 } else { candidates.len() }, name.to_owned());
        let mut failure = None;
        for candidate in candidates {
            match self.ask(&candidate) {
                Ok(addresses) if addresses.is_empty() => {}
                Ok(addresses) => return Ok(addresses),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(BTreeSet::new()), Err)
    }

    fn in_hosts(&self, name: &str) -> BTreeSet<Ipv4Addr> {
        let lines = self.hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
        let matching = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|other| other.eq_ignore_ascii_case(name)).then_some(address)
        });
        matching.collect()
    }

    fn ask(&self, name: &str) -> io::Result<BTreeSet<Ipv4Addr>> {
        let mut failure = io::Error::other("no name server is configured");
        for server in &self.servers {
            match ask_server(*server, name) {
                Ok(addresses) => return Ok(addresses),
                Err(error) => {
                    failure = io::Error::new(error.kind(), format!("name server {server}: {error}"));
                }
            }
        }
        Err(failure)
    }
}

/// Whether a name is this machine by definition.
pub fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn ask_server(server: SocketAddr, name: &str) -> io::Result<BTreeSet<Ipv4Addr>> {
    // underscores are in names of tasks, so not only strict host names are asked for
    let mut name = Name::from_str_relaxed(name).map_err(io::Error::other)?;
    name.set_fqdn(true);
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, RecordType::A));
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_TIME))?;
    socket.send(&query.to_vec().map_err(io::Error::other)?)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    let answer = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
    if answer.metadata.id != query.metadata.id {
        return Err(io::Error::other("the answer is to another question"));
    }
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(io::Error::other(format!("it answered {code}"))),
    }
    let address = |data: &RData| if let RData::A(a) = data { Some(a.0) } else { None };
    Ok(answer.answers.iter().filter_map(|record| address(&record.data)).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hickory_proto::op::MessageType;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;

    /// A name server that answers as many questions: two addresses for `two.test.`, none for others. `late.test.` has
    /// one address, but only from the third question on.
    pub fn serve(questions: usize) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            for number in 1..=questions {
                let mut buffer = [0; 512];
                let (length, asker) = socket.recv_from(&mut buffer).expect("a question");
                let mut message = Message::from_vec(&buffer[..length]).expect("a message");
                message.metadata.message_type = MessageType::Response;
                let name = message.queries[0].name().clone();
                let addresses: &[u8] = match name.to_string().as_str() {
                    "two.test." => &[1, 2],
                    "late.test." if number >= 3 => &[3],
                    _ => &[],
                };
                for last in addresses {
                    let data = RData::A(A(Ipv4Addr::new(10, 0, 0, *last)));
                    message.add_answer(Record::from_rdata(name.clone(), 1, data));
                }
                if addresses.is_empty() {
                    message.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&message.to_vec().expect("bytes"), asker).expect("sent");
            }
        });
        address
    }

    #[test]
    fn a_name_server_is_asked_for_all_addresses() {
        let resolver = Resolver { servers: vec![serve(2)], ..Resolver::default() };
        let two = resolver.lookup("two.test").expect("an answer");
        assert_eq!(two.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(resolver.lookup("none.test").expect("an answer").len(), 0);
    }

    #[test]
    fn the_next_name_server_is_asked_when_one_does_not_answer() {
        let closed = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port");
        let resolver = Resolver { servers: vec![closed, serve(1)], ..Resolver::default() };
        assert_eq!(resolver.lookup("two.test").expect("an answer").len(), 2);
    }

    #[test]
    fn a_short_name_is_looked_for_in_the_search_domains() {
        let resolver =
            Resolver { servers: vec![serve(1)], search: vec!["test".to_owned()], ..Resolver::default() };
        assert_eq!(resolver.lookup("two").expect("an answer").len(), 2);
    }

    #[test]
    fn literals_localhost_and_the_hosts_file_need_no_server() {
        let resolver = Resolver { hosts: "::1 six\n10.1.2.3 Six me # you".to_owned(), ..Resolver::default() };
        let cases = [
            ("10.9.8.7", "10.9.8.7"),
            ("a.b.localhost", "127.0.0.1"),
            ("six", "10.1.2.3"),
            ("ME", "10.1.2.3"),
        ];
        for (name, address) in cases {
            let found = resolver.lookup(name).expect(name);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [address], "{name}");
        }
        assert!(resolver.lookup("you").is_err());
    }

    #[test]
    fn servers_and_search_domains_are_read_from_resolv_conf() {
        let mut resolver = Resolver::default();
        resolver.configure(
            "# comment\nnameserver 198.51.100.1\nnameserver x\nsearch a.test b.test\noptions ndots:1\n",
        );
        assert_eq!(resolver.servers, ["198.51.100.1:53".parse().expect("an address")]);
        assert_eq!(resolver.search, ["a.test", "b.test"]);
    }
}
