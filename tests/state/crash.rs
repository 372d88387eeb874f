//! Repeatedly killed while writing: every acknowledged write is stored.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use crate::support::{child, key, opened, path_from_parent, run, spawned, store_in, value};

const ROUNDS: u64 = 12;
const CALLERS: u64 = 16;

/// Not a test by itself: the child of the one below. Writes numbered keys and prints acknowledged ones.
#[test]
fn child_that_writes() {
    let Some(path) = path_from_parent() else { return };
    run(async {
        let store = store_in(&opened(&path)).await;
        let first = store.usage().await.unwrap().keys;
        for caller in 0..CALLERS {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0.. {
                    let number = (first + n) * CALLERS + caller;
                    let name = key(&format!("{number:010}"));
                    let pair =
                        vec![(name, value(&number.to_string())), (key(&format!("pair{caller}")), value("x"))];
                    store.set_many(pair, None).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "wrote {number}").and_then(|()| out.flush()).unwrap();
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

#[test]
fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut answered = BTreeSet::new();
    // Pseudorandom numbers that are the same every time.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let before_kill = 1 + (random >> 33) % 400;
        let mut child = spawned(child("crash::child_that_writes", &path));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut of_this_round = 0;
        while of_this_round < before_kill {
            let line = lines.next().expect("the child ended by itself");
            of_this_round += u64::from(note(&line, &mut answered));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Writes that were printed but not yet read were acknowledged too.
        for line in lines {
            note(&line, &mut answered);
        }
        run(async {
            let store = store_in(&opened(&path)).await;
            for number in &answered {
                let entry = store.get(&key(&format!("{number:010}"))).await.unwrap();
                let entry = entry.unwrap_or_else(|| panic!("round {round}: {number} is lost"));
                assert_eq!(entry.value, value(&number.to_string()));
            }
            let (mut count, mut cursor) = (0, None);
            loop {
                let page = store.list_keys("", cursor.as_ref(), 1000).await.unwrap();
                count += page.keys.len() as u64;
                let Some(next) = page.next else { break };
                cursor = Some(next);
            }
            assert_eq!(store.usage().await.unwrap().keys, count, "the books are not those of the rows");
        });
    }
    assert!(answered.len() as u64 > ROUNDS);
}

fn note(line: &str, answered: &mut BTreeSet<u64>) -> bool {
    // Each line is written in one piece, so the kill cuts off none.
    let Some((_, number)) = line.split_once("wrote ") else { return false };
    answered.insert(number.parse().unwrap())
}
