//! The filter as it is built, but with little memory.

use std::fs;
use std::path::PathBuf;

use jwt_gate_tests::wasm;
use tempfile::TempDir;

/// The id of the section that declares the memory (WebAssembly core specification, §5.5.8).
const MEMORY_SECTION: u8 = 5;

/// A copy of the filter that may grow by `pages` of 64 KiB beyond what it starts with, and not more.
pub(crate) fn filter_with(pages: u64, directory: &TempDir) -> PathBuf {
    let module = fs::read(wasm()).expect("the filter");
    let (head, mut rest) = module.split_at(8);
    let mut limited = head.to_vec();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = number(after);
        let (content, after) = after.split_at(usize::try_from(length).expect("a section in memory"));
        let content = if *id == MEMORY_SECTION { limit(content, pages) } else { content.to_vec() };
        limited.push(*id);
        limited.extend(leb128(content.len() as u64));
        limited.extend(content);
        rest = after;
    }
    let path = directory.path().join("limited.wasm");
    fs::write(&path, limited).expect("the copy is written");
    path
}

/// A memory section with a maximum.
fn limit(section: &[u8], pages: u64) -> Vec<u8> {
    let (count, rest) = number(section);
    assert_eq!(count, 1, "one memory");
    let (_, rest) = number(rest);
    let (least, _) = number(rest);
    [vec![1, 1], leb128(least), leb128(least + pages)].concat()
}

fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a whole number") + 1;
    let (number, rest) = bytes.split_at(length);
    (number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)), rest)
}

fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
