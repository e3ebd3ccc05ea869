//! A header map as the bytes that the host wrote.

/// A header map, with its headers in order. Nothing says that they are UTF-8.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderMap {
    /// As [`HeaderMap::parse`] describes them.
    bytes: Vec<u8>,
}

impl HeaderMap {
    /// A map as the proxy-wasm ABI hands it over
    /// (<https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1#serialization>): the number of headers, the length of
    /// each name and value, then each name and value with a NUL behind it. Numbers have 32 bits, the lowest first. `None` if the
    /// bytes are anything else.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        if !bytes.is_empty() {
            let mut headers = Headers::of(&bytes)?;
            // If one of them were cut short, those after it would be overlooked.
            while headers.lengths.len() > 0 {
                headers.next()?;
            }
            if !headers.rest.is_empty() {
                return None;
            }
        }
        Some(Self { bytes })
    }

    /// Each header's name and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Headers::of(&self.bytes).unwrap_or(Headers { lengths: [].iter(), rest: &[] })
    }
}

/// The headers that are left of a map.
struct Headers<'map> {
    /// For each header, the length of its name and of its value.
    lengths: std::slice::Iter<'map, [u8; 8]>,
    /// The names and values themselves.
    rest: &'map [u8],
}

impl<'map> Headers<'map> {
    fn of(map: &'map [u8]) -> Option<Self> {
        let (count, rest) = map.split_first_chunk()?;
        let (lengths, rest) = rest.split_at_checked(size(*count)?.checked_mul(8)?)?;
        Some(Self { lengths: lengths.as_chunks().0.iter(), rest })
    }

    /// The next name or value, with a NUL behind it.
    fn part(&mut self, length: usize) -> Option<&'map [u8]> {
        let (part, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.split_first()?.1;
        Some(part)
    }
}

impl<'map> Iterator for Headers<'map> {
    type Item = (&'map [u8], &'map [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, e, f, g, h] = *self.lengths.next()?;
        Some((self.part(size([a, b, c, d])?)?, self.part(size([e, f, g, h])?)?))
    }
}

fn size(number: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_arrive_as_the_abi_writes_them() {
        let map = |lengths: &[u32], text: &[u8]| {
            let count = u32::try_from(lengths.len() / 2).unwrap().to_le_bytes();
            let lengths = lengths.iter().flat_map(|length| length.to_le_bytes());
            HeaderMap::parse(count.into_iter().chain(lengths).chain(text.iter().copied()).collect())
        };
        let headers = map(&[1, 2, 3, 0, 1, 1], b"a\0x\xff\0b-c\0\0A\0z\0").unwrap();
        let expected = [(&b"a"[..], &b"x\xff"[..]), (b"b-c", b""), (b"A", b"z")];
        assert_eq!(headers.iter().collect::<Vec<_>>(), expected);
        assert_eq!(HeaderMap::parse(Vec::new()).unwrap().iter().count(), 0);
        for (lengths, text) in
            [(&[1, 1][..], &b"a\0b"[..]), (&[1, 9], b"a\0b\0"), (&[u32::MAX; 2], b"a\0b\0")]
        {
            assert!(map(lengths, text).is_none());
        }
        assert!(HeaderMap::parse(vec![0xff; 4]).is_none() && HeaderMap::parse(vec![1]).is_none());
    }
}
