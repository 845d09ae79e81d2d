//! A provider that fails in the way that its path names. Its answers repeat the call that it received.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::cli::provider::read_request;

/// The ways to fail, by the first part of the path.
pub(crate) const WAYS: [&str; 14] = [
    "400",
    "401",
    "429",
    "500",
    "html",
    "text",
    "name",
    "long",
    "stream",
    "choice",
    "plain",
    "garbage",
    "disconnect",
    "stall",
];

/// A received call.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The request line and the header lines.
    pub(crate) head: String,
}

pub(crate) struct Echo {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&heard);
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let calls = Arc::clone(&calls);
                std::thread::spawn(move || {
                    let (head, _) = read_request(&stream);
                    let number = {
                        let mut calls = calls.lock().unwrap();
                        calls.push(Heard { head: head.clone() });
                        calls.len()
                    };
                    // An error means that the client has closed the connection.
                    answer(stream, &head, number).unwrap_or_default();
                });
            }
        });
        Self { address, heard }
    }

    /// The address under which the provider fails in this way.
    pub(crate) fn failing(&self, way: &str) -> String {
        format!("http://{}/{way}/v1", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, head: &str, number: usize) -> std::io::Result<()> {
    // The parts of a call that a careless provider repeats: the key, the address with its query, all headers.
    let echo = head.replace("\r\n", " ");
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "))
        .unwrap_or("none");
    let way = head.split('/').nth(1).unwrap_or_default();
    let object = |message: &str, code: &str| {
        serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}})
            .to_string()
    };
    let chunk = |text: &str| {
        let delta =
            serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
        format!("data: {delta}\n\n")
    };
    let (json, events) = ("application/json", "text/event-stream");
    let (status, kind, body) = match way {
        "400" => (
            400,
            json,
            object(
                &format!("Incorrect API key provided: {key}. You sent {echo}"),
                "bad",
            ),
        ),
        "401" => (
            401,
            json,
            object(
                &format!("Incorrect API key provided: {key}. You sent {echo}"),
                "invalid_api_key",
            ),
        ),
        // Every other call gets a 400, so that the run ends.
        "429" if number % 2 == 1 => {
            let body = object(
                &format!("Rate limit reached for {key}. Please try again in 1ms. {echo}"),
                "rate_limit_exceeded",
            );
            (429, json, body)
        }
        "429" => (400, json, object(&format!("The key {key} is not welcome"), "bad")),
        "500" => (
            500,
            json,
            object(&format!("Failed to serve {echo}"), "server_error"),
        ),
        "html" => (
            502,
            "text/html",
            format!(
                "<html><head><title>Bad gateway for {key} {echo}</title></head><body>{echo}</body></html>"
            ),
        ),
        "text" => (503, "text/plain", format!("no room for {key}: {echo}")),
        // The key as the error's name, which is shortened in its own way.
        "name" => (500, json, object(&echo, &format!("{}{key}", "key_".repeat(18)))),
        // A message that is shortened in the middle of a key.
        "long" => (
            500,
            json,
            object(&format!("{}{key}", format!("{key}, ").repeat(40)), "server_error"),
        ),
        "stream" => (
            200,
            events,
            format!(
                "{}data: {}\n\n",
                chunk("a"),
                object(&format!("{key} {echo}"), "server_error")
            ),
        ),
        "choice" => {
            let choice =
                serde_json::json!({"choices": [{"index": 0, "error": {"code": 500, "message": echo}}]});
            (200, events, format!("{}data: {choice}\n\n", chunk("a")))
        }
        "plain" => (200, json, object(&format!("{key} {echo}"), "server_error")),
        "garbage" => (200, events, format!("{}data: <{key} {echo}>\n\n", chunk("a"))),
        "disconnect" | "stall" => (200, events, chunk("a")),
        _ => (404, "text/plain", echo.clone()),
    };
    let cut = matches!(way, "disconnect" | "stall");
    let length = body.len() + usize::from(cut) * 1000;
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nx-request-id: {key}\r\nconnection: close\r\n\r\n{body}"
    )?;
    if way == "stall" {
        // No answer until the client closes the connection.
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
