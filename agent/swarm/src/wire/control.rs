//! Our own extension (BEP 10, `bt_ctl`): who sends offers, who receives accepts by asking for a piece, or passes.
//! Decides the layout; never who is offered what.

/// What two of our own nodes tell each other beside BEP 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The sender's uplink has room: ask for one piece now, this one if you lack it.
    Offer(Option<u32>),
    /// The answer to an offer of which no use can be made now.
    Pass,
    /// A further offer would be welcome, after a [`Control::Pass`].
    Ready,
    /// The sender fetches this piece from afar: whoever is near gets it here, and need not fetch it from there, too.
    Fetching(u32),
}

const OFFER: u8 = 0;
const PASS: u8 = 1;
const READY: u8 = 2;
const FETCHING: u8 = 3;
/// Of an offer that leaves the choice to the receiver.
const ANY: u32 = u32::MAX;

impl Control {
    pub(crate) fn emit(self) -> [u8; 5] {
        let (kind, piece) = match self {
            Control::Offer(piece) => (OFFER, piece.unwrap_or(ANY)),
            Control::Pass => (PASS, ANY),
            Control::Ready => (READY, ANY),
            Control::Fetching(piece) => (FETCHING, piece),
        };
        let [a, b, c, d] = piece.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// `None` for a kind or a length of a later version.
    pub(crate) fn parse(body: &[u8]) -> Option<Control> {
        let (kind, piece) = body.split_first()?;
        let piece = u32::from_be_bytes(piece.try_into().ok()?);
        match *kind {
            OFFER => Some(Control::Offer(Some(piece).filter(|p| *p != ANY))),
            PASS => Some(Control::Pass),
            READY => Some(Control::Ready),
            FETCHING => Some(Control::Fetching(piece)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back() {
        for control in [
            Control::Offer(Some(7)),
            Control::Offer(None),
            Control::Pass,
            Control::Ready,
            Control::Fetching(9),
        ] {
            assert_eq!(Control::parse(&control.emit()), Some(control));
        }
        assert_eq!(Control::parse(&[4, 0, 0, 0, 0]), None);
        assert_eq!(Control::parse(&[0, 0, 0, 0]), None);
        assert_eq!(Control::parse(&[]), None);
    }
}
