//! The loop against servers on loopback that misbehave.

use super::*;
use std::net::UdpSocket;
use std::thread;

const OACK: &[u8] = b"\0\x06blksize\x008\0";

fn server() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => (socket, address),
        SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
    }
}

fn get(server: SocketAddrV4, limit: usize, within: Duration) -> Result<Vec<u8>, Error> {
    attempt(server, Transfer::new("f", limit, true), clock::now() + within, &mut |_, _| {})
}

fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut datagram = [0; 600];
    let (length, from) = socket.recv_from(&mut datagram).unwrap();
    (datagram[..length].to_vec(), from)
}

#[test]
fn a_second_transfer_of_the_same_request_disturbs_nothing() {
    let (listener, address) = server();
    let serving = thread::spawn(move || {
        let (request, client) = received(&listener);
        assert!(request.starts_with(b"\0\x01f\0octet\0"));
        // The request came twice, so two transfers begin, each from a port of its own.
        let ((ours, _), (other, _)) = (server(), server());
        ours.send_to(OACK, client).unwrap();
        assert_eq!(received(&ours).0, [0, 4, 0, 0]);
        other.send_to(b"\0\x03\0\x01FALSE!!!", client).unwrap();
        assert!(received(&other).0.starts_with(&[0, 5, 0, 5]), "it is told so");
        ours.send_to(b"\0\x03\0\x0112345678", client).unwrap();
        assert_eq!(received(&ours).0, [0, 4, 0, 1]);
        ours.send_to(b"\0\x03\0\x0112345678", client).unwrap();
        assert_eq!(received(&ours).0, [0, 4, 0, 1], "a repeated block is acknowledged again");
        ours.send_to(b"\0\x03\0\x02abc", client).unwrap();
        assert_eq!(received(&ours).0, [0, 4, 0, 2]);
    });
    assert_eq!(get(address, 100, Duration::from_secs(5)).unwrap(), b"12345678abc");
    serving.join().unwrap();
}

#[test]
fn an_error_in_the_middle_and_a_file_too_large_end_it_at_once() {
    let (listener, address) = server();
    let serving = thread::spawn(move || {
        let (_, client) = received(&listener);
        listener.send_to(&[b"\0\x03\0\x01", &[7; 512][..]].concat(), client).unwrap();
        received(&listener);
        listener.send_to(b"\0\x05\0\0disk failed\0", client).unwrap();
        let (_, client) = received(&listener);
        listener.send_to(&[b"\0\x03\0\x01", &[7; 512][..]].concat(), client).unwrap();
        assert!(received(&listener).0.starts_with(&[0, 5, 0, 3]), "the server need not go on");
    });
    let error = get(address, 1000, Duration::from_secs(5)).unwrap_err().to_string();
    assert_eq!(error, "the master refused it: disk failed (code 0)");
    assert!(matches!(get(address, 100, Duration::from_secs(5)), Err(Error::TooLarge { limit: 100 })));
    serving.join().unwrap();
}

#[test]
fn the_deadline_holds_against_silence_and_against_a_flood() {
    let (listener, address) = server();
    assert!(matches!(get(address, 100, Duration::from_millis(50)), Err(Error::Silent { bytes: 0 })));
    received(&listener);
    let flood = thread::spawn(move || {
        // Until the client says that it gives up: the last of its two packets.
        let client = loop {
            let (packet, client) = received(&listener);
            if packet.starts_with(&[0, 1]) {
                break client;
            }
        };
        listener.set_nonblocking(true).unwrap();
        let mut packet = [0; 600];
        while listener.recv_from(&mut packet).map_or(true, |_| !packet.starts_with(&[0, 5])) {
            let _ = listener.send_to(b"\0\x09nonsense", client); // its queue may be full
        }
    });
    let begun = clock::now();
    assert!(get(address, 100, Duration::from_millis(300)).is_err());
    assert!(clock::now() - begun < Duration::from_secs(2));
    flood.join().unwrap();
}
