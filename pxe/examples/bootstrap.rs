//! Builds a bootstrap image by hand and lists its parts:
//! `cargo run -p boottorrent-pxe --example bootstrap -- KERNEL MODULES AGENT OUT [CMDLINE]`.

use std::path::Path;
use std::process::ExitCode;

use boottorrent_pxe::{Bootstrap, DEFAULT_IPXE, build};

/// The public key of minisign's own manual page: an image that is built by hand trusts no site.
const KEY_OF_THE_MANUAL: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, modules, agent, out, cmdline @ ..] = args.as_slice() else {
        eprintln!("usage: bootstrap KERNEL MODULES AGENT OUT [CMDLINE]");
        return ExitCode::FAILURE;
    };
    let bootstrap = Bootstrap {
        kernel: Some(kernel.into()),
        modules: Some(modules.into()),
        purposes: Vec::new(),
        busybox: None,
        extra_modules: Vec::new(),
        agent: agent.into(),
        site_key: KEY_OF_THE_MANUAL.to_owned(),
        master: [10, 77, 0, 1].into(),
        cmdline: cmdline.join(" "),
        ipxe: DEFAULT_IPXE.into(),
        cache: None,
    };
    match build(&bootstrap, Path::new(out), &mut |step| eprintln!("{step}")) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bootstrap: {error}");
            ExitCode::FAILURE
        }
    }
}
