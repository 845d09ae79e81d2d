//! A provider with scripted answers, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Answers each call with the script's answer to its body.
pub(crate) struct Scripted {
    address: SocketAddr,
    /// Head and body of each call.
    calls: Arc<Mutex<Vec<(String, String)>>>,
}

/// An answer: status, further header lines, body.
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) headers: &'static str,
    pub(crate) body: String,
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(&str) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&calls);
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (head, body) = read_request(&stream);
                heard.lock().unwrap().push((head, body.clone()));
                answer(stream, &script(&body));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The bodies of all calls so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(_, body)| body.clone()).collect()
    }

    /// The request lines and headers of all calls so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(head, _)| head.to_lowercase()).collect()
    }
}

/// Reads a call: its request line with the header lines, and its body.
pub(crate) fn read_request(stream: &TcpStream) -> (String, String) {
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
    (head, String::from_utf8(body).unwrap())
}

pub(crate) fn answer(mut stream: TcpStream, say: &Say) {
    let head = format!(
        "HTTP/1.1 {} Said\r\ncontent-length: {}\r\nconnection: close\r\n{}\r\n",
        say.status,
        say.body.len(),
        say.headers
    );
    // An error means that the client has closed the connection.
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(say.body.as_bytes()))
        .unwrap_or_default();
}
