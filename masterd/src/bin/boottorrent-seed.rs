//! `boottorrent-seed`: the seed's program.
//! It only parses the command line; `boottorrent_masterd::seed` does the work.

use std::process::ExitCode;

use boottorrent_masterd::seed::{self, Foreign};
use boottorrent_masterd::service::{self, Options, Program};
use lexopt::ValueExt;

const PROGRAM: Program = Program {
    name: "seed",
    purpose: "sends the store's images to the nodes by BitTorrent, or the data of any one torrent",
    keeps_state: false,
    listens: true,
    extra_help: "  --torrent FILE      seed this v1 torrent instead of the store's images
  --data PATH         its file or folder; checked against the torrent first
  --tracker ADDR:PORT UDP tracker to announce it to; may repeat
",
};

fn main() -> ExitCode {
    let mut foreign = Foreign::default();
    let options = Options::parse(&PROGRAM, |name, parser| {
        match name {
            "torrent" => foreign.torrent = Some(parser.value()?.into()),
            "data" => foreign.data = Some(parser.value()?.into()),
            "tracker" => foreign.trackers.push(parser.value()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    });
    match options {
        Ok(options) => service::run(&PROGRAM, options, |service| seed::run(service, &foreign)),
        Err(code) => code,
    }
}
