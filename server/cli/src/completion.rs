//! Completions of the shell, made from the whole command line.

use clap_complete::Shell;

/// `gimlet completion`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

/// Returns the script that completes this command line.
#[must_use]
pub fn completion(args: CompletionArgs, command: &mut clap::Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
