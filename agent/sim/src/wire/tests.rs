use super::*;

/// 8 MiB in 128 pieces at 100 Mbit/s: 0.7 s of one link's time.
fn case(nodes: u32, seed: u64) -> Case {
    Case {
        piece_length: 64 << 10,
        spread: Duration::from_millis(20),
        ..Case::new(nodes, 8 << 20, 100_000_000, seed)
    }
}

fn over_bound(case: &Case, outcome: &Outcome) -> f64 {
    assert_eq!(outcome.verified, case.nodes, "{case:?} {outcome:?}");
    let makespan = outcome.makespan.unwrap_or_else(|| panic!("not complete: {case:?} {outcome:?}"));
    makespan.as_secs_f64() / case.bound().as_secs_f64()
}

#[test]
fn one_node_gets_what_tcp_makes_of_the_link() {
    let case = case(1, 1);
    let outcome = run(&case).unwrap();
    let over = over_bound(&case, &outcome);
    assert!((0.99..1.06).contains(&over), "{over} {outcome:?}");
    assert_eq!((outcome.master_bytes, outcome.duplicates, outcome.lost), (case.total, 0, 0));
}

#[test]
fn nodes_share_over_real_tcp_and_every_byte_is_verified() {
    for seed in 1..=4 {
        let case = case(8, seed);
        let outcome = run(&case).unwrap();
        let over = over_bound(&case, &outcome);
        assert!(over < 1.5, "{over} {outcome:?}");
        assert!(outcome.master_bytes < 2 * case.total, "{outcome:?}");
    }
}

#[test]
fn a_lossy_network_is_survived_and_a_seed_replays_it_to_the_byte() {
    let case = Case { lost_ppm: 2_000, ..case(6, 7) };
    let outcome = run(&case).unwrap();
    assert!(over_bound(&case, &outcome) < 8.0, "{outcome:?}");
    assert!(outcome.lost > 20 && outcome.retransmitted > 0, "{outcome:?}");
    assert_eq!(run(&case).unwrap(), outcome, "frame by frame");
    assert_ne!(run(&Case { seed: 8, ..case }).unwrap().digest, outcome.digest, "another seed is another run");
}

/// The first rows are run again; of those that take minutes, `make sim` tells what is promised.
#[test]
fn the_results_are_those_in_the_tree() {
    let mut rows = include_str!("../../wire.txt").lines().skip(2);
    for lost_ppm in [0, 1_000] {
        let case = table::room(1, lost_ppm);
        let now = table::row(&case, &run(&case).unwrap());
        assert_eq!(rows.next(), Some(&*now), "make sim, if this is meant");
    }
    for line in rows {
        let (case, rest) = line.split_at(31);
        let nodes = case.split(' ').next();
        let mut figures = rest.split_whitespace();
        assert_eq!(figures.next(), nodes, "all are complete: {line}");
        let over: f64 = figures.nth(2).unwrap().parse().unwrap();
        assert!(over < 2.0, "{line}");
    }
}

#[test]
fn a_case_that_cannot_be_is_refused() {
    assert!(matches!(run(&case(0, 1)), Err(Error::Nodes(0))));
    assert!(matches!(run(&case(MAX_NODES + 1, 1)), Err(Error::Nodes(_))));
    assert!(matches!(run(&Case { total: 0, ..case(1, 1) }), Err(Error::Image(_))));
}
