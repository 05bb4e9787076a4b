//! Every option of RFC 2132 by its name: encoded as gen does it, sent in a real answer, captured on the wire and decoded
//! by tshark, which shares no code with us.

use super::wire::{Client, LARGE, mac};
use super::{Dhcp, SITE, SOON};
use boottorrent_masterd::dhcp::options::{encode, is_settable, names};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::process::{Launch, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Name, value as in the site folder, and how tshark shows it: `field=value,value`, several by blanks. Fields are named
/// without their `dhcp.option.`.
#[rustfmt::skip] // a table reads by column
const OPTIONS: &[(&str, &str, &str)] = &[
    ("subnet-mask", r#""255.255.0.0""#, "subnet_mask=255.255.0.0"),
    ("time-offset", "-3600", "time_offset=-3600"),
    ("routers", r#"["10.0.0.3", "10.0.1.3"]"#, "router=10.0.0.3,10.0.1.3"),
    ("time-servers", r#"["10.0.0.4"]"#, "time_server=10.0.0.4"),
    ("ien116-name-servers", r#"["10.0.0.5"]"#, "name_server=10.0.0.5"),
    ("domain-name-servers", r#"["10.0.0.6", "10.0.1.6"]"#, "domain_name_server=10.0.0.6,10.0.1.6"),
    ("log-servers", r#"["10.0.0.7"]"#, "log_server=10.0.0.7"),
    ("cookie-servers", r#"["10.0.0.8"]"#, "quotes_server=10.0.0.8"),
    ("lpr-servers", r#"["10.0.0.9"]"#, "lpr_server=10.0.0.9"),
    ("impress-servers", r#"["10.0.0.10"]"#, "impress_server=10.0.0.10"),
    ("resource-location-servers", r#"["10.0.0.11"]"#, "resource_location_server=10.0.0.11"),
    ("host-name", r#""text-12""#, "hostname=text-12"),
    ("boot-size", "1234", "boot_file_size=1234"),
    ("merit-dump", r#""text-14""#, "merit_dump_file=text-14"),
    ("domain-name", r#""text-15""#, "domain_name=text-15"),
    ("swap-server", r#""10.0.0.16""#, "swap_server=10.0.0.16"),
    ("root-path", r#""text-17""#, "root_path=text-17"),
    ("extensions-path", r#""text-18""#, "extension_path=text-18"),
    ("ip-forwarding", "true", "ip_forwarding=1"),
    ("non-local-source-routing", "false", "non_local_source_routing=0"),
    ("policy-filter", r#"["10.1.0.0 255.255.0.0", "10.2.0.0/24"]"#, "policy_filter.ip=10.1.0.0,10.2.0.0 policy_filter.subnet_mask=255.255.0.0,255.255.255.0"),
    ("max-dgram-reassembly", "1472", "max_datagram_reassembly_size=1472"),
    ("default-ip-ttl", "64", "default_ip_ttl=64"),
    ("path-mtu-aging-timeout", r#""10m""#, "path_mtu_aging_timeout=600"),
    ("path-mtu-plateau-table", "[68, 1500]", "path_mtu_plateau_table_item=68,1500"),
    ("interface-mtu", "1400", "interface_mtu=1400"),
    ("all-subnets-local", "true", "all_subnets_are_local=1"),
    ("broadcast-address", r#""10.0.255.255""#, "broadcast_address=10.0.255.255"),
    ("perform-mask-discovery", "true", "perform_mask_discovery=1"),
    ("mask-supplier", "false", "mask_supplier=0"),
    ("router-discovery", "true", "perform_router_discover=1"),
    ("router-solicitation-address", r#""10.0.0.32""#, "router_solicitation_address=10.0.0.32"),
    ("static-routes", r#"["10.3.0.4 10.0.0.9"]"#, "static_route.ip=10.3.0.4 static_route.router=10.0.0.9"),
    ("trailer-encapsulation", "false", "trailer_encapsulation=0"),
    ("arp-cache-timeout", r#""1h""#, "arp_cache_timeout=3600"),
    ("ieee802-3-encapsulation", "false", "ethernet_encapsulation=0"),
    ("default-tcp-ttl", "63", "tcp_default_ttl=63"),
    ("tcp-keepalive-interval", "90", "tcp_keepalive_interval=90"),
    ("tcp-keepalive-garbage", "true", "tcp_keepalive_garbage=1"),
    ("nis-domain", r#""text-40""#, "nis_domain=text-40"),
    ("nis-servers", r#"["10.0.0.41"]"#, "nis_server=10.0.0.41"),
    ("ntp-servers", r#"["10.0.0.42", "10.0.1.42"]"#, "ntp_server=10.0.0.42,10.0.1.42"),
    ("vendor-encapsulated-options", r#""hex:0103aabbcc""#, "vendor.value=01:03:aa:bb:cc"),
    ("netbios-name-servers", r#"["10.0.0.44"]"#, "netbios_over_tcpip_name_server=10.0.0.44"),
    ("netbios-dd-server", r#"["10.0.0.45"]"#, "netbios_over_tcpip_dd_name_server=10.0.0.45"),
    ("netbios-node-type", "8", "netbios_over_tcpip_node_type=8"),
    ("netbios-scope", r#""text-47""#, "netbios_over_tcpip_scope=text-47"),
    ("font-servers", r#"["10.0.0.48"]"#, "xwindows_system_font_server=10.0.0.48"),
    ("x-display-manager", r#"["10.0.0.49"]"#, "xwindows_system_display_manager=10.0.0.49"),
    ("dhcp-lease-time", r#""10m""#, "ip_address_lease_time=600"),
    ("dhcp-message", r#""text-56""#, "message=text-56"),
    ("dhcp-renewal-time", r#""5m""#, "renewal_time_value=300"),
    ("dhcp-rebinding-time", r#""8m""#, "rebinding_time_value=480"),
    ("vendor-class-identifier", r#""text-60""#, "vendor_class_id=text-60"),
    ("nwip-domain", r#""text-62""#, "value=74:65:78:74:2d:36:32"),
    ("nwip-suboptions", r#""hex:050100""#, "novell_options.suboption=5"),
    ("nisplus-domain", r#""text-64""#, "nis_plus_domain=text-64"),
    ("nisplus-servers", r#"["10.0.0.65"]"#, "nis_plus_server=10.0.0.65"),
    ("tftp-server-name", r#""text-66""#, "tftp_server_name=text-66"),
    ("bootfile-name", r#""text-67""#, "bootfile_name=text-67"),
    ("mobile-ip-home-agent", r#"["10.0.0.68"]"#, "mobile_ip_home_agent=10.0.0.68"),
    ("smtp-server", r#"["10.0.0.69"]"#, "smtp_server=10.0.0.69"),
    ("pop-server", r#"["10.0.0.70"]"#, "pop3_server=10.0.0.70"),
    ("nntp-server", r#"["10.0.0.71"]"#, "nntp_server=10.0.0.71"),
    ("www-server", r#"["10.0.0.72"]"#, "default_www_server=10.0.0.72"),
    ("finger-server", r#"["10.0.0.73"]"#, "default_finger_server=10.0.0.73"),
    ("irc-server", r#"["10.0.0.74"]"#, "default_irc_server=10.0.0.74"),
    ("streettalk-server", r#"["10.0.0.75"]"#, "streettalk_server=10.0.0.75"),
    ("streettalk-directory-assistance-server", r#"["10.0.0.76"]"#, "streettalk_da_server=10.0.0.76"),
];

#[rustfmt::skip] // a table reads by column
const LATER: &[(&str, &str, &str)] = &[
    ("pcode", r#""CET-1CEST""#, "value=43:45:54:2d:31:43:45:53:54"),
    ("tcode", r#""Europe/Berlin""#, "tz_tcode=Europe/Berlin"),
    ("default-url", r#""https://lab.example/""#, "captive_portal=https://lab.example/"),
    ("domain-search", r#"["lab.example", "eng.lab.example"]"#, "dhcp_dns_domain_search_list_fqdn=lab.example,eng.lab.example"),
    ("classless-static-routes", r#"["10.9.0.0/16 10.0.0.9", "0.0.0.0/0 10.0.0.1"]"#, "classless_static_route=10:0a:09:0a:00:00:09,00:0a:00:00:01"),
    ("tftp-server-address", r#"["10.0.0.150"]"#, "tftp_server_address=10.0.0.150"),
    ("pxelinux-config-file", r#""lab.cfg""#, "pxe_config_file=lab.cfg"),
    ("pxelinux-path-prefix", r#""boot/""#, "pxe_path_prefix=boot/"),
    ("224", r#""hex:0102""#, "value=01:02"),
];

fn encoded(name: &str, value: &str) -> (u8, Vec<u8>) {
    let table: toml::Table = format!("value = {value}").parse().unwrap();
    encode(name, &table["value"]).unwrap_or_else(|e| panic!("{e}"))
}

/// The decoded options of the last acknowledgement in a capture, by code.
fn decoded(capture: &str) -> BTreeMap<u64, Vec<Value>> {
    let filter = "dhcp.option.dhcp == 5";
    let json = run(&["tshark", "-r", capture, "-Y", filter, "-T", "json", "--no-duplicate-keys"]).unwrap();
    let packets: Value = serde_json::from_str(&json).unwrap();
    let dhcp = &packets.as_array().unwrap().last().expect("an acknowledgement")["_source"]["layers"]["dhcp"];
    let mut options = BTreeMap::new();
    collect(dhcp, &mut options);
    options
}

/// The options of a field, and below option 52 those of the fields that it opens.
fn collect(field: &Value, options: &mut BTreeMap<u64, Vec<Value>>) {
    let list = |name: &str| match &field[name] {
        Value::Array(list) => list.clone(),
        single => vec![single.clone()],
    };
    for (code, tree) in list("dhcp.option.type").iter().zip(list("dhcp.option.type_tree")) {
        for opened in ["Boot file name option overload", "Server host name option overload"] {
            if tree[opened].is_object() {
                collect(&tree[opened], options);
            }
        }
        options.entry(code.as_str().unwrap().parse().unwrap()).or_default().push(tree);
    }
}

/// `SITE` with these options of the table set for its subnet.
fn site(list: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("    options = [\n");
    for (name, value, _) in list {
        let (code, bytes) = encoded(name, value);
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(text, "        {{ code = {code}, hex = \"{hex}\" }},").unwrap();
    }
    text.push_str("    ]\n");
    let (before, rest) = SITE.split_once("options = [").unwrap();
    let (_, after) = rest.split_once("\n]").unwrap();
    format!("{before}{}{after}", text.trim_start())
}

/// Those of the server itself, in the answer to the client of `capture_of`.
const OWN: &[(u64, &str)] = &[(53, "dhcp=5"), (54, "dhcp_server_id=10.0.0.1"), (61, "value=01:69:64")];

/// Serves the options, lets one client lease with `request`, and returns what another decoder reads in the answer.
fn capture_of(list: &[(&str, &str, &str)], request: &[(u8, &[u8])]) -> (Dhcp, BTreeMap<u64, Vec<Value>>) {
    let dhcp = Dhcp::serving(&site(list));
    let capture = dhcp.lab.path("dhcp.pcap").display().to_string();
    let argv = ["tcpdump", "-U", "-i", "eth0", "-w", &capture, "udp port 67"];
    let mut tcpdump =
        Launch::new(&argv, dhcp.lab.path("tcpdump.log")).netns(&dhcp.master.netns).start().unwrap();
    tcpdump.expect("listening on", SOON).unwrap();
    Client::on(&dhcp.client.netns).lease(mac(1), request);
    let written = wait_for("four packets", SOON, || {
        let text = run(&["tcpdump", "-nr", &capture]).map_err(|e| e.to_string())?;
        if text.lines().count() == 4 { Ok(()) } else { Err(text) }
    });
    written.unwrap();
    (dhcp, decoded(&capture))
}

/// Compares one option, all of whose fields must be there.
#[track_caller]
fn assert_reads(options: &BTreeMap<u64, Vec<Value>>, code: u64, expected: &str) {
    let Some([tree]) = options.get(&code).map(Vec::as_slice) else {
        panic!("option {code} is not there once")
    };
    for field in expected.split(' ') {
        let (name, values) = field.split_once('=').unwrap();
        let read: Vec<&str> = match &tree[format!("dhcp.option.{name}")] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            single => single.as_str().into_iter().collect(),
        };
        assert_eq!(read.join(","), values, "option {code}, {name}: {tree}");
    }
}

#[test]
fn every_option_of_rfc_2132_is_read_by_another_decoder() {
    let missing: Vec<_> = names()
        .filter(|(code, name)| {
            (1..=76).contains(code) && is_settable(*code) && !OPTIONS.iter().any(|o| o.0 == *name)
        })
        .collect();
    assert!(missing.is_empty(), "no value is tried for {missing:?}");
    let (_dhcp, options) = capture_of(OPTIONS, &[(57, &LARGE), (61, b"\x01id")]);
    for (name, value, expected) in OPTIONS {
        assert_reads(&options, encoded(name, value).0.into(), expected);
    }
    for (code, expected) in OWN {
        assert_reads(&options, *code, expected);
    }
}

#[test]
fn later_options_and_private_ones_are_read_too() {
    let (_dhcp, options) = capture_of(LATER, &[(57, &LARGE)]);
    for (name, value, expected) in LATER {
        assert_reads(&options, encoded(name, value).0.into(), expected);
    }
}

#[test]
fn a_client_of_the_smallest_message_gets_the_rest_in_the_other_fields() {
    let (dhcp, options) = capture_of(OPTIONS, &[]);
    assert_reads(&options, 52, "option_overload=3");
    for (name, value, expected) in OPTIONS {
        assert_reads(&options, encoded(name, value).0.into(), expected);
    }
    assert!(!dhcp.server.log().contains("do not fit"), "{}", dhcp.server.log());
}

#[test]
fn what_does_not_fit_is_told() {
    let long = format!("\"{}\"", "x".repeat(300));
    let list = [OPTIONS, &[("pcode", long.as_str(), "")]].concat();
    let (dhcp, options) = capture_of(&list, &[]);
    assert!(!options.contains_key(&100) && options.contains_key(&76));
    let log = dhcp.server.log();
    assert!(log.contains("options do not fit the client's message size: for 52:54:00:00:00:01"), "{log}");
}
