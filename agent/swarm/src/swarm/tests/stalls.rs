//! Senders and receivers that stand still: who is waited for how long, and what goes on meanwhile.
//! Never the order in which pieces are chosen.

use super::*;
use crate::limits::{LATE, OFFER_AGAIN, OFFER_KEPT, SILENT, SNUB, SNUB_FIRST};
use crate::wire::Control;

impl Bench {
    /// Links one of our own nodes, which has everything or nothing.
    pub(super) fn own(&mut self, n: u8, all: bool) -> Vec<Output> {
        let mut said = self.link(n, true);
        let conn = Conn::from(n);
        let hello = ExtHandshake { control: Some(8), ..ExtHandshake::default() };
        self.say(conn, if all { Message::HaveAll } else { Message::HaveNone });
        self.say(conn, Message::Extended(hello)).say(conn, Message::Unchoke).say(conn, Message::Interested);
        said.extend(self.out());
        said
    }

    /// The answer to an offer by `n`: what it is asked for, nothing if it is passed.
    pub(super) fn offer(&mut self, n: u8, piece: Option<u32>) -> Vec<BlockClaim> {
        self.say(Conn::from(n), Message::Control { id: 8, control: Control::Offer(piece) });
        requests(&self.out(), n)
    }
}

fn offers(outputs: &[Output], n: u8) -> usize {
    let is_offer = |m: &OwnedMessage| matches!(m, OwnedMessage::Control { control: Control::Offer(_), .. });
    sends(outputs, Conn::from(n)).iter().filter(|m| is_offer(m)).count()
}

#[test]
fn a_stalled_peer_is_routed_around_within_a_second() {
    let mut b = Bench::new(Have::None);
    let stuck = b.seeder(1);
    assert!(!stuck.is_empty());
    let first = b.seeder(2);
    b.drain(2, first, |_| true);
    let out = b.wait(1100);
    let more = requests(&out, 2);
    b.drain(2, more, |_| true);
    assert!(b.swarm.is_complete(), "{:?}", b.swarm.progress());
}

#[test]
fn a_peer_that_stops_in_mid_block_loses_its_link() {
    let mut b = Bench::new(Have::None);
    let stuck = b.seeder(1);
    b.seeder(2);
    let c = stuck[0];
    assert!(matches!(b.swarm.admit_block(1, c.index, c.offset, c.length), Admit::Store(_)));
    assert_eq!(closes(&b.wait(1100)), [(1, CloseReason::Stalled)]);
    // Nor do its choke and a late second source save it: found by fuzzing.
    let mut b = Bench::new(Have::None);
    let stuck = b.seeder(1);
    let c = stuck[0];
    b.say(1, Message::Choke);
    assert!(matches!(b.swarm.admit_block(1, c.index, c.offset, c.length), Admit::Store(_)));
    assert_eq!(closes(&b.wait(3000)), [], "nobody else has it");
    b.seeder(2);
    assert_eq!(closes(&b.wait(300)), [(1, CloseReason::Stalled)]);
}

#[test]
fn who_owes_blocks_and_is_late_keeps_no_other_sender_out() {
    let mut b = Bench::new(Have::None);
    (1..6).for_each(|n| drop(b.own(n, true)));
    // Our feeder in the ring first: it has room of its own.
    let asked = [5, 1, 2, 3, 4].map(|n| b.offer(n, None).len());
    assert_eq!(asked, [4, 4, 4, 4, 0], "a fifth piece would be too much at once");
    // Four stand still; the fifth hears of it, and its offer is taken.
    let out = b.wait(LATE.as_millis() as u64 + 60);
    assert!(
        sends(&out, 4).iter().any(|m| matches!(m, OwnedMessage::Control { control: Control::Ready, .. }))
    );
    assert_eq!(b.offer(4, None).len(), 4);
}

fn cancels(outputs: &[Output], n: u8) -> usize {
    sends(outputs, Conn::from(n)).iter().filter(|m| matches!(m, OwnedMessage::Cancel(_))).count()
}

#[test]
fn one_of_our_own_is_given_up_sooner_unless_it_has_been_slow_before() {
    let first = SNUB_FIRST.as_millis() as u64;
    let mut b = Bench::new(Have::None);
    b.own(1, true);
    b.offer(1, None);
    assert_eq!(cancels(&b.wait(first - 50), 1), 0);
    assert_eq!(cancels(&b.wait(100), 1), BLOCKS as usize);
    // This one shows that it takes 250 ms for a block: then 450 ms of silence are not yet a stall.
    let mut b = Bench::new(Have::None);
    b.own(1, true);
    let slow = b.offer(1, None);
    b.wait(250);
    b.deliver(1, slow[0]);
    b.out();
    assert_eq!(cancels(&b.wait(450), 1), 0);
    assert_eq!(cancels(&b.wait(100), 1), BLOCKS as usize - 1);
    // And a foreign one may serve in ticks of half a second.
    let mut b = Bench::new(Have::None);
    b.seeder(1);
    assert_eq!(cancels(&b.wait(SNUB.as_millis() as u64 - 50), 1), 0);
}

#[test]
fn who_answers_no_offer_gets_one_a_second_until_it_is_heard_of_or_closed() {
    let mut b = Bench::new(Have::All);
    let out = b.own(1, false);
    assert_eq!(offers(&out, 1), 1);
    let again = OFFER_AGAIN.as_millis() as u64;
    assert_eq!(offers(&b.wait(again - 10), 1), 0);
    assert_eq!(offers(&b.wait(30), 1), 1, "it may have been a hiccup");
    b.wait(OFFER_KEPT.as_millis() as u64);
    b.say(1, Message::KeepAlive);
    assert_eq!(offers(&b.out(), 1), 1, "it is alive");
    let out = b.wait(SILENT.as_millis() as u64 + 2000);
    assert!(offers(&out, 1) <= 5, "{out:?}");
    assert_eq!(closes(&out), [(1, CloseReason::Stalled)]);
}

#[test]
fn an_offer_is_answered_where_nothing_is_left_to_ask_for() {
    let mut b = Bench::new(Have::None);
    b.link(1, true);
    b.say(1, Message::HaveNone).say(1, Message::Have(0)).say(1, Message::Unchoke);
    let asked = requests(&b.out(), 1);
    assert_eq!(asked.len(), BLOCKS as usize);
    // All but one block come; the last one begins, and its sender chokes us and stops.
    for claim in &asked[1..] {
        assert!(matches!(b.deliver(1, *claim), Admit::Store(_)));
    }
    assert!(matches!(b.swarm.admit_block(1, asked[0].index, asked[0].offset, BLOCK), Admit::Store(_)));
    b.say(1, Message::Choke);
    b.link(2, true);
    b.say(2, Message::HaveNone).say(2, Message::Have(0));
    let hello = ExtHandshake { control: Some(8), ..ExtHandshake::default() };
    b.say(2, Message::Extended(hello)).say(2, Message::Unchoke);
    b.out();
    b.say(2, Message::Control { id: 8, control: Control::Offer(None) });
    let said = sends(&b.out(), 2);
    assert!(
        said.iter().any(|m| matches!(m, OwnedMessage::Control { control: Control::Pass, .. })),
        "{said:?}"
    );
}
