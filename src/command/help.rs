//! `X HELP`: the shape of a container command's help, one status line each.

use crate::resp::Reply;

/// Writes the help of a container command. `lines` alternate freely between usage and
/// explanation; explanations begin with four blanks.
pub fn write(out: &mut Reply, command: &str, lines: &[&str]) {
    out.array(lines.len() + 3);
    out.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        out.simple(line);
    }
    out.simple("HELP");
    out.simple("    Print this help.");
}
