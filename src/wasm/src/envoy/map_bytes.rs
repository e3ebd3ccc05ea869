//! A header map in one hostcall, as the bytes that the host wrote.
//!
//! This is the only `unsafe` of the filter. The SDK's `get_map_bytes` copies each name and each value into memory of its own,
//! twice as many allocations as there are headers, on every request. With it, a request with six headers and a token
//! that was seen before took 2.4 µs in the VM; read where the host put them, 1.5 µs
//! (`tests/revocation/measure/vm.mjs`, its first list, both modules in turn).

#![expect(unsafe_code, reason = "the SDK hands out copies only; the need was measured, see above")]

use proxy_wasm::types::{MapType, Status};

// The module is named, because a linker that is not told of an import takes it for a symbol that is missing.
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    // Its result is a `Status`, but one that the SDK does not know must not become an invalid enum.
    fn proxy_get_header_map_pairs(map_type: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

/// The map's bytes, for [`crate::header_map::HeaderMap::parse`]; `None` if the host has no such map.
pub(super) fn get(map_type: MapType) -> Option<Vec<u8>> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    // SAFETY: the host writes one pointer and one length, for which both arguments have room.
    let status = unsafe { proxy_get_header_map_pairs(map_type as u32, &raw mut data, &raw mut size) };
    if status != Status::Ok as u32 {
        return None;
    }
    if data.is_null() || size == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the host got `data` from the SDK's `proxy_on_memory_allocate`, which gives away a boxed slice of
    // `size` bytes, all of which the host then wrote. It is ours, and nobody else's, from here on.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}
