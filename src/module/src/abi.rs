//! Envoy's dynamic-module ABI: the few functions of it that the gate calls, and the hooks that Envoy calls.
//!
//! Names, parameters and numbers are those of `source/extensions/dynamic_modules/abi/abi.h` in Envoy 1.38 to 1.40. Each function
//! is looked up by its name when Envoy loads the module, so that an Envoy without it gets a clear line and not a linker's error.
//!
//! This is the only file with `unsafe`. What it relies on:
//! - Envoy calls the hooks with pointers that are valid until the hook returns, and with the module's own pointers, as it got them.
//! - Header names and values stay where they are until the hook returns or a header changes. The types say so: headers borrow
//!   the stream, and a change needs it exclusively.
//! - A configuration is made, scheduled and destroyed on Envoy's main thread; a stream lives on one worker thread.

#![expect(unsafe_code, reason = "foreign functions; the module's documentation says what they rely on")]

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use jwt_gate::{PollRequest, Severity};

use crate::config::Config;
use crate::filter::{Filter, Next};

/// Bytes of Envoy's or of ours.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    bytes: *const u8,
    length: usize,
}

/// A header of Envoy's or of ours.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    name: *const u8,
    name_length: usize,
    value: *const u8,
    value_length: usize,
}

/// A pointer that Envoy gave us, for Envoy alone to follow.
type Foreign = *mut c_void;

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum RequestMap {
    Headers = 0,
    Trailers = 1,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl From<Severity> for LogLevel {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warn,
            Severity::Error => Self::Error,
        }
    }
}

/// The result of a function that can fail in several ways: it did not.
const SUCCESS: u32 = 0;

/// `StopIteration` of request headers and trailers.
const STOP: u32 = 1;

/// `StopIterationNoBuffer` of a request's body.
const STOP_BODY: u32 = 3;

/// `Continue` of every hook.
const CONTINUE: u32 = 0;

macro_rules! api {
    ($($(#[$optional:ident])? $field:ident: $name:literal = fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Envoy's functions.
        struct Api {
            $($field: api!(@type $($optional)? [unsafe extern "C" fn($($argument),*) $(-> $result)?]),)*
        }

        impl Api {
            /// Looks up all functions.
            ///
            /// # Errors
            /// The name of one that this Envoy does not have.
            fn load() -> Result<Self, &'static str> {
                Ok(Self {
                    $($field: {
                        const NAME: &CStr = $name;
                        // SAFETY: Envoy's function of this name has this type.
                        let function = look_up(NAME).map(|function| unsafe {
                            std::mem::transmute::<Foreign, unsafe extern "C" fn($($argument),*) $(-> $result)?>(function)
                        });
                        api!(@value $($optional)? function, NAME)
                    },)*
                })
            }
        }
    };
    (@type optional [$function:ty]) => { Option<$function> };
    (@type [$function:ty]) => { $function };
    (@value optional $function:ident, $name:ident) => { $function };
    (@value $function:ident, $name:ident) => { $function.ok_or_else(|| $name.to_str().unwrap_or_default())? };
}

api! {
    log: c"envoy_dynamic_module_callback_log" = fn(u32, Buffer);
    headers_size: c"envoy_dynamic_module_callback_http_get_headers_size" = fn(Foreign, u32) -> usize;
    headers: c"envoy_dynamic_module_callback_http_get_headers" = fn(Foreign, u32, *mut Header) -> bool;
    set_header: c"envoy_dynamic_module_callback_http_set_header" = fn(Foreign, u32, Buffer, Buffer) -> bool;
    send_response: c"envoy_dynamic_module_callback_http_send_response"
        = fn(Foreign, u32, *mut Header, usize, Buffer, Buffer);
    set_filter_state: c"envoy_dynamic_module_callback_http_set_filter_state_bytes" = fn(Foreign, Buffer, Buffer) -> bool;
    clear_route_cache: c"envoy_dynamic_module_callback_http_clear_route_cache" = fn(Foreign);
    define_counter: c"envoy_dynamic_module_callback_http_filter_config_define_counter"
        = fn(Foreign, Buffer, *mut Buffer, usize, *mut usize) -> u32;
    define_gauge: c"envoy_dynamic_module_callback_http_filter_config_define_gauge"
        = fn(Foreign, Buffer, *mut Buffer, usize, *mut usize) -> u32;
    increment_counter: c"envoy_dynamic_module_callback_http_filter_increment_counter"
        = fn(Foreign, usize, *mut Buffer, usize, u64) -> u32;
    set_gauge: c"envoy_dynamic_module_callback_http_filter_set_gauge"
        = fn(Foreign, usize, *mut Buffer, usize, u64) -> u32;
    // Since 1.39.
    #[optional]
    config_increment_counter: c"envoy_dynamic_module_callback_http_filter_config_increment_counter"
        = fn(Foreign, usize, *mut Buffer, usize, u64) -> u32;
    #[optional]
    config_set_gauge: c"envoy_dynamic_module_callback_http_filter_config_set_gauge"
        = fn(Foreign, usize, *mut Buffer, usize, u64) -> u32;
    scheduler_new: c"envoy_dynamic_module_callback_http_filter_config_scheduler_new" = fn(Foreign) -> Foreign;
    scheduler_commit: c"envoy_dynamic_module_callback_http_filter_config_scheduler_commit" = fn(Foreign, u64);
    scheduler_delete: c"envoy_dynamic_module_callback_http_filter_config_scheduler_delete" = fn(Foreign);
    http_callout: c"envoy_dynamic_module_callback_http_filter_config_http_callout"
        = fn(Foreign, *mut u64, Buffer, *mut Header, usize, Buffer, u64) -> u32;
}

unsafe extern "C" {
    fn dlsym(handle: Foreign, name: *const c_char) -> Foreign;
}

/// The function of this name in the process.
fn look_up(name: &CStr) -> Option<Foreign> {
    // SAFETY: the name ends with a NUL; a null handle stands for the whole process (`RTLD_DEFAULT`).
    let function = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!function.is_null()).then_some(function)
}

