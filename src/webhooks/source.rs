//! Where a webhook really comes from. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// The address of the sender: the peer's, or the last one in `X-Forwarded-For` that no trusted
/// proxy wrote. Without trusted proxies the header is whatever the sender likes, and is ignored.
/// Read from its end: what stands further left than an unreadable entry nobody vouches for.
pub fn sender(peer: IpAddr, forwarded_for: &[&str], trusted_proxies: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let mut hops = forwarded_for.iter().rev().flat_map(|header| header.rsplit(','));
    while contains(trusted_proxies, address) {
        let Some(previous) = hops.next().and_then(hop) else { break };
        address = previous.to_canonical();
    }
    address
}

/// The address of one entry. Some proxies write the port too (`1.2.3.4:80`, `[2001:db8::1]:80`).
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// What counts as one sender: an IPv6 host has a network of its own.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

/// Whether the address lies in one of the networks.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        for (peer, header, expected) in [
            ("203.0.113.5", vec!["198.51.100.1"], "203.0.113.5"),
            ("10.1.1.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["1.2.3.4", "198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.1.1.1", vec!["1.2.3.4", "198.51.100.1", "10.2.2.2"], "198.51.100.1"),
            ("10.1.1.1", vec!["10.3.3.3,10.2.2.2"], "10.3.3.3"),
            ("10.1.1.1", vec![], "10.1.1.1"),
            ("::ffff:10.1.1.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["::ffff:198.51.100.1"], "198.51.100.1"),
            // With ports, as some proxies write them.
            ("10.1.1.1", vec!["198.51.100.1:4711"], "198.51.100.1"),
            ("10.1.1.1", vec!["2001:db8::1"], "2001:db8::1"),
            ("10.1.1.1", vec!["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.1.1.1", vec!["[2001:db8::1]"], "2001:db8::1"),
            ("2001:db8:1::5", vec!["2001:db8::1, 2001:db8:1::6"], "2001:db8::1"),
            // What the sender wrote in front of what the proxy wrote does not matter.
            ("10.1.1.1", vec!["nonsense, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["\u{fffd}\u{fffd},,\", 198.51.100.1"], "198.51.100.1"),
            // Nobody vouches for what stands in front of nonsense.
            ("10.1.1.1", vec!["nonsense"], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.1, nonsense"], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.1, "], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.1", ""], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.1.1.1", vec!["fe80::1%eth0"], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.1:99999"], "10.1.1.1"),
        ] {
            let sender = sender(peer.parse().unwrap(), &header, &proxies);
            assert_eq!(sender, expected.parse::<IpAddr>().unwrap(), "{peer} {header:?}");
        }
        assert_eq!(
            sender("10.1.1.1".parse().unwrap(), &["1.2.3.4"], &[]),
            "10.1.1.1".parse::<IpAddr>().unwrap()
        );
    }
}
