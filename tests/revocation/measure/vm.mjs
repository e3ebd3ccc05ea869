// Runs the gate's own module in V8, the engine that Envoy runs it in, and times a request inside it: what a look-up
// among revocations costs is too little to be seen in the processor time of a whole Envoy.
//
// node vm.mjs MODULE SECRET: prints one JSON object a list, {"list", "nanoseconds": [...]}, a number a block.
// The host's side of the ABI is what it takes to run the module, no more; that the gate is right is tested in Envoy.

import crypto from "node:crypto";
import fs from "node:fs";

const [, , path, secret] = process.argv;
const LISTS = [null, 0, 10_000, 1_000_000];
const PAGE = 10_000;
const TOKENS = 1000;
const BLOCK = 100;
const ROUNDS = 2000;
const ROOT = 1;
const RESPONSE_HEADERS = 6;
const now = Math.floor(Date.now() / 1000);

const base64url = (text) => Buffer.from(text).toString("base64url");
const token = (number) => {
  const claims = { sub: `user-${number}`, jti: `good-${number}`, iat: now, exp: now + 36_000 };
  const signed = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(claims))}`;
  return `${signed}.${crypto.createHmac("sha256", secret).update(signed).digest("base64url")}`;
};

// https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1#serialization
const map = (headers) => {
  const number = (value) => Buffer.from(Uint32Array.of(value).buffer);
  const lengths = headers.flat().map((part) => number(part.length));
  const parts = headers.flat().flatMap((part) => [Buffer.from(part, "latin1"), Buffer.of(0)]);
  return Buffer.concat([number(headers.length), ...lengths, ...parts]);
};

/** A VM with a gate that follows a list of this many revocations; of none where it is null. */
const start = async (module, length) => {
  let exports, request, page, called = 0, next = 2;
  const config = Buffer.from(JSON.stringify({
    providers: { app: { secrets: [{ inline: secret }], claim_to_headers: [{ header_name: "x-user-id", claim_name: "sub" }] } },
    rules: [{ match: { prefix: "/" }, requires: { provider_name: "app" } }],
    ...(length === null ? {} : { revocation: { cluster: "companion" } }),
  }));
  const view = () => new DataView(exports.memory.buffer);
  const give = (bytes, pointer, size) => {
    const address = exports.proxy_on_memory_allocate(bytes.length);
    new Uint8Array(exports.memory.buffer).set(bytes, address);
    view().setUint32(pointer, address, true);
    view().setUint32(size, bytes.length, true);
    return 0;
  };
  const host = {
    proxy_get_buffer_bytes: (_kind, _start, _length, pointer, size) => give(page ?? config, pointer, size),
    proxy_get_header_map_pairs: (kind, pointer, size) =>
      give(kind === RESPONSE_HEADERS ? map([[":status", "200"]]) : request, pointer, size),
    proxy_get_current_time_nanoseconds: (pointer) => (view().setBigUint64(pointer, BigInt(now) * 1_000_000_000n, true), 0),
    proxy_define_metric: (_kind, _name, _length, pointer) => (view().setUint32(pointer, 1, true), 0),
    proxy_http_call: (...all) => (view().setUint32(all.at(-1), (called += 1), true), 0),
    environ_sizes_get: (count, size) => (view().setUint32(count, 0, true), view().setUint32(size, 0, true), 0),
    clock_time_get: (_clock, _precision, pointer) => (view().setBigUint64(pointer, process.hrtime.bigint(), true), 0),
    random_get: (address, size) => (crypto.getRandomValues(new Uint8Array(exports.memory.buffer, address, size)), 0),
  };
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = host[name] ?? (() => 0);
  }
  ({ exports } = await WebAssembly.instantiate(module, imports));
  exports._initialize();
  exports.proxy_on_context_create(ROOT, 0);
  if (!exports.proxy_on_vm_start(ROOT, 0) || !exports.proxy_on_configure(ROOT, config.length)) throw new Error("refused");
  for (let sent = 0; length !== null && (sent === 0 || sent < length); sent += PAGE) {
    const count = Math.min(PAGE, length - sent);
    const jti = Array.from({ length: count }, (_, index) => [`revoked-${sent + index}`, now + 36_000]);
    page = Buffer.from(JSON.stringify({ cursor: `${sent}`, more: sent + PAGE < length, jti, sub: [] }));
    if (sent === 0) exports.proxy_on_tick(ROOT);
    exports.proxy_on_http_call_response(ROOT, called, 1, page.length, 0);
  }
  return (bytes) => {
    request = bytes;
    exports.proxy_on_context_create(next, ROOT);
    const action = exports.proxy_on_request_headers(next, 6, 1);
    exports.proxy_on_delete(next);
    next += 1;
    return action;
  };
};

const pseudo = [[":authority", "127.0.0.1"], [":path", "/notes"], [":method", "GET"], [":scheme", "http"]];
const requestOf = (bearer) => map([...pseudo, ["x-request-id", crypto.randomUUID()], ["authorization", `Bearer ${bearer}`]]);
const requests = Array.from({ length: TOKENS }, (_, number) => requestOf(token(number)));
const module = await WebAssembly.compile(fs.readFileSync(path));
const gates = [];
for (const list of LISTS) gates.push({ list, send: await start(module, list), nanoseconds: [] });
for (const { send } of gates) {
  // Each token is verified once, and V8 compiles what is used much.
  for (let time = 0; time < 20; time += 1) {
    for (const request of requests) if (send(request) !== 0) throw new Error("a good token was refused");
  }
}
for (let round = 0; round < ROUNDS; round += 1) {
  const first = (round * BLOCK) % TOKENS;
  for (let turn = 0; turn < gates.length; turn += 1) {
    const { send, nanoseconds } = gates[(turn + round) % gates.length];
    const before = process.hrtime.bigint();
    for (let index = first; index < first + BLOCK; index += 1) send(requests[index]);
    nanoseconds.push(Number(process.hrtime.bigint() - before) / BLOCK);
  }
}
for (const { list, nanoseconds } of gates) console.log(JSON.stringify({ list, nanoseconds }));
