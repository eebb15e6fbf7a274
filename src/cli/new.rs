//! `dagpkg new`: a package from scratch, or of a framework of the Mesosphere SDK.

use crate::scaffold::convert::{self, Conversion, ConvertError, Note, NoteKind};
use crate::scaffold::framework::{self, FrameworkError};
use crate::scaffold::new::{About, package};
use crate::scaffold::{Files, check_name, write};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a new package: one that runs at once, or one made of a framework of the Mesosphere SDK.
///
/// Nothing that is there is overwritten, and either all files are written or none.
/// On a terminal it asks for what --description and --maintainer do not say; elsewhere it asks nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new package is a web server that keeps data on a volume, with comments that say what each part is for.

With --from, a folder with universe/ and src/main/dist/ (or dist/) becomes a package without Java and libmesos. Service files
and config templates stay as they are. What was changed, dropped and is left to do is printed, with the lines of the old files.

Examples:
  dagpkg new weather && dagpkg up weather
  dagpkg new weather --dir . --description 'Measures the weather'
  dagpkg new --from ~/dcos-commons/frameworks/kafka
  dagpkg new --from ~/kafka kafka2 --output json")]
pub struct Args {
    /// The package's name: lower-case letters, digits and dashes. With --from the framework's, unless given.
    #[arg(required_unless_present = "from")]
    name: Option<String>,
    /// The folder to write to [default: the name].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The folder of a framework of the SDK.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["description", "maintainer"])]
    from: Option<PathBuf>,
    /// What the package is, in a sentence.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whom to ask about it [default: user.name and user.email of git].
    #[arg(long, value_name = "TEXT")]
    maintainer: Option<String>,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs `dagpkg new`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Conversion { name, files, notes } = match &args.from {
        Some(folder) => of_framework(folder, args.name.as_deref())?,
        None => from_scratch(&args)?,
    };
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(&name));
    write(&files, &dir)?;
    let text = match args.output {
        Output::Text => text(&name, &dir, &files, &notes),
        Output::Json => format!("{:#}\n", data(&name, &dir, &files, &notes)),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn of_framework(folder: &Path, name: Option<&str>) -> anyhow::Result<Conversion> {
    let framework = framework::read(folder).map_err(|error| match error {
        FrameworkError::Package(report) => anyhow::Error::from(report),
        other => other.into(),
    })?;
    // findings are shown with the lines that they are about
    convert::convert(&framework, name).map_err(|error| match error {
        ConvertError::Files(report) => report.into(),
        other => other.into(),
    })
}

fn from_scratch(args: &Args) -> anyhow::Result<Conversion> {
    // clap has seen to it that there is one
    let name = args.name.clone().context("a package needs a name")?;
    // before questions are asked
    check_name(&name)?;
    let answer = |given: &Option<String>, question: &str, default: String| match given {
        Some(text) => Ok(text.clone()),
        None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
            ask(&mut std::io::stdin().lock(), &mut std::io::stderr(), question, default)
        }
        None => Ok(default),
    };
    let description = answer(&args.description, "What is it, in a sentence?", format!("The service {name}"))?;
    let maintainer = answer(&args.maintainer, "Whom to ask about it?", maintainer(&name))?;
    let files = package(&About { name: name.clone(), description, maintainer })?;
    Ok(Conversion { name, files, notes: Vec::new() })
}

/// Asks a question; an empty answer, or none, means the default.
fn ask(
    from: &mut impl BufRead,
    to: &mut impl Write,
    question: &str,
    default: String,
) -> anyhow::Result<String> {
    write!(to, "{question} [{default}] ")?;
    to.flush()?;
    let mut line = String::new();
    if from.read_line(&mut line).context("cannot read the answer")? == 0 {
        writeln!(to)?;
    }
    let line = line.trim();
    Ok(if line.is_empty() { default } else { line.to_owned() })
}

/// Who git says is at work here.
fn maintainer(name: &str) -> String {
    let git = |key: &str| {
        let output = std::process::Command::new("git").args(["config", "--get", key]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    match (git("user.name"), git("user.email")) {
        (Some(user), Some(email)) => format!("{user} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => format!("The authors of {name}"),
    }
}

fn text(name: &str, dir: &Path, files: &Files, notes: &[Note]) -> String {
    let shown = dir.display();
    let mut text = format!("{name}: {} files in {shown}\n", files.len());
    let headings = [
        (NoteKind::Changed, "Changed"),
        (NoteKind::Dropped, "Dropped"),
        (NoteKind::Left, "For you to look at"),
    ];
    for (kind, heading) in headings {
        let of_kind: Vec<_> = notes.iter().filter(|note| note.kind == kind).collect();
        if !of_kind.is_empty() {
            // a String takes everything
            let _ = writeln!(text, "\n{heading}:");
        }
        for note in of_kind {
            let _ = writeln!(text, "  {note}");
        }
    }
    let _ = writeln!(text, "\nNext:\n  dagpkg up {shown}      # runs it on this machine");
    text
}

fn data(name: &str, dir: &Path, files: &Files, notes: &[Note]) -> Value {
    json!({
        "name": name,
        "folder": dir.display().to_string(),
        "files": files.keys().collect::<Vec<_>>(),
        "notes": notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_and_silence_means_the_default() {
        for (typed, expected) in [("a b\n", "a b"), ("  \n", "default"), ("", "default"), ("last", "last")] {
            let mut screen = Vec::new();
            let answer = ask(&mut typed.as_bytes(), &mut screen, "What?", "default".to_owned()).unwrap();
            assert_eq!(answer, expected, "{typed:?}");
            assert!(screen.starts_with(b"What? [default] "));
        }
    }
}
