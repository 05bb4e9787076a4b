//! The node's TFTP client, against a server that sends anything.
#![no_main]
#![allow(dead_code, reason = "the agent's file is taken in whole")]

use boottorrent_fuzz::{Script, framed, seeds};
use libfuzzer_sys::fuzz_target;

// The agent is a program, not a library: its state machine is compiled in from where it stands, below the errors that
// its parent module has there.
#[path = "../../../agent/src/tftp/transfer.rs"]
mod transfer;

#[derive(Debug)]
enum Error {
    NotFound,
    Refused { code: u16, message: String },
    TooLarge { limit: usize },
}

/// Takes packets up to the end of the transfer; what must hold after each.
fn run<'a>(limit: usize, options: bool, packets: impl Iterator<Item = &'a [u8]>) {
    let mut transfer = transfer::Transfer::new("nodes/52-54-00-00-00-01", limit, options);
    let mut sent = 0;
    for packet in packets {
        sent += packet.len();
        let answer = transfer.take(packet);
        assert!(transfer.last_packet().len() <= 512, "RFC 2347: a request fits into 512 bytes");
        assert!(transfer.bytes() <= limit.min(sent), "more than was sent or is allowed");
        match answer {
            Ok(transfer::Answer::Finished) => {
                assert!(transfer.into_content().capacity() <= 2 * limit.max(2048), "memory is bounded");
                return;
            }
            Ok(_) => {}
            Err(Error::Refused { message, .. }) => {
                assert!(!message.contains(char::is_control), "{message:?} would move a cursor");
                return;
            }
            Err(Error::NotFound | Error::TooLarge { .. }) => return,
        }
    }
}

fn talk(options: bool) -> Vec<u8> {
    let mut out = vec![u8::from(options), 40];
    let block = |n: u8, length| [&[0, 3, 0, n][..], &vec![n; length]].concat();
    if options {
        out.extend_from_slice(&framed(b"\0\x06blksize\x001024\0tsize\x002000\0windowsize\x004\0"));
        out.extend_from_slice(&framed(&block(1, 1024)));
        out.extend_from_slice(&framed(&block(3, 10)));
        out.extend_from_slice(&framed(&block(2, 976)));
    } else {
        out.extend_from_slice(&framed(&block(1, 512)));
        out.extend_from_slice(&framed(b"\0\x05\0\x01File not found\0"));
    }
    out
}

fuzz_target!(init: seeds(&[talk(true), talk(false)]), |data: &[u8]| {
    let mut script = Script::new(data);
    let (Some(options), Some(limit)) = (script.byte(), script.byte()) else { return };
    run(usize::from(limit) * 100, options % 2 == 1, std::iter::from_fn(|| script.packet()));
});
