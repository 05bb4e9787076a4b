//! What the DHCP client's packet socket may see: DHCP replies and ARP replies, nothing that we sent ourselves.
//!
//! Decides by a classic BPF program. Without it smoltcp would see the kernel's connections and reset them.

use crate::sys::Instruction;

const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_HALF_AT_X: u16 = 0x48; // BPF_LD | BPF_H | BPF_IND
const LOAD_X_HEADER: u16 = 0xb1; // BPF_LDX | BPF_B | BPF_MSH: 4 * (byte & 15)
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Ancillary load of the packet's type (filter.h: SKF_AD_OFF + SKF_AD_PKTTYPE).
const PACKET_TYPE: u32 = 0xffff_f004;
const OUTGOING: u32 = 4;
const ARP: u32 = 0x0806;
const ARP_REPLY: u32 = 2;
const IPV4: u32 = 0x0800;
const UDP: u32 = 17;
const FRAGMENT_OFFSET: u32 = 0x1fff;
const DHCP_CLIENT: u32 = 68;
const WHOLE: u32 = 0x4_0000;

/// Jumps count from the next instruction.
pub(super) const PROGRAM: [Instruction; 16] = [
    op(LOAD_BYTE, 0, 0, PACKET_TYPE),
    op(JUMP_EQUAL, 12, 0, OUTGOING), // ours
    op(LOAD_HALF, 0, 0, 12),
    op(JUMP_EQUAL, 0, 2, ARP),
    op(LOAD_HALF, 0, 0, 20),
    op(JUMP_EQUAL, 9, 8, ARP_REPLY), // the kernel answers requests
    op(JUMP_EQUAL, 0, 7, IPV4),
    op(LOAD_BYTE, 0, 0, 23),
    op(JUMP_EQUAL, 0, 5, UDP),
    op(LOAD_HALF, 0, 0, 20),
    op(JUMP_SET, 3, 0, FRAGMENT_OFFSET), // a later fragment has no ports
    op(LOAD_X_HEADER, 0, 0, 14),
    op(LOAD_HALF_AT_X, 0, 0, 16),
    op(JUMP_EQUAL, 1, 0, DHCP_CLIENT),
    op(RETURN, 0, 0, 0),
    op(RETURN, 0, 0, WHOLE),
];

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The few instructions of PROGRAM as the kernel carries them out (a load past the end drops the packet).
    fn passes(packet_type: u32, frame: &[u8]) -> bool {
        let byte = |at: usize| frame.get(at).map(|b| u32::from(*b));
        let half = |at: usize| Some(byte(at)? << 8 | byte(at + 1)?);
        let (mut a, mut x, mut pc) = (0, 0, 0);
        loop {
            let i = PROGRAM[pc];
            pc += 1;
            let loaded = match i.code {
                LOAD_BYTE if i.k == PACKET_TYPE => Some(packet_type),
                LOAD_BYTE => byte(i.k as usize),
                LOAD_HALF => half(i.k as usize),
                LOAD_HALF_AT_X => half(i.k as usize + x as usize),
                LOAD_X_HEADER => match byte(i.k as usize) {
                    Some(b) => {
                        x = 4 * (b & 15);
                        Some(a)
                    }
                    None => None,
                },
                RETURN => return i.k != 0,
                JUMP_EQUAL | JUMP_SET => {
                    let yes = if i.code == JUMP_EQUAL { a == i.k } else { a & i.k != 0 };
                    pc += usize::from(if yes { i.jt } else { i.jf });
                    Some(a)
                }
                other => panic!("{other:#x}"),
            };
            match loaded {
                Some(value) => a = value,
                None => return false,
            }
        }
    }

    fn udp(port: u16, header_words: u8, fragment: u16) -> Vec<u8> {
        let mut frame = vec![0; 14 + usize::from(header_words) * 4 + 8];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x40 | header_words;
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frame[23] = 17;
        let ports = 14 + usize::from(header_words) * 4;
        frame[ports + 2..ports + 4].copy_from_slice(&port.to_be_bytes());
        frame
    }

    fn arp(operation: u8) -> Vec<u8> {
        let mut frame = vec![0; 42];
        frame[12..14].copy_from_slice(&[8, 6]);
        frame[21] = operation;
        frame
    }

    #[test]
    fn replies_pass() {
        assert!(passes(0, &udp(68, 5, 0)) && passes(1, &udp(68, 5, 0x4000)), "don't-fragment is no fragment");
        assert!(passes(0, &udp(68, 15, 0)), "IP options move the ports");
        assert!(passes(0, &arp(2)));
    }

    #[test]
    fn all_else_is_dropped() {
        assert!(!passes(4, &udp(68, 5, 0)), "our own");
        assert!(!passes(0, &udp(67, 5, 0)) && !passes(0, &udp(6881, 5, 0)));
        assert!(!passes(0, &udp(68, 5, 100)), "a later fragment");
        assert!(!passes(0, &arp(1)), "the kernel answers requests");
        let mut tcp = udp(68, 5, 0);
        tcp[23] = 6;
        assert!(!passes(0, &tcp));
        for cut in 0..42 {
            assert!(!passes(0, &udp(68, 5, 0)[..cut.min(37)]), "cut to {cut}");
        }
    }
}
