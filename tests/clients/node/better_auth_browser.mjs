// The unmodified better-auth client and a page's own calls, against a real Better Auth server behind the gate:
// `node better_auth_browser.mjs ORIGIN`.
import assert from "node:assert/strict";
import { createAuthClient } from "better-auth/client";

const [origin] = process.argv.slice(2);
const jar = new Map();

/** A browser's fetch: keeps cookies, names its origin. */
async function browse(input, init = {}) {
  const headers = new Headers(init.headers ?? {});
  if (jar.size) headers.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
  headers.set("origin", origin);
  const response = await fetch(input, { ...init, headers });
  for (const cookie of response.headers.getSetCookie()) {
    const [pair, ...attributes] = cookie.split("; ");
    const [name, value] = pair.split(/=(.*)/s);
    if (attributes.includes("Max-Age=0")) jar.delete(name);
    else jar.set(name, value);
  }
  return response;
}

const client = createAuthClient({ baseURL: origin, fetchOptions: { customFetchImpl: browse } });
const whoami = async (headers = {}) => browse(`${origin}/whoami`, { headers });

let refused = await whoami({ "x-user-id": "root" });
assert.deepEqual([refused.status, (await refused.json()).code], [401, "missing_token"]);

const { data, error } = await client.signUp.email({
  name: "Ada", email: "ada@example.com", password: "correct horse battery",
});
assert.equal(error, null);
assert.ok(jar.has("better-auth.session_data"));

const answer = await whoami({ "x-user-id": "root" });
assert.equal(answer.status, 200);
assert.deepEqual(await answer.json(), { id: data.user.id, name: "Ada" });
assert.equal((await client.getSession()).data.user.id, data.user.id);

const token = jar.get("better-auth.session_data");
jar.set("better-auth.session_data", `${token.slice(0, -2)}AA`);
refused = await whoami();
assert.deepEqual([refused.status, (await refused.json()).code], [401, "bad_signature"]);
jar.set("better-auth.session_data", token);

await client.signOut();
assert.equal(jar.has("better-auth.session_data"), false);
assert.equal((await whoami()).status, 401);
console.log("a real Better Auth server works behind the gate");
