//! A plugin whose commands stream, well or badly, one command for each way.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use wit_bindgen::rt::async_support::{StreamReader, StreamWriter, spawn_local};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "lictor:plugin/streaming-plugin@0.1.0",
    generate_all,
});

use exports::lictor::plugin::streaming_commands::{CommandInfo, Failure, Guest};
use lictor::plugin::{output, reply, request};

struct Streams;

export!(Streams);

impl Guest for Streams {
    fn describe() -> Vec<CommandInfo> {
        let info = CommandInfo {
            name: "count".into(),
            summary: "counts".into(),
            usage: "count TO [EVERY-MS]".into(),
            idempotent: true,
        };
        vec![info]
    }

    async fn handle(args: Vec<String>) -> Result<StreamReader<u8>, Failure> {
        if args[0] == "refuse" {
            return Err(failure("conflict", "refused"));
        }
        let (writer, reader) = wit_stream::new();
        spawn_local(async move { run(&args, writer).await });
        Ok(reader)
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.into(), message: message.into() }
}

async fn run(args: &[String], mut writer: StreamWriter<u8>) {
    let number = |at: usize| args.get(at).map_or(0, |text| text.parse::<u64>().expect("a number"));
    match args[0].as_str() {
        "count" => count(&mut writer, number(1), number(2)).await,
        "break-off" => {
            count(&mut writer, number(1), 0).await;
            reply::fail(&failure("failed", "never told"));
            reply::fail(&failure("not-found", "no more"));
        }
        "trap" => {
            count(&mut writer, number(1), 0).await;
            panic!("in the middle");
        }
        "spin" => {
            count(&mut writer, number(1), 0).await;
            loop {
                std::hint::black_box(0);
            }
        }
        "stall" => {
            count(&mut writer, number(1), 0).await;
            std::thread::sleep(Duration::from_secs(3600));
        }
        // The stream stays open, and nobody can write to it.
        "leave" => {
            count(&mut writer, number(1), 0).await;
            std::mem::forget(writer);
        }
        "grow" => {
            count(&mut writer, number(1), 0).await;
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
            }
        }
        "whole" => drop(writer.write_all(vec![b'w'; number(1) as usize]).await),
        "flood" => flood(&mut writer).await,
        "take-back" => take_back(&mut writer).await,
        "time-left" => {
            std::thread::sleep(Duration::from_millis(number(1)));
            drop(writer.write_all(request::time_left_ms().to_string().into_bytes()).await);
        }
        "print" => {
            for _ in 0..number(1) {
                output::print(&"p".repeat(1000));
                drop(writer.write_all(b".".to_vec()).await);
            }
        }
        "caller" => {
            let words = format!("{} {:?}", request::caller().name, request::body());
            drop(writer.write_all(words.into_bytes()).await);
        }
        "hoard" => hoard(&mut writer, number(1)).await,
        "nothing" => {}
        other => reply::fail(&failure("bad-arguments", other)),
    }
}

/// Makes this many streams that nobody reads, and writes their number.
async fn hoard(writer: &mut StreamWriter<u8>, count: u64) {
    let kept: Vec<_> = (0..count).map(|_| wit_stream::new::<u8>()).collect();
    drop(writer.write_all(kept.len().to_string().into_bytes()).await);
}

/// Writes each number separately.
async fn count(writer: &mut StreamWriter<u8>, to: u64, every_ms: u64) {
    for number in 1..=to {
        drop(writer.write_all(format!("{number}\n").into_bytes()).await);
        if every_ms > 0 {
            std::thread::sleep(Duration::from_millis(every_ms));
        }
    }
}

/// Writes for as long as the host accepts it, and logs each megabyte.
async fn flood(writer: &mut StreamWriter<u8>) {
    for mebibytes in 1.. {
        for _ in 0..16 {
            if !writer.write_all(vec![b'f'; 64 << 10]).await.is_empty() {
                return;
            }
        }
        output::print(&format!("flooded {mebibytes}"));
    }
}

/// Writes until a write has to wait, takes that one back, and computes.
async fn take_back(writer: &mut StreamWriter<u8>) {
    loop {
        let mut write = pin!(writer.write(vec![b't'; 64 << 10]));
        if poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending())).await {
            drop(write.as_mut().cancel());
            loop {
                std::hint::black_box(0);
            }
        }
    }
}
