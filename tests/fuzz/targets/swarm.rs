//! The swarm core, under peers that do anything in any order; in the end an honest one must be enough.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use boottorrent_fuzz::swarm::{EXT_CONTROL, World};
use boottorrent_fuzz::{Script, seeds};
use boottorrent_swarm::graph::Rack;
use boottorrent_swarm::swarm::Input;
use boottorrent_swarm::wire::{BlockClaim, Control, ExtHandshake, Message};
use libfuzzer_sys::fuzz_target;

/// Links of one script: more only make it slower.
const MAX_LINKS: usize = 12;

/// A range, mostly one that exists: wrong in one of its numbers now and then.
fn claim(world: &World, script: &mut Script<'_>) -> Option<BlockClaim> {
    let (index, block, odd) = (script.below(14)?, script.below(5)?, script.byte()?);
    let geometry = world.geometry();
    let exact = geometry.piece(index.into()).and_then(|p| geometry.block(p, block.into()));
    let mut claim = exact.map_or(
        BlockClaim { index: index.into(), offset: u32::from(block) * 16_384, length: 16_384 },
        BlockClaim::from,
    );
    match odd {
        0 => claim.length = script.long()?,
        1 => claim.offset = script.long()?,
        2 => claim.index = script.long()?,
        3 => claim.length = claim.length.wrapping_sub(1),
        _ => {}
    }
    Some(claim)
}

fn speak(world: &mut World, script: &mut Script<'_>) -> Option<()> {
    let conn = script.byte()?;
    let kind = script.below(20)?;
    let bits;
    let message = match kind {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3 => Message::NotInterested,
        4 => Message::Have(script.below(16)?.into()),
        5 => {
            let length = world.geometry().pieces().div_ceil(8) as usize;
            bits = script.take(length + usize::from(script.clone().byte()? == 0));
            Message::Bitfield(bits)
        }
        6 | 7 => Message::Request(claim(world, script)?),
        8 => Message::Cancel(claim(world, script)?),
        9 => Message::Suggest(script.byte()?.into()),
        10 => Message::HaveAll,
        11 => Message::HaveNone,
        12 => Message::Reject(claim(world, script)?),
        13 => Message::AllowedFast(script.byte()?.into()),
        14 => Message::Extended(ExtHandshake {
            reqq: Some(script.word()?.into()),
            port: Some(script.word()?),
            upload_only: Some(script.byte()? % 2 == 1),
            control: Some(script.byte()?).filter(|id| id % 4 != 0),
            rack: Some(script.byte()? % 4).filter(|n| *n > 0).map(|n| Rack(n.into())),
        }),
        15 => Message::DontHave(script.below(16)?.into()),
        16 => Message::Unknown(script.byte()?),
        17 | 18 => {
            let (which, piece) = (script.below(6)?, script.below(16)?.into());
            let control = match which {
                0 => Control::Offer(None),
                1 | 2 => Control::Offer(Some(piece)),
                3 => Control::Pass,
                4 => Control::Ready,
                _ => Control::Fetching(piece),
            };
            Message::Control { id: EXT_CONTROL, control }
        }
        _ => Message::KeepAlive,
    };
    let conn = world.pick(conn)?;
    world.message(conn, message);
    Some(())
}

