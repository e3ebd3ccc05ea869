//! Host names that mean the same.

/// The ports that clients leave out (RFC 9110 §4.2.1, §4.2.2).
const DEFAULT_PORTS: [&str; 2] = ["80", "443"];

/// `authority` in lower case, without a default port and without a final dot: `Example.com.:443` is `example.com`.
pub(crate) fn normalized(authority: &str) -> String {
    let (host, port) = split(authority);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match port.filter(|port| !port.is_empty() && !DEFAULT_PORTS.contains(port)) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// The interpretations of a request's authority: normalized, and without any port where one is left, because routers
/// of backends (Django, Starlette) compare hosts without it.
pub(crate) fn interpretations(authority: &str) -> Vec<String> {
    let normalized = normalized(authority);
    let (host, port) = split(&normalized);
    match port {
        Some(_) => vec![normalized.clone(), host.strip_suffix('.').unwrap_or(host).to_owned()],
        None => vec![normalized],
    }
}

/// Host and port. The colons of an IPv6 address stand between brackets (RFC 3986 §3.2.2).
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_default_port_and_final_dot_do_not_matter() {
        for authority in
            ["admin.test", "ADMIN.test", "admin.test:443", "Admin.Test.:80", "admin.test.", "admin.test:"]
        {
            assert_eq!(normalized(authority), "admin.test", "{authority}");
        }
        assert_eq!(normalized("admin.test:8443"), "admin.test:8443");
        assert_eq!(normalized("[::1]:443"), "[::1]");
        assert_eq!(normalized("[::1]"), "[::1]");
        assert_eq!(normalized(""), "");
    }

    #[test]
    fn any_other_port_is_also_left_out() {
        assert_eq!(interpretations("Admin.test.:8443"), ["admin.test:8443", "admin.test"]);
        assert_eq!(interpretations("[::1]:8443"), ["[::1]:8443", "[::1]"]);
        assert_eq!(interpretations("admin.test"), ["admin.test"]);
    }
}
