//! Where a request may go. A route's address is written by a tenant, so without this a tenant could
//! make the database server knock on doors that only the server can reach (server-side request
//! forgery).

use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;
use url::{Host, Url};

/// What a superuser allows: hosts by name (none: every public one) and networks beside the public.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

/// Address blocks that are not the public internet: IANA's special-purpose registries of IPv4
/// and, within global unicast, of IPv6 (RFC 6890 and what amended it).
const SPECIAL: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
];
/// The only IPv6 block that is handed out for the public internet.
const GLOBAL_UNICAST: u16 = 0x2000;
const LONGEST_URL: usize = 2000;
pub const NOT_PUBLIC: &str = "the host's address is not public, and not in stormops.egress_networks";

impl Egress {
    /// Reads the two settings: names separated by commas, `*.` before a name for what is below it;
    /// networks in CIDR notation.
    pub fn parse(hosts: &str, networks: &str) -> Result<Self, String> {
        let items = |list: &'_ str| -> Vec<String> {
            list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_lowercase).collect()
        };
        let networks = items(networks).iter().map(|item| network(item)).collect::<Result<_, _>>()?;
        Ok(Self { hosts: items(hosts), networks })
    }

    /// The address as a URL, if a request to it may be tried at all. A name in it is looked up later:
    /// what that finds must pass `permits`.
    pub fn url(&self, address: &str) -> Result<Url, &'static str> {
        if address.len() > LONGEST_URL {
            return Err("the address is longer than 2000 bytes");
        }
        let url = Url::parse(address).map_err(|_| "the address is not a URL")?;
        let host = url.host().ok_or("the address names no host")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address carries a user name or password");
        }
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        };
        let encrypted = match url.scheme() {
            "https" => true,
            // Without TLS only into networks that a superuser allowed.
            "http" if !self.networks.is_empty() => false,
            _ => return Err("the address is not https"),
        };
        if address.is_some_and(|ip| !self.permits(ip, encrypted)) {
            return Err(NOT_PUBLIC);
        }
        if !self.hosts.is_empty() && !self.listed(&host) {
            return Err("the host is not among stormops.egress_hosts");
        }
        Ok(url)
    }

    fn listed(&self, host: &Host<&str>) -> bool {
        let name = host.to_string();
        let name = name.trim_end_matches('.');
        self.hosts.iter().any(|listed| match listed.strip_prefix("*.") {
            Some(parent) => name.strip_suffix(parent).is_some_and(|below| below.ends_with('.')),
            None => name == listed,
        })
    }

    /// Whether a request may go to this address, which a host's name stood for at this moment.
    pub fn permits(&self, ip: IpAddr, encrypted: bool) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip)) || (encrypted && is_public(ip))
    }
}

fn network(item: &str) -> Result<IpNet, String> {
    item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).map_err(|_| item.to_owned())
}

fn is_public(ip: IpAddr) -> bool {
    if let IpAddr::V6(ip) = ip
        && !is_global_unicast(ip)
    {
        return false;
    }
    static BLOCKS: LazyLock<Vec<IpNet>> =
        LazyLock::new(|| SPECIAL.iter().filter_map(|block| network(block).ok()).collect());
    !BLOCKS.iter().any(|block| block.contains(&ip))
}

fn is_global_unicast(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xe000 == GLOBAL_UNICAST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_special_block_is_one() {
        assert!(SPECIAL.iter().all(|block| network(block).is_ok_and(|block| !is_public(block.network()))));
    }

    #[test]
    fn only_public_addresses_unless_a_network_is_allowed() {
        let public = Egress::default();
        for text in ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"] {
            assert!(public.permits(ip(text), true), "{text}");
            assert!(!public.permits(ip(text), false), "{text} without TLS");
        }
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "::7f00:1",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!public.permits(ip(text), true), "{text}");
        }
        let home = Egress::parse("", "127.0.0.1/32, fd00::/8 ,10.0.0.7").unwrap();
        for (text, allowed) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("10.0.0.7", true),
            ("::ffff:127.0.0.1", true),
        ] {
            assert_eq!(home.permits(ip(text), false), allowed, "{text}");
        }
        assert_eq!(Egress::parse("", "10.0.0.0/33").unwrap_err(), "10.0.0.0/33");
    }

    #[test]
    fn numbers_in_every_spelling_are_the_same_address() {
        // The URL standard reads all of these as 127.0.0.1, and so does whoever looks the host up.
        for text in ["https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"] {
            assert_eq!(Egress::default().url(text).unwrap_err(), NOT_PUBLIC, "{text}");
            let url = Egress::parse("", "127.0.0.1").unwrap().url(text).unwrap();
            assert_eq!(url.host_str(), Some("127.0.0.1"), "{text}");
        }
    }

    #[test]
    fn an_address_is_https_without_a_user_to_a_listed_host() {
        let any = Egress::default();
        assert!(any.url("https://hooks.example/x?y=z").is_ok());
        for text in [
            "http://hooks.example/",
            "ftp://hooks.example/",
            "file:///etc/passwd",
            "gopher://x/",
            "hooks.example",
            "",
            "https://user@hooks.example/",
            "https://:secret@hooks.example/",
            "https://",
        ] {
            assert!(any.url(text).is_err(), "{text}");
        }
        assert!(any.url(&format!("https://hooks.example/{}", "x".repeat(2000))).is_err());
        let listed = Egress::parse("Events.PagerDuty.com, *.slack.com", "").unwrap();
        for (text, allowed) in [
            ("https://events.pagerduty.com/v2/enqueue", true),
            ("https://EVENTS.pagerduty.com./v2", true),
            ("https://hooks.slack.com/services/T", true),
            ("https://slack.com/", false),
            ("https://evilslack.com/", false),
            ("https://slack.com.evil.example/", false),
        ] {
            assert_eq!(listed.url(text).is_ok(), allowed, "{text}");
        }
    }
}
