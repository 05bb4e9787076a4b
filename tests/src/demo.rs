//! The demo: a site folder is compiled, a master is started, nodes are switched on at once, and all is told as it happens.
//! Decides nothing that a maintainer would not: it runs the programs, watches, and draws the table.

use crate::board::{Board, Report, Step, megabytes};
use crate::clock::{Deadline, now, wait_for};
use crate::error::LabError;
use crate::node::{Node, NodeSpec};
use crate::os;
use crate::process::{Launch, Process};
use crate::room::{Room, SITE};
use crate::site::{KERNEL, Os, Site};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A lab machine of two cores that emulates eight nodes needs most of this for their firmware alone.
const BOOT: Duration = Duration::from_secs(600);
/// Longer silences are broken by the last line of each console.
const SILENCE: Duration = Duration::from_secs(5);
/// So far into its download a node's screen shows what it is about.
const PICTURE_AFTER: Duration = Duration::from_secs(3);
/// How long to watch a console before the board is read again: reading it costs the nodes' emulation some time.
const NEWS: Duration = Duration::from_millis(400);
const SCREEN: Duration = Duration::from_secs(20);

/// What the person asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: u8,
    /// Debian 12 in memory, or the small OS.
    pub debian: bool,
    /// The master's link, so that the nodes have a reason to help each other.
    pub master_mbit: u32,
    /// Where pictures, consoles and the table are left.
    pub out: PathBuf,
}

impl Plan {
    fn os(&self) -> Os {
        if self.debian { Os::debian() } else { Os::small("small", "") }
    }

    /// What the booted OS says first, and nothing before it does.
    fn first_words(&self) -> &'static str {
        if self.debian { "Welcome to Debian" } else { "BT-OS-UP" }
    }

    /// What it says when it is done.
    fn last_words(&self) -> &'static str {
        if self.debian { "login:" } else { "BT-OS-SUMS ok" }
    }

    fn spec(&self, number: u8) -> NodeSpec {
        // Debian's image stands three times in memory while kexec loads it.
        NodeSpec::new(number).memory_mb(if self.debian { 2048 } else { 768 })
    }
}

/// Tells what happens, with the seconds since the start.
#[derive(Clone, Copy)]
struct Story {
    start: Instant,
}

impl Story {
    fn tell(&self, text: &str) {
        for line in text.lines() {
            println!("[{:6.1} s] {line}", self.start.elapsed().as_secs_f64());
        }
    }
}

/// Runs the demo; the table is on stdout and in `out/` when it returns.
///
/// # Errors
/// The first thing that did not work, with its scene.
pub fn run(plan: &Plan) -> Result<(), LabError> {
    let story = Story { start: now() };
    std::fs::create_dir_all(&plan.out).map_err(LabError::io("make", &plan.out))?;
    story.tell("making the two operating systems' images, unless they are kept from an earlier run");
    if plan.debian {
        os::debian()?;
    }
    let room = Room::new()?;
    story.tell("the master runs: systemd in a container, 10.0.0.1 on a switch of its own");
    let specs: Vec<NodeSpec> = (1..=plan.nodes).map(|number| plan.spec(number)).collect();
    compile(&story, &room, plan, &specs)?;
    room.master.host.limit(plan.master_mbit)?;
    room.start()?;
    story.tell(&format!("boottorrent.target is started; the master's link is {} Mbit/s", plan.master_mbit));
    let nodes = specs.iter().map(|spec| room.node(spec)).collect::<Result<Vec<Node>, _>>()?;
    story.tell(&format!("{} nodes are switched on at the same moment", nodes.len()));
    watch(&story, &room, plan, &nodes)?;
    finish(&story, &room, plan, &nodes)
}