static API: OnceLock<Result<Api, &'static str>> = OnceLock::new();

/// Envoy's functions; `None` if it is too old, and then it got no hook to call.
fn api() -> Option<&'static Api> {
    API.get_or_init(Api::load).as_ref().ok()
}

// === impl Buffer ===

impl Buffer {
    const ABSENT: Self = Self { bytes: std::ptr::null(), length: 0 };

    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes. Whoever calls it says how long they stay.
    unsafe fn bytes<'hook>(self) -> &'hook [u8] {
        // SAFETY: passed on to the caller.
        unsafe { slice(self.bytes, self.length) }
    }
}

impl Header {
    fn of(name: &str, value: &str) -> Self {
        Self {
            name: name.as_ptr(),
            name_length: name.len(),
            value: value.as_ptr(),
            value_length: value.len(),
        }
    }
}

/// A slice of so many items, which may be at no address if there are none.
unsafe fn slice<'hook, T>(items: *const T, length: usize) -> &'hook [T] {
    if items.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller says that so many items are there, and how long they stay.
    unsafe { std::slice::from_raw_parts(items, length) }
}

/// Writes a line into Envoy's log.
pub(crate) fn log(level: LogLevel, line: &str) {
    if let Some(api) = api() {
        // SAFETY: Envoy copies the line.
        unsafe { (api.log)(level as u32, Buffer::of(line.as_bytes())) };
    }
}

// === impl Stream ===

/// A request, while Envoy is in one of its hooks.
pub(crate) struct Stream<'hook> {
    envoy: Foreign,
    hook: PhantomData<&'hook ()>,
}

