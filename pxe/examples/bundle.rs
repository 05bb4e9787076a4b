//! Collects a bundle of this machine's QEMU by hand, lists its weight and copies it into a folder:
//! `cargo run -p boottorrent-pxe --example bundle -- none|curses|sdl [ROOT [OUT]]`.

use std::path::Path;
use std::process::ExitCode;

use boottorrent_pxe::bundle::{Display, Wanted, collect};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let display = match args.first().map(String::as_str) {
        Some("none") => Display::None,
        Some("curses") => Display::Curses,
        Some("sdl") => Display::Sdl,
        _ => {
            eprintln!("usage: bundle none|curses|sdl [ROOT [OUT]]");
            return ExitCode::FAILURE;
        }
    };
    let root = args.get(1).map_or("/", String::as_str);
    let done = collect(Path::new(root), Wanted { display, uefi: false }).and_then(|bundle| {
        println!("{bundle}");
        args.get(2).map_or(Ok(()), |out| bundle.tree.lay(Path::new(out)))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bundle: {error}");
            ExitCode::FAILURE
        }
    }
}
