//! One TFTP read as a state machine: a datagram in, an answer out.
//!
//! Decides which block is next and what is acknowledged. Never sends, waits or reads a clock.

use super::Error;

/// 1428 + 4 bytes of header + UDP + IP stay below 1500 even with a PPPoE or VLAN tag on the way.
const BLOCK_SIZE: usize = 1428;
/// Blocks in flight: 23 KB fill a GbE LAN's round trip of 0.2 ms.
const WINDOW: u16 = 16;
/// The block size without options (RFC 1350, 2).
const PLAIN_BLOCK_SIZE: usize = 512;

const RRQ: u16 = 1;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// What the datagram asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was none of ours; it proves nothing about the server.
    Ignore,
    /// Good, and nothing to be said yet.
    Wait,
    /// `last_packet` is due.
    Send,
    /// The file is whole; `last_packet` acknowledges it.
    Finished,
}

pub(super) struct Transfer {
    content: Vec<u8>,
    limit: usize,
    options: bool,
    block_size: usize,
    window: u16,
    /// The block that comes next; None until the server has answered.
    expected: Option<u16>,
    /// Blocks received since the last acknowledgement.
    unacknowledged: u16,
    /// The gap was told; the blocks still on their way behind it need no answer each (RFC 7440, 4).
    gap_told: bool,
    packet: Vec<u8>,
    /// What the server is told when we cannot take its file.
    refusal: Option<Vec<u8>>,
}

impl Transfer {
    pub(super) fn new(name: &str, limit: usize, options: bool) -> Self {
        let mut packet = RRQ.to_be_bytes().to_vec();
        let mut word = |text: &str| {
            packet.extend_from_slice(text.as_bytes());
            packet.push(0);
        };
        word(name);
        word("octet");
        if options {
            word("blksize");
            word(&BLOCK_SIZE.to_string());
            word("tsize");
            word("0");
            word("windowsize");
            word(&WINDOW.to_string());
        }
        Self {
            content: Vec::new(),
            limit,
            options,
            block_size: PLAIN_BLOCK_SIZE,
            window: 1,
            expected: None,
            unacknowledged: 0,
            gap_told: false,
            packet,
            refusal: None,
        }
    }

    /// What was sent last, and is sent again when nothing comes.
    pub(super) fn last_packet(&self) -> &[u8] {
        &self.packet
    }

    /// The ERROR packet that is due after an error of our own making.
    pub(super) fn refusal(&self) -> Option<&[u8]> {
        self.refusal.as_deref()
    }

    pub(super) fn bytes(&self) -> usize {
        self.content.len()
    }

    pub(super) fn into_content(self) -> Vec<u8> {
        self.content
    }

    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<Answer, Error> {
        let Some((opcode, rest)) = split_u16(datagram) else { return Ok(Answer::Ignore) };
        match opcode {
            DATA => match split_u16(rest) {
                Some((block, data)) => self.data(block, data),
                None => Ok(Answer::Ignore),
            },
            OACK if self.options && self.expected.is_none() => self.options(rest),
            // The acknowledgement of the OACK was lost.
            OACK if self.expected == Some(1) => Ok(Answer::Send),
            ERROR => Err(refusal(rest)),
            _ => Ok(Answer::Ignore),
        }
    }

    fn data(&mut self, block: u16, data: &[u8]) -> Result<Answer, Error> {
        // Data at once: the server ignored the options (RFC 2347), so 512 bytes and a window of one it is.
        let expected = *self.expected.get_or_insert(1);
        if block != expected {
            if self.gap_told {
                return Ok(Answer::Wait);
            }
            self.gap_told = true;
            return Ok(self.acknowledge(expected.wrapping_sub(1)));
        }
        if data.len() > self.block_size {
            return Ok(Answer::Ignore);
        }
        if self.content.len() + data.len() > self.limit {
            self.refusal = Some(error_packet(3, "too large"));
            return Err(Error::TooLarge { limit: self.limit });
        }
        self.content.extend_from_slice(data);
        self.gap_told = false;
        self.expected = Some(expected.wrapping_add(1));
        self.unacknowledged += 1;
        if data.len() < self.block_size {
            self.acknowledge(block);
            return Ok(Answer::Finished);
        }
        if self.unacknowledged >= self.window {
            Ok(self.acknowledge(block))
        } else {
            Ok(self.remember(block))
        }
    }

    fn acknowledge(&mut self, block: u16) -> Answer {
        self.unacknowledged = 0;
        self.remember(block);
        Answer::Send
    }

    /// What a silence would be answered with: the last block in order.
    fn remember(&mut self, block: u16) -> Answer {
        self.packet.clear();
        self.packet.extend_from_slice(&ACK.to_be_bytes());
        self.packet.extend_from_slice(&block.to_be_bytes());
        Answer::Wait
    }

    /// The server may lower what was asked for and leave options out, but add nothing (RFC 2347).
    fn options(&mut self, rest: &[u8]) -> Result<Answer, Error> {
        let mut words =
            rest.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).unwrap_or_default());
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let value: usize = value.parse().unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "blksize" if (8..=BLOCK_SIZE).contains(&value) => self.block_size = value,
                "windowsize" if (1..=usize::from(WINDOW)).contains(&value) => self.window = value as u16,
                "tsize" if value > self.limit => {
                    self.refusal = Some(error_packet(3, "too large"));
                    return Err(Error::TooLarge { limit: self.limit });
                }
                "tsize" => self.content.reserve_exact(value),
                _ => {
                    self.refusal = Some(error_packet(8, "bad option"));
                    return Err(Error::Refused { code: 8, message: "it wants options of its own".into() });
                }
            }
        }
        self.expected = Some(1);
        Ok(self.acknowledge(0))
    }
}

