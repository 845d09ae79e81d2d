//! A search server whose replies a test defines byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A server that answers each call with the reply that the script returns for it.
pub(super) struct Server {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A call: its request line with the header lines, and its body.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) head: String,
    pub(super) body: String,
}

/// The reply to one call.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Status, header lines, body.
    Say(u16, String, Vec<u8>),
    /// Sends nothing until the client disconnects.
    Hang,
    /// Sends the head of a longer answer and these bytes of it, then nothing until the client disconnects.
    Stall(Vec<u8>),
    /// Closes the connection without an answer.
    Cut,
    /// Closes the connection after the head of a longer answer and these bytes of it.
    CutWithin(Vec<u8>),
}

impl Reply {
    pub(super) fn json(body: &Value) -> Self {
        Self::status(200, body)
    }

    pub(super) fn status(status: u16, body: &Value) -> Self {
        Self::Say(
            status,
            "content-type: application/json\r\n".to_owned(),
            body.to_string().into_bytes(),
        )
    }

    pub(super) fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Say(status, format!("{name}: {value}\r\n"), b"{}".to_vec())
    }
}

impl Call {
    /// Returns the method and the path.
    pub(super) fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap();
        line.rsplit_once(' ').unwrap().0
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Server {
    pub(super) fn start(script: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (heard, script) = (Arc::clone(&calls), Arc::new(script));
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, script) = (Arc::clone(&heard), Arc::clone(&script));
                std::thread::spawn(move || {
                    let call = read(&stream);
                    let number = {
                        let mut heard = heard.lock().unwrap();
                        heard.push(call.clone());
                        heard.len() - 1
                    };
                    reply(stream, script(&call, number));
                });
            }
        });
        Self { address, calls }
    }

    /// Starts a server that always sends the same reply.
    pub(super) fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone())
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Call {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Call {
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

fn reply(mut stream: TcpStream, reply: Reply) {
    match reply {
        Reply::Say(status, headers, body) => {
            let head = format!(
                "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
                body.len()
            );
            // An error means that the client has disconnected.
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
                .unwrap_or_default();
        }
        Reply::Hang => {
            stream.read_to_end(&mut Vec::new()).unwrap_or_default();
        }
        Reply::Stall(part) => {
            begin(&mut stream, &part);
            stream.read_to_end(&mut Vec::new()).unwrap_or_default();
        }
        Reply::Cut => {}
        Reply::CutWithin(part) => begin(&mut stream, &part),
    }
}

/// Sends the head of an answer that is longer than `part`, and `part`.
fn begin(stream: &mut TcpStream, part: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        part.len() + 100
    );
    // An error means that the client has disconnected.
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(part))
        .unwrap_or_default();
}
