//! The flags of the bootstrap program, in the manner of Go's `flag` package, for the commands of service files that
//! were written for the SDK's program: `-name`, `--name`, `-name=value`, `-name value`.

use super::Error;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is printed for `-help`, and after a wrong flag.
pub const USAGE: &str = "\
usage: dagpkg-bootstrap [flags]

Prepares the sandbox of a task: waits until names resolve, renders config templates.

  -get-task-ip           print the container's address and do nothing else
  -insecure              print secrets in the environment, too
  -install-certs=false   do not import the cluster's CA into Java's trust store
  -print-env=false       do not print the environment
  -resolve=false         do not wait for names
  -resolve-hosts a,b     names to wait for (default: $TASK_NAME.$FRAMEWORK_HOST)
  -resolve-timeout 5m    how long to wait for names; 0 for ever
  -self-resolve=false    do not wait until the task's own name leads to its own address
  -template=false        do not render config templates
  -template-max-bytes N  largest template (default: 1048576); 0 for any size
  -verbose               say more

Examples, in the `cmd` of a task:
  ./dagpkg-bootstrap && exec ./server
  ./dagpkg-bootstrap -resolve-hosts=db.demo.localhost -resolve-timeout=10m && exec ./server
  export MESOS_CONTAINER_IP=$(./dagpkg-bootstrap -get-task-ip)
";

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of the program
pub struct Flags {
    /// Print the container's address and nothing else.
    pub get_task_ip: bool,
    /// Print secrets, too.
    pub insecure: bool,
    /// Import the cluster's CA into Java's trust store.
    pub install_certs: bool,
    /// Print the environment.
    pub print_env: bool,
    /// Wait for names.
    pub resolve: bool,
    /// The names; the task's own when `None`.
    pub resolve_hosts: Option<Vec<String>>,
    /// How long to wait; `None` for ever.
    pub resolve_timeout: Option<Duration>,
    /// Wait for the task's own name.
    pub self_resolve: bool,
    /// Render config templates.
    pub template: bool,
    /// The largest template; `None` for any size.
    pub template_max_bytes: Option<u64>,
    /// Say more.
    pub verbose: bool,
    /// Print the usage and nothing else.
    pub help: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            get_task_ip: false,
            insecure: false,
            install_certs: true,
            print_env: true,
            resolve: true,
            resolve_hosts: None,
            resolve_timeout: Some(Duration::from_mins(5)),
            self_resolve: true,
            template: true,
            template_max_bytes: Some(1 << 20),
            verbose: false,
            help: false,
        }
    }
}

impl Flags {
    /// The flags in `args`, which do not hold the program's name.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(name) =
                arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|n| !n.is_empty())
            else {
                return Err(Error::Argument(arg));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            flags.set(name, value, &mut args)?;
        }
        Ok(flags)
    }

    fn set(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut dyn Iterator<Item = String>,
    ) -> Result<(), Error> {
        let switch = match name {
            "get-task-ip" => &mut self.get_task_ip,
            "insecure" => &mut self.insecure,
            "install-certs" => &mut self.install_certs,
            "print-env" => &mut self.print_env,
            "resolve" => &mut self.resolve,
            "self-resolve" => &mut self.self_resolve,
            "template" => &mut self.template,
            "verbose" => &mut self.verbose,
            "help" | "h" => &mut self.help,
            "resolve-hosts" | "resolve-timeout" | "template-max-bytes" => {
                // only switches can stand without a value
                let value = value.or_else(|| rest.next()).ok_or_else(|| Error::NoValue(name.to_owned()))?;
                return self.set_value(name, &value);
            }
            _ => return Err(Error::UnknownFlag(name.to_owned())),
        };
        *switch = match value.as_deref() {
            None => true,
            Some(text) => boolean(text).ok_or_else(|| wrong(name, text, "true or false"))?,
        };
        Ok(())
    }

    fn set_value(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "resolve-hosts" => {
                let hosts: Vec<_> =
                    value.split(',').map(str::trim).filter(|h| !h.is_empty()).map(str::to_owned).collect();
                self.resolve_hosts = (!hosts.is_empty()).then_some(hosts);
            }
            "resolve-timeout" => {
                let timeout =
                    duration(value).ok_or_else(|| wrong(name, value, "a duration such as 5m, 90s or 0"))?;
                self.resolve_timeout = (!timeout.is_zero()).then_some(timeout);
            }
            _ => {
                let bytes: u64 = value.parse().map_err(|_| wrong(name, value, "a number of bytes"))?;
                self.template_max_bytes = (bytes != 0).then_some(bytes);
            }
        }
        Ok(())
    }
}

