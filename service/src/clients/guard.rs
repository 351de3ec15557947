//! Where engines may be: Game Master must not be usable to reach anything else.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use net::AddressGuard;

/// An allow-list of networks; every address that a host name resolves to must be in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineNetworks(Vec<IpNet>);

impl EngineNetworks {
    /// The networks allowed.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether an address is in one of them. An IPv4 address written as IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl AddressGuard for EngineNetworks {
    fn allows(&self, _host: &str, address: SocketAddr) -> bool {
        self.contains(address.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_networks_pass_however_the_address_is_written() {
        let networks = ["10.1.0.0/16", "fd00::/8"].map(|n| n.parse().expect("valid"));
        let guard = EngineNetworks::new(networks.into());
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
        ] {
            assert_eq!(guard.contains(address.parse().expect("valid")), allowed, "{address}");
        }
    }
}
