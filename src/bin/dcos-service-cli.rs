//! `dcos-service-cli`: the subcommand that packages bring to the `dcos` command line. See `dcos <package> --help`.

fn main() -> std::process::ExitCode {
    dagpkg::cli::service_cli::main()
}
