// The unmodified better-auth client in a page of another origin, in Chromium: `node --experimental-import-meta-resolve other_origin.mjs
// COMPANION CHROMIUM PORT`. The page stands on localhost:PORT, as a frontend's development server does; the companion is asked across origins.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [companion, executablePath, port] = process.argv.slice(2);

/** A module as a browser can load it: the packages that it imports by name, by their files. */
async function module(path) {
  const text = await readFile(path, "utf8");
  const resolve = (whole, before, quote, name) =>
    `${before}${quote}/file${fileURLToPath(import.meta.resolve(name, `file://${path}`))}${quote}`;
  return text.replace(/(\bfrom\s*|\bimport\s*\(\s*|\bimport\s*)(["'])([@a-z][^"']*)\2/g, resolve);
}

const page = `<!doctype html><title>A frontend</title>
<script>globalThis.process = { env: {} }; // as bundlers define it</script>
<script type="module">
  import { createAuthClient } from "/file${fileURLToPath(import.meta.resolve("better-auth/client"))}";
  window.client = createAuthClient({ baseURL: "${companion}", fetchOptions: { credentials: "include" } });
</script>`;
const server = createServer(async (request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  try {
    const isModule = path.startsWith("/file/");
    const body = isModule ? await module(path.slice("/file".length)) : page;
    response.writeHead(200, { "content-type": isModule ? "text/javascript" : "text/html" }).end(body);
  } catch (error) {
    response.writeHead(404).end(String(error));
  }
});
await new Promise((listening) => server.listen(Number(port), "127.0.0.1", listening));

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"],
});
try {
  const context = await browser.newContext();
  const tab = await context.newPage();
  tab.setDefaultTimeout(30_000);
  const said = [];
  tab.on("console", (message) => said.push(message.text()));
  tab.on("pageerror", (error) => said.push(String(error)));
  await tab.goto(`http://localhost:${port}/`);
  await tab.waitForFunction(() => window.client !== undefined).catch((error) => { throw new Error(`${error}\n${said.join("\n")}`); });

  /** What a call of the client comes to, in the page. Tracing tools add their headers to each. */
  const call = (path, ...given) => tab.evaluate(async ([path, given]) => {
    const tracing = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=b",
      baggage: "a=b", "sentry-trace": "a-b-1", b3: "0", "x-b3-traceid": "0" };
    const call = path.split(".").reduce((client, name) => client[name], window.client);
    const options = { headers: tracing };
    const { data, error } = await (given.length ? call(...given, options) : call({ fetchOptions: options }));
    return { data, error: error && { status: error.status, code: error.code, message: error.message } };
  }, [path, given]);
  const good = async (...all) => {
    const { data, error } = await call(...all);
    assert.equal(error, null, JSON.stringify({ all, error, said }));
    return data;
  };
  const fails = async (status, code, ...all) => {
    const { error } = await call(...all);
    assert.deepEqual({ status: error?.status, code: error?.code }, { status, code }, JSON.stringify({ all, error, said }));
    assert.ok(error.message.length > 0);
  };

  const email = "ada@example.com";
  const password = "correct horse battery";
  assert.equal(await good("getSession"), null);
  await fails(401, "INVALID_EMAIL_OR_PASSWORD", "signIn.email", { email, password });
  assert.equal((await good("signUp.email", { name: "Ada", email, password })).user.email, email);
  assert.equal((await good("getSession")).user.name, "Ada");
  assert.deepEqual(await good("updateUser", { name: "Ada L." }), { status: true });
  assert.equal((await good("listSessions")).length, 1);
  await fails(400, "CHANGE_EMAIL_DISABLED", "changeEmail", { newEmail: "ada@example.org" });
  await fails(400, "INVALID_PASSWORD", "deleteUser", { password: "wrong horse battery" });
  assert.ok((await good("changePassword", { currentPassword: password, newPassword: "another horse", revokeOtherSessions: true })).token);
  assert.equal((await good("getSession")).user.name, "Ada L.");
  assert.deepEqual(await good("signOut"), { success: true });
  assert.equal(await good("getSession"), null);
  // What is not there can be told from a network that fails.
  const status = await tab.evaluate(async (url) => (await fetch(url, { credentials: "include" })).status, `${companion}/api/auth/nowhere`);
  assert.equal(status, 404);

  // A page of an origin that is not trusted reads nothing.
  await tab.goto(`http://127.0.0.1:${port}/`);
  await tab.waitForFunction(() => window.client !== undefined);
  const { data, error } = await tab.evaluate(async ([email, password]) => {
    try { return await window.client.signIn.email({ email, password }); } catch (error) { return { data: null, error: String(error) }; }
  }, [email, "another horse"]);
  assert.equal(data, null);
  assert.ok(error);
  console.log("a page of another origin signs people in");
} finally {
  await browser.close();
  server.close();
}
