//! Who is calling, as far as that can be known.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::app::SharedApp;
use crate::session::Client;

/// Whoever sent a request.
#[derive(Debug, Clone)]
pub struct Sender {
    /// What a session notes of them.
    pub client: Client,
}

impl Sender {
    /// The client, with a session that outlives the browser or not.
    pub fn remembered(self, remember: bool) -> Client {
        Client { remember, ..self.client }
    }
}

impl FromRequestParts<SharedApp> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(unknown_peer, |info| info.0);
        let address = address(&parts.headers, peer, app.trusted_hops);
        Ok(Self { client: describe(&parts.headers, address) })
    }
}

fn unknown_peer() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0)
}

/// The client's address: that of the connection, or with trusted proxies in front the one that the outermost
/// of them added to `X-Forwarded-For`. What the client itself wrote there is to the left of it and ignored.
fn address(headers: &HeaderMap, peer: SocketAddr, trusted_hops: u8) -> IpAddr {
    let Some(from_the_right) = usize::from(trusted_hops).checked_sub(1) else {
        return peer.ip().to_canonical();
    };
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    forwarded
        .iter()
        .rev()
        .nth(from_the_right)
        .and_then(|text| text.trim().parse::<IpAddr>().ok())
        .map_or_else(|| peer.ip().to_canonical(), |address| address.to_canonical())
}

/// What is noted of the client in its session.
fn describe(headers: &HeaderMap, address: IpAddr) -> Client {
    let user_agent =
        headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Client { ip_address: address, user_agent: user_agent.to_owned(), remember: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded: &[&'static str], hops: u8) -> String {
        let headers = forwarded
            .iter()
            .map(|value| ("x-forwarded-for".parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>();
        address(&headers, "10.0.0.1:5".parse().unwrap(), hops).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"], 0), "10.0.0.1");
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"], 1), "2.2.2.2");
        assert_eq!(seen(&["1.1.1.1", "2.2.2.2"], 1), "2.2.2.2");
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"], 2), "1.1.1.1");
        assert_eq!(seen(&["1.1.1.1"], 2), "10.0.0.1");
        assert_eq!(seen(&[], 1), "10.0.0.1");
        assert_eq!(seen(&["unknown"], 1), "10.0.0.1");
        assert_eq!(seen(&["::ffff:9.9.9.9"], 1), "9.9.9.9");
    }
}
