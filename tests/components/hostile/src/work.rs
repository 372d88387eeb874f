//! An instance that stays entered, and its misdeeds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Answer;
use crate::lictor::plugin::queue;

static LEAVES: AtomicBool = AtomicBool::new(false);
static EXITS: AtomicBool = AtomicBool::new(false);

/// Takes requests until one of them says to leave.
pub(crate) fn run(handle: impl Fn(Vec<String>) -> Answer) {
    let (mut block, mut answer) = (Vec::new().into_iter(), None);
    while !LEAVES.load(Ordering::Relaxed) {
        if let Some(next) = queue::next(answer.as_ref().map(Answer::as_deref)) {
            block = next.into_iter();
        }
        answer = Some(handle(arguments(&mut block)));
        if let (true, Some(Ok(last))) = (EXITS.load(Ordering::Relaxed), &answer) {
            queue::reply(last);
            if last == b"late" {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(last, b"return", "traps after its last reply");
            return;
        }
    }
}

/// Parses the next request of a block.
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

/// Asks for more requests while it has one.
pub(crate) fn more(_args: &[String]) -> Answer {
    Ok(queue::next(None).unwrap_or_default())
}

/// Answers for another's request: when entered through `handle`, there is none.
pub(crate) fn next(_args: &[String]) -> Answer {
    Ok(queue::next(Some(Ok(b"next"))).unwrap_or_default())
}

/// Does the same through the function that does not wait.
pub(crate) fn reply(_args: &[String]) -> Answer {
    Ok(vec![queue::reply(b"reply").into()])
}

/// Answers with its argument, and then leaves `run`: by a return, by a trap, or by a trap after a wait.
pub(crate) fn exit(args: &[String]) -> Answer {
    EXITS.store(true, Ordering::Relaxed);
    Ok(args.concat().into_bytes())
}

/// Returns from `run` with a request unanswered.
pub(crate) fn leave(_args: &[String]) -> Answer {
    LEAVES.store(true, Ordering::Relaxed);
    Ok(Vec::new())
}
