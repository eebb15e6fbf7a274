//! `dagpkg`: the command line for package authors and operators. See `dagpkg --help`.

fn main() -> std::process::ExitCode {
    dagpkg::cli::main()
}