pub(super) fn error_packet(code: u16, message: &str) -> Vec<u8> {
    let mut packet = ERROR.to_be_bytes().to_vec();
    packet.extend_from_slice(&code.to_be_bytes());
    packet.extend_from_slice(message.as_bytes());
    packet.push(0);
    packet
}

fn refusal(rest: &[u8]) -> Error {
    let (code, text) = split_u16(rest).unwrap_or((0, &[]));
    if code == 1 {
        return Error::NotFound;
    }
    // What a server says ends up on a console: printable text of a line, nothing that moves a cursor.
    let message = text.iter().take(80).take_while(|byte| **byte != 0);
    let message =
        message.map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' }).collect();
    Error::Refused { code, message }
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk::<2>().map(|(head, rest)| (u16::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(block: u16, content: &[u8]) -> Vec<u8> {
        [&DATA.to_be_bytes(), &block.to_be_bytes(), content].concat()
    }

    fn ack(block: u16) -> Vec<u8> {
        [ACK.to_be_bytes(), block.to_be_bytes()].concat()
    }

    fn with_options(limit: usize, options: &str) -> (Transfer, Result<Answer, Error>) {
        let mut transfer = Transfer::new("catalog", limit, true);
        let answer = transfer.take(&[&OACK.to_be_bytes(), options.as_bytes()].concat());
        (transfer, answer)
    }

    #[test]
    fn asks_with_options() {
        let transfer = Transfer::new("catalog", 100, true);
        assert_eq!(
            transfer.last_packet(),
            b"\0\x01catalog\0octet\0blksize\x001428\0tsize\x000\0windowsize\x0016\0"
        );
    }

    #[test]
    fn a_server_without_options_sends_lockstep() {
        let mut transfer = Transfer::new("f", 10_000, true);
        assert_eq!(transfer.take(&data(1, &[7; 512])).unwrap(), Answer::Send);
        assert_eq!(transfer.last_packet(), ack(1));
        assert_eq!(transfer.take(&data(2, &[8; 3])).unwrap(), Answer::Finished);
        assert_eq!(transfer.into_content().len(), 515);
    }

    #[test]
    fn acknowledges_windows_and_tells_a_gap_once() {
        let (mut transfer, answer) = with_options(1 << 20, "blksize\x008\0windowsize\x003\0");
        assert_eq!((answer.unwrap(), transfer.last_packet()), (Answer::Send, &ack(0)[..]));
        assert_eq!(transfer.take(&data(1, &[1; 8])).unwrap(), Answer::Wait);
        assert_eq!(transfer.take(&data(3, &[3; 8])).unwrap(), Answer::Send, "block 2 was lost");
        assert_eq!(transfer.last_packet(), ack(1));
        assert_eq!(transfer.take(&data(4, &[4; 8])).unwrap(), Answer::Wait);
        for block in 2..=3 {
            assert_eq!(transfer.take(&data(block, &[2; 8])).unwrap(), Answer::Wait);
        }
        assert_eq!(transfer.take(&data(4, &[4; 8])).unwrap(), Answer::Send);
        assert_eq!(transfer.last_packet(), ack(4));
        assert_eq!(transfer.take(&data(5, b"")).unwrap(), Answer::Finished);
        assert_eq!(transfer.bytes(), 32);
    }

    #[test]
    fn block_numbers_wrap() {
        let (mut transfer, _) = with_options(1 << 20, "blksize\x008\0");
        for block in (1..=u16::MAX).chain(0..=2) {
            assert_eq!(transfer.take(&data(block, &[0; 8])).unwrap(), Answer::Send);
        }
        assert_eq!(transfer.bytes(), 8 * (65535 + 3));
    }

    #[test]
    fn limits_hold_announced_or_not() {
        let (_, announced) = with_options(100, "tsize\x00101\0");
        assert!(matches!(announced, Err(Error::TooLarge { limit: 100 })));
        let mut transfer = Transfer::new("f", 600, true);
        assert_eq!(transfer.take(&data(1, &[0; 512])).unwrap(), Answer::Send);
        assert!(matches!(transfer.take(&data(2, &[0; 512])), Err(Error::TooLarge { .. })));
        assert_eq!(transfer.refusal(), Some(&error_packet(3, "too large")[..]), "the server is told");
    }

    #[test]
    fn refusals_are_told_apart() {
        let mut transfer = Transfer::new("nodes/x", 100, true);
        assert!(matches!(transfer.take(&error_packet(1, "no")), Err(Error::NotFound)));
        match transfer.take(&error_packet(2, "\x1b[2Jdenied")) {
            Err(Error::Refused { code: 2, message }) => assert_eq!(message, "?[2Jdenied"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut transfer = Transfer::new("f", 100, true);
        for bad in [&b""[..], b"\0", b"\0\x03", b"\0\x03\0", b"\0\x09xx", b"\0\x04\0\x01"] {
            assert_eq!(transfer.take(bad).unwrap(), Answer::Ignore, "{bad:?}");
        }
        let (_, added) = with_options(100, "multicast\x00x\0");
        assert!(matches!(added, Err(Error::Refused { code: 8, .. })));
    }
}
