//! boottorrent-gen(8). Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    boottorrent_gen::main()
}
