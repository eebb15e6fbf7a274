//! `dagpkg completions` and `dagpkg man`: what a shell and `man` want to know of the command line, made of its definition.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg completions bash > ~/.local/share/bash-completion/completions/dagpkg
  dagpkg completions zsh > ~/.zfunc/_dagpkg
  dagpkg completions fish > ~/.config/fish/completions/dagpkg.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual: a page for dagpkg, one for each of its commands, and one for dagpkg-scheduler.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dagpkg man | man -l -
  dagpkg man --out ~/.local/share/man/man1 && man dagpkg-build-aws")]
pub struct ManArgs {
    /// The folder for all pages, made if it does not exist [default: the first page is printed]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs `dagpkg completions`.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "dagpkg", &mut text);
    super::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `dagpkg man`.
pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let mut command = super::Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.out {
        None => super::print(&String::from_utf8_lossy(&page(&command)?))?,
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            write_pages(&command, folder)?;
            write_pages(&super::scheduler::command(), folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

/// The page of a command and of those below it; their names are `dagpkg-build-aws` and so on.
fn write_pages(command: &clap::Command, folder: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    let written = page(command).and_then(|page| std::fs::write(&path, page));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    command.get_subcommands().try_for_each(|below| write_pages(below, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `look` with the full name of each command and with its definition.
    fn each(command: &clap::Command, look: &mut dyn FnMut(&str, &clap::Command)) {
        look(command.get_display_name().unwrap_or_else(|| command.get_name()), command);
        command.get_subcommands().for_each(|below| each(below, look));
    }

    fn programs() -> [clap::Command; 3] {
        let definitions = [
            super::super::Cli::command(),
            super::super::service_cli::command(),
            super::super::scheduler::command(),
        ];
        definitions.map(|command| {
            // `help` is clap's own
            let mut command = command.disable_help_subcommand(true);
            command.build();
            command
        })
    }

    fn examples(command: &clap::Command) -> String {
        command.get_after_help().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn the_definitions_do_not_contradict_themselves() {
        programs().into_iter().for_each(clap::Command::debug_assert);
    }

    #[test]
    fn every_command_says_what_it_is_for_what_its_arguments_are_and_gives_examples() {
        let mut poor = Vec::new();
        for program in programs() {
            each(&program, &mut |name, command| {
                if !examples(command).contains("Example") {
                    poor.push(format!("{name}: no examples"));
                }
                if command.get_about().is_none() {
                    poor.push(format!("{name}: not described"));
                }
                let mute = command.get_arguments().filter(|argument| argument.get_help().is_none());
                poor.extend(mute.map(|argument| format!("{name}: {} has no help", argument.get_id())));
            });
        }
        assert_eq!(poor, Vec::<String>::new());
    }

    #[test]
    fn examples_name_commands_and_options_that_there_are() {
        let known = programs();
        for program in &known {
            each(program, &mut |name, command| {
                for example in examples(command).lines().filter_map(|line| line.strip_prefix("  ")) {
                    let mut words = example.split_whitespace();
                    let first = words.next().unwrap_or_default();
                    let called = known.iter().find(|program| program.get_name() == first);
                    // `dcos SERVICE …` is what our subcommand is run by; `dcos package …` is not ours
                    let is_ours = first == "dcos" && words.next().is_some_and(|word| word == "dagflow");
                    // `plan …` follows either
                    let below = known[0].find_subcommand(first);
                    let Some(mut found) = called.or(is_ours.then_some(&known[1])).or(below) else { continue };
                    let mut words = words.take_while(|word| !matches!(*word, "&&" | "|" | ">"));
                    while let Some(word) = words.next() {
                        if let Some(below) = found.find_subcommand(word) {
                            found = below;
                        } else if let Some(option) = word.strip_prefix("--") {
                            let long = option.split('=').next();
                            let argument = found.get_arguments().find(|argument| argument.get_long() == long);
                            let Some(argument) = argument else { panic!("{name}: `{example}`: no {word}") };
                            if argument.get_action().takes_values() && !option.contains('=') {
                                words.next();
                            }
                        } else {
                            assert!(!found.has_subcommands(), "{name}: `{example}`: no {word}");
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn bash_completes_commands_and_options() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut super::super::Cli::command(), "dagpkg", &mut script);
        let script = String::from_utf8(script).unwrap();
        for (words, expected) in
            [("dagpkg ver", "verify"), ("dagpkg build lo", "local"), ("dagpkg serve --tls-c", "--tls-cert")]
        {
            let count = words.split(' ').count() - 1;
            let ask = format!(
                "{script}\nCOMP_WORDS=({words}); COMP_CWORD={count}; _dagpkg dagpkg \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
            );
            // where there is no bash, nobody completes with it
            let Ok(output) = std::process::Command::new("bash").args(["--norc", "-c", &ask]).output() else {
                return;
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{words}: {output:?}");
        }
    }

    #[test]
    fn every_shell_gets_completions_for_every_command() {
        for shell in <Shell as clap::ValueEnum>::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut super::super::Cli::command(), "dagpkg", &mut text);
            let text = String::from_utf8(text).unwrap();
            for command in super::super::Cli::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_has_a_page_in_the_manual() {
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { out: Some(folder.path().join("man1")) }).unwrap();
        let [dagpkg, _, scheduler] = programs();
        for program in [dagpkg, scheduler] {
            each(&program, &mut |name, _| {
                let page = std::fs::read_to_string(folder.path().join(format!("man1/{name}.1"))).expect(name);
                assert!(page.contains(".SH SYNOPSIS") && page.contains("Example"), "{name}: {page}");
            });
        }
    }
}
