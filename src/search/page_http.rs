//! Reads a page over HTTP, from public addresses only.
//!
//! A result of a search names the address, so the address is not trusted. Only `http` and `https` are asked. The host of
//! each hop must be public: an IP address is checked here, and a name when the client resolves it (`PublicOnly`). The
//! connection uses exactly the addresses that were checked. No cookie, key or referrer is sent.

use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, Url};
use tokio::time::timeout;

use super::address::is_private_literal;
use super::http::{is_redirect, network};
use super::main_text::main_text;
use super::outcome::{FailureKind, LinkFailure};
use super::redirect;

/// The longest time for one page, redirects included.
const LONGEST: Duration = Duration::from_secs(10);

/// The most bytes that are read of a page. The rest is left out.
const LARGEST: usize = 2 << 20;

/// The bytes of a page in which HTML names its encoding.
const HEAD: usize = 1024;

/// The types of pages that are read.
const HTML: [&str; 2] = ["text/html", "application/xhtml+xml"];
const PLAIN: &str = "text/plain";

/// Returns the main text of a page. The text is not cleaned yet.
pub(super) async fn read(client: &Client, url: Url) -> Result<String, LinkFailure> {
    match timeout(LONGEST, fetch(client, url)).await {
        Ok(page) => page?.text(),
        Err(_) => Err(LinkFailure::new(
            FailureKind::Timeout,
            format!("no answer within {LONGEST:?}"),
        )),
    }
}

/// Returns the reason why an address is not asked.
pub(super) fn refusal(url: &Url) -> Option<LinkFailure> {
    let reason = if !matches!(url.scheme(), "http" | "https") {
        "it is not an `http` or `https` address"
    } else if is_private_literal(url) {
        "it is not a public address"
    } else {
        return None;
    };
    Some(LinkFailure::new(FailureKind::Refused, reason))
}

/// The beginning of a page.
struct FetchedPage {
    is_html: bool,
    charset: Option<String>,
    bytes: Vec<u8>,
}

async fn fetch(client: &Client, mut url: Url) -> Result<FetchedPage, LinkFailure> {
    for _ in 0..=redirect::MOST {
        if let Some(refusal) = refusal(&url) {
            return Err(refusal);
        }
        let asked = client
            .get(url)
            .header(ACCEPT, "text/html,application/xhtml+xml,text/plain;q=0.9");
        let response = asked
            .send()
            .await
            .map_err(|error| network(error, "the page cannot be reached"))?;
        if !is_redirect(response.status()) {
            return FetchedPage::of(response).await;
        }
        url = target(&response)?;
    }
    let message = format!("more than {} redirects", redirect::MOST);
    Err(LinkFailure::new(FailureKind::Redirected, message))
}

fn target(response: &Response) -> Result<Url, LinkFailure> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| response.url().join(location).ok());
    let mut target = target
        .ok_or_else(|| LinkFailure::new(FailureKind::Redirected, "it redirects without naming an address"))?;
    // A redirect must not make this program log in anywhere.
    let is_plain = target.set_username("").is_ok() && target.set_password(None).is_ok();
    is_plain
        .then_some(target)
        .ok_or_else(|| LinkFailure::new(FailureKind::Redirected, "it is not an `http` or `https` address"))
}

impl FetchedPage {
    async fn of(mut response: Response) -> Result<Self, LinkFailure> {
        let status = response.status();
        if !status.is_success() {
            let message = format!("HTTP {}", status.as_u16());
            return Err(LinkFailure::new(FailureKind::Refused, message));
        }
        let (kind, charset) = content_type(&response);
        let is_html = HTML.contains(&kind.as_str());
        if !is_html && kind != PLAIN {
            let message = "it is neither HTML nor plain text";
            return Err(LinkFailure::new(FailureKind::Refused, message));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| network(error, "the connection ended within the page"))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= LARGEST {
                bytes.truncate(LARGEST);
                break;
            }
        }
        Ok(Self {
            is_html,
            charset,
            bytes,
        })
    }

    fn text(self) -> Result<String, LinkFailure> {
        let named = self.charset.or_else(|| charset_in(&self.bytes));
        let encoding = named.and_then(|name| Encoding::for_label(name.as_bytes()));
        let (text, _, _) = encoding.unwrap_or(UTF_8).decode(&self.bytes);
        if !self.is_html {
            return Ok(text.into_owned());
        }
        main_text(&text).ok_or_else(|| LinkFailure::new(FailureKind::Empty, "the page has no main text"))
    }
}

/// Returns the type and the encoding that the server names. A page without a type counts as HTML.
fn content_type(response: &Response) -> (String, Option<String>) {
    let header = response.headers().get(CONTENT_TYPE);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or(HTML[0]);
    let header = header.to_ascii_lowercase();
    let kind = header.split(';').next().unwrap_or_default().trim().to_owned();
    (kind, charset_in(header.as_bytes()))
}

