//! What a screen knows of the boot: who this node is, the stages, the menu, the download, the last failure, the log.
//!
//! Decides which page is shown. Never draws, waits or asks a clock.

use std::collections::VecDeque;
use std::time::Duration;

use boottorrent_swarm::record::Event;

use crate::console::Key;

/// Lines of the log that are kept for reading back: a boot that fails for an hour makes some hundred.
const MAX_LOG: usize = 500;
/// Lines that a page key goes on by.
const PAGE: usize = 10;

/// Who this node is, as far as it is known by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) site: String,
    pub(crate) name: String,
    pub(crate) mac: String,
    pub(crate) address: String,
    pub(crate) speed_mbit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Running,
    Done(Duration),
    Failed(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) begun: Duration,
    pub(crate) outcome: Outcome,
}

/// The list of a menu and everything that a person wants to know before choosing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Menu {
    /// Why the menu is here again.
    pub(crate) notice: Option<String>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) selected: usize,
    pub(crate) default: Option<usize>,
    pub(crate) seconds_left: Option<u64>,
    /// What "boot from local disk" would start, or why there is no such thing here.
    pub(crate) local_disk: Option<Result<String, String>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) title: String,
    pub(crate) bytes: u64,
    /// Memory that a node must have for it, in bytes.
    pub(crate) memory: u64,
    /// Why this node cannot run it.
    pub(crate) blocked: Option<String>,
    pub(crate) details: Vec<(String, String)>,
}

/// A download as a person sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Download {
    pub(crate) title: String,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    /// Bytes a second.
    pub(crate) rate: f64,
    pub(crate) seconds_left: Option<u64>,
    /// One for each piece: it is here and verified.
    pub(crate) pieces: Vec<bool>,
    pub(crate) peers: u32,
    pub(crate) bytes_master: u64,
    pub(crate) bytes_nodes: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) tracker_trouble: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    /// What failed and what comes next.
    pub(crate) sentence: String,
    pub(crate) again_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Menu,
    Stages,
    Download,
    Failure,
    Details,
    Log,
}

/// Asked for twice: nobody loses a download to one stray byte on a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    PowerOff,
    Reboot,
}

/// What a key that was pressed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// It changed what is shown, and that is all.
    Taken,
    /// It is for whoever waits for keys.
    Passed,
    Confirmed(Question),
    Shell,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) node: Node,
    pub(crate) stages: Vec<Stage>,
    /// What the running stage waits for just now.
    pub(crate) progress: String,
    pub(crate) menu: Option<Menu>,
    pub(crate) download: Option<Download>,
    pub(crate) failure: Option<Failure>,
    pub(crate) log: VecDeque<String>,
    /// About the chosen image, for when there is no menu any more.
    pub(crate) details: Vec<(String, String)>,
    /// About this node.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) has_shell: bool,
    pub(crate) question: Option<Question>,
    /// A person wants this page instead of the boot's own.
    pub(super) wanted: Option<Page>,
    /// Lines scrolled: forward in the details, back in the log.
    pub(crate) scrolled: usize,
}

impl Model {
    pub(crate) fn new(has_shell: bool) -> Self {
        Self { has_shell, ..Self::default() }
    }

    pub(crate) fn page(&self) -> Page {
        if let Some(page) = self.wanted {
            return page;
        }
        let loading =
            self.stages.last().is_some_and(|stage| matches!(stage.name.as_str(), "download" | "linger"));
        match (&self.menu, &self.failure, &self.download) {
            (Some(_), _, _) => Page::Menu,
            (_, Some(failure), _) if failure.again_at.is_some() => Page::Failure,
            (_, _, Some(_)) if loading => Page::Download,
            _ => Page::Stages,
        }
    }

