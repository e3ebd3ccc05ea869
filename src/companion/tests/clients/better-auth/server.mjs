// A real Better Auth server signs somebody up; its session_data cookie goes to stdout.
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";

const origin = "http://127.0.0.1:3000";
const auth = betterAuth({
  baseURL: origin,
  secret: process.env.BETTER_AUTH_SECRET,
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  emailAndPassword: { enabled: true },
  session: { cookieCache: { enabled: true, strategy: "jwt" } },
});
const answer = await auth.handler(new Request(`${origin}/api/auth/sign-up/email`, {
  method: "POST",
  headers: { "content-type": "application/json", origin },
  body: JSON.stringify({ name: "Ada", email: "ada@example.com", password: "correct horse battery" }),
}));
const { user } = await answer.json();
const cookie = answer.headers.getSetCookie().find((cookie) => cookie.startsWith("better-auth.session_data="));
const [, token] = cookie.split(";")[0].split(/=(.*)/s);
console.log(JSON.stringify({ id: user.id, token }));