/// What a maintainer does: `boottorrent-gen init`, then edits, then `boottorrent-gen`.
fn compile(story: &Story, room: &Room, plan: &Plan, specs: &[NodeSpec]) -> Result<(), LabError> {
    aloud(room, &format!("boottorrent-gen init {SITE}"))?;
    let os = plan.os();
    let modules = format!("{KERNEL}/lib/modules/{}", room.kernel.version);
    let (kernel, modules) = (format!("kernel = \"{KERNEL}/vmlinuz\""), format!("modules = \"{modules}\""));
    let default = format!("default = \"{}\"", os.name);
    aloud(
        room,
        &format!(
            "cd {SITE} && sed -i -e 's|^# kernel = .*|{kernel}|' -e 's|^# modules = .*|{modules}|' \
             -e 's|^default = .*|{default}|' boottorrent.toml && rm -r os/debian"
        ),
    )?;
    let nodes = specs.iter().fold(Site::default(), |site, spec| site.node(spec, "")).nodes;
    room.master.run(&format!("cat >> {SITE}/boottorrent.toml <<'END'\n{nodes}END"))?;
    room.master.write(&format!("{SITE}/os/{}/os.toml", os.name), &os.toml)?;
    room.master.write(&format!("{SITE}/nodes/n01/etc/boottorrent-demo"), "only on n01\n")?;
    aloud(room, &format!("cd {SITE} && grep -hv '^ *#' boottorrent.toml os/*/os.toml | grep ."))?;
    aloud(room, &format!("boottorrent-gen {SITE}"))?;
    story.tell("the site is compiled");
    Ok(())
}

/// Runs a line in the master with its output on our own terminal.
fn aloud(room: &Room, line: &str) -> Result<(), LabError> {
    println!("master# {line}");
    let failed = |status: String| LabError::Command { line: line.into(), status, output: String::new() };
    let status =
        room.master.enter(line).stdin(Stdio::null()).status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// What the person has been told so far.
struct Watch<'a> {
    story: &'a Story,
    plan: &'a Plan,
    nodes: &'a [Node],
    /// Records told, by MAC.
    told: HashMap<String, usize>,
    /// Nodes whose OS runs.
    up: Vec<bool>,
    last_news: Instant,
    downloading_since: Option<Instant>,
    pictured: bool,
}

/// Tells what the master's DHCP and TFTP servers do, each new record of each node, and in longer silences the last line
/// of each console, until all nodes have reached their OS.
fn watch(story: &Story, room: &Room, plan: &Plan, nodes: &[Node]) -> Result<(), LabError> {
    let _firmware = follow_firmware(*story, room)?;
    let up = vec![false; nodes.len()];
    let (told, last_news) = (HashMap::new(), now());
    let mut watch =
        Watch { story, plan, nodes, told, up, last_news, downloading_since: None, pictured: false };
    let deadline = Deadline::after(BOOT);
    while watch.up.contains(&false) {
        if let Ok(board) = room.board() {
            watch.records(&board);
            watch.picture(&board)?;
        }
        watch.consoles(&deadline)?;
        watch.break_silence();
    }
    Ok(())
}

/// Firmware reports to nobody: what it asks the master for is all that can be told of it.
fn follow_firmware(story: Story, room: &Room) -> Result<Process, LabError> {
    let line = "exec journalctl -q -f -n 0 -o cat -u boottorrent-dhcp.service -u boottorrent-tftp.service";
    let argv = room.master.enter_argv(line);
    let mut follower = Launch::new(&argv, room.lab.path("journal.follow")).piped().start()?;
    if let Some((_, output)) = follower.pipes() {
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| story.tell(&format!("master     {line}")));
        });
    }
    Ok(follower)
}