/// Returns the name behind `charset=` at the beginning of a page or in a header.
fn charset_in(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    let (_, named) = head.split_once("charset=")?;
    let name: String = named
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{SocketAddr, TcpListener};

    use super::super::address::PublicOnly;
    use super::*;

    const LONG: &str =
        "燕麦奶在2026年3月的一次试用里，十二个人中有九个人愿意继续用，其余三个人觉得步骤太多。";

    /// Starts a server that answers each path with the bytes that `script` returns for it.
    fn serve(script: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                let head = lines.take_while(|line| !line.is_empty());
                let _ = head.count();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                // An error means that the client has disconnected.
                (&stream).write_all(&script(&path)).unwrap_or_default();
            }
        });
        address
    }

    fn page(kind: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    fn redirect(location: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    }

    fn builder() -> reqwest::ClientBuilder {
        drop(rustls::crypto::ring::default_provider().install_default());
        Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
    }

    /// A client for which `page.test` is the server of the test. All other names lead nowhere.
    fn client(server: SocketAddr) -> Client {
        let builder = builder().dns_resolver(PublicOnly).resolve("page.test", server);
        builder.build().unwrap()
    }

    async fn read_at(server: SocketAddr, path: &str) -> Result<String, LinkFailure> {
        let url = format!("http://page.test:{}{path}", server.port());
        read(&client(server), url.parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_page_is_read_in_its_own_encoding() {
        let server = serve(|path| {
            let html = format!("<nav>menu</nav><p>{LONG}</p>");
            let (gbk, ..) = encoding_rs::GBK.encode(&html);
            match path {
                "/utf8" => page("text/html", html.as_bytes()),
                "/header" => page("text/html; charset=GB2312", &gbk),
                "/meta" => page("text/html", &[b"<meta charset=\"gbk\">", &gbk[..]].concat()),
                "/plain" => page("text/plain; charset=utf-8", LONG.as_bytes()),
                _ => redirect("/utf8"),
            }
        });
        for path in ["/utf8", "/header", "/meta", "/plain", "/elsewhere"] {
            assert_eq!(read_at(server, path).await.unwrap().trim(), LONG, "{path}");
        }
    }

    #[tokio::test]
    async fn bad_pages_fail_with_their_cause() {
        let server = serve(|path| match path {
            "/404" => b"HTTP/1.1 404 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
            "/pdf" => page("application/pdf", b"%PDF"),
            "/links" => page("text/html", b"<a href=x>a link</a>"),
            "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n<p>".to_vec(),
            "/file" => redirect("file:///etc/passwd"),
            "/loop" => redirect("/loop"),
            path => redirect(path.trim_start_matches('/')),
        });
        for (path, kind, message) in [
            ("/404", FailureKind::Refused, "HTTP 404"),
            ("/pdf", FailureKind::Refused, "it is neither HTML nor plain text"),
            ("/links", FailureKind::Empty, "the page has no main text"),
            (
                "/cut",
                FailureKind::Network,
                "the connection ended within the page",
            ),
            (
                "/file",
                FailureKind::Redirected,
                "it is not an `http` or `https` address",
            ),
            ("/loop", FailureKind::Redirected, "more than 3 redirects"),
            (
                "/http://127.0.0.1/",
                FailureKind::Refused,
                "it is not a public address",
            ),
            (
                "/http://169.254.169.254/latest",
                FailureKind::Refused,
                "it is not a public address",
            ),
            (
                "/http://[::1]/",
                FailureKind::Refused,
                "it is not a public address",
            ),
            (
                "/http://0x7f.1/",
                FailureKind::Refused,
                "it is not a public address",
            ),
            (
                "/http://localhost/",
                FailureKind::Network,
                "the page cannot be reached",
            ),
        ] {
            let failure = read_at(server, path).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{path}: {failure:?}");
            assert!(failure.message.starts_with(message), "{path}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn a_huge_page_is_cut() {
        let server = serve(|_| page("text/plain", &vec![b'x'; 3 << 20]));
        assert_eq!(read_at(server, "/").await.unwrap().len(), LARGEST);
    }

    #[tokio::test]
    async fn a_private_page_is_not_asked() {
        let public = builder().dns_resolver(PublicOnly).build().unwrap();
        let server = serve(|_| page("text/plain", LONG.as_bytes()));
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "10.0.0.1"] {
            let url = format!("http://{host}:{}/", server.port());
            let failure = read(&public, url.parse().unwrap()).await.unwrap_err();
            assert!(failure.message.contains("public address"), "{host}: {failure:?}");
        }
    }
}
