//! The extended handshake (BEP 10): queue length, listening port, BEP 21's `upload_only`, our own extension and rack.
//! Decides which keys count; the others, and wrong types, are ignored.

use crate::bencode::{self, Writer};
use crate::graph::Rack;
use crate::wire::message::EXT_DONTHAVE;
use alloc::vec::Vec;

/// Each key is optional, and a peer may send the handshake again to change one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtHandshake {
    /// Requests that the sender queues before it rejects.
    pub reqq: Option<u32>,
    /// The port on which the sender listens.
    pub port: Option<u16>,
    /// BEP 21: the sender wants nothing more.
    pub upload_only: Option<bool>,
    /// The id under which the sender takes [`crate::wire::Control`] messages; 0 takes it back (BEP 10).
    pub control: Option<u8>,
    /// Where the sender is: a rack's number, or its network's address.
    pub rack: Option<Rack>,
}

impl ExtHandshake {
    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new();
        w.dict(|w| {
            if let Some(Rack(number)) = self.rack {
                w.str("bt_rack").int(u64::from(number));
            }
            w.str("m").dict(|w| {
                if let Some(id) = self.control {
                    w.str("bt_ctl").int(u64::from(id));
                }
                w.str("lt_donthave").int(u64::from(EXT_DONTHAVE));
            });
            if let Some(port) = self.port {
                w.str("p").int(u64::from(port));
            }
            if let Some(reqq) = self.reqq {
                w.str("reqq").int(u64::from(reqq));
            }
            if let Some(upload_only) = self.upload_only {
                w.str("upload_only").int(u64::from(upload_only));
            }
            w.str("v").str(concat!("BootTorrent ", env!("CARGO_PKG_VERSION")));
        });
        out.extend_from_slice(&w.finish());
    }

    pub(crate) fn parse(body: &[u8]) -> Option<ExtHandshake> {
        let (value, _) = bencode::parse_prefix(body).ok()?;
        let dict = value.as_dict()?;
        let ids = dict.dict("m");
        Some(ExtHandshake {
            control: ids.and_then(|m| m.uint("bt_ctl")).and_then(|n| u8::try_from(n).ok()),
            reqq: dict.uint("reqq").map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            port: dict.uint("p").and_then(|n| u16::try_from(n).ok()).filter(|&p| p != 0),
            upload_only: dict.uint("upload_only").map(|n| n != 0),
            rack: dict.uint("bt_rack").and_then(|n| u32::try_from(n).ok()).map(Rack),
        })
    }
}
