//! Reads the pages of results, so that an item has the text of its page instead of a snippet.
//!
//! A page is read by this program (`http`) or by a reader: a provider file that is asked with the address of a page.
//! Pages are read side by side. A page that fails leaves its item as it was, and never fails the search.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Url;
use tokio::time::Instant;

use super::http::ProviderClients;
use super::item::SearchItem;
use super::link::Link;
use super::outcome::{FailureKind, LinkFailure};
use super::page_http;
use super::query::Query;
use crate::config::SearchSettings;
use crate::domain::usage::Cost;

/// One page that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRead {
    /// The id of its item.
    pub item: String,
    /// The failure, or `None` if the item has the text of the page now.
    pub failure: Option<LinkFailure>,
    /// The cost of its requests, including those that may have been charged.
    pub cost: Cost,
    /// The time that the page took, waits included.
    pub elapsed: Duration,
}

/// The way to the text of a page.
#[derive(Debug)]
pub(super) enum PageReader {
    /// This program asks the page itself.
    Http,
    /// A provider reads the page.
    Service(Box<Link>),
}

impl PageReader {
    /// Reads the pages of the first `count` items that have an address. An item gets the text of its page if it is longer
    /// than the text of the item.
    pub(super) async fn read_all(
        &self,
        http: &ProviderClients,
        settings: &SearchSettings,
        items: &mut [SearchItem],
        count: usize,
    ) -> Vec<PageRead> {
        let with_address = items.iter_mut().filter(|item| item.url.is_some()).take(count);
        join_all(with_address.map(|item| self.read_into(http, settings, item))).await
    }

    async fn read_into(
        &self,
        http: &ProviderClients,
        settings: &SearchSettings,
        item: &mut SearchItem,
    ) -> PageRead {
        let began = Instant::now();
        let (page, cost) = self
            .read(http, settings, item.url.as_deref().unwrap_or_default())
            .await;
        let failure = page.and_then(|text| {
            let shorter =
                || LinkFailure::new(FailureKind::Empty, "the page has no more text than the result");
            item.extend_to(&text).then_some(()).ok_or_else(shorter)
        });
        PageRead {
            item: item.id.clone(),
            failure: failure.err(),
            cost,
            elapsed: began.elapsed(),
        }
    }

    /// Returns the text of a page, and the cost. No reader gets an IP address that is not public. A host name is checked
    /// by the reader that resolves it.
    async fn read(
        &self,
        http: &ProviderClients,
        settings: &SearchSettings,
        address: &str,
    ) -> (Result<String, LinkFailure>, Cost) {
        let Ok(url) = address.parse::<Url>() else {
            let failure = LinkFailure::new(FailureKind::Refused, "it is not an address");
            return (Err(failure), Cost::ZERO);
        };
        if let Some(refusal) = page_http::refusal(&url) {
            return (Err(refusal), Cost::ZERO);
        }
        match self {
            Self::Http => {
                let page = async { page_http::read(http.public()?, url).await };
                (page.await, Cost::ZERO)
            }
            Self::Service(link) => {
                let (attempt, items) = link.ask(http, &Query::address(&url), settings).await;
                let text = items.and_then(|items| items.into_iter().next());
                let failure = || LinkFailure::new(FailureKind::Empty, "the page has no main text");
                let text = text.map(|item| item.text).ok_or_else(failure);
                (attempt.failure.map_or(text, Err), attempt.cost)
            }
        }
    }

    /// Returns the highest possible cost of one request.
    pub(super) fn worst(&self) -> Cost {
        match self {
            Self::Http => Cost::ZERO,
            Self::Service(link) => link.worst(),
        }
    }

    /// Returns the warning about a reader that refuses its key. Returns it once.
    pub(super) fn take_warning(&self) -> Option<String> {
        match self {
            Self::Http => None,
            Self::Service(link) => link.take_warning(),
        }
    }
}
