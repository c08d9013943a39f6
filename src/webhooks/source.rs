//! Where a webhook really comes from. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// The address of the sender: the peer's, or the last one in `X-Forwarded-For` that no trusted
/// proxy wrote. Without trusted proxies the header is whatever the sender likes, and is ignored.
pub fn sender(peer: IpAddr, forwarded_for: &[&str], trusted_proxies: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let hops = forwarded_for.iter().flat_map(|header| header.split(',')).map(str::trim);
    let mut hops: Vec<&str> = hops.collect();
    while contains(trusted_proxies, address) {
        let Some(hop) = hops.pop() else { break };
        let Ok(previous) = hop.parse::<IpAddr>() else { break };
        address = previous.to_canonical();
    }
    address
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
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        for (peer, header, expected) in [
            ("203.0.113.5", vec!["198.51.100.1"], "203.0.113.5"),
            ("10.1.1.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", vec!["1.2.3.4", "198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.1.1.1", vec![], "10.1.1.1"),
            ("10.1.1.1", vec!["nonsense"], "10.1.1.1"),
            ("::ffff:10.1.1.1", vec!["198.51.100.1"], "198.51.100.1"),
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
