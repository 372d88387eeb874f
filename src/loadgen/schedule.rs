//! Due times of an open loop's requests: fixed before the first is sent, so that slow replies do not shift
//! them. Pure; times are nanoseconds since the load began.

/// Requests at a constant rate, assigned to the connections in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    nanos_apart: f64,
    connections: u64,
}

/// One connection's part of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    schedule: Schedule,
    /// The number, in the whole schedule, of the next request.
    next: u64,
}

impl Schedule {
    /// `per_second` requests over `connections` connections.
    pub(super) fn new(per_second: f64, connections: usize) -> Self {
        Self { nanos_apart: 1e9 / per_second, connections: connections as u64 }
    }

    /// The due time of request `number`.
    pub(super) fn due(&self, number: u64) -> u64 {
        (number as f64 * self.nanos_apart) as u64
    }

    /// The number of the first request due at `time` or later.
    pub(super) fn first_from(&self, time: u64) -> u64 {
        // An estimate, then corrected exactly: `due` rounds.
        let mut number = (time as f64 / self.nanos_apart) as u64;
        while number > 0 && self.due(number - 1) >= time {
            number -= 1;
        }
        while self.due(number) < time {
            number += 1;
        }
        number
    }

    /// The connection that sends request `number`.
    pub(super) fn connection(&self, number: u64) -> usize {
        (number % self.connections) as usize
    }

    /// The requests of one connection.
    pub(super) fn turns(self, connection: usize) -> Turns {
        Turns { schedule: self, next: connection as u64 }
    }
}

impl Turns {
    /// The due time of the next request.
    pub(super) fn next_due(&self) -> u64 {
        self.schedule.due(self.next)
    }

    /// Advances to the following request.
    pub(super) fn advance(&mut self) {
        self.next += self.schedule.connections;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_at_a_constant_rate() {
        let schedule = Schedule::new(1000.0, 3);
        let mut seen = Vec::new();
        for connection in 0..3 {
            let mut turns = schedule.turns(connection);
            for _ in 0..4 {
                seen.push((turns.next_due(), connection));
                turns.advance();
            }
        }
        seen.sort_unstable();
        let expected: Vec<_> = (0..12).map(|n| (n * 1_000_000, n as usize % 3)).collect();
        assert_eq!(seen, expected);
        for number in 0..12 {
            assert_eq!(schedule.connection(number), number as usize % 3);
        }
    }

    #[test]
    fn a_time_is_found_exactly_at_any_rate() {
        for per_second in [0.3, 1.0, 7.0, 999.9, 123_457.0, 3_000_000.0] {
            let schedule = Schedule::new(per_second, 7);
            for number in [0, 1, 2, 3, 10, 1001, 1_000_003] {
                let due = schedule.due(number);
                assert_eq!(schedule.first_from(due), number, "{per_second}");
                assert_eq!(schedule.first_from(due + 1), number + 1, "{per_second}");
                assert!((due as f64 - number as f64 * 1e9 / per_second).abs() <= 1.0);
            }
        }
    }
}
