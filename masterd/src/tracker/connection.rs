//! Connection ids of BEP 15, which prove that a client receives what is sent to its address.
//! Never remembers one: an id is a keyed digest of the address and the minute.
//!
//! SHA-256 and not the standard library's keyed hasher, because the key is kept over a restart of the service (so that
//! a node's id stays good) and std offers none with a key of one's own. One digest takes well below a microsecond.

use std::net::SocketAddrV4;

use boottorrent_swarm::Time;
use sha2::{Digest, Sha256};

use super::limits::{CONNECTION_PERIOD, CONNECTION_PERIODS};

/// A secret of this tracker.
pub(super) type Key = [u8; 32];

/// The key's bytes come first and all fields have fixed sizes; since an id is a part of the digest only, there is
/// nothing to extend.
fn id(key: &Key, client: SocketAddrV4, period: u64) -> u64 {
    let mut digest = Sha256::new();
    digest.update(key);
    digest.update(client.ip().octets());
    digest.update(client.port().to_be_bytes());
    digest.update(period.to_be_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn period(now: Time) -> u64 {
    now.0 / CONNECTION_PERIOD.as_micros() as u64
}

pub(super) fn issue(key: &Key, client: SocketAddrV4, now: Time) -> u64 {
    id(key, client, period(now))
}

pub(super) fn is_valid(key: &Key, client: SocketAddrV4, now: Time, claimed: u64) -> bool {
    let newest = period(now);
    (0..CONNECTION_PERIODS)
        .any(|age| newest.checked_sub(age).is_some_and(|period| id(key, client, period) == claimed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_one_client_and_a_few_minutes() {
        let (key, other_key) = ([1; 32], [2; 32]);
        let client = "10.0.0.1:6881".parse().unwrap();
        let issued_at = Time(1_000_000_000);
        let id = issue(&key, client, issued_at);
        let after = |seconds: u64| issued_at + std::time::Duration::from_secs(seconds);
        for seconds in [0, 59, 60, 119] {
            assert!(is_valid(&key, client, after(seconds), id), "{seconds}");
        }
        assert!(!is_valid(&key, client, after(180), id));
        assert!(!is_valid(&other_key, client, issued_at, id));
        assert!(!is_valid(&key, "10.0.0.1:6882".parse().unwrap(), issued_at, id));
        assert!(!is_valid(&key, "10.0.0.2:6881".parse().unwrap(), issued_at, id));
        assert!(!is_valid(&key, client, issued_at, id ^ 1));
        assert!(is_valid(&key, client, Time(0), issue(&key, client, Time(0))));
    }
}
