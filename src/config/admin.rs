//! `[admin]`

use std::net::SocketAddr;

use super::section::Section;

/// The listener for those who run the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Health, readiness, metrics, console. Default: `127.0.0.1:8081`.
    pub listen: SocketAddr,
}

impl Admin {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.address("listen");
        section.finish();
        Some(Self { listen: listen? })
    }
}
