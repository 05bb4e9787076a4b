//! Seconds from the kernel's start of process 1 to the menu, and to busybox's prompt where that is process 1 of the very
//! same image. One boot of each in turn, so that what else the machine does meets both.

use super::Figure;
use crate::error::LabError;
use crate::node::NodeSpec;
use crate::room::Room;
use crate::site::{Os, Site};
use std::time::Duration;

const BOOT: Duration = Duration::from_secs(300);
/// An odd number: the median is one of them.
const ROUNDS: usize = 5;
/// The kernel's last words before process 1.
const ZERO: &str = " as init process";
const MENU: &str = "choose an operating system";
/// busybox's greeting, which stands right above its prompt.
const SHELL: &str = "built-in shell (ash)";
const SHELL_WORDS: &str = "rdinit=/bin/busybox -- sh";
const TARGET_SECONDS: f64 = 1.0;

/// # Errors
/// When a node does not boot.
pub fn measure() -> Result<Vec<Figure>, LabError> {
    let spec = NodeSpec::new(1);
    let site = |words: &str| {
        let site = Site::with(&[Os::small("small", "")]).node(&spec, "").menu("small", "300s").busybox();
        if words.is_empty() { site } else { site.bootstrap_cmdline(words) }
    };
    let room = Room::serving(&site(""))?;
    let (mut menus, mut shells) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (words, wanted, times) in [("", MENU, &mut menus), (SHELL_WORDS, SHELL, &mut shells)] {
            room.compile(&site(words))?;
            let node = room.node(&spec)?;
            let zero = node.console.expect(ZERO, BOOT)?;
            let seen = node.console.expect_from(zero.end, &[wanted], BOOT)?;
            times.push((seen.after - zero.after).as_secs_f64());
        }
    }
    let (menu, shell) = (Spread::of(menus), Spread::of(shells));
    let later = menu.median - shell.median;
    Ok(vec![
        Figure::new("from process 1's start to a busybox shell", shell.to_string(), ""),
        Figure::new("from process 1's start to the menu, same image", menu.to_string(), ""),
        Figure::new("the menu is later by", format!("{later:.2} s"), format!("{TARGET_SECONDS} s at most")),
    ])
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(times.len() / 2), most: at(times.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s ({:.2} to {:.2})", self.median, self.least, self.most)
    }
}
