//! Numbers of connections and requests in the log.

use std::fmt;

/// The number of a connection since the server's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// The number of a request within its connection. Written `c12-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its number, from 1.
    pub number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_name_their_connection() {
        let id = RequestId { connection: ConnectionId(12), number: 3 };
        assert_eq!(id.to_string(), "c12-3");
    }
}
