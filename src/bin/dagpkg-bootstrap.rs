//! Prepares the sandbox of a task before its command; see `dagpkg::bootstrap`.

fn main() -> std::process::ExitCode {
    dagpkg::bootstrap::main()
}
