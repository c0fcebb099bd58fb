//! The codec: octets to packets and back, and the form of a name.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use daybreak_tftp::name;
use daybreak_tftp::wire::{
    BlockNumber, OackBuilder, OptionKind, Packet, data_header, emit_request,
};

fn request() -> Vec<u8> {
    let mut buffer = [0; 512];
    let options = [
        (OptionKind::Tsize, 0),
        (OptionKind::Blksize, 1468),
        (OptionKind::Windowsize, 16),
    ];
    let name = b"firmware/acme-t5/2.4.1/vmlinuz";
    let len = emit_request(name, "octet", &options, &mut buffer).expect("it fits");
    buffer[..len].to_vec()
}

fn wire(criterion: &mut Criterion) {
    let request = request();
    criterion.bench_function("parse/ack", |b| {
        b.iter(|| Packet::parse(black_box(&[0, 4, 1, 2])));
    });
    criterion.bench_function("parse/request with three options", |b| {
        b.iter(|| Packet::parse(black_box(&request)));
    });
    criterion.bench_function("parse/data of 1468 octets", |b| {
        let mut data = [7; 1472];
        data[..4].copy_from_slice(&data_header(BlockNumber(9)));
        b.iter(|| Packet::parse(black_box(&data)).is_ok());
    });
    criterion.bench_function("emit/data header", |b| {
        b.iter(|| data_header(black_box(BlockNumber(4711))));
    });
    criterion.bench_function("emit/oack of three options", |b| {
        b.iter(|| {
            let mut oack = OackBuilder::default();
            oack.push_number(b"tsize", black_box(123_456_789));
            oack.push_number(b"blksize", 1468);
            oack.push_number(b"windowsize", 16);
            oack.as_bytes().len()
        });
    });
    criterion.bench_function("name/normalise", |b| {
        let mut buffer = name::Buffer::default();
        let raw = b"\\firmware\\acme-t5//2.4.1/./vmlinuz\xff";
        b.iter(|| name::normalise(black_box(raw), &mut buffer).map(<[u8]>::len));
    });
}

criterion_group!(benches, wire);
criterion_main!(benches);
