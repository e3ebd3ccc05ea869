//! Where a person is sent back to after signing in: a path of our own site, and nothing else.

/// Whether a browser that is sent to `path` stays on the site that sent it.
///
/// A browser takes `//host` and `/\host` for another host, drops tabs and line breaks wherever they are
/// (WHATWG URL §4.4), and a header value cannot hold control characters anyway.
pub fn is_safe(path: &str) -> bool {
    path.len() <= 2048
        && path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.chars().all(|character| character.is_ascii_graphic())
}

/// `path` where it is safe, else the site's front page.
pub fn or_front_page(path: Option<&str>) -> &str {
    path.filter(|path| is_safe(path)).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_our_own_site_are_safe() {
        for path in ["/", "/a/b?c=d&e=%2F#f", "/a//b", "/@evil.example", "/:8080"] {
            assert!(is_safe(path), "{path}");
        }
        for path in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            " /a",
            "/a b",
            "/é",
            "/a\r\nx: y",
        ] {
            assert!(!is_safe(path), "{path:?}");
            assert_eq!(or_front_page(Some(path)), "/");
        }
        let base = url::Url::parse("https://app.example/sign-in").unwrap();
        for path in ["/@evil.example", "/:8080", "/a//b", "/..//evil.example", "/.//evil.example"] {
            assert_eq!(base.join(path).unwrap().host_str(), Some("app.example"), "{path}");
        }
    }
}
