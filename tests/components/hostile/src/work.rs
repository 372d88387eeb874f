//! An instance that stays entered, and what it should not do as one.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::Answer;
use crate::lictor::plugin::queue;

static LEAVES: AtomicBool = AtomicBool::new(false);

/// Takes requests until one of them was to leave.
pub(crate) fn run(handle: impl Fn(Vec<String>) -> Answer) {
    let mut block = queue::first().into_iter();
    while !LEAVES.load(Ordering::Relaxed) {
        let answer = handle(arguments(&mut block));
        if LEAVES.load(Ordering::Relaxed) {
            return;
        }
        if let Some(next) = queue::next(answer.as_deref()) {
            block = next.into_iter();
        }
    }
}

/// The next request of a block.
fn arguments(block: &mut impl Iterator<Item = u8>) -> Vec<String> {
    let count = number(block);
    (0..count)
        .map(|_| {
            let length = number(block) as usize;
            String::from_utf8(block.take(length).collect()).unwrap()
        })
        .collect()
}

fn number(block: &mut impl Iterator<Item = u8>) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|_| block.next().unwrap()))
}

/// Asks for a first request while it has one.
pub(crate) fn first(_args: &[String]) -> Answer {
    Ok(queue::first())
}

/// Answers for the request of somebody else: where it was entered by `handle`, there is none.
pub(crate) fn next(_args: &[String]) -> Answer {
    Ok(queue::next(Ok(b"next")).unwrap_or_default())
}

/// The same by the function that does not wait.
pub(crate) fn answer(_args: &[String]) -> Answer {
    Ok(vec![queue::answer(Ok(b"answer")).into()])
}

/// Returns from `run` with a request in hand.
pub(crate) fn leave(_args: &[String]) -> Answer {
    LEAVES.store(true, Ordering::Relaxed);
    Ok(Vec::new())
}
