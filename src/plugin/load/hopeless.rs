//! Debug files that are not read again.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::compiling::Compiling;
use crate::sync::locked;

/// Debug files that exceeded the bounds on their reader, each with its component, the bounds, and the words.
/// None is read again until one of these changes: it would take as long at each load of its plugin.
#[derive(Default)]
pub(in crate::plugin) struct Hopeless(Mutex<VecDeque<([u8; 32], Compiling, String)>>);

/// Most entries that are remembered; one more replaces the oldest.
const MAX_HOPELESS: usize = 64;

impl Hopeless {
    pub(super) fn words(&self, both: &[u8; 32], compiling: &Compiling) -> Option<String> {
        let known = locked(&self.0);
        let found = known.iter().find(|(file, bounds, _)| file == both && bounds == compiling);
        found.map(|(_, _, words)| words.clone())
    }

    pub(super) fn add(&self, both: [u8; 32], compiling: &Compiling, words: &str) {
        let mut known = locked(&self.0);
        if known.len() == MAX_HOPELESS {
            known.pop_front();
        }
        known.push_back((both, compiling.clone(), words.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hopeless_file_is_known_until_it_or_a_bound_changes_and_the_oldest_is_forgotten() {
        let hopeless = Hopeless::default();
        let bounds = |seconds| Compiling::by_itself(1 << 20, 1 << 29, Duration::from_secs(seconds));
        hopeless.add([0; 32], &bounds(1), "too long");
        assert_eq!(hopeless.words(&[0; 32], &bounds(1)).as_deref(), Some("too long"));
        assert_eq!(hopeless.words(&[1; 32], &bounds(1)), None);
        assert_eq!(hopeless.words(&[0; 32], &bounds(2)), None);
        for file in 1..=MAX_HOPELESS {
            hopeless.add([u8::try_from(file).unwrap(); 32], &bounds(1), "too long");
        }
        assert_eq!(hopeless.words(&[0; 32], &bounds(1)), None);
        assert!(hopeless.words(&[1; 32], &bounds(1)).is_some());
        assert_eq!(locked(&hopeless.0).len(), MAX_HOPELESS);
    }
}
