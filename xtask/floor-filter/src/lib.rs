//! A filter that makes the hostcalls that no wasm filter can do without that does what the gate does, and nothing
//! else: no SDK, no allocator, no policy, nothing checked. What it costs is what Envoy and its VM cost;
//! no such filter can be cheaper.
//!
//! Never to be used for anything but to be measured.

#[cfg(target_arch = "wasm32")]
mod filter {
    use std::ptr::null_mut;

    use hmac_sha256::Hash;

    const REQUEST_HEADERS: u32 = 0;
    const PLUGIN_CONFIGURATION: u32 = 7;
    const OK: u32 = 1;
    const CONTINUE: u32 = 0;
    const PAUSE: u32 = 1;

    /// As long as the identity that the others set.
    const IDENTITY: &[u8] = b"0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f";
    const HEADERS: [&[u8]; 5] =
        [b"x-user-id", b"x-user-email", b"x-user-name", b"x-token-id", b"x-token-issuer"];
    /// As long as a secret of the benchmark.
    const SECRET: &[u8] = b"bench-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst";

    /// What the configuration says: how many headers are set, and with what a token's HMAC is computed, if it is.
    static mut CLAIMS: usize = 1;
    static mut KEYED: Option<[Hash; 2]> = None;
    /// What the host writes, one thing at a time.
    static mut BUFFER: [u8; 64 * 1024] = [0; 64 * 1024];

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
        fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    #[unsafe(no_mangle)]
    extern "C" fn _initialize() {}

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(_: usize) -> *mut u8 {
        &raw mut BUFFER as *mut u8
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> u32 {
        OK
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(_: u32, _: u32) {}

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(_: u32, size: usize) -> u32 {
        // SAFETY: there is one thread, and the host writes `size` bytes to the buffer it was given.
        unsafe {
            let (mut data, mut written) = (null_mut(), 0);
            proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &raw mut data, &raw mut written);
            let configuration = std::slice::from_raw_parts(data, written);
            CLAIMS = if holds(configuration, b"claims") { HEADERS.len() } else { 1 };
            KEYED = holds(configuration, b"hmac").then(|| [keyed(0x36), keyed(0x5c)]);
        }
        OK
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(_: u32, _: u32, _: u32) -> u32 {
        let (mut data, mut size, mut time) = (null_mut(), 0, 0_u64);
        // SAFETY: there is one thread, and the host writes `size` bytes to the buffer it was given.
        unsafe {
            proxy_get_header_map_pairs(REQUEST_HEADERS, &raw mut data, &raw mut size);
            let map = std::slice::from_raw_parts(data, size);
            let (mut path, mut token) = (&[][..], None);
            for (name, value) in headers(map) {
                match name {
                    b":path" => path = value,
                    b"authorization" | b"cookie" => token = Some((name, value)),
                    _ => {}
                }
            }
            if path == b"/healthz" {
                return CONTINUE;
            }
            let Some((name, value)) = token else {
                return refuse();
            };
            if let Some([mut inner, mut outer]) = KEYED {
                let signed = value.get(b"Bearer ".len()..value.len().saturating_sub(44)).unwrap_or(value);
                inner.update(signed);
                outer.update(inner.finalize());
                std::hint::black_box(outer.finalize());
            }
            proxy_get_current_time_nanoseconds(&raw mut time);
            proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len());
            for header in HEADERS.iter().take(CLAIMS) {
                proxy_replace_header_map_value(
                    REQUEST_HEADERS,
                    header.as_ptr(),
                    header.len(),
                    IDENTITY.as_ptr(),
                    IDENTITY.len(),
                );
            }
        }
        CONTINUE
    }

    /// A hash of the secret's block (RFC 2104 §2), which no token changes.
    fn keyed(pad: u8) -> Hash {
        let mut block = [pad; 64];
        block.iter_mut().zip(SECRET).for_each(|(byte, key)| *byte ^= key);
        let mut hash = Hash::new();
        hash.update(block);
        hash
    }

    fn refuse() -> u32 {
        let (body, headers) = (b"{\"error\":\"missing_token\"}", [0_u8; 4]);
        // SAFETY: the host reads what it is told the length of.
        unsafe {
            proxy_send_local_response(
                401,
                null_mut(),
                0,
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                -1,
            );
        }
        PAUSE
    }

    /// Names and values of a map as the ABI writes it.
    fn headers(map: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let number = |place: usize| {
            map.get(place..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        };
        let count = number(0);
        let mut start = 4 + 8 * count;
        (0..count).map(move |index| {
            let mut part = |place| {
                let length = number(place);
                let part = map.get(start..start + length).unwrap_or_default();
                start += length + 1;
                part
            };
            (part(4 + 8 * index), part(8 + 8 * index))
        })
    }

    fn holds(text: &[u8], part: &[u8]) -> bool {
        text.windows(part.len()).any(|window| window == part)
    }
}
