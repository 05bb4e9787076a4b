use toml::Value;

use super::*;

/// Encodes `value` as it would stand behind `key =` in the site folder.
fn option(name: &str, value: &str) -> Result<(u8, Vec<u8>), OptionError> {
    let table: toml::Table = format!("value = {value}").parse().unwrap();
    encode(name, &table["value"])
}

#[track_caller]
fn is(name: &str, value: &str, code: u8, bytes: &[u8]) {
    assert_eq!(option(name, value), Ok((code, bytes.to_vec())), "{name} = {value}");
}

#[test]
fn each_form_by_name() {
    is("subnet-mask", r#""255.255.255.0""#, 1, &[255, 255, 255, 0]);
    is("time-offset", "-3600", 2, &[0xff, 0xff, 0xf1, 0xf0]);
    is("routers", r#"["10.0.0.1", "10.0.0.2"]"#, 3, &[10, 0, 0, 1, 10, 0, 0, 2]);
    is("routers", r#""10.0.0.1""#, 3, &[10, 0, 0, 1]);
    is("host-name", r#""n01""#, 12, b"n01");
    is("boot-size", "512", 13, &[2, 0]);
    is("ip-forwarding", "true", 19, &[1]);
    is("policy-filter", r#"["10.1.0.0 255.255.0.0"]"#, 21, &[10, 1, 0, 0, 255, 255, 0, 0]);
    is("policy-filter", r#"["10.1.0.0/16"]"#, 21, &[10, 1, 0, 0, 255, 255, 0, 0]);
    is("static-routes", r#"[["10.1.0.5", "10.0.0.9"]]"#, 33, &[10, 1, 0, 5, 10, 0, 0, 9]);
    is("default-ip-ttl", "64", 23, &[64]);
    is("path-mtu-aging-timeout", r#""10m""#, 24, &[0, 0, 2, 0x58]);
    is("path-mtu-plateau-table", "[68, 1500]", 25, &[0, 68, 5, 0xdc]);
    is("netbios-node-type", "8", 46, &[8]);
    is("dhcp-lease-time", r#""12h""#, 51, &[0, 0, 0xa8, 0xc0]);
    is("vendor-encapsulated-options", r#""hex:0601:08""#, 43, &[6, 1, 8]);
    is("mobile-ip-home-agent", "[]", 68, &[]);
    is("pxelinux-reboot-time", "4294967295", 211, &[255; 4]);
}

#[test]
fn forms_of_later_rfcs() {
    // RFC 3397: the second name points back into the first.
    is(
        "domain-search",
        r#"["eng.apple.com", "marketing.apple.com."]"#,
        119,
        b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04",
    );
    is(
        "classless-static-routes",
        r#"["10.0.0.0/8 10.0.0.1", "0.0.0.0/0 10.0.0.2"]"#,
        121,
        &[8, 10, 10, 0, 0, 1, 0, 10, 0, 0, 2],
    );
    let names: Vec<String> = (0..40).map(|n| format!("\"host{n:02}.example\"")).collect();
    let (_, long) = option("domain-search", &format!("[{}]", names.join(","))).unwrap();
    assert!(long.len() > 255 && long.starts_with(b"\x06host00\x07example\0\x06host01\xc0"), "{long:?}");
}

#[test]
fn by_number_with_and_without_a_name() {
    is("3", r#""10.0.0.1""#, 3, &[10, 0, 0, 1]);
    is("224", r#""hex:0102""#, 224, &[1, 2]);
    is("224", r#""ip:10.0.0.1, 10.0.0.2""#, 224, &[10, 0, 0, 1, 10, 0, 0, 2]);
    is("224", r#""text:a:b""#, 224, b"a:b");
    is("224", r#""u16:258""#, 224, &[1, 2]);
    for untyped in [r#""10.0.0.1""#, "5", "true", r#""u8:256""#, r#""hex:012""#, "[]"] {
        let error = option("224", untyped).unwrap_err().to_string();
        assert!(error.starts_with("DHCP option 224 needs ") && error.contains("hex:"), "{error}");
    }
    for number in ["0", "255", "256", "-1", "1.5"] {
        assert!(option(number, r#""hex:00""#).is_err(), "{number}");
    }
}

#[test]
fn errors_say_what_to_write() {
    let sentence = |name, value| option(name, value).unwrap_err().to_string();
    assert_eq!(sentence("routrs", "1"), "unknown DHCP option \"routrs\"; did you mean \"routers\"?");
    for (wrong, right) in [("domain-nameservers", "domain-name-servers"), ("hostname", "host-name")] {
        assert!(sentence(wrong, "1").ends_with(&format!("did you mean \"{right}\"?")), "{wrong}");
    }
    assert!(sentence("coffee", "1").contains("dhcp-options(5)"));
    assert_eq!(
        sentence("routers", r#""10.0.0.256""#),
        "DHCP option 3 (routers) needs IPv4 addresses as [\"10.0.0.1\", \"10.0.0.2\"], not \"10.0.0.256\""
    );
    assert_eq!(
        sentence("dhcp-server-identifier", r#""10.0.0.1""#),
        "DHCP option 54 (dhcp-server-identifier) cannot be set: the server sets it by itself; remove it"
    );
    for (name, value) in [
        ("routers", "[]"),
        ("host-name", r#""""#),
        ("host-name", r#""a\u0007""#),
        ("interface-mtu", "67"),
        ("default-ip-ttl", "0"),
        ("ip-forwarding", "1"),
        ("netbios-node-type", "3"),
        ("dhcp-lease-time", r#""12""#),
        ("dhcp-lease-time", r#""12 h""#),
        ("dhcp-lease-time", r#""99999999d""#),
        ("policy-filter", r#"["10.0.0.1"]"#),
        ("domain-search", r#"[""]"#),
        ("domain-search", r#"["a..b"]"#),
        ("classless-static-routes", r#"["10.0.0.1/8 10.0.0.1"]"#),
        ("classless-static-routes", r#"["10.0.0.0/8"]"#),
        ("vendor-encapsulated-options", r#""abc""#),
    ] {
        assert!(matches!(option(name, value), Err(OptionError::Value { .. })), "{name} = {value}");
    }
    let long = Value::from("x".repeat(MAX_VALUE + 1));
    assert!(encode("host-name", &long).unwrap_err().to_string().contains("1025 bytes"));
}

#[test]
fn every_settable_name_takes_bytes() {
    for (code, name) in names().filter(|(code, _)| is_settable(*code)) {
        is(name, r#""hex:01020304""#, code, &[1, 2, 3, 4]);
    }
}
