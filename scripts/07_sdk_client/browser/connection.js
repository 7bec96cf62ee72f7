// One connection to an MCP server over HTTP+SSE: EventSource listens, fetch sends.
// Nothing here knows about the page. `watcher` is told what happens: an object with these
// methods (page.js has one, which draws them):
//
//     state(name, text)        "connecting", "shaking hands", "ready", "broken" or "closed"
//     sent(title, text, id)    something goes out; returns {answered(status, text), lost(why)}
//     received(title, text, id)  an event came; the id is that of the request it replies to
//     heartbeat()              a heartbeat came
//     notice(text)             something for people to read
//     ready(result)            the handshake is done; the result of initialize

const PROTOCOL_VERSION = "2024-11-05";
const ENDPOINT_SECONDS = 5; // from an open stream to its endpoint event
const REPLY_SECONDS = 30; // from a request to its reply
const PROBE_SECONDS = 5; // to find out why there is no stream

// A reply that is an error, or a request that won't get a reply.
export class RequestFailed extends Error {}

export class Connection {
  #url;
  #watcher;
  #stream = null;
  #endpoint = null; // where to POST; null while there is no session
  #endpointTimer;
  #waiting = new Map(); // a request's id -> how to settle it
  #lastId = 0; // never reset: a new session must not reuse the ids of the old one
  #explained = false;

  constructor(url, watcher) {
    this.#url = new URL(url);
    this.#watcher = watcher;
  }

  open() {
    const get = `GET ${this.#url.pathname}`;
    let asked = this.#watcher.sent(get, "Accept: text/event-stream");
    this.#watcher.state("connecting", `opening ${this.#url.href}`);
    this.#stream = new EventSource(this.#url);
    this.#stream.onopen = () => {
      // The browser does not say when it asks again, only that it was answered.
      asked ??= this.#watcher.sent(get, "Asked again by the EventSource itself.");
      asked.answered(200, "the stream stays open");
      asked = null;
      const late = `no endpoint event came within ${ENDPOINT_SECONDS} s`;
      this.#endpointTimer = setTimeout(() => {
        this.close(`The stream is open, but ${late}: this is not an MCP server over SSE.`);
      }, ENDPOINT_SECONDS * 1000);
    };
    this.#stream.onerror = () => {
      asked?.lost("no answer that this page may read");
      asked = null;
      this.#streamFailed();
    };
    this.#stream.addEventListener("endpoint", (event) => this.#beginSession(event.data));
    this.#stream.addEventListener("message", (event) => this.#read(event.data));
    // An event whose name nobody listens for is dropped silently. These two are lesson 05's.
    this.#stream.addEventListener("connected", (event) => {
      this.#watcher.received("event: connected", event.data);
    });
    this.#stream.addEventListener("heartbeat", () => this.#watcher.heartbeat());
  }

  close(why = "Closed.") {
    this.#stream.close();
    this.#endSession("the connection was closed");
    this.#watcher.notice(why);
    this.#watcher.state("closed", "not connected");
  }

  // --- The stream ends, and comes back ----------------------------------------------------

  #streamFailed() {
    const hadSession = this.#endpoint !== null;
    this.#endSession("the stream broke before its reply came");
    if (hadSession) this.#explained = false;
    // After a lost connection an EventSource tries again by itself, every few seconds. After
    // an answer that is not an event stream it gives up for good.
    if (this.#stream.readyState === EventSource.CLOSED) {
      this.#explained = false;
      this.#watcher.state("closed", "not connected: the browser gave up");
    } else if (hadSession) {
      this.#watcher.notice("The stream broke: its session is over. The browser tries again.");
      this.#watcher.state("broken", "the stream broke; the browser tries again");
      return;
    } else {
      this.#watcher.state("broken", "no stream; the browser tries again");
    }
    // It tries for ever. Saying why once is enough.
    if (!this.#explained) {
      this.#explained = true;
      whyNoStream(this.#url).then((why) => this.#watcher.notice(why));
    }
  }

  #endSession(why) {
    clearTimeout(this.#endpointTimer);
    this.#endpoint = null;
    for (const id of [...this.#waiting.keys()]) this.#fail(id, `Lost: ${why}.`);
  }

  // Every endpoint event begins a session, even on a stream that came back: the server knows
  // nothing about the old one, so shake hands again.
  async #beginSession(data) {
    clearTimeout(this.#endpointTimer);
    this.#watcher.received("event: endpoint", data);
    this.#endSession("the server began another session");
    const endpoint = URL.canParse(data, this.#url) ? new URL(data, this.#url) : null;
    if (endpoint === null) {
      this.close("Refused: the endpoint is not a URL.");
      return;
    }
    // A server that could name another address could make this page send everything there.
    if (endpoint.origin !== this.#url.origin) {
      const where = `is on ${endpoint.origin}, the stream on ${this.#url.origin}`;
      this.close(`Refused: the endpoint ${where}.`);
      return;
    }
    this.#endpoint = endpoint;
    this.#explained = false;
    this.#watcher.state("shaking hands", "connected, shaking hands");
    try {
      const result = await this.request("initialize", {
        protocolVersion: PROTOCOL_VERSION,
        capabilities: {},
        clientInfo: { name: "browser-client", version: "1.0.0" },
      });
      if (result.protocolVersion !== PROTOCOL_VERSION) {
        const wanted = `wants MCP ${result.protocolVersion}, this page speaks ${PROTOCOL_VERSION}`;
        this.close(`The server ${wanted}.`);
        return;
      }
      await this.notify("notifications/initialized");
      // It may have broken meanwhile.
      if (this.#endpoint !== endpoint) return;
      const name = result.serverInfo?.name;
      this.#watcher.state("ready", `connected to ${name}, MCP ${result.protocolVersion}`);
      this.#watcher.ready(result);
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error;
      // If it broke in the middle, that has been shown already.
      if (this.#endpoint === endpoint) this.close(`No handshake: ${error.message}`);
    }
  }

  // --- What the server says ---------------------------------------------------------------

  #read(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch (error) {
      this.#watcher.received("event: message", data);
      this.#watcher.notice(`That was not JSON (${error.message}). It is ignored.`);
      return;
    }
    const isReply = message?.method === undefined;
    this.#watcher.received("event: message", data, isReply ? message?.id : undefined);
    if (isReply) this.#settle(message);
    else if (message.id !== undefined) this.#answer(message);
  }

  #settle(reply) {
    const waiting = this.#take(reply?.id);
    if (waiting === undefined) {
      this.#watcher.notice("Nobody waits for that reply. It is ignored.");
    } else if (reply.error) {
      waiting.reject(new RequestFailed(`${reply.error.message} (${reply.error.code})`));
    } else if (reply.result) {
      waiting.resolve(reply.result);
    } else {
      waiting.reject(new RequestFailed("The reply has neither a result nor an error."));
    }
  }

  #fail(id, why) {
    const waiting = this.#take(id);
    waiting?.sent?.lost(why);
    waiting?.reject(new RequestFailed(why));
  }

  // Whatever waits for this reply. Only once.
  #take(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }

  // A server may send requests too. Without an answer it may wait for ever.
  #answer({ id, method }) {
    const unknown = { error: { code: -32601, message: `Method not found: ${method}` } };
    const answer = method === "ping" ? { result: {} } : unknown;
    const message = { jsonrpc: "2.0", id, ...answer };
    this.#post(message, `POST reply to ${method}`).catch(() => {});
  }

  // --- What we say ------------------------------------------------------------------------

  // The result of a request. Throws RequestFailed.
  request(method, params) {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(id, `No reply within ${REPLY_SECONDS} s.`);
        // Tell the server, so that it need not carry on. initialize must not be cancelled.
        if (method !== "initialize") this.notify("notifications/cancelled", { requestId: id });
      }, REPLY_SECONDS * 1000);
      // First remember it, then send it: the reply may overtake the 202.
      this.#waiting.set(id, { resolve, reject, timer });
      const message = { jsonrpc: "2.0", id, method, params };
      this.#post(message, `POST ${method}`, id).catch((error) => this.#fail(id, error.message));
    });
  }

  // Without an id, so without a reply. The conversation shows whether it arrived.
  async notify(method, params) {
    await this.#post({ jsonrpc: "2.0", method, params }, `POST ${method}`).catch(() => {});
  }

  async #post(message, title, id) {
    if (this.#endpoint === null) throw new RequestFailed("There is no session.");
    const text = JSON.stringify(message);
    const sent = this.#watcher.sent(title, text, id);
    if (this.#waiting.has(id)) this.#waiting.get(id).sent = sent;
    let answer;
    let body;
    try {
      answer = await fetch(this.#endpoint, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: text,
        credentials: "omit",
        redirect: "error", // it could lead elsewhere
      });
      body = await answer.text();
    } catch {
      // Nobody knows whether the server got it.
      const why = "Lost: the server is gone, redirects, or its CORS says no.";
      sent.lost(why);
      throw new RequestFailed(why);
    }
    const why = answer.ok ? "" : body.trim();
    sent.answered(answer.status, why);
    if (!answer.ok) throw new RequestFailed(`The POST was answered ${answer.status}: ${why}`);
  }
}

