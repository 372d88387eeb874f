//! Cost of reading a request.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lictor::wire::Decoder;

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, request) in [
        ("plain", b"echo hello world\r\n\r\n".to_vec()),
        ("framed", b"echo hello world\r\nSequence: 12345\r\n\r\n".to_vec()),
        ("quoted", b"echo \"hello \\\"world\\\"\\n\"\r\nSequence: 12345\r\n\r\n".to_vec()),
        ("body", [b"put key\r\nSequence: 1\r\nSize: 1024\r\n\r\n".to_vec(), vec![b'x'; 1024]].concat()),
        ("largest-head", [b"echo ".to_vec(), vec![b'x'; 8183], b"\r\n\r\n".to_vec()].concat()),
    ] {
        const TIMES: usize = 64;
        let pipelined = request.repeat(TIMES);
        group.throughput(Throughput::Elements(TIMES as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (Decoder::new(1 << 20), BytesMut::from(&pipelined[..])),
                |(mut decoder, mut buffer)| {
                    while let Some(request) = decoder.decode(&mut buffer).unwrap() {
                        black_box(request.command());
                    }
                    (decoder, buffer)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
