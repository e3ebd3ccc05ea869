// A person in Chromium, without JavaScript: `node browser.mjs ORIGIN CHROMIUM [SCREENSHOTS]`.
// Visits a protected page, is sent to sign in, signs up instead, lands on the page, and signs out.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [origin, executablePath, screenshots] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"],
});
try {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 800, height: 640 } });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const shot = async (name) => screenshots && page.screenshot({ path: `${screenshots}/${name}.png` });
  const at = (path) => assert.equal(page.url(), `${origin}${path}`);
  const shows = async (name) => assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), name);

  // The gate sends a stranger to the sign-in page, with the way back.
  await page.goto(`${origin}/whoami?from=mail`);
  at("/sign-in?next=/whoami%3Ffrom%3Dmail");
  await shows("Sign in");
  await shot("sign-in");

  // Somebody who has no account: an error that does not tell whether there is one.
  await page.getByLabel("E-mail address").fill("ada@example.com");
  await page.getByLabel("Password").fill("wrong horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  assert.ok((await page.getByRole("alert").textContent()).length > 0);
  assert.match(await page.title(), /^Error: /);
  assert.equal(await page.getByLabel("Password").inputValue(), "");

  // Signing up: what is wrong stands beside its field, for eyes and for screen readers.
  await page.getByRole("link", { name: "Sign up" }).click();
  await shows("Sign up");
  await page.getByLabel("Name").fill("Ada");
  await page.getByLabel("E-mail address").fill("ada@example.com");
  await page.getByLabel("Password").fill("short");
  await page.getByRole("button", { name: "Sign up" }).click();
  const password = page.getByLabel("Password");
  assert.equal(await password.getAttribute("aria-invalid"), "true");
  const described = (await password.getAttribute("aria-describedby")).split(" ");
  const error = await page.locator(`#${described.at(-1)}`).textContent();
  assert.match(error, /at least 8 characters/);
  assert.equal(await page.getByLabel("E-mail address").inputValue(), "ada@example.com");
  await shot("sign-up-error");

  // By keyboard alone: the field in error has the focus, Enter sends the form.
  assert.ok(await password.evaluate((field) => field === document.activeElement));
  await page.keyboard.type("correct horse battery");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${origin}/whoami?from=mail`);
  const who = JSON.parse(await page.locator("body").textContent());
  assert.equal(who.name, "Ada");
  assert.ok(who.id.length > 0);
  await shot("signed-in");
  const cookie = (await context.cookies()).find(({ name }) => name === "jwt-gate");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Lax");

  // A return path that leads elsewhere is not taken.
  await page.goto(`${origin}/sign-in?next=//evil.example/`);
  await page.getByLabel("E-mail address").fill("ada@example.com");
  await page.getByLabel("Password").fill("correct horse battery");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${origin}/`);

  // Signing out.
  await page.goto(`${origin}/sign-out`);
  await shot("sign-out");
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.equal((await context.cookies()).some(({ name }) => name === "jwt-gate"), false);
  await page.goto(`${origin}/whoami`);
  at("/sign-in?next=/whoami");
  console.log("a person in a browser can sign up and out");
} finally {
  await browser.close();
}
