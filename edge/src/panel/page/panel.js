// The panel's page: what docs/panel.md describes, by hand. The token comes in the address's fragment,
// which no server sees, and stays in this tab; text from outside is only ever set as text.
"use strict";

const $ = (id) => document.getElementById(id);
const memory = window.sessionStorage;

if (location.hash.length > 1) {
  memory.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${memory.getItem("token") ?? ""}` };
  const answered = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answered.status, said: await answered.json() };
}

function trouble(text) {
  $("trouble").textContent = text ?? "";
  $("trouble").hidden = !text;
}

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

function button(text, parent, press) {
  element("button", text, parent).addEventListener("click", () => attempt(press));
}

async function attempt(work) {
  try {
    await work();
  } catch (why) {
    trouble(`The panel does not answer: ${why.message}. Is the agent running?`);
  }
}

async function show() {
  const session = memory.getItem("session");
  const { status, said } = session
    ? await ask("GET", `/v1/sessions/${session}`)
    : { status: 404 };
  const known = status === 200;
  $("login").hidden = known;
  $("session").hidden = !known;
  if (!known) {
    memory.removeItem("session");
    if (status === 401) trouble(said.error);
    return;
  }
  $("name").textContent = said.user;
  const account = said.account ?? { balance: "not told yet", held: "-", available: "-" };
  const figures = [
    ["balance", account.balance],
    ["held", account.held],
    ["available", account.available],
    ["may spend here", said.lease.left],
    ["charged here", said.here.charged],
    ["held here", said.here.held],
  ];
  $("credits").replaceChildren();
  for (const [what, amount] of figures) {
    const pair = element("div", "", $("credits"));
    element("dt", what, pair);
    element("dd", amount, pair);
  }
  $("messages").replaceChildren();
  said.messages.forEach((message) => element("li", message, $("messages")));
  $("jobs").replaceChildren();
  said.jobs.forEach(showJob);
}

function showJob(job) {
  const row = element("li", "", $("jobs"));
  const pages = job.recorded === 1 ? "1 page" : `${job.recorded} pages`;
  const what = { capture: "scan", print: "print" }[job.kind];
  element("span", `${what}, ${pages}, ${job.state}${job.message ? `: ${job.message}` : ""}`, row);
  button(`Page ${job.next}`, row, async () => {
    const page = { page: job.next, color: $("color").value };
    const { status, said } = await ask("POST", `/v1/jobs/${job.job}/pages`, page);
    trouble(status === 200 || said.state === "stopped" ? null : said.error);
    await show();
  });
  for (const [text, path] of [["Done", "end"], ["Discard", "discard"]]) {
    button(text, row, async () => {
      const { status, said } = await ask("POST", `/v1/jobs/${job.job}/${path}`);
      trouble(status === 200 ? null : said.error);
      await show();
    });
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const { status, said } = await ask("POST", "/v1/sessions", { user: $("user").value });
    trouble(status === 201 ? null : said.error);
    if (status === 201) memory.setItem("session", said.session);
    await show();
  });
});

$("logout").addEventListener("click", () => attempt(async () => {
  const { status, said } = await ask("DELETE", `/v1/sessions/${memory.getItem("session")}`);
  trouble(status === 200 || status === 404 ? null : said.error);
  $("user").value = "";
  await show();
}));

$("begin").addEventListener("click", () => attempt(async () => {
  const job = { session: memory.getItem("session"), kind: $("kind").value, color: $("color").value };
  const { status, said } = await ask("POST", "/v1/jobs", job);
  trouble(status === 201 ? null : said.message ?? said.error);
  await show();
}));

async function listen() {
  let after = null;
  for (;;) {
    try {
      const { status, said } = await ask("GET", `/v1/events${after ? `?after=${after}` : ""}`);
      if (status !== 200) throw new Error(said.error);
      after = said.after;
      if (said.lost || said.events.length > 0) await show();
    } catch {
      after = null; // the agent is away, or starts again: what is shown is asked for anew
      await new Promise((later) => setTimeout(later, 2000));
      await attempt(show);
    }
  }
}

attempt(show);
listen();
