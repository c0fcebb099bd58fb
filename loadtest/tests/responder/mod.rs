//! A TFTP server of sixty lines, in a thread of the test: one port, no timer, every wish granted.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use daybreak_tftp::wire::{
    BlockNumber, ErrorCode, OackBuilder, OptionKind, Packet, Request, data_header, decimal,
    emit_error,
};

/// The server; it stops when it is dropped.
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Transfer {
    content: Arc<[u8]>,
    blksize: usize,
    windowsize: usize,
}

impl Responder {
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Responder {
        let files: HashMap<Vec<u8>, Arc<[u8]>> = files
            .iter()
            .map(|(name, content)| (name.as_bytes().to_vec(), Arc::from(*content)))
            .collect();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut transfers = HashMap::new();
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    answer(&socket, &files, &mut transfers, from, &buffer[..len]);
                }
            }
        });
        Responder {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().unwrap();
    }
}

fn answer(
    socket: &UdpSocket,
    files: &HashMap<Vec<u8>, Arc<[u8]>>,
    transfers: &mut HashMap<SocketAddr, Transfer>,
    from: SocketAddr,
    datagram: &[u8],
) {
    match Packet::parse(datagram) {
        Ok(Packet::Rrq(request)) => {
            let Some(content) = files.get(request.name) else {
                let error = emit_error(ErrorCode::FILE_NOT_FOUND, "no such file");
                socket.send_to(error.as_bytes(), from).unwrap();
                return;
            };
            let (transfer, oack) = open(content, &request);
            if oack.is_empty() {
                send_window(socket, &transfer, from, 0);
            } else {
                socket.send_to(oack.as_bytes(), from).unwrap();
            }
            transfers.insert(from, transfer);
        }
        Ok(Packet::Ack(number)) => {
            if let Some(transfer) = transfers.get(&from) {
                send_window(socket, transfer, from, usize::from(number.0));
            }
        }
        _ => {}
    }
}

fn open(content: &Arc<[u8]>, request: &Request<'_>) -> (Transfer, OackBuilder) {
    let mut oack = OackBuilder::default();
    let mut transfer = Transfer {
        content: Arc::clone(content),
        blksize: 512,
        windowsize: 1,
    };
    for (kind, name, value) in request.options.known() {
        let value = decimal(value).unwrap();
        match kind {
            OptionKind::Blksize => transfer.blksize = usize::try_from(value).unwrap(),
            OptionKind::Windowsize => transfer.windowsize = usize::try_from(value).unwrap(),
            OptionKind::Timeout | OptionKind::Tsize | OptionKind::Rollover => {}
        }
        let size = kind == OptionKind::Tsize;
        oack.push_number(name, if size { content.len() as u64 } else { value });
    }
    (transfer, oack)
}

fn send_window(socket: &UdpSocket, transfer: &Transfer, to: SocketAddr, acked: usize) {
    for index in acked..acked + transfer.windowsize {
        let Some(rest) = transfer.content.get(index * transfer.blksize..) else {
            return;
        };
        let number = BlockNumber(u16::try_from(index + 1).unwrap());
        let payload = &rest[..rest.len().min(transfer.blksize)];
        socket
            .send_to(&[&data_header(number)[..], payload].concat(), to)
            .unwrap();
    }
}
