//! The menu as a list with a default and a countdown: keys in, an outcome out.
//!
//! Decides what a key means. Never draws or waits.

use std::time::Duration;

use crate::console::Key;
use crate::supervisor::Off;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Start(usize),
    Off(Off),
    LocalDisk,
    /// With the seconds until the default starts, if it does.
    Wait(Option<u64>),
}

/// Entries that a page key goes on by.
const PAGE: usize = 10;

pub(super) struct Menu {
    titles: Vec<String>,
    selected: usize,
    /// When the default starts by itself; a key ends that.
    starts_at: Option<Duration>,
    /// Digits typed so far, as a number.
    typed: usize,
    outcome: Option<Outcome>,
}

impl Menu {
    /// None: there is nothing to choose from. Without a default nothing starts by itself.
    pub(super) fn new(
        titles: Vec<String>,
        default: Option<usize>,
        timeout: Option<Duration>,
        now: Duration,
    ) -> Option<Self> {
        let starts_at = default.and(timeout).map(|timeout| now + timeout);
        let selected = default.unwrap_or(0);
        (!titles.is_empty()).then_some(Self { titles, selected, starts_at, typed: 0, outcome: None })
    }

    /// Takes a key; whether the list looks different now.
    pub(super) fn press(&mut self, key: Key) -> bool {
        let before = (self.selected, self.starts_at.take().is_some());
        let typed = std::mem::take(&mut self.typed);
        match key {
            Key::Enter => self.outcome = Some(Outcome::Start(self.selected)),
            Key::Up | Key::Character('k') => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Character('j') => self.selected = (self.selected + 1).min(self.titles.len() - 1),
            Key::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            Key::PageDown => self.selected = (self.selected + PAGE).min(self.titles.len() - 1),
            Key::Home => self.selected = 0,
            Key::End => self.selected = self.titles.len() - 1,
            Key::Character('b' | 'B') => self.outcome = Some(Outcome::LocalDisk),
            Key::Character('p' | 'P') => self.outcome = Some(Outcome::Off(Off::Power)),
            Key::Character('r' | 'R') => self.outcome = Some(Outcome::Off(Off::Reboot)),
            Key::Character(digit) => self.digit(typed, digit),
            Key::Escape | Key::Redraw | Key::Other => {}
        }
        before != (self.selected, false)
    }

    /// "1" then "2" is 12 where there are so many, else 2.
    fn digit(&mut self, typed: usize, digit: char) {
        let Some(digit) = digit.to_digit(10).map(|digit| digit as usize) else { return };
        let number =
            [typed * 10 + digit, digit].into_iter().find(|number| (1..=self.titles.len()).contains(number));
        if let Some(number) = number {
            self.selected = number - 1;
            self.typed = number;
        }
    }

    pub(super) fn outcome(&mut self, now: Duration) -> Outcome {
        if let Some(outcome) = self.outcome.take() {
            return outcome;
        }
        match self.starts_at {
            Some(at) if at <= now => Outcome::Start(self.selected),
            Some(at) => {
                let left_ms = at.saturating_sub(now).as_millis();
                Outcome::Wait(Some(left_ms.div_ceil(1000).try_into().unwrap_or(u64::MAX)))
            }
            None => Outcome::Wait(None),
        }
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// No key has stopped the countdown, if there was one.
    pub(super) fn is_counting(&self) -> bool {
        self.starts_at.is_some()
    }

    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for (at, title) in self.titles.iter().enumerate() {
            let mark = if at == self.selected { '>' } else { ' ' };
            text.push_str(&format!("  {mark} {:>2}  {title}\n", at + 1));
        }
        text.push_str("\n  number or arrows, then Enter    b: local disk    p: power off    r: reboot\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn menu(entries: usize, default: Option<usize>, timeout: Option<Duration>) -> Menu {
        let titles = (1..=entries).map(|n| format!("OS {n}")).collect();
        Menu::new(titles, default, timeout, SECOND).unwrap()
    }

    #[test]
    fn the_default_starts_when_the_countdown_ends() {
        let mut menu = menu(3, Some(1), Some(SECOND * 10));
        assert_eq!(menu.outcome(SECOND * 3), Outcome::Wait(Some(8)));
        assert_eq!(menu.outcome(SECOND * 11), Outcome::Start(1));
        assert!(menu.is_counting(), "nobody chose");
        menu.press(Key::Enter);
        assert!(!menu.is_counting() && menu.outcome(SECOND * 12) == Outcome::Start(1), "somebody did");
    }

    #[test]
    fn a_timeout_of_nothing_starts_at_once_and_none_never() {
        assert_eq!(menu(1, Some(0), Some(Duration::ZERO)).outcome(SECOND), Outcome::Start(0));
        assert_eq!(menu(1, Some(0), None).outcome(SECOND * 9999), Outcome::Wait(None));
        assert_eq!(menu(1, None, Some(SECOND)).outcome(SECOND * 9999), Outcome::Wait(None), "no default");
        assert!(Menu::new(Vec::new(), None, None, SECOND).is_none());
    }

    #[test]
    fn any_key_stops_the_countdown() {
        for key in [Key::Other, Key::Up, Key::Character('x'), Key::Character('9')] {
            let mut menu = menu(2, Some(0), Some(SECOND));
            menu.press(key);
            assert_eq!(menu.outcome(SECOND * 99), Outcome::Wait(None), "{key:?}");
        }
    }

    #[test]
    fn numbers_and_arrows_select_and_enter_starts() {
        let mut few = menu(3, Some(0), Some(SECOND));
        assert!(few.press(Key::Character('2')));
        few.press(Key::Enter);
        assert_eq!(few.outcome(SECOND), Outcome::Start(1));
        for key in [Key::Down, Key::Down, Key::Down, Key::Down, Key::Up, Key::Enter] {
            few.press(key);
        }
        assert_eq!(few.outcome(SECOND), Outcome::Start(1), "the ends of the list hold");
        let mut many = menu(12, None, None);
        many.press(Key::Character('1'));
        many.press(Key::Character('2'));
        assert!(many.lines().contains("> 12  OS 12"), "{}", many.lines());
        many.press(Key::Character('3'));
        many.press(Key::Enter);
        assert_eq!(many.outcome(SECOND), Outcome::Start(2), "there is no 123");
    }

    #[test]
    fn page_keys_and_ends_move_in_long_lists() {
        let mut menu = menu(100, None, None);
        for (key, selected) in [
            (Key::PageDown, 10),
            (Key::End, 99),
            (Key::PageDown, 99),
            (Key::PageUp, 89),
            (Key::Home, 0),
            (Key::PageUp, 0),
        ] {
            menu.press(key);
            assert_eq!(menu.selected(), selected, "{key:?}");
        }
    }

    #[test]
    fn a_letter_boots_the_local_disk() {
        let mut menu = menu(1, Some(0), Some(SECOND));
        menu.press(Key::Character('b'));
        assert_eq!(menu.outcome(SECOND), Outcome::LocalDisk);
    }

    #[test]
    fn letters_switch_off() {
        let mut menu = menu(1, Some(0), Some(SECOND));
        menu.press(Key::Character('p'));
        assert_eq!(menu.outcome(SECOND * 99), Outcome::Off(Off::Power));
    }
}
