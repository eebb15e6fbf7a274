//! `dagpkg explain`: says more about the codes of findings.

use crate::finding::{Code, nearest, page};
use anyhow::bail;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Say what the code of a finding means: why it matters, an example, and the same mended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg explain
  dagpkg explain P021
  dagpkg explain S012 --output json")]
pub struct Args {
    /// The code, as in `error[P021]` [default: a list of all codes]
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    output: super::build::Output,
}

/// Runs `dagpkg explain`.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let is_json = matches!(args.output, super::build::Output::Json);
    let text = match &args.code {
        None if is_json => {
            let all = Code::ALL
                .iter()
                .map(|&code| json!({"code": code, "severity": code.severity(), "summary": code.summary()}));
            format!("{:#}\n", all.collect::<Value>())
        }
        None => list(),
        Some(name) => {
            let page = page(code(name)?);
            if is_json { format!("{:#}\n", page.json()) } else { page.text() }
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The code of this name: `P021`, or as it stands in a message, `error[P021]`.
fn code(text: &str) -> anyhow::Result<Code> {
    let name = text.split_once('[').map_or(text, |(_, rest)| rest.split(']').next().unwrap_or_default());
    let name = name.to_uppercase();
    if let Some(code) = Code::ALL.iter().find(|code| code.as_str() == name) {
        return Ok(*code);
    }
    let help = match nearest(&name, Code::ALL.iter().map(|code| code.as_str())) {
        Some(like) => format!("did you mean {like}?"),
        None => "`dagpkg explain` lists all codes".to_owned(),
    };
    bail!("there is no code `{text}`\n  help: {help}")
}

/// All codes, with what they mean in a sentence.
fn list() -> String {
    let mut text = String::new();
    for code in Code::ALL {
        let _ = writeln!(text, "{code}  {:<7}  {}", code.severity().to_string(), code.summary());
    }
    text
}
