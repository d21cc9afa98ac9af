//! A name server that knows one set of addresses for all names, and can fall silent.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEADER: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;

/// See the module.
#[derive(Debug)]
pub struct Resolver {
    /// `None`: silent.
    addresses: Arc<Mutex<Option<Vec<IpAddr>>>>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Answers on port 53 of `listen`.
    pub async fn start(listen: IpAddr, addresses: Vec<IpAddr>) -> Self {
        let socket = UdpSocket::bind((listen, 53)).await.unwrap();
        let addresses = Arc::new(Mutex::new(Some(addresses)));
        let known = addresses.clone();
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let known = known.lock().unwrap().clone();
                if let Some(answer) = known.and_then(|known| answer(&question[..length], &known)) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { addresses, task }
    }

    /// What all names mean from now on; `None`: no answer.
    pub fn say(&self, addresses: Option<Vec<IpAddr>>) {
        *self.addresses.lock().unwrap() = addresses;
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035: the question again, and a record for each address of the kind that was asked for.
fn answer(question: &[u8], known: &[IpAddr]) -> Option<Vec<u8>> {
    let name = question.get(HEADER..)?;
    let end = HEADER + name.iter().position(|byte| *byte == 0)? + 1;
    let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
    let octets = |address: &IpAddr| match (address, kind) {
        (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
        (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
        _ => None,
    };
    let records: Vec<Vec<u8>> = known.iter().filter_map(octets).collect();
    let mut answer = question[..2].to_vec();
    // An answer, recursion available; one question and its answers.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend(question.get(HEADER..end + 4)?);
    for record in records {
        // The question's name, kind, class IN, no time to live, length.
        answer.extend([0xc0, 0x0c]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}