// An EventSource says "error" and no more: not the status, not whether anyone answered.
// Ask again with fetch, which says a little more.
async function whyNoStream(url) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PROBE_SECONDS * 1000);
  const options = { credentials: "omit", signal: stop.signal };
  try {
    const answer = await fetch(url, { ...options, headers: { Accept: "text/event-stream" } });
    const kind = answer.headers.get("Content-Type");
    if (!answer.ok) return `${url} answered ${answer.status}. Is the path right? It is often /sse.`;
    if (kind?.startsWith("text/event-stream")) return "The server answers now.";
    return `${url} is not an event stream: its content type is ${kind}.`;
  } catch {
    // The same error when nobody is there and when CORS keeps the answer from this page.
    return await whyNoAnswer(url, options);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

async function whyNoAnswer(url, options) {
  try {
    // In this mode CORS does not apply and nothing can be read: only whether anyone answers.
    await fetch(url, { ...options, mode: "no-cors" });
  } catch {
    return (
      `Nothing answers at ${url.origin}. Is the server running? ` +
      `It must let this page in, as this one does:\n${serverForThisPage()}`
    );
  }
  return (
    `Something answers at ${url.origin}, but the browser keeps the answer from this page: ` +
    `it does not carry Access-Control-Allow-Origin: ${location.origin} (CORS). ` +
    `That server does not let pages in. One that does:\n${serverForThisPage()}`
  );
}

// Lesson 05's server takes this option; lesson 06's calculator has none like it.
function serverForThisPage() {
  return `uv run scripts/05_sse_server/sse_server.py --allow-origin ${location.origin}`;
}
