//! Every limit of the log service, with its reason.

use std::time::Duration;

/// A record has at most 1400 bytes; other senders may use up to RFC 5424's recommended 2048.
pub(super) const MESSAGE_BYTES: usize = 2048;

/// Characters of a foreign line that are kept: enough for a sentence, too few to fill a journal.
pub(super) const LINE_CHARS: usize = 400;

/// Characters of a name (node, stage, fact) and of a sentence.
pub(super) const NAME_CHARS: usize = 64;
pub(super) const TEXT_CHARS: usize = 1024;

/// Bytes of a sentence or a fact that the table keeps, and of a name: characters would let four times as much in. The
/// journal has all of them. With it a node takes 56 kB at most (`STEPS` and `FACTS` of them, with 100 bytes each for
/// the rest), and 4096 invented nodes 230 MB.
pub(super) const KEPT_BYTES: usize = 256;
pub(super) const NAME_BYTES: usize = 64;

/// Records kept of one boot: a good boot has some thirty; a node that tries for ever overwrites its older tries.
pub(super) const STEPS: usize = 96;

/// Further facts of one node (bytes, peers, memory).
pub(super) const FACTS: usize = 32;

/// What one address may send: a boot is some forty records, the last one several times, within half a minute, and one
/// progress record a second.
pub(super) const BURST: u32 = 200;
pub(super) const PER_SECOND: u32 = 50;

/// What all addresses together may send that the site gives to no node, and all together that it gives to one, records
/// and other lines each: 2,000 machines that boot at once, and then a progress record a second from each. An address can
/// be forged: a thousand that are listed are no more of a promise than a thousand others.
pub(super) const TOGETHER_BURST: u32 = 80_000;
pub(super) const TOGETHER_PER_SECOND: u32 = 2500;

/// Addresses whose rate is watched at once.
pub(super) const SENDERS: usize = 8192;

/// Nodes that one address may speak for: a machine whose cards take turns is several, a liar is soon more.
pub(super) const NODES_PER_ADDRESS: usize = 8;

/// A node that speaks from another address has a new lease, or is somebody else. It is believed once the old address has
/// been silent for so long; where the old one is the node's by the site, a whole boot has to pass without a word.
pub(super) const NEW_ADDRESS: Duration = Duration::from_secs(5);
pub(super) const NEW_ADDRESS_OF_NAMED: Duration = Duration::from_secs(300);

/// A rate is the mean of this long; it needs one sample a second.
pub(super) const RATE_WINDOW: Duration = Duration::from_secs(5);
pub(super) const RATE_SAMPLES: usize = 8;

/// How long an entry waits for room in the journal's queue before it goes there without its fields. As many as one turn
/// of the loop takes (256) stay below the watchdog's 30 s.
pub(super) const JOURNAL_WAIT: Duration = Duration::from_millis(100);

/// The state file is written at most this often; what arrives within it is lost if the service is killed.
pub(super) const STATE_PAUSE: Duration = Duration::from_millis(250);

/// And at most for this part of the time, however large a flood has made it.
pub(super) const STATE_SHARE: u32 = 20;

const _: () =
    assert!(STEPS * (KEPT_BYTES + NAME_BYTES + 100) + FACTS * (KEPT_BYTES + NAME_BYTES + 100) < 56 * 1024);