fn wrong(flag: &str, value: &str, expected: &'static str) -> Error {
    Error::FlagValue { flag: flag.to_owned(), value: value.to_owned(), expected }
}

/// The words that Go reads as booleans.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go writes it, `1h30m` or `1.5s`; a bare 0 needs no unit.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let units: BTreeMap<&str, f64> = BTreeMap::from([
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ]);
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c| !is_number(c))?;
        let (number, tail) = rest.split_at(unit_at);
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        seconds += number.parse::<f64>().ok()? * units.get(unit)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Flags, Error> {
        Flags::parse(args.split_whitespace().map(str::to_owned))
    }

    type Change = fn(&mut Flags);

    #[test]
    fn flags_are_read_in_all_of_gos_spellings() {
        let cases: [(&str, Change); 8] = [
            ("", |_| {}),
            ("-resolve=false", |f| f.resolve = false),
            ("--resolve=F -verbose", |f| (f.resolve, f.verbose) = (false, true)),
            ("-resolve-hosts a.b,c", |f| f.resolve_hosts = Some(vec!["a.b".to_owned(), "c".to_owned()])),
            ("--resolve-hosts=a", |f| f.resolve_hosts = Some(vec!["a".to_owned()])),
            ("-resolve-timeout=0", |f| f.resolve_timeout = None),
            ("-resolve-timeout 1m30s -template=0", |f| {
                (f.resolve_timeout, f.template) = (Some(Duration::from_secs(90)), false);
            }),
            ("-template-max-bytes 7", |f| f.template_max_bytes = Some(7)),
        ];
        for (args, change) in cases {
            let mut expected = Flags::default();
            change(&mut expected);
            assert_eq!(parse(args).ok(), Some(expected), "{args}");
        }
    }

    #[test]
    fn the_usage_tells_all_flags_and_its_examples_are_right() {
        let (told, examples) = USAGE.split_once("Examples").expect("examples");
        let names: Vec<_> = told
            .lines()
            .filter_map(|line| line.strip_prefix("  -"))
            .map(|line| line.split([' ', '=']).next().unwrap_or_default())
            .collect();
        for name in &names {
            assert!(!matches!(parse(&format!("-{name}")), Err(Error::UnknownFlag(_))), "{name}");
        }
        // all fields but `help`
        assert_eq!(names.len(), 11, "{names:?}");
        for example in examples.lines().filter_map(|line| line.split_once("./dagpkg-bootstrap")) {
            let flags = example.1.split("&&").next().unwrap_or_default().trim_end_matches(')');
            assert!(parse(flags).is_ok(), "{flags}");
        }
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let cases = [
            ("-resolv", "resolv"),
            ("-resolve=maybe", "maybe"),
            ("-resolve-timeout soon", "soon"),
            ("-resolve-timeout 5", "5"),
            ("-resolve-timeout 5y", "5y"),
            ("-resolve-hosts", "resolve-hosts"),
            ("-template-max-bytes=-1", "-1"),
            ("now", "now"),
            ("-", "-"),
        ];
        for (args, named) in cases {
            let error = parse(args).expect_err(args).to_string();
            assert!(error.contains(named), "{args}: {error}");
        }
    }
}