impl Stream<'_> {
    /// Its headers or trailers, names and values; `None` if Envoy does not hand them over.
    pub(crate) fn headers(&self, map: RequestMap) -> Option<Vec<(&[u8], &[u8])>> {
        let api = api()?;
        // SAFETY: Envoy's stream is valid in a hook.
        let count = unsafe { (api.headers_size)(self.envoy, map as u32) };
        let mut headers: Vec<Header> = Vec::with_capacity(count);
        // SAFETY: Envoy writes as many headers as it said a moment ago; this thread alone can change them.
        if count > 0 && !unsafe { (api.headers)(self.envoy, map as u32, headers.as_mut_ptr()) } {
            return None;
        }
        // SAFETY: so many were written.
        unsafe { headers.set_len(count) };
        let pair = |header: &Header| {
            // SAFETY: the bytes stay where they are until a header changes, which needs `&mut self`.
            unsafe { (slice(header.name, header.name_length), slice(header.value, header.value_length)) }
        };
        Some(headers.iter().map(pair).collect())
    }

    /// Makes `value` the only value of a header or trailer; `None` removes it. Whether Envoy did it.
    pub(crate) fn set(&mut self, map: RequestMap, name: &[u8], value: Option<&[u8]>) -> bool {
        // Only a null pointer removes a header; no bytes at an address may set an empty one.
        let value = value.map_or(Buffer::ABSENT, Buffer::of);
        // SAFETY: Envoy copies both.
        api().is_some_and(|api| unsafe { (api.set_header)(self.envoy, map as u32, Buffer::of(name), value) })
    }

    /// Answers in place of the backend. `details` is `%RESPONSE_CODE_DETAILS%` in access logs.
    pub(crate) fn reply(&mut self, status: u32, headers: &[(&str, &str)], body: &[u8], details: &str) {
        let mut headers: Vec<Header> = headers.iter().map(|(name, value)| Header::of(name, value)).collect();
        let Some(api) = api() else { return };
        let (body, details) = (Buffer::of(body), Buffer::of(details.as_bytes()));
        // SAFETY: Envoy copies all of it.
        unsafe {
            (api.send_response)(self.envoy, status, headers.as_mut_ptr(), headers.len(), body, details);
        }
    }

    /// Puts `value` into the filter state. Only logs depend on it.
    pub(crate) fn set_filter_state(&mut self, key: &str, value: &[u8]) {
        if let Some(api) = api() {
            // SAFETY: Envoy copies both.
            unsafe { (api.set_filter_state)(self.envoy, Buffer::of(key.as_bytes()), Buffer::of(value)) };
        }
    }

    /// Lets Envoy choose the route anew.
    pub(crate) fn clear_route_cache(&mut self) {
        if let Some(api) = api() {
            // SAFETY: Envoy's stream is valid in a hook.
            unsafe { (api.clear_route_cache)(self.envoy) };
        }
    }

    /// Adds to a counter of the configuration.
    pub(crate) fn increment(&mut self, counter: usize, amount: u64) {
        if let Some(api) = api() {
            // SAFETY: Envoy's stream is valid in a hook; there are no labels.
            unsafe { (api.increment_counter)(self.envoy, counter, std::ptr::null_mut(), 0, amount) };
        }
    }

    /// Sets a gauge of the configuration.
    pub(crate) fn record(&mut self, gauge: usize, value: u64) {
        if let Some(api) = api() {
            // SAFETY: Envoy's stream is valid in a hook; there are no labels.
            unsafe { (api.set_gauge)(self.envoy, gauge, std::ptr::null_mut(), 0, value) };
        }
    }
}

// === impl EnvoyConfig ===

/// A configuration of Envoy's. It lives until the hook that destroys ours has returned.
pub(crate) struct EnvoyConfig(Foreign);

// SAFETY: it is made, used and destroyed on Envoy's main thread alone; other threads only hold it.
unsafe impl Send for EnvoyConfig {}
// SAFETY: as above.
unsafe impl Sync for EnvoyConfig {}

/// Whether a metric can change outside of a request.
pub(crate) fn config_metrics() -> bool {
    api().is_some_and(|api| api.config_set_gauge.is_some() && api.config_increment_counter.is_some())
}

impl EnvoyConfig {
    /// Defines a counter; its number.
    pub(crate) fn define_counter(&self, name: &str) -> Option<usize> {
        let mut id = 0;
        // SAFETY: Envoy copies the name and writes the number.
        let result = unsafe {
            (api()?.define_counter)(self.0, Buffer::of(name.as_bytes()), std::ptr::null_mut(), 0, &raw mut id)
        };
        (result == SUCCESS).then_some(id)
    }

    /// Defines a gauge; its number.
    pub(crate) fn define_gauge(&self, name: &str) -> Option<usize> {
        let mut id = 0;
        // SAFETY: Envoy copies the name and writes the number.
        let result = unsafe {
            (api()?.define_gauge)(self.0, Buffer::of(name.as_bytes()), std::ptr::null_mut(), 0, &raw mut id)
        };
        (result == SUCCESS).then_some(id)
    }

