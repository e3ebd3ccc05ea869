//! See the library.

fn main() -> std::process::ExitCode {
    jwt_gate_auth::cli::main()
}
