//! From the options of an answer to its bytes: in the order that the client asked for, within the size that it takes
//! (option 57), with overload and split options where they are needed. It decides the layout, never the content.

use std::net::Ipv4Addr;

use dhcproto::v4::{Encodable, Flags, Message, Opcode};

use super::packet::{FILE, OPTIONS, Request, SNAME, code};

/// BOOTP's minimum: relays and old clients drop shorter ones (RFC 1542 2.1).
const MIN_MESSAGE: usize = 300;
/// What every client must take as a whole IP packet (RFC 2131 2).
const MIN_MAX_SIZE: u16 = 576;
/// What an Ethernet carries without fragments, which boot ROMs cannot put together.
const MTU: u16 = 1500;
const IP_AND_UDP: usize = 28;
/// The code and length before a value, and the most that one length byte counts (RFC 3396).
const TLV_HEADER: usize = 2;
const TLV_MAX: usize = 255;
/// The `file` field less its NUL.
pub(super) const LONGEST_FILE: usize = 127;
/// An end option closes each field.
const END: usize = 1;
const OVERLOAD_OPTION: usize = 3;

/// The fields of an answer that differ from the request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) ciaddr: Ipv4Addr,
    pub(super) yiaddr: Ipv4Addr,
    pub(super) siaddr: Ipv4Addr,
    pub(super) flags: u16,
    /// The boot file, for the field of that name; at most `LONGEST_FILE` bytes.
    pub(super) file: Vec<u8>,
    /// In the order of importance: the last ones are left out where space ends.
    pub(super) options: Vec<(u8, Vec<u8>)>,
    /// Option 82 as the relay sent it; it comes last and is never left out (RFC 3046 2.2).
    pub(super) relay_agent: Option<Vec<u8>>,
}

/// The bytes of an answer, and the codes of what had no place in it.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) packet: Vec<u8>,
    pub(super) left_out: Vec<u8>,
}

/// How much a value takes with its codes and lengths.
fn on_wire(bytes: usize) -> usize {
    bytes + TLV_HEADER * bytes.div_ceil(TLV_MAX).max(1)
}

/// One of the three fields that options can stand in.
struct Field {
    bytes: Vec<u8>,
    room: usize,
}

impl Field {
    fn new(size: usize) -> Self {
        Self { bytes: Vec::with_capacity(size), room: size.saturating_sub(END) }
    }

    fn push(&mut self, code: u8, value: &[u8]) -> bool {
        if self.bytes.len() + on_wire(value.len()) > self.room {
            return false;
        }
        if value.is_empty() {
            self.bytes.extend([code, 0]);
        }
        for part in value.chunks(TLV_MAX) {
            // A chunk has at most 255 bytes, so its length is a byte.
            self.bytes.extend([code, part.len() as u8]);
            self.bytes.extend_from_slice(part);
        }
        true
    }
}

impl Draft {
    pub(super) fn emit(&self, request: &Request) -> Emitted {
        let max_size = request.max_size().unwrap_or(0).clamp(MIN_MAX_SIZE, MTU);
        let space = usize::from(max_size) - IP_AND_UDP - OPTIONS;
        let relay = self.relay_agent.as_ref().map_or(0, |value| on_wire(value.len()));
        let mut main = Field::new(space.saturating_sub(relay));
        let mut left_out = Vec::new();
        let mut overload = 0;
        let mut file = self.file.clone();
        let mut sname = Vec::new();
        if !self.options.iter().all(|(code, value)| main.push(*code, value)) {
            // Again, with the other fields: `file` only if no boot file stands there.
            let mut fields = [
                Field::new(space.saturating_sub(relay + OVERLOAD_OPTION)),
                Field::new(if self.file.is_empty() { FILE.len() } else { 0 }),
                Field::new(SNAME.len()),
            ];
            for (code, value) in &self.options {
                if !fields.iter_mut().any(|field| field.push(*code, value)) {
                    left_out.push(*code);
                }
            }
            let [options, in_file, in_sname] = fields;
            main = options;
            if !in_file.bytes.is_empty() {
                overload |= 1;
                file = in_file.bytes;
                file.push(code::END);
            }
            if !in_sname.bytes.is_empty() {
                overload |= 2;
                sname = in_sname.bytes;
                sname.push(code::END);
            }
            if overload != 0 {
                main.bytes.extend([code::OVERLOAD, 1, overload]);
            }
        }
        let mut packet = self.header(request, &file, &sname);
        packet.extend(main.bytes);
        if let Some(value) = &self.relay_agent {
            // It came in one option or in several that were joined; RFC 3396 lets it go out split.
            for part in value.chunks(TLV_MAX) {
                packet.extend([code::RELAY_AGENT, part.len() as u8]);
                packet.extend_from_slice(part);
            }
        }
        packet.push(code::END);
        packet.resize(packet.len().max(MIN_MESSAGE), code::PAD);
        Emitted { packet, left_out }
    }

    fn header(&self, request: &Request, file: &[u8], sname: &[u8]) -> Vec<u8> {
        let mut message = Message::new_with_id(
            request.xid,
            self.ciaddr,
            self.yiaddr,
            self.siaddr,
            request.giaddr,
            &request.mac.0,
        );
        message.set_opcode(Opcode::BootReply).set_hops(request.hops).set_flags(Flags::new(self.flags));
        if !file.is_empty() {
            message.set_fname(file);
        }
        if !sname.is_empty() {
            message.set_sname(sname);
        }
        // Encoding fails only where a field is longer than its place; the places bound ours, and an empty header
        // would be seen by the first test.
        message.to_vec().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