impl Watch<'_> {
    fn records(&mut self, board: &Board) {
        for node in &board.nodes {
            let known = self.told.entry(node.mac.clone()).or_default();
            for step in node.steps.iter().skip(*known) {
                let Step { stage, event, seconds, text } = step;
                let name = &node.name;
                self.story.tell(&match event.as_str() {
                    "end" => format!("{name}  {stage:<10} done in {seconds:.2} s  {text}"),
                    "fail" => format!("{name}  {stage:<10} failed after {seconds:.2} s: {text}"),
                    _ => format!("{name}  {stage:<10} {text}"),
                });
                self.last_news = now();
            }
            *known = node.steps.len();
        }
    }

    /// Takes the first node's screen once its download has something to show.
    fn picture(&mut self, board: &Board) -> Result<(), LabError> {
        let Some(first) = self.nodes.first() else { return Ok(()) };
        let step = board.node(&first.spec.mac).and_then(Report::last);
        if step.is_some_and(|step| step.stage == "download") && self.downloading_since.is_none() {
            self.downloading_since = Some(now());
        }
        if !self.pictured && self.downloading_since.is_some_and(|since| since.elapsed() >= PICTURE_AFTER) {
            first.screenshot(&self.plan.out.join("agent.png"))?;
            self.pictured = true;
        }
        Ok(())
    }

    fn consoles(&mut self, deadline: &Deadline) -> Result<(), LabError> {
        let mut patience = NEWS;
        for (node, up) in self.nodes.iter().zip(&mut self.up).filter(|(_, up)| !**up) {
            match node.console.expect_line(self.plan.first_words(), std::mem::take(&mut patience)) {
                Ok(seen) => {
                    *up = true;
                    let seconds = seen.after.as_secs_f64();
                    let name = &node.spec.name;
                    self.story
                        .tell(&format!("{name} runs its OS {seconds:.1} s after switch-on: {}", seen.line));
                    self.last_news = now();
                }
                Err(error @ LabError::Ended { .. }) => return Err(error),
                Err(error) if deadline.left().is_none() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn break_silence(&mut self) {
        if self.last_news.elapsed() < SILENCE {
            return;
        }
        self.last_news = now();
        for (node, _) in self.nodes.iter().zip(&self.up).filter(|(_, up)| !**up) {
            let text = node.console.text();
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.unwrap_or("(firmware: nothing on the serial console yet)");
            self.story.tell(&format!("{}  console    {last}", node.spec.name));
        }
    }
}

fn finish(story: &Story, room: &Room, plan: &Plan, nodes: &[Node]) -> Result<(), LabError> {
    for node in nodes {
        node.console.expect(plan.last_words(), BOOT)?;
    }
    story.tell("every node has booted to the end");
    if let Some(node) = nodes.first() {
        node.screenshot(&plan.out.join("os.png"))?;
    }
    for node in nodes {
        let path = plan.out.join(format!("{}.console", node.spec.name));
        std::fs::write(&path, node.console.text()).map_err(LabError::io("write", path))?;
    }
    let board = wait_for("all nodes' last records", SCREEN, || {
        let board = room.board().map_err(|error| error.to_string())?;
        let all = nodes
            .iter()
            .all(|node| board.node(&node.spec.mac).is_some_and(|r| r.bytes_master + r.bytes_peers > 0));
        if all { Ok(board) } else { Err(format!("{board:#?}")) }
    })?;
    let first_line = |mac: &str| {
        let node = nodes.iter().find(|node| node.spec.mac == mac);
        let seen = node.and_then(|node| node.console.expect_line(plan.first_words(), Duration::ZERO).ok());
        seen.map_or("-".into(), |seen| seen.line.chars().take(60).collect())
    };
    let table = board.table(&first_line);
    let (master, peers) =
        board.nodes.iter().fold((0, 0), |(m, p), n| (m + n.bytes_master, p + n.bytes_peers));
    let total = format!(
        "\n{table}\n{} nodes took {} MB: {} MB from the master, {} MB from one another.\n",
        board.nodes.len(),
        megabytes(master + peers),
        megabytes(master),
        megabytes(peers)
    );
    println!("{total}");
    let path = plan.out.join("table.txt");
    std::fs::write(&path, &total).map_err(LabError::io("write", path))?;
    story.tell(&format!("pictures, consoles and this table are in {}", plan.out.display()));
    Ok(())
}
