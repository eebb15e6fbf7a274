//! `dagpkg-scheduler`: the runtime scheduler of one service. See `dagpkg-scheduler --help`.

fn main() -> std::process::ExitCode {
    dagpkg::cli::scheduler::main()
}
