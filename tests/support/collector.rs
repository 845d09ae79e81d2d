//! A collector of traces that can refuse, stall and die. It speaks OTLP over HTTP.
#![expect(
    clippy::expect_used,
    reason = "the helpers of a test fail the way a test does"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// The reaction of the collector to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Takes all spans.
    Accepts,
    /// Answers this status, with further header lines.
    Answers(u16, &'static str),
    /// Takes all spans, and says that it rejected so many.
    Rejects(i64),
    /// Reads the request and never answers.
    Stalls,
    /// Closes the connection without an answer.
    Dies,
}

/// One request that the collector has read.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    /// Whether it was answered with success.
    pub(crate) accepted: bool,
}

/// A running collector.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    /// Connections that are never answered.
    _stalled: Arc<Mutex<Vec<TcpStream>>>,
}

impl Collector {
    /// A collector that takes everything.
    pub(crate) fn accepting() -> Self {
        Self::start(|_, _| Does::Accepts)
    }

    /// A collector that decides by the number of the request, from 0, and by its size.
    pub(crate) fn start(script: impl Fn(usize, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let stalled = Arc::new(Mutex::new(Vec::new()));
        let (list, held, script) = (Arc::clone(&received), Arc::clone(&stalled), Arc::new(script));
        // The threads end with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (list, held, script) = (Arc::clone(&list), Arc::clone(&held), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &list, &held, &*script));
            }
        });
        Self {
            address,
            received,
            _stalled: stalled,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no panic").clone()
    }

    /// The spans of all accepted requests by trace. A span that came twice is there once.
    pub(crate) fn traces(&self) -> Vec<Trace> {
        let mut traces: BTreeMap<Vec<u8>, HashMap<Vec<u8>, Span>> = BTreeMap::new();
        for request in self.received().into_iter().filter(|request| request.accepted) {
            for span in request.spans {
                let trace = traces.entry(span.trace_id.clone()).or_default();
                trace.insert(span.span_id.clone(), span);
            }
        }
        let trace = |spans: HashMap<Vec<u8>, Span>| {
            let mut spans: Vec<Span> = spans.into_values().collect();
            spans.sort_by_key(|span| (span.start_time_unix_nano, span.span_id.clone()));
            Trace { spans }
        };
        traces.into_values().map(trace).collect()
    }
}

fn serve(
    mut stream: TcpStream,
    list: &Mutex<Vec<Received>>,
    held: &Mutex<Vec<TcpStream>>,
    script: &(impl Fn(usize, usize) -> Does + Send + Sync),
) {
    while let Some((head, body)) = read_request(&stream) {
        let unpacked = if head.contains("content-encoding: gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body)
                .read_to_end(&mut plain)
                .expect("gzip");
            plain
        } else {
            body
        };
        let message = ExportTraceServiceRequest::decode(&*unpacked).expect("an OTLP message");
        let scopes = message
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        let spans: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
        let mut list = list.lock().expect("no panic");
        let does = script(list.len(), unpacked.len());
        list.push(Received {
            head,
            body: unpacked,
            spans,
            accepted: matches!(does, Does::Accepts | Does::Rejects(_)),
        });
        drop(list);
        let (status, headers, rejected) = match does {
            Does::Accepts => (200, "", 0),
            Does::Rejects(count) => (200, "", count),
            Does::Answers(status, headers) => (status, headers, 0),
            Does::Stalls => return held.lock().expect("no panic").push(stream),
            Does::Dies => return,
        };
        let body = if status == 200 {
            let partial = ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: "too old".to_owned(),
            };
            ExportTraceServiceResponse {
                partial_success: (rejected > 0).then_some(partial),
            }
            .encode_to_vec()
        } else {
            b"not today".to_vec()
        };
        let head = format!(
            "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let written = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body));
        if written.is_err() {
            return;
        }
    }
}

/// Reads a request: its request line with the header lines, and its body. `None` when the connection is closed.
fn read_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&lower);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// The spans of one trace, by their start.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) spans: Vec<Span>,
}

impl Trace {
    /// The only span without a parent.
    pub(crate) fn root(&self) -> &Span {
        let mut roots = self.spans.iter().filter(|span| span.parent_span_id.is_empty());
        let root = roots.next().expect("a span without a parent");
        assert!(roots.next().is_none(), "one tree: {}", self.shape());
        root
    }

    /// Requires one tree, in which each parent is there and lasts as long as its children.
    pub(crate) fn is_whole(&self) {
        self.root();
        let known: HashSet<&[u8]> = self.spans.iter().map(|span| &*span.span_id).collect();
        for span in &self.spans {
            assert!(
                span.start_time_unix_nano <= span.end_time_unix_nano,
                "{}",
                span.name
            );
            if span.parent_span_id.is_empty() {
                continue;
            }
            assert!(
                known.contains(&*span.parent_span_id),
                "{} dangles: {}",
                span.name,
                self.shape()
            );
            let parent = self.parent(span).expect("it is known");
            assert!(
                parent.start_time_unix_nano <= span.start_time_unix_nano
                    && parent.end_time_unix_nano >= span.end_time_unix_nano,
                "{} is outside of {}",
                span.name,
                parent.name
            );
        }
    }

    pub(crate) fn parent(&self, span: &Span) -> Option<&Span> {
        self.spans
            .iter()
            .find(|other| other.span_id == span.parent_span_id)
    }

    pub(crate) fn children(&self, span: &Span) -> Vec<&Span> {
        let is_child = |other: &&Span| other.parent_span_id == span.span_id;
        self.spans.iter().filter(is_child).collect()
    }

    /// The names of the tree, indented.
    pub(crate) fn shape(&self) -> String {
        let mut text = String::new();
        let roots = self.spans.iter().filter(|span| self.parent(span).is_none());
        for root in roots {
            self.show(root, 0, &mut text);
        }
        text
    }

    fn show(&self, span: &Span, depth: usize, text: &mut String) {
        text.push_str(&format!("{}{}\n", "  ".repeat(depth), span.name));
        for child in self.children(span) {
            self.show(child, depth + 1, text);
        }
    }
}

/// An attribute as text; `None` if the span does not have it.
pub(crate) fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref().and_then(shown)
}

fn shown(value: &AnyValue) -> Option<String> {
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(amount) => amount.to_string(),
        Value::ArrayValue(list) => list.values.iter().filter_map(shown).collect::<Vec<_>>().join(","),
        _ => return None,
    })
}
