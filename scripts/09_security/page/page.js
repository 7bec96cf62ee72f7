// A client with a token: fetch sends it, and EventSource opens its stream with a ticket.
//
// An EventSource sends no headers of ours. The token must not be in its URL instead: URLs get
// into logs and histories. So the page asks for a ticket, with the token in a header. A ticket
// opens one stream, once, within 30 s.

const byId = (id) => document.getElementById(id);

// In this variable and nowhere else: localStorage would keep it for whoever comes next.
let token = "";
let stream = null;
let endpoint = null; // where to POST; null while there is no session
let lastId = 0;
let failures = 0; // in a row
let timer;
let attempt = 0; // to connect: an answer to an earlier one comes too late
const waiting = new Map(); // a request's id -> what to call with its reply

class Refused extends Error {}

function state(name, text) {
  byId("state").dataset.state = name;
  byId("state").textContent = text;
  byId("note").querySelector("fieldset").disabled = name !== "open";
}

function log(text) {
  const line = document.createElement("li");
  line.textContent = text;
  byId("log").append(line);
  line.scrollIntoView({ block: "nearest" });
}

async function post(url, body) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body,
    redirect: "error", // it could lead elsewhere, and the token with it
  });
  log(`POST ${new URL(url, location).pathname}: ${answer.status}`);
  if (!answer.ok) throw new Refused(`${answer.status} ${(await answer.text()).trim()}`);
  return answer;
}

// --- The stream -----------------------------------------------------------------------------

async function connect() {
  state("connecting", "asking for a ticket");
  const mine = attempt;
  let ticket;
  try {
    ({ ticket } = await (await post("ticket")).json());
  } catch (error) {
    if (mine !== attempt) return;
    // Asking again does not make a wrong token right.
    if (error instanceof Refused && error.message.startsWith("401")) {
      state("closed", `not connected: ${error.message}`);
      return;
    }
    later(error.message);
    return;
  }
  if (mine !== attempt) return;
  stream = new EventSource(`sse?ticket=${encodeURIComponent(ticket)}`);
  log("GET /sse, with the ticket");
  stream.addEventListener("endpoint", (event) => begin(event.data));
  stream.addEventListener("message", (event) => settle(JSON.parse(event.data)));
  // By itself it would ask again with the same ticket, and get 401.
  stream.onerror = () => later("the stream broke");
}

function later(why) {
  close();
  failures += 1;
  const seconds = Math.min(2 ** (failures - 1), 30);
  state("connecting", `${why}: a new ticket in ${seconds} s`);
  timer = setTimeout(connect, seconds * 1000);
}

function close() {
  attempt += 1;
  clearTimeout(timer);
  stream?.close();
  stream = null;
  endpoint = null;
  for (const done of waiting.values()) done({ error: { message: "the stream broke" } });
  waiting.clear();
}

async function begin(data) {
  const url = new URL(data, location);
  if (url.origin !== location.origin) {
    close();
    state("closed", "refused: the endpoint is on another origin");
    return;
  }
  endpoint = url;
  try {
    const { serverInfo } = await request("initialize", {
      protocolVersion: "2024-11-05",
      capabilities: {},
      clientInfo: { name: "page", version: "1.0.0" },
    });
    await send({ method: "notifications/initialized" });
    const { tools } = await request("tools/list");
    byId("tools").replaceChildren(...tools.map(listing));
    failures = 0;
    state("open", `connected to ${serverInfo.name}`);
  } catch (error) {
    if (endpoint === url) later(error.message);
  }
}

function listing(tool) {
  const item = document.createElement("li");
  item.textContent = `${tool.name}: ${tool.description}`; // text, whatever is in it
  return item;
}

// --- Messages -------------------------------------------------------------------------------

async function send(message) {
  await post(endpoint, JSON.stringify({ jsonrpc: "2.0", ...message }));
}

function request(method, params = {}) {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    // First remember it, then send it: the reply may overtake the 202.
    waiting.set(id, ({ result, error }) => {
      if (error) reject(new Error(error.message));
      else resolve(result);
    });
    send({ id, method, params }).catch((error) => {
      waiting.delete(id);
      reject(error);
    });
  });
}

function settle(message) {
  const done = waiting.get(message.id);
  waiting.delete(message.id);
  done?.(message);
}

// --- What people do -------------------------------------------------------------------------

byId("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  close();
  failures = 0;
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("token").placeholder = "token accepted";
  connect();
});

byId("note").addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = byId("text");
  output.className = "";
  try {
    const reply = await request("tools/call", {
      name: "read_note",
      arguments: { name: byId("name").value },
    });
    output.textContent = reply.content[0].text;
    output.classList.toggle("bad", reply.isError);
  } catch (error) {
    output.textContent = error.message;
    output.className = "bad";
  }
});
