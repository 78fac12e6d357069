//! `gcshim`: runs a program under the shim, renders its report, and says what on this machine would stop an audit.

mod cli;
mod options;

fn main() -> std::process::ExitCode {
    cli::main()
}
