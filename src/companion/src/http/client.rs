//! The client of a request: its address and its user agent.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::app::SharedApp;
use crate::session::Client;

impl FromRequestParts<SharedApp> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(unknown_peer, |info| info.0);
        warn_of_https_without_public_url(&parts.headers, app);
        let address = address(&parts.headers, peer, app.trusted_hops);
        Ok(describe(&parts.headers, address))
    }
}

/// Behind a proxy that terminates TLS, without `--public-url`, the companion assumes http: its cookie is not Secure.
fn warn_of_https_without_public_url(headers: &HeaderMap, app: &SharedApp) {
    let https =
        headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
    if https && !app.origins.has_public() {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "people come by https (X-Forwarded-Proto), but --public-url is not set: the session cookie is not Secure and has \
                 no __Host- prefix; set --public-url to the address in their browsers"
            );
        });
    }
}

fn unknown_peer() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0)
}

/// The client's address: that of the connection, or with trusted proxies in front the one that the outermost
/// of them added to `X-Forwarded-For`. What the client itself wrote there is to the left of it and ignored.
fn address(headers: &HeaderMap, peer: SocketAddr, trusted_hops: u8) -> IpAddr {
    let peer = peer.ip().to_canonical();
    let Some(from_the_right) = usize::from(trusted_hops).checked_sub(1) else { return peer };
    let forwarded: Vec<&[u8]> = headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .collect();
    let Some(text) = forwarded.iter().rev().nth(from_the_right) else { return peer };
    read_address(text).unwrap_or_else(|| {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "X-Forwarded-For holds no address where the trusted proxy should have written one; \
                 clients are throttled together, by the proxy's address"
            );
        });
        peer
    })
}

/// An address as proxies write it: alone, in brackets, with a port, in quotes, with a zone.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_matches('"');
    let alone = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        let port_is_fine = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        let (address, _zone) = address.split_once('%').unwrap_or((address, ""));
        address.parse::<Ipv6Addr>().ok().filter(|_| port_is_fine).map(IpAddr::from)
    };
    let with_zone = || text.split_once('%')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    alone().or_else(with_port).or_else(in_brackets).or_else(with_zone).map(|address| address.to_canonical())
}

/// The client, as its session remembers it.
fn describe(headers: &HeaderMap, address: IpAddr) -> Client {
    let user_agent = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .unwrap_or_default();
    Client { ip_address: address, user_agent: user_agent.into_owned(), remember: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn seen(forwarded: &[&[u8]], hops: u8) -> String {
        let headers = forwarded
            .iter()
            .map(|value| ("x-forwarded-for".parse().unwrap(), HeaderValue::from_bytes(value).unwrap()))
            .collect::<HeaderMap>();
        address(&headers, "10.0.0.1:5".parse().unwrap(), hops).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        assert_eq!(seen(&[b"1.1.1.1, 2.2.2.2"], 0), "10.0.0.1");
        assert_eq!(seen(&[b"1.1.1.1, 2.2.2.2"], 1), "2.2.2.2");
        assert_eq!(seen(&[b"1.1.1.1", b"2.2.2.2"], 1), "2.2.2.2");
        assert_eq!(seen(&[b"1.1.1.1, 2.2.2.2"], 2), "1.1.1.1");
        assert_eq!(seen(&[b"1.1.1.1"], 2), "10.0.0.1");
        assert_eq!(seen(&[], 1), "10.0.0.1");
        assert_eq!(seen(&[b"unknown"], 1), "10.0.0.1");
        assert_eq!(seen(&[b"::ffff:9.9.9.9"], 1), "9.9.9.9");
    }
    #[test]
    fn an_address_is_read_in_each_way_that_proxies_write_it() {
        for (text, read) in [
            (&b"203.0.113.7:51234"[..], "203.0.113.7"),
            (b"2001:db8::1", "2001:db8::1"),
            (b"[2001:db8::1]", "2001:db8::1"),
            (b"[2001:db8::1]:51234", "2001:db8::1"),
            (b"\"[2001:db8::1]:51234\"", "2001:db8::1"),
            (b"[fe80::1%eth0]:80", "fe80::1"),
            (b"fe80::1%eth0", "fe80::1"),
            (b"[::ffff:9.9.9.9]:1", "9.9.9.9"),
            (b"\xff, 203.0.113.7", "203.0.113.7"),
            (b"M\xc3\xbcnchen,203.0.113.7:1", "203.0.113.7"),
        ] {
            assert_eq!(seen(&[text], 1), read, "{text:?}");
        }
        for unreadable in [&b"\xff"[..], b"", b"[::1", b"[::1]x", b"[::1]:x", b"1.2.3.4:x", b"[1.2.3.4]"] {
            assert_eq!(seen(&[unreadable], 1), "10.0.0.1", "{unreadable:?}");
        }
    }
}
