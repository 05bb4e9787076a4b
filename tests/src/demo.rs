//! The demo: a site folder is compiled, a master is started, nodes are switched on at once, and all is told as it happens.
//! Decides nothing that a maintainer would not: it runs the programs, watches, and draws the table.

use crate::board::{Board, megabytes};
use crate::clock::{Deadline, now, wait_for};
use crate::error::LabError;
use crate::node::{Node, NodeSpec};
use crate::os;
use crate::room::{Room, SITE};
use crate::site::{KERNEL, Os, Site};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A lab machine of two cores that emulates eight nodes needs most of this for their firmware alone.
const BOOT: Duration = Duration::from_secs(600);
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

/// Tells each new record of each node until all have reached their OS.
fn watch(story: &Story, room: &Room, plan: &Plan, nodes: &[Node]) -> Result<(), LabError> {
    let mut told: HashMap<String, usize> = HashMap::new();
    let mut up = vec![false; nodes.len()];
    let mut pictured = false;
    let deadline = Deadline::after(BOOT);
    while up.contains(&false) {
        if let Ok(board) = room.board() {
            tell_news(story, &board, &mut told);
            if !pictured && downloading(&board, nodes) {
                nodes.first().map_or(Ok(()), |node| node.screenshot(&plan.out.join("agent.png")))?;
                pictured = true;
            }
        }
        let mut patience = NEWS;
        for (node, up) in nodes.iter().zip(&mut up).filter(|(_, up)| !**up) {
            match node.console.expect_line(plan.first_words(), std::mem::take(&mut patience)) {
                Ok(seen) => {
                    *up = true;
                    let seconds = seen.after.as_secs_f64();
                    story.tell(&format!(
                        "{} runs its OS {seconds:.1} s after switch-on: {}",
                        node.spec.name, seen.line
                    ));
                }
                Err(error @ LabError::Ended { .. }) => return Err(error),
                Err(error) if deadline.left().is_none() => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether the first node is in the stage that makes the best picture.
fn downloading(board: &Board, nodes: &[Node]) -> bool {
    let first = nodes.first().and_then(|node| board.node(&node.spec.mac));
    first
        .and_then(|report| report.last())
        .is_some_and(|step| step.stage == "download" && step.event == "begin")
}

fn tell_news(story: &Story, board: &Board, told: &mut HashMap<String, usize>) {
    for node in &board.nodes {
        let known = told.entry(node.mac.clone()).or_default();
        for step in node.steps.iter().skip(*known) {
            let crate::board::Step { stage, event, seconds, text } = step;
            let name = &node.name;
            story.tell(&match event.as_str() {
                "end" => format!("{name}  {stage:<10} done in {seconds:.2} s  {text}"),
                "fail" => format!("{name}  {stage:<10} failed after {seconds:.2} s: {text}"),
                _ => format!("{name}  {stage:<10} {text}"),
            });
        }
        *known = node.steps.len();
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
