//! The cable while something else is going on: told when it is pulled, and when it is back.
//!
//! Decides when it is looked at. Never ends what is going on: it may come back at any moment.

use std::time::Duration;

use crate::clock;
use crate::courier::Courier;
use crate::link::{self, Card};
use crate::report::Report;
use crate::stages::Failure;

/// How often the cable is looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Cable {
    card: Card,
    live: bool,
    look_at: Duration,
    /// The card is gone, and it was told.
    gone: bool,
}

impl Cable {
    pub(super) fn of(card: Card) -> Self {
        Self { card, live: true, look_at: clock::now(), gone: false }
    }

    /// Looks, if it is time to. A card that is gone is a failure, once.
    pub(super) fn look(&mut self, report: &Report, courier: &Courier, stage: &str) -> Result<(), Failure> {
        let now = clock::now();
        if now < self.look_at || self.gone {
            return Ok(());
        }
        self.look_at = now + LOOK;
        let name = &self.card.name;
        match (self.live, link::carrier(&self.card)) {
            (_, None) => {
                self.gone = true;
                return Err(link::Error::Gone(name.clone()).into());
            }
            (true, Some(false)) => {
                self.live = false;
                report.doubt();
                let error = link::Error::NoCarrier(vec![name.clone()]);
                report.note(stage, &format!("{error} Waiting for it"));
            }
            (false, Some(true)) => {
                self.live = true;
                report.note(stage, &format!("carrier on {name} again"));
                courier.send(report, Duration::ZERO);
            }
            _ => {}
        }
        Ok(())
    }
}