    pub(crate) fn said(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if self.log.len() == MAX_LOG {
                self.log.pop_front();
            }
            self.log.push_back(line.to_owned());
            // Who reads back keeps the place.
            if self.wanted == Some(Page::Log) && self.scrolled > 0 {
                self.scrolled = (self.scrolled + 1).min(MAX_LOG);
            }
        }
    }

    pub(crate) fn recorded(&mut self, stage: &str, event: Event, now: Duration, took: Duration, text: &str) {
        let outcome = match event {
            Event::Begin => return self.begun(stage, now, text),
            Event::End => Outcome::Done(took),
            Event::Fail => Outcome::Failed(took),
            Event::Note | Event::Progress => return,
        };
        self.progress.clear();
        if event == Event::Fail {
            self.failure =
                Some(Failure { stage: stage.to_owned(), sentence: text.to_owned(), again_at: None });
        }
        if let Some(known) = self.stages.iter_mut().rfind(|known| known.name == stage) {
            known.outcome = outcome;
            text.clone_into(&mut known.text);
        }
    }

    /// A stage that begins again takes those that came behind it along.
    fn begun(&mut self, stage: &str, now: Duration, text: &str) {
        if let Some(at) = self.stages.iter().position(|known| known.name == stage) {
            self.stages.truncate(at);
        }
        self.failure = None;
        self.progress.clear();
        self.stages.push(Stage {
            name: stage.to_owned(),
            text: text.to_owned(),
            begun: now,
            outcome: Outcome::Running,
        });
    }

    /// What a key means on the page that is shown; `heard`: somebody waits for keys, and most are theirs.
    pub(crate) fn press(&mut self, key: Key, heard: bool) -> Pressed {
        if let Some(question) = self.question.take() {
            let yes = matches!(key, Key::Character('y' | 'Y'));
            return if yes { Pressed::Confirmed(question) } else { Pressed::Taken };
        }
        if self.wanted.is_some() && self.scroll(key) {
            return Pressed::Taken;
        }
        match key {
            Key::Redraw => {}
            Key::Character('d' | 'D') => self.turn_to(Page::Details),
            Key::Character('l' | 'L') => self.turn_to(Page::Log),
            Key::Escape | Key::Character('q') if self.wanted.is_some() => self.wanted = None,
            Key::Character('s' | 'S') if self.has_shell => return Pressed::Shell,
            Key::Character('p' | 'P') if !heard => self.question = Some(Question::PowerOff),
            Key::Character('r' | 'R') if !heard => self.question = Some(Question::Reboot),
            // What is chosen must be seen: back to the menu first.
            _ if self.wanted.is_some() => self.wanted = None,
            _ => return Pressed::Passed,
        }
        Pressed::Taken
    }

    fn scroll(&mut self, key: Key) -> bool {
        let (back, by) = match key {
            Key::Up => (true, 1),
            Key::PageUp => (true, PAGE),
            Key::Down => (false, 1),
            Key::PageDown => (false, PAGE),
            _ => return false,
        };
        let most = if self.wanted == Some(Page::Log) { self.log.len() } else { MAX_LOG };
        // The log is read from its end, everything else from its beginning.
        self.scrolled = if back == (self.wanted == Some(Page::Log)) {
            (self.scrolled + by).min(most)
        } else {
            self.scrolled.saturating_sub(by)
        };
        true
    }

    fn turn_to(&mut self, page: Page) {
        self.scrolled = 0;
        self.wanted = if self.wanted == Some(page) { None } else { Some(page) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_page_follows_the_boot() {
        let mut model = Model::default();
        assert_eq!(model.page(), Page::Stages);
        model.recorded("link", Event::Begin, SECOND, SECOND, "waiting for a card");
        model.recorded("link", Event::Fail, SECOND, SECOND, "no carrier");
        assert_eq!(model.page(), Page::Stages, "nobody waits: the boot goes on");
        model.failure.as_mut().unwrap().again_at = Some(SECOND * 3);
        assert_eq!(model.page(), Page::Failure);
        model.recorded("link", Event::Begin, SECOND, SECOND, "waiting for a card");
        assert_eq!(model.page(), Page::Stages);
        model.menu = Some(Menu::default());
        assert_eq!(model.page(), Page::Menu);
        model.menu = None;
        model.download = Some(Download::default());
        assert_eq!(model.page(), Page::Stages, "left from an earlier try");
        model.recorded("download", Event::Begin, SECOND, SECOND, "");
        assert_eq!(model.page(), Page::Download);
    }

    #[test]
    fn a_stage_that_begins_again_forgets_what_came_behind_it() {
        let mut model = Model::default();
        for stage in ["link", "lease", "catalog"] {
            model.recorded(stage, Event::Begin, SECOND, SECOND, "waits");
            model.recorded(stage, Event::End, SECOND, SECOND, "ok");
        }
        model.recorded("lease", Event::Begin, SECOND * 9, SECOND * 9, "waits");
        let names: Vec<&str> = model.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["link", "lease"]);
        assert_eq!(
            (&model.stages[0].outcome, &model.stages[1].outcome),
            (&Outcome::Done(SECOND), &Outcome::Running)
        );
    }

    #[test]
    fn pages_are_turned_and_turned_back() {
        let mut model = Model { menu: Some(Menu::default()), ..Model::default() };
        for (key, page) in [
            (Key::Character('l'), Page::Log),
            (Key::Character('d'), Page::Details),
            (Key::Character('d'), Page::Menu),
            (Key::Character('l'), Page::Log),
            (Key::Escape, Page::Menu),
            (Key::Character('l'), Page::Log),
            (Key::Enter, Page::Menu),
        ] {
            assert_eq!(model.press(key, true), Pressed::Taken, "{key:?}");
            assert_eq!(model.page(), page, "{key:?}");
        }
        for key in [Key::Enter, Key::Escape, Key::Down, Key::Character('p'), Key::Character('7')] {
            assert_eq!(model.press(key, true), Pressed::Passed, "{key:?}");
        }
    }

    #[test]
    fn without_a_menu_power_off_takes_two_keys() {
        let mut model = Model::default();
        assert_eq!(model.press(Key::Character('p'), false), Pressed::Taken);
        assert_eq!(model.press(Key::Character('x'), false), Pressed::Taken, "no");
        model.press(Key::Character('p'), false);
        assert_eq!(model.press(Key::Enter, false), Pressed::Taken, "no");
        assert_eq!(model.press(Key::Character('y'), false), Pressed::Passed);
        model.press(Key::Character('r'), false);
        assert_eq!(model.press(Key::Character('y'), false), Pressed::Confirmed(Question::Reboot));
        assert_eq!(model.press(Key::Character('s'), false), Pressed::Passed, "there is no shell");
        model.has_shell = true;
        assert_eq!(model.press(Key::Character('s'), false), Pressed::Shell);
    }

    #[test]
    fn the_log_is_bounded_and_read_from_its_end() {
        let mut model = Model::default();
        (0..MAX_LOG + 10).for_each(|n| model.said(&format!("line {n}\n\n")));
        assert_eq!((model.log.len(), model.log[0].as_str()), (MAX_LOG, "line 10"));
        model.press(Key::Character('l'), false);
        model.press(Key::PageUp, false);
        model.said("another");
        assert_eq!(model.scrolled, PAGE + 1, "the place is kept");
        (0..1000).for_each(|_| assert_eq!(model.press(Key::PageUp, false), Pressed::Taken));
        assert_eq!(model.scrolled, MAX_LOG);
        (0..1000).for_each(|_| assert_eq!(model.press(Key::Down, false), Pressed::Taken));
        assert_eq!(model.scrolled, 0);
    }
}