    /// Adds to a counter. On the main thread, if [`config_metrics`].
    pub(crate) fn increment(&self, counter: usize, amount: u64) {
        if let Some(increment) = api().and_then(|api| api.config_increment_counter) {
            // SAFETY: on the main thread, where the configuration is valid; there are no labels.
            unsafe { increment(self.0, counter, std::ptr::null_mut(), 0, amount) };
        }
    }

    /// Sets a gauge. On the main thread, if [`config_metrics`].
    pub(crate) fn record(&self, gauge: usize, value: u64) {
        if let Some(set) = api().and_then(|api| api.config_set_gauge) {
            // SAFETY: on the main thread, where the configuration is valid; there are no labels.
            unsafe { set(self.0, gauge, std::ptr::null_mut(), 0, value) };
        }
    }

    /// Starts a call for revocations on the main thread; whether it could.
    pub(crate) fn call(&self, request: &PollRequest) -> bool {
        let Some(api) = api() else { return false };
        let mut headers: Vec<Header> =
            request.headers.iter().map(|(name, value)| Header::of(name, value)).collect();
        let mut call = 0;
        // SAFETY: on the main thread, where the configuration is valid; Envoy copies the rest.
        let result = unsafe {
            (api.http_callout)(
                self.0,
                &raw mut call,
                Buffer::of(request.cluster.as_bytes()),
                headers.as_mut_ptr(),
                headers.len(),
                Buffer::ABSENT,
                request.timeout_ms.into(),
            )
        };
        result == SUCCESS
    }

    /// A way for another thread to wake this configuration.
    pub(crate) fn scheduler(&self) -> Option<Scheduler> {
        // SAFETY: on the main thread, where the configuration is valid.
        let scheduler = unsafe { (api()?.scheduler_new)(self.0) };
        (!scheduler.is_null()).then_some(Scheduler(scheduler))
    }
}

/// Wakes a configuration from another thread.
pub(crate) struct Scheduler(Foreign);

// SAFETY: Envoy's scheduler is for other threads, and knows whether its configuration is gone.
unsafe impl Send for Scheduler {}

impl Scheduler {
    /// Has Envoy call [`Config::on_tick`] on the main thread.
    pub(crate) fn wake(&self) {
        if let Some(api) = api() {
            // SAFETY: the scheduler is valid until it is deleted.
            unsafe { (api.scheduler_commit)(self.0, 0) };
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(api) = api() {
            // SAFETY: it is deleted once.
            unsafe { (api.scheduler_delete)(self.0) };
        }
    }
}

// === hooks ===

/// Runs a hook. A panic must not reach Envoy; `otherwise` is the hook's result then.
fn hook<T>(otherwise: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(otherwise)
}

/// The version of the ABI that this Envoy calls its own, so that it does not warn: `v0.2.0` came with the generic secrets of 1.40.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    if let Err(missing) = API.get_or_init(Api::load) {
        eprintln_line(&format!(
            "jwt-gate: this Envoy is too old for the module, which needs 1.38 or later: it has no {missing}"
        ));
        return std::ptr::null();
    }
    let since_1_40 = look_up(c"envoy_dynamic_module_callback_http_filter_config_generic_secret_subscribe");
    if since_1_40.is_some() { c"v0.2.0".as_ptr() } else { c"v0.1.0".as_ptr() }
}

