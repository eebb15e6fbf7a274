//! The shell command that starts a Java scheduler: what of it means something without Java.
//!
//! A command is read as it stands in the template, with JSON's escapes and with tags.

use super::super::shape::{Tag, tags};

/// The parts of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program of the scheduler.
    pub program: String,
    /// Its argument that names the service file.
    pub service: Option<String>,
    /// Its other arguments.
    pub others: Vec<String>,
    /// Assignments of variables that are not Java's.
    pub variables: Vec<String>,
    /// Other steps before the scheduler.
    pub steps: Vec<String>,
}

/// Variables that only Java or libmesos read.
pub const JAVA_VARIABLES: [&str; 9] = [
    "MESOS_NATIVE_JAVA_LIBRARY",
    "MESOS_NATIVE_LIBRARY",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "JAVA_OPTS",
    "JRE_HOME",
    "MESOS_MODULES",
    "MESOS_AUTHENTICATEE",
    "MESOS_HTTP_AUTHENTICATEE",
];

/// Whether a variable is there for Java: by its name, or as options of a virtual machine.
pub fn is_for_java(name: &str, value: &str) -> bool {
    let options = name.ends_with("_OPTS") || name.ends_with("_OPTIONS");
    let flags = ["-Xm", "-Xs", "-XX:", "-D", "-agentlib:", "-javaagent:"];
    JAVA_VARIABLES.contains(&name) || options && flags.iter().any(|flag| value.contains(flag))
}

impl Command {
    /// Reads what stands between the quotes of a template's `cmd`.
    pub fn read(written: &str) -> Self {
        let all: Vec<&str> =
            split(written, &["&&", "||", ";", "|", "\\n"]).into_iter().map(str::trim).collect();
        let starts: Vec<Vec<&str>> = all.iter().map(|step| without_assignments(words(step))).collect();
        let looks_like_it = |words: &Vec<&str>| {
            let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
            program.contains("scheduler")
                || program.contains("/bin/")
                || arguments.iter().any(|word| names_yaml(word))
        };
        let is_program = |words: &Vec<&str>| !words.is_empty() && !is_helper(words[0]);
        let found = (0..all.len()).rev().find(|&i| is_program(&starts[i]) && looks_like_it(&starts[i]));
        let found = found.or_else(|| (0..all.len()).rev().find(|&i| is_program(&starts[i])));
        let mut command = Self::default();
        let Some(found) = found else { return command };

        let words = &starts[found];
        // behind the end of a section that stands right before it
        let program = tags(words[0]).iter().rfind(|tag| tag.sigil != ' ').map_or(0, |tag| tag.span.end);
        words[0][program..].clone_into(&mut command.program);
        (command.service, command.others) = arguments(&words[1..]);
        for (index, step) in
            all.iter().enumerate().filter(|(index, step)| *index != found && !step.is_empty())
        {
            let program = starts[index].first().copied().unwrap_or_default();
            if program.is_empty() && is_balanced(step) {
                if assignments(step).any(|(name, value)| !mentions_java(name, value)) {
                    command.variables.push((*step).to_owned());
                }
            } else if !program.ends_with("bootstrap") {
                command.steps.push((*step).to_owned());
            }
        }
        command
    }
}

/// Programs that are never the scheduler.
fn is_helper(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    ["bootstrap", "cd", "set", "mkdir", "cp", "mv", "chmod", "tee", "echo", "export"].contains(&name)
}

fn names_yaml(word: &str) -> bool {
    word.contains(".yml") || word.contains(".yaml")
}

fn mentions_java(name: &str, value: &str) -> bool {
    let value_lower = value.to_lowercase();
    is_for_java(name, value)
        || ["java", "jre", "jdk", "libmesos"].iter().any(|word| value_lower.contains(word))
}

/// The words of a command without the variables in front of them, `export` and `exec`.
fn without_assignments(words: Vec<&str>) -> Vec<&str> {
    let is_export = words.first() == Some(&"export");
    let skipped = |word: &&str| assignment(word).is_some() || ["export", "exec"].contains(word) || is_export;
    words.into_iter().skip_while(skipped).collect()
}

/// `NAME=value` in two parts.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(good)).then_some((name, value))
}

fn assignments(step: &str) -> impl Iterator<Item = (&str, &str)> {
    words(step).into_iter().filter_map(assignment)
}

/// The argument that names the service file, and the others.
fn arguments(words: &[&str]) -> (Option<String>, Vec<String>) {
    let mut words: Vec<&str> = words.to_vec();
    // `> log`, `2>&1`: the output's business
    if let Some(at) = words
        .iter()
        .position(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(['>', '<']))
    {
        words.truncate(at);
    }
    if !words.iter().all(|word| is_balanced(word)) {
        // sections around words: whatever the options are, one of them is left
        return (Some(words.concat()), Vec::new());
    }
    let found = words.iter().position(|word| names_yaml(word));
    let found = found.or_else(|| words.iter().position(|word| !tags(word).is_empty()));
    let Some(at) = found else { return (None, words.into_iter().map(str::to_owned).collect()) };
    // a word that is a section as a whole is not always there, and then the next one is
    let is_section =
        |word: &&str| tags(word).first().is_some_and(|tag| tag.span.start == 0 && tag.sigil != ' ');
    let count = words[at..].iter().take_while(|word| is_section(word)).count().max(1);
    let service = words.drain(at..at + count).collect::<String>();
    (Some(service), words.into_iter().map(str::to_owned).collect())
}

