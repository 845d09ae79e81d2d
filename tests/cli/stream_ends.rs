//! How connections end: an answer is complete if its finish reason has arrived.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::harness::{Harness, errors, lines, setup};
use crate::cli::provider::read_request;

const TEXT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"whole\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A server's behaviour after its last byte.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Closes the connection, although it has announced more bytes.
    Breaks,
    /// Keeps the connection open and sends nothing.
    Falls,
    /// Sends comments as fast as the client reads them.
    Babbles,
    /// Sends bytes that are not text, and closes in order.
    Rambles,
}

/// Answers every call with `said`, then behaves as `then`. Returns a harness for it and the number of calls.
fn setup_ending(said: String, then: Then) -> (Harness, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    // The thread ends with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            let said = said.clone();
            std::thread::spawn(move || {
                read_request(&stream);
                // An error means that the client has closed the connection.
                serve(stream, &said, then).unwrap_or_default();
            });
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &format!("http://{address}/v1"))
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 1);
    (harness, calls)
}

fn serve(mut stream: TcpStream, said: &str, then: Then) -> std::io::Result<()> {
    let ramble = match then {
        Then::Rambles => &b": \xff\xfe\n\n"[..],
        _ => b"",
    };
    let length = match then {
        Then::Rambles => said.len() + ramble.len(),
        _ => usize::MAX >> 8,
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{said}"
    )?;
    stream.write_all(ramble)?;
    match then {
        Then::Breaks | Then::Rambles => {}
        Then::Falls => drop(stream.read_to_end(&mut Vec::new())),
        Then::Babbles => loop {
            stream.write_all(": keep-alive\n\n".repeat(1000).as_bytes())?;
        },
    }
    Ok(())
}

const RUN: [&str; 4] = ["run", "in.jsonl", "--idle-timeout", "50ms"];

#[test]
fn after_its_finish_reason_an_answer_is_whole_however_the_connection_ends() {
    for (said, then) in [
        ([TEXT, FINISH].concat(), Then::Breaks),
        ([TEXT, FINISH].concat(), Then::Falls),
        ([TEXT, FINISH].concat(), Then::Rambles),
        ([TEXT, DONE].concat(), Then::Falls),
        ([TEXT, FINISH, DONE].concat(), Then::Breaks),
        ([TEXT, FINISH, DONE].concat(), Then::Falls),
        ([TEXT, FINISH, DONE].concat(), Then::Babbles),
        ([TEXT, FINISH, DONE].concat(), Then::Rambles),
    ] {
        let (harness, calls) = setup_ending(said.clone(), then);
        let ran = harness.nova3(&RUN);
        assert_eq!(ran.code, Some(0), "{then:?} after {said}: {}{}", ran.out, ran.err);
        assert_eq!(lines(&ran.out)[0]["output"][0]["content"], "whole", "{then:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{then:?} after {said}");
    }
}

#[test]
fn before_its_finish_reason_no_answer_is_whole() {
    for (said, then, class, tries) in [
        (TEXT.to_owned(), Then::Breaks, "network", 4),
        (TEXT.to_owned(), Then::Falls, "stalled", 4),
        // An answer that cannot be read is requested a second time, and not a third time.
        (TEXT.to_owned(), Then::Rambles, "server", 2),
        (
            TEXT.replace("\"finish_reason\":null", "\"finish_reason\":\"stop\""),
            Then::Falls,
            "stalled",
            4,
        ),
        (
            [TEXT, &FINISH[..FINISH.len() - 4]].concat(),
            Then::Breaks,
            "network",
            4,
        ),
    ] {
        let (harness, calls) = setup_ending(said.clone(), then);
        let ran = harness.nova3(&RUN);
        let results = lines(&ran.out);
        assert_eq!(
            (ran.code, errors(&results)[0].0, calls.load(Ordering::Relaxed)),
            (Some(100), class, tries),
            "{then:?} after {said}: {}",
            ran.err
        );
    }
}
