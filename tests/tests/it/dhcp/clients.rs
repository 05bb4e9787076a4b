//! The clients that nodes and operating systems use: udhcpc, dhclient, systemd-networkd. Each gets an address and the
//! options that it asks for, private ones included.

use super::{Dhcp, SITE, SOON};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::process::Launch;
use std::fs;

/// What every client must have learnt, as words in its own account of the lease.
fn assert_has_all(account: &str, words: &[&str]) {
    for word in words {
        assert!(account.contains(word), "{word} is missing in:\n{account}");
    }
}

/// A script that a client calls with the lease in its environment.
fn script(dhcp: &Dhcp) -> (String, std::path::PathBuf) {
    let (script, account) = (dhcp.lab.path("script"), dhcp.lab.path("account"));
    fs::write(&script, format!("#!/bin/sh\nenv >> {}\n", account.display())).unwrap();
    let made_executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, made_executable).unwrap();
    (script.display().to_string(), account)
}

#[test]
fn udhcpc_gets_its_lease_and_options() {
    let dhcp = Dhcp::serving(SITE);
    let (script, account) = script(&dhcp);
    let client = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-O", "224", "-s", &script];
    dhcp.client.run(&client).unwrap();
    let account = fs::read_to_string(account).unwrap();
    assert_has_all(
        &account,
        &[
            "ip=10.0.16.0",
            "mask=16",
            "router=10.0.0.1",
            "dns=10.0.0.1 10.0.0.2",
            "domain=lab.example",
            "opt224=0102",
            "lease=600",
            "serverid=10.0.0.1",
            "siaddr=10.0.0.1",
        ],
    );
}

#[test]
fn udhcpc_gives_its_lease_back() {
    let dhcp = Dhcp::serving(SITE);
    let argv = ["udhcpc", "-i", "eth0", "-f", "-n", "-R", "-s", "/bin/true"];
    let mut client =
        Launch::new(&argv, dhcp.lab.path("udhcpc.log")).netns(&dhcp.client.netns).start().unwrap();
    client.expect("lease of 10.0.16.0 obtained", SOON).unwrap();
    dhcp.expect_state("a lease", |state| state["pools"][0]["leased"] == 1);
    // The release goes out by unicast from the address, which the script did not set.
    dhcp.client.run(&["ip", "addr", "add", "10.0.16.0/16", "dev", "eth0"]).unwrap();
    client.stop();
    dhcp.expect_state("no lease", |state| {
        state["pools"][0]["leased"] == 0 && state["counters"]["releases"] == 1
    });
}

#[test]
fn dhclient_gets_its_lease_and_options() {
    let dhcp = Dhcp::serving(SITE);
    let (script, account) = script(&dhcp);
    let path = |leaf: &str| dhcp.lab.path(leaf).display().to_string();
    let config = "option private-224 code 224 = string;\n\
                  request subnet-mask, routers, domain-name, domain-name-servers, private-224;\n";
    fs::write(dhcp.lab.path("dhclient.conf"), config).unwrap();
    fs::write(dhcp.lab.path("dhclient.leases"), "").unwrap();
    let (config, leases, pid) = (path("dhclient.conf"), path("dhclient.leases"), path("dhclient.pid"));
    let argv =
        ["dhclient", "-4", "-1", "-d", "-cf", &config, "-lf", &leases, "-pf", &pid, "-sf", &script, "eth0"];
    let mut client =
        Launch::new(&argv, dhcp.lab.path("dhclient.log")).netns(&dhcp.client.netns).start().unwrap();
    client.expect("bound to 10.0.16.0", SOON).unwrap();
    client.stop();
    let account = fs::read_to_string(account).unwrap();
    assert_has_all(
        &account,
        &[
            "reason=BOUND",
            "new_ip_address=10.0.16.0",
            "new_subnet_mask=255.255.0.0",
            "new_routers=10.0.0.1",
            "new_domain_name_servers=10.0.0.1 10.0.0.2",
            "new_domain_name=lab.example",
            "new_private_224=1:2",
            "new_dhcp_lease_time=600",
        ],
    );
}

#[test]
fn networkd_gets_its_lease_and_options() {
    let dhcp = Dhcp::serving(SITE);
    let account = dhcp.lab.path("account").display().to_string();
    // Its own /run and configuration; a read-only /sys tells it that there is no udev to wait for.
    let inside = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/netif/leases /run/systemd/netif/links && \
         chown -R systemd-network: /run/systemd/netif && mount -t tmpfs none /etc/systemd/network && \
         mount -o remount,ro /sys && \
         printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n[DHCPv4]\\nRequestOptions=224\\n' \
         > /etc/systemd/network/eth0.network && \
         {{ (while ! cat /run/systemd/netif/leases/* >> {account} 2>&-; do sleep 0.05; done) & }} && \
         exec /lib/systemd/systemd-networkd"
    );
    let argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", &inside];
    let client = Launch::new(&argv, dhcp.lab.path("networkd.log")).netns(&dhcp.client.netns).start().unwrap();
    let read = || {
        let text = fs::read_to_string(&account).unwrap_or_default();
        if text.contains("CLIENTID=") { Ok(text) } else { Err(client.log()) }
    };
    let account = wait_for("networkd's lease", SOON, read).unwrap();
    assert_has_all(
        &account,
        &[
            "ADDRESS=10.0.16.0",
            "NETMASK=255.255.0.0",
            "ROUTER=10.0.0.1",
            "DNS=10.0.0.1 10.0.0.2",
            "DOMAINNAME=lab.example",
            "OPTION_224=0102",
            "LIFETIME=600",
            "SERVER_ADDRESS=10.0.0.1",
        ],
    );
}