/// Writes to standard error, as Envoy's log does: an Envoy that is too old may have no other log for us.
fn eprintln_line(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: Foreign,
    name: Buffer,
    config: Buffer,
) -> *const Config {
    // SAFETY: the bytes are Envoy's until this hook returns.
    let (name, config) = unsafe { (name.bytes(), config.bytes()) };
    hook(std::ptr::null(), || {
        Config::new(EnvoyConfig(envoy), &String::from_utf8_lossy(name), config)
            .map_or(std::ptr::null(), Arc::into_raw)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const Config) {
    if !config.is_null() {
        // SAFETY: it is the pointer that `config_new` returned, and this is the last hook with it.
        let config = unsafe { Arc::from_raw(config) };
        hook((), || config.close());
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _envoy: Foreign,
    config: *const Config,
    _event: u64,
) {
    // SAFETY: it is the pointer that `config_new` returned, and it is not destroyed yet.
    if let Some(config) = unsafe { config.as_ref() } {
        hook((), || config.on_tick());
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _envoy: Foreign,
    config: *const Config,
    _call: u64,
    result: u32,
    headers: *const Header,
    headers_size: usize,
    chunks: *const Buffer,
    chunks_size: usize,
) {
    // SAFETY: it is the pointer that `config_new` returned, and it is not destroyed yet; headers and chunks are Envoy's until
    // this hook returns.
    let (config, headers, chunks) =
        unsafe { (config.as_ref(), slice(headers, headers_size), slice(chunks, chunks_size)) };
    let Some(config) = config else { return };
    // SAFETY: as above.
    let pair = |header: &Header| unsafe {
        (slice(header.name, header.name_length), slice(header.value, header.value_length))
    };
    hook((), || {
        let status = headers.iter().map(pair).find(|(name, _)| *name == b":status").map(|(_, value)| value);
        // SAFETY: as above.
        let chunks = chunks.iter().map(|chunk| unsafe { chunk.bytes() });
        config.on_answer(status.filter(|_| result == SUCCESS), chunks);
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buffer,
    _config: Buffer,
) -> *const c_void {
    log(
        LogLevel::Error,
        "jwt-gate: configuration refused: a route cannot configure the gate; add a second filter with `disabled: true`, and \
         enable it on the route (docs/configuration.md)",
    );
    std::ptr::null()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(_config: *const c_void) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const Config,
    _envoy: Foreign,
) -> *mut Filter {
    // SAFETY: it is the pointer that `config_new` returned; Envoy keeps the configuration while its streams live.
    let config = unsafe {
        Arc::increment_strong_count(config);
        Arc::from_raw(config)
    };
    Box::into_raw(Box::new(Filter::new(config)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(filter: *mut Filter) {
    if !filter.is_null() {
        // SAFETY: it is the pointer that `filter_new` returned, and this is the last hook with it.
        let filter = unsafe { Box::from_raw(filter) };
        hook((), || drop(filter));
    }
}

/// Runs a hook of a stream. After a panic the request goes nowhere.
fn stream_hook(
    envoy: Foreign,
    filter: *mut Filter,
    stop: u32,
    run: impl FnOnce(&mut Filter, &mut Stream<'_>) -> Next,
) -> u32 {
    // SAFETY: it is the pointer that `filter_new` returned, and no other hook has it now.
    let Some(filter) = (unsafe { filter.as_mut() }) else { return stop };
    let mut stream = Stream { envoy, hook: PhantomData };
    let next = catch_unwind(AssertUnwindSafe(|| run(filter, &mut stream)));
    match next {
        Ok(Next::Continue) => CONTINUE,
        Ok(Next::Stop) => stop,
        Err(_) => {
            hook((), || filter.on_panic(&mut stream));
            stop
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: Foreign,
    filter: *mut Filter,
    end_of_stream: bool,
) -> u32 {
    stream_hook(envoy, filter, STOP, |filter, stream| filter.on_headers(stream, !end_of_stream))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: Foreign,
    filter: *mut Filter,
    _end_of_stream: bool,
) -> u32 {
    stream_hook(envoy, filter, STOP_BODY, |filter, _| filter.on_body())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    envoy: Foreign,
    filter: *mut Filter,
) -> u32 {
    stream_hook(envoy, filter, STOP, Filter::on_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(_: Foreign, _: Foreign, _: bool) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(_: Foreign, _: Foreign, _: bool) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(_: Foreign, _: Foreign) -> u32 {
    CONTINUE
}

/// Hooks that Envoy demands and the gate has no use for.
macro_rules! unused_hooks {
    ($($name:ident($($argument:ty),*);)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) {})*
    };
}

unused_hooks! {
    envoy_dynamic_module_on_http_filter_stream_complete(Foreign, Foreign);
    envoy_dynamic_module_on_http_filter_http_callout_done(Foreign, Foreign, u64, u32, Foreign, usize, Foreign, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(Foreign, Foreign, u64, Foreign, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(Foreign, Foreign, u64, Foreign, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(Foreign, Foreign, u64, Foreign, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(Foreign, Foreign, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(Foreign, Foreign, u64, u32);
    envoy_dynamic_module_on_http_filter_scheduled(Foreign, Foreign, u64);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(Foreign, Foreign);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(Foreign, Foreign);
}
