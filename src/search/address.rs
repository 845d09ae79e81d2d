//! The addresses that a redirect to another host may lead to: public ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names to public addresses only, so that no name leads into the network of this machine. The connection uses
/// exactly the addresses that were checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(Box::from("the name has no public address"));
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether the host of an address is an IP address that is not public. Names are checked when they are resolved.
pub(super) fn is_private_literal(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse::<IpAddr>().is_ok_and(|address| !is_public(address))
}

/// Whether a server is on this machine.
pub(super) fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether an address can be reached from the whole internet. Loopback, private, link-local and multicast addresses are
/// not public, nor are those of the IANA registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a >= 240
        // Carrier-grade NAT; protocol assignments; 6to4 relays; benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let (a, b) = (segments[0], segments[1]);
    let embedded = |at: usize| {
        let octets = address.octets();
        Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3])
    };
    match (a, b) {
        // NAT64 and 6to4 addresses contain an IPv4 address. The NAT64 prefix 64:ff9b:1::/48 is for private networks.
        (0x64, 0xff9b) => segments[2..6] == [0; 4] && is_public_v4(embedded(12)),
        (0x2002, _) => is_public_v4(embedded(2)),
        // Teredo, documentation and other protocol assignments are not public.
        (0x2001, b) => b >= 0x200 && b != 0xdb8,
        // IANA assigns only 2000::/3 to hosts of the internet. 3fff::/20 is for documentation.
        _ => (0x2000..0x4000).contains(&a) && !(a == 0x3fff && b < 0x1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_special_use_are_not_public() {
        for private in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1:7f00:0:100:808:808",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn ip_addresses_are_recognized_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]:8080/",
            "http://[::ffff:7f00:1]/",
        ] {
            assert!(is_private_literal(&url.parse().unwrap()), "{url}");
        }
        assert!(!is_private_literal(&"http://example.com/".parse().unwrap()));
        assert!(
            is_here(&"http://localhost:1/".parse().unwrap()) && is_here(&"http://[::1]/".parse().unwrap())
        );
        assert!(!is_here(&"http://192.168.1.1/".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_name_of_this_machine_has_no_public_address() {
        let name = "localhost".parse().unwrap();
        assert!(PublicOnly.resolve(name).await.is_err());
    }
}