fn step(world: &mut World, script: &mut Script<'_>) -> Option<()> {
    match script.below(16)? {
        0 => {
            let (host, id, fast) = (script.below(6)?, script.below(8)?, script.byte()?);
            if world.links() < MAX_LINKS {
                world.incoming(host, id, fast % 4 != 0);
            }
        }
        1 => world.dialled(script.byte()? % 2 == 0 && world.links() < MAX_LINKS),
        2 => {
            let (conn, id, odd) = (world.pick(script.byte()?), script.below(8)?, script.byte()?);
            if let Some(conn) = conn.filter(|c| world.is_outgoing(*c)) {
                world.shake(conn, id, odd & 1 == 0, odd & 0xf0 != 0xf0);
            }
        }
        3..=6 => {
            let before = script.clone();
            if speak(world, script).is_none() && before.rest().len() < 2 {
                return None;
            }
        }
        7 => {
            let conn = script.byte()?;
            let claim = claim(world, script)?;
            let right = script.byte()? % 2 == 0;
            if let Some(conn) = world.pick(conn) {
                world.offer(conn, claim, right);
            }
        }
        8 | 9 => {
            let (conn, right, all) = (world.pick(script.byte()?), script.byte()?, script.byte()? % 2);
            if let Some(conn) = conn {
                world.answer(conn, right % 3 != 0);
                if all == 1 {
                    world.arrive(conn);
                }
            }
        }
        10 => {
            if let Some(conn) = world.pick(script.byte()?) {
                world.arrive(conn);
            }
        }
        11 => {
            world.verified();
        }
        12 => {
            if let Some(conn) = world.pick(script.byte()?) {
                world.close(conn);
            }
        }
        13 => {
            let (conn, bytes) = (world.pick(script.byte()?), u32::from(script.word()?) * 64);
            if let Some(conn) = conn {
                world.tell(Input::Room { conn, bytes });
            }
        }
        14 => {
            let length = script.byte()?;
            world.pass(Duration::from_millis(u64::from(length).pow(2) * 4), length % 2 == 0);
        }
        _ => match script.byte()? {
            0 => world.stop(),
            1 => world.tell(Input::AnnounceFailed),
            n if n < 6 => world.tell(Input::Placed { rack: Rack(n.into()) }),
            n => {
                let peer = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, n % 8), 40_000 + u16::from(n % 8));
                let interval_s = u32::from(n) << (n % 24);
                world.tell(Input::Tracked { peers: &[peer], interval_s, leechers: u32::from(n % 64) });
            }
        },
    }
    Some(())
}

/// A node that is dialled, asked, lied to and served.
fn talk() -> Vec<u8> {
    let mut out = vec![3, 1, 0, 9, 0];
    for id in 1..4 {
        out.extend_from_slice(&[0, id, id, 1]);
        out.extend_from_slice(&[3, id - 1, 10, 3, id - 1, 1, 3, id - 1, 2]);
    }
    // One of our own kind: it is offered pieces, and offers some.
    out.extend_from_slice(&[3, 0, 14, 0, 9, 0, 9, 0, 8, 3, 0, 17, 1, 2, 3, 0, 17, 4, 0, 3, 0, 17, 5, 3]);
    for conn in [0, 1, 2, 0, 1, 2] {
        out.extend_from_slice(&[13, conn, 255, 255, 8, conn, conn, 1, 11, 3, conn, 6, 0, 0, 9, 14, 10]);
    }
    out
}

/// Two that send false blocks of a piece, one of ours among them, and then offer nothing: it was kept from the honest one.
const LIAR: [u8; 88] = [
    3, 1, 0, 9, 0, 0, 1, 1, 1, 3, 0, 10, 3, 0, 1, 3, 0, 2, 0, 2, 63, 1, 10, 3, 1, 1, 3, 1, 11, 3, 2, 6, 0, 0,
    9, 14, 10, 13, 0, 255, 255, 8, 0, 0, 1, 11, 3, 0, 6, 0, 0, 9, 14, 10, 13, 1, 255, 255, 185, 245, 254,
    254, 244, 252, 254, 249, 255, 0, 9, 14, 10, 13, 2, 255, 255, 8, 2, 2, 1, 11, 3, 2, 6, 0, 0, 9, 14, 10,
];

fuzz_target!(init: seeds(&[talk(), LIAR.to_vec(), vec![3, 1, 0, 9, 1, 0, 1, 1, 1, 3, 0, 2, 3, 0, 6, 0, 0, 9]]), |data: &[u8]| {
    let mut script = Script::new(data);
    let head = || Some((script.byte()?, script.byte()?, script.word()?, script.byte()?));
    let Some((pieces, blocks, tail, have)) = { head }() else { return };
    let mut world = World::new(pieces, blocks, tail, have);
    while step(&mut world, &mut script).is_some() {}
    // With one link for all, a silent liar holds it until it is found to be idle: no promise there.
    if have % 3 == 0 {
        world.finish_honestly();
    }
});