/// Whether all sections that begin in a text end in it.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for Tag { sigil, name, .. } in tags(text) {
        match sigil {
            '#' | '^' => open.push(name),
            '/' if open.pop() != Some(name) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

fn words(step: &str) -> Vec<&str> {
    split(step, &[" ", "\\t", "\\n", "\t"]).into_iter().filter(|word| !word.is_empty()).collect()
}

/// Splits a written command where a separator stands outside of quotes, parentheses and tags.
fn split<'t>(written: &'t str, separators: &[&str]) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    let (mut quote, mut depth) = (None, 0_usize);
    let mut tags = tags(written).into_iter().peekable();
    while at < written.len() {
        let rest = &written[at..];
        if let Some(tag) = tags.next_if(|tag| tag.span.start <= at) {
            at = tag.span.end.max(at);
            continue;
        }
        let (text, length) = unit(rest);
        let outside = quote.is_none() && depth == 0;
        if let Some(separator) = separators.iter().find(|separator| outside && rest.starts_with(**separator))
        {
            pieces.push(&written[start..at]);
            at += separator.len();
            start = at;
            continue;
        }
        match (text, quote) {
            ("\\", None | Some("\"")) => at += unit(&rest[length..]).1,
            ("\"" | "'" | "`", None) => quote = Some(text),
            (_, Some(mark)) if text == mark => quote = None,
            ("(", None) => depth += 1,
            (")", None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += length;
    }
    pieces.push(&written[start..]);
    pieces
}

/// The first character of a JSON text, unescaped if it is one of the shell's, and its length as written.
fn unit(rest: &str) -> (&str, usize) {
    for (escaped, text) in [("\\\"", "\""), ("\\\\", "\\"), ("\\/", "/")] {
        if rest.starts_with(escaped) {
            return (text, escaped.len());
        }
    }
    let length = rest.chars().next().map_or(0, char::len_utf8);
    (&rest[..length], length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(
        program: &str,
        service: Option<&str>,
        others: &[&str],
        variables: &[&str],
        steps: &[&str],
    ) -> Command {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Command {
            program: program.to_owned(),
            service: service.map(str::to_owned),
            others: texts(others),
            variables: texts(variables),
            steps: texts(steps),
        }
    }

    #[test]
    fn commands_are_read_in_the_spellings_that_there_are() {
        let java = "export LD_LIBRARY_PATH=$MESOS_SANDBOX/libmesos-bundle/lib:$LD_LIBRARY_PATH; export JAVA_HOME=$(ls -d \
                    $MESOS_SANDBOX/jre*/); export PATH=$(ls -d $JAVA_HOME/bin):$PATH && export JAVA_OPTS=\\\"-Xms1M; -Xmx2M\\\" && ";
        let cases = [
            (
                format!(
                    "{java}./bootstrap -resolve=false && ./tide-scheduler/bin/tide ./tide-scheduler/svc.yml"
                ),
                command("./tide-scheduler/bin/tide", Some("./tide-scheduler/svc.yml"), &[], &[], &[]),
            ),
            (
                "./s/bin/s {{service.yaml}} {{service.more}}".into(),
                command("./s/bin/s", Some("{{service.yaml}}"), &["{{service.more}}"], &[], &[]),
            ),
            (
                "exec $MESOS_SANDBOX/s/bin/run --fast svc{{#big}}-big{{/big}}.yml 2>&1".into(),
                command(
                    "$MESOS_SANDBOX/s/bin/run",
                    Some("svc{{#big}}-big{{/big}}.yml"),
                    &["--fast"],
                    &[],
                    &[],
                ),
            ),
            (
                "./s/bin/s {{#big}} big.yml {{/big}}{{^big}} small.yml{{/big}}".into(),
                command("./s/bin/s", Some("{{#big}}big.yml{{/big}}{{^big}}small.yml{{/big}}"), &[], &[], &[]),
            ),
            (
                "export REGION=\\\"a b\\\" TZ=UTC && A=1 JAVA_HOME=x ./s/bin/s svc.yml | tee log".into(),
                command(
                    "./s/bin/s",
                    Some("svc.yml"),
                    &[],
                    &["export REGION=\\\"a b\\\" TZ=UTC"],
                    &["tee log"],
                ),
            ),
            (
                "cp -R over/* s/ \\n kinit -k && {{#x}}export A=1 && {{/x}}./s/bin/s".into(),
                command("./s/bin/s", None, &[], &[], &["cp -R over/* s/", "kinit -k", "{{#x}}export A=1"]),
            ),
            (
                "java -jar it.jar svc.yml".into(),
                command("java", Some("svc.yml"), &["-jar", "it.jar"], &[], &[]),
            ),
            ("./bootstrap".into(), Command::default()),
            (String::new(), Command::default()),
        ];
        for (written, expected) in cases {
            assert_eq!(Command::read(&written), expected, "{written}");
        }
    }

    #[test]
    fn variables_of_java_are_known_by_name_or_by_flags() {
        for (name, value, expected) in [
            ("JAVA_HOME", "", true),
            ("MESOS_MODULES", "{}", true),
            ("TIDE_OPTS", "-Xmx512M", true),
            ("TIDE_OPTS", "--fast", false),
            ("TIDE_HEAP", "-Xmx512M", false),
            ("JAVA_URI", "https://example.org/jre.tgz", false),
        ] {
            assert_eq!(is_for_java(name, value), expected, "{name}={value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(written in "(\\\\[\"\\\\n/]|\\{\\{[#/]?a\\}\\}|[ ;&|'()a=.]|é){0,30}") {
            let _ = Command::read(&written);
        }
    }
}
