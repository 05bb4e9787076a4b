//! What a run of `bench-swarm` is asked for. Decides nothing that is measured.

use super::contestant::ALL;
use super::race::Case;

pub const HELP: &str = "\
boottorrent-bench swarm [race|raw|memory|crowd] ... [--quick] [--nodes N,N] [--mib N,N] [--mbit N] [--contestant NAME,NAME]
                        [--repeat N] [--anyhow]

BootTorrent, plain HTTP, multicast and BitTorrent clients in one run, in network namespaces on shaped links (as root).
race: N nodes at 100 Mbit/s (32 at 50); raw: one node, unlimited link, 1 GiB; memory: a node with 50 peers;
crowd: a seed with 300.
--quick: 64 MiB to 1, 4 and 8 nodes. --anyhow: neither waits for a calm machine nor repeats what was disturbed. The results are in out/bench-swarm.json too.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Race,
    Raw,
    Memory,
    Crowd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub parts: Vec<Part>,
    nodes: Vec<u8>,
    mib: Vec<u32>,
    /// For all; otherwise a large room has slower links, so that two cores suffice for it.
    mbit: Option<u32>,
    contestants: Vec<String>,
    pub(crate) repeat: usize,
    /// A gigabyte takes two seconds, of which scheduling is a part: one run says little.
    pub(crate) repeat_raw: usize,
    pub(crate) calm: bool,
}

impl Plan {
    /// # Errors
    /// A sentence when something is not understood.
    pub fn parse(parser: &mut lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let mut plan = Self {
            parts: Vec::new(),
            nodes: vec![1, 2, 4, 8, 16, 32],
            mib: vec![256, 64],
            mbit: None,
            contestants: Vec::new(),
            repeat: 1,
            repeat_raw: 3,
            calm: true,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => (plan.nodes, plan.mib, plan.repeat_raw) = (vec![1, 4, 8], vec![64], 1),
                Long("anyhow") => plan.calm = false,
                Long("nodes") => plan.nodes = list(&parser.value()?)?,
                Long("mib") => plan.mib = list(&parser.value()?)?,
                Long("mbit") => plan.mbit = Some(parser.value()?.parse()?),
                Long("repeat") => plan.repeat = parser.value()?.parse()?,
                Long("contestant") => plan.contestants = list(&parser.value()?)?,
                Value(part) if part == "race" => plan.parts.push(Part::Race),
                Value(part) if part == "raw" => plan.parts.push(Part::Raw),
                Value(part) if part == "memory" => plan.parts.push(Part::Memory),
                Value(part) if part == "crowd" => plan.parts.push(Part::Crowd),
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if let Some(stranger) = plan.contestants.iter().find(|name| ALL.iter().all(|who| who.name() != *name))
        {
            let names: Vec<&str> = ALL.iter().map(|who| who.name()).collect();
            return Err(format!("--contestant {stranger}: is none of {}", names.join(", ")).into());
        }
        if plan.nodes.contains(&0) || plan.mib.contains(&0) || plan.mbit == Some(0) || plan.repeat == 0 {
            return Err("--nodes, --mib, --mbit and --repeat are at least 1".into());
        }
        if plan.parts.is_empty() {
            plan.parts = vec![Part::Race, Part::Raw, Part::Memory, Part::Crowd];
        }
        Ok(Some(plan))
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|wished| wished == name)
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        let speed = |nodes: u8| self.mbit.unwrap_or(if nodes > 16 { 50 } else { 100 });
        let case = |mib: u32| move |nodes: &u8| Case { nodes: *nodes, mib, mbit: Some(speed(*nodes)) };
        self.mib.iter().flat_map(|mib| self.nodes.iter().map(case(*mib))).collect()
    }
}

/// Words with commas between them.
fn list<T: std::str::FromStr>(value: &std::ffi::OsStr) -> Result<Vec<T>, lexopt::Error> {
    let text = value.to_string_lossy();
    let words = text
        .split(',')
        .map(|word| word.parse().map_err(|_| format!("{text}: {word:?} is not understood").into()));
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Plan>, lexopt::Error> {
        Plan::parse(&mut lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn without_options_the_whole_table_is_run() {
        let plan = parse("").unwrap().unwrap();
        let cases = plan.cases();
        assert_eq!(cases.len(), 12);
        assert_eq!(cases[0], Case { nodes: 1, mib: 256, mbit: Some(100) });
        assert_eq!(cases[11], Case { nodes: 32, mib: 64, mbit: Some(50) });
        assert!(plan.takes("ours") && plan.parts.len() == 4);
    }

    #[test]
    fn wishes_are_taken_and_mistakes_named() {
        let plan = parse("race --nodes 2,3 --mib 16 --mbit 20 --contestant ours,aria2").unwrap().unwrap();
        let case = Case { nodes: 2, mib: 16, mbit: Some(20) };
        assert_eq!(plan.cases(), [case, Case { nodes: 3, ..case }]);
        assert!(plan.takes("aria2") && !plan.takes("rqbit") && plan.parts == [Part::Race]);
        assert!(parse("--help").unwrap().is_none());
        for (line, word) in
            [("--contestant oars", "oars"), ("--nodes 1,x", "\"x\""), ("--nodes 0", "at least 1")]
        {
            assert!(parse(line).unwrap_err().to_string().contains(word), "{line}");
        }
    }
}
