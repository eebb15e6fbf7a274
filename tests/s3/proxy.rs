//! A TCP proxy before the server: it notes all requests, and makes the network fail where a test wants it to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What happens to the network at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This request gets no further, and waits until it is let go.
    Hold,
    /// Its connection breaks, once; the next one is good.
    BreakOnce,
    /// It gets through, and its answer doesn't, once.
    LoseAnswer,
    /// Its connection breaks in the middle of its body, and so do all others from then on.
    Cut,
}

#[derive(Default)]
struct State {
    requests: Vec<String>,
    /// Parts of request lines, and what happens to the first that has one.
    faults: Vec<(&'static str, Fault)>,
    held: bool,
    cut: bool,
}

/// A running proxy, until the process ends.
#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    pub fn start(server: &str) -> Self {
        let server: SocketAddr = server.split("://").nth(1).unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self { url, shared: Arc::default() };
        let acceptor = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let proxy = acceptor.clone();
                thread::spawn(move || proxy.carry(&client, server));
            }
        });
        proxy
    }

    /// From now on, the first request whose line has this text suffers the fault.
    pub fn fail(&self, text: &'static str, fault: Fault) {
        self.state(|state| state.faults.push((text, fault)));
    }

    /// Waits until a request is held.
    pub fn wait_held(&self) {
        let start = Instant::now();
        while !self.state(|state| state.held) {
            assert!(start.elapsed() < Duration::from_mins(1), "held nothing of {:?}", self.requests());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets all that is held go, and makes the network good again.
    pub fn mend(&self) {
        self.state(|state| {
            *state = State { requests: std::mem::take(&mut state.requests), ..State::default() }
        });
        self.shared.1.notify_all();
    }

    /// How many faults have not happened yet.
    pub fn faults_left(&self) -> usize {
        self.state(|state| state.faults.len())
    }

    /// All requests since this was asked last: `METHOD /path`.
    pub fn requests(&self) -> Vec<String> {
        self.state(|state| std::mem::take(&mut state.requests))
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.0.lock().unwrap())
    }

    fn carry(&self, client: &TcpStream, server: SocketAddr) {
        let Ok(server) = TcpStream::connect(server) else { return };
        let mute = Arc::new(AtomicBool::new(false));
        let (answers, back, muted) =
            (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&mute));
        thread::spawn(move || {
            let _ = answers_of(answers, &back, &muted);
            let _ = back.shutdown(Shutdown::Both);
        });
        let _ = self.requests_of(client.try_clone().unwrap(), &server, &mute);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    /// Carries the requests of one connection until it ends or breaks.
    fn requests_of(
        &self,
        mut client: TcpStream,
        mut server: &TcpStream,
        mute: &AtomicBool,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        // the bytes of the current head, and how many of its body are still to come
        let (mut head, mut body) = (Vec::new(), 0);
        let mut breaks = false;
        loop {
            let length = client.read(&mut buffer)?;
            if length == 0 || self.state(|state| state.cut) {
                return Ok(());
            }
            let mut bytes = &buffer[..length];
            while !bytes.is_empty() {
                if body > 0 {
                    let (now, rest) = bytes.split_at(bytes.len().min(body));
                    server.write_all(now)?;
                    body -= now.len();
                    bytes = rest;
                    if breaks {
                        self.state(|state| state.cut = true);
                        return Ok(());
                    }
                    continue;
                }
                head.push(bytes[0]);
                bytes = &bytes[1..];
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                match self.note(&text) {
                    Some(Fault::Hold) => self.hold(),
                    Some(Fault::BreakOnce) => return Ok(()),
                    Some(Fault::LoseAnswer) => mute.store(true, Ordering::SeqCst),
                    Some(Fault::Cut) => breaks = true,
                    None => {}
                }
                server.write_all(&head)?;
                head.clear();
                body = content_length(&text);
            }
        }
    }

    /// Notes a request and says what happens to it.
    fn note(&self, head: &str) -> Option<Fault> {
        let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        self.state(|state| {
            let fault = state.faults.iter().position(|(text, _)| line.contains(text));
            let fault = fault.map(|index| state.faults.remove(index).1);
            state.requests.push(line);
            fault
        })
    }

    fn hold(&self) {
        self.state(|state| state.held = true);
        let state = self.shared.0.lock().unwrap();
        drop(self.shared.1.wait_while(state, |state| state.held).unwrap());
    }
}

/// Carries the answers of one connection until it ends, or answers are lost.
fn answers_of(mut server: TcpStream, mut client: &TcpStream, mute: &AtomicBool) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = server.read(&mut buffer)?;
        if length == 0 || mute.load(Ordering::SeqCst) {
            return Ok(());
        }
        client.write_all(&buffer[..length])?;
    }
}

fn content_length(head: &str) -> usize {
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
