//! The interpretations of one request.
//!
//! A proxy and a backend may read the same bytes differently: `POST` and `post`, `/admin` and `/%61dmin`, `a.test` and
//! `a.test:8443`, the first and the last of two equal headers. An [`Interpretation`] is one choice for each of them. Rules
//! are matched against interpretations, never against the request itself.

use std::borrow::Cow;

use crate::host_name as host;
use crate::path::{PathAndQuery, lossy_text};
use crate::request::Request;

/// The most interpretations of one request. A request with more of them is refused.
pub(super) const MAX_INTERPRETATIONS: usize = 256;

/// What rules inspect beside the path and the method.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// Whether a rule inspects `:authority`.
    pub(super) host: bool,
    /// The other headers that rules inspect, each once, in lower case.
    pub(super) headers: Vec<String>,
}

/// One way to read a request.
#[derive(Debug, Clone)]
pub(crate) struct Interpretation<'request> {
    request: &'request Request<'request>,
    /// The path, without its query.
    pub(crate) path: Cow<'request, str>,
    pub(crate) method: Cow<'request, str>,
    authority: Option<Cow<'request, str>>,
    /// The headers of which one value of several was chosen.
    chosen: Vec<(&'request str, &'request [u8])>,
}

impl<'request> Interpretation<'request> {
    /// The request as it is written, its host normalized.
    pub(super) fn written(request: &'request Request<'request>, inspected: &Inspected) -> Self {
        let authority = if inspected.host { request.first(":authority") } else { None };
        Self {
            request,
            path: lossy_text(PathAndQuery::new(request.target()).path),
            method: String::from_utf8_lossy(request.method()),
            authority: authority
                .map(|authority| host::normalized(&String::from_utf8_lossy(authority)).into()),
            chosen: Vec::new(),
        }
    }

    /// Whether nothing but the path can be interpreted in another way.
    pub(super) fn is_the_only_one(&self, inspected: &Inspected) -> bool {
        let single_host = || {
            let authority = self.request.first(":authority").unwrap_or_default();
            host::interpretations(&String::from_utf8_lossy(authority)).len() == 1
        };
        other_methods(&self.method).is_empty()
            && (!inspected.host || single_host())
            && inspected.headers.iter().all(|name| self.request.values(name).nth(1).is_none())
    }

    /// Its other interpretations, those of the path aside, `self` first. `None` where they are too many.
    pub(super) fn others(&self, inspected: &'request Inspected) -> Option<Vec<Self>> {
        let mut all = vec![self.clone()];
        for method in other_methods(&self.method) {
            all.push(Self { method: method.into(), ..self.clone() });
        }
        if inspected.host
            && let Some(authority) = self.request.first(":authority")
        {
            let hosts = host::interpretations(&String::from_utf8_lossy(authority));
            let more = hosts.into_iter().skip(1).flat_map(|host| {
                let with = |one: &Self| Self { authority: Some(host.clone().into()), ..one.clone() };
                all.iter().map(with).collect::<Vec<_>>()
            });
            let more: Vec<_> = more.collect();
            all.extend(more);
        }
        for name in &inspected.headers {
            let values: Vec<&[u8]> = self.request.values(name).collect();
            if values.len() < 2 {
                continue;
            }
            if all.len().checked_mul(values.len())? > MAX_INTERPRETATIONS {
                return None;
            }
            let mut more = Vec::new();
            for value in values {
                more.extend(all.iter().map(|one| {
                    let mut one = one.clone();
                    one.chosen.push((name, value));
                    one
                }));
            }
            all.append(&mut more);
        }
        Some(all)
    }

    /// The same with another path.
    pub(super) fn with_path(&self, path: &[u8]) -> Self {
        Self { path: Cow::Owned(lossy_text(path).into_owned()), ..self.clone() }
    }

    /// The host, where a rule inspects it.
    pub(crate) fn host(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The chosen value of each header that is repeated, and that a rule inspects.
    pub(crate) fn chosen_headers(&self) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        self.chosen.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
    }

    /// The value of the header `name` (in lower case); several are one, joined with commas (RFC 9110 §5.3).
    pub(super) fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            ":authority" => return self.authority.as_deref().map(|host| Cow::Borrowed(host.as_bytes())),
            ":method" => return Some(Cow::Borrowed(self.method.as_bytes())),
            ":path" => {
                let query = PathAndQuery::new(self.request.target()).query;
                let target =
                    [self.path.as_bytes(), query.map_or(&b""[..], |_| b"?"), query.unwrap_or_default()];
                return Some(Cow::Owned(target.concat()));
            }
            _ => {}
        }
        if let Some((_, value)) = self.chosen.iter().find(|(chosen, _)| *chosen == name) {
            return Some(Cow::Borrowed(value));
        }
        let mut values = self.request.values(name);
        let first = values.next()?;
        Some(values.fold(Cow::Borrowed(first), |joined, value| Cow::Owned([&*joined, b",", value].concat())))
    }
}

/// Whether a method is read alike by everybody: methods are case-sensitive (RFC 9110 §9.1), and all that are registered are
/// in capitals, but Django, for one, takes `post` for `POST`.
pub(crate) fn is_canonical_method(method: &[u8]) -> bool {
    method.iter().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_lowercase())
}

/// `HEAD` runs the handler of `GET` (RFC 9110 §9.3.2); a method in other letters may run that of the same one in capitals.
fn other_methods(method: &str) -> Vec<String> {
    let upper = method.to_ascii_uppercase();
    let mut others = Vec::new();
    if upper != method {
        others.push(upper.clone());
    }
    if upper == "HEAD" {
        others.push("GET".to_owned());
    }
    others
}
